"""Figures of the other tests that measure: arm/micro-bench.c, x86/tscdeadline_latency.c, kvmclock_test.c, tsc.c.

    name                                    total ns                         avg ns
    --------------------------------------------------------------------------------------------
    hyp_call                               292.5                               4.0

micro-bench prints two integers around each dot: nanoseconds, and a remainder that is divided on its own for the mean
and has no zeros in front. They are no decimals, so the value is the nanoseconds and the remainder is its message.
"""

from __future__ import annotations

import re

from kvmtrace.formats.kvm_unit_tests.rows import Row

MICRO_BENCH = "micro-bench"
DEADLINE = "tscdeadline_latency"

_NUMBER = r"[0-9]{1,18}"
_HEADING = re.compile(r"[ \t]*name[ \t]+total ns[ \t]+avg(?: ns)?")
_ROW = re.compile(rf"[ \t]*(\S{{1,60}})[ \t]+({_NUMBER})\.({_NUMBER})[ \t]+({_NUMBER})\.({_NUMBER})")
_FIRST_HALF = re.compile(rf"[ \t]*\S{{1,60}}[ \t]+{_NUMBER}\.{_NUMBER}")  # of a row that a mail wrapped
_SECOND_HALF = re.compile(rf"[ \t]*(?:ns|{_NUMBER}\.{_NUMBER})")
_SKIPPED = re.compile(r"[ \t]*(\S{1,60}) test skipped")
_RULE = re.compile(r"[ \t]*-{10,}")

_DEADLINE = re.compile(r"(?:breakmax=-?[0-9]{1,10}|tsc deadline timer enabled)")
_LATENCY = re.compile(rf"(hit max: -?[0-9]{{1,10}} < )?latency: (-?{_NUMBER})")
_NAMED = re.compile(
    rf"(Total vcpus|Test  loops|Total warps|Total stalls|Worst warp|TSC cycles|rdtsc latency):?[ ]+(-?{_NUMBER})",
)
_TSC = {"TSC cycles", "rdtsc latency"}


class OtherFigures:
    """Takes the lines of a text one by one and knows which of these tests is running."""

    def __init__(self) -> None:
        self.took = False  # the last line was one of theirs, with rows or without
        self._test: str | None = None
        self._half = ("", 0)  # first half of a wrapped row, and its line

    def take(self, text: str, line: int) -> list[Row]:
        """Return the rows of a line, if it is one of these tests and no heading."""
        self.took = True
        if _HEADING.fullmatch(text):
            self._test = MICRO_BENCH
        elif _DEADLINE.fullmatch(text):
            self._test = DEADLINE
        elif self._test == MICRO_BENCH:
            return self._take_micro_bench(text, line)
        elif self._test == DEADLINE and (latency := _latency(text, line)):
            return [latency]
        else:
            self.took = False
        return []

    def _take_micro_bench(self, text: str, line: int) -> list[Row]:
        (half, half_line), self._half = self._half, ("", 0)
        if half and _SECOND_HALF.fullmatch(text):
            text, line = f"{half} {text}", half_line
        elif _RULE.fullmatch(text) or _SECOND_HALF.fullmatch(text):
            return []
        elif _FIRST_HALF.fullmatch(text):
            self._half = (text, line)
            return []
        skipped = _SKIPPED.fullmatch(text)
        if skipped:
            return [Row(line, skipped[1], "skip", MICRO_BENCH, message="test skipped")]
        match = _ROW.fullmatch(text)
        if match is None:
            self._test = None
            self.took = False
            return []
        return [
            Row(line, match[1], "measured", MICRO_BENCH, float(ns), "ns", statistic, None, f"remainder {remainder}")
            for ns, remainder, statistic in ((match[2], match[3], "total"), (match[4], match[5], "mean"))
        ]


def read_named(text: str, line: int) -> Row | None:
    """Read a figure of x86/kvmclock_test.c or x86/tsc.c; only the lines around it tell that it is theirs."""
    match = _NAMED.fullmatch(text)
    if match is None:
        return None
    unit, clock = ("cycles", "TSC") if match[1] in _TSC else (None, None)
    test = "tsc" if match[1] == "rdtsc latency" else "kvmclock_test"
    return Row(line, match[1], "measured", test, float(match[2]), unit, None, clock, repeats=True)


def _latency(text: str, line: int) -> Row | None:
    match = _LATENCY.fullmatch(text)
    if match is None:
        return None
    message = match[1].rstrip(" <") if match[1] else None
    return Row(line, "latency", "measured", DEADLINE, float(match[2]), "cycles", None, "TSC", message, repeats=True)
