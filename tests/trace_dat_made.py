"""Made-up trace.dat of a few tracepoints, and what came of them when they are read."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvmtrace.errors import InputError
from kvmtrace.formats.source import ReadOptions, open_source
from kvmtrace.formats.trace_dat import FORMAT
from kvmtrace.recording import NO_WATERMARK, EventBlock, Loss
from kvmtrace.tracepoints import parse_format
from kvmtrace.writers.tracepoint_records import pack_fields

if TYPE_CHECKING:
    from trace_dat_pages import PageWriter

    from kvmtrace.formats.trace_dat.reader import TraceDatRecording
    from kvmtrace.writers.tracepoint_records import FieldValue

_COMMON = """\
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

"""
EXIT = f"""\
name: kvm_exit
ID: 11
format:
{_COMMON}\
\tfield:unsigned int exit_reason;\toffset:8;\tsize:4;\tsigned:0;
\tfield:unsigned long guest_rip;\toffset:16;\tsize:8;\tsigned:0;
\tfield:u32 isa;\toffset:24;\tsize:4;\tsigned:0;
\tfield:unsigned int vcpu_id;\toffset:28;\tsize:4;\tsigned:0;

print fmt: "vcpu %u reason %u rip 0x%lx isa %u", REC->vcpu_id, REC->exit_reason, REC->guest_rip, REC->isa
"""
ENTRY = f"""\
name: kvm_entry
ID: 12
format:
{_COMMON}\
\tfield:unsigned int vcpu_id;\toffset:8;\tsize:4;\tsigned:0;

print fmt: "vcpu %u", REC->vcpu_id
"""
SAID = f"""\
name: said
ID: 13
format:
{_COMMON}\
\tfield:__data_loc char[] text;\toffset:8;\tsize:4;\tsigned:1;
\tfield:__data_loc u16[] numbers;\toffset:12;\tsize:4;\tsigned:1;

print fmt: "%s", __get_str(text)
"""
FORMATS = {"kvm": [EXIT, ENTRY], "made": [SAID]}
_PARSED = {event.name: event for event in map(parse_format, (EXIT, ENTRY, SAID))}


def payload(name: str, tid: int = 7, order: str = "<", **fields: FieldValue) -> bytes:
    """Return an event's bytes, from common_type on."""
    event = _PARSED[name]
    return pack_fields(event, {"common_type": event.id, "common_pid": tid, **fields}, order)


def turns(pages: PageWriter, count: int, *, start: int = 1000, step: int = 1000, vcpu: int = 0, tid: int = 7) -> None:
    """Add exits and entries, 600 apart, `count` of each."""
    for turn in range(count):
        ts = start + turn * step
        exit_ = payload("kvm_exit", tid, pages.order, exit_reason=turn % 99, guest_rip=1 << 40 | turn, vcpu_id=vcpu)
        pages.add(ts, exit_)
        pages.add(ts + 600, payload("kvm_entry", tid, pages.order, vcpu_id=vcpu))


@dataclass(slots=True)
class Read:
    """All that came of one buffer: each event as ts, cpu, tid, name and its fields, in the order of the blocks."""

    recording: TraceDatRecording
    events: list[tuple[int, int, int, str, dict[str, Any]]] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    watermarks: list[int] = field(default_factory=list)
    losses_from: int | None = None  # the first block that told of a loss
    settled: list[int] = field(default_factory=list)  # of each event: what was settled before it came

    @property
    def notes(self) -> list[str]:
        """What the notes say."""
        return [f"{note.where}: {note.what}" for note in self.recording.notes.kept]

    @property
    def times(self) -> list[int]:
        """The times of all events, in order."""
        return sorted(event[0] for event in self.events)

    def by_cpu(self, cpu: int) -> list[tuple[int, int, int, str, dict[str, Any]]]:
        """Return the events of one CPU."""
        return [event for event in self.events if event[1] == cpu]

    def add(self, block: EventBlock) -> None:
        """Take over a block, which must keep the promises of its kind."""
        settled = max(self.watermarks, default=NO_WATERMARK)
        assert not len(block.ts_ns) or int(block.ts_ns.min()) > settled
        if block.losses and self.losses_from is None:
            self.losses_from = len(self.watermarks)
        self.watermarks.append(block.watermark_ns)
        self.settled += [settled] * len(block.ts_ns)
        self.losses += block.losses
        fields: list[dict[str, Any]] = [{} for _ in block.ts_ns]
        for kind, own in block.fields.items():
            assert (block.kind[block.rows[kind]] == kind).all()
            for name, column in own.arrow().items():
                column.validate(full=True)
                assert len(column) == len(block.rows[kind])
                for row, value in zip(block.rows[kind].tolist(), column.to_pylist(), strict=True):
                    fields[row][name] = value
        names = [self.recording.facts.events[kind].name for kind in block.kind.tolist()]
        columns = (block.ts_ns.tolist(), block.cpu.tolist(), block.tid.tolist(), names, fields)
        self.events += zip(*columns, strict=True)


def read_path(path: Path, *, clock_hz: int | None = None) -> list[Read]:
    """Read a file as far as it goes. InputError: nothing of it can be read."""
    with open_source(str(path), ReadOptions(clock_hz=clock_hz)) as source:
        result = []
        for recording in FORMAT.read(source):
            read = Read(recording)  # type: ignore[arg-type]
            for block in read.recording.blocks():
                read.add(block)
            assert_accounted(read)
            result.append(read)
        return result


def assert_accounted(read: Read) -> None:
    """Every event of the pages is a row, or noted, or counted as not stored."""
    facts = read.recording.facts
    elsewhere = read.recording.notes.events + sum(facts.not_stored.values())
    assert facts.records["events"] == len(read.events) + elsewhere
    assert sum(facts.samples.values()) + sum(facts.not_stored.values()) == facts.records["events"]


def read_bytes(content: bytes, *, clock_hz: int | None = None) -> list[Read]:
    """Read a file's bytes as far as they go. InputError: nothing of them can be read."""
    with tempfile.NamedTemporaryFile(suffix=".dat") as file:
        file.write(content)
        file.flush()
        return read_path(Path(file.name), clock_hz=clock_hz)


def survives(content: bytes) -> None:
    """Read bytes that may be damaged in any way: rows, notes, or one InputError come out."""
    try:
        read_bytes(content)
    except InputError as error:
        assert error.message  # noqa: PT017 - any message will do
