"""What commands write: data on standard output or in a file, everything else on standard error."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

from kvmtrace.errors import StoreError, UsageError
from kvmtrace.report.printable import printable
from kvmtrace.report.tables import ReportFormat

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def say(text: str, kind: str = "note") -> None:
    """Write one plain line to standard error."""
    sys.stderr.write(f"kvmtrace: {kind}: {printable(text)}\n")


def warn(texts: Iterable[str]) -> None:
    """Write warnings to standard error, one plain line each."""
    for text in texts:
        say(text, "warning")


def can_write(signs: str) -> bool:
    """Tell whether standard output has these characters."""
    try:
        signs.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def terminal_width() -> int | None:
    """Return how many columns standard output shows; None: it is no terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def stop_writing() -> None:
    """Let go of standard output, which nobody reads any more: Python would flush it at exit, and fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def check_output(output: Path | None, *, force: bool) -> None:
    """UsageError: `output` is there already, and nobody asked to overwrite it."""
    if output is not None and output.exists() and not force:
        raise UsageError(f"{output} is there already", hint="--force overwrites it")


def check_outputs(output: Path | None, plot: Path | None, report_format: ReportFormat, *, force: bool) -> None:
    """UsageError: of a report and its figure one cannot be written, which is known before the other is there."""
    if report_format is ReportFormat.HTML and output is None and sys.stdout.isatty():
        raise UsageError("--format html: expected a file or a pipe, found a terminal", hint="-o report.html")
    check_output(output, force=force)
    check_output(plot, force=force)
    if output is None or plot is None:
        return
    if output.resolve() == plot.resolve():
        raise UsageError(f"--output and --plot are the same file: {plot}")
    for path in (output, plot):
        if not path.parent.is_dir():
            raise UsageError(f"{path}: there is no folder {path.parent}")


def write_report(text: str, report_format: ReportFormat, output: Path | None, *, force: bool) -> None:
    """Write a report as `write_output` does; a page says of itself that it is UTF-8, whatever the terminal is."""
    if output is None and report_format is ReportFormat.HTML:
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode())
    else:
        write_output(text, output, force=force)


def write_output(text: str, output: Path | None, *, force: bool) -> None:
    """Write `text` to the file `output`, or to standard output where that is None. StoreError: it cannot be written."""
    if output is None:
        sys.stdout.write(text)
        return
    check_output(output, force=force)
    try:
        with output.open("w" if force else "x", encoding="utf-8", newline="") as file:
            file.write(text)
    except OSError as error:
        raise StoreError(f"{output}: {error.strerror}") from None
