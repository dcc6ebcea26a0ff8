"""A first pass over the pages of a buffer: which tracepoints fired, how often, and how early later pages may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.formats.trace_dat.page_headers import PageLayout, read_headers
from kvmtrace.formats.trace_dat.pages import joined
from kvmtrace.formats.trace_dat.ring_buffer import Walk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from kvmtrace.formats.trace_dat.pages import Pages, PageStream

IDS = 1 << 16  # common_type is a u16
_GRANULE = 16  # pages that share a bound
_NEVER = np.uint64((1 << 64) - 1)
_LEAST_BATCH_BYTES = 1 << 22
_MOST_BATCH_BYTES = 1 << 24
_GOOD_WIDTH = 256  # pages that are walked side by side


def batch_pages(layout: PageLayout) -> int:
    """Return how many pages are walked side by side: many, in memory that does not depend on the recording."""
    wanted = max(_LEAST_BATCH_BYTES, _GOOD_WIDTH * layout.page_bytes)
    return max(min(wanted, _MOST_BATCH_BYTES) // layout.page_bytes, 1)


def native_words(raw: NDArray[np.uint8], order: str) -> NDArray[np.uint32]:
    """Return the words of some pages in native byte order."""
    return raw.reshape(-1).view(f"{order}u4").astype(np.uint32, copy=False)


class Bounds:
    """Before which time no event of a CPU comes any more, by page."""

    def __init__(self) -> None:
        self._parts: list[NDArray[np.uint64]] = []
        self._left = np.zeros(0, np.uint64)
        self._newest = _NEVER
        self._broken = False  # the newest page
        self._bounds = np.zeros(0, np.uint64)

    def add(
        self,
        stamp: NDArray[np.uint64],
        lowest: NDArray[np.uint64],
        after_hole: NDArray[np.bool_],
        broken: NDArray[np.bool_],
    ) -> None:
        """Take over pages in order: stamps, lowest times, before and within which of them events are missing.

        What is missing belongs to the time behind the page before.
        """
        if not len(stamp):
            return
        before = np.concatenate([[self._newest], stamp[:-1]])
        after_hole = after_hole | np.concatenate([[self._broken], broken[:-1]])
        self._newest, self._broken = stamp[-1], bool(broken[-1])
        lowest = np.where(after_hole, np.minimum(lowest, before), lowest)
        values = np.concatenate([self._left, lowest])
        whole = len(values) // _GRANULE * _GRANULE
        self._parts.append(values[:whole].reshape(-1, _GRANULE).min(axis=1))
        self._left = values[whole:]

    def settle(self) -> None:
        """Work out the bounds, once all pages are there."""
        last = [np.array([self._left.min()])] if len(self._left) else []
        values = np.concatenate([np.zeros(0, np.uint64), *self._parts, *last])
        self._bounds = np.minimum.accumulate(values[::-1])[::-1]
        self._parts.clear()

    def from_page(self, page: int) -> int:
        """Return the lowest time of any page from `page` on, at most."""
        place = page // _GRANULE
        return int(self._bounds[place]) if place < len(self._bounds) else int(_NEVER)


@dataclass(frozen=True, slots=True)
class Survey:
    """What the first pass found."""

    counts: NDArray[np.int64]  # events by id
    bounds: list[Bounds]  # one for each CPU of the buffer


def survey(streams: Sequence[PageStream], layout: PageLayout) -> Survey:
    """Go through all pages of all CPUs."""
    counts = np.zeros(IDS, np.int64)
    bounds = [Bounds() for _ in streams]
    room = batch_pages(layout)
    parts: list[tuple[int, Pages]] = []
    for index, stream in enumerate(streams):
        while some := stream.read(room):
            parts += [(index, pages) for pages in some]
            room -= sum(map(len, some))
            if room <= 0:
                counts += _count(parts, bounds, layout)
                parts, room = [], batch_pages(layout)
    counts += _count(parts, bounds, layout)
    for of_cpu in bounds:
        of_cpu.settle()
    return Survey(counts, bounds)


def _count(parts: list[tuple[int, Pages]], bounds: list[Bounds], layout: PageLayout) -> NDArray[np.int64]:
    """Count the events of some pages by id, and learn their bounds."""
    if not parts:
        return np.zeros(IDS, np.int64)
    pages = joined([part for _, part in parts], layout.page_bytes)
    headers = read_headers(pages.raw, layout)
    lowest = np.where(headers.used > 0, headers.stamp, _NEVER)
    walk = Walk(native_words(pages.raw, layout.order), pages.raw.shape[1] // 4, layout, lowest, timed=False)
    walk.run(headers)
    broken = headers.overlong.copy()
    broken[[damage.page for damage in walk.damage]] = True
    hole = headers.missed | pages.gap
    row = 0
    for index, part in parts:
        own = slice(row, row + len(part))
        bounds[index].add(headers.stamp[own], lowest[own], hole[own], broken[own])
        row += len(part)
    return np.bincount(walk.ids(), minlength=IDS)
