"""Pages of the kernel's ring buffer → the places and times of their events, all pages of a batch side by side.

A page is a u64 time stamp, a commit field (bytes used, and flags) and events: a u32 of type_len (5 bits) and
time_delta (27 bits), then data (kernel/trace/ring_buffer.c, include/linux/ring_buffer.h). Every step of the walk takes
one event of each page. Times are what libtraceevent (kbuffer-parse.c) makes of them: deltas add up from the page's
stamp, also that of a discarded event. A few long pages that are left are walked by themselves (long_pages.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.formats.trace_dat.abi import EventType
from kvmtrace.formats.trace_dat.event_headers import DELTA_BITS, FAR, STAMP_BITS, STEPS, WORD, delta, special, type_len
from kvmtrace.formats.trace_dat.long_pages import walk_long_page

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kvmtrace.formats.trace_dat.page_headers import PageHeaders, PageLayout

_TOP_BITS = 0xF8 << 56  # of a time, which an absolute stamp lacks
_NARROW = 16  # pages
_LONG_WORDS = 1 << 12
"""So few pages, one of which goes on for so long, are walked one after another."""


@dataclass(frozen=True, slots=True)
class Damage:
    """Where the events of a page end before the page does."""

    page: int
    byte: int  # in the page
    what: str


@dataclass(frozen=True, slots=True)
class Events:
    """n events by page, in the order of the buffer."""

    word: NDArray[np.int64]  # place of the payload in the batch, in words
    size: NDArray[np.int64]  # bytes of the payload
    page: NDArray[np.int64]
    ticks: NDArray[np.uint64]
    id: NDArray[np.uint32]  # of the tracepoint


@dataclass(slots=True)
class Walk:
    """Goes through the events of all pages of a batch.

    `words` are the batch in native byte order, its pages `page_words` apart; `lowest` is the earliest time that each
    page may have.
    """

    words: NDArray[np.uint32]
    page_words: int
    layout: PageLayout
    lowest: NDArray[np.uint64]
    timed: bool = True  # False: only the places of the events are wanted
    damage: list[Damage] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)  # what is no event
    _heads: list[NDArray[np.uint32]] = field(default_factory=list)
    _firsts: list[NDArray[np.uint32]] = field(default_factory=list)  # the words behind them
    _places: list[NDArray[np.int64]] = field(default_factory=list)
    _pages: list[NDArray[np.int64]] = field(default_factory=list)
    _ticks: list[NDArray[np.uint64]] = field(default_factory=list)
    _mixed: bool = False  # there is something among the steps that is no event of 1 to 28 words

    def run(self, headers: PageHeaders) -> None:
        """Go from the first to the last event of all pages."""
        words, little = self.words, self.layout.order == "<"
        page = np.flatnonzero(headers.used >= WORD)
        place = page * self.page_words + self.layout.data_offset // WORD
        end = place + headers.used[page] // WORD
        ticks = headers.stamp[page]
        while len(page):
            if len(page) <= _NARROW and int((end - place).max()) >= _LONG_WORDS:
                self._walk_alone(place, end, page, ticks)
                return
            head = words.take(place, mode="clip")
            kind = type_len(head, little=little)
            if self.timed:
                ticks = ticks + delta(head, little=little)
            following = place + STEPS.take(kind, mode="clip")
            live = following < end
            goes_on = live.all()
            if not goes_on:  # the end of a page, or no event of 1 to 28 words
                if int(following.max()) >= FAR:
                    ticks = self._special(kind, delta(head, little=little), place, end, page, ticks, following)
                over = following > end
                if over.any():
                    head = self._drop(over, head, place, page)
                live = following < end
            self._keep(head, place, page, ticks)
            if goes_on:
                place = following
            else:
                left = np.flatnonzero(live)
                place, end, page, ticks = following[left], end[left], page[left], ticks[left]

    def _walk_alone(
        self, place: NDArray[np.int64], end: NDArray[np.int64], page: NDArray[np.int64], ticks: NDArray[np.uint64]
    ) -> None:
        """Go to the end of some pages, one after another."""
        little = self.layout.order == "<"
        for first, behind, number, start in zip(place.tolist(), end.tolist(), page.tolist(), ticks, strict=True):
            found = walk_long_page(self.words[first:behind], start, little=little, timed=self.timed)
            places, head = first + found.word, found.head
            numbers = np.full(len(places), number, np.int64)
            self._mixed |= found.mixed
            self._count("time extends", found.extends)
            self._count("time stamps", len(found.stamps))
            self._count("discarded events and padding", found.padding)
            if len(found.stamps):
                self.lowest[number] = min(self.lowest[number], found.stamps.min())
            if found.overlong:
                over = np.zeros(len(places), np.bool_)
                over[-1] = True
                head = self._drop(over, head, places, numbers)
            self._keep(head, places, numbers, found.ticks)

    def _keep(
        self,
        head: NDArray[np.uint32],
        place: NDArray[np.int64],
        page: NDArray[np.int64],
        ticks: NDArray[np.uint64],
    ) -> None:
        self._heads.append(head)
        self._firsts.append(self.words[1:].take(place, mode="clip"))  # now, while it is near
        self._places.append(place)
        self._pages.append(page)
        self._ticks.append(ticks)

    def _special(
        self,
        kind: NDArray[np.uint32],
        deltas: NDArray[np.uint32],
        place: NDArray[np.int64],
        end: NDArray[np.int64],
        page: NDArray[np.int64],
        ticks: NDArray[np.uint64],
        following: NDArray[np.int64],
    ) -> NDArray[np.uint64]:
        """Mend the step of everything that is no event of 1 to 28 words, and return the times."""
        self._mixed = True
        rows = np.flatnonzero(following >= FAR)
        at = place[rows]
        second = self.words.take(at + 1, mode="clip")  # the word behind the header
        found = special(kind[rows], deltas[rows], second, end[rows] - at)
        following[rows] = at + found.steps
        extends, stamps = np.flatnonzero(found.extends), np.flatnonzero(found.stamps)
        self._count("time extends", len(extends))
        self._count("time stamps", len(stamps))
        self._count("discarded events and padding", int(found.padding.sum()))
        if self.timed and len(extends):
            ticks[rows[extends]] += second[extends].astype(np.uint64) << np.uint64(DELTA_BITS)
        if len(stamps):
            self._stamp(rows[stamps], second[stamps], deltas, page, ticks)
        return ticks

    def _count(self, what: str, number: int) -> None:
        if number:
            self.counts[what] = self.counts.get(what, 0) + number

    def _stamp(
        self,
        rows: NDArray[np.int64],
        second: NDArray[np.uint32],
        deltas: NDArray[np.uint32],
        page: NDArray[np.int64],
        ticks: NDArray[np.uint64],
    ) -> None:
        """Set absolute times of 59 bits; the top bits are those of the time before."""
        before = ticks[rows] - (deltas[rows] if self.timed else np.uint32(0))
        stamp = (second.astype(np.uint64) << np.uint64(DELTA_BITS)) + deltas[rows]
        stamp = (stamp & np.uint64((1 << STAMP_BITS) - 1)) | (before & np.uint64(_TOP_BITS))
        # The kernel (rb_fix_abs_ts) carries into the top bits; a clock that goes back goes back by less.
        carried = (stamp < before) & (before - stamp > np.uint64(1 << (STAMP_BITS - 1)))
        np.minimum.at(self.lowest, page[rows], stamp)
        stamp[carried] += np.uint64(1 << STAMP_BITS)
        if self.timed:
            ticks[rows] = stamp

    def _drop(
        self,
        over: NDArray[np.bool_],
        head: NDArray[np.uint32],
        place: NDArray[np.int64],
        page: NDArray[np.int64],
    ) -> NDArray[np.uint32]:
        """Note what does not end within its page, and leave it out."""
        self._mixed = True
        for row in np.flatnonzero(over).tolist():
            byte = (int(place[row]) - int(page[row]) * self.page_words) * WORD
            what = f"expected an event that ends within its page, found {int(head[row]):#010x}"
            self.damage.append(Damage(int(page[row]), byte, what))
        head = head.copy()
        head[over] = EventType.PADDING if self.layout.order == "<" else EventType.PADDING << DELTA_BITS
        return head

    def ids(self) -> NDArray[np.uint32]:
        """Return the ids of all events, in no order."""
        if not self._places:
            return np.zeros(0, np.uint32)
        first = np.concatenate(self._firsts)
        if self._mixed:
            kind = type_len(np.concatenate(self._heads), little=self.layout.order == "<")
            long = np.flatnonzero(kind == 0)
            first[long] = self.words[np.concatenate(self._places)[long] + 2]
            first = first[kind <= EventType.DATA_MAX]
        return self._ids(first)

    def _ids(self, first: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """Return common_type, the u16 with which every event begins, of the first words of payloads."""
        return first & np.uint32(0xFFFF) if self.layout.order == "<" else first >> np.uint32(16)

    def events(self) -> Events:
        """Return all events by page."""
        if not self._places:
            nothing = np.zeros(0, np.int64)
            return Events(nothing, nothing, nothing, np.zeros(0, np.uint64), np.zeros(0, np.uint32))
        page = np.concatenate(self._pages)
        kind = type_len(np.concatenate(self._heads), little=self.layout.order == "<")
        few = len(self.lowest) <= 1 << 16
        order = np.argsort(page.astype(np.uint16) if few else page, kind="stable")  # 16 bits: a radix sort
        if self._mixed:
            order = order[kind[order] <= EventType.DATA_MAX]
            page = page[order]
        else:
            page = np.repeat(np.arange(len(self.lowest)), np.bincount(page, minlength=len(self.lowest)))
        kind = kind[order]
        word = np.concatenate(self._places)[order] + 1
        first = np.concatenate(self._firsts)[order]
        size = kind.astype(np.int64) * WORD
        if self._mixed and len(long := np.flatnonzero(kind == 0)):
            size[long] = (self.words[word[long]].astype(np.int64) - 1) // WORD * WORD  # without the length itself
            word[long] += 1
            first[long] = self.words[word[long]]
        return Events(word, size, page, np.concatenate(self._ticks)[order], self._ids(first))
