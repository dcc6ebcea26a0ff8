"""Pages of the kernel's ring buffer, as trace.dat holds them: those of one CPU, filled as far as events fit.

Layout: kernel/trace/ring_buffer.c, include/linux/ring_buffer.h, and the header_page and header_event texts of tracefs,
of a machine of 64 bits. `order` is its byte order: "<" (little endian) or ">" (big endian).
"""

from __future__ import annotations

import struct
from typing import IO, TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PAGE_BYTES = 4096  # of x86; 64 KiB of ppc64
PAGE_HEAD_BYTES = 16  # time of the first event, bytes used
WORD_BYTES = 4  # events are counted in u32
DELTA_BITS, TYPE_BITS = 27, 5  # of an event's head: time since the last one, and words of its payload (type_len)
LONGEST_DELTA_NS = (1 << DELTA_BITS) - 1
LONGEST_PAYLOAD_WORDS = 28
TIME_EXTEND = 30  # a type_len: two words that tell a longer time
EXTEND_WORDS = 2


class CpuPages:
    """Writes the events of one CPU to `file`, whole pages only; `close` writes the last one as it is."""

    def __init__(self, file: IO[bytes], *, page_bytes: int = PAGE_BYTES, order: str = "<") -> None:
        self._file = file
        self._page_words = (page_bytes - PAGE_HEAD_BYTES) // WORD_BYTES
        self._page_head = struct.Struct(f"{order}QQ")
        # bit fields begin at the low end, or at the high end of a big-endian machine
        self._delta_shift, self._type_shift = (TYPE_BITS, 0) if order == "<" else (0, DELTA_BITS)
        self._ts_ns = np.empty(0, np.int64)
        self._last_ns: int | None = None
        self._counts = np.empty(0, np.int64)
        self._far = np.empty(0, np.bool_)  # whether a time extend stands before the event
        self._words = np.empty(0, f"{order}u4")

    def add(self, ts_ns: NDArray[np.int64], counts: NDArray[np.int64], words: NDArray[np.uint32]) -> None:
        """Add events in order of time: `counts` are the words of each, the first of them free for its head.

        `words` are in the byte order of the pages. ValueError: one of another length than heads of one word can tell.
        """
        if not len(counts):
            return
        if not 2 <= counts.min() <= counts.max() <= 1 + LONGEST_PAYLOAD_WORDS:  # noqa: PLR2004 - a head and a word
            raise ValueError(f"expected payloads of 1 to {LONGEST_PAYLOAD_WORDS} words, found {counts.max() - 1}")
        deltas_ns = np.diff(ts_ns, prepend=self._last_ns if self._last_ns is not None else ts_ns[:1])
        self._last_ns = int(ts_ns[-1])
        starts = np.cumsum(counts) - counts
        heads = (deltas_ns & LONGEST_DELTA_NS) << self._delta_shift | counts - 1 << self._type_shift
        words = words.astype(self._words.dtype)
        words[starts] = heads.astype(np.uint32)
        far = np.flatnonzero(deltas_ns > LONGEST_DELTA_NS)
        if len(far):
            words, counts = self._extended(words, counts, starts, far, deltas_ns[far])
        self._ts_ns = np.concatenate((self._ts_ns, ts_ns))
        self._counts = np.concatenate((self._counts, counts))
        self._far = np.concatenate((self._far, deltas_ns > LONGEST_DELTA_NS))
        self._words = np.concatenate((self._words, words), dtype=self._words.dtype)
        self._write(last=False)

    def _extended(
        self,
        words: NDArray[np.uint32],
        counts: NDArray[np.int64],
        starts: NDArray[np.int64],
        far: NDArray[np.intp],
        deltas_ns: NDArray[np.int64],
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """Put a time extend before events that are `far` from the last; it tells all of the time between them."""
        words[starts[far]] = (counts[far] - 1 << self._type_shift).astype(np.uint32)
        low = (deltas_ns & LONGEST_DELTA_NS) << self._delta_shift | TIME_EXTEND << self._type_shift
        extends = np.stack((low, deltas_ns >> DELTA_BITS), axis=1).astype(words.dtype)
        widened = counts.copy()
        widened[far] += EXTEND_WORDS
        return np.insert(words, np.repeat(starts[far], EXTEND_WORDS), extends.reshape(-1)), widened

    def close(self) -> None:
        """Write what does not fill a page."""
        self._write(last=True)

    def _write(self, *, last: bool) -> None:
        ends = np.cumsum(self._counts)
        starts = ends - self._counts
        first = 0
        while first < len(ends):
            behind = int(np.searchsorted(ends, starts[first] + self._page_words, side="right"))
            if behind == len(ends) and not last:
                break
            self._begin_page(int(starts[first]), extended=bool(self._far[first]))
            self._write_page(int(self._ts_ns[first]), self._words[starts[first] : ends[behind - 1]])
            first = behind
        kept = int(starts[first]) if first < len(starts) else len(self._words)
        self._ts_ns, self._counts, self._far = self._ts_ns[first:], self._counts[first:], self._far[first:]
        self._words = self._words[kept:]

    def _begin_page(self, start: int, *, extended: bool) -> None:
        """Take the time off the first event of a page, which has it: a time extend stays, of no time."""
        lengths = ((1 << TYPE_BITS) - 1) << self._type_shift
        self._words[start] = int(self._words[start]) & lengths
        if extended:
            self._words[start + 1] = 0

    def _write_page(self, ts_ns: int, words: NDArray[np.uint32]) -> None:
        self._file.write(self._page_head.pack(ts_ns, words.nbytes))
        self._file.write(words.tobytes().ljust(self._page_words * WORD_BYTES, b"\0"))
