"""Snapshots as blocks of lines, for pipes and files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TextIO

from kvmtrace.report.text import lay_out
from kvmtrace.watch.table import View, headline, table

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvmtrace.watch.onlooker import Totals
    from kvmtrace.watch.snapshot import Snapshot


def block(snapshot: Snapshot, totals: Totals, view: View, *, unicode: bool = True) -> str:
    """Return a line that says what is shown, the table, and an empty line."""
    shown = table(snapshot, view)
    head = f"{headline(snapshot, totals)}\n"
    if not shown.rows:
        return head + "\n"
    return head + lay_out([shown], unicode=unicode).partition("\n")[2] + "\n"


class Lines:
    """Writes at once. Where nobody reads any more nothing is written, and `left` is called, once."""

    def __init__(self, stream: TextIO, left: Callable[[], None]) -> None:
        self._stream = stream
        self._left = left
        self._gone = False

    def write(self, text: str) -> None:
        """Write lines."""
        if self._gone:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except BrokenPipeError:
            self._gone = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())  # Python would flush it at exit, and fail
            self._left()
