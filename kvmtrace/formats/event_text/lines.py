"""Bytes of a source → blocks of whole lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from kvmtrace.formats.event_text.words import PAD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from kvmtrace.formats.event_text.words import Places

BLOCK_BYTES = 1 << 22
LONGEST_LINE = 1 << 20
"""Bytes of a line that are looked at: nothing that records events writes longer ones."""

_NEWLINE, _RETURN, _TAB, _BLANK = 10, 13, 9, 32
_TRIM_STEPS = 64


@dataclass(frozen=True, slots=True)
class LineBlock:
    """Whole lines: line i is `raw[starts[i]:ends[i]]`, without blanks at its end, with `PAD` bytes around all."""

    raw: NDArray[np.uint8]
    starts: Places
    ends: Places
    first_line: int  # number of the first line, from 1
    offset: int  # of the byte at `raw[PAD]` in the source
    cut: tuple[int, ...] = ()  # numbers of lines of which only the beginning is here

    def __len__(self) -> int:
        return len(self.starts)

    def offset_of(self, index: int) -> int:
        """Return where in the source a line begins."""
        return self.offset + int(self.starts[index]) - PAD

    def part(self, begin: int, end: int) -> LineBlock:
        """Return the lines from `begin` to `end`."""
        first = self.first_line + begin
        cut = tuple(line for line in self.cut if begin <= line - self.first_line < end)
        return LineBlock(self.raw, self.starts[begin:end], self.ends[begin:end], first, self.offset, cut)

    def line(self, index: int, longest: int | None = None) -> bytes:
        """Return one line, or its first characters."""
        start, end = int(self.starts[index]), int(self.ends[index])
        return self.raw[start : end if longest is None else min(end, start + longest)].tobytes()


class Lines:
    """Goes through a text in blocks; `read` is given a buffer and returns how many bytes it put there."""

    def __init__(
        self,
        read: Callable[[memoryview], int],
        *,
        block_bytes: int = BLOCK_BYTES,
        first_line: int = 1,
        offset: int = 0,
    ) -> None:
        self._read = read
        self._block_bytes = block_bytes
        self._line = first_line
        self._offset = offset  # of the first byte that no block has yet
        self._skipping = False  # behind the part of an overlong line that is looked at

    def blocks(self) -> Iterator[LineBlock]:
        """Yield the lines from first to last."""
        carry = np.zeros(0, np.uint8)
        last = False
        while not last:
            room = PAD + len(carry) + self._block_bytes + 1 + PAD
            raw = np.empty(room, np.uint8)
            raw[:PAD] = _BLANK
            raw[PAD - 1] = _NEWLINE
            raw[PAD : PAD + len(carry)] = carry
            begin = PAD + len(carry)
            got = self._read(raw.data[begin : begin + self._block_bytes])
            last = got < self._block_bytes
            end = begin + got
            if last and end > PAD and raw[end - 1] != _NEWLINE:
                raw[end] = _NEWLINE
                end += 1
            block, carry = self._block(raw, end)
            if block is not None:
                yield block

    def _block(self, raw: NDArray[np.uint8], end: int) -> tuple[LineBlock | None, NDArray[np.uint8]]:
        """Return the whole lines of `raw[PAD:end]`, and what is left of it."""
        breaks = np.flatnonzero(raw[PAD:end] == _NEWLINE) + PAD
        begin, first = PAD, self._line
        cut: tuple[int, ...] = ()
        if self._skipping:
            if not len(breaks):
                self._offset += end - PAD
                return None, raw[:0]
            begin, breaks = int(breaks[0]) + 1, breaks[1:]
            self._skipping = False
        starts = np.concatenate([[begin], breaks[:-1] + 1]) if len(breaks) else np.zeros(0, np.int64)
        whole = int(breaks[-1]) + 1 if len(breaks) else begin
        if end - whole > LONGEST_LINE:
            starts, breaks = np.append(starts, whole), np.append(breaks, whole + LONGEST_LINE)
            cut = (first + len(starts) - 1,)
            self._skipping = True
            rest = raw[:0]
        else:
            rest = raw[whole:end]
        if not len(starts):
            self._offset += end - PAD - len(rest)
            return None, rest
        raw[end:] = _BLANK
        offset = self._offset
        self._offset += end - PAD - len(rest)
        self._line += len(starts)
        overlong = np.flatnonzero(breaks - starts > LONGEST_LINE)
        if len(overlong):
            breaks = np.minimum(breaks, starts + LONGEST_LINE)
            cut = (*(first + overlong).tolist(), *cut)
        ends = _trimmed(raw, starts, breaks)
        return LineBlock(raw, starts, ends, first, offset, cut), rest


def _trimmed(raw: NDArray[np.uint8], starts: Places, ends: Places) -> Places:
    """Return where the lines end without the blanks, tabs and returns at their ends."""
    ends = ends.astype(np.int64)
    rows = np.flatnonzero((raw[ends - 1] <= _BLANK) & (ends > starts))
    for _ in range(_TRIM_STEPS):
        if not len(rows):
            return ends
        rows = rows[_is_blank(raw[ends[rows] - 1]) & (ends[rows] > starts[rows])]
        ends[rows] -= 1
    for row in rows.tolist():
        start = int(starts[row])
        ends[row] = start + len(raw[start : ends[row]].tobytes().rstrip(b" \t\r"))
    return ends


def _is_blank(characters: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return cast("NDArray[np.bool_]", (characters == _BLANK) | (characters == _RETURN) | (characters == _TAB))
