"""The Python library: a store's tables as polars has them, and what is said where they are not there."""

from __future__ import annotations

import gc
import os
import pickle
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pytest
from query_samples import make_store
from store_builder import add_run, event, exits

import kvmtrace
from kvmtrace import errors, schema
from kvmtrace.errors import StoreError, UsageError
from kvmtrace.store.connection import StoreConnection
from kvmtrace.store.label import Label
from kvmtrace.store.manifest import run_folder

if TYPE_CHECKING:
    from ingested import IngestedRecordings

ROOT = Path(__file__).parents[1]
OFF, ON = (ROOT / f"tests/data/recordings/pveoi-idletick-xapic-{each}.perf.data.zst" for each in ("off", "on"))
MSR = {"ecx": pa.uint32(), "data": pa.uint64()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_store(tmp_path / "store", lambda table: table)


@pytest.fixture
def store(folder: Path) -> kvmtrace.Store:
    return kvmtrace.open_store(folder)


def test_the_store_is_the_one_named_else_that_of_the_environment_else_that_of_the_folder(
    folder: Path, alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StoreError, match="no store at kvmtrace-store"):
        kvmtrace.open_store()
    folder.rename(alone / "kvmtrace-store")
    assert kvmtrace.open_store().path == alone / "kvmtrace-store"
    monkeypatch.setenv("KVMTRACE_STORE", str(alone / "elsewhere"))
    with pytest.raises(StoreError, match="elsewhere"):
        kvmtrace.open_store()
    assert kvmtrace.open_store("kvmtrace-store").runs().height == 4


def test_runs_are_a_table_with_the_latest_last(store: kvmtrace.Store) -> None:
    found = store.runs()
    assert found.columns == store.sql("FROM runs LIMIT 0").columns
    assert found["ingested_at"].is_sorted()
    assert found["run_id"][-1] == store.manifest().run_id


def test_what_is_ingested_labelled_or_removed_elsewhere_shows_with_the_next_call(
    folder: Path, store: kvmtrace.Store
) -> None:
    before = store.runs().height
    add_run(folder, "f00d", {"exits": exits({"reason": "npf"})})
    assert store.runs().height == before + 1
    with StoreConnection(folder) as other:
        other.catalogue.set_label("f00d", Label("new name"))
        assert store.exits("new name").collect().height == 1
        other.catalogue.remove("f00d")
    with pytest.raises(UsageError, match="no run is called 'new name'"):
        store.exits("new name")


def test_a_store_that_nobody_closes_is_let_go_without_a_warning(folder: Path) -> None:
    opened = kvmtrace.open_store(folder)
    spill = opened.connection._closing
    assert opened.runs().height
    del opened
    gc.collect()  # warnings are errors
    assert spill is not None


def test_a_run_that_cannot_be_read_is_a_warning(folder: Path) -> None:
    add_run(folder, "bad0")
    (run_folder(folder, "bad0") / "run.json").write_text("{")
    with pytest.warns(UserWarning, match="bad0.*the run is left out"):
        opened = kvmtrace.open_store(folder)
    assert "bad0" not in opened.runs()["run_id"].to_list()  # and it is said once


def test_exits_have_the_columns_of_the_schema_with_their_types(store: kvmtrace.Store) -> None:
    (run_id, *_) = store.sql("SELECT run_id FROM exits GROUP BY ALL ORDER BY ALL")["run_id"]
    found = store.exits(run_id)
    assert isinstance(found, pl.LazyFrame)
    assert found.collect_schema().names() == ["run_id", *schema.EXITS.names()]
    types = {"detail": pl.UInt64, "latency_ns": pl.Int64, "vcpu": pl.Int32, "nested": pl.Int8, "idle": pl.Boolean}
    assert {name: found.collect_schema()[name] for name in types} == types
    assert found.collect_schema()["reason"] == pl.String
    as_sql = store.sql("FROM exits WHERE run_id = $run ORDER BY exit_id", run=run_id)
    assert found.sort("exit_id").collect().equals(as_sql)


def test_exits_are_chosen_by_value_or_by_several(tmp_path: Path) -> None:
    rows = [{"reason": r, "vcpu": v, "idle": r == "hlt"} for r in ("npf", "hlt", "io") for v in (0, 1)]
    add_run(tmp_path, "aa", {"exits": exits(*rows, {"reason": None, "detail": 2**63})})
    store = kvmtrace.open_store(tmp_path)

    def ids(**asked: object) -> list[int]:
        return store.exits(**asked).collect()["exit_id"].to_list()  # type: ignore[arg-type]

    assert ids(reason="npf") == [0, 1]
    assert ids(reason=["npf", "io"], vcpu=1) == [1, 5]
    assert ids(vcpu=[0]) == [0, 2, 4]
    assert ids(idle=False, reason=("hlt",)) == []
    assert ids(idle=True) == [2, 3]
    assert ids(detail=2**63) == [6]
    assert ids() == list(range(7))
    assert ids(detail=[2**64, -1]) == []  # no detail can be


def test_a_value_that_no_exit_can_have_is_an_error_and_no_empty_table(tmp_path: Path) -> None:
    add_run(tmp_path, "aa", {"exits": exits({"reason": "npf"}, {"reason": "own_name"})})
    add_run(tmp_path, "bb", {"exits": exits({"reason": "io"})})
    store = kvmtrace.open_store(tmp_path)
    assert store.exits("aa", reason="io").collect().is_empty()  # it did not occur, which is an answer
    assert store.exits("aa", reason=["own_name", "EPT_VIOLATION"]).collect().height == 1
    assert store.exits(["aa", "bb"], reason="own_name").collect()["run_id"].to_list() == ["aa"]
    wrong: tuple[tuple[dict[str, Any], str, str | None], ...] = (
        ({"reason": "nfp"}, "reason: none of the runs has seen 'nfp', and no architecture knows it", "nearest: npf"),
        ({"reason": ["npf", "ept_violaton"]}, "has seen 'ept_violaton'", "nearest: EPT_VIOLATION"),
        ({"reason": "%"}, "has seen '%'", "seen: npf, own_name"),
        ({"reason": 1}, "reason: expected a text, or several, found 1", None),
        ({"vcpu": "0"}, "vcpu: expected a whole number, or several, found '0'", None),
        ({"vcpu": [1.5]}, "vcpu: expected a whole number, or several, found 1.5", None),
        ({"idle": 1}, "idle: expected True or False, or several, found 1", None),
    )
    for asked, said, hint in wrong:
        with pytest.raises(UsageError) as raised:
            store.exits("aa", **asked)
        assert said in raised.value.message
        assert hint is None or hint in (raised.value.hint or "")


def test_no_runs_are_an_error(store: kvmtrace.Store) -> None:
    for ask in (store.exits, store.report, lambda runs: store.events(runs, "kvm_msr")):
        with pytest.raises(UsageError, match="run: expected a run or several, found none"):
            ask([])


def test_threads_use_one_store_at_once(store: kvmtrace.Store) -> None:
    together = threading.Barrier(3)

    def ask(turn: int) -> int:
        together.wait(timeout=60)
        slow = "SELECT count(*) FROM range(3000000) a(i), exits WHERE a.i % 7 = $turn"
        return int(store.sql(slow, turn=turn).item()) + store.runs().height

    with ThreadPoolExecutor(3) as threads:
        assert len(set(threads.map(ask, range(3)))) <= 2  # 3,000,000 is no multiple of 7
    assert store.runs().height == 4


def test_another_process_opens_the_store_anew(store: kvmtrace.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    there = pickle.loads(pickle.dumps(store))  # noqa: S301 - our own
    assert there.path == store.path
    assert there.runs().equals(store.runs())
    ours = store.connection
    with monkeypatch.context() as child:
        child.setattr(os, "getpid", lambda: -1)  # as after a fork, of which pytest's threads would know nothing
        assert store.connection is not ours
    assert ours.query("SELECT 1").rows == [(1,)]


def test_a_store_that_is_gone_says_so(store: kvmtrace.Store) -> None:
    shutil.rmtree(store.path)
    assert repr(store) == f"<kvmtrace store '{store.path}': no store at {store.path}>"
    with pytest.raises(StoreError, match="no store at"):
        store.runs()


def test_columns_that_an_older_run_does_not_have_are_null_and_integers_are_widened(tmp_path: Path) -> None:
    whole = exits({"reason": "npf", "detail": 5})
    older = whole.drop_columns(["detail", "nested"]).set_column(
        whole.column_names.index("vcpu"), "vcpu", pa.array([3], pa.int8())
    )
    add_run(tmp_path, "aa", {"exits": older})
    add_run(tmp_path, "bb", {"exits": whole})
    found = kvmtrace.open_store(tmp_path).exits(["aa", "bb"]).collect()
    assert found["run_id"].to_list() == ["aa", "bb"]
    assert found["detail"].to_list() == [None, 5]
    assert found["vcpu"].to_list() == [3, None]
    assert found.columns == ["run_id", *schema.EXITS.names()]


def test_the_path_of_a_store_is_taken_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "vcpu=9" / "it's [a] *"
    add_run(folder, "aa", {"exits": exits({"vcpu": 1}), "events/kvm/kvm_msr": event(MSR, {"ecx": 1, "data": 2})})
    store = kvmtrace.open_store(folder)
    assert store.exits().collect()["vcpu"].to_list() == [1]
    assert store.events(None, "kvm_msr").collect()["ecx"].to_list() == [1]


def test_events_have_their_own_fields_and_a_name_in_any_of_three_forms(tmp_path: Path) -> None:
    add_run(tmp_path, "aa", {"events/kvm/kvm_msr": event(MSR, {"ecx": 0x6E0, "data": 2**64 - 1, "ts_ns": 7})})
    store = kvmtrace.open_store(tmp_path)
    for name in ("kvm_msr", "kvm:kvm_msr", "kvm__kvm_msr", "KVM_MSR"):
        found = store.events("aa", name).collect()
        assert found.select("run_id", "ts_ns", "ecx", "data").rows() == [("aa", 7, 0x6E0, 2**64 - 1)]
    assert found.columns == ["run_id", *(c.name for c in schema.EVENT_COLUMNS), *MSR]


def test_an_event_that_was_enabled_and_never_fired_has_no_rows_and_one_that_was_not_is_an_error(tmp_path: Path) -> None:
    add_run(tmp_path, "aa", {"events/kvm/kvm_msr": event(MSR, {"ecx": 1, "data": 2})}, enabled=[("kvm", "kvm_pio")])
    add_run(tmp_path, "bb", enabled=[("kvm", "kvm_msr")])
    add_run(tmp_path, "cc", {"events/kvm/kvm_pio": event({}, {})}, tells_enabled=False)
    add_run(tmp_path, "dd", kind="counters")
    store = kvmtrace.open_store(tmp_path)
    silent = store.events("bb", "kvm_msr").collect()
    assert (silent.height, silent.columns[:2]) == (0, ["run_id", "ts_ns"])
    assert store.events(["aa", "bb"], "kvm_msr").collect()["run_id"].to_list() == ["aa"]
    assert store.events("aa", "kvm_pio").collect().is_empty()
    for run, name, said, hint in (
        ("aa", "kvm_mrs", "the event kvm_mrs was not recorded in run aa (aa.data)", "nearest: kvm_msr, kvm_pio"),
        ("bb", "kvm_pio", "the event kvm_pio was not recorded in run bb (bb.data)", "nearest: kvm_msr"),
        ("aa", "runs", "the event runs was not recorded in run aa (aa.data)", "recorded: kvm_msr, kvm_pio"),
        ("dd", "kvm_msr", "kvm_msr: no events are recorded in run dd (dd.data), which holds counters", None),
    ):
        with pytest.raises(UsageError) as raised:
            store.events(run, name)
        assert (raised.value.message, raised.value.hint) == (said, hint)
    with pytest.raises(UsageError, match="or it never fired: this recording does not tell what was enabled"):
        store.events("cc", "kvm_msr")


def test_a_run_without_exits_is_an_error_that_says_why(tmp_path: Path) -> None:
    add_run(tmp_path, "aa", unpaired="no kvm_entry was recorded")
    with pytest.raises(UsageError, match="run aa has no exits: no kvm_entry was recorded"):
        kvmtrace.open_store(tmp_path).exits()


def test_sql_keeps_the_types_of_duckdb(store: kvmtrace.Store) -> None:
    found = store.sql("""
        SELECT
            1::BIGINT AS i64, 2::UBIGINT AS u64, (2::HUGEINT ** 100)::HUGEINT AS i128, 1::UTINYINT AS u8,
            [1, 2]::INTEGER[] AS list, {'a': 1::SMALLINT, 'b': 'x'} AS struct, NULL::DOUBLE AS nothing,
            TIMESTAMP '2026-01-02 03:04:05' AS time, 1.50::DECIMAL(5, 2) AS decimal, 'x'::BLOB AS blob, true AS b
    """)
    assert dict(found.schema) == {
        "i64": pl.Int64(),
        "u64": pl.UInt64(),
        "i128": pl.Int128(),
        "u8": pl.UInt8(),
        "list": pl.List(pl.Int32),
        "struct": pl.Struct({"a": pl.Int16, "b": pl.String}),
        "nothing": pl.Float64(),
        "time": pl.Datetime("us"),
        "decimal": pl.Decimal(5, 2),
        "blob": pl.Binary(),
        "b": pl.Boolean(),
    }
    assert found["i128"].to_list() == [2**100]
    wide = store.sql("SELECT $x::HUGEINT AS a, -($x::HUGEINT) AS b", x=2**127 - 1)
    assert wide.rows() == [(2**127 - 1, 1 - 2**127)]


def test_sql_with_odd_results(store: kvmtrace.Store) -> None:
    assert store.sql("SELECT 1 AS a, 2 AS a").rows(named=True) == [{"a": 1, "a_2": 2}]
    assert store.sql("SELECT 1 AS a WHERE false").schema == {"a": pl.Int32()}
    assert store.sql("EXPLAIN SELECT 1").columns == ["plan"]
    assert store.sql("DESCRIBE exits")["column_name"][0] == "run_id"
    assert "exits" in store.sql("SHOW TABLES")["name"].to_list()
    with pytest.raises(UsageError, match="column i: polars has no type for INTERVAL"):
        store.sql("SELECT INTERVAL 1 DAY AS i")


def test_sql_is_guarded_as_on_the_command_line(store: kvmtrace.Store, tmp_path: Path) -> None:
    for statement in (
        f"COPY exits TO '{tmp_path}/x'",
        "FROM '/etc/passwd'",
        "CREATE TABLE t (a INT)",
        "SELECT 1; SELECT 2",
    ):
        with pytest.raises(UsageError):
            store.sql(statement)
    with pytest.raises(UsageError, match=r"expected values for \$a, found no parameter"):
        store.sql("SELECT $a")
    assert not (tmp_path / "x").exists()


def test_a_query_is_run_by_its_name_with_hyphens_or_underscores(ingested: IngestedRecordings) -> None:
    run_id = ingested.manifest(OFF).run_id
    with kvmtrace.open_store(ingested.store) as store:
        found = store.query("exits_by_reason", run=run_id[:6])
        assert found.equals(store.query("exits-by-reason", run_id=run_id))
        assert dict(zip(found["reason"], found["exits"], strict=True))["npf"] == 1123
        assert store.query("slowest-exits", run=OFF.name, top=3).height == 3
        assert store.query(ROOT / "queries/slowest-exits.sql", run=OFF.name, top=3).height == 3
        assert store.query("slowest-exits", run=OFF.name, top="3").height == 3
        with pytest.raises(UsageError, match="no query is called 'exits_by'") as raised:
            store.query("exits_by")
        assert "exits-by-reason" in (raised.value.hint or "")
        with pytest.raises(UsageError, match="has no parameter 'tpo'"):
            store.query("slowest-exits", tpo=3)


def test_ingest_gives_typed_runs_and_says_what_was_there(alone: Path) -> None:
    (run,) = kvmtrace.ingest(OFF, label="before", tags={"kernel": "6.1"})
    assert (run.was_there, run.manifest.kind) == (False, "recording")
    assert repr(run) == f"<recording {run.run_id} of '{OFF.name}'>"
    (again,) = kvmtrace.ingest(str(OFF))
    assert (again.was_there, again.run_id) == (True, run.run_id)
    store = kvmtrace.open_store()
    assert repr(store) == f"<kvmtrace store '{alone}/kvmtrace-store': 1 run>"
    kvmtrace.ingest(ON, store=store, label="after")
    assert store.runs()["label"].to_list() == ["before", "after"]
    assert store.exits("before").select(pl.len()).collect().item() == run.manifest.exits["rows"]
    (alone / "nothing").write_text("nothing that is known\n")
    with pytest.raises(errors.InputError, match="nothing"):
        kvmtrace.ingest(alone / "nothing")
    wrong: tuple[dict[str, Any], ...]
    wrong = ({"jobs": 3}, {"jobs": 0}, {"max_unpacked_bytes": 0}, {"tags": {"n": 1}}, {"label": 5})
    for asked in wrong:
        with pytest.raises(UsageError):
            kvmtrace.ingest(ON, **asked)


def test_generate_makes_runs_of_each_variant(alone: Path) -> None:
    del alone
    found = kvmtrace.generate("pv-eoi", seconds=0.02, tags={"of": "a model"})
    assert [run.manifest.source.name for run in found][:2] == ["pv-eoi-off-seed1", "pv-eoi-on-seed1"]
    store = kvmtrace.open_store()
    assert store.runs().height == len(found)
    assert kvmtrace.generate("pv-eoi", variant="on", seconds=0.02, store=store)[0].was_there
    with pytest.raises(UsageError):
        kvmtrace.generate("pv-eoi", variant="onn", seconds=0.02)
    with pytest.raises(UsageError):
        kvmtrace.generate("pv-eoi", label="two of them", seconds=0.02)
    wrong: tuple[dict[str, Any], ...]
    wrong = ({"seconds": -1}, {"seconds": float("nan")}, {"seconds": 1e7}, {"events": 0}, {"variant": []})
    for asked in wrong:
        with pytest.raises(UsageError, match=next(iter(asked))):
            kvmtrace.generate("pv-eoi", **asked)
    assert store.runs().height == len(found)


def test_the_working_folder_may_change(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    store = kvmtrace.open_store("store")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir("other")
    assert store.runs().height == 4
    assert folder.is_dir()
