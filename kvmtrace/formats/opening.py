"""Opens inputs: a pipe whose format reads from front to back is read as it comes, everything else as a file."""

from __future__ import annotations

import stat
import sys
from pathlib import Path
from typing import IO

from kvmtrace.errors import InputError
from kvmtrace.formats import detect
from kvmtrace.formats.pipes import PipeBytes, PipeSource, Stop
from kvmtrace.formats.source import STANDARD_INPUT, ReadOptions, Source, open_source, source_of_stream

_FIRST_BYTES = 16  # enough to tell what is read as it comes


def open_input(path: str, options: ReadOptions, *, stream: IO[bytes] | None = None, stop: Stop | None = None) -> Source:
    """Open a file, or standard input for "-". InputError: it cannot be read, or is no file.

    `stream`: what is read in place of the file at `path`, which only names it then; it is closed.
    `stop`: ends the reading of a pipe that is read as it comes.
    """
    opened = _stream(path) if stream is None else stream
    if opened is None:
        return open_source(path, options)
    with PipeBytes(opened, path, stop, closes=path != STANDARD_INPUT) as coming:
        first = coming.look_at(0, _FIRST_BYTES)
        if detect.as_it_comes(first):
            return PipeSource(path, coming.taken_over(), options)
        copied = source_of_stream(path, coming, options)
    if coming.was_cut:
        copied.close()
        raise InputError(path, "reading was ended before its end, and what it holds can only be read as a whole")
    return copied


def _stream(path: str) -> IO[bytes] | None:
    """Return what is read once; None: a file, or nothing that can be opened."""
    if path == STANDARD_INPUT:
        return sys.stdin.buffer if _has_descriptor(sys.stdin.buffer) else None
    try:
        if stat.S_ISREG(Path(path).stat().st_mode) or Path(path).is_dir():
            return None
        return Path(path).open("rb")
    except OSError as error:
        raise InputError(path, f"cannot be opened: {error.strerror}") from None


def _has_descriptor(stream: IO[bytes]) -> bool:
    try:
        stream.fileno()
    except OSError:  # a file in memory
        return False
    return True
