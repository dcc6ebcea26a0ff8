"""`kvmtrace ingest`: reads recordings into the store."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from kvmtrace.commands.options import DEFAULT_STORE, StoreOption, TagOption, pairs
from kvmtrace.commands.output import say
from kvmtrace.commands.stored import tell
from kvmtrace.errors import CheckFailedError, InputError, KvmtraceError, UnknownFormatError, UsageError
from kvmtrace.report.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmtrace.ingesting import Ingested, Progress


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
        typer.Option(
            "--max-unpacked", metavar="MIB", min=1, help="What a file and all that is packed in it may become at most."
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Fail where a part of a file could not be read.")] = False,
) -> None:
    """Read recordings and tables of figures into the store, and print the ids of their runs."""
    from kvmtrace.api.actions import ingest as read

    if label is not None and len(files) > 1:
        raise UsageError(
            "--label names one run, and several files are given", hint="ingest them one by one, or use --tag"
        )
    tags = pairs(tag, "--tag")
    outcome = _Outcome()
    for file in files:
        try:
            with outcome.told_in_the_end(file), _bar(file) as progress:
                read(
                    file,
                    store=store,
                    label=label,
                    tags=tags,
                    refresh=refresh,
                    format_name=format_name,
                    clock_hz=clock_hz,
                    max_unpacked_bytes=None if max_unpacked is None else max_unpacked << 20,
                    jobs=jobs,
                    progress=progress,
                    failed=outcome.failed_in_archive,
                    stored=outcome.runs.append,
                )
        except KvmtraceError as error:
            if len(files) == 1 or isinstance(error, UsageError):
                raise
            outcome.failed(error)
    outcome.check(files, strict=strict)


class _Outcome:
    """What became of the files: the runs that are stored, and what could not be read."""

    def __init__(self) -> None:
        self.runs: list[Ingested] = []  # of the file at hand
        self._notes = 0
        self._files = 0  # that failed
        self._members = 0  # files of archives that failed

    @contextmanager
    def told_in_the_end(self, file: str) -> Iterator[None]:
        """Print the runs of a file, also where it ends in an error behind them."""
        try:
            yield
        finally:
            for run in self.runs:
                sys.stdout.write(run.manifest.run_id + "\n")
                self._notes += tell(run, file)
            self.runs.clear()

    def failed(self, error: KvmtraceError) -> None:
        """Say and count a file that could not be ingested, while others are."""
        self._files += 1
        _say_error(error)

    def failed_in_archive(self, error: InputError) -> None:
        """Say and count a file of an archive; what is in no format that is read is only said."""
        if isinstance(error, UnknownFormatError):
            say(f"passed over: {error.message}")
        else:
            self._members += 1
            _say_error(error)

    def check(self, files: list[str], *, strict: bool) -> None:
        """InputError: some files failed. CheckFailedError: there are notes, and none are wanted."""
        if self._members and len(files) == 1:
            raise InputError(files[0], f"{self._members} of its files are not ingested")
        whole = [f"{self._files} of {len(files)} files"] if self._files else []
        inside = [f"{self._members} {'file' if self._members == 1 else 'files'} in archives"] if self._members else []
        if whole or inside:
            raise InputError(" and ".join(whole + inside), "not ingested")
        if strict and self._notes:
            notes = "note" if self._notes == 1 else "notes"
            raise CheckFailedError(f"{self._notes} {notes} on what could not be read or stored (--strict)")


def _say_error(error: KvmtraceError) -> None:
    say(error.message, "error")
    if error.hint:
        sys.stderr.write(f"hint: {printable(error.hint)}\n")


@contextmanager
def _bar(file: str) -> Iterator[Progress | None]:
    """Give a progress bar with the rate and the time that is left, on a terminal only; of a pipe only how much came."""
    if not sys.stderr.isatty():
        yield None
        return
    from kvmtrace.formats.pipes import UNKNOWN_SIZE

    start = time.monotonic()
    made = typer.progressbar(length=1, label=printable(file), file=sys.stderr, show_eta=True)
    made.length = None  # until somebody tells it
    with made as bar:

        def progress(read: int, size: int) -> None:
            is_known = size < UNKNOWN_SIZE and not (bar.length is None and bar.pos)
            bar.length = max(size, 1) if is_known else None
            came = "" if is_known else f" {read / 1e6:,.1f} MB,"
            rate = read / 1e6 / max(time.monotonic() - start, 1e-3)
            bar.label = f"{printable(file)}{came} {rate:,.0f} MB/s"
            bar.update(read - bar.pos)

        yield progress
