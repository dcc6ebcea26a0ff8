"""`kvmtrace ingest`: reads recordings into the store."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from kvmtrace.commands.options import DEFAULT_STORE, StoreOption, TagOption, pairs
from kvmtrace.commands.output import say
from kvmtrace.errors import CheckFailedError, InputError, KvmtraceError, UnknownFormatError, UsageError
from kvmtrace.report.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmtrace.ingest import Ingested, Progress

_NOTES_SHOWN = 5


def ingest(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Recordings; - is standard input.")],
    store: StoreOption = DEFAULT_STORE,
    label: Annotated[str | None, typer.Option("--label", help="Name for the run, instead of its id.")] = None,
    tag: TagOption = None,
    refresh: Annotated[bool, typer.Option("--refresh", help="Read again what is in the store already.")] = False,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs", min=1, max=2, help="1: decode and write in turn; 2: side by side [default: 2, on 1 CPU 1]."
        ),
    ] = None,
    format_name: Annotated[
        str | None,
        typer.Option("--format", metavar="NAME", help="Format of the files, as `kvmtrace formats` names it."),
    ] = None,
    clock_hz: Annotated[
        int | None,
        typer.Option("--clock-hz", min=1, help="Ticks in a second of a clock that counts ticks (x86-tsc, ppc-tb)."),
    ] = None,
    max_unpacked: Annotated[
        int | None,
        typer.Option("--max-unpacked", metavar="MIB", min=1, help="What a compressed file may become at most."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Fail where a part of a file could not be read.")] = False,
) -> None:
    """Read recordings and tables of figures into the store, and print the ids of their runs."""
    from kvmtrace.formats.source import ReadOptions
    from kvmtrace.ingest import DEFAULT_JOBS
    from kvmtrace.ingest import ingest as read
    from kvmtrace.store.label import Label

    if label is not None and len(files) > 1:
        raise UsageError(
            "--label names one run, and several files are given", hint="ingest them one by one, or use --tag"
        )
    name = Label(label, pairs(tag, "--tag"))
    options = ReadOptions(jobs or DEFAULT_JOBS, clock_hz, None if max_unpacked is None else max_unpacked << 20)
    noted = 0
    failures = _Failures()
    for file in files:
        try:
            with _bar(file) as progress:
                runs = read(
                    file,
                    store,
                    name,
                    refresh=refresh,
                    format_name=format_name,
                    options=options,
                    progress=progress,
                    failed=failures.of_member,
                )
        except KvmtraceError as error:
            if len(files) == 1 or isinstance(error, UsageError):
                raise
            failures.add(error)
            continue
        for run in runs:
            sys.stdout.write(run.manifest.run_id + "\n")
            noted += _tell(run, file)
    failed = failures.n
    if failed:
        what = f"{failed} of {len(files)} files" if len(files) > 1 else files[0]
        raise InputError(what, "not ingested" if len(files) > 1 else f"{failed} of its files are not ingested")
    if strict and noted:
        raise CheckFailedError(f"{noted} {'note' if noted == 1 else 'notes'} on what could not be read (--strict)")


class _Failures:
    """Files that could not be ingested, while others are."""

    def __init__(self) -> None:
        self.n = 0

    def add(self, error: KvmtraceError) -> None:
        """Say and count one."""
        self.n += 1
        say(error.message, "error")
        if error.hint:
            sys.stderr.write(f"hint: {printable(error.hint)}\n")

    def of_member(self, error: InputError) -> None:
        """Say and count one of an archive; what is in no format that is read is only said."""
        if isinstance(error, UnknownFormatError):
            say(f"passed over: {error.message}")
        else:
            self.add(error)


def _tell(run: Ingested, file: str) -> int:
    """Say on standard error what became of a run; return the number of its notes."""
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
    return notes


@contextmanager
def _bar(file: str) -> Iterator[Progress | None]:
    """Give a progress bar with the rate and the time that is left, on a terminal only."""
    if not sys.stderr.isatty():
        yield None
        return
    start = time.monotonic()
    with typer.progressbar(length=1, label=printable(file), file=sys.stderr, show_eta=True) as bar:

        def progress(read: int, size: int) -> None:
            bar.length = max(size, 1)
            rate = read / 1e6 / max(time.monotonic() - start, 1e-3)
            bar.label = f"{printable(file)} {rate:,.0f} MB/s"
            bar.update(read - bar.pos)

        yield progress
