"""`kvmtrace whatif`: what is written, in which form, and what is refused in one line."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import pytest
from store_builder import add_run, event
from whatif_runs import LOCAL, add_counters, add_recording, change, write_model

from kvmtrace.cli import run
from kvmtrace.errors import ExitCode

if TYPE_CHECKING:
    from pathlib import Path

EOIS = change(where="reason = 'msr' AND detail = 2059", more="stays = 0.5")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return a store of a recording, a run of counters, and a recording without exits."""
    add_recording(tmp_path / "store")
    add_counters(tmp_path / "store")
    add_run(tmp_path / "store", "ee", {"events/kvm/kvm_pio": event({}, {})})
    return tmp_path / "store"


@pytest.fixture
def mine(tmp_path: Path) -> str:
    """Return the path of a model of the user's own."""
    return str(write_model(tmp_path / "mine.toml", LOCAL + EOIS))


def whatif(store: Path, *arguments: str) -> int:
    return run(["whatif", *arguments, "--store", str(store)])


def test_a_model_of_ones_own_is_told_in_words(store: Path, mine: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert whatif(store, "aa", "--model", mine) == ExitCode.OK
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert lines[0] == "What if: mine on run aa (aa.data)"
    assert lines[1] == "  exits: 1.50 fewer of 7, 1.50 per second; 1.50 of the matching ones stay"
    assert lines[2] == "  time out of the guest: 2 µs less of 29 µs, <0.01% of the vCPUs' time"
    assert lines[3] == "  at most: 3 exits and 4 µs less, if no matching exit stayed and none cost anything"
    assert any(line.startswith("  exits per injected interrupt") for line in lines)
    assert "mine, writes: 50.0% of the matching exits stay as they are" in out
    assert "within this run only" in out


def test_csv_and_json_have_plain_numbers(store: Path, mine: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert whatif(store, "aa", "--model", mine, "--format", "csv") == ExitCode.OK
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (row["model"], row["matching_exits"], row["gone_exits"], row["saved_ns"]) == ("mine", "3", "1.5", "2000.0")
    assert whatif(store, "aa", "--model", mine, "--format", "json") == ExitCode.OK
    ((told,),) = (json.loads(capsys.readouterr().out)["predictions"],)
    assert told["total"]["gone"] == 1.5
    assert told["predicted"]["exits_per_injection"]["value"] == 2.75
    assert told["predicted"]["gone_per_s"]["method"] == "moving-block bootstrap within one run"


def test_markdown_has_its_tables(store: Path, mine: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert whatif(store, "aa", "--model", mine, "--format", "markdown") == ExitCode.OK
    out = capsys.readouterr().out
    assert out.startswith("# What if: mine on run aa")
    assert "| mine    | writes  | msr" in out


def test_an_answer_can_be_that_nothing_is_predictable(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert whatif(store, "aa", "--model", "pvops-ident", "--model", "mmio-eventfd") == ExitCode.OK
    out = capsys.readouterr().out
    assert out.startswith("Nothing is predicted for run aa")
    assert "pvops-ident: not predictable from exits: its effect is outside exits" in out
    assert "mmio-eventfd, MMIO writes that the kernel handles: kvm:kvm_mmio not recorded" in out


def test_without_a_model_all_are_tried_and_the_others_named(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert whatif(store, "aa") == ExitCode.OK
    out = capsys.readouterr().out
    assert out.startswith("No model fits run aa (aa.data)")
    for name in ("boost-preempted-vcpu", "ipi-avic", "pvops-ident", "kvm-hv-p9-tce", "pv-eoi"):
        assert f"\n  {name}" in out


def test_a_ranking_has_what_saves_most_first(store: Path, tmp_path: Path) -> None:
    from kvmtrace.predicting.ranking import rank  # noqa: PLC0415
    from kvmtrace.store.connection import StoreConnection  # noqa: PLC0415
    from kvmtrace.synth import model_file  # noqa: PLC0415

    less = write_model(tmp_path / "less.toml", LOCAL + change(where="detail = 2059"))
    more = write_model(tmp_path / "more.toml", LOCAL + change(where="detail = 1760"))
    other = write_model(tmp_path / "other.toml", 'scope = "global"\nbecause = "so"\n')
    with StoreConnection(store) as connection:
        models = [model_file.read(path) for path in (less, other, more)]
        ranking = rank(connection, connection.catalogue.resolve("aa"), models)
    assert [each.models for each in ranking.predictions] == [("more",), ("less",)]
    assert [each.model for each in ranking.refused] == ["other"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("aa", "--model", "pv-eio"), "kvmtrace: error: there is no model 'pv-eio'\nhint: known: pv-eoi"),
        (("zz", "--model", "pv-eoi"), "kvmtrace: error: no run"),
        (("cc", "--model", "pv-eoi"), "kvmtrace: error: run cc has no exits: it is a run of counters (cc.data)\n"),
        (("ee", "--model", "pv-eoi"), "kvmtrace: error: run ee has no exits: none was recorded\n"),
        (("ee",), "kvmtrace: error: run ee has no exits: none was recorded\n"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_plain_lines(
    store: Path, arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert whatif(store, *arguments) == ExitCode.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(message)


def test_a_broken_condition_is_said_with_file_and_line(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = write_model(tmp_path / "broken.toml", LOCAL + change(where="reason = 'msr' AN detail = 2059"))
    assert whatif(store, "aa", "--model", str(broken)) == ExitCode.BAD_INPUT
    (line, *_) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"kvmtrace: error: {broken}:37: effect.change.0.where: expected a condition in SQL: syntax error"
    )
