"""Pages of the kernel's ring buffer, written from its grammar (include/linux/ring_buffer.h): made-up recordings."""

from __future__ import annotations

import struct

DATA_WORDS = 28
PADDING, TIME_EXTEND, TIME_STAMP = 29, 30, 31
DELTA = 1 << 27
MISSED_EVENTS, MISSED_STORED = 1 << 31, 1 << 30


class PageWriter:
    """The pages of one CPU; an event goes to the page at hand, or to a new one where there is no room for it."""

    def __init__(self, order: str = "<", page_bytes: int = 4096, commit_bytes: int = 8) -> None:
        self.order = order
        self.page_bytes = page_bytes
        self.commit_bytes = commit_bytes
        self.room = page_bytes - 8 - commit_bytes
        self.pages: list[bytes] = []
        self.absolute = False  # a long time is told by an absolute stamp, no extend
        self._events = bytearray()
        self._stamp: int | None = None  # of the page at hand; None: there is none
        self._now = 0
        self._flags = 0
        self._missed: int | None = None

    def add(self, ts: int, payload: bytes, *, long: bool = False) -> None:
        """Add an event; `long` states its length as if it had more than 28 words."""
        padded = payload + bytes(-len(payload) % 4)
        stated = long or len(padded) > DATA_WORDS * 4
        self._put(ts, 0 if stated else len(padded) // 4, self._u32(4 + len(payload)) + padded if stated else padded)

    def discard(self, ts: int, length: int) -> None:
        """Add an event of `length` bytes of payload that a filter discarded: padding with a time."""
        self._put(ts, PADDING, self._u32(length) + bytes(length - 4), least_delta=1)

    def extend(self, ts: int) -> None:
        """Let time go on without an event."""
        self._make_room(ts, 8)
        self._time(ts, TIME_EXTEND)

    def stamp(self, ts: int) -> None:
        """Set an absolute time, of which 59 bits are written."""
        self._make_room(ts, 8)
        self._time(ts, TIME_STAMP)

    def missed(self, count: int | None) -> None:
        """Begin a new page, before which `count` events are missing; None: it is not said how many."""
        self.flush()
        self._flags, self._missed = MISSED_EVENTS | (0 if count is None else MISSED_STORED), count

    def raw(self, ts: int, content: bytes) -> None:
        """Add bytes as they are."""
        self._make_room(ts, len(content))
        self._events += content

    def flush(self) -> None:
        """End the page at hand."""
        if self._stamp is None:
            return
        commit = len(self._events) | self._flags
        head = struct.pack(f"{self.order}Q", self._stamp) + self._long(commit)
        missed = b"" if self._missed is None else self._long(self._missed)
        self.pages.append((head + bytes(self._events) + missed).ljust(self.page_bytes, b"\0"))
        self._events, self._stamp, self._flags, self._missed = bytearray(), None, 0, None

    def content(self) -> bytes:
        """Return all pages."""
        self.flush()
        return b"".join(self.pages)

    def _u32(self, number: int) -> bytes:
        return struct.pack(f"{self.order}I", number)

    def _long(self, number: int) -> bytes:
        return struct.pack(self.order + ("Q" if self.commit_bytes == 8 else "I"), number)

    def _head(self, type_len: int, delta: int) -> bytes:
        word = delta << 5 | type_len if self.order == "<" else type_len << 27 | delta
        return self._u32(word)

    def _make_room(self, ts: int, length: int) -> None:
        spare = self.commit_bytes if self._flags & MISSED_STORED else 0
        if self._stamp is not None and len(self._events) + length + spare > self.room:
            self.flush()
        if self._stamp is None:
            self._stamp = self._now = ts

    def _time(self, ts: int, kind: int) -> None:
        value = ts & (1 << 59) - 1 if kind == TIME_STAMP else ts - self._now
        self._events += self._head(kind, value % DELTA) + self._u32(value // DELTA)
        self._now = ts

    def _put(self, ts: int, type_len: int, body: bytes, least_delta: int = 0) -> None:
        self._make_room(ts, 8 + 4 + len(body))
        if not 0 <= ts - self._now < DELTA:
            self._time(ts, TIME_STAMP if self.absolute or ts < self._now else TIME_EXTEND)
        self._events += self._head(type_len, max(ts - self._now, least_delta)) + body
        self._now = max(ts, self._now + least_delta)
