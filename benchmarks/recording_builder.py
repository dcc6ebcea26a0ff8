"""Small recordings made by hand, for tests of what comes after decoding (pairing, losses, identity).

    recording = Recording.of_kvm()
    recording.add_sample("kvm_exit", 1_000, cpu=0, pid=100, tid=101, fields={"exit_reason": 0x7C, "isa": 2})
    recording.add_sample("kvm_entry", 1_800, cpu=1, pid=100, tid=101, fields={"vcpu_id": 0})
    recording.add_round()
    recording.write(path, form="pipe")

Records are written in the order in which they were added, whatever their times.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from kvmtrace.synth import event_formats
from kvmtrace.tracepoints import EventFormat, parse_format
from kvmtrace.writers import perf_data_features as feature_contents
from kvmtrace.writers.perf_data_file import (
    FIRST_USER_TYPE,
    PIECE_BYTES,
    Attr,
    Feature,
    Form,
    PerfDataWriter,
    RecordType,
    record,
)
from kvmtrace.writers.tracepoint_records import (
    CPUMODE_KERNEL,
    PERF_RECORD_DEFAULT,
    FieldValue,
    Origin,
    SampleType,
    pack_fields,
    sample,
    sample_id,
    tracepoint_attr,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

AMD = "AuthenticAMD,25,1,1"
INTEL = "GenuineIntel,6,143,8"
FIRST_SAMPLE_ID = 1000
KERNEL = "6.1.0-made"


def format_text(system: str, event: str, kernel: str = "") -> str:
    """Return the format text of an event: kvm_hv is of ppc64, all else of x86-64. LookupError: there is none."""
    text = event_formats.format_text("ppc64" if system == "kvm_hv" else "x86_64", system, event, kernel)
    if text is None:
        raise LookupError(f"{system}:{event} of {kernel or 'Debian'}")
    return text


@dataclass(frozen=True, slots=True)
class MadeTracepoint:
    """One tracepoint of a recording; `attr.ids` has one sample id for each CPU."""

    system: str
    text: str
    event: EventFormat
    attr: Attr


class Recording:
    """Tracepoints, and `records` (whole, with their headers) in the order in which they were added."""

    def __init__(
        self,
        *,
        cpus: int = 4,
        cpuid: str = AMD,
        hostname: str = "made",
        sample_type: SampleType = PERF_RECORD_DEFAULT,
        kernel: str = KERNEL,
        arch: str = "x86_64",
        order: str = "<",
    ) -> None:
        """Begin a recording; `order` is the byte order of its machine, "<" or ">"."""
        self._cpus = cpus
        self._cpuid = cpuid
        self._hostname = hostname
        self._sample_type = sample_type
        self._kernel = kernel
        self._arch = arch
        self._order = order
        self._tracepoints: dict[str, MadeTracepoint] = {}
        self.records: list[bytes] = []

    @classmethod
    def of_kvm(cls, *events: str, cpus: int = 4, cpuid: str = AMD) -> Self:
        """Return a recording with kvm_exit, kvm_entry and further `events` of the system kvm, as in Debian's 6.1."""
        recording = cls(cpus=cpus, cpuid=cpuid)
        for event in ("kvm_exit", "kvm_entry", *events):
            recording.add_tracepoint("kvm", event)
        return recording

    def add_tracepoint(self, system: str, name: str, text: str | None = None, *, period: int = 1) -> MadeTracepoint:
        """Enable a tracepoint, by default with the format text of Debian's 6.1; samples say `name` or `system:name`."""
        text = format_text(system, name) if text is None else text
        event = parse_format(text)
        first_id = FIRST_SAMPLE_ID + len(self._tracepoints) * self._cpus
        ids = tuple(range(first_id, first_id + self._cpus))
        attr = Attr(tracepoint_attr(event.id, self._sample_type, period=period, order=self._order), ids)
        made = MadeTracepoint(system, text, event, attr)
        self._tracepoints[f"{system}:{name}"] = made
        return made

    def add_sample(
        self,
        event: str,
        ts_ns: int,
        *,
        cpu: int = 0,
        pid: int = 100,
        tid: int = 101,
        fields: Mapping[str, FieldValue] | None = None,
        period: int = 1,
        callchain: Sequence[int] = (),
        misc: int = CPUMODE_KERNEL,
    ) -> None:
        """Add a sample of a tracepoint; fields that are not named are 0, those of the common head are right."""
        tracepoint = self._tracepoint(event)
        common: dict[str, FieldValue] = {"common_type": tracepoint.event.id, "common_pid": tid}
        raw = pack_fields(tracepoint.event, common | dict(fields or {}), self._order)
        origin = self._origin(ts_ns, cpu, pid=pid, tid=tid, event=event)
        self.records.append(
            sample(self._sample_type, origin, raw, period=period, callchain=callchain, misc=misc, order=self._order),
        )

    def add_comm(self, comm: str, *, pid: int = 100, tid: int = 101, ts_ns: int = 0, cpu: int = 0) -> None:
        """Name a thread (PERF_RECORD_COMM)."""
        body = self._pack("II", pid, tid) + _padded(comm)
        self._add_side_band(RecordType.COMM, body, self._origin(ts_ns, cpu, pid=pid, tid=tid))

    def add_fork(self, *, pid: int, tid: int, parent_pid: int, parent_tid: int, ts_ns: int, cpu: int = 0) -> None:
        """Start a thread or process (PERF_RECORD_FORK)."""
        body = self._pack("IIIIQ", pid, parent_pid, tid, parent_tid, ts_ns)
        self._add_side_band(RecordType.FORK, body, self._origin(ts_ns, cpu, pid=pid, tid=tid))

    def add_lost(self, events: int, ts_ns: int, *, cpu: int = 0, event: str | None = None) -> None:
        """Say that `events` events were lost on `cpu` since its last record (PERF_RECORD_LOST)."""
        origin = self._origin(ts_ns, cpu, event=event)
        self._add_side_band(RecordType.LOST, self._pack("QQ", origin.sample_id, events), origin)

    def add_lost_samples(self, events: int, ts_ns: int, *, cpu: int = 0) -> None:
        """Say that `events` samples were lost (PERF_RECORD_LOST_SAMPLES)."""
        self._add_side_band(RecordType.LOST_SAMPLES, self._pack("Q", events), self._origin(ts_ns, cpu))

    def add_round(self) -> None:
        """End a round: all CPUs were read once (PERF_RECORD_FINISHED_ROUND)."""
        self.records.append(record(RecordType.FINISHED_ROUND, b"", order=self._order))

    def add_record(self, whole_record: bytes) -> None:
        """Add any record as it is, its header included."""
        self.records.append(whole_record)

    def write(self, path: Path, form: Form | str = Form.FILE, *, piece_bytes: int = PIECE_BYTES) -> Path:
        """Write the recording to `path` and return it; `piece_bytes` are what one COMPRESSED record unpacks to."""
        attrs = [tracepoint.attr for tracepoint in self._tracepoints.values()]
        with PerfDataWriter(
            path, form, attrs=attrs, features=self.features(), piece_bytes=piece_bytes, order=self._order
        ) as output:
            for whole_record in self.records:
                (record_type,) = struct.unpack_from(f"{self._order}I", whole_record)
                (output.write if record_type < FIRST_USER_TYPE else output.write_user)(whole_record)
        return path

    def features(self) -> dict[int, bytes]:
        """Return the feature sections: what the recording says of its machine and its events."""
        formats: dict[str, list[str]] = {}
        for tracepoint in self._tracepoints.values():
            formats.setdefault(tracepoint.system, []).append(tracepoint.text)
        named = [(name, made.attr) for name, made in self._tracepoints.items()]
        order = self._order
        return {
            Feature.TRACING_DATA: feature_contents.tracing_data(
                formats,
                header_page=event_formats.header_text("x86_64", "header_page"),
                header_event=event_formats.header_text("x86_64", "header_event"),
                order=order,
            ),
            Feature.HOSTNAME: feature_contents.string_feature(self._hostname, order),
            Feature.OSRELEASE: feature_contents.string_feature(self._kernel, order),
            Feature.VERSION: feature_contents.string_feature("6.1", order),
            Feature.ARCH: feature_contents.string_feature(self._arch, order),
            Feature.NRCPUS: self._pack("II", self._cpus, self._cpus),
            Feature.CPUDESC: feature_contents.string_feature("made processor", order),
            Feature.CPUID: feature_contents.string_feature(self._cpuid, order),
            Feature.CMDLINE: feature_contents.cmdline_feature(
                ("perf", "record", "-a", "-e", ",".join(self._tracepoints)), order
            ),
            Feature.EVENT_DESC: feature_contents.event_desc_feature(named, order),
        }

    def _tracepoint(self, event: str | None) -> MadeTracepoint:
        """Return the tracepoint `event`, or the first; KeyError: none or several have that name."""
        named = [name for name in self._tracepoints if event is None or event in {name, name.partition(":")[2]}]
        if not named or (event is not None and len(named) > 1):
            raise KeyError(f"{event}: expected one of {', '.join(self._tracepoints)}")
        return self._tracepoints[named[0]]

    def _origin(self, ts_ns: int, cpu: int, *, pid: int = 0, tid: int = 0, event: str | None = None) -> Origin:
        return Origin(ts_ns, cpu, pid, tid, self._tracepoint(event).attr.ids[cpu])

    def _add_side_band(self, record_type: RecordType, body: bytes, origin: Origin) -> None:
        ended = body + sample_id(self._sample_type, origin, self._order)
        self.records.append(record(record_type, ended, order=self._order))

    def _pack(self, layout: str, *numbers: int) -> bytes:
        return struct.pack(f"{self._order}{layout}", *numbers)


def _padded(text: str) -> bytes:
    raw = text.encode() + b"\0"
    return raw + bytes(-len(raw) % 8)
