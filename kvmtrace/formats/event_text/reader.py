"""One trace of a text as a Recording: blocks of events in columns."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from kvmtrace.formats.ahead import read_ahead
from kvmtrace.formats.event_text.columns import TextFields
from kvmtrace.formats.event_text.facts import facts_of, notes_of
from kvmtrace.formats.event_text.lines import BLOCK_BYTES, LineBlock, Lines
from kvmtrace.formats.event_text.losses import Losses
from kvmtrace.formats.event_text.templates import all_templates
from kvmtrace.formats.event_text.threads import ThreadNames
from kvmtrace.formats.event_text.variants import LONGEST_TEXT, Variant
from kvmtrace.recording import NO_WATERMARK, EventBlock, Note, Notes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from kvmtrace.formats.event_text.content import TextContent
    from kvmtrace.formats.event_text.heads import Heads
    from kvmtrace.formats.event_text.survey import Survey
    from kvmtrace.formats.event_text.words import Places

_UNKNOWN = -1
_UNREAD_LOOKED_AT = 4096  # texts of an event that nothing reads, for which it is found out why
_SHOWN = 120  # characters of a line in a note


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
        self.facts = facts_of(grammar, found, part)
        self._by_event = {(kind.system, kind.name): index for index, kind in enumerate(self.facts.events)}
        self._kind_of_name = self._kinds()
        self._records: Counter[str] = Counter()
        self._not_stored: Counter[str] = Counter()
        self._looked_at: Counter[int] = Counter()
        self._threads = ThreadNames()
        self._losses = Losses(found, has_times=self.facts.has_times)
        self._newest = NO_WATERMARK
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
        read = content.read(found.start, found.end)
        lines = Lines(read, block_bytes=self._block_bytes, first_line=found.first_line).blocks()
        ahead = content.source.options.jobs > 1  # lines, what stands before the events, their fields: side by side
        heads = self._heads(read_ahead(lines) if ahead else lines)
        for block, events, others in read_ahead(heads) if ahead else heads:
            yield self._events(block, events, others)
        yield from self._losses.left_over()
        self._finish()

    def _heads(self, blocks: Iterator[LineBlock]) -> Iterator[tuple[LineBlock, Heads, list[int]]]:
        for lines in blocks:
            yield lines, *self._survey.heads.read(lines)

    def _events(self, lines: LineBlock, heads: Heads, others: list[int]) -> EventBlock:
        self._records["EVENT"] += len(heads.line)
        kinds = self._kind_of_name[np.minimum(heads.event, len(self._kind_of_name) - 1)]
        if self._survey.is_deltas:
            heads.ts_ns = np.zeros(len(heads.line), np.int64)
        stored = kinds != _UNKNOWN
        self._count_unknown(heads.event[~stored])
        fields: dict[int, TextFields] = {}
        rows: dict[int, Places] = {}
        for kind in np.flatnonzero(np.bincount(kinds[stored], minlength=len(self.facts.events))).tolist():
            of_kind = np.flatnonzero(kinds == kind)
            starts, ends = heads.text[of_kind], lines.ends[heads.line[of_kind]]
            event = self.facts.events[kind]
            done, columns = self._readers[event.system, event.name].read(lines.raw, starts, ends)
            if not done.all():
                stored[of_kind[~done]] = False
                self._unread(kind, lines, heads, of_kind[~done])
                of_kind = of_kind[done]
            rows[kind], fields[kind] = of_kind, TextFields(lines.raw, columns)
        losses = self._losses.find(lines, others, heads)
        self._count_others(lines, others)
        threads = self._threads.see(lines, heads)
        return self._block(heads, kinds, stored, rows, fields, losses, threads)

    def _block(
        self,
        heads: Heads,
        kinds: Places,
        stored: NDArray[np.bool_],
        rows: dict[int, Places],
        fields: dict[int, TextFields],
        losses: tuple[Any, ...],
        threads: dict[tuple[int, int], str],
    ) -> EventBlock:
        if not stored.all():
            place = np.cumsum(stored) - 1
            rows = {kind: place[of_kind] for kind, of_kind in rows.items() if len(of_kind)}
            fields = {kind: fields[kind] for kind in rows}
            heads, kinds = heads.take(stored), kinds[stored]
        if len(heads.ts_ns):
            self._newest = max(self._newest, int(heads.ts_ns.max()))
        timed = self.facts.has_times and self._newest != NO_WATERMARK
        return EventBlock(
            ts_ns=heads.ts_ns,
            cpu=heads.cpu.astype(np.int32),
            pid=heads.pid.astype(np.int32),
            tid=heads.tid.astype(np.int32),
            kind=kinds.astype(np.uint16),
            rows=rows,
            fields=fields,
            watermark_ns=self._newest - self._survey.back_ns - 1 if timed else NO_WATERMARK,
            losses=losses,
            threads=threads,
        )

    def _count_unknown(self, codes: Places) -> None:
        for code, count in enumerate(np.bincount(codes).tolist() if len(codes) else []):
            if count:
                title = self._survey.heads.names.strings[code].decode("latin-1")
                self._not_stored[f"lines of {title}, which no template knows"] += count

    def _unread(self, kind: int, lines: LineBlock, heads: Heads, rows: Places) -> None:
        """Count and note texts that the templates of their event do not read."""
        event = self.facts.events[kind]
        title = f"{event.system}:{event.name}"
        templates = all_templates().of(event.system, event.name)
        others = [
            Variant(self._survey.with_reasons(t))
            for t in templates
            if t.types != self._readers[event.system, event.name].types
        ]
        looked_at = rows[: max(0, _UNREAD_LOOKED_AT - self._looked_at[kind])]
        self._looked_at[kind] += len(looked_at)
        unlike = len(rows) - len(looked_at)
        if unlike:
            self._not_stored[f"lines of {title}, which its first template does not read"] += unlike
        for row in looked_at.tolist():
            start, end = int(heads.text[row]), int(lines.ends[heads.line[row]])
            text = lines.raw[start : min(end, start + LONGEST_TEXT + 1)].tobytes()
            if any(other.read(text) is not None for other in others):
                self._not_stored[f"lines of {title} with other fields than the first"] += 1
                continue
            where = f"line {lines.first_line + int(heads.line[row])}"
            shown = text[:_SHOWN].decode(errors="backslashreplace")
            self.notes.add(Note(where, f"expected a text of {title}, found {shown!r}", events=1))

    def _count_others(self, lines: LineBlock, others: Sequence[int]) -> None:
        first = lines.raw[lines.starts[np.array(others, np.int64)]]
        comments = int((first == ord("#")).sum())
        self._records["COMMENT"] += comments
        self._records["OTHER"] += len(others) - comments
        for line in lines.cut:
            self.notes.add(
                Note(f"line {line}", "expected a line of up to 1 MiB, found a longer one: the rest is left out")
            )

    def _finish(self) -> None:
        facts = self.facts
        facts.records = {name: count for name, count in self._records.items() if count}
        facts.not_stored = dict(self._not_stored)
