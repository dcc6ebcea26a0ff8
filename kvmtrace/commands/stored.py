"""How commands open a store, and what they say of runs that they stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmtrace.commands.output import say

if TYPE_CHECKING:
    from pathlib import Path

    from kvmtrace.api.store import Store
    from kvmtrace.ingesting import Ingested

_NOTES_SHOWN = 5


def opened(store: Path) -> Store:
    """Open a store; runs that cannot be read are said on standard error. StoreError: there is no store."""
    from kvmtrace.api.store import Store

    return Store(store, warn=lambda text: say(text, "warning"))


def tell(run: Ingested, file: str) -> int:
    """Say on standard error what became of a run; return how many things could not be read or stored."""
    from kvmtrace.report import wording
    from kvmtrace.report.given import NOUNS

    manifest = run.manifest
    title = f"{manifest.source.title}: run {manifest.run_id}"
    if run.was_there:
        say(f"{file}: run {manifest.run_id} is in the store already, since {manifest.ingested_at}")
    elif manifest.kind != "recording":
        rows = manifest.tables[manifest.kind].rows
        say(f"{title}: {wording.of(rows, NOUNS[manifest.kind])}")
    else:
        events = sum(t.rows for t in manifest.tracepoints)
        exits = f", {manifest.exits['rows']:,} exits" if manifest.exits else ""
        say(f"{title}: {events:,} events{exits}" + (f"; {manifest.unpaired}" if manifest.unpaired else ""))
    for what, count in manifest.not_stored.items():
        say(f"{manifest.source.title}: not stored: {count:,} {what}", "warning")
    for note in manifest.notes[:_NOTES_SHOWN]:
        say(f"{manifest.source.title}: {note.where}: {note.what}", "warning")
    notes = len(manifest.notes) + manifest.notes_dropped
    if notes > _NOTES_SHOWN:
        say(f"{manifest.source.title}: {notes - _NOTES_SHOWN} more notes: kvmtrace sql 'FROM notes'", "warning")
    return notes + len(manifest.not_stored)
