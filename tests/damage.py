"""Damaged perf.data, and what becomes of it: what could be read and noted, or one error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import pyarrow as pa

from benchmarks.recording_builder import Recording
from kvmtrace.errors import KvmtraceError
from kvmtrace.formats import detect
from kvmtrace.formats.perf_data import PerfDataRecording
from kvmtrace.formats.source import open_source
from kvmtrace.ingesting import ingest, storing
from kvmtrace.store.label import Label
from kvmtrace.store.manifest import Manifest, TableInfo
from kvmtrace.writers.perf_data_features import tracing_data
from kvmtrace.writers.perf_data_file import Feature

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

_COMMON = """\
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

"""
KVM_EXIT = f"""\
name: kvm_exit
ID: 11
format:
{_COMMON}\
\tfield:unsigned int exit_reason;\toffset:8;\tsize:4;\tsigned:0;
\tfield:unsigned long guest_rip;\toffset:16;\tsize:8;\tsigned:0;
\tfield:u32 isa;\toffset:24;\tsize:4;\tsigned:0;
\tfield:unsigned int vcpu_id;\toffset:28;\tsize:4;\tsigned:0;

print fmt: "vcpu %u reason %s", REC->vcpu_id, __print_symbolic(REC->exit_reason, {{ 0x078, "hlt" }}, {{ 0x07c, "msr" }})
"""
KVM_ENTRY = f"""\
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
\tfield:bool loud;\toffset:16;\tsize:1;\tsigned:0;

print fmt: "%s", __get_str(text)
"""


class SmallRecording(Recording):
    """A recording of two kvm events and one with text, whose header is as short as can be."""

    def __init__(self) -> None:
        super().__init__(cpus=1)
        self.add_tracepoint("kvm", "kvm_exit", KVM_EXIT)
        self.add_tracepoint("kvm", "kvm_entry", KVM_ENTRY)
        self.add_tracepoint("made", "said", SAID)

    def features(self) -> dict[int, bytes]:
        """Return the feature sections without most of them, and with short ones."""
        formats = {"kvm": [KVM_EXIT, KVM_ENTRY], "made": [SAID]}
        kept = {Feature.ARCH, Feature.OSRELEASE, Feature.EVENT_DESC}
        features = {bit: content for bit, content in super().features().items() if bit in kept}
        return features | {Feature.TRACING_DATA: tracing_data(formats, header_page="", header_event="")}

    def add_turn(self, ts_ns: int) -> None:
        """Add an exit with text inside, and the entry 600 ns later."""
        self.add_sample("kvm_exit", ts_ns, fields={"exit_reason": 0x7C, "isa": 2})
        self.add_sample("said", ts_ns + 100, fields={"text": "so", "numbers": [1, 2]})
        self.add_sample("kvm_entry", ts_ns + 600)


def small_recording(turns: int = 6) -> SmallRecording:
    """Return a recording of `turns` exits in two rounds, with a thread's name and a loss."""
    recording = SmallRecording()
    recording.add_comm("CPU 0/KVM")
    for turn in range(turns):
        recording.add_turn(1_000 * (turn + 1))
        if turn == turns // 2:
            recording.add_lost(3, 1_000 * (turn + 1) + 700)
            recording.add_round()
    return recording


class MemoryWriter:
    """A store.writer.RunWriter that writes nothing, so that thousands of inputs can be ingested in a minute."""

    def __init__(self, store: Path, *, jobs: int = 1) -> None:
        del store, jobs
        self._tables: dict[str, list[pa.Table]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, job: Callable[[], None]) -> None:
        job()

    def add(self, table: str, rows: pa.Table) -> None:
        self._tables.setdefault(table, []).append(rows)

    def write_small(self, table: str, rows: pa.Table) -> None:
        self._tables[table] = [rows]

    def close_tables(self) -> dict[str, TableInfo]:
        whole = {name: pa.concat_tables(parts) for name, parts in self._tables.items()}
        for table in whole.values():
            table.validate(full=True)
        return {name: TableInfo(table.num_rows, {}) for name, table in whole.items()}

    def finish(self, manifest: Manifest, label: Label, *, replace: bool = False) -> bool:
        del label, replace
        return bool(manifest.to_json())


def keep_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ingests write to memory."""
    monkeypatch.setattr(storing, "RunWriter", MemoryWriter)


def ingested(path: Path, store: Path) -> Manifest | KvmtraceError:
    """Ingest a file as far as it goes; every other exception is a bug, and passes."""
    try:
        (run,) = ingest(str(path), store, Label())
    except KvmtraceError as error:
        return error
    return run.manifest


def assert_accounted(manifest: Manifest) -> None:
    """Every sample of the source is a row, or noted, or counted as not stored; every row is in a table."""
    rows = sum(tracepoint.rows for tracepoint in manifest.tracepoints)
    noted = sum(note.events for note in manifest.notes)
    assert manifest.records.get("SAMPLE", 0) == rows + noted + sum(manifest.not_stored.values())
    assert sum(info.rows for name, info in manifest.tables.items() if name.startswith("events/")) == rows
    if manifest.exits:
        assert manifest.tables.get("exits", TableInfo(0, {})).rows == manifest.exits["rows"]


class Read:
    """What reading a file to its end gave, without pairing and storing: a fifth of the time of an ingest."""

    def __init__(self, path: Path) -> None:
        with open_source(str(path)) as source:
            recording = detect.read(source)[0]
            assert isinstance(recording, PerfDataRecording)
            self.rows = 0
            for block in recording.blocks():
                self.rows += len(block.ts_ns)
                stored = [pa.table(fields.arrow()) for fields in block.fields.values()]
                assert sum(table.num_rows for table in stored) == len(block.ts_ns)
                for table in stored:
                    table.validate(full=True)
        self.notes = recording.notes
        self.records = recording.facts.records
        self.not_stored = sum(recording.facts.not_stored.values())
        assert self.records["SAMPLE"] == self.rows + self.notes.events + self.not_stored

    def has_trouble(self, whole: Read) -> bool:
        """Tell whether something says that rows are missing: a note, a count, or records of another type."""
        others = sum(self.records.values()) - self.records["SAMPLE"]
        return (
            bool(self.notes.kept or self.not_stored) or others > sum(whole.records.values()) - whole.records["SAMPLE"]
        )


def read(path: Path) -> Read | KvmtraceError:
    """Read a file as far as it goes; every other exception is a bug, and passes."""
    try:
        return Read(path)
    except KvmtraceError as error:
        return error
