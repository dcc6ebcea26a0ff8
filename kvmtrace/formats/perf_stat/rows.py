"""One row of a table of `perf stat`, read from its right end: threads' names, on the left, hold anything.

Names with blanks are those of 2009: of perf before 2.6.31, and of the perfstat that it grew out of, whose rows end
with (events) or (msecs); Documentation/perf_counter/perfstat.c of Linux 2.6.30's time prints them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kvmtrace.formats.perf_stat.counters import (
    INSTANCES,
    METRICS,
    TRACEPOINT,
    Row,
    doubts_of,
    is_known_event,
    split_event,
)
from kvmtrace.formats.perf_stat.grouping import DECIMAL, Number, as_share, read_number

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST = 4096
"""Characters of a line beyond which it is no row."""

_VALUE_END = 18  # column that perf right-aligns values to (COUNTS_LEN)

_WORD = re.compile(r"[^ \t]+")
_SHARE = re.compile(
    rf"[\[(](?:scaled from)?[ \t]*([0-9]{{1,3}}{DECIMAL}[0-9]{{1,9}})%[ \t]*[\])]"
)  # (75.00%); perf 3.1 to 3.9 [75.00%]; before: (scaled from 75.00%)
_ERROR = re.compile(rf"\([ \t]*\+-[ \t]*([0-9]{{1,15}}{DECIMAL}[0-9]{{1,9}})%[ \t]*\)")

_OTHER_EVENT = re.compile(r"[A-Za-z_][\w.:=@%/{}+,-]*", re.ASCII)
_UNIT = re.compile(r"[A-Za-z%][\w%/.-]*", re.ASCII)
_OLD_NAME = re.compile(
    r"(?<=[ \t])(?P<name>(?:cpu|task) clock ticks|CPU (?:cycles|migrations)|(?:cache|branch) misses|cache references"
    r"|bus cycles|context switches|(?:minor|major) faults|pagefaults"
    r"|[A-Za-z][\w:-]{0,40}(?=[ \t]+\((?:events|msecs)\)))(?:[ \t]+\((?P<unit>events|msecs)\))?[ \t]*$",
    re.ASCII,
)
_OLD_MSEC = "-msecs"  # before 3.0 the unit was in the name

_MARK_DOUBT = "the mark in this value is read as grouping; it may be a decimal mark"

_CPU = re.compile(r"CPU[0-9]+")
_TOPOLOGY = re.compile(r"((?:S|D|N)-?[0-9]+(?:-[A-Z]+-?[0-9]+)*)[ \t]+([0-9]{1,6})")  # S0-D0-C1 2: two CPUs counted
_LONGEST_COMM = 63  # characters; kernel threads have the longest names


class UnreadableRowError(ValueError):
    """A line is no counter row, or not one that can be read for certain; the message says why."""


def read_row(text: str, line: int, mark: str | None, interval_end_ns: int | None = None) -> Row:
    """Read line number `line` of a table whose decimal mark is `mark` (None: not known), without its time (-I).

    UnreadableRowError: it is no row, or not one that can be read for certain.
    """
    if len(text) > LONGEST:
        raise UnreadableRowError("too long")
    body, running_share, stderr_share = _split_tail(text)
    body, has_metric = _split_metric(body)
    old = _OLD_NAME.search(body)
    words = list(_WORD.finditer(body[: old.start()] if old else body))
    event, unit = _read_old_name(old) if old else _take_name(words)
    state, number, scope, instances = _read_value(body, words, mark)
    system, name = split_event(event)
    aligned = bool(words) and words[-1].end() >= _VALUE_END
    if not (aligned or old or is_known_event(event)):
        raise UnreadableRowError("it may be output of the workload")
    if system and unit:
        raise UnreadableRowError("a word between value and event")
    if number and not number.whole and unit is None and "/" not in event:
        raise UnreadableRowError("a count with decimals")
    value = number.value if number else None
    may_be_decimal = number is not None and not number.certain and (unit is not None or "/" in event)
    return Row(
        line=line,
        event=name,
        system=system,
        value=value,
        unit=unit,
        state=state,
        running_share=running_share,
        stderr_share=stderr_share,
        interval_end_ns=interval_end_ns,
        scope=scope,
        instances=instances,
        left_out=(*([METRICS] if has_metric else []), *([INSTANCES] if instances is not None else [])),
        doubts=(*([_MARK_DOUBT] if may_be_decimal else []), *doubts_of(value, running_share)),
    )


def looks_like_row(text: str) -> bool:
    """Tell whether a line may be a counter all the same: it has a value first, an event, or the tail of a row."""
    body, *tail = _split_tail(text[:LONGEST])
    body, has_metric = _split_metric(body)
    words = _WORD.findall(body)
    if not words:
        return not has_metric and any(share is not None for share in tail)
    return words[0][0] in "0123456789<" or any(map(TRACEPOINT.fullmatch, words))


def _split_tail(text: str) -> tuple[str, float | None, float | None]:
    """Split off what perf prints in brackets at the end: the running share and the error of repeats, as shares of 1."""
    shares: dict[re.Pattern[str], float] = {}
    while True:
        text = text.rstrip(" \t")
        start = max(text.rfind("("), text.rfind("["), 0)
        for pattern in (_SHARE, _ERROR):
            match = pattern.fullmatch(text, start)
            if match and pattern not in shares:
                shares[pattern] = as_share(match[1])
                text = text[:start]
                break
        else:
            return text, shares.get(_SHARE), shares.get(_ERROR)


def _split_metric(text: str) -> tuple[str, bool]:
    body, found, _ = f"{text} ".rpartition(" # ")
    return (body, True) if found else (text, False)


def _read_old_name(name: re.Match[str]) -> tuple[str, str | None]:
    """Return event and unit of a row of 2009."""
    msec = name["unit"] == "msecs" or name["name"].endswith("clock ticks")
    return name["name"], "msec" if msec else None


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


def _read_value(
    body: str, words: list[re.Match[str]], mark: str | None
) -> tuple[str, Number | None, str | None, int | None]:
    """Return state, value, scope (None: everything) and what that sums up, of a row whose name is taken."""
    for start, printed in _values(body, words):
        scope = _read_scope(body[:start].strip(" \t"))
        if scope is None:
            continue
        if printed in {"not counted", "not supported"}:
            return printed, None, *scope
        try:
            return "counted", read_number(printed, mark), *scope
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


def _read_scope(text: str) -> tuple[str | None, int | None] | None:
    """Return what a row counts apart (None: everything) and how many counters that sums up; None: it is no scope."""
    if not text or _CPU.fullmatch(text):
        return text or None, None
    topology = _TOPOLOGY.fullmatch(text)
    if topology:
        return topology[1], int(topology[2])
    comm, _, tid = text.rpartition("-")
    is_thread = 0 < len(comm) <= _LONGEST_COMM and re.fullmatch("[0-9]{1,10}", tid)
    return (text, None) if is_thread else None
