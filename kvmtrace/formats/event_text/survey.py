"""First pass over a text: which traces are in it, which events each of them has, and what its times are like.

A recording must say what its events are before its first block; a text tells only by its lines.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.formats.event_text.comments import LONGEST, TRACER, Header
from kvmtrace.formats.event_text.names import EXITS, exits_table, isa_of
from kvmtrace.formats.event_text.per_cpu import PerCpu, cpu_index
from kvmtrace.formats.event_text.templates import Template, all_templates
from kvmtrace.formats.event_text.variants import LONGEST_TEXT, TextReader, Variant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kvmtrace.formats.event_text.heads import HeadReader, Heads
    from kvmtrace.formats.event_text.lines import LineBlock
    from kvmtrace.formats.event_text.words import Places

_LATEST = (1 << 63) - 1
_HASH = ord("#")
_MANY_TRIES = 256  # texts of one event on which templates are tried
_MANY_VOTES = 32
_MANY_TRACES = 1024
_REASON = re.compile(rb"\breason:? ([^\n]{1,64}?) (?:rip|ext_inf1)")
_REASONS_TRIED = 4096
_MANY_STRAYS = 1 << 16


class TooManyTracesError(Exception):
    """A text has more headers of traces than anybody would read; its argument is the line of the next one."""


@dataclass(slots=True)
class EventName:
    """One event by its name in the text."""

    system: str | None
    event: str
    lines: int = 0
    first_line: int = 0
    tries: int = 0
    votes: Counter[Template] = field(default_factory=Counter)  # texts that it reads

    @property
    def title(self) -> str:
        """The name, with its system where the text tells it."""
        return self.event if self.system is None else f"{self.system}:{self.event}"

    @property
    def template(self) -> Template | None:
        """The template that reads most texts, of several the one with most fields; None: none reads any."""
        return max(self.votes, key=lambda template: (self.votes[template], len(template.types)), default=None)


@dataclass(slots=True)
class Survey:
    """What one trace of a text is like."""

    heads: HeadReader
    start: int = 0  # bytes of the source
    end: int = 0
    first_line: int = 1
    header: Header = field(default_factory=Header)
    names: list[EventName] = field(default_factory=list)  # by the code of the name
    events: int = 0  # lines
    isa: str | None = None
    first_ns: int | None = None
    back_ns: int = 0  # how far times go back at most
    steps_back: int = 0
    first_of_cpu: PerCpu = field(default_factory=lambda: PerCpu(_LATEST))
    strays: list[int] = field(default_factory=list)  # numbers of lines that are no events, the first ones
    _newest: int = -_LATEST
    _reasons: int = 0

    def take(self, lines: LineBlock) -> None:
        """Look at some lines."""
        heads, others = self.heads.read(lines)
        for index in others:
            line = lines.line(index, LONGEST)
            if line.startswith(b"#"):
                self.header.take(line)
            elif len(self.strays) < _MANY_STRAYS:
                self.strays.append(lines.first_line + index)
        self.events += len(heads.line)
        if len(heads.line):
            self._times(heads)
            self._kinds(heads, lines)
            self._find_isa(lines)

    def _times(self, heads: Heads) -> None:
        newest = np.maximum.accumulate(np.maximum(heads.ts_ns, self._newest))
        if self.first_ns is None:
            self.first_ns = int(heads.ts_ns[0])
        else:
            self.steps_back += int(heads.ts_ns[0] < self._newest)
        self.back_ns = max(self.back_ns, int((newest - heads.ts_ns).max()))
        self.steps_back += int((heads.ts_ns[1:] < heads.ts_ns[:-1]).sum())
        self._newest = int(newest[-1])
        cpu = cpu_index(heads.cpu)
        known = self.first_of_cpu.up_to(int(cpu.max()))
        first = np.full(len(known), _LATEST, np.int64)
        first[cpu[::-1]] = heads.ts_ns[::-1]  # of equal indexes the last stands
        np.minimum(known, first, out=known)

    def _kinds(self, heads: Heads, lines: LineBlock) -> None:
        for string in self.heads.names.strings[len(self.names) :]:
            system, colon, event = string.decode("latin-1").rpartition(":")
            self.names.append(EventName(system if colon else None, event))
        counts = np.bincount(heads.event, minlength=len(self.names))
        for code in np.flatnonzero(counts).tolist():
            name = self.names[code]
            if name.tries < _MANY_TRIES and name.votes.total() < _MANY_VOTES:
                self._find_template(name, np.flatnonzero(heads.event == code), heads, lines)
            name.lines += int(counts[code])

    def _find_template(self, name: EventName, rows: Places, heads: Heads, lines: LineBlock) -> None:
        if not name.lines:
            name.first_line = lines.first_line + int(heads.line[rows[0]])
        templates = all_templates().of(name.system, name.event)
        if not templates:
            name.tries = _MANY_TRIES
            return
        variants = [Variant(t.with_table(EXITS, exits_table("VMX", of_2_6_32=True))) for t in templates]
        for row in rows[: _MANY_TRIES - name.tries].tolist():
            end = min(int(lines.ends[heads.line[row]]), int(heads.text[row]) + LONGEST_TEXT)
            text = lines.raw[heads.text[row] : end].tobytes()
            name.tries += 1
            for template, variant in zip(templates, variants, strict=True):
                if variant.read(text) is not None:
                    name.votes[template] += 1
                    break
            if name.votes.total() >= _MANY_VOTES:
                return

    def _find_isa(self, lines: LineBlock) -> None:
        """Find out what the names of exit reasons belong to; most blocks tell with the first name."""
        if self.isa is not None or self._reasons >= _REASONS_TRIED:
            return
        for match in _REASON.finditer(lines.raw.data, int(lines.starts[0]), int(lines.ends[-1])):
            self._reasons += 1
            self.isa = isa_of(match[1].decode("latin-1"))
            if self.isa is not None or self._reasons >= _REASONS_TRIED:
                return

    @property
    def is_deltas(self) -> bool:
        """Tell whether times are those since the event before (perf script --deltatime): they begin at 0, and fall."""
        return self.first_ns == 0 and self.steps_back * 10 > self.events

    def readers(self) -> dict[tuple[str, str], TextReader]:
        """Return what reads the texts of each event that is known, by system and event in the order of the text."""
        readers: dict[tuple[str, str], TextReader] = {}
        for name in self.names:
            chosen = name.template
            if chosen is None or (chosen.system, chosen.event) in readers:
                continue
            same = [t for t in all_templates().of(chosen.system, chosen.event) if t.types == chosen.types]
            readers[chosen.system, chosen.event] = TextReader([self.with_reasons(template) for template in same])
        return readers

    def with_reasons(self, template: Template) -> Template:
        """Return a template with the names of exit reasons that this trace has."""
        old = template.event == "kvm_exit" and "info1" not in template.types
        return template.with_table(EXITS, exits_table(self.isa, of_2_6_32=old))


def survey(blocks: Iterator[LineBlock], size: int, new_heads: Callable[[], HeadReader]) -> list[Survey]:
    """Go through a text; return the traces in it, each of which begins with a header of tracefs, or the only one."""
    surveys = [Survey(new_heads())]
    for block in blocks:
        for part, begins in _split(block, surveys):
            if begins:
                if len(surveys) == _MANY_TRACES:
                    raise TooManyTracesError(part.first_line)
                surveys[-1].end = part.offset_of(0)
                surveys.append(Survey(new_heads(), start=part.offset_of(0), first_line=part.first_line))
            surveys[-1].take(part)
    surveys[-1].end = size
    return surveys


def _split(block: LineBlock, surveys: list[Survey]) -> Iterator[tuple[LineBlock, bool]]:
    """Yield the parts of a block, and whether a trace begins with them, while `surveys` grows."""
    begin = 0
    begins = False
    for index in np.flatnonzero(block.raw[block.starts] == _HASH).tolist():
        if block.line(index, len(TRACER)) != TRACER:
            continue
        if index > begin:
            yield block.part(begin, index), begins
        begin, begins = index, surveys[-1].events > 0
    yield block.part(begin, len(block)), begins
