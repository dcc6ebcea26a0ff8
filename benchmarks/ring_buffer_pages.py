"""Pages of the kernel's ring buffer, as trace.dat holds them: those of one CPU, filled as far as events fit.

Layout: kernel/trace/ring_buffer.c, and the header_page and header_event texts of tracefs. Little endian, 64 bits.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PAGE_BYTES = 4096
PAGE_HEAD = struct.Struct("<QQ")  # time of the first event, bytes used
WORD_BYTES = 4  # events are counted in u32
PAGE_WORDS = (PAGE_BYTES - PAGE_HEAD.size) // WORD_BYTES
DELTA_SHIFT = 5  # below it: type_len, the words of the payload
LONGEST_DELTA_NS = (1 << 27) - 1
LONGEST_PAYLOAD_WORDS = 28


class CpuPages:
    """Writes the events of one CPU to `file`, whole pages only; `close` writes the last one as it is."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._ts_ns = np.empty(0, np.int64)
        self._counts = np.empty(0, np.int64)
        self._words = np.empty(0, np.uint32)

    def add(self, ts_ns: NDArray[np.int64], counts: NDArray[np.int64], words: NDArray[np.uint32]) -> None:
        """Add events in order of time: `counts` are the words of each, the first of them free for its head.

        ValueError: one of another length than heads of one word can tell.
        """
        if len(counts) and not 2 <= counts.min() <= counts.max() <= 1 + LONGEST_PAYLOAD_WORDS:
            raise ValueError(f"expected payloads of 1 to {LONGEST_PAYLOAD_WORDS} words, found {counts.max() - 1}")
        self._ts_ns = np.concatenate((self._ts_ns, ts_ns))
        self._counts = np.concatenate((self._counts, counts))
        self._words = np.concatenate((self._words, words))
        self._write(last=False)

    def close(self) -> None:
        """Write what does not fill a page."""
        self._write(last=True)

    def _write(self, *, last: bool) -> None:
        ends = np.cumsum(self._counts)
        starts = ends - self._counts
        deltas_ns = np.diff(self._ts_ns, prepend=self._ts_ns[:1])
        # a new page begins there instead of a time extend
        gaps = np.append(np.flatnonzero(deltas_ns > LONGEST_DELTA_NS), len(ends))
        heads = (deltas_ns & LONGEST_DELTA_NS) << DELTA_SHIFT | self._counts - 1
        self._words[starts] = heads.astype(np.uint32)
        first = 0
        while first < len(ends):
            full = int(np.searchsorted(ends, starts[first] + PAGE_WORDS, side="right"))
            behind = min(full, int(gaps[np.searchsorted(gaps, first, side="right")]))
            if behind == len(ends) and not last:
                break
            self._write_page(int(self._ts_ns[first]), self._words[starts[first] : ends[behind - 1]])
            first = behind
        kept = int(starts[first]) if first < len(starts) else len(self._words)
        self._ts_ns, self._counts, self._words = self._ts_ns[first:], self._counts[first:], self._words[kept:]

    def _write_page(self, ts_ns: int, words: NDArray[np.uint32]) -> None:
        words[0] &= (1 << DELTA_SHIFT) - 1  # the page has its time
        self._file.write(PAGE_HEAD.pack(ts_ns, words.nbytes))
        self._file.write(words.tobytes().ljust(PAGE_WORDS * WORD_BYTES, b"\0"))
