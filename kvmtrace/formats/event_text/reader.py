"""Events as text → a Recording: facts from a first pass, then blocks of events in columns."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from kvmtrace.errors import InputError
from kvmtrace.formats.event_text.columns import TextFields
from kvmtrace.formats.event_text.heads import HeadReader, Heads
from kvmtrace.formats.event_text.lines import BLOCK_BYTES, LineBlock, Lines
from kvmtrace.formats.event_text.losses import Losses
from kvmtrace.formats.event_text.mending import LARGEST, Wraps, unpacked
from kvmtrace.formats.event_text.survey import Survey, survey
from kvmtrace.formats.event_text.templates import all_templates
from kvmtrace.formats.event_text.threads import ThreadNames
from kvmtrace.formats.event_text.variants import LONGEST_TEXT, Variant
from kvmtrace.recording import NO_WATERMARK, EventBlock, EventKind, Facts, Note, Notes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from kvmtrace.formats.event_text.templates import Template
    from kvmtrace.formats.event_text.words import Places
    from kvmtrace.formats.source import Source

_UNKNOWN = -1
_NS = 1_000_000_000
_UNREAD_LOOKED_AT = 4096  # texts of an event that nothing reads, for which it is found out why
_SHOWN = 120  # characters of a line in a note
_LEFT_OUT = {"flags": "flags", "mark": "delay mark", "misc": "misc", "period": "period", "vm": "VM", "vcpu": "VCPU"}
"""Parts of a prefix that are not stored, by their name in the regular expression."""


def read(source: Source, grammar: str) -> list[TextRecording]:
    """Read the traces of a text of one grammar. InputError: there is no event in it, or no time can be told."""
    text, surveys, notes = _surveyed(source, grammar)
    surveys = [found for found in surveys if found.events]
    if not any(name.template for found in surveys for name in found.names):
        raise InputError(
            source.path,
            "expected lines of events, found none of a known event",
            hint="give the text as the recorder printed it: time, name of the event, and what stands behind it",
        )
    if source.clock_hz is None and any("ticks" in found.heads.told.groups for found in surveys):
        raise InputError(
            source.path,
            "expected times in seconds, found ticks of a clock (x86-tsc, ppc-tb, counter)",
            where=surveys[0].first_line,
            hint="say how many of them are a second: --clock-hz",
        )
    recordings = [
        TextRecording(source, text, grammar, found, f"trace {number}" if len(surveys) > 1 else None)
        for number, found in enumerate(surveys, 1)
    ]
    for note in notes:
        recordings[0].notes.add(note)
    return recordings


def _surveyed(source: Source, grammar: str) -> tuple[bytes | None, list[Survey], list[Note]]:
    """Return the text if it had to be mended, the traces in it, and what was mended."""
    hz = source.clock_hz
    in_ns = None if hz is None else _ticks(hz)
    text: bytes | None = None
    notes: list[Note] = []
    if source.size <= LARGEST:
        text, notes = unpacked(source.read_at(0, source.size), grammar)
    surveys = _survey(source, text, lambda: HeadReader(grammar, ticks_ns=in_ns, knows=_known))
    if not any(found.events for found in surveys):
        surveys = _survey(source, text, lambda: HeadReader(grammar, knows=_known, bare_lines=True))
    strays = [line for found in surveys for line in found.strays]
    if text is not None and strays:
        whole, mended = Wraps(grammar, _templates).mend(text, strays)
        if mended:
            text, notes = whole, [*notes, *mended]
            surveys = _survey(source, text, lambda: HeadReader(grammar, ticks_ns=in_ns, knows=_known))
    return (text if notes else None), surveys, notes


def _survey(source: Source, text: bytes | None, new_heads: Callable[[], HeadReader]) -> list[Survey]:
    size = source.size if text is None else len(text)
    return survey(Lines(_reader(source.read_at if text is None else _reads_bytes(text))), size, new_heads)


def _templates(name: str) -> list[Template]:
    system, colon, event = name.rpartition(":")
    return all_templates().of(system if colon else None, event)


def _known(name: str) -> bool:
    return bool(_templates(name))


def _ticks(hz: int) -> Callable[[Places], Places]:
    def in_ns(ticks: Places) -> Places:
        seconds, rest = np.divmod(ticks.astype(np.uint64), np.uint64(hz))
        believed = seconds < np.uint64((1 << 62) // _NS)
        ns = seconds * np.uint64(_NS) + (rest.astype(np.float64) * (_NS / hz)).astype(np.uint64)
        return np.where(believed, ns, np.uint64(0)).astype(np.int64) - np.where(believed, 0, 1)

    return in_ns


def _reader(read_at: Callable[[int, int], bytes], at: int = 0, end: int | None = None) -> Callable[[memoryview], int]:
    """Return what goes on reading into a buffer, from one place to another."""

    def read(buffer: memoryview) -> int:
        nonlocal at
        piece = read_at(at, len(buffer) if end is None else min(len(buffer), end - at))
        buffer[: len(piece)] = piece
        at += len(piece)
        return len(piece)

    return read


def _reads_bytes(text: bytes) -> Callable[[int, int], bytes]:
    return lambda offset, length: text[offset : offset + max(length, 0)]


class TextRecording:
    """One trace of a text (recording.Recording)."""

    def __init__(
        self,
        source: Source,
        text: bytes | None,
        grammar: str,
        found: Survey,
        part: str | None,
        *,
        block_bytes: int = BLOCK_BYTES,
    ) -> None:
        """Take the text as it was mended, None: the source has it as it is."""
        self._source = source
        self._text = text
        self._survey = found
        self._block_bytes = block_bytes
        self._readers = found.readers()
        self.notes = Notes()
        self.facts = _facts(grammar, found, part)
        self._by_event = {(kind.system, kind.name): index for index, kind in enumerate(self.facts.events)}
        self._kind_of_name = self._kinds()
        self._records: Counter[str] = Counter()
        self._not_stored: Counter[str] = Counter()
        self._looked_at: Counter[int] = Counter()
        self._threads = ThreadNames()
        self._losses = Losses(found, has_times=self.facts.has_times)
        self._newest = NO_WATERMARK
        for note in _notes(found):
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
        found = self._survey
        read: Callable[[memoryview], int] = self._read_section
        if self._text is None:
            self._source.skip_to(found.start)
        else:
            read = _reader(_reads_bytes(self._text), found.start, found.end)
        lines = Lines(read, block_bytes=self._block_bytes, first_line=found.first_line)
        for block in lines.blocks():
            yield self._events(block)
        yield from self._losses.left_over()
        self._finish()

    def _read_section(self, buffer: memoryview) -> int:
        wanted = min(len(buffer), self._survey.end - self._source.position)
        return self._source.read_into(buffer[:wanted]) if wanted > 0 else 0

    def _events(self, lines: LineBlock) -> EventBlock:
        heads, others = self._survey.heads.read(lines)
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


def _facts(grammar: str, found: Survey, part: str | None) -> Facts:
    told, header = found.heads.told, found.header
    facts = Facts(grammar, clock=header.clock, part=part, tells_enabled=False)
    facts.host.update(header.host)
    facts.tool.update(header.tool)
    for (system, event), reader in found.readers().items():
        facts.samples[len(facts.events)] = sum(
            n.lines for n in found.names if n.template and (n.template.system, n.template.event) == (system, event)
        )
        facts.events.append(EventKind(system, event, reader.variants[0].template.format()))
    facts.has_times = "secs" in told.groups and not found.is_deltas
    facts.has_processes = "pid" in told.groups
    facts.left_out = [title for group, title in _LEFT_OUT.items() if group in told.groups]
    return facts


def _notes(found: Survey) -> Iterator[Note]:
    """Yield what is known of a trace before its lines are read."""
    for name in found.names:
        if name.template is None:
            title = name.event if name.system is None else f"{name.system}:{name.event}"
            yield Note(f"line {name.first_line}", f"no template knows {title}: {name.lines} lines are not stored")
    where = f"line {found.first_line}"
    if found.is_deltas:
        yield Note(where, "times are those since the event before (--deltatime), so events have none")
    elif {"latency", "verbose"} & found.heads.told.shapes:
        yield Note(where, "times count from the start of the trace (latency format), and names of threads are cut")
    elif found.first_ns == 0 and "secs" in found.heads.told.groups:
        yield Note(where, "times count from the first event (--reltime)")
    if len(found.heads.told.parts) > 0:
        names = ", ".join(sorted(found.heads.told.parts)[:8])
        yield Note(where, f"lines are of several buffers or files ({names}), which are one recording here")
