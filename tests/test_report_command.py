"""`kvmtrace report`: what goes to standard output, what to standard error, and what is refused."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from store_builder import add_run, event, exits, fixed_table

from kvmtrace.cli import run
from kvmtrace.errors import ExitCode
from kvmtrace.store.manifest import Lost

if TYPE_CHECKING:
    from store_builder import Row

EXITS: list[Row] = [
    {"reason": "msr", "vcpu": 0, "latency_ns": 1000, "userspace": False},
    {"reason": "io", "vcpu": 1, "latency_ns": 5000, "userspace": True},
    {"reason": "hlt", "vcpu": 0, "latency_ns": 90_000, "userspace": False, "idle": True},
]


def bucket(row: Row) -> Row:
    """Return the latency bucket of one exit."""
    ns = row["latency_ns"]
    bounds = {"bucket_low_ns": ns, "bucket_high_ns": ns, "min_ns": ns, "max_ns": ns, "sum_ns": ns}
    told = {"detail_capped": False, "idle": False, "suspect": False, "n": 1, "sum_sq_ns2": float(ns * ns)}
    return {**told, **bounds, **{name: value for name, value in row.items() if name != "latency_ns"}}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return a store of a recording of exits, one without exits, and a run of counters (the latest)."""
    rows = [bucket(row) for row in EXITS]
    tables = {"exits": exits(*EXITS), "latency_buckets": fixed_table("latency_buckets", rows)}
    add_run(tmp_path, "a1", tables, elapsed_ns=10**9, lost=(Lost("LOST", 0, 7, 1, 5, 9),))
    add_run(tmp_path, "b2", {"events/kvm/kvm_pio": event({}, {})}, enabled=[("kvm", "kvm_exit")])
    counted = {"system": "kvm", "event": "kvm_exit", "value": 42.0, "state": "counted", "line": 1}
    add_run(tmp_path, "c3", {"counters": fixed_table("counters", [counted])}, kind="counters", elapsed_ns=10**9)
    return tmp_path


def report(store: Path, *arguments: str) -> int:
    return run(["report", *arguments, "--store", str(store)])


