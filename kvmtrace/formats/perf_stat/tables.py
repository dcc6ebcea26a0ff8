"""Where the outputs of `perf stat` stand in a text: tables with their headings and footers, and lines of their own."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING

from kvmtrace.formats.perf_stat.counters import METRICS, not_read
from kvmtrace.formats.perf_stat.grouping import DECIMAL
from kvmtrace.formats.perf_stat.json_lines import VALUE_KEY, holds_metrics, read_json
from kvmtrace.formats.perf_stat.mail import iso_time, repair, unquoted
from kvmtrace.formats.perf_stat.rows import looks_like_row
from kvmtrace.formats.perf_stat.separated import is_more_metrics, read_separated, separator_of
from kvmtrace.formats.text_lines import shown
from kvmtrace.recording import Note

if TYPE_CHECKING:
    from kvmtrace.formats.perf_stat.counters import Row

HEADING = "Performance counter stats for"

_FOOTER = "seconds time elapsed"
_OLD_FOOTER = "Wall-clock time elapsed:"  # before 2.6.31
_LONGEST_LABEL = 60  # characters; a longer line above a table is prose
_LONGEST_HEADING = 1 << 14  # characters; a longer one has lost its end
_NS_PER_S = 10**9
_NS_PER_MS = 10**6

_NUMBER = rf"[0-9]{{1,9}}(?:{DECIMAL}[0-9]{{1,12}})?"
_ELAPSED = re.compile(rf"[ \t]*({_NUMBER})(?:[ \t]+\+-[ \t]+{_NUMBER})?[ \t]+{_FOOTER}")
_OLD_ELAPSED = re.compile(rf"[ \t]*{_OLD_FOOTER}[ \t]*({_NUMBER})[ \t]+msecs")
_REPEATS = re.compile(r"[ ]\(([0-9]{1,9}) runs\):$")
_STARTED = re.compile(r"[ \t]*# started on (.{1,40})")
_COMMAND = re.compile(r"[ \t]*(?:\$|# ?perf\b|# started on)")
_ONE_REPEAT = re.compile(rf"[ \t]*{_NUMBER} \([+-]{_NUMBER}\) #+[ \t]*")  # --table
_INTERVAL_HEADING = re.compile(r"[ \t]*#[ \t]+time[ \t]+(?:\S[^#\n]{0,40}[ \t])?counts[ \t]+(?:unit[ \t]+)?events")
_INTERVAL = re.compile(r"[ \t]*([0-9]{1,9})[.,]([0-9]{9})[ \t]+(?!seconds\b)(?=\S)")
_ROW = re.compile(r"[ \t]*(?:[0-9<]\S*[ \t]+){1,3}[A-Za-z_][\w-]*:[A-Za-z_]", re.ASCII)


class Form(Enum):
    """What an output of `perf stat` looks like; the value names it."""

    TABLE = "table"
    INTERVALS = "intervals"  # -I
    CSV = "CSV"  # -x
    JSON = "JSON"  # -j


@dataclass(slots=True)
class StatTable:
    """One output. `lines` are those of a table or of intervals, with their numbers, unquoted, to be read as a whole.

    `rows` are those of CSV and JSON, of which each line is read alone.
    """

    form: Form
    line: int  # its first
    target: str  # what was counted, as the heading says: 'sleep 1', 'system wide', process id '12'; else its form
    label: str | None  # what the line above it calls it ("Before:")
    start: str | None  # ISO 8601, local time of the host
    repeats: int | None = None
    lines: list[tuple[int, str]] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    footer: str = ""
    notes: list[Note] = field(default_factory=list)
    kind: tuple[object, ...] = ()  # what all of its lines have in common
    last_line: int = 0
    _seen: set[tuple[object, ...]] = field(default_factory=set)

    @property
    def elapsed_ns(self) -> int | None:
        """Wall time of the command, the mean of the repeats; with --delay the counters ran for less. None: not told."""
        for pattern, unit_ns in ((_ELAPSED, _NS_PER_S), (_OLD_ELAPSED, _NS_PER_MS)):
            match = pattern.match(self.footer)
            if match:
                return int(Decimal(re.sub(DECIMAL, ".", match[1])) * unit_ns)
        return None

    def add(self, row: Row) -> bool:
        """Take the next row; False: it is another run's: time goes back, or a counter comes again below other lines."""
        last = self.rows[-1].interval_end_ns if self.rows else None
        key = (row.system, row.event, row.scope, row.interval_end_ns)
        again = key in self._seen and row.line is not None and row.line > self.last_line + 1
        if again or (last is not None and row.interval_end_ns is not None and row.interval_end_ns < last):
            return False
        self._seen.add(key)
        self.rows.append(row)
        self.last_line = row.line or 0
        return True


def find_tables(text: str) -> tuple[list[StatTable], list[Note]]:
    """Return the outputs in a text in order, and notes on what stands outside of them."""
    text, notes = repair(text)
    finder = _Finder()
    for line, content in enumerate(text.split("\n"), start=1):
        finder.take(line, unquoted(content))
    if finder.strays:
        what = f"counters without a heading, here first: not read ({len(finder.strays)} lines)"
        notes.append(Note(f"line {finder.strays[0]}", what))
    return finder.tables, notes + finder.notes


def has_rows_without_heading(text: str) -> bool:
    """Tell whether a text has lines that look like the rows of a table, whose heading is lost."""
    return any(_ROW.match(line) for line in text.split("\n"))


