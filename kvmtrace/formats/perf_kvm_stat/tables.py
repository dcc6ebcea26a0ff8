"""Where the tables of `perf kvm stat` stand in a text: what is above them, their rows, and their totals."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from kvmtrace.formats.perf_kvm_stat.keys import Part, owner_of, part_of
from kvmtrace.formats.perf_kvm_stat.layout import Layout, read_header
from kvmtrace.formats.perf_kvm_stat.lines import LONGEST, Line, lines_of
from kvmtrace.formats.perf_kvm_stat.names import UNKNOWN
from kvmtrace.formats.perf_kvm_stat.rows import Row, looks_like_row, read_row
from kvmtrace.formats.perf_kvm_stat.surroundings import Surroundings, read_clock, read_command, read_heading
from kvmtrace.formats.text_lines import shown
from kvmtrace.recording import Note, Notes

if TYPE_CHECKING:
    from collections.abc import Callable

_NS_PER_US = 1000
_LONGEST_LABEL = 60  # characters; a longer line above a table is prose
_TOTALS = re.compile(
    r"Total Samples:[ ]?([0-9]{1,20}), Total events handled time:[ ]?([0-9]{1,20}(?:[.,][0-9]{1,6})?)us", re.ASCII
)
_OUTSIDE = re.compile(
    r"%|Analyze events|perf kvm |Total Samples:|Lost events|unknown kvm|and lost |event took|:[0-9]{2}\.[0-9]{6}",
    re.ASCII,
)
"""What is in every line that matters outside of a table: a log may be long."""
_TOTALS_BEGUN = "Total Samples:"
_LOST = re.compile(r"Lost events: ([0-9]{1,20})", re.ASCII)


@dataclass(slots=True)
class Totals:
    """The line below a table."""

    line: int
    samples: int
    time_ns: Decimal


@dataclass(slots=True)
class KvmStatTable:
    """One table, and what stands around it. None is: not told."""

    line: int  # of its header
    layout: Layout
    around: Surroundings
    rows: list[Row] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    totals: Totals | None = None
    lost: int | None = None
    notes: Notes = field(default_factory=Notes)


def find_tables(text: str) -> tuple[list[KvmStatTable], Notes]:
    """Return the tables of a text in order, and notes on what stands outside of them."""
    lines, notes = lines_of(text)
    finder = _Finder(lines)
    for note in notes:
        finder.strays.add(note)
    finder.run()
    return finder.tables, finder.strays


class _Finder:
    """Goes through the lines of a text once."""

    def __init__(self, lines: list[Line]) -> None:
        self.tables: list[KvmStatTable] = []
        self.strays = Notes()
        self._lines = lines
        self._open: KvmStatTable | None = None
        self._around = Surroundings()  # of the open table, or the next one
        self._names: set[str] = set()  # of the open table's rows
        self._owner: str | None = None  # the reason whose parts are listed beside the table
        self._takers: tuple[Callable[[int], int], ...] = (
            self._header, self._above, self._totals, self._warning, self._row,
        )  # fmt: skip

    def run(self) -> None:
        index = 0
        while index < len(self._lines):
            if self._open is None and not _OUTSIDE.search(self._lines[index].text):
                index += 1
                continue
            for taker in self._takers:
                end = taker(index)
                if end:
                    break
            index = end
        self._close()
        for note in self._around.told():
            self.strays.add(note)

    def _close(self) -> None:
        """End the open table, and give it what perf said in warnings above and inside of it."""
        if self._open is None:
            return
        for note in self._around.told():
            self._open.notes.add(note)
        self._open, self._owner, self._around, self._names = None, None, Surroundings(), set()

    def _header(self, index: int) -> int:
        found = read_header(self._lines, index)
        if found is None:
            return 0
        self._close()
        layout, end = found
        line = self._lines[index].number
        self._around.label = self._around.label or self._label(index)
        self._open = KvmStatTable(line, layout, self._around)
        self.tables.append(self._open)
        if layout.rest:
            self._open.notes.add(
                Note(f"line {line}", f"text behind the header, which is not read: {shown(layout.rest)}")
            )
        return end

    def _above(self, index: int) -> int:
        """Take a line of those above a table: it ends the table before."""
        text = self._lines[index].text
        following = self._lines[index + 1].text if index + 1 < len(self._lines) else ""
        heading, clock, command = read_heading(text, following), read_clock(text), read_command(text)
        if heading or clock or command:
            self._close()
        if heading:
            self._around.scope, self._around.label = heading[0], self._label(index)
            return index + heading[1]
        self._around.at = clock or self._around.at
        self._around.command = command or self._around.command
        return index + 1 if clock or command else 0

    def _label(self, index: int) -> str | None:
        """Return what an author calls the table below: `Before the patch:`."""
        text = self._lines[index - 1].text if index else ""
        heading = read_heading(text, "")
        return text if text.endswith(":") and len(text) <= _LONGEST_LABEL and heading is None else None

    def _totals(self, index: int) -> int:
        line, text = self._lines[index]
        lost = _LOST.fullmatch(text)
        if lost and self.tables and self._open is None:
            self.tables[-1].lost = int(lost[1])
            return index + 1
        if _TOTALS_BEGUN not in text:
            return 0
        for end in range(index + 1, min(index + 3, len(self._lines)) + 1):
            text = " ".join(part for _, part in self._lines[index:end])
            match = _TOTALS.search(text[:LONGEST])
            if match:
                self._take_totals(line, match)
                return end
        return 0

    def _take_totals(self, line: int, match: re.Match[str]) -> None:
        if self._open is None:
            self.strays.add(Note(f"line {line}", f"totals without a table above them: {shown(match[0])}"))
            return
        self._open.totals = Totals(line, int(match[1]), Decimal(match[2].replace(",", ".")) * _NS_PER_US)
        self._close()

    def _warning(self, index: int) -> int:
        line, text = self._lines[index]
        return index + 1 if self._around.take_warning(line, text[:LONGEST]) else 0

    def _row(self, index: int) -> int:
        line, text = self._lines[index]
        if self._open is None:
            if "%" in text and "us" in text and looks_like_row(text):
                self.strays.add(Note(f"line {line}", f"looks like a row and stands in no table: {shown(text)}"))
            return index + 1
        table = self._open
        found = read_row(table.layout, self._lines, index)
        if found is None:
            if len(text) > LONGEST:
                table.notes.add(Note(f"line {line}", f"a line of {len(text)} characters, which is not read"))
            elif not self._beside(table, line, text) and looks_like_row(text, table.layout):
                table.notes.add(Note(f"line {line}", _unread(table.layout, text)))
            return index + 1
        row, end = found
        if not row.name:
            table.notes.add(Note(f"line {line}", f"expected a name before the figures, found none: {shown(text)}"))
            return end
        table.rows.append(row)
        self._names.add(row.name)
        if row.name == UNKNOWN:
            self._around.take_nameless_row(line, self._lines[index - 1] if index else None)
        if row.rest and not self._beside(table, line, row.rest):
            table.notes.add(Note(f"line {line}", f"text behind the row, which is not read: {shown(row.rest)}"))
        return end

    def _beside(self, table: KvmStatTable, line: int, text: str) -> bool:
        """Take what an author wrote beside the table: the parts of one row."""
        part = part_of(text[:LONGEST], line, self._owner)
        if part:
            table.parts.append(part)
            return True
        owner = owner_of(text[:LONGEST])
        if owner in self._names:
            self._owner = owner
            return True
        return False


def _unread(layout: Layout, text: str) -> str:
    return f"expected a name and {len(layout.columns)} columns as in the header, found {shown(text)}"
