"""HEADER_TRACING_DATA: the tracefs formats of the recorded tracepoints (tools/perf/util/trace-event-info.c)."""

from __future__ import annotations

from dataclasses import dataclass

from kvmtrace.tracepoints import EventFormat, FormatError, parse_format

MAGIC = b"\x17\x08\x44tracing"
_MAX_TEXT = 1 << 24
_MAX_COUNT = 1 << 16
_LONG_SIZES = {4: 4, 8: 8}


class TracingDataError(ValueError):
    """The section is damaged; the message says what was expected at which of its bytes."""


@dataclass(frozen=True, slots=True)
class TracingData:
    """What the section says of the tracepoints."""

    big_endian: bool
    long_size: int
    formats: dict[int, tuple[str, EventFormat]]  # tracepoint id → system, format
    unread: list[tuple[str, str]]  # system, why its format text could not be read
    damage: str | None = None  # why what is behind the last format could not be read


class _Cursor:
    """Reads the section from front to back, with every length bounded."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.at = 0
        self.byte_order = "little"

    def take(self, length: int, what: str) -> bytes:
        if length > _MAX_TEXT or self.at + length > len(self.raw):
            raise TracingDataError(
                f"expected {length} bytes of {what} at byte {self.at}, found {len(self.raw) - self.at}"
            )
        piece = self.raw[self.at : self.at + length]
        self.at += length
        return piece

    def number(self, size: int, what: str) -> int:
        return int.from_bytes(self.take(size, what), self.byte_order)  # type: ignore[arg-type]

    def count(self, what: str) -> int:
        number = self.number(4, what)
        if number > _MAX_COUNT:
            raise TracingDataError(f"expected at most {_MAX_COUNT} {what} at byte {self.at - 4}, found {number}")
        return number

    def string(self, what: str) -> str:
        end = self.raw.find(b"\0", self.at)
        if end < 0:
            raise TracingDataError(f"expected the end of {what} after byte {self.at}")
        piece = self.raw[self.at : end]
        self.at = end + 1
        return piece.decode(errors="backslashreplace")

    def text(self, what: str) -> str:
        return self.take(self.number(8, what), what).decode(errors="backslashreplace")


def parse_tracing_data(raw: bytes) -> TracingData:
    """Read the section. TracingDataError: it is damaged before its first system."""
    cursor = _Cursor(raw)
    if cursor.take(len(MAGIC), "magic") != MAGIC:
        raise TracingDataError("expected the magic of tracing data at byte 0")
    cursor.string("version")
    big_endian = cursor.number(1, "byte order") == 1
    cursor.byte_order = "big" if big_endian else "little"
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

    def read(self, cursor: _Cursor) -> None:
        """Read the systems. TracingDataError: the section is damaged; what stands before the damage is read."""
        for _ in range(cursor.count("systems")):
            system = cursor.string("system name")
            for _ in range(cursor.count("formats")):
                self._add(system, cursor.text("format"))

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
