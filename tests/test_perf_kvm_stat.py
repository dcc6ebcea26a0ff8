"""Our exits against the tables of `perf kvm stat report`, to the last printed digit.

perf counts some things otherwise than they were, in a few known ways. Each is a member of `PerfsWays`, and each is
shown to be needed: without it, the table of some recording is another one.
"""

from __future__ import annotations

import subprocess
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from perf_oracle import (
    HAS_PERF,
    SHARED,
    KvmStatRow,
    KvmStatTable,
    Recorded,
    bundled,
    bundled_one,
    further,
    kvm_stat_table,
)

from benchmarks.recording_builder import INTEL, Recording
from kvmtrace.store.connection import StoreConnection

if TYPE_CHECKING:
    from pathlib import Path

    from ingested import IngestedRecordings
    from numpy.typing import NDArray

NAME_CHARACTERS = 19
"""A name's column has 20 characters, and perf keeps one free."""


@dataclass(frozen=True, slots=True)
class PerfsWays:
    """How perf's tables differ from what the recording says (tools/perf/builtin-kvm.c)."""

    first_entry_makes_vcpu: bool = True
    """A vCPU is known from its thread's first kvm_entry on; exits before it are dropped."""
    losses_ignored: bool = True
    """A pair with lost events inside is one exit, however long."""
    io_outlives_exit: bool = True
    """I/O of an exit whose entry was lost goes on until the next entry of the thread."""
    names_cut: bool = True
    """Names longer than their column are cut, even where two become one."""
    flags_kept: bool = True
    """The exit reason of VMX is not freed of its high flag bits, so a failed entry has no name."""
    vcpu_minimum_is_0: bool = True
    """The table of one vCPU (--vcpu) says 0.00us for the least time of each reason."""


PERF = PerfsWays()

EXITS = """
    SELECT CASE WHEN f.flags > 0 AND $flags_kept THEN 'UNKNOWN' ELSE e.reason END AS name, e.latency_ns AS ns, e.vcpu
    FROM exits AS e
    LEFT JOIN (SELECT tid, min(ts_ns) AS ts_ns FROM kvm_entry WHERE run_id = $run_id GROUP BY tid) AS first_entry
        ON e.tid = first_entry.tid
    LEFT JOIN (SELECT exit_id, exit_reason >> 16 AS flags FROM kvm_exit WHERE run_id = $run_id AND isa = 1) AS f
        ON e.exit_id = f.exit_id
    WHERE e.run_id = $run_id AND e.latency_ns IS NOT NULL
        AND (e.exit_ts_ns > first_entry.ts_ns OR NOT $first_entry_makes_vcpu)
        AND (NOT e.suspect OR $losses_ignored)
"""
PORTS = """
    SELECT
        format('0x{:x}:{}', p.port, if(p.rw = 1, 'POUT', 'PIN')) AS name,
        coalesce(e.entry_ts_ns, if($io_outlives_exit, later.ts_ns, NULL)) - p.ts_ns AS ns,
        p.vcpu
    FROM kvm_pio AS p
    LEFT JOIN exits AS e ON e.run_id = p.run_id AND e.exit_id = p.exit_id
    ASOF LEFT JOIN (SELECT * FROM kvm_entry WHERE run_id = $run_id) AS later
        ON later.tid = p.tid AND p.ts_ns < later.ts_ns
    WHERE p.run_id = $run_id AND ns IS NOT NULL
    QUALIFY row_number() OVER (PARTITION BY p.tid, later.ts_ns ORDER BY p.ts_ns DESC) = 1
"""
MMIO = """
    WITH accesses AS (
        SELECT m.*, e.exit_ts_ns, e.entry_ts_ns,
            row_number() OVER (PARTITION BY m.exit_id ORDER BY m.ts_ns) AS place,
            row_number() OVER (PARTITION BY m.exit_id ORDER BY m.ts_ns DESC) AS place_from_end
        FROM kvm_mmio AS m
        JOIN exits AS e ON e.run_id = m.run_id AND e.exit_id = m.exit_id
        WHERE m.run_id = $run_id AND m.type > 0
    )
    SELECT format('0x{:x}:R', gpa) AS name, ts_ns - exit_ts_ns AS ns, vcpu FROM accesses WHERE type = 1 AND place = 1
    UNION ALL
    SELECT format('0x{:x}:W', gpa), entry_ts_ns - ts_ns, vcpu FROM accesses
    WHERE type = 2 AND place_from_end = 1 AND entry_ts_ns IS NOT NULL
"""
QUERIES = {"vmexit": EXITS, "vmexit-vcpu0": EXITS, "ioport": PORTS, "mmio": MMIO}
"""Times of each table of perf, by the name of its text. MMIO: from the exit to a read, from a write to the entry."""


def expected_table(ingested: IngestedRecordings, path: Path, which: str, ways: PerfsWays = PERF) -> KvmStatTable:
    """Return the table that perf prints of what we stored."""
    sql, run_id = QUERIES[which], ingested.manifest(path).run_id
    chosen = {way: value for way, value in asdict(ways).items() if f"${way}" in sql}
    with StoreConnection(ingested.store) as connection:
        rows = connection.query(sql, {"run_id": run_id, **chosen}).rows
    vcpu = 0 if which.endswith("vcpu0") else None
    rows = [row for row in rows if vcpu is None or row[2] == vcpu]
    names = np.array([name[:NAME_CHARACTERS] if ways.names_cut else name for name, _, _ in rows], object)
    times = np.array([ns for _, ns, _ in rows], np.int64)
    shortest = 0 if vcpu is not None and ways.vcpu_minimum_is_0 else None
    printed = {name: _row(name, times[names == name], times, shortest) for name in dict.fromkeys(names.tolist())}
    return KvmStatTable(printed, len(times), f"{times.sum() / 1000:.2f}")


