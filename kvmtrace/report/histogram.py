"""Draws a latency histogram of bars, one line for each power of two of nanoseconds.

Latency buckets divide powers of two, so no bucket lies in two lines and the counts are exact.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmtrace.report.readable import count, duration, percent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvmtrace.report.summary import Bucket

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_NARROWEST_BAR = 10


@dataclass(frozen=True, slots=True)
class Bin:
    """`n` exits with a latency of at least `low_ns` and less than `high_ns`."""

    low_ns: int
    high_ns: int
    n: int


def bins(buckets: Iterable[Bucket]) -> tuple[Bin, ...]:
    """Return one bin for each power of two from the shortest to the longest latency, empty ones between too."""
    exits: Counter[int] = Counter()
    for bucket in buckets:
        exits[max(bucket.low_ns.bit_length() - 1, 0)] += bucket.n
    if not exits:
        return ()
    powers = range(min(exits), max(exits) + 1)
    return tuple(Bin(1 << power if power else 0, 2 << power, exits[power]) for power in powers)


def draw(bins: tuple[Bin, ...], width: int, *, unicode: bool = True) -> list[str]:
    """Return the lines of a histogram that is at most `width` columns wide (and never too narrow for its numbers)."""
    if not bins:
        return []
    total, largest = sum(b.n for b in bins), max(b.n for b in bins)
    texts = [("from", "below", "exits", "%")] + [
        (duration(b.low_ns), duration(b.high_ns), count(b.n), percent(b.n / total)) for b in bins
    ]
    widths = [max(len(row[column]) for row in texts) for column in range(4)]
    lines = ["  ".join(text.rjust(size) for text, size in zip(row, widths, strict=True)) for row in texts]
    room = max(width - len(lines[0]) - 2, _NARROWEST_BAR)
    bars = [_bar(b.n / largest * room, unicode=unicode) for b in bins]
    return [lines[0], *(f"{line}  {bar}".rstrip() for line, bar in zip(lines[1:], bars, strict=True))]


def _bar(length: float, *, unicode: bool) -> str:
    """Return a bar of `length` columns; what is above 0 leaves a mark."""
    if length == 0:
        return ""
    if not unicode:
        return "#" * max(round(length), 1)
    eighths = max(round(length * 8), 1)
    return _EIGHTHS[8] * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
