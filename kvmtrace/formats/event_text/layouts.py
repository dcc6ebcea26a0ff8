"""A prefix's columns: what a regular expression found in one line, applied to all lines with the same columns.

Recorders pad what stands in a prefix, so that its parts stand in the same columns of most lines. Where the characters
between the parts are the same, and the parts are numbers, the expression would find the same parts there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.formats.event_text.words import (
    WORD,
    decimal,
    decimals,
    leading,
    not_decimal,
    other_than,
    windows,
)

if TYPE_CHECKING:
    import re

    from numpy.typing import NDArray

    from kvmtrace.formats.event_text.words import Places, Words

_WIDEST = 112
_LEAD = 16  # bytes before a line that are looked at with it, so that a number's 16 characters can be
_BLANK = ord(" ")
_TEXTS = ("comm", "flags", "mark")
_FIXED = frozenset({*_TEXTS, "misc", "part", "name", "stop"})
_HIGH = np.uint64(0x8080808080808080)
_HIGHEST = np.uint64(1 << 63)
_EVERY_BIT = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Region:
    """Columns [start, end) of a number; `left`: it begins there and blanks follow, else it ends there."""

    start: int
    end: int
    left: bool


@dataclass(frozen=True)
class Layout:
    """Where the parts of a prefix of `width` characters stand."""

    width: int
    fixed: bytes  # the characters between the parts
    mask: bytes  # 0xff where there is one
    numbers: dict[str, Region]
    flags: tuple[int, int] | None
    comm: tuple[int, int] | None

    @classmethod
    def of(cls, line: bytes, match: re.Match[bytes]) -> Layout | None:
        """Return the layout of one line; None: it is too wide, or has a part that is no plain number."""
        width = match.start("stop")
        if width > _WIDEST:
            return None
        spans = {name: match.span(name) for name, value in match.groupdict().items() if value is not None}
        line = line[:width]
        numbers: dict[str, Region] = {}
        taken = bytearray(width)  # columns that belong to a part
        for name in _TEXTS:
            if name in spans:
                start, end = spans[name]
                start = 0 if name == "comm" and not line[:start].strip(b" ") else start
                taken[start:end] = b"\1" * (end - start)
        for name, (start, end) in sorted(spans.items(), key=lambda item: item[1]):
            if name in _FIXED:
                continue
            region = _region(line, start, end, taken, width)
            if not line[start:end].isdigit():
                if name != "pid" or line[start:end].strip(b"-"):
                    return None  # a sign; but dashes are no process, and the same in other lines
                continue
            if region.end - region.start > 2 * WORD:
                return None
            numbers[name] = region
            taken[region.start : region.end] = b"\1" * (region.end - region.start)
        comm = spans.get("comm")
        mask = bytes(0 if part else 0xFF for part in taken)
        fixed = bytes(c & m for c, m in zip(line[:width], mask, strict=True))
        if comm is not None:
            comm = (0 if not line[: comm[0]].strip(b" ") else comm[0], comm[1])
        return cls(width, fixed, mask, numbers, spans.get("flags"), comm)

    def key(self) -> tuple[object, ...]:
        """Return what tells layouts apart."""
        return self.width, self.fixed, self.mask, tuple(self.numbers.items())

    def apply(self, block: NDArray[np.uint8], starts: Places) -> tuple[NDArray[np.bool_], dict[str, Words]]:
        """Return which of the lines have this layout, and the numbers in it; of others they mean nothing."""
        size = -(-(_LEAD + self.width) // WORD) * WORD
        found = windows(block, starts - _LEAD, size)
        fits = self._fixed_fit(found)
        if not fits.any():
            return fits, {}
        if self.flags is not None:
            start, end = self.flags
            blanks = other_than(_cut(found, start, min(end, start + WORD))[:, :1], _BLANK)
            fits &= leading(blanks ^ _HIGH) >= min(end - start, WORD)
        values = {}
        for name, region in self.numbers.items():
            good, values[name] = _number(found, region)
            fits &= good
        return fits, values

    def _fixed_fit(self, found: Words) -> NDArray[np.bool_]:
        padding = found.shape[1] * WORD - _LEAD - self.width
        mask = np.frombuffer(bytes(_LEAD) + self.mask + bytes(padding), "<u8")
        fixed = np.frombuffer(bytes(_LEAD) + self.fixed + bytes(padding), "<u8")
        fits = np.ones(len(found), np.bool_)
        for column in np.flatnonzero(mask).tolist():
            fits &= found[:, column] & mask[column] == fixed[column]
        return fits


def _region(line: bytes, start: int, end: int, taken: bytearray, width: int) -> Region:
    """Return the columns that a number may take: the blanks that pad it too, but for one that keeps it apart."""
    if start and line[start - 1] == _BLANK:
        first = start
        while first and line[first - 1] == _BLANK and not taken[first - 1]:
            first -= 1
        return Region(min(first + 1, start), end, left=False)
    last = end
    while last < width and line[last] == _BLANK:
        last += 1
    return Region(start, max(last - 1, end), left=True)


def _cut(found: Words, start: int, end: int) -> Words:
    """Return the characters in columns [start, end), up to 16, from the first byte of a word on; NUL behind them."""
    size = -(-(end - start) // WORD) * WORD
    raw = found.view(np.uint8).reshape(len(found), found.shape[1] * WORD)
    piece = np.zeros((len(found), size), np.uint8)
    piece[:, : end - start] = raw[:, _LEAD + start : _LEAD + end]
    return piece.view("<u8")


def _number(found: Words, region: Region) -> tuple[NDArray[np.bool_], Words]:
    """Return whether the region holds one number, and the number."""
    size = region.end - region.start
    if size > WORD:
        return _any_number(found, region)
    word = _before(found, region.end) & np.uint64(-1 << 8 * (WORD - size) & _EVERY_BIT)
    high = np.uint64(int(_HIGH) << 8 * (WORD - size) & _EVERY_BIT)
    other = not_decimal(word) & high
    if not other.any():
        return np.ones(len(word), np.bool_), decimal(word)
    if region.left:
        return _any_number(found, region)
    blank = (other_than(word, _BLANK) ^ _HIGH) & high
    digits_before = (other ^ high) << np.uint64(8)
    good = (other == blank) & (digits_before & blank == 0) & (other < _HIGHEST)
    return good, decimal(word)  # a blank counts as 0


def _before(found: Words, end: int) -> Words:
    """Return the 8 characters before a column."""
    column, bits = divmod((_LEAD + end - WORD) * 8, 64)
    if not bits:
        return found[:, column]
    return found[:, column] >> np.uint64(bits) | found[:, column + 1] << np.uint64(64 - bits)


def _any_number(found: Words, region: Region) -> tuple[NDArray[np.bool_], Words]:
    """Return whether the region holds one number, and the number."""
    words = _cut(found, region.start, region.end)
    size = region.end - region.start
    length = np.minimum(leading(not_decimal(words)), size)
    if region.left:
        exact = int(length.min(initial=size)) == size
        good = length > 0
        if not exact:
            good &= _blank_behind(words, length, size)
        return good, decimals(words, length)
    blanks = np.minimum(leading(other_than(words, _BLANK)), size)
    padded = blanks > 0
    if padded.any():
        words = _moved(words, blanks)
        length = np.minimum(leading(not_decimal(words)), size)
    return (length > 0) & (length + blanks == size), decimals(words, length)


def _moved(words: Words, characters: Places) -> Words:
    """Return the characters of each row moved to the front."""
    bits = (characters * WORD).astype(np.uint64)
    if words.shape[1] == 1:
        return words >> bits[:, None]
    full = np.uint64(64)
    low, high = words[:, 0], words[:, 1]
    within = bits < full
    inner = np.where(within, bits, np.uint64(0))
    moved = np.where(
        within, low >> inner | np.where(inner > 0, high << (full - inner), np.uint64(0)), high >> (bits - full)
    )
    return np.stack([moved, np.where(within, high >> inner, np.uint64(0))], axis=1)


def _blank_behind(words: Words, length: Places, size: int) -> NDArray[np.bool_]:
    """Tell whether only blanks follow the first `length` of `size` characters."""
    moved = _moved(words, length)
    return np.minimum(leading(other_than(moved, _BLANK)), size) >= size - length
