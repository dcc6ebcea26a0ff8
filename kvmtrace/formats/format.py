"""What a format is to the rest: how it is called, how it is known by its content, and how it is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvmtrace.formats.source import Source
    from kvmtrace.recording import Content, TableSet


@dataclass(frozen=True, slots=True)
class Format:
    """A format of inputs: `name` is what --format takes and manifests hold (perf.data, ftrace)."""

    name: str
    what: str  # one line for `kvmtrace formats`
    example: str  # a command that makes a file of it


@dataclass(frozen=True, slots=True)
class RecordingFormat(Format):
    """A format of events, binary or text, that may be of any size: read in blocks.

    `recognises` is given the first bytes: all of an input up to 4 MiB, 64 KiB of a larger one.
    `read` raises InputError where the source cannot be read.
    `as_it_comes` tells by the first 16 bytes whether an input is read once, from front to back: a pipe of it is not
    copied first.
    """

    recognises: Callable[[bytes], bool]
    read: Callable[[Source], Sequence[Content]]
    is_text: bool = False  # tables may stand beside the events
    as_it_comes: Callable[[bytes], bool] = lambda _: False


@dataclass(frozen=True, slots=True)
class TableFormat(Format):
    """A format of small tables in text, with anything around them: a mail, a log, the output of a workload.

    `recognises` looks through the whole text, cheaply. `read` returns what it found in order, never nothing: it raises
    InputError (with the line) where no table can be read. Both get text decoded as UTF-8, other bytes as lone
    surrogates; lines may end in CR LF.
    """

    recognises: Callable[[str], bool]
    read: Callable[[str, str], Sequence[TableSet]]  # text, name of the source in errors
