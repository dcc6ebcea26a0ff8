"""The tracefs formats of recorded tracepoints, as trace-cmd lays them out.

perf.data has them in HEADER_TRACING_DATA (tools/perf/util/trace-event-info.c), trace.dat at its start or in sections.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmtrace.tracepoints import EventFormat, FormatError, parse_format

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAGIC = b"\x17\x08\x44tracing"
_MAX_TEXT = 1 << 24
_MAX_NAME = 1 << 16
_MAX_COUNT = 1 << 16
_LONG_SIZES = {4: 4, 8: 8}


class TracingDataError(ValueError):
    """The section is damaged; the message says what was expected at which of its bytes."""

    def __init__(self, message: str, at: int) -> None:
        super().__init__(message)
        self.at = at


@dataclass(frozen=True, slots=True)
class TracingData:
    """What the section says of the tracepoints."""

    big_endian: bool
    long_size: int
    formats: dict[int, tuple[str, EventFormat]]  # tracepoint id → system, format
    unread: list[tuple[str, str]]  # system, why its format text could not be read
    damage: str | None = None  # why what is behind the last format could not be read


class Cursor:
    """Reads numbers and texts from front to back, with every length bounded. TracingDataError: they end too early.

    `read` returns up to so many bytes from a place; nothing is read at `end` or behind it.
    """

    def __init__(self, read: Callable[[int, int], bytes], end: int, *, start: int = 0, order: str = "<") -> None:
        self._read = read
        self.at = start
        self.end = end
        self.order = order

    @classmethod
    def over(cls, raw: bytes, order: str = "<") -> Cursor:
        """Return a cursor over bytes in memory."""
        return cls(lambda at, length: raw[at : at + length], len(raw), order=order)

    def _demand(self, length: int, most: int, what: str) -> None:
        if length > most or self.at + length > self.end:
            left = max(self.end - self.at, 0)
            raise TracingDataError(f"expected {length} bytes of {what} at byte {self.at}, found {left}", self.at)

    def take(self, length: int, what: str) -> bytes:
        """Return the next bytes."""
        self._demand(length, _MAX_TEXT, what)
        piece = self._read(self.at, length)
        if len(piece) < length:  # the file became shorter
            raise TracingDataError(f"expected {length} bytes of {what} at byte {self.at}, found {len(piece)}", self.at)
        self.at += length
        return piece

    def skip(self, length: int, what: str) -> None:
        """Go over bytes that nobody reads."""
        self._demand(length, self.end, what)
        self.at += length

    def number(self, size: int, what: str) -> int:
        """Return an unsigned number of `size` bytes."""
        return int.from_bytes(self.take(size, what), "big" if self.order == ">" else "little")

    def count(self, what: str) -> int:
        """Return a u32 that counts things."""
        number = self.number(4, what)
        if number > _MAX_COUNT:
            raise TracingDataError(
                f"expected at most {_MAX_COUNT} {what} at byte {self.at - 4}, found {number}", self.at - 4
            )
        return number

    def string(self, what: str) -> str:
        """Return a text that ends with NUL."""
        piece = self._read(self.at, min(_MAX_NAME, self.end - self.at)) if self.at < self.end else b""
        length = piece.find(b"\0")
        if length < 0:
            raise TracingDataError(f"expected the end of {what} after byte {self.at}", self.at)
        self.at += length + 1
        return piece[:length].decode(errors="backslashreplace")

    def text(self, what: str) -> str:
        """Return a text behind its length, a u64."""
        return self.take(self.number(8, what), what).decode(errors="backslashreplace")


def system_formats(cursor: Cursor) -> Iterator[tuple[str, str]]:
    """Yield system and format text of every tracepoint, as a section of event formats holds them."""
    for _ in range(cursor.count("systems")):
        system = cursor.string("system name")
        for _ in range(cursor.count("formats")):
            yield system, cursor.text("format")


def parse_tracing_data(raw: bytes) -> TracingData:
    """Read the section. TracingDataError: it is damaged before its first system."""
    cursor = Cursor.over(raw)
    if cursor.take(len(MAGIC), "magic") != MAGIC:
        raise TracingDataError("expected the magic of tracing data at byte 0", 0)
    cursor.string("version")
    big_endian = cursor.number(1, "byte order") == 1
    cursor.order = ">" if big_endian else "<"
    long_size = cursor.number(1, "size of long")
    cursor.number(4, "page size")
    for name in ("header_page", "header_event"):
        cursor.string(name)
        cursor.text(name)
    for _ in range(cursor.count("ftrace formats")):
        cursor.text("ftrace format")
    formats = _Formats(_LONG_SIZES.get(long_size, 8))
    damage = None
    try:
        formats.read(cursor)
    except TracingDataError as error:
        damage = str(error)
    return TracingData(big_endian, long_size, formats.by_id, formats.unread, damage)


class _Formats:
    """The formats of all systems, as far as they can be read."""

    def __init__(self, long_size: int) -> None:
        self._long_size = long_size
        self._id_of: dict[tuple[str, str], int] = {}
        self.by_id: dict[int, tuple[str, EventFormat]] = {}
        self.unread: list[tuple[str, str]] = []

    def read(self, cursor: Cursor) -> None:
        """Read the systems. TracingDataError: the section is damaged; what stands before the damage is read."""
        for system, text in system_formats(cursor):
            self._add(system, text)

    def _add(self, system: str, text: str) -> None:
        try:
            event = parse_format(text, long_size=self._long_size)
        except FormatError as error:
            self.unread.append((system, str(error)))
            return
        known = self._id_of.setdefault((system, event.name), event.id)
        if known == event.id:
            self.by_id[event.id] = (system, event)
        else:  # they would share a table, and their fields may differ
            self.unread.append((system, f"{event.name} has two ids, {known} and {event.id}"))
