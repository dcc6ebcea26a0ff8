"""One row of a table of `perf stat`, read from its right end: threads' names, on the left, hold anything."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmtrace.formats.perf_stat.grouping import Number, read_number

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST = 4096
"""Characters of a line beyond which it is no row."""

_VALUE_END = 18  # column that perf right-aligns values to (COUNTS_LEN)
_EXACT = 2.0**53
_SIGNED = 2.0**63

_WORD = re.compile(r"[^ \t]+")
_SHARE = re.compile(
    r"[\[(](?:scaled from)?[ \t]*([0-9]{1,3}[.,][0-9]{1,9})%[ \t]*[\])]"
)  # (75.00%); perf 3.1 to 3.9 [75.00%]; before: (scaled from 75.00%)
_ERROR = re.compile(r"\([ \t]*\+-[ \t]*([0-9]{1,15}[.,][0-9]{1,9})%[ \t]*\)")

_MODIFIERS = "[ukhGHpPSDIWeb]+"
_TRACEPOINT = re.compile(rf"([A-Za-z_][\w-]*):(?!{_MODIFIERS}$)([A-Za-z_][\w.-]*(?::{_MODIFIERS})?)", re.ASCII)
_PMU_EVENT = re.compile(r"[A-Za-z_][\w.-]*/[^/\s]*/[A-Za-z]*", re.ASCII)
_GENERIC_EVENT = re.compile(
    r"(?:cycles|cpu-cycles|ref-cycles|bus-cycles|instructions|branches|branch-instructions|branch-misses"
    r"|cache-references|cache-misses|stalled-cycles-(?:frontend|backend)|task-clock(?:-msecs)?|cpu-clock(?:-msecs)?"
    r"|(?:page|minor|major|alignment|emulation)-faults|faults|context-switches|cs|(?:cpu-|CPU-)?migrations"
    r"|cgroup-switches|dummy|bpf-output|duration_time|user_time|system_time|r[0-9a-f]{2,16}"
    rf"|(?:L1-[di]cache|LLC|[di]TLB|branch|node)-(?:load|store|prefetch)(?:s|es)?(?:-misses)?)(?::{_MODIFIERS})?",
)
_OTHER_EVENT = re.compile(r"[A-Za-z_][\w.:=@%/{}+,-]*", re.ASCII)
_UNIT = re.compile(r"[A-Za-z%][\w%/.-]*", re.ASCII)
_OLD_MSEC = "-msecs"  # before 3.0 the unit was in the name

_CPU = re.compile(r"CPU[0-9]+")
_TOPOLOGY = re.compile(r"((?:S|D|N)[0-9]+(?:-[A-Z]+[0-9]+)*)[ \t]+[0-9]+")  # S0-D0-C1 2: two CPUs counted
_LONGEST_COMM = 63  # characters; kernel threads have the longest names


class UnreadableRowError(ValueError):
    """A line is no counter row, or not one that can be read for certain; the message says why."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row, its fields named as the columns of `schema.COUNTERS`; `doubts` are readings that are not certain."""

    line: int
    event: str
    system: str | None
    value: float | None
    unit: str | None
    state: str
    running_share: float | None
    stderr_share: float | None
    scope: str | None
    has_metric: bool
    doubts: tuple[str, ...]


def read_row(text: str, line: int, mark: str | None) -> Row:
    """Read line number `line` of a table whose decimal mark is `mark` (None: not known)."""
    if len(text) > LONGEST:
        raise UnreadableRowError("too long")
    body, running_share, stderr_share = _split_tail(text)
    body, has_metric = _split_metric(body)
    words = list(_WORD.finditer(body))
    event, unit = _take_name(words)
    state, number, scope = _read_value(body, words, mark)
    tracepoint = _TRACEPOINT.fullmatch(event)
    aligned = bool(words) and words[-1].end() >= _VALUE_END
    if not aligned and not (tracepoint or _PMU_EVENT.fullmatch(event) or _GENERIC_EVENT.fullmatch(event)):
        raise UnreadableRowError("it may be output of the workload")
    if tracepoint and unit:
        raise UnreadableRowError("a word between value and event")
    if number and not number.whole and unit is None and "/" not in event:
        raise UnreadableRowError("a count with decimals")
    return Row(
        line=line,
        event=tracepoint[2] if tracepoint else event,
        system=tracepoint[1] if tracepoint else None,
        value=number.value if number else None,
        unit=unit,
        state=state,
        running_share=running_share,
        stderr_share=stderr_share,
        scope=scope,
        has_metric=has_metric,
        doubts=tuple(_doubts(number, unit is not None or "/" in event, running_share)),
    )


