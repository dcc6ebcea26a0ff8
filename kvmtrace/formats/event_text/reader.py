"""One trace of a text as a Recording: blocks of events in columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.formats.ahead import read_ahead
from kvmtrace.formats.event_text.columns import TextFields
from kvmtrace.formats.event_text.facts import facts_of, notes_of
from kvmtrace.formats.event_text.heads import Heads
from kvmtrace.formats.event_text.left_out import LeftOut
from kvmtrace.formats.event_text.lines import BLOCK_BYTES, LineBlock, Lines
from kvmtrace.formats.event_text.losses import Losses, unread
from kvmtrace.formats.event_text.threads import ThreadNames
from kvmtrace.recording import NO_WATERMARK, EventBlock, Notes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from kvmtrace.formats.event_text.content import TextContent
    from kvmtrace.formats.event_text.survey import Survey
    from kvmtrace.formats.event_text.words import Places
    from kvmtrace.recording import Loss

_UNKNOWN = -1


class TextRecording:
    """One trace of a text (recording.Recording)."""

    def __init__(
        self,
        content: TextContent,
        grammar: str,
        found: Survey,
        part: str | None,
        *,
        block_bytes: int = BLOCK_BYTES,
    ) -> None:
        """Take what a first pass found of the trace; `part`: which of several it is."""
        self._content = content
        self._survey = found
        self._block_bytes = block_bytes
        self._readers = found.readers()
        self.notes = Notes()
        self.facts = facts_of(grammar, found, part, content.source.clock_hz)
        self._by_event = {(kind.system, kind.name): index for index, kind in enumerate(self.facts.events)}
        self._kind_of_name = self._kinds()
        self._newest = NO_WATERMARK
        self._left_out = LeftOut(found, self._readers, self.notes)
        for note in notes_of(found):
            self.notes.add(note)

    def _kinds(self) -> NDArray[np.int64]:
        """Return which kind each name of the text is; -1: none."""
        kinds = [
            _UNKNOWN if name.template is None else self._by_event[name.template.system, name.template.event]
            for name in self._survey.names
        ]
        return np.array([*kinds, _UNKNOWN], np.int64)

    def blocks(self) -> Iterator[EventBlock]:
        """Read the lines once, from first to last."""
        found, content = self._survey, self._content
        self._threads = ThreadNames()
        self._losses = Losses(found, has_times=self.facts.has_times)
        read = content.read(found.start, found.end)
        lines = Lines(read, block_bytes=self._block_bytes, first_line=found.first_line).blocks()
        ahead = content.source.options.jobs > 1  # lines, what stands before the events, their fields: side by side
        heads = self._heads(read_ahead(lines) if ahead else lines)
        for block, events, others in read_ahead(heads) if ahead else heads:
            yield self._events(block, events, others)
        if losses := self._losses.left_over():
            yield self._block(Heads.of(0), np.zeros(0, np.int64), np.ones(0, np.bool_), {}, {}, losses, {})
        self._finish()

    def _heads(self, blocks: Iterator[LineBlock]) -> Iterator[tuple[LineBlock, Heads, list[int]]]:
        for lines in blocks:
            yield lines, *self._survey.heads.read(lines)

    def _events(self, lines: LineBlock, heads: Heads, others: list[int]) -> EventBlock:
        left_out = self._left_out
        left_out.records["EVENT"] += len(heads.line)
        kinds = self._kind_of_name[np.minimum(heads.event, len(self._kind_of_name) - 1)]
        if self._survey.is_deltas:
            heads.ts_ns = np.zeros(len(heads.line), np.int64)
        stored = kinds != _UNKNOWN
        names = self._survey.heads.names.strings
        left_out.unknown(names[code].decode("latin-1") for code in heads.event[~stored].tolist())
        fields: dict[int, TextFields] = {}
        rows: dict[int, Places] = {}
        losses: list[Loss] = []
        for kind in np.flatnonzero(np.bincount(kinds[stored], minlength=len(self.facts.events))).tolist():
            of_kind = np.flatnonzero(kinds == kind)
            starts, ends = heads.text[of_kind], lines.ends[heads.line[of_kind]]
            event = self.facts.events[kind]
            done, columns = self._readers[event.system, event.name].read(lines.raw, starts, ends)
            if not done.all():
                stored[of_kind[~done]] = False
                left_out.unread(event, lines, heads, of_kind[~done])
                losses += unread(heads, of_kind[~done]) if self.facts.has_times else []
                of_kind = of_kind[done]
            rows[kind], fields[kind] = of_kind, TextFields(lines.raw, columns)
        if len(heads.ts_ns):
            self._newest = max(self._newest, int(heads.ts_ns.max()))
        losses += self._losses.find(left_out.others(lines, others), heads, self._watermark())
        threads = self._threads.see(lines, heads)
        return self._block(heads, kinds, stored, rows, fields, tuple(losses), threads)

    def _watermark(self) -> int:
        timed = self.facts.has_times and self._newest != NO_WATERMARK
        return self._newest - self._survey.back_ns - 1 if timed else NO_WATERMARK

    def _block(
        self,
        heads: Heads,
        kinds: Places,
        stored: NDArray[np.bool_],
        rows: dict[int, Places],
        fields: dict[int, TextFields],
        losses: tuple[Loss, ...],
        threads: dict[tuple[int, int], str],
    ) -> EventBlock:
        if not stored.all():
            place = np.cumsum(stored) - 1
            rows = {kind: place[of_kind] for kind, of_kind in rows.items() if len(of_kind)}
            fields = {kind: fields[kind] for kind in rows}
            heads, kinds = heads.take(stored), kinds[stored]
        return EventBlock(
            ts_ns=heads.ts_ns,
            cpu=heads.cpu.astype(np.int32),
            pid=heads.pid.astype(np.int32),
            tid=heads.tid.astype(np.int32),
            kind=kinds.astype(np.uint16),
            rows=rows,
            fields=fields,
            watermark_ns=self._watermark(),
            losses=losses,
            threads=threads,
        )

    def _finish(self) -> None:
        self._left_out.finish()
        self.facts.records = {name: count for name, count in self._left_out.records.items() if count}
        self.facts.not_stored = dict(self._left_out.not_stored)
