"""What kvm_stat (tools/kvm/kvm_stat of Linux) prints → `recording.TableSet`s of `schema.COUNTERS`.

Its screen (`screen`), `-1` (`batch`), and its logs, `-l`, `-L` and `-c` (`log`). The value of a row is the total that
is printed; in a log it is what was counted since the row above, `logged_at` the time of the row. Events with an
exit reason in brackets, kvm_exit(WFx), have it as their part. Without -t the events are files of KVM's debugfs
(exits, halt_exits); they are no tracepoints and have no system.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kvmtrace.errors import InputError
from kvmtrace.formats.format import TableFormat
from kvmtrace.formats.kvm_stat.batch import BatchFinder
from kvmtrace.formats.kvm_stat.log import LogFinder
from kvmtrace.formats.kvm_stat.rows import CounterRow, counter_table
from kvmtrace.formats.kvm_stat.screen import Screen, ScreenFinder
from kvmtrace.formats.text_lines import clean_lines, has_line, told
from kvmtrace.recording import Facts, Note, TableSet

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FORMAT"]

NAME = "kvm-stat"

# What no readable text is without: a title, a heading of columns, or of names above figures, or a name and two figures.
_TITLES = ("kvm statistics", "CurAvg/s", "Current", "timestamp,", "kvm_stat")
_NAME = r"[A-Za-z_][\w-]*+(?:\([^()\n]*+\)?)?+"
_NAMES_OR_FIGURES = re.compile(
    rf"\n[ \t>|]*+{_NAME}(?:(?:[ \t]++{_NAME})*+[ \t\r]*+\n[ \t>|]*+[0-9]"
    r"|(?:(?<=[0-9])|[ \t]*+[0-9]{1,20})(?:[ \t]++[0-9]++\.[0-9])?[ \t]++[0-9]{1,20}[ \t\r]*+$)",  # they may touch
    re.MULTILINE | re.ASCII,
)


def recognises(text: str) -> bool:
    """Tell whether a text holds a screen, a table or a log of kvm_stat with a row."""
    if not any(title in text for title in _TITLES) and not has_line(_NAMES_OR_FIGURES, text):
        return False
    return bool(_Finder(clean_lines(text)[0]).tables())


def read(text: str, file: str) -> list[TableSet]:
    """Read every screen, table and log of `text`, in order. InputError: there is none with a row."""
    lines, notes = clean_lines(text)
    finder = _Finder(lines)
    tables = finder.tables()
    if not tables:
        raise InputError(
            file,
            f"expected rows of kvm_stat, found {'a screen without any' if finder.screens.screens else 'none'}",
            hint="save what `kvm_stat -1` or `kvm_stat -l` prints, with its heading",
        )
    notes += [*finder.screens.notes, *finder.logs.notes]
    notes += [
        Note(f"line {row.line}", f"{row.event}: a count of more than 2^53 that a double does not hold exactly")
        for _, _, rows in tables
        for row in rows
        if not row.is_exact
    ]
    return [
        TableSet(
            facts=Facts(
                format=NAME,
                tool=tool,
                left_out=["%Total"] if what == "screen" else [],
                part=None if len(tables) == 1 else f"{what} of line {rows[0].line}",
            ),
            table="counters",
            rows=counter_table(rows),
            notes=told(notes) if rows is tables[-1][2] else (),
        )
        for what, tool, rows in tables
    ]


FORMAT = TableFormat(
    name=NAME,
    what="totals and rates of kvm_stat: its screen, -1, and logs",
    example="kvm_stat -1 > kvm_stat.txt",
    recognises=recognises,
    read=read,
)


class _Finder:
    def __init__(self, lines: Sequence[str]) -> None:
        self.screens, self.logs, self.batches = ScreenFinder(), LogFinder(), BatchFinder()
        for line, text in enumerate(lines, start=1):
            if not self.screens.take(line, text) and not self.logs.take(line, text):
                self.batches.take(line, text)
            else:
                self.batches.end()
        self.batches.end()

    def tables(self) -> list[tuple[str, dict[str, str], list[CounterRow]]]:
        """Return what each table is, what is known beside it, and its rows, in the order of the text."""
        tables = [
            *(("screen", _facts(screen), screen.rows) for screen in self.screens.screens),
            *(("log", {}, log.rows) for log in self.logs.logs),
            *(("table", {}, rows) for rows in self.batches.tables),
        ]
        return sorted((table for table in tables if table[2]), key=lambda table: table[2][0].line)


def _facts(screen: Screen) -> dict[str, str]:
    facts = {
        "pid": screen.pid,
        "guest": screen.guest,
        "filter": screen.filter,
        "total": screen.total,
        "total_per_s": screen.total_per_s,
    }
    return {name: value for name, value in facts.items() if value is not None}
