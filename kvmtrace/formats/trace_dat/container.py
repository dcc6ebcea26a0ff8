"""What both versions of trace.dat hold, before anything in it is interpreted."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kvmtrace.formats.trace_dat.abi import MAX_PAGE_BYTES
from kvmtrace.recording import Note
from kvmtrace.tracepoints import EventFormat, FormatError, parse_format

if TYPE_CHECKING:
    from collections.abc import Iterable

_ID = re.compile(r"\s*name:[^\n]{1,400}\n\s*ID:[ \t]*([0-9]{1,9})[ \t]*\n")
_FIELD = re.compile(r"field:[^;]{1,200}\b(timestamp|commit|data);\s*offset:([0-9]{1,9});\s*size:([0-9]{1,9});")


@dataclass(frozen=True, slots=True)
class CpuData:
    """Where the pages of one CPU lie in the file."""

    cpu: int
    offset: int
    size: int


@dataclass(slots=True)
class Buffer:
    """One ring buffer: the top one, whose name is empty, or an instance."""

    name: str
    clock: str | None
    page_bytes: int
    cpus: list[CpuData] = field(default_factory=list)
    compressed: bool = False
    latency: bool = False  # text of a latency tracer, no pages

    @property
    def title(self) -> str:
        """What a note calls it."""
        return f"the instance {self.name!r}" if self.name else "the top buffer"


@dataclass(frozen=True, slots=True)
class OptionData:
    """One option: its id, its data, and where the data stand (in the file, or in an unpacked section)."""

    id: int
    data: bytes
    offset: int


@dataclass(frozen=True, slots=True)
class PageHeader:
    """How a page of the ring buffer begins: u64 time stamp, local_t commit, then the data."""

    commit_bytes: int
    data_offset: int
    page_bytes: int | None  # None: not told


class FormatTexts:
    """Format texts by tracepoint id, parsed when they are asked for: a file may hold those of a whole kernel."""

    def __init__(self) -> None:
        self._texts: dict[int, tuple[str, str]] = {}
        self._id_of: dict[tuple[str, str], int] = {}
        self.unread: list[str] = []

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, system: str, text: str) -> None:
        """Take over a text; one without an id, or with one that another has, is unread."""
        match = _ID.match(text)
        if match is None:
            self.unread.append(f"a format of {system}: expected name and ID, found {text[:40]!r}")
        elif self._texts.setdefault(int(match[1]), (system, text)) != (system, text):
            self.unread.append(
                f"a format of {system}: its id {match[1]} is that of one of {self._texts[int(match[1])][0]}"
            )

    def parse(self, event_id: int, long_bytes: int) -> tuple[str, EventFormat]:
        """Return system and format of a tracepoint. FormatError: there is none, or it cannot be read."""
        if event_id not in self._texts:
            raise FormatError("the file has no format of it")
        system, text = self._texts[event_id]
        event = parse_format(text, long_size=long_bytes)
        if (known := self._id_of.setdefault((system, event.name), event.id)) != event.id:
            raise FormatError(f"{system}:{event.name} has two ids, and is stored under {known}")
        return system, event


@dataclass(slots=True)
class TraceFile:
    """A trace.dat: `order` is "<" or ">"."""

    order: str
    version: int
    long_bytes: int
    page_bytes: int
    compression: str = "none"
    page: PageHeader = field(default_factory=lambda: PageHeader(8, 16, None))
    old_events: bool = False  # event headers of Linux 2.6.30 and older
    formats: FormatTexts = field(default_factory=FormatTexts)
    threads: dict[int, str] = field(default_factory=dict)  # tid → name
    cpus: int | None = None  # of the machine
    options: list[OptionData] = field(default_factory=list)
    buffers: list[Buffer] = field(default_factory=list)
    unread: dict[str, int] = field(default_factory=dict)  # parts that nobody reads → their bytes
    notes: list[Note] = field(default_factory=list)


def page_header(text: str, long_bytes: int) -> tuple[PageHeader, Note | None]:
    """Read a `header_page` text; where it does not say how a page begins, the size of a long does."""
    places = {name: (int(offset), int(size)) for name, offset, size in _FIELD.findall(text)}
    commit_at, commit_bytes = places.get("commit", (8, long_bytes))
    data_at, data_bytes = places.get("data", (8 + commit_bytes, 0))
    sound = commit_at == places.get("timestamp", (0, 8))[1] == 8 and commit_bytes in (4, 8)  # noqa: PLR2004 - a u64
    if not sound or data_at != commit_at + commit_bytes:
        fallback = PageHeader(long_bytes, 8 + long_bytes, None)
        return fallback, Note("header_page", f"expected timestamp, commit and data, found {text[:200]!r}")
    total = data_at + data_bytes
    known = data_bytes > 0 and total <= MAX_PAGE_BYTES
    note = None if "commit" in places else Note("header_page", "it does not tell the size of commit: a long is taken")
    return PageHeader(commit_bytes, data_at, total if known else None), note


def old_event_headers(text: str) -> bool:
    """Tell whether a `header_event` text is of Linux 2.6.30 or older: type of 2 bits, len of 3."""
    return "type_len" not in text and re.search(r"\btype\s*:\s*2 bits", text) is not None


def thread_names(text: str) -> dict[int, str]:
    """Read saved_cmdlines: one `tid name` in each line; names may hold blanks."""
    return dict(_thread_lines(text.split("\n")))


def _thread_lines(lines: Iterable[str]) -> Iterable[tuple[int, str]]:
    for line in lines:
        tid, blank, name = line.partition(" ")
        if blank and tid.isdecimal() and tid.isascii() and len(tid) <= 10 and int(tid) < 1 << 31:  # noqa: PLR2004
            yield int(tid), name