def looks_like_row(text: str) -> bool:
    """Tell whether a line may be a counter all the same: it has a value first, an event, or the tail of a row."""
    body, *tail = _split_tail(text[:LONGEST])
    body, has_metric = _split_metric(body)
    words = _WORD.findall(body)
    if not words:
        return not has_metric and any(share is not None for share in tail)
    return words[0][0] in "0123456789<" or any(map(_TRACEPOINT.fullmatch, words))


def _split_tail(text: str) -> tuple[str, float | None, float | None]:
    """Split off what perf prints in brackets at the end: the running share and the error of repeats, as shares of 1."""
    shares: dict[re.Pattern[str], float] = {}
    while True:
        text = text.rstrip(" \t")
        start = max(text.rfind("("), text.rfind("["), 0)
        for pattern in (_SHARE, _ERROR):
            match = pattern.fullmatch(text, start)
            if match and pattern not in shares:
                shares[pattern] = float(match[1].replace(",", ".") + "e-2")
                text = text[:start]
                break
        else:
            return text, shares.get(_SHARE), shares.get(_ERROR)


def _split_metric(text: str) -> tuple[str, bool]:
    body, found, _ = f"{text} ".rpartition(" # ")
    return (body, True) if found else (text, False)


def _take_name(words: list[re.Match[str]]) -> tuple[str, str | None]:
    """Take event and unit from the right end of a row."""
    event = words.pop()[0] if words else ""
    unit = None
    if event == "(msec)" and words:  # perf 3.0 to 4.19: `1.234567 task-clock (msec)`
        event, unit = words.pop()[0], "msec"
    elif words and _UNIT.fullmatch(words[-1][0]):
        unit = words.pop()[0]
    elif event.endswith(_OLD_MSEC):
        unit = "msec"
    if not _OTHER_EVENT.fullmatch(event):
        raise UnreadableRowError("no event at its end")
    return event, unit


def _read_value(body: str, words: list[re.Match[str]], mark: str | None) -> tuple[str, Number | None, str | None]:
    """Return state, value and scope (None: everything) of a row whose name is taken."""
    for start, printed in _values(body, words):
        scope = _read_scope(body[:start].strip(" \t"))
        if scope is None:
            continue
        if printed in {"not counted", "not supported"}:
            return printed, None, scope or None
        try:
            return "counted", read_number(printed, mark), scope or None
        except ValueError as error:
            raise UnreadableRowError(str(error)) from None
    raise UnreadableRowError("what stands before the event is no value")


def _values(body: str, words: list[re.Match[str]]) -> Iterator[tuple[int, str]]:
    """Yield start and text of what may be the value at the end of `words`: spaces may group it, so longest first."""
    if not words:
        return
    if words[-1][0] in {"counted>", "supported>"} and words[:-1] and words[-2][0] == "<not":
        yield words[-2].start(), f"not {words[-1][0][:-1]}"
        return
    first = len(words) - 1
    while first and _is_group(words[first - 1], words[first]):
        first -= 1
    for word in words[first:]:
        yield word.start(), body[word.start() : words[-1].end()]


def _is_group(before: re.Match[str], word: re.Match[str]) -> bool:
    return (
        word.start() - before.end() == 1
        and re.fullmatch(r"[0-9]{1,3}", before[0]) is not None
        and re.fullmatch(r"[0-9]{3}(?:[.,][0-9]+)?", word[0]) is not None
    )


def _read_scope(text: str) -> str | None:
    """Return what a row counts apart, "" for everything, None if the text is no scope."""
    if not text or _CPU.fullmatch(text):
        return text
    topology = _TOPOLOGY.fullmatch(text)
    if topology:
        return topology[1]
    comm, _, tid = text.rpartition("-")
    return text if 0 < len(comm) <= _LONGEST_COMM and re.fullmatch("[0-9]{1,10}", tid) else None


def _doubts(number: Number | None, may_have_decimals: bool, running_share: float | None) -> Iterator[str]:
    if number and may_have_decimals and not number.certain:
        yield "the mark in this value is read as grouping; it may be a decimal mark"
    if number and number.value >= _SIGNED:
        yield "this value is above 2^63: a difference that wrapped, not a count"
    elif number and number.value > _EXACT:
        yield "this value is above 2^53: its last digits are not kept"
    if running_share is not None and running_share > 1:
        yield "the counter ran for more than 100% of its time"
