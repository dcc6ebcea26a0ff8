"""What stands before an event's name in a line: the shapes that recorders give it, as regular expressions.

    ftrace       comm-tid [(tgid)] [cpu] [flags] time:       kernel/trace/trace_output.c, and trace-cmd's trace-read.c
    latency      comm-tid CPUflags time-us-mark:             the same, latency-format, and ftrace_dump in dmesg
    verbose      comm tid cpu … [stamp] ms (+ms):
    perf         [VM: VCPU:] comm [pid/]tid [cpu] [misc] time: [period]       tools/perf/builtin-script.c
    bare         nothing

comm may hold blanks, dashes, digits and brackets: the shortest that lets the rest fit is taken.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

LONGEST = 256
"""Bytes of a line in which its prefix and its event's name must stand."""

_DMESG = (
    r"(?:(?:.{0,80}?kernel: )?(?:<\d{1,3}>)?\[[ ]*(?P<dsecs>\d{1,10})\.(?P<dfrac>\d{6})\](?:\[[ \w]{1,12}\])?[ ]?)?"
)
_TASK = r"[ \t]*(?P<comm>.{0,64}?)-(?P<tid>\d{1,10})[ \t]+(?:\([ ]*(?P<pid>\d{1,10}|-{1,10})\)[ \t]+)?"
_TIME = r"(?P<secs>\d{1,16})(?:\.(?P<frac>\d{9}|\d{6}))?:"
_PART = r"(?:(?P<part>[^\s:\[\]()-]{1,64}):[ \t]+)?"
_FTRACE = r"\[(?P<cpu>\d{1,5})\](?:[ \t]+(?P<flags>[^\s\d\[(]\S{3,5})(?=[ \t]))?[ \t]*" + _TIME
_PERF = (
    r"(?:VM:[ ]*(?P<vm>\d{1,10})[ ]VCPU:[ ]*(?P<vcpu>\d{1,10})[ ]+)?"
    r"[ \t]*(?:(?P<comm>\S.{0,32}?)[ \t]+)??(?:(?:(?P<pid>-?\d{1,10})/)?(?P<tid>-?\d{1,10})[ \t]+)?"
    r"(?:\[(?P<cpu>-?\d{1,5})\][ \t]+)?(?:(?P<misc>[A-Za-z]{1,6})[ \t]+)?"
)
_PERIOD = r"(?:[ \t]+(?P<period>\d{1,16})(?=[ \t]))?"
_EVENT = r"(?:[A-Za-z0-9_.-]{1,64}:)?[A-Za-z0-9_.-]{1,64}"
_NAME = rf"[ \t]*(?P<name>{_EVENT}):(?=[ \t]|$)[ \t]*"
NAME = re.compile(_EVENT.encode())
"""An event's name, with its system or without."""


@dataclass(frozen=True)
class Shape:
    """One shape of prefixes. `whole` is a line's prefix (to `stop`) and name: it ends where the event's text begins."""

    name: str
    whole: re.Pattern[bytes]
    sign: re.Pattern[bytes]  # what a line of this shape has in it: found faster than the whole
    unit: str = "s"  # of what stands before the dot: s, ms, us; none: the line has no time
    relative: bool = False  # times count from the start of the text


def _shape(name: str, prefix: str, sign: str, unit: str = "s", *, relative: bool = False) -> Shape:
    whole = re.compile((prefix + "(?P<stop>)" + _NAME).encode(), re.DOTALL)
    return Shape(name, whole, re.compile(sign.encode()), unit, relative)


@cache
def shapes(grammar: str) -> tuple[Shape, ...]:
    """Return the shapes of a grammar (ftrace, trace-cmd-report, perf-script), the usual ones first."""
    if grammar == "perf-script":
        timed = _PERF + r"(?P<secs>\d{1,12})\.(?P<frac>\d{9}|\d{6}):" + _PERIOD
        return (
            _shape("perf", timed, r"\.\d{6}(?:\d{3})?:"),
            _shape("perf, no time", _PERF + r"(?=[\w-]+:[\w-]+:)", r"\w:\w[^ \t]*:", ""),
        )
    part = _PART if grammar == "trace-cmd-report" else _DMESG
    latency = r"(?P<cpu>\d{1,5})(?P<flags>[.dDXbB]\S{3,4})[ \t]+(?P<secs>\d{1,15})us(?P<mark>.):"
    verbose = (
        r"[ \t]*(?P<comm>.{0,64}?)[ \t]+(?P<tid>\d{1,10})[ \t]+(?P<cpu>\d{1,5})[ \t]+\d[ \t]+[0-9a-f]{8}[ \t]+"
        r"(?:[0-9a-f]{8}[ \t]+)?\[[0-9a-f]{1,16}\][ \t]+(?P<secs>\d{1,12})\.(?P<frac>\d{3})ms \(\+\d+\.\d{3}ms\):"
    )
    return (
        _shape("ftrace", part + _TASK + _FTRACE, r"\[\d+\]"),
        _shape("latency", part + _TASK + latency, r"\dus", "us", relative=True),
        _shape("verbose", part + verbose, r"\dms \(", "ms", relative=True),
    )


@cache
def bare() -> Shape:
    """Return the shape of lines that begin with the event's name."""
    return _shape("bare", "", ":", "")
