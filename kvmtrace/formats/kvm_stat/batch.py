"""What `kvm_stat -1` prints: `%-42s%10d%10d`, an event, its total and how often it came in one second.

Before Linux 4.11 the name had 22 columns. Only rows of just that form are taken, since a table of two runs of an
event looks the same otherwise; below a command line of kvm_stat the blanks do not matter.
"""

from __future__ import annotations

import re

from kvmtrace.formats.kvm_stat.rows import CounterRow, is_known, read_count, split_name

_NAME = r"[A-Za-z_][\w-]{1,60}(?:\([^()\s]{1,60}\))?"
_NAME_ONLY = re.compile(_NAME, re.ASCII)
_COUNT = re.compile(r"-?[0-9]{1,20}")
_ROW = re.compile(rf"[ \t]*({_NAME})[ \t]+(-?[0-9]{{1,20}})[ \t]+(-?[0-9]{{1,20}})", re.ASCII)
_COMMAND = re.compile(r".{0,60}\bkvm_stat\b.*\s(?:-1|--once|--batch)\b.{0,60}")
_WIDTHS = (42, 22)
_ENOUGH = 2  # rows with names of KVM's


class BatchFinder:
    """Takes the lines of a text one by one; `tables` are those that have ended and count."""

    def __init__(self) -> None:
        self.tables: list[list[CounterRow]] = []
        self._block: list[CounterRow] = []
        self._told = False  # a command line of kvm_stat stands above

    def take(self, line: int, text: str) -> bool:
        """Take a line into the table that is open, or open one. False: it is of no table."""
        if "kvm_stat" in text and _COMMAND.fullmatch(text):
            self.end()
            self._told = True
            return True
        if not text and not self._block:
            return False
        row = _read(text, line, loose=self._told)
        if row is None:
            self.end()
            return False
        if self._block and _key(row) <= _key(self._block[-1]):
            told = self._told
            self.end()
            self._told = told
        self._block.append(row)
        return True

    def end(self) -> None:
        """End the table that is open: it counts if enough of its names are known."""
        block, told = self._block, self._told
        self._block, self._told = [], False
        known = sum(is_known(row.event) for row in block)
        if known >= (1 if told else _ENOUGH):
            self.tables.append(block)


def _read(text: str, line: int, *, loose: bool) -> CounterRow | None:
    if not text[-1:].isdigit():
        return None
    for width in _WIDTHS:
        body = text[-(width + 20) :] if len(text) >= width + 20 else ""
        name, total, delta = body[:width].rstrip(), body[width : width + 10].strip(), body[width + 10 :].strip()
        is_indented = not text[: -len(body) or None].strip()
        if is_indented and _is_count(total) and _is_count(delta) and _NAME_ONLY.fullmatch(name):
            return _row(line, name, total, delta)
    match = _ROW.fullmatch(text) if loose else None
    return _row(line, match[1], match[2], match[3]) if match else None


def _row(line: int, name: str, total: str, delta: str) -> CounterRow:
    event, system, part = split_name(name)
    value, is_exact = read_count(total)
    return CounterRow(line, event, value, system, part=part, rate_per_s=float(delta), is_exact=is_exact)


def _is_count(printed: str) -> bool:
    return _COUNT.fullmatch(printed) is not None


def _key(row: CounterRow) -> str:
    return f"{row.event}({row.part})" if row.part is not None else row.event
