"""What `perf stat record` wrote, a perf.data of counts and no events → `recording.TableSet`.

Each CPU's and each thread's row is kept, whatever perf would have summed up; tools/perf/util/stat.c says what it makes
of a value. The records are in stat_records.py.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import TYPE_CHECKING

from kvmtrace.errors import InputError
from kvmtrace.formats.perf_data.abi import MAGIC, MAGIC_SWAPPED, RecordType
from kvmtrace.formats.perf_data.header import FileHeader, describe, read_file_header
from kvmtrace.formats.perf_stat.counters import Row, counters_table, doubts_of, split_event, times
from kvmtrace.formats.perf_stat.stat_records import READERS, Count, Counts, Key, events_of, records_of, take_round
from kvmtrace.recording import Facts, Note, Notes, TableSet

if TYPE_CHECKING:
    from kvmtrace.formats.source import Source

_FORMAT = "perf-stat"
_MOST_BYTES = 1 << 25
_LOOKED_AT = 1 << 20  # bytes at the start of the records that tell whether there are counts
_LARGEST = (1 << 63) - 1
_NOBODY = -1
_OF_EVENTS = {RecordType.SAMPLE, RecordType.COMPRESSED, RecordType.COMPRESSED2, RecordType.FINISHED_ROUND}
_COUNTS = {RecordType.STAT_CONFIG, RecordType.STAT, RecordType.STAT_ROUND}


def is_recorded(source: Source) -> bool:
    """Tell whether a source is a perf.data that holds counts."""
    if not source.read_at(0, 8).startswith((MAGIC, MAGIC_SWAPPED)):
        return False
    try:
        header = read_file_header(source)
    except (InputError, struct.error):
        return False
    end = min(header.data_end, header.data_start + _LOOKED_AT)
    for _, kind, _ in records_of(source, header, end, Notes()):
        if kind in _COUNTS or kind in _OF_EVENTS:  # a pipe is not waited for longer than it must be
            return kind in _COUNTS
    return False


def read_recorded(source: Source) -> list[TableSet]:
    """Read the counts of `perf stat record`: one set. InputError: there are none, or the header is damaged."""
    if source.is_longer(_MOST_BYTES):
        raise InputError(
            source.path,
            f"expected at most {_MOST_BYTES:,} bytes of `perf stat record`, found more",
            hint="print it with: perf stat -x, report -i FILE",
        )
    header = read_file_header(source)
    notes = Notes()
    for note in header.notes:
        notes.add(note)
    records = list(records_of(source, header, header.data_end, notes))
    counts = Counts(header.order, events_of(source, header, records), notes=notes)
    for offset, kind, record in records:
        if kind in READERS:
            try:
                READERS[kind](counts, record)
            except struct.error:
                notes.add(
                    Note(f"offset {offset}", f"expected a whole {RecordType(kind).name}, found {len(record)} bytes")
                )
    rows = _rows(counts)
    if not rows:
        raise InputError(
            source.path, "expected counts (STAT records), found none", hint="record with: perf stat record"
        )
    return [_table_set(counts, rows, header)]


def _rows(counts: Counts) -> list[Row]:
    """Return a row for each count, and notes of what no round took; last the events that perf could not count."""
    if counts.waiting:
        what = f"{len(counts.waiting)} counts behind the last round, which perf read as it ended: left out"
        if not counts.taken:
            what = "no STAT_ROUND follows the counts: how long they were counted is not known"
            take_round(counts, None)
        counts.notes.add(Note("records", what))
    if counts.unknown:
        what = f"{counts.unknown} counts of an event that the header does not have: left out"
        counts.notes.add(Note("records", what, events=counts.unknown))
    rows = [_row(counts, *taken) for taken in counts.taken]
    missing = [event for event in counts.events.values() if not event.has_ids] if rows else []
    for event in missing:
        system, name = split_event(event.name)
        rows.append(Row(None, name, system, None, event.unit, "not supported"))
    return rows


def _row(counts: Counts, key: Key, count: Count, interval_end_ns: int | None) -> Row:
    event = counts.events[key[0]]
    system, name = split_event(event.name)
    share = min(count.running_ns / count.enabled_ns, 1.0) if count.enabled_ns else None
    value = None
    if count.running_ns:
        by_time = count.enabled_ns / count.running_ns if counts.scaled and count.running_ns < count.enabled_ns else 1.0
        value = count.value * by_time * event.factor
    return Row(
        line=None,
        event=name,
        system=system,
        value=value,
        unit=event.unit,
        state="not counted" if value is None else "counted",
        enabled_ns=min(count.enabled_ns, _LARGEST),
        running_ns=min(count.running_ns, _LARGEST),
        running_share=share,
        interval_end_ns=interval_end_ns,
        scope=_scope(counts, key),
        doubts=tuple(doubts_of(value, share)),
    )


def _scope(counts: Counts, key: Key) -> str | None:
    """Return what a count is of, as perf's table names it; None: everything."""
    _, cpu, thread = key
    pid, comm = counts.threads[thread] if 0 <= thread < len(counts.threads) else (_NOBODY, "")
    of_thread = pid != _NOBODY and (comm or len(counts.threads) > 1)
    names = [f"CPU{cpu}" if cpu >= 0 else "", f"{comm}-{pid}" if of_thread else ""]
    return " ".join(filter(None, names)) or None


def _table_set(counts: Counts, rows: list[Row], header: FileHeader) -> TableSet:
    facts = Facts(format=_FORMAT)
    describe(facts, header.features, header.order)
    for row in rows:
        for doubt in row.doubts:
            counts.notes.add(Note(f"counter {row.event}", doubt))
    whole = [replace(row, interval_end_ns=None) for row in rows]
    intervals = any(row.interval_end_ns is not None for row in rows)
    return TableSet(
        facts=facts,
        table="counters",
        rows=counters_table(rows, None),
        elapsed_ns=counts.elapsed_ns,
        enabled_ns=None if intervals else times(whole)[1],
        notes=tuple(counts.notes.told()),
    )
