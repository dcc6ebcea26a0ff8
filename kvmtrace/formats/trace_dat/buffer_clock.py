"""Which clock a buffer has, and how its ticks become ns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmtrace.errors import InputError
from kvmtrace.formats.trace_dat import clocks
from kvmtrace.formats.trace_dat.clocks import Clock
from kvmtrace.recording import Note

if TYPE_CHECKING:
    from kvmtrace.formats.source import Source
    from kvmtrace.formats.trace_dat.container import Buffer
    from kvmtrace.formats.trace_dat.options import Said


def clock_of(source: Source, buffer: Buffer, said: Said, notes: list[Note]) -> tuple[str | None, Clock]:
    """Return the name of the buffer's clock, and how its ticks become ns. InputError: nothing says how."""
    name = buffer.clock or said.clock
    hz = clocks.uptime_hz(name, str(said.host.get("kernel", "")))
    rate = None
    if not clocks.counts_ns(name) and name != "uptime":
        hz = source.clock_hz
        if hz is not None and not 0 < hz <= clocks.MAX_HZ:
            raise InputError(source.path, f"expected a clock of up to {clocks.MAX_HZ} Hz, found {hz}")
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
    return name, Clock(said.shifts, rate, hz, said.offset_ns)


def _no_unit(source: Source, name: str | None) -> InputError:
    message = f"expected a clock that counts time, found ticks of {name}, and nothing says how many make a second"
    hints = {
        "counter": "it counts events, not time; record with another: trace-cmd record -C mono -e kvm",
        "ppc-tb": "say it: --clock-hz 512000000 (timebase in the host's /proc/cpuinfo)",
    }
    told = "say it: --clock-hz 2400000000 (dmesg of the host names the TSC's frequency)"
    return InputError(source.path, message, hint=hints.get(str(name), told))
