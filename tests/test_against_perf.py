"""Every event of real recordings, with the values of all its fields, against what perf says of it."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
import zstandard
from damage import assert_accounted
from perf_oracle import (
    HAS_PERF,
    SHARED,
    Recorded,
    ScriptLine,
    bundled,
    bundled_one,
    further,
    perf_says,
    report_stats,
    script_lines,
)
from print_fmt_text import render, render_as_perf

from kvmtrace.tracepoints.records import stored_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ingested import IngestedRecordings

    from kvmtrace.tracepoints import EventFormat, Values

    Rendering = Callable[[EventFormat, Values], str]

each_bundled = pytest.mark.parametrize("recorded", bundled(), ids=lambda recorded: recorded.name)
_NO_SHARED = pytest.param(None, marks=pytest.mark.skip(reason=f"{SHARED} is not there"), id="shared")
each_further = pytest.mark.parametrize(
    "recorded", [pytest.param(recorded, id=recorded.name) for recorded in further()] or [_NO_SHARED]
)


def raw_fields(event_format: EventFormat, values: Values) -> str:
    """Return what libtraceevent prints of an event whose print fmt it cannot parse."""
    numbers = " ".join(f"{field.name}={int(values[field.name])}" for field in event_format.own_fields)  # type: ignore[arg-type]
    return f"[FAILED TO PARSE] {numbers}"


PERFS_OWN_TEXT: dict[str, Rendering] = {
    # Its parser stops at the empty list of symbols, `{ }`.
    "kvm:kvm_inj_exception": raw_fields,
    # It reads an s8 of -1 (tsc_shift) as 255.
    "kvm:kvm_pvclock_update": render_as_perf,
    # It reads an errno of -4 as 4294967292, which is not below 0.
    "kvm:kvm_userspace_exit": render_as_perf,
}
"""Events that perf prints otherwise than their print fmt says: the kernel's text is `render`'s."""


def our_lines(
    ingested: IngestedRecordings, recorded: Recorded, own_text: dict[str, Rendering] = PERFS_OWN_TEXT
) -> Iterator[ScriptLine]:
    """Yield every stored event as perf script prints it."""
    for kind, table in ingested.events(recorded.path):
        event = f"{kind.system}:{kind.name}"
        rendering = own_text.get(event, render)
        names = {stored_name(field.name): field.name for field in kind.format.own_fields}
        columns = [table[column].to_pylist() for column in ("ts_ns", "cpu", "tid")]
        own = [map(_hashable, table[column].to_pylist()) for column in names]
        known: dict[tuple[object, ...], str] = {}
        for ts_ns, cpu, tid, *values in zip(*columns, *own, strict=True):
            key = tuple(values)
            if key not in known:
                known[key] = rendering(kind.format, dict(zip(names.values(), values, strict=True)))
            # A thread that switches away for ever has no id any more, -1 in perf's words.
            yield ScriptLine(ts_ns, cpu, -1 if tid is None else tid, event, known[key])


def _hashable(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def assert_same_lines(ours: list[ScriptLine], perfs: list[ScriptLine]) -> None:
    """Compare in the order of time; pytest would take minutes to show how two such lists differ."""
    assert len(ours) == len(perfs)
    different = [pair for pair in zip(sorted(ours), sorted(perfs), strict=True) if pair[0] != pair[1]]
    assert not different, f"{len(different)} lines differ, first {different[0]}"


@each_bundled
def test_every_event_has_the_time_cpu_thread_and_field_values_that_perf_prints(
    ingested: IngestedRecordings, recorded: Recorded
) -> None:
    perfs = recorded.text("perf-script")
    assert perfs is not None
    assert_same_lines(list(our_lines(ingested, recorded)), script_lines(perfs))


@each_further
@pytest.mark.slow
def test_every_event_of_further_recordings_has_the_values_that_perf_prints(
    ingested: IngestedRecordings, recorded: Recorded
) -> None:
    perfs = recorded.text("perf-script")
    assert perfs is not None
    ours = [line._replace(ts_ns=line.ts_ns // 1000 * 1000) for line in our_lines(ingested, recorded)]
    assert_same_lines(ours, script_lines(perfs))


@pytest.mark.parametrize("event", PERFS_OWN_TEXT)
def test_perf_prints_this_event_otherwise_than_the_kernel(ingested: IngestedRecordings, event: str) -> None:
    recorded = bundled_one("kut-vmexit-smp1")
    ours = {line for line in our_lines(ingested, recorded, own_text={}) if line.event == event}
    perfs = {line for line in script_lines(recorded.text("perf-script") or "") if line.event == event}
    assert ours - perfs


@each_bundled
def test_every_event_is_counted_under_its_name(ingested: IngestedRecordings, recorded: Recorded) -> None:
    lines = script_lines(recorded.text("perf-script") or "")
    counts = {event: sum(line.event == event for line in lines) for event in {line.event for line in lines}}
    manifest = ingested.manifest(recorded.path)
    assert {f"{t.system}:{t.event}": t.samples for t in manifest.tracepoints if t.samples} == counts
    assert all(t.rows == t.samples for t in manifest.tracepoints)
    assert_accounted(manifest)


@each_bundled
def test_every_record_is_counted_by_its_type(ingested: IngestedRecordings, recorded: Recorded) -> None:
    text = recorded.text("perf-report-stats")
    if text is None:
        pytest.skip("perf report --stats cannot read a pipe's file")
    stats = report_stats(text)
    manifest = ingested.manifest(recorded.path)
    assert manifest.records == stats.records
    assert {f"{t.system}:{t.event}": t.samples for t in manifest.tracepoints if t.samples} == stats.samples


@each_bundled
@pytest.mark.perf
@pytest.mark.skipif(not HAS_PERF, reason="perf is not installed")
def test_the_perf_of_this_machine_counts_the_same(
    ingested: IngestedRecordings, recorded: Recorded, tmp_path: Path
) -> None:
    assert_perf_counts_the_same(ingested, recorded, _unpacked(recorded, tmp_path))


@each_further
@pytest.mark.perf
@pytest.mark.skipif(not HAS_PERF, reason="perf is not installed")
def test_the_perf_of_this_machine_counts_the_same_in_further_recordings(
    ingested: IngestedRecordings, recorded: Recorded
) -> None:
    assert_perf_counts_the_same(ingested, recorded, recorded.path)


def assert_perf_counts_the_same(ingested: IngestedRecordings, recorded: Recorded, path: Path) -> None:
    """Compare the counts of records by type and of samples by event with those of perf report --stats."""
    try:
        stats = report_stats(perf_says("report", "--stats", "-i", path))
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this perf cannot read it: {error.stderr.decode().splitlines()[-1]}")
    if not stats.samples:
        pytest.skip("this perf does not count samples by event")
    manifest = ingested.manifest(recorded.path)
    assert manifest.records == stats.records
    assert {f"{t.system}:{t.event}": t.samples for t in manifest.tracepoints if t.samples} == stats.samples


def _unpacked(recorded: Recorded, folder: Path) -> Path:
    path = folder / "perf.data"
    with recorded.path.open("rb") as packed, path.open("wb") as plain:
        zstandard.ZstdDecompressor().copy_stream(packed, plain)
    return path
