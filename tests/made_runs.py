"""Makes recordings of KVM events by hand, ingests them, and gives back what the store holds of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.recording_builder import AMD, INTEL, Recording
from kvmtrace import schema
from kvmtrace.ingesting import ingest
from kvmtrace.store.label import Label
from kvmtrace.store.manifest import Manifest, events_table, run_folder
from kvmtrace.writers.perf_data_features import string_feature
from kvmtrace.writers.perf_data_file import Feature
from kvmtrace.writers.tracepoint_records import PERF_RECORD_DEFAULT, SampleType

if TYPE_CHECKING:
    from pathlib import Path

    from kvmtrace.writers.tracepoint_records import FieldValue

VMX, SVM = 1, 2
MSR, NPF, HLT, IO, CPUID = 0x7C, 0x400, 0x78, 0x7B, 0x72
"""Exit reasons of SVM."""
VMX_MSR_WRITE, VMX_PREEMPTION_TIMER, VMX_EPT_VIOLATION = 32, 52, 48
"""Exit reasons of VMX."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Thread:
    """A thread of a VMM, and the vCPU that it runs."""

    tid: int = 101
    pid: int = 100
    vcpu: int = 0


ONE = Thread()
"""The thread of most recordings."""


class KvmRecording(Recording):
    """A recording of one machine, whose exits and entries are told in one line each."""

    def __init__(
        self,
        *events: str,
        isa: int = SVM,
        kernel: str = "6.1.0-made",
        exits: bool = True,
        sample_type: SampleType = PERF_RECORD_DEFAULT,
    ) -> None:
        """Enable kvm_exit and kvm_entry (unless `exits` is false) and further `events` of the system kvm."""
        super().__init__(cpuid=AMD if isa == SVM else INTEL, sample_type=sample_type)
        self.isa = isa
        self.kernel = kernel
        for event in (*(("kvm_exit", "kvm_entry") if exits else ()), *events):
            self.add_tracepoint("kvm", event)

    def exit(self, ts_ns: int, reason: int = NPF, thread: Thread = ONE, *, cpu: int = 0, **fields: FieldValue) -> None:
        """Leave the guest."""
        own = {"exit_reason": reason, "isa": self.isa, "vcpu_id": thread.vcpu, **fields}
        self.add_sample("kvm_exit", ts_ns, cpu=cpu, pid=thread.pid, tid=thread.tid, fields=own)

    def enter(self, ts_ns: int, thread: Thread = ONE, *, cpu: int = 0) -> None:
        """Enter the guest."""
        self.event("kvm_entry", ts_ns, thread, cpu=cpu, vcpu_id=thread.vcpu)

    def event(self, name: str, ts_ns: int, thread: Thread = ONE, *, cpu: int = 0, **fields: FieldValue) -> None:
        """Add any other event."""
        self.add_sample(name, ts_ns, cpu=cpu, pid=thread.pid, tid=thread.tid, fields=fields)

    def features(self) -> dict[int, bytes]:
        """Return the feature sections, with this recording's kernel."""
        return {**super().features(), Feature.OSRELEASE: string_feature(self.kernel)}


@dataclass(frozen=True, slots=True)
class StoredRun:
    """One run of a store."""

    folder: Path
    manifest: Manifest

    def table(self, name: str) -> pa.Table:
        """Return a table by its path within the run; an empty one where nothing of it was stored."""
        parts = sorted((self.folder / name).glob("*.parquet")) or [
            path for path in [self.folder / f"{name}.parquet"] if path.exists()
        ]
        if not parts:
            return schema.TABLES[name].arrow_schema().empty_table()
        return pa.concat_tables(pq.ParquetFile(part).read() for part in parts)

    def exits(self) -> list[Row]:
        """Return the exits in the order of their events."""
        return sorted(self.table("exits").to_pylist(), key=lambda row: row["exit_id"])

    def only_exit(self) -> Row:
        """Return the exit of a run that has one."""
        (row,) = self.exits()
        return row

    def events(self, name: str, system: str = "kvm") -> list[Row]:
        """Return the events of one tracepoint in the order in which they are stored."""
        return self.table(events_table(system, name)).to_pylist()  # type: ignore[no-any-return]

    def closed_by(self) -> dict[str, int]:
        """Return how many exits were closed by what, without the zeros."""
        counts = self.manifest.exits.items()
        return {name.removeprefix("closed_by_"): n for name, n in counts if name.startswith("closed_by_") and n}


def stored(recording: Recording, folder: Path, form: str = "file") -> StoredRun:
    """Write a recording, ingest it into a store below `folder`, and return its run."""
    path = recording.write(folder / "made.data", form)
    return ingested(path, folder / "store")


def ingested(path: Path, store: Path) -> StoredRun:
    """Ingest a file that holds one run."""
    (run,) = ingest(str(path), store, Label())
    return StoredRun(run_folder(store, run.manifest.run_id), run.manifest)


def pick(row: Row, *names: str) -> tuple[Any, ...]:
    """Return some values of a row."""
    return tuple(row[name] for name in names)


def column(rows: list[Row], name: str) -> list[Any]:
    """Return one column of rows."""
    return [row[name] for row in rows]
