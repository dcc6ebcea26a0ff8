"""Recordings in a store, ingested when a test first asks for them, and their tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from kvmtrace.formats import detect
from kvmtrace.formats.perf_data import PerfDataRecording
from kvmtrace.formats.source import open_source
from kvmtrace.ingesting import ingest
from kvmtrace.store.label import Label
from kvmtrace.store.manifest import Manifest, events_table, run_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kvmtrace.recording import EventKind


class IngestedRecordings:
    """Runs of perf.data files in one store."""

    def __init__(self, store: Path) -> None:
        self.store = store
        self._manifests: dict[Path, Manifest] = {}

    def manifest(self, path: Path) -> Manifest:
        """Return the manifest of a recording."""
        if path not in self._manifests:
            (run,) = ingest(str(path), self.store, Label())
            self._manifests[path] = run.manifest
        return self._manifests[path]

    def table(self, path: Path, name: str) -> pa.Table:
        """Return a table of a recording by its name in the manifest. KeyError: it has none of that name."""
        return read_table(self.store, self.manifest(path), name)

    def events(self, path: Path) -> Iterator[tuple[EventKind, pa.Table]]:
        """Yield each tracepoint that fired, and the table of its events."""
        for kind in event_kinds(path):
            name = events_table(kind.system, kind.name)
            if name in self.manifest(path).tables:
                yield kind, self.table(path, name)


def event_kinds(path: Path) -> list[EventKind]:
    """Return the tracepoints of a perf.data, with their format texts."""
    with open_source(str(path)) as source:
        (recording,) = detect.read(source)
        assert isinstance(recording, PerfDataRecording)
        return recording.facts.events


def read_table(store: Path, manifest: Manifest, name: str) -> pa.Table:
    """Return a table of a run by its name in the manifest. KeyError: it has none of that name."""
    assert manifest.tables[name].rows >= 0
    path = run_folder(store, manifest.run_id) / name
    return pq.read_table(path if path.is_dir() else path.with_name(path.name + ".parquet"), partitioning=None)
