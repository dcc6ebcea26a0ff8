"""Lines that are no events: headers, losses, and what else recorders write between events."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST = 512
"""Bytes of such a line that are looked at."""

TRACER = b"# tracer:"
"""Begins every text of tracefs, and so each trace of several in one text."""

_WRITTEN = re.compile(rb"entries-in-buffer/entries-written: (\d{1,18})/(\d{1,18})")
_LATENCY = re.compile(rb"# \S+ latency trace v[\d.]+ on (\S+)")
_CLOCK = re.compile(rb"#? ?clock(?:source)?: ?(\S{1,32})")
_PERF_HEADER = re.compile(rb"# (hostname|os release|perf version|arch|nrcpus online|nrcpus avail|cpudesc|cpuid|"
                          rb"cmdline|captured on)\s*: (.*)")  # fmt: skip
_LOST = re.compile(rb"\s*CPU:(\d{1,5}) \[(?:LOST (?:(\d{1,18}) )?EVENTS|(\d{1,18}) EVENTS DROPPED)\]")
_LOST_SHORT = re.compile(rb"\s*(?:.{0,64}-\d{1,10}\s+)?\[(\d{1,18}) EVENTS DROPPED\]")
_PERF_LOST = re.compile(rb".{0,160}?PERF_RECORD_LOST(?:_SAMPLES)?\b(?:\s+lost)? (\d{1,18})")
_PROSE = re.compile(
    rb"[> \t|]*(?:#|cpus=\d+|version = \d|CPU \d+ is empty|trace-cmd: )|[^\n]{0,160}\bPERF_RECORD_[A-Z]"
    rb"|[ \t]+[0-9a-f]{1,16}[ \t]"  # a call chain
)
_WORD = re.compile(rb"(?:^|[\s:])((?:[A-Za-z0-9_.-]{1,64}:)?[A-Za-z0-9_.-]{1,64}):(?=[ \t]|$)")
_CPU_OF_LINE = re.compile(rb"\[(\d{1,5})\]")
_HOST = {
    b"hostname": "hostname", b"os release": "kernel", b"arch": "arch", b"cpudesc": "cpu", b"cpuid": "cpuid",
}  # fmt: skip
_COUNTS = {b"nrcpus online": "cpus_online", b"nrcpus avail": "cpus_available"}
_TOOL = {b"perf version": "version", b"cmdline": "cmdline"}


@dataclass(slots=True)
class Header:
    """What the comments of a text say of the recording."""

    host: dict[str, str | int] = field(default_factory=dict)
    tool: dict[str, str] = field(default_factory=dict)
    overwritten: int = 0  # events that were overwritten before the text begins
    clock: str | None = None

    def take(self, line: bytes) -> None:
        """Look at one comment."""
        if (written := _WRITTEN.search(line)) is not None:
            self.overwritten += max(0, int(written[2]) - int(written[1]))
        elif (latency := _LATENCY.match(line)) is not None:
            self.host["kernel"] = latency[1].decode(errors="backslashreplace")
        elif (said := _PERF_HEADER.match(line)) is not None:
            self._perf(said[1], said[2].strip().decode(errors="backslashreplace"))
        elif (clock := _CLOCK.fullmatch(line)) is not None:
            self.clock = clock[1].decode(errors="backslashreplace")

    def _perf(self, name: bytes, value: str) -> None:
        if name in _HOST:
            self.host[_HOST[name]] = value
        elif name in _COUNTS and value.isdecimal() and len(value) < 6:  # noqa: PLR2004
            self.host[_COUNTS[name]] = int(value)
        elif name in _TOOL:
            self.tool[_TOOL[name]] = value


@dataclass(frozen=True, slots=True)
class LossLine:
    """A line that tells of lost events: how many (None: not told), and on which CPU."""

    said_by: str
    events: int | None
    cpu: int | None


def is_prose(line: bytes) -> bool:
    """Tell whether a line is what recorders write between events: a comment, a header, a record of perf itself."""
    return _PROSE.match(line) is not None


def names_event(line: bytes, knows: Callable[[str], bool]) -> bool:
    """Tell whether the name of an event that is known stands in a line as before the event's text."""
    return any(knows(match[1].decode("latin-1")) for match in _WORD.finditer(line))


def loss_line(line: bytes) -> LossLine | None:
    """Read a line that tells of lost events; None: it does not."""
    if (lost := _LOST.match(line)) is not None:
        count = lost[2] or lost[3]
        return LossLine(
            "LOST EVENTS" if lost[3] is None else "EVENTS DROPPED", int(count) if count else None, int(lost[1])
        )
    if (dropped := _LOST_SHORT.match(line)) is not None:
        return LossLine("EVENTS DROPPED", int(dropped[1]), None)
    if (perf := _PERF_LOST.match(line)) is not None:
        cpu = _CPU_OF_LINE.search(line[: perf.start(1)])
        return LossLine("PERF_RECORD_LOST", int(perf[1]), int(cpu[1]) if cpu else None)
    return None
