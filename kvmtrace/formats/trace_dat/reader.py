"""One buffer of a trace.dat as a Recording: facts at the start, then blocks of events."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.formats.trace_dat import clocks
from kvmtrace.formats.trace_dat.events import EventDecoder, Located, find_kinds
from kvmtrace.formats.trace_dat.losses import CpuLosses
from kvmtrace.formats.trace_dat.options import Said, wall_clock
from kvmtrace.formats.trace_dat.page_headers import PageHeaders, PageLayout, read_headers
from kvmtrace.formats.trace_dat.pages import Pages, joined, open_pages
from kvmtrace.formats.trace_dat.ring_buffer import Damage, Events, Walk
from kvmtrace.formats.trace_dat.survey import Bounds, batch_pages, native_words, survey
from kvmtrace.recording import NO_WATERMARK, EventBlock, Facts, Loss, Note, Notes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from kvmtrace.formats.source import Source
    from kvmtrace.formats.trace_dat.buffer_clock import BufferClock
    from kvmtrace.formats.trace_dat.clocks import Clock
    from kvmtrace.formats.trace_dat.container import Buffer, TraceFile
    from kvmtrace.formats.trace_dat.pages import PageStream

_NAME = "trace.dat"
_BATCHES_HELD = 4  # batches whose events wait for those of other CPUs


@dataclass(slots=True)
class _Cpu:
    """How far the pages of one CPU are read."""

    cpu: int
    stream: PageStream
    bounds: Bounds
    losses: CpuLosses
    read: int = 0
    done: bool = False

    def earliest_ns(self, clock: Clock) -> int:
        """Return a time before which none of its events comes any more."""
        earliest = clock.earliest_ns(self.bounds.from_page(self.read), self.cpu)
        return NO_WATERMARK if earliest is None else earliest


@dataclass(frozen=True, slots=True)
class _Part:
    """Pages of one CPU in a batch: rows `first` to `end`."""

    cpu: _Cpu
    first: int
    end: int


class TraceDatRecording:
    """One buffer of a trace.dat (recording.Recording)."""

    def __init__(
        self, source: Source, file: TraceFile, buffer: Buffer, said: Said, clock: BufferClock, notes: list[Note]
    ) -> None:
        self._source = source
        self._file = file
        self._buffer = buffer
        self._said = said
        self.notes = Notes()
        self._clock = clock.clock
        for note in notes:
            self.notes.add(note)
        self._layout = PageLayout(file.order, buffer.page_bytes, file.page.commit_bytes, file.page.data_offset)
        self._survey = survey(self._streams(Notes()), self._layout)
        self._kinds = find_kinds(self._survey.counts, file.formats, file.order, file.page.commit_bytes)
        self.facts = Facts(
            _NAME,
            events=self._kinds.kinds,
            clock=clock.name,
            clock_hz=clock.said_hz,
            threads={(-1, tid): name for tid, name in file.threads.items()},
            samples=self._kinds.samples,
            has_processes=False,
            tells_enabled=False,
            part=buffer.name or None,
            not_stored=self._kinds.not_stored,
        )
        said.describe(self.facts)
        self._decoder = EventDecoder(self._kinds, file.order, self.notes)
        self._counts: Counter[str] = Counter()
        self._first_ns: int | None = None

    def _streams(self, notes: Notes) -> list[PageStream]:
        file, order = self._file, self._file.order
        return [
            open_pages(self._source, data, self._buffer, file.compression, order, notes) for data in self._buffer.cpus
        ]

    def blocks(self) -> Iterator[EventBlock]:
        """Read the pages of all CPUs once, those of the oldest events first."""
        cpus = [
            _Cpu(data.cpu, stream, bounds, CpuLosses(data.cpu))
            for data, stream, bounds in zip(
                self._buffer.cpus, self._streams(self.notes), self._survey.bounds, strict=True
            )
        ]
        while batch := self._next_batch(cpus):
            pages, parts = batch
            yield self._block(pages, parts, self._watermark(cpus))
        self._finish()

    def _next_batch(self, cpus: list[_Cpu]) -> tuple[Pages, list[_Part]] | None:
        """Read on where time is furthest behind."""
        most = batch_pages(self._layout)
        each = min(max(most * _BATCHES_HELD // max(len(cpus), 1), 1), most)
        pages: list[Pages] = []
        parts: list[_Part] = []
        row = 0
        waiting = [cpu for cpu in cpus if not cpu.done]
        for cpu in sorted(waiting, key=lambda cpu: cpu.earliest_ns(self._clock)):
            before = cpu.stream.done_bytes
            some = cpu.stream.read(each)
            self._source.go_through(cpu.stream.done_bytes - before)
            count = sum(map(len, some))
            cpu.read += count
            cpu.done = count == 0
            if count:
                pages += some
                parts.append(_Part(cpu, row, row + count))
                row += count
            if row >= most:
                break
        return (joined(pages, self._layout.page_bytes), parts) if pages else None

    def _watermark(self, cpus: list[_Cpu]) -> int:
        left = [cpu.earliest_ns(self._clock) for cpu in cpus if not cpu.done]
        earliest = min(left, default=clocks.LATEST_NS)
        return earliest if earliest == NO_WATERMARK else earliest - 1

    def _block(self, pages: Pages, parts: list[_Part], watermark_ns: int) -> EventBlock:
        layout = self._layout
        headers = read_headers(pages.raw, layout)
        walk = Walk(native_words(pages.raw, layout.order), pages.raw.shape[1] // 4, layout, headers.stamp.copy())
        walk.run(headers)
        events = walk.events()
        self._note_damage(headers, walk.damage, pages)
        self._counts.update({"pages": len(pages), "events": len(events.page), **walk.counts})
        broken = headers.overlong.copy()
        broken[[damage.page for damage in walk.damage]] = True
        ts_ns, cpu, losses = self._located(headers, broken, pages, parts, events)
        if len(ts_ns) and (first := int(ts_ns.min())) >= 0:
            self._first_ns = first if self._first_ns is None else min(first, self._first_ns)
        located = Located(pages.raw.reshape(-1), events, ts_ns, cpu, pages.offset)
        return self._decoder.decode(located, watermark_ns, tuple(losses))

    def _located(
        self, headers: PageHeaders, broken: NDArray[np.bool_], pages: Pages, parts: list[_Part], events: Events
    ) -> tuple[NDArray[np.int64], NDArray[np.int32], list[Loss]]:
        """Return time and CPU of each event, and what was lost around them."""
        ts_ns = np.zeros(len(events.page), np.int64)
        cpu = np.zeros(len(events.page), np.int32)
        losses: list[Loss] = []
        for part in parts:
            rows = slice(part.first, part.end)
            first, end = np.searchsorted(events.page, [part.first, part.end]).tolist()
            ts_ns[first:end] = self._clock.to_ns(events.ticks[first:end], part.cpu.cpu)
            cpu[first:end] = part.cpu.cpu
            losses += part.cpu.losses.find(
                part.first,
                headers.missed[rows],
                headers.missed_events[rows],
                pages.gap[rows],
                broken[rows],
                events.page[first:end],
                ts_ns[first:end],
            )
        return ts_ns, cpu, losses

    def _note_damage(self, headers: PageHeaders, damages: list[Damage], pages: Pages) -> None:
        room = self._layout.page_bytes - self._layout.data_offset
        for row in np.flatnonzero(headers.overlong).tolist():
            what = f"expected a page of up to {room} bytes of events, found more: its events are not read"
            self.notes.add(Note(f"offset {int(pages.offset[row])}", what))
        for damage in sorted(damages, key=lambda damage: damage.page):
            what = f"byte {damage.byte} of the page: {damage.what}: the rest of the page is not read"
            self.notes.add(Note(f"offset {int(pages.offset[damage.page])}", what))

    def _finish(self) -> None:
        self.facts.records = dict(self._counts)
        if self._said.date_ns is not None and self._first_ns is not None and clocks.counts_ns(self.facts.clock):
            self.facts.start = wall_clock(self._first_ns - self._said.offset_ns + self._said.date_ns)
