"""What stands above a table and between its rows: the command, the scope, the time, and perf's warnings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kvmtrace.formats.perf_kvm_stat.lines import LONGEST
from kvmtrace.formats.text_lines import shown
from kvmtrace.recording import Note, Notes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmtrace.formats.perf_kvm_stat.lines import Line

_MOST_CODES = 64  # of exit codes without a name that one table keeps apart
_LONGEST_PROMPT = 200

_HEADING = re.compile(r"Analyze events for (.{0,1000}\bVCPU(?:s| [0-9]{1,9}))[ \t]*:")
_HEADING_BEGUN = "Analyze events for "
_CLOCK = re.compile(r"[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}", re.ASCII)
_CLOCK_LENGTH = len("00:00:00.000000")
_COMMAND = re.compile(r"perf kvm (?:.{0,1000} )?stat (?:report|live)\b.{0,1000}")
_COMMAND_BEGUN = "perf kvm "
_PROMPT = re.compile(r"(?:.{0,200}[$#%>] ?)?(?:sudo )?(?:\S{0,200}/)?")
_NAMELESS = re.compile(r"unknown kvm exit code:(-?[0-9]{1,20}) on (\S{1,32})", re.ASCII)
_LOSSES = re.compile(r"Processed [0-9]{1,20} (?:events|samples) and lost .{1,40}", re.ASCII)
_LONG_EVENT = re.compile(
    r"[0-9]{1,20} VM -?[0-9]{1,10}, vcpu -?[0-9]{1,10}: .{1,80} event took [0-9]{1,20}usec", re.ASCII
)


def read_heading(text: str, following: str) -> tuple[str, int] | None:
    """Read `Analyze events for SCOPE:`, which a mail may break; return the scope and how many lines it took."""
    begin = text.find(_HEADING_BEGUN)
    if begin < 0:
        return None
    for lines, whole in enumerate((text, f"{text} {following}"), start=1):
        match = _HEADING.match(whole[begin : begin + LONGEST])
        if match:
            return " ".join(match[1].split()), lines
    return None


def read_clock(text: str) -> str | None:
    """Read the time of day that `perf kvm stat live` puts above each table."""
    return text if len(text) == _CLOCK_LENGTH and _CLOCK.fullmatch(text) else None


def read_command(text: str) -> str | None:
    """Read the command of a table, behind a prompt or at the start of a line: elsewhere it is prose."""
    begin = text.find(_COMMAND_BEGUN)
    if begin < 0:
        return None
    match, prompt = _COMMAND.match(text, begin), text[:begin]
    if match is None or len(prompt) > _LONGEST_PROMPT or not _PROMPT.fullmatch(prompt):
        return None
    return match[0].strip()


class Surroundings:
    """What is known of a table beside its rows. None is: not told."""

    def __init__(self) -> None:
        self.scope: str | None = None
        self.at: str | None = None
        self.command: str | None = None
        self.label: str | None = None  # what an author calls the table
        self._notes = Notes()
        self._nameless: dict[tuple[str, str], list[int]] = {}  # exit code, ISA → first line, how often, its rows
        self._long_events: list[int] = []  # first line, how often
        self._code: tuple[int, tuple[str, str]] | None = None  # the newest without a name, and the line that says it

    @property
    def isas(self) -> set[str]:
        """The ISAs that perf names in its warnings."""
        return {isa for _, isa in self._nameless}

    def take_warning(self, line: int, text: str) -> bool:
        """Take a line if perf warns in it. False: it is something else."""
        nameless = _NAMELESS.fullmatch(text)
        if nameless:
            key = nameless[1], nameless[2]
            if key in self._nameless or len(self._nameless) < _MOST_CODES:
                self._nameless.setdefault(key, [line, 0])[1] += 1
                self._code = line, key
        elif _LOSSES.match(text):
            self._notes.add(Note(f"line {line}", f"perf says of the recording: {shown(text)}"))
        elif _LONG_EVENT.match(text):
            first, count = self._long_events or (line, 0)
            self._long_events = [first, count + 1]
        else:
            return False
        return True

    def take_nameless_row(self, line: int, above: Line | None) -> None:
        """Take a row without a name: a warning right above it tells its exit code."""
        if self._code and above and self._code[0] == above.number:
            self._nameless[self._code[1]].append(line)

    def told(self) -> Iterator[Note]:
        """Yield notes on what perf said."""
        yield from self._notes.told()
        for (code, isa), (line, count, *rows) in self._nameless.items():
            whose = f": the row of line {rows[0]}" if rows else ""
            yield Note(f"line {line}", f"perf has no name for exit code {code} of {isa} ({count} times){whose}")
        if self._long_events:
            line, count = self._long_events
            yield Note(f"line {line}", f"long events (--duration), here first: not read ({count} lines)")
