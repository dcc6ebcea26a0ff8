"""What `kvm_stat -l` and `-L` log: a heading of names every 20 rows, and rows of what was counted since the row above.

    kvm_ack_irq kvm_entry kvm_exit
    2020-11-30 10:31:07         0      1234      1240

Linux 4.19 and older print no time. kvm_stat of QEMU cuts names to 9 characters. With -c (`timestamp,kvm_exit,…`, from
Linux 5.10) commas stand between the columns. The interval is not logged, and -z leaves rows of zeros out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime

from kvmtrace.formats.kvm_stat.rows import CounterRow, is_known, read_count, split_name
from kvmtrace.formats.text_lines import shown
from kvmtrace.recording import Note

_NAME = re.compile(r"[A-Za-z_][\w-]{0,60}(?:\([^()\s]{0,60}\)?)?", re.ASCII)
_AT = re.compile(r"(\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2})(?=[ ,])", re.ASCII)
_COUNT = re.compile(r"-?[0-9]{1,20}")
_STAMP = "timestamp"
_CUT = 9  # characters that QEMU's kvm_stat leaves of a name
_MANY = 3  # names of that length in a heading that are no chance


@dataclass(slots=True)
class Log:
    """One log; `names` are those of its heading, `separator` None: blanks."""

    line: int
    names: tuple[str, ...]
    separator: str | None
    rows: list[CounterRow] = field(default_factory=list)


class LogFinder:
    """Takes the lines of a text one by one; a heading counts once a row of as many figures follows it."""

    def __init__(self) -> None:
        self.logs: list[Log] = []
        self.notes: list[Note] = []
        self._heading: Log | None = None  # below which there is no row yet
        self._open: Log | None = None

    def take(self, line: int, text: str) -> bool:
        """Take a line into the log that is open, or a heading. False: it is of no log."""
        heading = _read_heading(line, text)
        if heading is not None:
            is_same = self._open and (self._open.names, self._open.separator) == (heading.names, heading.separator)
            if not is_same:
                self._heading, self._open = heading, None
            return True
        log = self._open or self._heading
        if log is None or not text.strip():
            return log is not None and self._open is not None
        cells = _cells(log, text)
        if cells is None:
            return self._take_other(log, line, text)
        at, figures = cells
        if self._open is None:
            if len(log.names) == 1 and at is None:  # a word and a number are prose
                self._heading = None
                return False
            self._begin(log)
        if len(figures) != len(log.names):
            what = f"expected {len(log.names)} figures as in the heading, found {len(figures)}: not read"
            self.notes.append(Note(f"line {line}", what))
        else:
            log.rows += _rows(log, line, at, figures)
        return True

    def _begin(self, log: Log) -> None:
        self._open, self._heading = log, None
        self.logs.append(log)
        cut = [name for name in log.names if len(name) == _CUT]
        if len(cut) >= _MANY and max(map(len, log.names)) == _CUT:
            what = (
                f"names are cut to {_CUT} characters ({', '.join(cut[:_MANY])}, …): events with one beginning are one"
            )
            self.notes.append(Note(f"line {log.line}", what))

    def _take_other(self, log: Log, line: int, text: str) -> bool:
        """End the log at a line that is no row of it, and say so where it looks like one."""
        is_row = self._open is not None and (_AT.match(text.lstrip()) or text.lstrip()[:1].isdigit())
        if is_row:
            what = f"looks like a row of the log of line {log.line} and is not read: {shown(text)}"
            self.notes.append(Note(f"line {line}", what))
            return True
        self._open = self._heading = None
        return False


def _read_heading(line: int, text: str) -> Log | None:
    """Read a heading: names and nothing else, one of which is of KVM."""
    if "_" not in text and "exits" not in text:  # most lines of a text, and none of the headings
        return None
    separator = "," if text.startswith(f"{_STAMP},") else None
    names = tuple(text.split(separator))
    if separator:
        names = names[1:]
    if not names or not all(map(_NAME.fullmatch, names)):
        return None
    known = sum(map(is_known, names))
    enough = known > len(names) // 2 or (separator and known)
    return Log(line, names, separator) if enough else None


def _cells(log: Log, text: str) -> tuple[str | None, list[str]] | None:
    """Return time and figures of a row; None: it is none, or one that stands alone where a row has many."""
    text = text.strip()
    stamp = _AT.match(text)
    at = _iso(stamp[1]) if stamp else None
    if stamp and at is None:
        return None
    figures = text[stamp.end() :].split(log.separator) if stamp else text.split(log.separator)
    if log.separator and stamp:
        figures = figures[1:]
    if not figures or not all(map(_COUNT.fullmatch, figures)):
        return None
    return at, figures


def _rows(log: Log, line: int, at: str | None, figures: list[str]) -> list[CounterRow]:
    rows = []
    for name, figure in zip(log.names, figures, strict=True):
        event, system, part = split_name(name)
        value, is_exact = read_count(figure)
        rows.append(CounterRow(line, event, value, system, part=part, logged_at=at, is_exact=is_exact))
    return rows


def _iso(printed: str) -> str | None:
    """Return a local time as ISO 8601, None if there is no such time."""
    try:
        return datetime.strptime(printed, "%Y-%m-%d %H:%M:%S").isoformat()  # noqa: DTZ007 - no time zone is logged
    except ValueError:
        return None
