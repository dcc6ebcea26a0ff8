"""The screen of kvm_stat, as it is copied: a heading, rows by their rate, and a row of totals.

    kvm statistics - pid 1234 (guest)

     Event                                         Total %Total CurAvg/s
     kvm_exit                                     238130    8.3     4419
       kvm_exit(WFx)                              112549   47.3     2028
     Total                                       2885310            53680

`%Total` of an indented row is of the row above it. Before Linux 4.11 the columns were `Total Current`, and before
that there was no heading above them. Children are counters of their own and do not add up to their parent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from kvmtrace.formats.kvm_stat.rows import CounterRow, is_known, read_count, split_name
from kvmtrace.formats.text_lines import shown
from kvmtrace.recording import Note

_TITLE = re.compile(
    r".{0,40}?\bkvm statistics(?: - (?:(summary)|pid ([0-9]{1,10})(?: \((.{1,64})\))?))?(?:[ \t]+Guest is DEAD)?"
)
_COLUMNS = re.compile(r"[ \t]*(Event|Guest Name)[ \t]+Total[ \t]+(?:%Total[ \t]+)?(?:CurAvg/s|Current)")
_FILTER = re.compile(r"[ \t]*regex filter: (.{1,80})")
_NAME = r"[A-Za-z_][\w-]{1,60}(?:\([^()]{1,60}\))?"
_SHARE = r"-?[0-9]{1,20}\.[0-9]"
_ROW = re.compile(rf"[ \t]*({_NAME})[ \t]+([0-9]{{1,20}})(?:[ \t]*({_SHARE}))?(?:[ \t]+([0-9]{{1,20}}))?", re.ASCII)
_ALIGNED = re.compile(
    r" ?([A-Za-z_ ].{39}) ([ 0-9]{10})([ 0-9]{5}\.[0-9]) ([ 0-9]{8})", re.ASCII
)  # %-40s %10d%7.1f %8s
_MESSAGES = re.compile(r"[ \t]*(?:Collecting data\.\.\.|No matching events reported yet|Guest removed, updating\.\.\.)")
_LOOSE = re.compile(r"[ \t]*+(?:\S{0,60}?[a-z]_[a-z]\S*[ \t].*[0-9]|[0-9.][0-9. \t]*)", re.ASCII)
_TOTAL = "Total"


@dataclass(slots=True)
class Screen:
    """One screen; `total` and `total_per_s` as printed."""

    line: int
    pid: str | None = None
    guest: str | None = None
    filter: str | None = None
    total: str | None = None
    total_per_s: str | None = None
    by_guest: bool = False
    has_columns: bool = False
    rows: list[CounterRow] = field(default_factory=list)


class ScreenFinder:
    """Takes the lines of a text one by one."""

    def __init__(self) -> None:
        self.screens: list[Screen] = []
        self.notes: list[Note] = []
        self._open: Screen | None = None

    def take(self, line: int, text: str) -> bool:
        """Take a line into the screen that is open, or open one. False: it is of no screen."""
        title = _TITLE.fullmatch(text) if "kvm statistics" in text else None
        columns = _COLUMNS.fullmatch(text) if "Total" in text else None
        if title:
            self._begin(Screen(line, pid=title[2], guest=title[3]))
        elif columns:
            if self._open is None or self._open.has_columns or self._open.rows:
                self._begin(Screen(line))
            if self._open is not None:
                self._open.has_columns, self._open.by_guest = True, columns[1] != "Event"
        elif self._open is None and not _is_row(text):
            return False
        elif self._open is None:
            self._begin(Screen(line))
            return self._take_line(self.screens[-1], line, text)
        else:
            return self._take_line(self._open, line, text)
        return True

    def _begin(self, screen: Screen) -> None:
        self._open = screen
        self.screens.append(screen)

    def _take_line(self, screen: Screen, line: int, text: str) -> bool:
        row = _ROW.fullmatch(text)
        filtered = _FILTER.fullmatch(text)
        if row and row[1] == _TOTAL:
            screen.total, screen.total_per_s = row[2], row[4]
            self._open = None
        elif filtered:
            screen.filter = filtered[1]
        elif row and screen.by_guest:
            self.notes.append(Note(f"line {line}", f"a total of a guest, of no event: not read ({shown(row[1])})"))
        elif row:
            self._add(screen, line, row)
        elif text.strip() and not _MESSAGES.fullmatch(text):
            if not _LOOSE.fullmatch(text):
                self._open = None
                return False
            self.notes.append(Note(f"line {line}", f"looks like a row of kvm_stat and is not read: {shown(text)}"))
        return True

    def _add(self, screen: Screen, line: int, row: re.Match[str]) -> None:
        event, system, part = split_name(row[1])
        value, is_exact = read_count(row[2])
        screen.rows.append(
            CounterRow(
                line,
                event,
                value,
                system,
                scope=f"pid {screen.pid}" if screen.pid else None,
                part=part,
                rate_per_s=float(row[4]) if row[4] else None,
                is_exact=is_exact,
            )
        )


def _is_row(text: str) -> bool:
    """Tell whether a line without a heading is a row for certain: a known name, and columns as kvm_stat prints them."""
    match = _ALIGNED.fullmatch(text)
    return match is not None and is_known(split_name(match[1].strip())[0]) and _ROW.fullmatch(text) is not None
