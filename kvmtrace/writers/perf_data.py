"""A recording → perf.data, as `perf record -a -e kvm:…` leaves it.

One round for each block: records by CPU, on a CPU by time. Every tracepoint has a sample id for each CPU.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from kvmtrace.writers import perf_data_features as sections
from kvmtrace.writers.events import COMM_BYTES, Machine, raw_events, texts_by_system
from kvmtrace.writers.interleaving import interleaved
from kvmtrace.writers.perf_data_file import Attr, Feature, Form, PerfDataWriter, RecordType, record
from kvmtrace.writers.tracepoint_records import (
    CPUMODE_KERNEL,
    PERF_RECORD_DEFAULT,
    Origin,
    sample_id,
    tracepoint_attr,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from kvmtrace.recording import EventBlock, Facts
    from kvmtrace.writers.events import WritableRecording

FIRST_SAMPLE_ID = 1
_RAW_AT = 60  # bytes of a sample before the raw record: what PERF_RECORD_DEFAULT asks for, and the record's size


def write_perf_data(recording: WritableRecording, target: Path, form: Form = Form.FILE) -> None:
    """Write a perf.data. UsageError: an event that has no fixed length, or a host without its number of CPUs."""
    writer = _Samples(recording)
    with PerfDataWriter(target, form, attrs=writer.attrs, features=writer.features(), order=writer.order) as output:
        output.write(b"".join(writer.names(recording.facts.threads, 0)))
        for block in recording.blocks():
            if not len(block.ts_ns):
                continue
            output.write(b"".join(writer.names(block.threads, int(block.ts_ns[0]))))
            output.write(writer.samples(block))
            output.write_user(record(RecordType.FINISHED_ROUND, b"", order=writer.order))


class _Samples:
    """Makes the records of one recording."""

    def __init__(self, recording: WritableRecording) -> None:
        self._recording = recording
        self._machine = Machine.of(recording.facts)
        self.order = self._machine.order
        self.attrs = [self._attr(kind) for kind in range(len(recording.facts.events))]

    def _attr(self, kind: int) -> Attr:
        event = self._recording.facts.events[kind]
        first = FIRST_SAMPLE_ID + kind * self._machine.cpus
        raw = tracepoint_attr(event.format.id, PERF_RECORD_DEFAULT, period=event.period or 1, order=self.order)
        return Attr(raw, tuple(range(first, first + self._machine.cpus)))

    def features(self) -> dict[int, bytes]:
        """Return the feature sections: what is known of the machine and the events."""
        recording, order = self._recording, self.order
        named = [
            (f"{event.system}:{event.name}", attr)
            for event, attr in zip(recording.facts.events, self.attrs, strict=True)
        ]
        return {
            Feature.TRACING_DATA: sections.tracing_data(
                texts_by_system(recording),
                header_page=recording.header_texts["header_page"],
                header_event=recording.header_texts["header_event"],
                order=order,
            ),
            Feature.EVENT_DESC: sections.event_desc_feature(named, order),
            Feature.NRCPUS: struct.pack(f"{order}II", self._machine.cpus, _online(recording.facts, self._machine.cpus)),
            **_told(recording.facts, order),
        }

    def names(self, threads: Mapping[tuple[int, int], str], ts_ns: int) -> Iterable[bytes]:
        """Return a PERF_RECORD_COMM for each thread."""
        for (pid, tid), name in threads.items():
            comm = name.encode()[:COMM_BYTES] + b"\0"
            body = struct.pack(f"{self.order}ii", pid, tid) + comm + bytes(-len(comm) % 8)
            origin = Origin(ts_ns, 0, max(pid, 0), max(tid, 0), FIRST_SAMPLE_ID)
            yield record(RecordType.COMM, body + sample_id(PERF_RECORD_DEFAULT, origin, self.order), order=self.order)

    def samples(self, block: EventBlock) -> memoryview:
        """Return the samples of a block: by CPU, on a CPU by time, those of one time in the order of the block."""
        parts, rows = [], []
        for kind, own in sorted(block.rows.items()):
            if len(own):
                parts.append(self._of_kind(block, kind).view(np.uint64))
                rows.append(own)
        places = np.concatenate(rows)
        order = np.lexsort((places, block.ts_ns[places], block.cpu[places]))
        return interleaved(parts, order)[0].data.cast("B")

    def _of_kind(self, block: EventBlock, kind: int) -> NDArray[np.uint8]:
        rows = block.rows[kind]
        event = self._recording.facts.events[kind]
        raw = raw_events(block, kind, event)
        room = raw.shape[1] + -(_RAW_AT + raw.shape[1]) % 8
        made = np.zeros(len(rows), _sample_type(self.order, room))
        cpu = block.cpu[rows]
        made["type"], made["misc"], made["size"] = RecordType.SAMPLE, CPUMODE_KERNEL, made.dtype.itemsize
        made["id"] = FIRST_SAMPLE_ID + kind * self._machine.cpus + cpu
        made["pid"], made["tid"], made["ts_ns"], made["cpu"] = block.pid[rows], block.tid[rows], block.ts_ns[rows], cpu
        made["period"], made["raw_bytes"] = event.period or 1, room
        content = made.view(np.uint8).reshape(len(rows), made.dtype.itemsize)
        content[:, _RAW_AT : _RAW_AT + raw.shape[1]] = raw
        return content


def _sample_type(order: str, room: int) -> np.dtype[Any]:
    """Return a PERF_RECORD_SAMPLE of PERF_RECORD_DEFAULT with `room` bytes of raw record."""
    parts = [
        *(("type", "u4"), ("misc", "u2"), ("size", "u2"), ("id", "u8"), ("ip", "u8"), ("pid", "i4"), ("tid", "i4")),
        *(("ts_ns", "u8"), ("cpu", "u4"), ("reserved", "u4"), ("period", "u8"), ("raw_bytes", "u4")),
    ]
    return np.dtype([*((name, order + kind) for name, kind in parts), ("raw", f"V{room}")])


def _online(facts: Facts, cpus: int) -> int:
    online = facts.host.get("cpus_online")
    return online if isinstance(online, int) else cpus


def _told(facts: Facts, order: str) -> dict[int, bytes]:
    """Return what is known of the host and the tool, as strings."""
    told = {
        Feature.HOSTNAME: facts.host.get("hostname"),
        Feature.OSRELEASE: facts.host.get("kernel"),
        Feature.VERSION: facts.tool.get("version"),
        Feature.ARCH: facts.host.get("arch"),
        Feature.CPUDESC: facts.host.get("cpu"),
        Feature.CPUID: facts.host.get("cpuid"),
    }
    strings = {int(bit): sections.string_feature(str(text), order) for bit, text in told.items() if text is not None}
    if command := facts.tool.get("cmdline"):
        strings[Feature.CMDLINE] = sections.cmdline_feature(command.split(" "), order)
    return strings
