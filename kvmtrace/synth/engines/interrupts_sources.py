"""What a vCPU meets: its random streams, the sources of its interrupts, its other exits, and what an exit takes."""

from __future__ import annotations

from itertools import chain, count
from typing import TYPE_CHECKING

from kvmtrace.synth.arrivals import ArrivalTimes
from kvmtrace.synth.draws import Draws
from kvmtrace.synth.engines.interrupts_scripts import FOUND, OPEN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmtrace.synth.costs import Distribution
    from kvmtrace.synth.engines.interrupts_workload import Background, InterruptSource
    from kvmtrace.synth.exit_scripts import Scripts

_AT_ONCE = 1 << 10


class Streams:
    """The random streams of one vCPU, by what they are drawn for."""

    def __init__(self, seed: int, vcpu: int, clock_hz: int) -> None:
        self._seed = seed
        self._vcpu = vcpu
        self.clock_hz = clock_hz

    def draws(self, *names: str) -> Draws:
        """Return a stream."""
        return Draws(self._seed, "vcpu", self._vcpu, *names)

    def costs(self, distribution: Distribution, *names: str) -> Iterator[int]:
        """Return costs in picoseconds, without end."""
        draws = self.draws(*names)
        return chain.from_iterable(distribution.drawn(draws, _AT_ONCE).tolist() for _ in count())

    def chances(self, chance: float, *names: str) -> Iterator[bool]:
        """Return whether something of that chance happens, without end."""
        draws = self.draws(*names)
        return chain.from_iterable(draws.happens(_AT_ONCE, chance).tolist() for _ in count())


class Source:
    """An interrupt of this vCPU."""

    def __init__(self, name: str, spec: InterruptSource, scripts: Scripts, streams: Streams, worker: int) -> None:
        hz = streams.clock_hz
        self.vector = spec.vector
        self.bit = 1 << spec.vector
        self.masked = spec.masked
        self.level = spec.level
        self.until_eoi = streams.costs(spec.until_eoi.distribution(hz), name, "until_eoi")
        self.after_eoi = streams.costs(spec.after_eoi.distribution(hz), name, "after_eoi")
        self.think = None if spec.think is None else streams.costs(spec.think.distribution(hz), name, "think")
        self.work = None if spec.work is None else streams.costs(spec.work.distribution(hz), name, "work")
        self.times = None if spec.arrivals is None else iter(ArrivalTimes(spec.arrivals, streams.draws(name)))
        self.own = spec.accepted is not None
        told = spec.accepted or spec.delivered
        self.script = -1 if told is None else scripts.names[told]
        self.span = None if told is None else streams.costs(scripts.costs[self.script], name, "told")
        self.worker = worker
        self.busy_ps = 0  # the worker, with the last one
        self.told_ps = 0  # when the next one begins to be told


class Other:
    """Exits of another kind."""

    def __init__(self, spec: Background, draws: Draws, sources: dict[str, Source]) -> None:
        self.exit = spec.exit
        self.times = iter(ArrivalTimes(spec.arrivals, draws))
        self.host = spec.by == "host"
        self.raises = None if spec.raises is None else sources[spec.raises]


class ExitKind:
    """An exit: what it takes, and its four scripts."""

    def __init__(self, name: str, scripts: Scripts, costs: Iterator[int]) -> None:
        known = scripts.names
        self.costs = costs
        self.plain = known[name]
        self.opened = known[name + OPEN]
        self.found = known.get(name + FOUND, self.plain)
        self.found_opened = known.get(name + FOUND + OPEN, self.opened)
