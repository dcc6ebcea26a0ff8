"""What the benchmark says of what it measured, also where a program fails or is not there."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from benchmarks.inputs import Input
from benchmarks.measure import Timing
from benchmarks.programs import Program, programs
from benchmarks.results import Results
from benchmarks.turns import Turns
from benchmarks.verdicts import FLAT_SAMPLES, INGEST_FTRACE, INGEST_TRACE_DAT, TRACE_CMD, judged, print_results, verdict

if TYPE_CHECKING:
    from pathlib import Path

TRACE_DAT = (Input.TRACE_DAT,)


def verdicts(results: Results, samples: int, *inputs: Input) -> dict[str, str]:
    """Return what is said of each target."""
    return {target.what.strip(): verdict(target, measured) for target, measured in judged(results, samples, inputs)}


@pytest.mark.parametrize(("ours_s", "said"), [(2.1, "MISSED"), (1.9, "met"), (1.0, "met, and the aim")])
def test_ingest_is_held_against_trace_cmd(ours_s: float, said: str) -> None:
    results = Results({INGEST_TRACE_DAT: [Timing(ours_s, 9)], TRACE_CMD: [Timing(10, 9), Timing(10, 9)]})
    assert verdicts(results, 400_000, *TRACE_DAT)[f"{INGEST_TRACE_DAT} / {TRACE_CMD}"] == said


@pytest.mark.parametrize(("ours_s", "said"), [(4.1, "MISSED"), (3.9, "met"), (2.0, "met, and the aim")])
def test_text_is_held_against_a_million_lines_a_second(ours_s: float, said: str) -> None:
    results = Results({INGEST_FTRACE: [Timing(ours_s, 9)]})
    assert verdicts(results, 4_000_000, Input.FTRACE)[INGEST_FTRACE] == said


@pytest.mark.parametrize(("peak", "said"), [(131e6, "MISSED"), (130e6, "met")])
def test_memory_is_held_against_that_of_a_quarter(peak: int, said: str) -> None:
    results = Results(peak_bytes={INGEST_TRACE_DAT: int(peak)}, quarter_peak_bytes={INGEST_TRACE_DAT: 100_000_000})
    told = verdicts(results, FLAT_SAMPLES, *TRACE_DAT)
    assert told["the same / that of a quarter of the events"] == said
    assert told[f"peak memory of {INGEST_TRACE_DAT}"] == "met"
    assert "the same / that of a quarter of the events" not in verdicts(results, FLAT_SAMPLES - 2, *TRACE_DAT)


def test_what_was_not_run_is_not_measured(capsys: pytest.CaptureFixture[str]) -> None:
    results = Results(failures={"some program": "why"})
    assert set(verdicts(results, FLAT_SAMPLES, *Input).values()) == {"not measured"}
    print_results(results, judged(results, FLAT_SAMPLES, list(Input)))
    assert "some program failed: why" in capsys.readouterr().out


def test_programs_that_are_not_installed_are_not_run(tmp_path: Path) -> None:
    files = {wanted: tmp_path / wanted for wanted in Input}
    ours = {program.name for program in programs(files, {}, tmp_path, perf=False, trace_cmd=False)}
    theirs = {program.name for program in programs(files, {}, tmp_path, perf=True, trace_cmd=True)} - ours
    assert all(name.startswith("kvmtrace ") for name in ours)
    assert theirs == {"perf kvm stat report", "perf script", "trace-cmd report"}


def python(script: str) -> tuple[str, ...]:
    return sys.executable, "-c", script


def test_a_program_that_fails_does_not_keep_others_from_running(tmp_path: Path) -> None:
    fails = Program("fails", python("raise SystemExit('no such thing')"), with_memory=True)
    slow = Program("slow", python("print()"), slow=True)
    runs = Program("runs", python("print()"), with_memory=True, quarter=python("print()"))
    results = Turns([fails, slow, runs], 400, tmp_path).run(3, 1)
    assert "exit code 1: no such thing" in results.failures["fails"]
    assert {name: len(timings) for name, timings in results.timings.items()} == {"slow": 1, "runs": 3}
    assert results.peak_bytes.keys() == results.quarter_peak_bytes.keys() == {"runs"}


@pytest.mark.parametrize(("stored", "failed"), [("400", False), ("398", True)])
def test_an_ingest_that_leaves_events_out_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: str, failed: bool
) -> None:
    monkeypatch.setattr("benchmarks.turns.stored_events", lambda _: python(f"print('events\\n{stored}')"))
    ingest = Program("ingest", python("print()"), tmp_path / "store", with_memory=True)
    results = Turns([ingest], 400, tmp_path).run(1, 0)
    expected = {"ingest": "expected 400 events in the store, found 398"} if failed else {}
    assert results.failures == expected
