"""Counters and benchmarks as perf stat and kvm-unit-tests print them, and read back."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from written_recordings import x86_recording

from kvmtrace.errors import UsageError
from kvmtrace.formats import detect
from kvmtrace.formats.source import open_source
from kvmtrace.recording import Facts, TableSet
from kvmtrace.schema import TABLES
from kvmtrace.writers import OutputFormat, WriteOptions, write

if TYPE_CHECKING:
    from pathlib import Path

STAT_FORMS = (OutputFormat.PERF_STAT, OutputFormat.PERF_STAT_CSV, OutputFormat.PERF_STAT_JSON)
RUNNING = ("enabled_ns", "running_ns")
"""Told by CSV and JSON alone."""
ELAPSED_NS = 2_001_234_567


def table_set(table: str, rows: list[dict[str, Any]], elapsed_ns: int | None = ELAPSED_NS) -> TableSet:
    """Return rows of a table; columns that they do not name are null."""
    schema = TABLES[table].arrow_schema()
    whole = [{**dict.fromkeys(schema.names), **row} for row in rows]
    return TableSet(Facts("made"), table, pa.Table.from_pylist(whole, schema=schema), elapsed_ns)


def read_back(path: Path) -> TableSet:
    """Return the only table of a file, which is read without a doubt."""
    with open_source(str(path)) as source:
        (found,) = detect.read(source)
    assert isinstance(found, TableSet)
    return found


def counters() -> list[dict[str, Any]]:
    """Return counters of all kinds that perf prints."""
    counted = {"state": "counted", "running_share": 1.0}
    return [
        {"event": "kvm_exit", "system": "kvm", "value": 1_234_567.0, **counted},
        {"event": "kvm_entry", "system": "kvm", "value": 0.0, **counted},
        {
            "event": "cache-references",
            "value": 3_000_000_001.0,
            **counted,
            "running_share": 0.75,
            "stderr_share": 0.0045,
        },
        {"event": "task-clock", "value": 1_998.25, "unit": "msec", **counted},
        {"event": "r01c2", "state": "not counted"},
        {"event": "stalled-cycles-backend", "state": "not supported"},
    ]


@pytest.mark.parametrize("form", STAT_FORMS)
def test_counters_are_read_back(tmp_path: Path, form: OutputFormat) -> None:
    write([table_set("counters", counters())], tmp_path / "stat.txt", form)
    found = read_back(tmp_path / "stat.txt")
    assert found.facts.format == "perf-stat"
    assert found.notes == () or form != OutputFormat.PERF_STAT
    assert found.elapsed_ns == (ELAPSED_NS if form == OutputFormat.PERF_STAT else None)
    for wrote, read in zip(counters(), found.rows.to_pylist(), strict=True):
        told = {name: value for name, value in wrote.items() if name != "running_share"}
        assert {name: read[name] for name in told} == told
        if wrote["state"] == "counted":
            whole = form == OutputFormat.PERF_STAT and wrote["running_share"] == 1
            assert read["running_share"] == (None if whole else wrote["running_share"])  # a table says no (100.00%)
        times = None if form == OutputFormat.PERF_STAT else round(ELAPSED_NS * wrote.get("running_share", 0))
        assert read["running_ns"] == times


def test_repeats_are_told_in_the_heading(tmp_path: Path) -> None:
    rows = [{**row, "repeats": 5, "stderr_share": 0.0336} for row in counters()[:2]]
    write([table_set("counters", rows)], tmp_path / "stat.txt", OutputFormat.PERF_STAT)
    assert " Performance counter stats for 'system wide' (5 runs):\n" in (tmp_path / "stat.txt").read_text()
    found = read_back(tmp_path / "stat.txt").rows.to_pylist()
    assert [(row["repeats"], row["stderr_share"]) for row in found] == [(5, 0.0336)] * 2


@pytest.mark.parametrize("form", STAT_FORMS)
def test_a_recording_is_counted(tmp_path: Path, form: OutputFormat) -> None:
    recording = x86_recording()
    write([recording], tmp_path / "stat.txt", form, WriteOptions(elapsed_ns=60_000_000))
    found = read_back(tmp_path / "stat.txt")
    fired = Counter(event[4] for event in recording.made)
    assert fired["kvm:kvm_eoi"] == 0
    told = {f"{row['system']}:{row['event']}": row["value"] for row in found.rows.to_pylist()}
    assert told == {name: fired[name] for name in recording.events}
    if form == OutputFormat.PERF_STAT:
        assert found.elapsed_ns == 60_000_000
    else:
        assert set(found.rows["running_ns"].to_pylist()) == {4 * 60_000_000}  # of four CPUs


def test_a_recording_lasts_from_its_first_event_to_its_last(tmp_path: Path) -> None:
    recording = x86_recording()
    write([recording], tmp_path / "stat.txt", OutputFormat.PERF_STAT)
    assert read_back(tmp_path / "stat.txt").elapsed_ns == recording.made[-1][0] - recording.made[0][0]


def test_counters_are_taken_rather_than_events(tmp_path: Path) -> None:
    write([x86_recording(), table_set("counters", counters())], tmp_path / "stat.txt", OutputFormat.PERF_STAT)
    assert "1,234,567" in (tmp_path / "stat.txt").read_text()


def test_counters_that_perf_stat_does_not_print_so_are_refused(tmp_path: Path) -> None:
    row = counters()[0]
    with pytest.raises(UsageError, match="prints no scope in these forms: counter kvm_exit has one"):
        write([table_set("counters", [{**row, "scope": "CPU0"}])], tmp_path / "x", OutputFormat.PERF_STAT)
    with pytest.raises(UsageError, match="perf-stat cannot be written: the time elapsed is not known"):
        write([table_set("counters", [row], None)], tmp_path / "x", OutputFormat.PERF_STAT)
    with pytest.raises(UsageError, match="perf-stat-csv cannot be written: it is not known how long kvm:kvm_exit ran"):
        write([table_set("counters", [row], None)], tmp_path / "x", OutputFormat.PERF_STAT_CSV)


def benchmark(name: str, value: float | None, **others: str) -> dict[str, Any]:
    """Return a row as the reader of kvm-unit-tests makes it."""
    told = {"suite": "kvm-unit-tests", "test": "vmexit", "unit": "cycles", "statistic": "mean", "clock": "TSC"}
    return {**told, "name": name, "value": value, "state": "measured", **others}


def test_figures_of_vmexit_are_read_back(tmp_path: Path) -> None:
    skipped = {
        "suite": "kvm-unit-tests",
        "test": "vmexit",
        "name": "tscdeadline",
        "state": "skip",
        "message": "skipped",
    }
    names = ("cpuid", "self_ipi_sti_hlt", "ipi self_ipi_sti_hlt", "mmio-wildcard-eventfd:pci-mem")
    rows = [*(benchmark(name, 1251.0 + number) for number, name in enumerate(names)), skipped]
    write([table_set("benchmarks", rows)], tmp_path / "console.txt", OutputFormat.VMEXIT)
    found = read_back(tmp_path / "console.txt")
    assert found.facts.format == "kvm-unit-tests"
    assert found.notes == ()
    for wrote, read in zip(rows, found.rows.to_pylist(), strict=True):
        assert {name: read[name] for name in wrote} == wrote


def test_one_figure_of_vmexit_is_read_back(tmp_path: Path) -> None:
    write([table_set("benchmarks", [benchmark("tscdeadline_immed", 2494.75)])], tmp_path / "x", OutputFormat.VMEXIT)
    (row,) = read_back(tmp_path / "x").rows.to_pylist()
    assert (row["name"], row["value"]) == ("tscdeadline_immed", 2494)  # cut, as the program's division cuts it


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (benchmark("cpuid", 1.0, unit="ns"), "vmexit prints cycles: cpuid is measured, in ns"),
        (benchmark("cpuid", None, state="pass"), "vmexit prints cycles: cpuid is pass, in cycles"),
        (benchmark("two words", 1.0), "found 'two words' of 'vmexit'"),
        (benchmark("cpuid", 1.0, test="apic"), "found 'cpuid' of 'apic'"),
    ],
)
def test_other_benchmarks_are_refused(tmp_path: Path, row: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        write([table_set("benchmarks", [row])], tmp_path / "x", OutputFormat.VMEXIT)
    assert list(tmp_path.iterdir()) == []