def _row(name: str, times: NDArray[np.int64], of_all: NDArray[np.int64], shortest: int | None) -> KvmStatRow:
    count, mean = len(times), float(times.mean())
    # "+-" is the standard error of the mean, relative to it.
    error = 100 * float(np.sqrt(np.var(times, ddof=1) / count)) / mean if count > 1 else 0.0
    return KvmStatRow(
        name,
        samples=str(count),
        samples_share=f"{count / len(of_all) * 100:.2f}",
        time_share=f"{times.sum() / of_all.sum() * 100:.2f}",
        shortest=f"{(times.min() if shortest is None else shortest) / 1000:.2f}",
        longest=f"{times.max() / 1000:.2f}",
        mean=f"{mean / 1000:.2f}",
        error=f"{error:.2f}",
    )


def tables_of(recordings: list[Recorded]) -> list[Any]:
    """Return each recording with each of its tables, as parameters of a test."""
    return [
        pytest.param(recorded, which, id=f"{recorded.name}-{which}")
        for recorded in recordings
        for which in QUERIES
        if "Total Samples" in (recorded.text(f"perf-kvm-stat-{which}") or "")
    ]


@pytest.mark.parametrize(("recorded", "which"), tables_of(bundled()))
def test_the_table_is_perfs(ingested: IngestedRecordings, recorded: Recorded, which: str) -> None:
    assert_table_is_perfs(ingested, recorded, which)


@pytest.mark.skipif(not SHARED.exists(), reason=f"{SHARED} is not there")
@pytest.mark.parametrize(("recorded", "which"), tables_of(further()))
def test_the_table_of_a_further_recording_is_perfs(
    ingested: IngestedRecordings, recorded: Recorded, which: str
) -> None:
    assert_table_is_perfs(ingested, recorded, which)


def assert_table_is_perfs(ingested: IngestedRecordings, recorded: Recorded, which: str) -> None:
    perfs = kvm_stat_table(recorded.text(f"perf-kvm-stat-{which}") or "")
    if perfs.samples == 0:  # a vCPU is never known where no entry is recorded
        assert "kvm_entry" not in {t.event for t in ingested.manifest(recorded.path).tracepoints}
    else:
        assert expected_table(ingested, recorded.path, which) == perfs


@pytest.mark.parametrize(
    ("way", "name", "which"),
    [
        ("first_entry_makes_vcpu", "overwrite-tail", "vmexit"),
        ("losses_ignored", "lossy", "vmexit"),
        ("io_outlives_exit", "lossy", "ioport"),
        ("vcpu_minimum_is_0", "lossy", "vmexit-vcpu0"),
    ],
)
def test_without_perfs_way_the_table_is_another(ingested: IngestedRecordings, way: str, name: str, which: str) -> None:
    recorded = bundled_one(name)
    perfs = kvm_stat_table(recorded.text(f"perf-kvm-stat-{which}") or "")
    assert expected_table(ingested, recorded.path, which, replace(PERF, **{way: False})) != perfs


@pytest.mark.parametrize(("name", "left_out"), [("lossy", 15), ("overwrite-tail", 3), ("zstd", 2)])
def test_exits_that_perf_leaves_out_are_kept(ingested: IngestedRecordings, name: str, left_out: int) -> None:
    recorded = bundled_one(name)
    perfs = kvm_stat_table(recorded.text("perf-kvm-stat-vmexit") or "")
    assert ingested.manifest(recorded.path).exits["rows"] == perfs.samples + left_out


NPF, AVIC_ACCESS, AVIC_IPI = 0x400, 0x402, 0x401
INVALID_STATE, FAILED_VMENTRY, HLT = 33, 1 << 31, 12


def made(folder: Path, cpuid: str, isa: int, reasons: list[int]) -> Path:
    """Write a recording in which one vCPU exits for each of `reasons`, 1, 2, 3 … us long."""
    recording = Recording.of_kvm(cpus=1, cpuid=cpuid)
    for number, reason in enumerate([0, *reasons]):
        ts_ns = 1_000_000 * (number + 1)
        if number:
            recording.add_sample("kvm_exit", ts_ns, fields={"exit_reason": reason, "isa": isa})
        recording.add_sample("kvm_entry", ts_ns + 1000 * number)
    return recording.write(folder / "perf.data")


MADE = {
    "names_cut": ("AuthenticAMD,25,1,1", 2, [NPF, AVIC_ACCESS, AVIC_IPI, NPF, AVIC_ACCESS]),
    "flags_kept": (INTEL, 1, [HLT, FAILED_VMENTRY | INVALID_STATE, HLT, INVALID_STATE]),
}


@pytest.mark.perf
@pytest.mark.skipif(not HAS_PERF, reason="perf is not installed")
@pytest.mark.parametrize("way", MADE)
def test_perfs_table_of_a_made_recording_needs_this_way(ingested: IngestedRecordings, tmp_path: Path, way: str) -> None:
    path = made(tmp_path, *MADE[way])
    report = subprocess.run(
        ["perf", "kvm", "-i", path, "stat", "report"], stdin=subprocess.DEVNULL, capture_output=True, check=True
    )
    perfs = kvm_stat_table(report.stderr.decode())
    assert expected_table(ingested, path, "vmexit") == perfs
    assert expected_table(ingested, path, "vmexit", replace(PERF, **{way: False})) != perfs


def test_each_of_perfs_ways_is_shown_to_be_needed() -> None:
    shown = {mark.args[1][n][0] for mark in test_without_perfs_way_the_table_is_another.pytestmark for n in range(4)}  # type: ignore[attr-defined]
    assert shown | MADE.keys() == {way.name for way in fields(PerfsWays)}
