"""What an origin holds → runs in the store, each put in its place as soon as it is whole."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from kvmtrace.errors import StoreError, UsageError
from kvmtrace.formats.ahead import read_ahead
from kvmtrace.ingesting.account import recording_manifest, table_manifest
from kvmtrace.ingesting.intake import Intake
from kvmtrace.recording import TableSet
from kvmtrace.store import manifest as stored
from kvmtrace.store.catalogue import Catalogue
from kvmtrace.store.label import Label, read_label, write_label
from kvmtrace.store.writer import RunWriter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kvmtrace.ingesting.listening import Listener
    from kvmtrace.recording import Content, Recording

DEFAULT_JOBS = min(os.cpu_count() or 1, 2)
"""More than two would wait for each other."""
Progress = Callable[[int, int], None]
"""Told how much is done, and how much there is in all: bytes of a file."""
Stored = Callable[["Ingested"], None]
"""Told what became of a run."""
Beside = Callable[[stored.Manifest, Label], tuple[stored.Manifest, Label]]
"""Adds to a run's manifest and label what is known once its contents are gone through."""


class Origin(Protocol):
    """Where runs come from: a file, or a model."""

    @property
    def path(self) -> str:
        """How the user named it."""

    @property
    def name(self) -> str:
        """Its name in the store."""

    @property
    def size(self) -> int:
        """Bytes of it."""

    @property
    def jobs(self) -> int:
        """1: make and store in turn; 2: side by side."""

    @property
    def progress(self) -> int:
        """How much of it is gone through."""

    def digest(self) -> str:
        """Return what tells it from any other, once its contents are gone through."""


@dataclass(frozen=True, slots=True, repr=False)
class Ingested:
    """What became of one run."""

    manifest: stored.Manifest
    was_there: bool  # the same content was ingested before

    @property
    def run_id(self) -> str:
        """Id of the run."""
        return self.manifest.run_id

    def __repr__(self) -> str:
        there = ", in the store already" if self.was_there else ""
        return f"<{self.manifest.kind} {self.run_id} of {self.manifest.source.title!r}{there}>"


@dataclass(frozen=True, slots=True)
class Order:
    """Where runs are put, and who is told."""

    store: Path
    label: Label = field(default_factory=Label)
    refresh: bool = False  # in place of the run that is there, and of those that an older version made
    progress: Progress | None = None
    stored: Stored | None = None
    listener: Listener | None = None
    beside: Beside | None = None

    def check_label(self, path: str, runs: int) -> None:
        """UsageError: a label, which names one run, and several runs."""
        if self.label.label is not None and runs > 1:
            raise UsageError(
                f"--label names one run, and {path} holds several",
                hint="use --tag, or name each run afterwards: kvmtrace runs label",
            )


def store_contents(contents: Sequence[Content], origin: Origin, order: Order) -> list[Ingested]:
    """Store each of the contents as a run. UsageError: a label for several. StoreError: the store cannot be written."""
    several = len(contents) > 1
    order.check_label(origin.path, len(contents))
    runs: list[Ingested] = []
    for number, content in enumerate(contents, 1):
        runs.append(_store(content, origin, f"#{number}" if several else None, order))
        if order.stored is not None:
            order.stored(runs[-1])
    if order.progress is not None:
        order.progress(origin.size, origin.size)
    return runs


def _store(content: Content, origin: Origin, part: str | None, order: Order) -> Ingested:
    with RunWriter(order.store, jobs=origin.jobs) as writer:
        if isinstance(content, TableSet):
            writer.write_small(content.table, content.rows)
            manifest = table_manifest(content, _source(content, origin, part), writer.close_tables())
        else:
            manifest = _take(content, origin, part, writer, order)
        label = order.label
        if order.beside is not None:
            manifest, label = order.beside(manifest, label)
        return _finish(writer, manifest, order.store, label, refresh=order.refresh)


def _take(recording: Recording, origin: Origin, part: str | None, writer: RunWriter, order: Order) -> stored.Manifest:
    intake = Intake(recording, writer, order.listener)
    for block in read_ahead(recording.blocks()) if origin.jobs > 1 else recording.blocks():
        intake.take(block)
        if order.progress is not None:
            order.progress(origin.progress, origin.size)
    intake.finish()
    tables = writer.close_tables()
    return recording_manifest(recording, intake.seen, intake.builder, _source(recording, origin, part), tables)


def _source(content: Content, origin: Origin, part: str | None) -> stored.Source:
    facts = content.facts
    return stored.Source(origin.name, facts.format, origin.size, origin.digest(), part, facts.part, facts.clock_hz)


def _finish(writer: RunWriter, manifest: stored.Manifest, store: Path, label: Label, *, refresh: bool) -> Ingested:
    folder = stored.run_folder(store, manifest.run_id)
    if not refresh:
        return _add(writer, manifest, folder, label)
    catalogue = Catalogue(store)
    older = [other.run_id for other in catalogue.manifests() if _is_older(other, manifest)]
    for replaced in (manifest.run_id, *older):
        label = _named(label, catalogue.label(replaced))
    was_there = not writer.finish(manifest, label, replace=True)
    for replaced in older:
        catalogue.remove(replaced)
    return Ingested(manifest, was_there)


def _add(writer: RunWriter, manifest: stored.Manifest, folder: Path, label: Label) -> Ingested:
    if writer.finish(manifest, label):
        return Ingested(manifest, was_there=False)
    try:
        there = stored.read_manifest(folder)
    except StoreError as error:
        raise StoreError(error.message, hint="--refresh puts the run in its place again") from None
    if label != Label():
        write_label(folder, _named(label, read_label(folder)))
    return Ingested(there, was_there=True)


def _is_older(other: stored.Manifest, manifest: stored.Manifest) -> bool:
    """Tell whether an older schema version made that run of the same part of the same content."""
    return other.source.identity == manifest.source.identity and _version(other) < _version(manifest)


def _version(manifest: stored.Manifest) -> tuple[int, ...]:
    return tuple(int(part) for part in manifest.schema_version.split("."))


def _named(label: Label, before: Label) -> Label:
    """Return a new label, with what it does not say as it was before."""
    return Label(label.label or before.label, before.tags | label.tags)
