"""The u32 before every event of the ring buffer: type_len (5 bits) and time_delta (27 bits), and where the next is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.formats.trace_dat.abi import EventType

if TYPE_CHECKING:
    from numpy.typing import NDArray

WORD = 4
DELTA_BITS = 27
STAMP_BITS = 59
FAR = 1 << 40
STEPS = np.where((np.arange(32) >= 1) & (np.arange(32) <= EventType.DATA_MAX), np.arange(32) + 1, 2 * FAR)
"""Words from one event to the next by type_len; so far that no page goes on there where that does not tell it."""
_TYPE_MASK = (1 << 5) - 1
_DELTA_MASK = (1 << DELTA_BITS) - 1
_LEAST_LENGTH = 8  # of an event that states its length: the length itself, and a word of data


def type_len(head: NDArray[np.uint32], *, little: bool) -> NDArray[np.uint32]:
    """Return the five bits of type_len."""
    return head & np.uint32(_TYPE_MASK) if little else head >> np.uint32(DELTA_BITS)


def delta(head: NDArray[np.uint32], *, little: bool) -> NDArray[np.uint32]:
    """Return the 27 bits of time_delta."""
    return head >> np.uint32(5) if little else head & np.uint32(_DELTA_MASK)


@dataclass(frozen=True, slots=True)
class Special:
    """n events that are not one of 1 to 28 words."""

    steps: NDArray[np.int64]  # words to the next one; beyond the page where the event does not end within it
    extends: NDArray[np.bool_]  # it makes time go on
    stamps: NDArray[np.bool_]  # it sets the time
    padding: NDArray[np.bool_]


def special(
    kind: NDArray[np.uint32], deltas: NDArray[np.uint32], second: NDArray[np.uint32], left: NDArray[np.int64]
) -> Special:
    """Tell what they are; `second` is the word behind the header, `left` the words from the header to the page's end.

    Where the time of a padding is 0, nothing follows it.
    """
    there = left > 1
    stated = (second.astype(np.int64) + WORD - 1) // WORD + 1
    long = kind == 0
    padding = kind == EventType.PADDING
    steps = np.where(long, stated, 2)
    steps[padding] = np.where(deltas == 0, left, np.minimum(stated, left))[padding]
    broken = ~padding & (~there | (long & (second < _LEAST_LENGTH)))
    steps[broken] = left[broken] + 1
    return Special(steps, (kind == EventType.TIME_EXTEND) & there, (kind == EventType.TIME_STAMP) & there, padding)
