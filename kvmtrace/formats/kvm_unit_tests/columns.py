"""Tables of vmexit with a column for each kernel, as they stand in mails.

                         before   after
    cpuid                 14886   13142
    vmcall                14918   13189

Each column is a run of its own; the heading tells which.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kvmtrace.formats.kvm_unit_tests import vmexit

if TYPE_CHECKING:
    from kvmtrace.formats.kvm_unit_tests.rows import Row

_ENOUGH = 2  # lines that vouch for each other
_MOST = 8  # columns
_CELL = re.compile(r"[ \t]*([\w:-]{2,80})[ \t]+(-?[0-9]{1,19}(?:[ \t]+-?[0-9]{1,19}){1,7})", re.ASCII)
_WORD = re.compile(r"[^\W\d]")
_GAP = re.compile(r"[ \t]{2,}|\t")


class Columns:
    """Takes the lines of a text one by one; `tables` are the columns of those that have ended: label and rows."""

    def __init__(self) -> None:
        self.tables: list[tuple[str, list[Row]]] = []
        self._heading: list[str] = []
        self._lines: list[list[Row]] = []

    def take(self, line: int, text: str, above: str) -> bool:
        """Take a line with a known name and as many figures as the line `above` the first has words."""
        match = _CELL.fullmatch(text)
        figures = match[2].split() if match else []
        if match is None or not vmexit.is_name(match[1]):
            return False
        if not self._lines:
            self._heading = _heading(above, len(figures))
        if len(self._heading) != len(figures):
            return False
        rows = [vmexit.read_row(f"{match[1]} {figure}", line) for figure in figures]
        self._lines.append([row for row in rows if row is not None])
        return True

    def end(self) -> None:
        """End the table that is open."""
        if len(self._lines) >= _ENOUGH:
            self.tables += [
                (label, list(rows)) for label, rows in zip(self._heading, zip(*self._lines, strict=True), strict=True)
            ]
        self._lines = []

    @property
    def is_open(self) -> bool:
        """Whether the last line was one of a table."""
        return bool(self._lines)


def _heading(above: str, columns: int) -> list[str]:
    """Return the words of a heading that has one for each column, and perhaps one for the names."""
    for words in (_GAP.split(above.strip()), above.split()):
        for cells in (words, words[1:]):
            if len(cells) == columns <= _MOST and all(map(_WORD.search, cells)):
                return cells
    return []
