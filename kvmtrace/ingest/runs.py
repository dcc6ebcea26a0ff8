"""One input → its runs, each put in its place as soon as it is whole."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmtrace.errors import InputError, StoreError, UnknownFormatError, UsageError
from kvmtrace.formats import detect
from kvmtrace.formats.ahead import read_ahead
from kvmtrace.formats.archives import is_archive, members
from kvmtrace.formats.source import ReadOptions, Source, open_source
from kvmtrace.ingest.account import recording_manifest, table_manifest
from kvmtrace.ingest.intake import Intake
from kvmtrace.recording import TableSet
from kvmtrace.store import manifest as stored
from kvmtrace.store.catalogue import Catalogue
from kvmtrace.store.label import Label, read_label, write_label
from kvmtrace.store.writer import RunWriter

if TYPE_CHECKING:
    from pathlib import Path

    from kvmtrace.recording import Content, Recording

DEFAULT_JOBS = min(os.cpu_count() or 1, 2)
"""More than two would wait for each other."""
DEFAULT_OPTIONS = ReadOptions(jobs=DEFAULT_JOBS)
Failed = Callable[[InputError], None]
"""Told why a file of an archive was not ingested."""
Progress = Callable[[int, int], None]
"""Told the bytes read and the bytes in all."""
Stored = Callable[["Ingested"], None]
"""Told what became of a run."""


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of one run of an input."""

    manifest: stored.Manifest
    was_there: bool  # the same content was ingested before


def ingest(
    path: str,
    store: Path,
    label: Label,
    *,
    refresh: bool = False,
    format_name: str | None = None,
    options: ReadOptions = DEFAULT_OPTIONS,
    progress: Progress | None = None,
    failed: Failed | None = None,
    stored: Stored | None = None,
) -> list[Ingested]:
    """Read the input at `path` ("-": standard input) into `store`, and return its runs.

    `refresh`: take it in again where it is there, and in place of the run that an older version made of it.
    `format_name`: the format that it must be of, as `kvmtrace formats` names it; None: told by its content.
    `failed`: told of each file of an archive that could not be ingested, while the others are; None: the first such
    is raised, but for those that are of none of the formats.
    `stored`: told of each run once it is in the store, where it stays whatever becomes of those behind it.
    UsageError: no format of that name, or a label for several runs. InputError: not readable. StoreError: the store
    cannot be written; nothing of the run at hand is left behind then.
    """
    label.check()
    order = _Order(store, label, refresh, format_name, progress, stored)
    with open_source(path, options) as source:
        if is_archive(source.head()):
            return _ingest_archive(source, order, failed)
        return _ingest_source(source, order)


@dataclass(frozen=True, slots=True)
class _Order:
    """What is asked of an ingest."""

    store: Path
    label: Label
    refresh: bool
    format_name: str | None
    progress: Progress | None
    stored: Stored | None

    def check_label(self, path: str, runs: int) -> None:
        """UsageError: a label, which names one run, and several runs."""
        if self.label.label is not None and runs > 1:
            raise UsageError(
                f"--label names one run, and {path} holds several",
                hint="use --tag, or name each run afterwards: kvmtrace runs label",
            )


def _ingest_archive(archive: Source, order: _Order, failed: Failed | None) -> list[Ingested]:
    if order.label.label is not None:
        order.check_label(archive.path, _count_runs(archive, order))
    runs: list[Ingested] = []
    files = 0
    for member in members(archive):
        files += 1
        try:
            if isinstance(member, InputError):
                raise member
            with member:
                runs += _ingest_source(member, order)
        except InputError as error:
            if failed is not None:
                failed(error)
            elif not isinstance(error, UnknownFormatError):
                raise
    if not runs:
        raise InputError(archive.path, f"expected a recording in the archive, found none in its {files} files")
    return runs


def _count_runs(archive: Source, order: _Order) -> int:
    """Return how many runs the files of an archive make: 0, 1 or several."""
    runs, taken = 0, archive.allowance.taken
    for member in members(archive):
        if isinstance(member, Source):
            with member, suppress(InputError):
                runs += len(detect.read(member, order.format_name))
        if runs > 1:
            break
    archive.allowance.taken = taken
    return runs


def _ingest_source(source: Source, order: _Order) -> list[Ingested]:
    contents = detect.read(source, order.format_name)
    several = len(contents) > 1
    order.check_label(source.path, len(contents))
    runs: list[Ingested] = []
    for number, content in enumerate(contents, 1):
        runs.append(_store(content, source, f"#{number}" if several else None, order))
        if order.stored is not None:
            order.stored(runs[-1])
    if order.progress is not None:
        order.progress(source.size, source.size)
    return runs


def _store(content: Content, source: Source, part: str | None, order: _Order) -> Ingested:
    with RunWriter(order.store, jobs=source.options.jobs) as writer:
        if isinstance(content, TableSet):
            writer.write_small(content.table, content.rows)
            manifest = table_manifest(content, _origin(content, source, part), writer.close_tables())
        else:
            manifest = _take(content, source, part, writer, order.progress)
        return _finish(writer, manifest, order.store, order.label, refresh=order.refresh)


def _take(
    recording: Recording, source: Source, part: str | None, writer: RunWriter, progress: Progress | None
) -> stored.Manifest:
    intake = Intake(recording, writer)
    for block in read_ahead(recording.blocks()) if source.options.jobs > 1 else recording.blocks():
        intake.take(block)
        if progress is not None:
            progress(source.progress, source.size)
    intake.finish()
    tables = writer.close_tables()
    return recording_manifest(recording, intake.seen, intake.builder, _origin(recording, source, part), tables)


def _origin(content: Content, source: Source, part: str | None) -> stored.Source:
    facts = content.facts
    return stored.Source(source.name, facts.format, source.size, source.digest(), part, facts.part, facts.clock_hz)


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
