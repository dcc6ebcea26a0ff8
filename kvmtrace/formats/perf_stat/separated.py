"""One line of `perf stat -x SEP`.

    [time,][summary,][what is counted apart,[CPUs,]]value,[unit,]event[,cgroup][,error%][,time it ran,share of its time
    [,metric,its unit]…]

    0.103387120,S0,2,58,,kvm:kvm_entry,0.45%,233680962,100.00,,

tools/perf/util/stat-display.c prints it, once builtin-stat.c. Old versions have no unit, and end with the event or the
error; until 6.1 blanks stand before the time. SEP is any string (here: of no letters, digits or .%<>), and nothing is
quoted: events (pmu/a=1,b=2/, kvm:kvm_exit with -x:) and threads' names may hold it, so a line is read from its value to
both sides. perf of a locale prints its decimal mark here too, which may be SEP.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from kvmtrace.formats.perf_stat.counters import (
    INSTANCES,
    METRICS,
    Row,
    doubts_of,
    enabled_ns,
    is_known_event,
    split_event,
)
from kvmtrace.formats.perf_stat.grouping import DECIMAL, as_float, as_share

LONGEST = 4096
"""Characters of a line beyond which it is no row."""

_NS_PER_S = 10**9
_FEWEST_TO_EVENT = 2  # fields: value, event

# The end of a row: a time in ns, and a share with two decimals (0.00 to 100.00).
_RAN = re.compile(rf"([^\w.%<>]{{1,8}}?)[0-9]{{1,19}}\1[0-9]{{1,3}}(?:{DECIMAL}|\1)[0-9]{{2}}(?=\1|[ \t]*$)")
_SHORT = re.compile(
    r"[ \t]*(?:(?:CPU|S|N)-?[0-9]\S{0,40}?([,;:|\t]))?(?:[0-9]{1,4}\1)?"
    r"(?:[0-9.]+|<not (?:counted|supported)>)([,;:|\t])",
    re.ASCII,
)
_TIME = re.compile(r"[0-9]{1,9}[.,][0-9]{9}")
_VALUE = re.compile(rf"[0-9]{{1,20}}(?:{DECIMAL}[0-9]{{1,9}})?")
_STATES = {"<not counted>": "not counted", "<not supported>": "not supported"}
_UNIT = re.compile(r"[A-Za-z%][\w%/.^-]{0,30}", re.ASCII)
_EVENT = re.compile(r"[A-Za-z_][^\x00-\x1f]*")
_TOPOLOGY = re.compile(r"[SDN]-?[0-9]+(?:-[A-Z]+-?[0-9]+)*|CPU-?[0-9]+")
_THREAD = re.compile(r".{1,63}-[0-9]{1,10}")
_ERROR = re.compile(rf"([0-9]{{1,15}}(?:{DECIMAL}[0-9]{{1,9}})?|-?nan|inf)%")
_CLOCKS = re.compile(r"(?:task|cpu)-clock(?::\w+)?")


class Line(NamedTuple):
    """A row and what tells the lines of one output from those of another."""

    row: Row
    separator: str
    summary: bool  # of a whole run, behind its intervals


def separator_of(text: str) -> str | None:
    """Return what separates the fields of a line that ends as a row does. None: it does not."""
    match = _RAN.search(text) if len(text) <= LONGEST else None
    return match[1] if match else None


def read_separated(text: str, line: int, *, short: bool = True) -> Line | None:
    """Read line number `line`; None: it is no row. `short`: it may be of a perf before 4.1, and end with its event."""
    text = text.rstrip("\r").lstrip(" \t") if not text.startswith("\t") else text
    separator = separator_of(text)
    if separator is not None:
        return _read(text.split(separator), separator, line, ran=True)
    match = _SHORT.match(text) if short and len(text) <= LONGEST else None
    if match is None or (match[1] or match[2]) != match[2]:
        return None
    return _read(text.split(match[2]), match[2], line, ran=False)


def is_more_metrics(text: str) -> bool:
    """Tell whether a line holds further metrics of the row above it: its first fields are empty."""
    return re.match(r"[ \t]*(?:[0-9.]+|[A-Z][\w-]*)?([,;:|])(?:[0-9]*\1)?\1{3,}[0-9.]+\1\S", text[:LONGEST]) is not None


def _read(fields: list[str], separator: str, line: int, *, ran: bool) -> Line | None:
    """Read a line from its value, the first field that what stands before it allows to be one."""
    summary = "summary" in (field.strip(" ") for field in fields[:1])
    first = 1 if summary else 0
    interval = None
    if not summary and _TIME.fullmatch(fields[0].strip(" ")) and len(fields) > _FEWEST_TO_EVENT:
        seconds, nanoseconds = re.split("[.,]", fields[0].strip(" "))
        interval, first = int(seconds) * _NS_PER_S + int(nanoseconds), 1
    for at in range(first, min(len(fields), first + 12)):
        scope = _read_scope(fields[first:at], separator)
        value = _read_value(fields, at, separator)
        if scope is None or value is None:
            continue
        row = _read_behind(fields, value, scope, interval, separator, line, ran=ran)
        if row is not None:
            return Line(row, separator, summary)
    return None


class _Value(NamedTuple):
    value: float | None
    state: str
    decimals: bool
    next: int  # the field behind it


class _Scope(NamedTuple):
    name: str | None
    instances: int | None


def _read_scope(fields: list[str], separator: str) -> _Scope | None:
    """Return what the fields before a value count apart; None: they are no such thing."""
    if not fields:
        return _Scope(None, None)
    first, *others = fields
    if _TOPOLOGY.fullmatch(first.strip(" ")):
        if not others:
            return _Scope(first.strip(" "), None)
        return _Scope(first.strip(" "), int(others[0])) if re.fullmatch("[0-9]{1,6}", separator.join(others)) else None
    thread = separator.join(fields)
    return _Scope(thread.strip(" "), None) if _THREAD.fullmatch(thread) else None


def _read_value(fields: list[str], at: int, separator: str) -> _Value | None:
    field = fields[at].strip(" ")
    if field in _STATES:
        return _Value(None, _STATES[field], decimals=False, next=at + 1)
    if not _VALUE.fullmatch(field):
        return None
    split = re.match(DECIMAL, separator) and len(fields) > at + 2 and re.fullmatch("[0-9]{2}|[0-9]{6}", fields[at + 1])
    if split and field.isdigit() and _UNIT.fullmatch(fields[at + 2]):  # 0,50,msec: a mark that separates too
        return _Value(float(f"{field}.{fields[at + 1]}"), "counted", decimals=True, next=at + 2)
    return _Value(as_float(field), "counted", decimals=not field.isdigit(), next=at + 1)


def _read_behind(
    fields: list[str], value: _Value, scope: _Scope, interval: int | None, separator: str, line: int, *, ran: bool
) -> Row | None:
    """Read what stands behind a value: unit, event, cgroup, error of repeats, time that it ran, metrics."""
    unit, start = None, value.next
    if start + 1 < len(fields) and (not fields[start] or _is_unit(fields[start])):
        unit, start = fields[start] or None, start + 1
    end, tail = _find_tail(fields, start + 1, separator) if ran else (len(fields), _NO_TAIL)
    names, stderr_share = _take_error(fields[start:end], separator)
    event, cgroup = _split_cgroup(names, separator)
    if tail is None or not _EVENT.fullmatch(event) or (not ran and (cgroup or not is_known_event(event))):
        return None
    if unit is None and value.decimals and _CLOCKS.fullmatch(event):
        unit = "msec"  # before 4.20 its unit was in the table for people only
    system, name = split_event(event)
    return Row(
        line=line,
        event=name,
        system=system,
        value=value.value,
        unit=unit,
        state=value.state,
        enabled_ns=enabled_ns(tail.running_ns, tail.running_share),
        running_ns=tail.running_ns,
        running_share=tail.running_share,
        stderr_share=stderr_share,
        interval_end_ns=interval,
        scope=" ".join(filter(None, (scope.name, cgroup))) or None,
        instances=scope.instances,
        left_out=(*([METRICS] if tail.metrics else []), *([INSTANCES] if scope.instances is not None else [])),
        doubts=tuple(doubts_of(value.value, tail.running_share)),
    )


def _is_unit(field: str) -> bool:
    return _UNIT.fullmatch(field) is not None and not is_known_event(field)


class _Tail(NamedTuple):
    running_ns: int | None
    running_share: float | None
    metrics: bool


_NO_TAIL = _Tail(None, None, metrics=False)


def _find_tail(fields: list[str], start: int, separator: str) -> tuple[int, _Tail | None]:
    """Return where the time that a counter ran stands, and it; None: nowhere."""
    for end in range(start, len(fields) - 1):
        tail = _read_tail(fields, end, separator)
        if tail is not None:
            return end, tail
    return len(fields), None


def _read_tail(fields: list[str], at: int, separator: str) -> _Tail | None:
    """Read the end of a row, from the time that it ran."""
    if not re.fullmatch("[0-9]{1,19}", fields[at]) or at + 1 >= len(fields) or int(fields[at]) >= 1 << 63:
        return None
    share, rest = fields[at + 1].strip(" \t"), fields[at + 2 :]
    if re.fullmatch("[0-9]{1,3}", share) and separator == "," and rest and re.fullmatch("[0-9]{2}", rest[0]):
        share, rest = f"{share}.{rest[0]}", rest[1:]
    if not re.fullmatch(rf"[0-9]{{1,3}}{DECIMAL}[0-9]{{2}}", share):
        return None
    return _Tail(int(fields[at]), as_share(share), any(map(str.strip, rest)))


def _take_error(names: list[str], separator: str) -> tuple[list[str], float | None]:
    """Split the error of repeats off the fields from the event on, as a share of 1."""
    error = _ERROR.fullmatch(names[-1]) if len(names) > 1 else None
    if error is None:
        return names, None
    names = names[:-1]
    if not error[1][-1].isdigit():
        return names, None  # of no counts: 0 / 0
    if separator == "," and len(names) > 1 and names[-1].isdigit():  # 0,45%
        return names[:-1], as_share(f"{names[-1]}.{error[1]}")
    return names, as_share(error[1])


def _split_cgroup(names: list[str], separator: str) -> tuple[str, str]:
    """Split an event from the cgroup behind it: the terms of pmu/…/ and {…} belong to the event."""
    for size in range(1, len(names) if separator != ":" else 1):
        event = separator.join(names[:size])
        if event.count("/") % 2 == 0 and event.count("{") == event.count("}"):
            return event, separator.join(names[size:])
    return separator.join(names), ""
