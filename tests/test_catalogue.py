"""Runs are found, named and removed; what cannot be read leaves the rest readable."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest
from store_builder import add_run, exits

from kvmtrace.errors import ExitCode, StoreError, UsageError
from kvmtrace.store.catalogue import Catalogue
from kvmtrace.store.connection import StoreConnection
from kvmtrace.store.label import Label
from kvmtrace.store.manifest import Source, run_folder

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = "blake3:" + "0" * 64


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def add(
    store: Path,
    run_id: str,
    name: str = "perf.data",
    *,
    part: str | None = None,
    part_label: str | None = None,
    ingested_at: str = "2026-01-01T00:00:00Z",
) -> None:
    source = Source(name, "perf.data", 1, DIGEST, part, part_label)
    add_run(store, run_id, source=source, ingested_at=ingested_at)


def test_no_store_is_an_error_that_says_how_to_make_one(store: Path) -> None:
    with pytest.raises(StoreError, match="no store at") as error:
        Catalogue(store)
    assert "kvmtrace ingest FILE" in (error.value.hint or "")


def test_runs_come_in_the_order_of_ingestion_and_the_last_is_the_latest(store: Path) -> None:
    add(store, "aa", ingested_at="2026-03-01T00:00:00Z")
    add(store, "bb", ingested_at="2026-01-01T00:00:00Z")
    add(store, "cc", ingested_at="2026-02-01T00:00:00Z")
    catalogue = Catalogue(store)
    assert [m.run_id for m in catalogue.manifests()] == ["bb", "cc", "aa"]
    assert catalogue.latest().run_id == "aa"


def test_an_empty_store_has_no_latest_run(store: Path) -> None:
    (store / "runs").mkdir(parents=True)
    with pytest.raises(UsageError, match="holds no runs"):
        Catalogue(store).latest()


@pytest.mark.parametrize(
    ("text", "run_id"),
    [
        ("abcd", "abcd"),  # a whole id, though another begins with it
        ("abcde", "abcdef"),
        ("0", "0123"),
        ("before", "0123"),
        ("mail.txt#1", "0123"),
        ("mail.txt#2", "4567"),
        ("second table", "4567"),
        ("idle.data", "abcd"),
        ("4567", "4567"),
    ],
)
def test_a_run_is_an_id_its_beginning_a_label_or_a_source(store: Path, text: str, run_id: str) -> None:
    add(store, "abcd", "idle.data")
    add(store, "abcdef", "busy.data")
    add(store, "0123", "mail.txt", part="#1", part_label="first table")
    add(store, "4567", "mail.txt", part="#2", part_label="second table")
    catalogue = Catalogue(store)
    catalogue.set_label("0123", Label("before"))
    assert catalogue.resolve(text).run_id == run_id


def test_an_ambiguous_run_lists_the_candidates(store: Path) -> None:
    add(store, "a1", "mail.txt", part="#1")
    add(store, "a2", "mail.txt", part="#2")
    for text in ("a", "mail.txt"):
        with pytest.raises(UsageError) as error:
            Catalogue(store).resolve(text)
        assert error.value.message == f"'{text}' means 2 runs: a1 (mail.txt#1), a2 (mail.txt#2)"


def test_a_label_comes_before_the_beginning_of_an_id(store: Path) -> None:
    add(store, "add0")
    add(store, "ffff")
    catalogue = Catalogue(store)
    catalogue.set_label("ffff", Label("add"))
    assert catalogue.resolve("add").run_id == "ffff"


def test_an_unknown_run_lists_the_nearest(store: Path) -> None:
    add(store, "a1", "pveoi-off.data")
    add(store, "a2", "timer.data")
    with pytest.raises(UsageError, match="no run is called 'pveoi-of'") as error:
        Catalogue(store).resolve("pveoi-of")
    assert error.value.hint == "nearest: a1 (pveoi-off.data)"
    with pytest.raises(UsageError) as error:
        Catalogue(store).resolve("")
    assert error.value.hint == "`kvmtrace runs` lists the runs"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("", "expected a run's manifest"),
        ("[]", "expected a run's manifest"),
        ('{"schema_version": "1.0"}', "expected a run's manifest"),
        ("newer", "is newer than this kvmtrace reads"),
        ("renamed", "found the manifest of other"),
    ],
)
def test_a_run_that_cannot_be_read_is_told_and_the_others_are_read(store: Path, damage: str, said: str) -> None:
    add(store, "aa")
    add(store, "bb")
    path = run_folder(store, "bb") / "run.json"
    manifest = json.loads(path.read_text())
    text = {
        "newer": json.dumps(manifest | {"schema_version": "99.0"}),
        "renamed": json.dumps(manifest | {"run_id": "other"}),
    }
    path.write_text(text.get(damage, damage))
    catalogue = Catalogue(store)
    assert [m.run_id for m in catalogue.manifests()] == ["aa"]
    assert catalogue.resolve("a").run_id == "aa"
    (warning,) = catalogue.warnings
    assert said in warning
    assert "run_id=bb" in warning
    with pytest.raises(StoreError, match=said) as error:
        catalogue.resolve("bb")
    assert error.value.exit_code == ExitCode.BAD_INPUT
    catalogue.remove("bb")
    assert Catalogue(store).warnings == []


def test_labels_and_tags_touch_nothing_but_their_own_file(store: Path) -> None:
    add(store, "aa")
    before = {p: p.read_bytes() for p in store.rglob("*") if p.is_file()}
    catalogue = Catalogue(store)
    assert catalogue.label("aa") == Label()
    catalogue.set_label("aa", Label("PV EOI off", {"host": "a", "é": "ü"}))
    assert Catalogue(store).label("aa") == Label("PV EOI off", {"host": "a", "é": "ü"})
    after = {p: p.read_bytes() for p in store.rglob("*") if p.is_file()}
    assert {p.name for p in after.keys() - before.keys()} == {"label.json"}
    assert before.items() <= after.items()


def test_a_label_that_a_terminal_cannot_show_is_refused(store: Path) -> None:
    add(store, "aa")
    for label in (Label("a\nb"), Label("\x1b[2J"), Label("a", {"k": "\0"})):
        with pytest.raises(UsageError, match="printable"):
            Catalogue(store).set_label("aa", label)
    assert not (run_folder(store, "aa") / "label.json").exists()


@pytest.mark.parametrize("damage", ["", "[]", '{"label": 5, "tags": {}}', '{"label": null, "tags": {"a": 1}}'])
def test_a_damaged_label_is_told_and_the_run_is_read_without_it(store: Path, damage: str) -> None:
    add(store, "aa")
    (run_folder(store, "aa") / "label.json").write_text(damage)
    catalogue = Catalogue(store)
    assert catalogue.resolve("aa").run_id == "aa"
    assert catalogue.label("aa") == Label()
    (warning,) = catalogue.warnings
    assert "expected a label and tags" in warning


def test_a_removed_run_is_gone_and_the_others_stay(store: Path) -> None:
    add_run(store, "aa", {"exits": exits({"reason": "npf"})})
    add_run(store, "bb", {"exits": exits({"reason": "hlt"})})
    catalogue = Catalogue(store)
    catalogue.remove("aa")
    assert [m.run_id for m in catalogue.manifests()] == ["bb"]
    assert [p.name for p in (store / "runs").iterdir()] == ["run_id=bb"]
    assert list((store / "tmp").iterdir()) == []


@pytest.mark.parametrize("run_id", ["", ".", "..", "../runs", "zz", "a*"])
def test_only_a_run_can_be_removed(store: Path, run_id: str) -> None:
    add(store, "aa")
    with pytest.raises(UsageError, match="no run"):
        Catalogue(store).remove(run_id)
    assert (store / "runs" / "run_id=aa" / "run.json").exists()


def test_a_run_that_cannot_be_removed_is_an_error_with_its_reason(store: Path) -> None:
    add(store, "aa")
    (store / "tmp").write_text("in the way")
    with pytest.raises(StoreError, match=r"run aa cannot be removed: .*: .*tmp"):
        Catalogue(store).remove("aa")
    assert Catalogue(store).latest().run_id == "aa"


def test_readers_see_a_run_whole_or_not_at_all_while_runs_are_removed(store: Path) -> None:
    kept = {f"{n:02x}" for n in range(0, 40, 2)}
    for n in range(40):
        add_run(store, f"{n:02x}", {"exits": exits({"reason": "npf"}, {"reason": "hlt"})})

    def remove() -> None:
        for n in range(1, 40, 2):
            Catalogue(store).remove(f"{n:02x}")

    removing = threading.Thread(target=remove)
    removing.start()
    while removing.is_alive():
        catalogue = Catalogue(store)
        assert kept <= {m.run_id for m in catalogue.manifests()}
        assert catalogue.warnings == []
        try:
            with StoreConnection(store) as connection:
                rows = connection.query("SELECT run_id, count(*) FROM exits GROUP BY run_id").rows
        except StoreError as error:
            assert "removed meanwhile" in (error.hint or "")  # noqa: PT017 - the only error that may come
            continue
        assert {n for _, n in rows} == {2}
        assert kept <= {run_id for run_id, _ in rows}
    removing.join()
    assert {m.run_id for m in Catalogue(store).manifests()} == kept
