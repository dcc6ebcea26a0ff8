"""One input → its runs, each put in its place."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmtrace import __version__, schema
from kvmtrace.errors import StoreError
from kvmtrace.formats import detect
from kvmtrace.formats.source import Source, open_source
from kvmtrace.ingest.account import now, recording_manifest, run_id, stored_note
from kvmtrace.ingest.intake import Intake
from kvmtrace.store import manifest as stored
from kvmtrace.store.catalogue import Catalogue
from kvmtrace.store.label import Label, read_label, write_label
from kvmtrace.store.writer import RunWriter

if TYPE_CHECKING:
    from pathlib import Path

    from kvmtrace.recording import CounterSet, Recording

DEFAULT_JOBS = min(os.cpu_count() or 1, 2)
"""More than two would wait for each other."""
Progress = Callable[[int, int], None]
"""Told the bytes read and the bytes in all."""


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
    jobs: int = DEFAULT_JOBS,
    progress: Progress | None = None,
) -> list[Ingested]:
    """Read the input at `path` ("-": standard input) into `store`, and return its runs.

    `refresh`: take it in again where it is there, and in place of the run that an older version made of it.
    `jobs`: 1 works on one thing at a time; 2 decodes and writes side by side.
    InputError: not readable. StoreError: the store cannot be written; nothing is left behind then.
    """
    label.check()
    with open_source(path, jobs=jobs) as source:
        found = detect.read(source)
        if isinstance(found, list):
            digest = source.digest()
            return [
                _store_counters(counters, source, digest, number, store, label, refresh=refresh)
                for number, counters in enumerate(found, 1 if len(found) > 1 else 0)
            ]
        with RunWriter(store, jobs=jobs) as writer:
            return [_store_recording(found, source, writer, store, label, refresh=refresh, progress=progress)]


def _store_recording(
    recording: Recording,
    source: Source,
    writer: RunWriter,
    store: Path,
    label: Label,
    *,
    refresh: bool,
    progress: Progress | None,
) -> Ingested:
    intake = Intake(recording, writer)
    for block in recording.blocks():
        intake.take(block)
        if progress is not None:
            progress(source.position, source.size)
    intake.finish()
    tables = writer.close_tables()
    origin = stored.Source(source.name, recording.facts.format, source.size, source.digest())
    if progress is not None:
        progress(source.size, source.size)
    manifest = recording_manifest(recording, intake.seen, intake.builder, origin, tables)
    return _finish(writer, manifest, store, label, refresh=refresh)


def _store_counters(
    counters: CounterSet, source: Source, digest: str, number: int, store: Path, label: Label, *, refresh: bool
) -> Ingested:
    part = f"#{number}" if number else None
    origin = stored.Source(source.name, counters.facts.format, source.size, digest, part, counters.part)
    with RunWriter(store) as writer:
        writer.write_small("counters", counters.counters)
        manifest = stored.Manifest(
            run_id=run_id(digest, part),
            kind="counters",
            source=origin,
            ingested_at=now(),
            kvmtrace_version=__version__,
            schema_version=schema.VERSION,
            host=counters.facts.host,
            tool=counters.facts.tool,
            start=counters.facts.start,
            elapsed_ns=counters.elapsed_ns,
            enabled_ns=counters.enabled_ns,
            tables=writer.close_tables(),
            notes=tuple(stored_note(note) for note in counters.notes),
            left_out=tuple(counters.facts.left_out),
        )
        return _finish(writer, manifest, store, label, refresh=refresh)


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
    same = (other.source.digest, other.source.part) == (manifest.source.digest, manifest.source.part)
    return same and _version(other) < _version(manifest)


def _version(manifest: stored.Manifest) -> tuple[int, ...]:
    return tuple(int(part) for part in manifest.schema_version.split("."))


def _named(label: Label, before: Label) -> Label:
    """Return a new label, with what it does not say as it was before."""
    return Label(label.label or before.label, before.tags | label.tags)
