"""Sorted rows of events → exits, and the exit of each event. Knows nothing but time, thread and role."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.arch.base import Role

if TYPE_CHECKING:
    from numpy.typing import NDArray

NONE = -1


@dataclass(frozen=True, slots=True)
class Pairs:
    """The exits among n rows that are sorted by thread and time; all members are indexes of rows.

    A boundary is an exit or an entry. `closer` is the next boundary of the exit's thread, `opener` the one before it.
    """

    exits: NDArray[np.int64]  # row of each exit
    closer: NDArray[np.int64]  # row, NONE: there is none yet
    opener: NDArray[np.int64]  # row, NONE: there is none
    exit_rank: NDArray[np.int64]  # for each of the n rows: index into `exits` of the exit it fell into, or NONE
    lone_entries: NDArray[np.int64]  # rows of entries that follow an entry of their thread
    carry: NDArray[np.int64]
    """Rows that the next call needs: each thread's last boundary; of an open exit its events and the entry before."""


def pair(thread: NDArray[np.int32], role: NDArray[np.uint8]) -> Pairs:
    """Pair the exits and entries of rows that are sorted by thread and time."""
    is_boundary = role <= Role.ENTRY
    bounds = np.flatnonzero(is_boundary)
    bound_thread, bound_role = thread[bounds], role[bounds]
    follows = np.empty(len(bounds), np.bool_)  # the boundary before it is of the same thread
    follows[:1] = False
    np.equal(bound_thread[1:], bound_thread[:-1], out=follows[1:])
    is_last = np.empty(len(bounds), np.bool_)
    is_last[-1:] = True
    np.logical_not(follows[1:], out=is_last[:-1])
    after_entry = np.zeros(len(bounds), np.bool_)
    np.logical_and(follows[1:], bound_role[:-1] == Role.ENTRY, out=after_entry[1:])

    exit_places = np.flatnonzero(bound_role == Role.EXIT)
    next_bound = bounds[np.minimum(exit_places + 1, len(bounds) - 1)] if len(bounds) else exit_places
    closer = np.where(is_last[exit_places], NONE, next_bound)
    opener = np.where(follows[exit_places], bounds[exit_places - 1], NONE)
    lone_entries = bounds[after_entry & (bound_role == Role.ENTRY)]
    needed = is_last.copy()
    needed[:-1] |= is_last[1:] & after_entry[1:] & (bound_role[1:] == Role.EXIT)

    exit_rank = np.full(len(thread), NONE, np.int64)
    if len(bounds) == len(thread):  # nothing but boundaries
        exit_rank[exit_places] = np.arange(len(exit_places))
        return Pairs(bounds[exit_places], closer, opener, exit_rank, lone_entries, np.flatnonzero(needed))
    place = np.cumsum(is_boundary) - 1  # index of the last boundary at or before each row
    inside = place >= 0
    inside[inside] = thread[bounds[place[inside]]] == thread[inside]
    rank_of_bound = np.full(len(bounds), NONE, np.int64)
    rank_of_bound[exit_places] = np.arange(len(exit_places))
    exit_rank[inside] = rank_of_bound[place[inside]]
    carried = np.zeros(len(thread), np.bool_)
    carried[inside] = is_last[place[inside]] & (bound_role[place[inside]] == Role.EXIT)
    carried[bounds] = needed
    return Pairs(bounds[exit_places], closer, opener, exit_rank, lone_entries, np.flatnonzero(carried))
