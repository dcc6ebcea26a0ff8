"""Where the tables of `perf stat` stand in a text: headings, footers and the lines between them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from email.utils import parsedate

from kvmtrace.formats.perf_stat.rows import LONGEST, looks_like_row
from kvmtrace.recording import Note

HEADING = "Performance counter stats for"

_FOOTER = "seconds time elapsed"
_LONGEST_LABEL = 60  # characters; a longer line above a table is prose
_LONGEST_HEADING = 1 << 14  # characters; a longer one has lost its end
_NS_PER_S = 10**9

_NUMBER = r"[0-9]{1,9}(?:[.,][0-9]{1,12})?"
_ELAPSED = re.compile(rf"[ \t]*({_NUMBER})(?:[ \t]+\+-[ \t]+{_NUMBER})?[ \t]+{_FOOTER}")
_REPEATS = re.compile(r"[ ]\(([0-9]{1,9}) runs\):$")
_STARTED = re.compile(r"[ \t]*# started on (.{1,40})")
_COMMAND = re.compile(r"[ \t]*(?:\$|# ?perf\b|# started on)")
_ONE_REPEAT = re.compile(rf"[ \t]*{_NUMBER} \([+-]{_NUMBER}\) #+[ \t]*")  # --table

_QUOTING = re.compile(r"(?:[>|][ ]?)+")
_SPACE = re.compile(r"(?<![0-9])[\u00a0\u202f\u2009]|[\u00a0\u202f\u2009](?![0-9])")  # between digits it groups them
_STRAY_BYTE = re.compile("[\udc80-\udcff]")
_LATIN_1 = {0xDC00 + byte: byte for byte in range(0x80, 0x100)}  # "surrogateescape" undone
_UNDECODED = re.compile("[\ud800-\udfff\ufffd]")

_JSON = '"counter-value"'
_INTERVALS = re.compile(r"[ \t]*(?:#[ \t]+time[ \t]|[0-9]{1,9}[.,][0-9]{9}[ \t]+(?!seconds\b)\S)")
_ROW = re.compile(r"[ \t]*(?:[0-9<]\S*[ \t]+){1,3}[A-Za-z_][\w-]*:[A-Za-z_]", re.ASCII)
_CSV = re.compile(
    r"(?<![0-9.])(?:[0-9.]+|<not counted>|<not supported>)([,;|\t])[\w%/.-]*\1[A-Za-z_][\w:/.-]*\1"
    r"(?:[0-9.]+%\1)?[0-9]+\1[0-9.]",
    re.ASCII,
)


@dataclass(slots=True)
class StatTable:
    """One table; `lines` are those below its heading and above its footer, with their numbers, unquoted."""

    line: int  # of its heading
    target: str  # what was counted, as the heading says: 'sleep 1', 'system wide', process id '12'
    label: str | None  # what the line above it calls it ("Before:")
    start: str | None  # ISO 8601, local time of the host
    repeats: int | None = None
    lines: list[tuple[int, str]] = field(default_factory=list)
    footer: str = ""
    notes: list[Note] = field(default_factory=list)

    @property
    def elapsed_ns(self) -> int | None:
        """Wall time of the command, the mean of the repeats; with --delay the counters ran for less. None: not told."""
        match = _ELAPSED.match(self.footer)
        return int(Decimal(match[1].replace(",", ".")) * _NS_PER_S) if match else None


def find_tables(text: str) -> tuple[list[StatTable], list[Note]]:
    """Return the tables of a text in order, and notes on what stands outside of them."""
    text, notes = _repair(text)
    finder = _Finder()
    for line, content in enumerate(text.split("\n"), start=1):
        quoting = _QUOTING.match(content)
        finder.take(line, content[quoting.end() :] if quoting else content)
    for form, lines in finder.strays.items():
        notes.append(Note(f"line {lines[0]}", f"{form}, here first: not read ({len(lines)} lines)"))
    return finder.tables, notes


def other_form(text: str) -> str | None:
    """Name the form of `perf stat` that a text without a heading has, None if it has none."""
    return next(filter(None, map(_form, text.split("\n"))), None)


def _form(line: str) -> str | None:
    """Name the form of `perf stat` that a line outside of a table belongs to."""
    if _JSON in line:
        return "JSON of `perf stat -j`"
    line = line[:LONGEST]
    if _INTERVALS.match(line):
        return "intervals of `perf stat -I`"
    if _CSV.search(line):
        return "CSV of `perf stat -x`"
    if _ROW.match(line):
        return "counters without a heading"
    return None


class _Finder:
    """Takes the lines of a text one by one."""

    def __init__(self) -> None:
        self.tables: list[StatTable] = []
        self.strays: dict[str, list[int]] = {}  # form of `perf stat` → lines outside of tables that have it
        self._open: StatTable | None = None
        self._in_heading = False  # a command's newlines and mail break it
        self._above = ""  # the last line that is neither blank nor the command itself
        self._start: str | None = None

    def take(self, line: int, text: str) -> None:
        started = _STARTED.match(text)
        if HEADING in text:
            self._begin(line, *text.split(HEADING, 1))
        elif started:
            self._open, self._start = None, _iso(started[1])
        elif self._open is None or _JSON in text:
            form = _form(text)
            if form:
                self.strays.setdefault(form, []).append(line)
        elif not (self._in_heading and self._continues_heading(self._open, text)):
            self._take_line(self._open, line, text)
        if text.strip() and not _COMMAND.match(text):
            self._above = text.strip()

    def _begin(self, line: int, before: str, target: str) -> None:
        label = before.strip() or self._above
        if not label.endswith(":") or label.startswith("[") or HEADING in label or len(label) > _LONGEST_LABEL:
            label = ""  # a libtraceevent warning begins with [
        table = StatTable(line, target="", label=label or None, start=self._start)
        self.tables.append(table)
        self._open, self._start = table, None
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
        if _FOOTER in text:
            self._open = None
            table.footer = text
            if table.elapsed_ns is None:
                table.notes.append(Note(f"line {line}", "the time elapsed cannot be read"))
        elif not _ONE_REPEAT.fullmatch(text):
            table.lines.append((line, text))


def _repair(text: str) -> tuple[str, list[Note]]:
    """Read stray bytes as Latin-1, spaces of any kind as spaces where they do not group digits, CRLF as LF."""
    notes = []
    for pattern, what in (
        (_STRAY_BYTE, "bytes that are not UTF-8, here first: read as Latin-1"),
        (_UNDECODED, "characters that were lost in decoding, here first"),
    ):
        match = pattern.search(text)
        if match:
            notes.append(Note(f"line {text.count(chr(10), 0, match.start()) + 1}", what))
            text = _UNDECODED.sub("\ufffd", text.translate(_LATIN_1))
    return _SPACE.sub(" ", text.replace("\r\n", "\n")), notes


def _iso(printed: str) -> str | None:
    """Return a time that ctime(3) printed as ISO 8601, None if it is not one."""
    parts = parsedate(printed)
    try:
        return datetime(*parts[:6]).isoformat() if parts else None  # noqa: DTZ001 - perf prints no time zone
    except ValueError:
        return None