def split_interval(text: str) -> tuple[int, str] | None:
    """Split a row of -I into the end of its interval, in ns since the start, and the rest; None: it is no such row."""
    match = _INTERVAL.match(text)
    return (int(match[1]) * _NS_PER_S + int(match[2]), text[match.end(2) :]) if match else None


def is_interval_heading(text: str) -> bool:
    """Tell whether a line is the heading of the columns of -I, which comes again every 25 intervals."""
    return _INTERVAL_HEADING.match(text) is not None


class _Finder:
    """Takes the lines of a text one by one."""

    def __init__(self) -> None:
        self.tables: list[StatTable] = []
        self.notes: list[Note] = []
        self.strays: list[int] = []  # lines that look like rows outside of every table
        self._open: StatTable | None = None  # a table whose footer is to come
        self._series: dict[Form, StatTable] = {}  # outputs without heading and footer that may go on
        self._in_heading = False  # a command's newlines and mail break it
        self._above = ""  # the last line that is neither blank nor the command itself
        self._start: str | None = None

    def take(self, line: int, text: str) -> None:
        started = _STARTED.match(text)
        if HEADING in text:
            self._begin_table(line, *text.split(HEADING, 1))
        elif started:
            self._open, self._start = None, iso_time(started[1])
            self._series.clear()
            if self._start is None:
                self.notes.append(Note(f"line {line}", f"expected a time, found none that is: {shown(started[1])}"))
        elif self._take_json(line, text) or self._take_csv(line, text) or is_interval_heading(text):
            self._open = None if is_interval_heading(text) else self._open
            return
        elif self._open is not None:
            if not (self._in_heading and self._continues_heading(self._open, text)):
                self._take_line(self._open, line, text)
        elif not self._take_interval(line, text) and _ROW.match(text):
            self.strays.append(line)
        if text.strip() and not _COMMAND.match(text):
            self._above = text.strip()

    def _begin(self, form: Form, line: int, target: str, label: str) -> StatTable:
        if not label.endswith(":") or label.startswith("[") or HEADING in label or len(label) > _LONGEST_LABEL:
            label = ""  # a libtraceevent warning begins with [
        table = StatTable(form, line, target, label or None, self._start)
        self.tables.append(table)
        self._start, self._above = None, ""
        return table

    def _begin_table(self, line: int, before: str, target: str) -> None:
        table = self._begin(Form.TABLE, line, "", before.strip() or self._above)
        self._open = table
        self._extend_heading(table, target)

    def _continues_heading(self, table: StatTable, text: str) -> bool:
        """Take a line into the heading; False: it is not of it, and the end of the heading is lost."""
        if looks_like_row(text) or (table.target and not text.strip()) or len(table.target) > _LONGEST_HEADING:
            self._in_heading = False
            return False
        self._extend_heading(table, text)
        return True

    def _extend_heading(self, table: StatTable, text: str) -> None:
        """Add text to the heading, which ends with a colon."""
        table.target = f"{table.target} {text.strip()}".strip()
        self._in_heading = not table.target.endswith(":")
        if not self._in_heading:
            repeats = _REPEATS.search(table.target)
            table.repeats = int(repeats[1]) if repeats else None
            table.target = table.target[: repeats.start() if repeats else -1]

    def _take_line(self, table: StatTable, line: int, text: str) -> None:
        if _FOOTER in text or _OLD_FOOTER in text:
            self._open = None
            table.footer = text
            if table.elapsed_ns is None:
                table.notes.append(Note(f"line {line}", "the time elapsed cannot be read"))
        elif not _ONE_REPEAT.fullmatch(text):
            table.lines.append((line, text))

    def _take_json(self, line: int, text: str) -> bool:
        if VALUE_KEY not in text:
            table = self._series.get(Form.JSON)
            if table is None or not holds_metrics(text):
                return False
            table.left_out.append(METRICS)
            table.last_line = line
            return True
        try:
            row = read_json(text, line)
        except ValueError as error:
            self.notes.append(not_read(line, error, text))
        else:
            self._add(Form.JSON, row, (row.interval_end_ns is None,))
        return True

    def _take_csv(self, line: int, text: str) -> bool:
        table = self._series.get(Form.CSV)
        found = read_separated(text, line, short=self._open is None)
        if found is not None:
            kind = (found.separator, found.summary, found.row.interval_end_ns is None, found.row.running_ns is None)
            self._add(Form.CSV, found.row, kind, " summary" if found.summary else "")
        elif table is not None and is_more_metrics(text):
            table.left_out.append(METRICS)
            table.last_line = line
        elif table is not None and separator_of(text) == table.kind[0]:
            self.notes.append(not_read(line, "no value and event in it", text))
        else:
            return False
        return True

    def _add(self, form: Form, row: Row, kind: tuple[object, ...], suffix: str = "") -> None:
        table = self._series.get(form)
        if table is None or table.kind != kind or not table.add(row):
            table = self._begin(form, row.line or 0, form.value + suffix, self._above)
            table.kind = kind
            table.add(row)
            self._series[form] = table

    def _take_interval(self, line: int, text: str) -> bool:
        split = split_interval(text)
        if split is None:
            return False
        table = self._series.get(Form.INTERVALS)
        if table is None or split[0] < int(str(table.kind[0])):
            table = self._begin(Form.INTERVALS, line, Form.INTERVALS.value, self._above)
            self._series[Form.INTERVALS] = table
        table.kind = (split[0],)
        table.lines.append((line, text))
        return True