def test_without_a_run_the_latest_is_reported_and_named_on_standard_error(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(store) == ExitCode.OK
    out, err = capsys.readouterr()
    assert out.startswith("Run c3\n")
    assert err == "kvmtrace: note: run c3 (c3.data), the latest\n"


def test_runs_are_reported_one_after_the_other(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(store, "b2", "a1", "c3") == ExitCode.OK
    out, err = capsys.readouterr()
    assert [line for line in out.splitlines() if line.startswith("Run ")] == ["Run b2", "Run a1", "Run c3"]
    assert "warning: No exits: kvm:kvm_exit was enabled and never fired." in out
    assert not err


def test_json_is_a_list_of_the_runs_asked_for(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(store, "a1", "c3", "--format", "json") == ExitCode.OK
    exit_report, counter_report = json.loads(capsys.readouterr().out)
    assert [row["reason"] for row in exit_report["exits"]] == ["io", "msr", None, "hlt", None]
    assert counter_report["counters"][0]["value"] == 42


def test_keys_repeat_and_combine(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(store, "a1", "--by", "vcpu", "--by", "reason", "--by", "vcpu", "--format", "csv") == ExitCode.OK
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert list(rows[0])[3:5] == ["vcpu", "reason"]
    assert [(row["vcpu"], row["reason"]) for row in rows if row["row"] == "group"] == [
        ("1", "io"), ("0", "msr"), ("0", "hlt")
    ]  # fmt: skip


def test_warnings_of_a_csv_report_go_to_standard_error(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(store, "a1", "--format", "csv") == ExitCode.OK
    out, err = capsys.readouterr()
    assert "Lost" not in out
    assert err == "kvmtrace: warning: Lost events: 7 (LOST, 1 record, CPU 0).\n"


def test_idle_exits_count_when_they_are_asked_for(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    totals = []
    for arguments in ((), ("--with-idle",), ("--exact",), ("--exact", "--with-idle")):
        assert report(store, "a1", "--format", "json", *arguments) == ExitCode.OK
        [one] = json.loads(capsys.readouterr().out)
        totals.append([row["exits"] for row in one["exits"] if row["row"] == "total"])
    assert totals == [[2, 1], [3], [2, 1], [3]]


def test_by_is_said_to_do_nothing_for_runs_without_exits(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(store, "c3", "--by", "vcpu") == ExitCode.OK
    assert "--by tells exits apart" in capsys.readouterr().err


def test_a_report_goes_to_a_file_that_is_overwritten_only_by_force(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "report.md"
    arguments = ("a1", "--format", "markdown", "-o", str(file))
    assert report(store, *arguments) == ExitCode.OK
    written = file.read_text(encoding="utf-8")
    assert "## Run a1" in written
    assert report(store, *arguments) == ExitCode.USAGE
    assert "report.md is there already" in capsys.readouterr().err
    assert file.read_text(encoding="utf-8") == written
    assert report(store, *arguments, "--force") == ExitCode.OK
    assert not capsys.readouterr().out


def test_a_figure_is_drawn_beside_the_report(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figure = tmp_path / "latency.svg"
    assert report(store, "a1", "--plot", str(figure)) == ExitCode.OK
    assert capsys.readouterr().out.startswith("Run a1\n")
    assert figure.read_bytes().startswith(b"<?xml")
    assert report(store, "a1", "--plot", str(figure)) == ExitCode.USAGE
    assert capsys.readouterr().out == ""


def test_a_run_with_nothing_to_draw_is_refused_and_no_half_of_the_answer_is_left(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figure, page = tmp_path / "latency.png", tmp_path / "page.txt"
    assert report(store, "c3", "--plot", str(figure), "-o", str(page)) == ExitCode.USAGE
    shown = capsys.readouterr()
    assert not shown.out
    assert "run c3 has no exits with a latency to draw" in shown.err
    assert not figure.exists()
    assert not page.exists()


def test_a_report_and_its_figure_are_two_files(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    same = tmp_path / "a.png"
    assert report(store, "a1", "-o", str(same), "--plot", f"{tmp_path}/runs/../a.png", "--force") == ExitCode.USAGE
    assert "--output and --plot are the same file" in capsys.readouterr().err
    assert not same.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a1", "--plot", "latency.gif"), "expected a file name that ends in .png or .svg"),
        (("nothing",), "no run is called 'nothing'"),
        (("a1", "--by", "colour"), "colour"),
        (("a1", "c3", "--format", "csv"), "do not fit into one CSV table"),
    ],
)
def test_what_cannot_be_reported_is_refused_in_one_line_and_nothing_is_written(
    store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert report(store, *arguments) == ExitCode.USAGE
    out, err = capsys.readouterr()
    assert not out
    assert [message in line for line in err.splitlines() if line.startswith("kvmtrace: error: ")] == [True]
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("report_format", ["text", "markdown", "csv", "json"])
def test_a_terminal_of_any_encoding_gets_a_report(store: Path, report_format: str) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-m", "kvmtrace", "report", "a1", "--store", str(store), "--format", report_format]
    done = subprocess.run(command, env=environment, capture_output=True, check=True, cwd=store)
    assert done.stdout.isascii()
    assert b"msr" in done.stdout


def test_a_report_without_a_figure_loads_neither_matplotlib_nor_pyarrow_nor_numpy(store: Path) -> None:
    code = (
        "import sys; from kvmtrace.cli import run\n"
        f"run(['report', 'a1', '--store', {str(store)!r}])\n"
        "sys.exit(str(sorted({'matplotlib', 'pyarrow', 'numpy', 'polars'} & set(sys.modules))))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=False, text=True)
    assert done.stderr.splitlines() == ["[]"]
