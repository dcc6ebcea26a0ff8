"""Whether a text holds an output of `perf stat`: told by its shape, cheaply, before anything is read."""

from __future__ import annotations

import re

from kvmtrace.formats.perf_stat.counters import is_known_event
from kvmtrace.formats.perf_stat.json_lines import VALUE_KEY
from kvmtrace.formats.perf_stat.rows import UnreadableRowError, read_row
from kvmtrace.formats.perf_stat.separated import read_separated
from kvmtrace.formats.perf_stat.tables import HEADING, is_interval_heading, split_interval

_ENOUGH = 2  # rows without a heading; one alone may be output of anything
_LOOKED_AT = 20_000  # lines that may be rows, which bounds the time that a text of another format costs

_HEADING = re.compile(
    rf"^[> |\t]*{HEADING}|{HEADING} (?:'|system wide|process id|thread id|CPU)[^\n]*:[ \t\r]*$", re.MULTILINE
)
"""A line of its own, or behind a label; source code and prose mention it in the middle of one."""
_JSON_EVENT = re.compile(r'"counter-value"\s*:.{0,200}"event"\s*:')
# A line that may be a row of CSV or of intervals: a value or a time first, or a CPU, socket, node or thread before it.
_MAY_BE_ROW = re.compile(
    r"^[> \t]*+(?:(?=[0-9<])[^\n]*[A-Za-z_][\w-]*[^\n]*|(?:(?:CPU|[SN])-?[0-9]|summary)[^\n]*"
    r"|[^\n]{1,80}-[0-9]+[,;|:\t][^\n]*)$",
    re.MULTILINE,
)


def recognises(text: str) -> bool:
    """Tell whether a text holds a table, intervals, CSV or JSON of `perf stat`."""
    if (HEADING in text and _HEADING.search(text)) or (VALUE_KEY in text and _JSON_EVENT.search(text)):
        return True
    if "# " in text and any(map(is_interval_heading, re.findall(r"^[> \t]*#[^\n]*counts[^\n]*", text, re.MULTILINE))):
        return True
    seen = 0
    for number, line in enumerate(_MAY_BE_ROW.finditer(text)):
        if number >= _LOOKED_AT:
            return False
        seen += _weight(line[0].lstrip("> "))
        if seen >= _ENOUGH:
            return True
    return False


def _weight(line: str) -> int:
    """Say how much of a proof a line is: a tracepoint with its time in CSV is enough, another row is half of one."""
    found = read_separated(line, 1)
    if found is not None:
        name = f"{found.row.system}:{found.row.event}" if found.row.system else found.row.event
        return (_ENOUGH if found.row.running_ns is not None else 1) if is_known_event(name) else 1
    interval = split_interval(line)
    if interval is None:
        return 0
    try:
        read_row(interval[1], 1, None)
    except UnreadableRowError:
        return 0
    return 1
