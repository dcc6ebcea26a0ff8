"""Events as text: tracefs `trace` and `trace_pipe`, `trace-cmd report`, `perf script`.

    recognise.py     which grammar the beginning of an input is of
    templates/*.txt  the text of each event, of every kernel
    templates.py     their syntax → regular expressions
    names.py         names that texts print in place of numbers (kvm_names.py: those of KVM's events)
    words.py         text as 64-bit words: numbers of many lines at a time
    interning.py     short strings → codes
    plans.py         a template as steps over many texts
    stepping.py      what the steps do
    name_columns.py  names in texts → the numbers that they stand for
    variants.py      the texts of one kind of event → columns: plans, else regular expressions
    columns.py       those columns: recording.Fields
    prefixes.py      what stands before an event: the shapes of lines
    layouts.py       a prefix's columns, found in one line and applied to many
    event_names.py   names of events, which stand behind a prefix
    heads.py         lines → time, CPU, thread, name of the event
    lines.py         bytes → blocks of lines
    comments.py      headers, and lines that tell of losses
    losses.py        losses → stretches of time
    threads.py       names of threads
    survey.py        the first pass: which traces, which events
    mending.py       what mail did to a text
    content.py       the bytes of a text, mended or not
    facts.py         what the first pass tells of a recording
    reader.py        one trace as a Recording
    opening.py       a text as the Recordings of its traces

perf script cuts times off to a microsecond, tracefs and trace-cmd round them, unless they are told in nanoseconds.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from kvmtrace.formats.event_text.recognise import grammar_of
from kvmtrace.formats.format import RecordingFormat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmtrace.formats.source import Source
    from kvmtrace.recording import Content

__all__ = ["FTRACE", "PERF_SCRIPT", "TRACE_CMD_REPORT"]


def _is(grammar: str, head: bytes) -> bool:
    return grammar_of(head) == grammar


def _read(grammar: str, source: Source) -> Sequence[Content]:
    from kvmtrace.formats.event_text.opening import read_recordings  # noqa: PLC0415 - numpy, for recognising none

    return read_recordings(source, grammar)


def _format(name: str, what: str, example: str) -> RecordingFormat:
    return RecordingFormat(name, what, example, partial(_is, name), partial(_read, name), is_text=True)


FTRACE = _format("ftrace", "events as tracefs prints them", "cat /sys/kernel/tracing/trace > trace.txt")
TRACE_CMD_REPORT = _format("trace-cmd-report", "events as trace-cmd prints them", "trace-cmd report > report.txt")
PERF_SCRIPT = _format("perf-script", "events as perf prints them", "perf script --ns -F +pid > script.txt")
