"""Where the figures and verdicts of kvm-unit-tests stand in a text: boots of a test, lists in a mail, logs of many.

A section is a boot, or a list with nothing but blank lines inside. What is read in it is certain in one of two ways:
its form (a summary, a table's heading, the name of a pci-testdev measurement), or its place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kvmtrace.formats.kvm_unit_tests import reports, vmexit
from kvmtrace.formats.kvm_unit_tests.columns import Columns
from kvmtrace.formats.kvm_unit_tests.figures import OtherFigures, read_named
from kvmtrace.formats.kvm_unit_tests.places import is_boot_line, may_be_theirs, read_build, read_command, starts_boot
from kvmtrace.formats.kvm_unit_tests.results import Results
from kvmtrace.formats.text_lines import shown
from kvmtrace.recording import Note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmtrace.formats.kvm_unit_tests.places import Command
    from kvmtrace.formats.kvm_unit_tests.rows import Row

_LONGEST_LABEL = 60  # characters; a longer line above a list is prose
_ENOUGH = 2  # figures of vmexit that vouch for each other


@dataclass(slots=True)
class Section:
    """One boot or list; `rows` are in no order yet."""

    label: str | None = None
    is_boot: bool = False
    is_column: bool = False  # of a table with others: a run of its own
    command: Command | None = None
    rows: list[Row] = field(default_factory=list)
    measured: set[tuple[str | None, str, str | None]] = field(default_factory=set)  # what comes once in a run


class Finder:
    """Takes the lines of a text one by one; `certain` once something was read that only kvm-unit-tests print."""

    def __init__(self) -> None:
        self.sections: list[Section] = [Section()]
        self.notes: list[Note] = []
        self.certain = False
        self.build: str | None = None
        self._test: str | None = None  # as a command says
        self._list: dict[str, Row] = {}  # by name: figures of vmexit that nothing vouches for yet
        self._figures = OtherFigures()
        self._columns = Columns()
        self._results = Results()
        self._unnamed: list[Row] = []  # verdicts since the last line of run_tests.sh
        self._above = ""  # the last line that is not blank

    def take(self, line: int, text: str) -> None:
        """Take line number `line`, cleaned."""
        if not text:
            return
        is_columns = may_be_theirs(text) and self._columns.take(line, text, self._above)
        if not is_columns and self._columns.is_open:
            self._end_columns()
        if is_columns:
            return
        if not (may_be_theirs(text) and self._take_theirs(line, text)):
            self._results.end_block()
            if self._results.rows:
                self._take_results()
            if not self._section.is_boot:
                self._begin(text.strip())
        self._above = text.strip()

    def end(self) -> None:
        """Take the end of the text."""
        self._end_columns()
        self._results.end()
        self._take_results()
        self._close_list()
        self.notes += self._results.notes

    @property
    def _section(self) -> Section:
        return self.sections[-1]

    def _end_columns(self) -> None:
        self._columns.end()
        for label, rows in self._columns.tables:
            self._begin("")
            self._section.label, self._section.is_column = label, True
            self._add(rows)
        if self._columns.tables:
            self.sections.append(Section())
        self._columns.tables = []

    def _take_theirs(self, line: int, text: str) -> bool:
        if self._results.take(text, line):
            return True
        self._take_results()
        if self._take_place(text) or self._take_figure(line, text) or self._take_report(line, text):
            return True
        if vmexit.looks_like_row(text):
            self.notes.append(Note(f"line {line}", f"looks like a figure of vmexit and is not read: {shown(text)}"))
        return False

    def _take_place(self, text: str) -> bool:
        """Take what tells where we are and has no row."""
        if is_boot_line(text):
            if not self._section.is_boot or (self._section.measured and starts_boot(text)):
                self._begin(self._above)
            self._section.is_boot = True
            return True
        self.build = read_build(text) or self.build
        command = read_command(text)
        if command is None:
            return False
        self._begin(self._above)
        if self._section.command is None or command.is_run:  # run_tests.sh names a test better than QEMU's kernel
            self._section.command = command
            self._test = command.test
        self.certain |= command.is_run
        return True

    def _take_figure(self, line: int, text: str) -> bool:
        rows = self._figures.take(text, line) or reports.read_exittime(text, line)
        if not rows and self._section.is_boot:
            named = read_named(text, line)
            rows = [named] if named else []
        if rows:
            self._add(rows)
        elif not self._figures.took:
            return self._take_vmexit(line, text)
        return True

    def _take_vmexit(self, line: int, text: str) -> bool:
        figure = vmexit.read_row(text, line)
        if figure is None:
            return False
        if figure.name in self._list:
            self._begin("")
        told = self._test is not None and self._test.startswith(vmexit.TEST)
        if told or self._section.is_boot:
            self._add([figure])
        else:
            self._list[figure.name] = figure
        return True

    def _take_report(self, line: int, text: str) -> bool:
        end = reports.read_end(text, line)
        report = end or reports.read_report(text, line)
        if report is None:
            return False
        if end:
            self.certain = True
            self._figures = OtherFigures()
        report.test = self._test
        self._section.rows.append(report)
        self._unnamed.append(report)
        return True

    def _take_results(self) -> None:
        """Take the lines of run_tests.sh that have ended: the first names the test whose summary it repeats."""
        results, self.certain = self._results.rows, self.certain or self._results.certain
        if not results:
            return
        summary = next((row.message for row in reversed(self._unnamed) if row.name == "SUMMARY"), None)
        for row in self._unnamed:
            if row.test is None and summary is not None and summary == results[0].message:
                row.test = results[0].name
        for row in results:
            key = (row.test, row.name, None)
            if row.test == row.name and key in self._section.measured:
                self._begin("")
            if row.test == row.name:
                self._section.measured.add(key)
            self._section.rows.append(row)
        self._results.rows, self._unnamed, self._test = [], [], None
        self._figures = OtherFigures()

    def _begin(self, above: str) -> None:
        """Begin a section below the line `above`; one that is empty goes on."""
        if self._list:
            self._close_list()
        section = self.sections[-1]
        if section.rows or section.is_boot:
            section = Section()
            self.sections.append(section)
        section.label = above if above.endswith(":") and len(above) <= _LONGEST_LABEL else None

    def _close_list(self) -> None:
        """Take the figures of vmexit in a list if they vouch for each other."""
        figures, self._list = list(self._list.values()), {}
        if len(figures) >= _ENOUGH or any(vmexit.is_own_name(row.name) for row in figures):
            self._add(figures)
            return
        for row in figures:
            what = f"may be a figure of vmexit and stands alone: not read ({row.name})"
            self.notes.append(Note(f"line {row.line}", what))

    def _add(self, rows: Sequence[Row]) -> None:
        self.certain = True
        for row in rows:
            row.test = self._test or row.test
        if any((row.test, row.name, row.statistic) in self._section.measured for row in rows):
            is_boot = self._section.is_boot
            self._begin("")
            self._section.is_boot = is_boot
        for row in rows:
            if row.state == "measured" and not row.repeats:
                self._section.measured.add((row.test, row.name, row.statistic))
        self._section.rows += rows
