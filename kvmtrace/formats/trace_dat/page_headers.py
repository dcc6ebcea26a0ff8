"""How the pages of the kernel's ring buffer begin: time stamp, bytes used, events missed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.formats.trace_dat.abi import PageFlag

if TYPE_CHECKING:
    from numpy.typing import NDArray

_UNKNOWN = -1


@dataclass(frozen=True, slots=True)
class PageLayout:
    """How pages are laid out; `order` is "<" or ">", sizes are bytes."""

    order: str
    page_bytes: int
    commit_bytes: int
    data_offset: int


@dataclass(frozen=True, slots=True)
class PageHeaders:
    """The beginnings of n pages."""

    stamp: NDArray[np.uint64]
    used: NDArray[np.int64]  # bytes of events, at most those of a page
    overlong: NDArray[np.bool_]  # said to use more than a page holds: its events are not believed
    missed: NDArray[np.bool_]  # events are missing before the page
    missed_events: NDArray[np.int64]  # how many, -1: not recorded


def read_headers(raw: NDArray[np.uint8], layout: PageLayout) -> PageHeaders:
    """Read the headers of whole pages, n by the bytes of a page or more."""
    stamp = _numbers(raw[:, :8], layout.order, 8)
    commit = _numbers(raw[:, 8 : 8 + layout.commit_bytes], layout.order, layout.commit_bytes)
    used = (commit & np.uint64(PageFlag.USED)).astype(np.int64)
    room = layout.page_bytes - layout.data_offset
    overlong = used > room
    used[overlong] = 0
    missed = (commit & np.uint64(PageFlag.MISSED_EVENTS)) != 0
    missed_events = np.full(len(raw), _UNKNOWN, np.int64)
    stored = (commit & np.uint64(PageFlag.MISSED_STORED)) != 0
    told = np.flatnonzero(missed & stored & ~overlong & (used + layout.commit_bytes <= room))
    if len(told):
        places = layout.data_offset + used[told][:, None] + np.arange(layout.commit_bytes)
        counts = _numbers(raw[told[:, None], places], layout.order, layout.commit_bytes).view(np.int64)
        missed_events[told] = np.where(counts > 0, counts, _UNKNOWN)
    return PageHeaders(stamp, used, overlong, missed, missed_events)


def _numbers(raw: NDArray[np.uint8], order: str, size: int) -> NDArray[np.uint64]:
    return np.ascontiguousarray(raw).view(f"{order}u{size}").reshape(-1).astype(np.uint64)
