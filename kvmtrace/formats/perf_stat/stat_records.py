"""The records of a perf.data that `perf stat record` wrote.

    STAT_CONFIG   {u64 n, {u64 tag, u64 value}…}     tag 2: values are to be scaled by the time that a counter ran
    THREAD_MAP    {u64 n, {u64 pid, char comm[16]}…} what STAT.thread is an index into; pid -1: no thread
    EVENT_UPDATE  {u64 type, u64 id, …}              0 unit, 1 scale (double), 2 name (of a pipe's events)
    STAT          {u64 id, u32 cpu, u32 thread, u64 value, enabled, running}   cpu -1: any
    STAT_ROUND    {u64 type, u64 time}               of the STATs before it; 0 an interval, whose values go on from
                                                     those of the last, 1 the whole run

tools/lib/perf/include/perf/event.h lays them out. STAT.cpu is a CPU's number; older perfs wrote its index in the CPU
map, which is the same while all CPUs are online.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, NamedTuple

from kvmtrace.formats.perf_data.abi import RECORD_HEADER_SIZE, Feature, RecordType
from kvmtrace.formats.perf_data.header import FileHeader, event_names
from kvmtrace.formats.perf_data.side_records import feature, header_attribute
from kvmtrace.recording import Note, Notes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kvmtrace.formats.source import Source

_SCALE = 2  # tag of STAT_CONFIG
_UNIT, _FACTOR, _NAME = range(3)  # types of EVENT_UPDATE
_INTERVAL = 0  # type of STAT_ROUND
_LARGEST = (1 << 63) - 1


class Count(NamedTuple):
    """A counter's value, and the times that it was enabled and ran, as the kernel gave them."""

    value: int
    enabled_ns: int
    running_ns: int


Key = tuple[int, int, int]
"""Id, CPU (-1: any) and index of the thread that a count is of."""


@dataclass(slots=True)
class Event:
    """What is counted; a value times `factor` is in `unit`."""

    name: str
    unit: str | None = None
    factor: float = 1.0
    has_ids: bool = False  # perf could open it


@dataclass(slots=True)
class Counts:
    """What the records said until now."""

    order: str
    events: dict[int, Event]  # by id
    threads: list[tuple[int, str]] = field(default_factory=list)
    scaled: bool = True
    waiting: dict[Key, Count] = field(default_factory=dict)
    before: dict[Key, Count] = field(default_factory=dict)
    taken: list[tuple[Key, Count, int | None]] = field(default_factory=list)  # and the end of their interval
    elapsed_ns: int | None = None
    unknown: int = 0
    notes: Notes = field(default_factory=Notes)


def records_of(source: Source, header: FileHeader, end: int, notes: Notes) -> Iterator[tuple[int, int, bytes]]:
    """Yield place, type and content of each record."""
    at = header.data_start
    while at + RECORD_HEADER_SIZE <= end:
        raw = source.read_at(at, RECORD_HEADER_SIZE)
        if len(raw) < RECORD_HEADER_SIZE:  # the end of a pipe, which nobody knew before
            return
        kind, _, size = struct.unpack(header.order + "IHH", raw)
        record = source.read_at(at, size)
        if size < RECORD_HEADER_SIZE or len(record) < size:
            notes.add(Note(f"offset {at}", f"expected a record, found a size of {size} bytes: the rest is not read"))
            return
        yield at, kind, record
        at += size
        if kind == RecordType.TRACING_DATA and size >= RECORD_HEADER_SIZE + 4:
            (payload,) = struct.unpack_from(header.order + "I", record, RECORD_HEADER_SIZE)
            at += -(-payload // 8) * 8


def events_of(source: Source, header: FileHeader, records: list[tuple[int, int, bytes]]) -> dict[int, Event]:
    """Name the counters by their ids; one that perf could not open has none, and stands under its own key."""
    if header.pipe:
        for offset, kind, record in records:
            if kind == RecordType.ATTR and (attr := header_attribute(record, header.order, source.path, offset)):
                header.attributes.append(attr)
            elif kind == RecordType.FEATURE and (found := feature(record, header.order)):
                header.features[found[0]] = found[1]
    names = event_names(header.features.get(Feature.EVENT_DESC, b""), header.order)
    events: dict[int, Event] = {}
    for index, attr in enumerate(header.attributes):
        name = names[index] if index < len(names) and names[index] else f"type {attr.type} config {attr.config:#x}"
        event = Event(name, has_ids=bool(attr.ids))
        for key in attr.ids or (-1 - index,):
            events[key] = event
    return events


def _read_config(counts: Counts, record: bytes) -> None:
    (number,) = struct.unpack_from(counts.order + "Q", record, 8)
    for place in range(min(number, len(record) // 16 - 1)):
        tag, value = struct.unpack_from(counts.order + "QQ", record, 16 + 16 * place)
        if tag == _SCALE:
            counts.scaled = bool(value)


def _read_threads(counts: Counts, record: bytes) -> None:
    (number,) = struct.unpack_from(counts.order + "Q", record, 8)
    for place in range(min(number, (len(record) - 16) // 24)):
        pid, comm = struct.unpack_from(counts.order + "q16s", record, 16 + 24 * place)
        counts.threads.append((pid, _text(comm)))


def _read_update(counts: Counts, record: bytes) -> None:
    kind, event_id = struct.unpack_from(counts.order + "QQ", record, 8)
    event = counts.events.get(event_id)
    if event is None:
        return
    if kind == _UNIT:
        event.unit = _text(record[24:]) or None
    elif kind == _NAME:
        event.name = _text(record[24:]) or event.name
    elif kind == _FACTOR:
        (factor,) = struct.unpack_from(counts.order + "d", record, 24)
        event.factor = factor if isfinite(factor) and abs(factor) <= _LARGEST else 1.0


def _read_count(counts: Counts, record: bytes) -> None:
    event_id, cpu, thread, *values = struct.unpack_from(counts.order + "QiiQQQ", record, 8)
    if event_id in counts.events:
        counts.waiting[event_id, cpu, thread] = Count(*values)
    else:
        counts.unknown += 1


def _read_round(counts: Counts, record: bytes) -> None:
    kind, time_ns = struct.unpack_from(counts.order + "QQ", record, 8)
    if time_ns > _LARGEST:
        counts.notes.add(
            Note("records", f"a round of counts at {time_ns} ns: above 2^63, and left out", len(counts.waiting))
        )
    else:
        take_round(counts, time_ns if kind == _INTERVAL else None)
        counts.elapsed_ns = time_ns
    counts.waiting = {}


READERS: dict[int, Callable[[Counts, bytes], None]] = {
    RecordType.STAT_CONFIG: _read_config,
    RecordType.THREAD_MAP: _read_threads,
    RecordType.EVENT_UPDATE: _read_update,
    RecordType.STAT: _read_count,
    RecordType.STAT_ROUND: _read_round,
}
"""What reads each type of record into the counts. struct.error: the record is cut off."""


def take_round(counts: Counts, interval_end_ns: int | None) -> None:
    """Take what waits as the counts of an interval, or of the whole run (None)."""
    for key, total in counts.waiting.items():
        count = total
        if interval_end_ns is not None:
            last = counts.before.get(key, Count(0, 0, 0))
            count = Count(*(new - old for new, old in zip(total, last, strict=True)))
            counts.before[key] = total
        if min(count) < 0:
            what = f"{counts.events[key[0]].name}: a count that went back, and no count: left out"
            counts.notes.add(Note(f"interval that ends at {interval_end_ns} ns", what, events=1))
        else:
            counts.taken.append((key, count, interval_end_ns))


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode(errors="backslashreplace")
