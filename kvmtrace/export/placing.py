"""Where inside exits their parts lie: the VMM, halts, lost CPUs. Lengths are the store's, places the events'."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.arch.base import Role
from kvmtrace.exits.facets import find_halts, find_userspace
from kvmtrace.exits.spans import Spans
from kvmtrace.export.exit_blocks import PARTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from kvmtrace.exits.facets import Inside

_BY_CONVENTION = ("polled_ns", "blocked_ns", "userspace_ns", "preempted_ns")
"""The order in which parts follow each other from the exit on, where events do not tell their places."""


@dataclass(frozen=True, slots=True)
class PlacedParts:
    """m stretches by exit and time that do not overlap. Times are ns since the exit."""

    rank: NDArray[np.int64]  # index of the exit
    part: NDArray[np.int64]  # index of PARTS
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    by_convention: NDArray[np.bool_]  # the store tells how long it was, and no event where

    def __len__(self) -> int:
        return len(self.rank)


def place_parts(
    inside: Inside | None, stored: Mapping[str, NDArray[np.int64]], latency_ns: NDArray[np.int64]
) -> PlacedParts:
    """Return where the parts of n exits lie; those of each exit are together as long as the store says.

    stored: ns of each of PARTS, 0 where there is none or it is not known. latency_ns: -1 where there is none.
    """
    told = _told(inside, latency_ns) if inside is not None else _nothing()
    lengths = np.zeros((len(PARTS), len(latency_ns)), np.int64)
    np.add.at(lengths, (told.part, told.rank), told.end - told.start)
    wanted = np.array([stored[part] for part in PARTS])
    agree = (lengths == wanted).all(axis=0)
    kept = agree[told.rank]
    rest = _one_after_the_other(stored, ~agree)
    columns = (
        np.concatenate([getattr(told, name)[kept], getattr(rest, name)])
        for name in ("rank", "part", "start", "end", "by_convention")
    )
    placed = PlacedParts(*columns)
    order = np.lexsort((placed.start, placed.rank))
    return PlacedParts(*(getattr(placed, name)[order] for name in ("rank", "part", "start", "end", "by_convention")))


def _told(inside: Inside, latency_ns: NDArray[np.int64]) -> PlacedParts:
    """Return the parts as the events tell them, as `exits.facets` measures them."""
    exits = len(latency_ns)
    halts = find_halts(inside, exits)
    goes = np.zeros(exits, np.bool_)
    goes[inside.rank[inside.role == Role.USERSPACE]] = True
    preempted = Spans.between(inside.rank, inside.role, inside.since_ns, Role.PREEMPTED, Role.RUNNING)
    spans = {
        "preempted_ns": [preempted],
        "blocked_ns": [halts.sleeps, halts.blocked],
        "polled_ns": [halts.polled],
        "userspace_ns": list(find_userspace(inside, goes, latency_ns)),
    }
    labelled = [(PARTS.index(part), each) for part, several in spans.items() for each in several]
    return _without_overlap(labelled)


def _without_overlap(labelled: list[tuple[int, Spans]]) -> PlacedParts:
    """Return every nanosecond that some stretch has, once: as that of the first part in PARTS that has it."""
    whole = [(part, spans.select(spans.end > spans.start)) for part, spans in labelled]
    rank, start, end = (
        np.concatenate([getattr(spans, name) for _, spans in whole]) for name in ("rank", "start", "end")
    )
    if not len(rank):
        return _nothing()
    part = np.concatenate([np.full(len(spans), number) for number, spans in whole])
    room = np.zeros(int(rank.max()) + 1, np.int64)
    np.maximum.at(room, rank, end + 1)
    base = np.cumsum(room) - room  # all exits behind each other on one line
    places = np.concatenate([base[rank] + start, base[rank] + end])
    order = np.argsort(places, kind="stable")
    change = np.zeros((2 * len(rank), len(PARTS)), np.int8)
    change[np.arange(len(rank)), part] = 1
    change[np.arange(len(rank), 2 * len(rank)), part] = -1
    covering = np.cumsum(change[order], axis=0, dtype=np.int64)[:-1] > 0
    begin, stop = places[order][:-1], places[order][1:]
    rows = np.flatnonzero(covering.any(axis=1) & (stop > begin))
    label, begin, stop = covering[rows].argmax(axis=1), begin[rows], stop[rows]
    of_exit = np.searchsorted(base, begin, side="right") - 1
    new = np.ones(len(rows), np.bool_)  # not the same part going on
    new[1:] = (label[1:] != label[:-1]) | (begin[1:] != stop[:-1]) | (of_exit[1:] != of_exit[:-1])
    first = np.flatnonzero(new)
    last = np.append(first[1:], len(rows)) - 1
    of_exit = of_exit[first]
    at = base[of_exit]
    return PlacedParts(of_exit, label[first], begin[first] - at, stop[last] - at, np.zeros(len(first), np.bool_))


def _one_after_the_other(stored: Mapping[str, NDArray[np.int64]], chosen: NDArray[np.bool_]) -> PlacedParts:
    """Return the parts of the chosen exits behind each other, from the exit on."""
    rows = np.flatnonzero(chosen)
    lengths = np.array([stored[part][rows] for part in _BY_CONVENTION])
    ends = np.cumsum(lengths, axis=0)
    part = np.repeat(np.array([PARTS.index(name) for name in _BY_CONVENTION]), len(rows))
    rank, end, length = np.tile(rows, len(_BY_CONVENTION)), ends.ravel(), lengths.ravel()
    there = length > 0
    return PlacedParts(rank[there], part[there], (end - length)[there], end[there], np.ones(int(there.sum()), np.bool_))


def _nothing() -> PlacedParts:
    none = np.zeros(0, np.int64)
    return PlacedParts(none, none, none, none, np.zeros(0, np.bool_))
