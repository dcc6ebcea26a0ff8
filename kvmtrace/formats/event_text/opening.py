"""A text → the Recordings of the traces in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.errors import InputError
from kvmtrace.formats.ahead import read_ahead
from kvmtrace.formats.event_text.content import TextContent
from kvmtrace.formats.event_text.heads import LATEST_NS, HeadReader
from kvmtrace.formats.event_text.lines import Lines
from kvmtrace.formats.event_text.mending import LARGEST, Wraps, unpacked
from kvmtrace.formats.event_text.reader import TextRecording
from kvmtrace.formats.event_text.survey import Survey, TooManyTracesError, survey
from kvmtrace.formats.event_text.templates import is_known, named
from kvmtrace.formats.ticks import ticks_to_ns

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvmtrace.formats.event_text.survey import EventName
    from kvmtrace.formats.event_text.words import Places
    from kvmtrace.formats.source import Source
    from kvmtrace.recording import Note

_SHOWN = 3  # events in an error


def read_recordings(source: Source, grammar: str) -> list[TextRecording]:
    """Read the traces of a text of one grammar. InputError: there is no event in it, or no time can be told."""
    content, surveys, notes = _surveyed(source, grammar)
    surveys = [found for found in surveys if found.events]
    if not any(name.template for found in surveys for name in found.names):
        raise _unreadable(source.path, [name for found in surveys for name in found.names])
    if source.clock_hz is None and any("ticks" in found.heads.told.groups for found in surveys):
        raise InputError(
            source.path,
            "expected times in seconds, found ticks of a clock (x86-tsc, ppc-tb, counter)",
            where=surveys[0].first_line,
            hint="say how many of them are a second: --clock-hz",
        )
    recordings = [
        TextRecording(content, grammar, found, f"trace {number}" if len(surveys) > 1 else None)
        for number, found in enumerate(surveys, 1)
    ]
    for note in notes:
        recordings[0].notes.add(note)
    return recordings


def _unreadable(path: str, names: list[EventName]) -> InputError:
    if not names:
        return InputError(path, "expected events, found a trace without any")
    first = sorted(names, key=lambda name: name.first_line)[:_SHOWN]
    shown = ", ".join(f"{name.event} (line {name.first_line})" for name in first)
    if any(is_known(name.event) for name in names):
        return InputError(
            path,
            f"expected the texts of events as the kernel prints them, found others: {shown}",
            hint="print the texts, not the raw fields: trace-cmd report without -R",
        )
    return InputError(
        path, f"expected events that are known, found only others: {shown}", hint="record with: trace-cmd record -e kvm"
    )


def _surveyed(source: Source, grammar: str) -> tuple[TextContent, list[Survey], list[Note]]:
    """Return the text, mended if it had to be, the traces in it, and what was mended."""
    hz = source.clock_hz
    in_ns = None if hz is None else _ticks(hz)
    content = TextContent(source)
    notes: list[Note] = []
    if source.size <= LARGEST:
        text, notes = unpacked(content.whole(), grammar)
        content = TextContent(source, text) if notes else content
    surveys = _survey(content, lambda: HeadReader(grammar, ticks_ns=in_ns, knows=is_known))
    if not any(found.events for found in surveys):
        surveys = _survey(content, lambda: HeadReader(grammar, knows=is_known, bare_lines=True))
    strays = [line for found in surveys for line in found.strays]
    if content.size <= LARGEST and strays:
        whole, mended = Wraps(grammar, named).mend(content.whole(), strays)
        if mended:
            content, notes = TextContent(source, whole), [*notes, *mended]
            surveys = _survey(content, lambda: HeadReader(grammar, ticks_ns=in_ns, knows=is_known))
    return content, surveys, notes


def _survey(content: TextContent, new_heads: Callable[[], HeadReader]) -> list[Survey]:
    blocks = Lines(content.look()).blocks()
    if content.source.options.jobs > 1:
        blocks = read_ahead(blocks)
    try:
        return survey(blocks, content.size, new_heads)
    except TooManyTracesError as error:
        what = "expected up to 1,024 traces in one text, each with its header, found more"
        raise InputError(content.source.path, what, where=error.args[0], hint="split it") from None


def _ticks(hz: int) -> Callable[[Places], Places]:
    def in_ns(ticks: Places) -> Places:
        ns = ticks_to_ns(ticks.view(np.uint64), hz, LATEST_NS)
        return np.where(ns > LATEST_NS, np.uint64(0), ns).astype(np.int64) - (ns > LATEST_NS)  # -1: not believed

    return in_ns
