"""Names of threads, as lines tell them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from kvmtrace.formats.event_text.heads import Heads
    from kvmtrace.formats.event_text.lines import LineBlock

_TABLE = 1 << 22  # the kernel's largest thread id (PID_MAX_LIMIT)
_LONGEST = 64
_UNNAMED = (b"<...>", b"")


class ThreadNames:
    """Finds the newest name of each thread."""

    def __init__(self) -> None:
        self._last_row = np.zeros(0, np.int32)  # by thread; grows with the largest id

    def see(self, lines: LineBlock, heads: Heads) -> dict[tuple[int, int], str]:
        """Return the names that a block tells: (pid, tid) → name; -1: not told."""
        threads: dict[tuple[int, int], str] = {}
        count = len(heads.line)
        if not count:
            return threads
        slot = heads.tid & (_TABLE - 1)
        order = np.arange(count, dtype=np.int32)
        if (top := int(slot.max())) >= len(self._last_row):
            self._last_row = np.zeros(min(2 * (top + 1), _TABLE), np.int32)
        self._last_row[slot] = order
        newest = np.flatnonzero((self._last_row[slot] == order) & (heads.comm >= 0) & (heads.tid >= 0))
        for row in newest.tolist():
            start = int(heads.comm[row])
            raw = lines.raw[start : min(int(heads.comm_end[row]), start + _LONGEST)].tobytes().strip(b" ")
            if raw in _UNNAMED or raw.startswith(b":") or b"[guest" in raw:
                continue  # perf and the kernel name no thread there
            threads[int(heads.pid[row]), int(heads.tid[row])] = raw.decode(errors="backslashreplace")
        return threads
