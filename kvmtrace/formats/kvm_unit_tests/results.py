"""Lines that run_tests.sh prints one below the other: `PASS name (12 tests)`, or TAP version 13 with -t.

Other programs print such lines too. A block of them is taken where one of them says what only run_tests.sh says, or
where they name tests of kvm-unit-tests.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kvmtrace.formats.kvm_unit_tests import reports
from kvmtrace.recording import Note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmtrace.formats.kvm_unit_tests.rows import Row

_ENOUGH = 2  # names of tests that vouch for each other
_TAP_HEADING = "TAP version 13"
_TAP_PLAN = re.compile(r"1\.\.([0-9]{1,9})")


class Results:
    """Takes the lines of a text one by one; `rows` are those of blocks that have ended."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.notes: list[Note] = []
        self.certain = False
        self._block: list[Row] = []
        self._tap: list[Row] | None = None  # None: no heading of TAP

    def take(self, text: str, line: int) -> bool:
        """Take a line into a block. False: it is none of these lines, and what stands above it has ended."""
        if text == _TAP_HEADING:
            self.end()
            self._tap = []
            return True
        if self._tap is not None:
            return self._take_tap(self._tap, text, line)
        result = reports.read_result(text, line)
        if result is not None:
            self._block.append(result)
            return True
        self.end_block()
        return False

    def end(self) -> None:
        """End every block."""
        self.end_block()
        if self._tap:
            self.notes.append(Note(f"line {self._tap[-1].line}", "TAP without the plan that ends it: may be cut"))
            self._keep(self._tap)
        self._tap = None

    def _take_tap(self, tap: list[Row], text: str, line: int) -> bool:
        row = reports.read_tap(text, line)
        plan = _TAP_PLAN.fullmatch(text)
        if row is not None:
            tap.append(row)
        elif plan and tap:
            if len(tap) != int(plan[1]):
                self.notes.append(Note(f"line {line}", f"the plan says {plan[1]} results, found {len(tap)}"))
            self._keep(tap)
            self._tap = None
        return row is not None or plan is not None

    def end_block(self) -> None:
        """End a block of lines without a heading: a line of another kind has come."""
        if self._block:
            self._keep(self._block)
            self._block = []

    def _keep(self, block: Sequence[Row]) -> None:
        known = {row.test for row in block if row.test and reports.is_known_test(row.test)}
        if len(known) >= _ENOUGH or any(map(reports.is_own_result, block)):
            self.certain = True
            self.rows += block
            return
        # A single line with brackets may stand in a log that something else makes certain.
        self.rows += [row for row in block if row.message is not None or (row.test in known)]
