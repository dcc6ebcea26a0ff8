"""One long page → the places and times of its events, all at once.

Walking pages side by side takes a step of numpy for each event of the longest page: too many where few pages are
left. Here every word is taken for an event first, and what follows it is looked up; those that the first event leads
to are found by jumps, each round of which is twice as long as the one before it. Time and memory follow the bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.formats.trace_dat.event_headers import DELTA_BITS, FAR, STAMP_BITS, STEPS, delta, special, type_len

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STAMP_MASK = np.uint64((1 << STAMP_BITS) - 1)
_HALF_STAMP = np.uint64(1 << (STAMP_BITS - 1))


@dataclass(frozen=True, slots=True)
class LongPage:
    """The n events of a page, in order, with everything else that has a header."""

    word: NDArray[np.int64]  # place of each in the page, in words
    head: NDArray[np.uint32]
    ticks: NDArray[np.uint64]
    mixed: bool  # there is something that is no event of 1 to 28 words
    overlong: bool  # the last one does not end within the page
    extends: int
    padding: int
    stamps: NDArray[np.uint64]  # times that were set, before a carry into their top bits


def walk_long_page(words: NDArray[np.uint32], start: int, *, little: bool, timed: bool) -> LongPage:
    """Go through the words of a page's events; start: the time before the first. Untimed: all times are `start`."""
    total = len(words)
    kind = type_len(words, little=little)
    following = np.arange(total) + STEPS[kind]
    odd = np.flatnonzero(following >= FAR)
    second = words.take(odd + 1, mode="clip")
    found = special(kind[odd], delta(words[odd], little=little), second, total - odd)
    following[odd] = odd + found.steps
    word = _chain(np.minimum(following, total).astype(np.int32))
    rows = np.searchsorted(odd, word)
    rows[rows == len(odd)] = 0
    is_odd = (odd[rows] == word) if len(odd) else np.zeros(len(word), np.bool_)
    places, which = np.flatnonzero(is_odd), rows[is_odd]  # of what is special: among the events, among `odd`
    head = words[word]
    deltas = delta(head, little=little).astype(np.uint64)
    extends, stamps = found.extends[which], found.stamps[which]
    more = second[which].astype(np.uint64) << np.uint64(DELTA_BITS)
    deltas[places[extends | stamps]] += more[extends | stamps]
    ticks, told = _times(deltas, places[stamps], np.uint64(start), timed=timed)
    return LongPage(
        word,
        head,
        ticks,
        mixed=bool(is_odd.any()),
        overlong=bool(following[word[-1]] > total),
        extends=int(extends.sum()),
        padding=int(found.padding[which].sum()),
        stamps=told,
    )


def _chain(following: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the places that place 0 leads to, in order; following: of each place, their number where there is none."""
    end = len(following)
    jump = np.append(following, np.int32(end))
    reached = np.zeros(1, np.int32)
    while True:
        further = jump[reached]
        further = further[further < end]
        if not len(further):
            return np.sort(reached).astype(np.int64)
        reached = np.concatenate([reached, further])
        jump = jump[jump]


def _times(
    deltas: NDArray[np.uint64], stamps: NDArray[np.int64], start: np.uint64, *, timed: bool
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return the time of each event, and the times that are set at `stamps`, before a carry.

    A stamp has 59 bits; the top bits are those of the time before, and one more where it would lie far before that
    time (the kernel's rb_fix_abs_ts). The sum of the low bits tells how often they are carried, so all are known.
    """
    low = deltas[stamps] & _STAMP_MASK
    deltas[stamps] = 0
    passed = np.cumsum(deltas, dtype=np.uint64) if timed else np.zeros(len(deltas), np.uint64)
    ticks = start + passed
    if not len(stamps):
        return ticks, low
    if not timed:
        return ticks, (start & ~_STAMP_MASK) | low
    before = np.append(start, low[:-1]) + np.diff(passed[stamps], prepend=np.uint64(0))
    low_before = before & _STAMP_MASK
    carried = ((low < low_before) & (low_before - low > _HALF_STAMP)).astype(np.uint64)
    top = np.cumsum((before >> np.uint64(STAMP_BITS)) + carried, dtype=np.uint64)
    told = (top << np.uint64(STAMP_BITS)) + low
    lengths = np.diff(np.append(stamps, len(deltas)))
    ticks[stamps[0] :] = np.repeat(told - passed[stamps], lengths) + passed[stamps[0] :]
    return ticks, told - (carried << np.uint64(STAMP_BITS))
