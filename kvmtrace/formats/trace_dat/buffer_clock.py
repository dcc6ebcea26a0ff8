"""Which clock a buffer has, and how its ticks become ns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmtrace.errors import InputError
from kvmtrace.formats.trace_dat import clocks
from kvmtrace.formats.trace_dat.clocks import Clock
from kvmtrace.recording import Note

if TYPE_CHECKING:
    from kvmtrace.formats.source import Source
    from kvmtrace.formats.trace_dat.container import Buffer
    from kvmtrace.formats.trace_dat.options import Said


@dataclass(frozen=True, slots=True)
class BufferClock:
    """The clock of a buffer: its name, how its ticks become ns, and the ticks in a second where the user's count."""

    name: str | None
    clock: Clock
    said_hz: int | None = None


def clock_of(source: Source, buffer: Buffer, said: Said, notes: list[Note]) -> BufferClock:
    """Return the clock of a buffer. InputError: nothing says how its ticks become ns."""
    name = buffer.clock or said.clock
    hz = clocks.uptime_hz(name, str(said.host.get("kernel", "")))
    rate = said_hz = None
    if not clocks.counts_ns(name) and name != "uptime":
        hz = said_hz = source.clock_hz
        rate = said.rate if hz is None else None
        if rate is None and hz is None:
            raise _no_unit(source, name)
    elif said.rate is not None:
        if name is None:
            rate = said.rate
        else:
            notes.append(
                Note("option TSC2NSEC", f"the clock {name} counts no ticks of a TSC: its times stand as they are")
            )
    if not clocks.is_known(name):
        notes.append(Note("buffers", f"{buffer.title}: the clock {name} is not known, and is taken for one of ns"))
    return BufferClock(name, Clock(said.shifts, rate, hz, said.offset_ns), said_hz)


def _no_unit(source: Source, name: str | None) -> InputError:
    message = f"expected a clock that counts time, found ticks of {name}, and nothing says how many make a second"
    hints = {
        "counter": "it counts events, not time; record with another: trace-cmd record -C mono -e kvm",
        "ppc-tb": "say it: --clock-hz 512000000 (timebase in the host's /proc/cpuinfo)",
    }
    told = "say it: --clock-hz 2400000000 (dmesg of the host names the TSC's frequency)"
    return InputError(source.path, message, hint=hints.get(str(name), told))
