"""Operations of each vCPU one after the other → exits of it and of its peer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.synth.arrivals import S_PS
from kvmtrace.synth.draws import Draws
from kvmtrace.synth.emission import PS_OF_NS, Emitter, Happened, Piece
from kvmtrace.synth.engines.operation_steps import OperationSteps, Streams

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from kvmtrace.synth.blocks import Window
    from kvmtrace.synth.engine import Run
    from kvmtrace.synth.engines.operation_workload import OperationLoopSetting
    from kvmtrace.synth.exit_scripts import Scripts
    from kvmtrace.synth.machine import Thread

_STEPS_OF_ROUND = 1 << 16
"""Steps that all vCPUs together do before their events are put in order: a block's size, and no result but one: which
of two vCPUs' events in the same nanosecond comes first."""
_LEAST_OPERATIONS = 16


class Timeline:
    """The vCPUs of a run, each at its own time."""

    def __init__(self, run: Run, setting: OperationLoopSetting, scripts: Scripts, threads: Sequence[Thread]) -> None:
        steps = OperationSteps(setting, scripts)
        stride = 2 if setting.has_peers else 1
        self._end_ps = round(run.seconds * S_PS)
        self._doers = [
            _Doer(index, _peer_of(index, setting), run.seed, setting, steps, scripts, threads)
            for index in range(0, len(threads), stride)
        ]
        mean_steps = float(np.average(steps.count, weights=steps.weights))
        self._operations = max(int(_STEPS_OF_ROUND / mean_steps / len(self._doers)), _LEAST_OPERATIONS)

    def windows(self) -> Iterator[Window]:
        """Yield the events of one round after the other, up to the end of the recording."""
        while waiting := [doer for doer in self._doers if doer.clock_ps < self._end_ps]:
            # No vCPU gets far ahead of the last one, so that little is held.
            limit_ps = min(doer.clock_ps for doer in waiting) + max(doer.round_ps for doer in waiting)
            behind = [doer for doer in waiting if doer.clock_ps <= limit_ps]
            pieces = [piece for doer in behind for piece in doer.goes_on(self._operations, self._end_ps)]
            until_ps = min(doer.certain_ps for doer in self._doers)
            yield pieces, min(until_ps, self._end_ps) // PS_OF_NS


def _peer_of(index: int, setting: OperationLoopSetting) -> int:
    """Return the index of the vCPU that another one's IPIs go to: see operation_workload."""
    if setting.has_peers:
        return index + 1
    vcpus = setting.platform.vcpus
    return index - index % vcpus + (index + 1) % vcpus


class _Doer:
    """A vCPU that does operations, and its peer."""

    def __init__(
        self,
        index: int,
        peer: int,
        seed: int,
        setting: OperationLoopSetting,
        steps: OperationSteps,
        scripts: Scripts,
        threads: Sequence[Thread],
    ) -> None:
        self._index = index
        self._peer = peer
        self._tells = setting.has_peers
        self._wakes = setting.has_waiting_peers
        self._setting = setting
        self._steps = steps
        self._threads = threads
        self._streams = Streams(seed, "vcpu", index)
        self._peer_streams = Streams(seed, "peer", index)
        self._emitter = Emitter(scripts, threads, Draws(seed, "fields", index))
        self._peer_emitter = Emitter(scripts, threads, Draws(seed, "peer fields", index))
        self._costs = scripts.costs
        self._given = sorted({name for step in scripts.steps for name in step.given.values()})
        self.clock_ps = int(Draws(seed, "start", index).below(1, 1_000_000)[0])
        self._peer_entry_ps = 0
        self.round_ps = 0  # that the last round took

    @property
    def certain_ps(self) -> int:
        """Time before which nothing more happens; a wait of the peer may have begun long ago."""
        return min(self.clock_ps, self._peer_entry_ps) if self._wakes else self.clock_ps

    def goes_on(self, operations: int, end_ps: int) -> Iterator[Piece]:
        """Do so many operations more; yield the events of this vCPU and of its peer before the end."""
        chosen = self._streams.operations.chosen(operations, self._steps.weights)
        step, span_ps = self._steps.drawn(chosen, self._streams)
        ends_ps = self.clock_ps + np.cumsum(span_ps)
        self.round_ps = int(ends_ps[-1]) - self.clock_ps
        self.clock_ps = int(ends_ps[-1])
        script = np.array([each.script for each in self._steps.steps])[step]
        rows = np.flatnonzero((script >= 0) & (ends_ps - span_ps < end_ps))
        start_ps = (ends_ps - span_ps)[rows]
        own = _Doings(script[rows], start_ps, span_ps[rows], np.zeros(len(rows), np.int64))
        yield self._emitter.events(self._happened(own, self._index, self._peer)).before(end_ps // PS_OF_NS)
        if self._tells:
            told = self._of_peer(step, ends_ps).before(end_ps)
            yield self._peer_emitter.events(self._happened(told, self._peer, self._index)).before(end_ps // PS_OF_NS)

    def _of_peer(self, step: NDArray[np.int64], told_ps: NDArray[np.int64]) -> _Doings:
        """Return the peer's exits; `told_ps`: when each step of this vCPU is done."""
        interrupts = np.array([each.interrupts for each in self._steps.steps])[step]
        wakes = np.array([each.wakes for each in self._steps.steps])[step]
        rows = np.flatnonzero((interrupts >= 0) | (wakes >= 0))
        script, waits = np.maximum(interrupts, wakes)[rows], wakes[rows] >= 0
        since = np.array([each.since for each in self._steps.steps])[step[rows]]
        cost_ps, after_ps = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
        for number in np.unique(step[rows]).tolist():
            of_step = np.flatnonzero(step[rows] == number)
            flat = self._steps.steps[number]
            cost_ps[of_step] = self._costs[max(flat.interrupts, flat.wakes)].drawn(
                self._peer_streams.of(number), len(of_step)
            )
            if flat.after is not None:
                after_ps[of_step] = flat.after.drawn(self._peer_streams.of(number, 1), len(of_step))
        # The peer takes what it is told one after the other, `after` it was told or after the last: each then ends
        # when its cost is over. What waits has begun before, and is woken as it is told.
        taken_ps = cost_ps + np.where(waits, 0, after_ps)
        total = np.cumsum(taken_ps)
        entry_ps = total + np.maximum.accumulate(np.maximum(told_ps[rows] - (total - taken_ps), self._peer_entry_ps))
        before_ps = np.concatenate(([self._peer_entry_ps], entry_ps[:-1]))
        if len(rows):
            self._peer_entry_ps = int(entry_ps[-1])
        woken_ps = entry_ps - cost_ps
        began_ps = np.where(
            since, np.maximum(woken_ps - after_ps, before_ps), np.minimum(before_ps + after_ps, woken_ps)
        )
        start_ps = np.where(waits, began_ps, woken_ps)
        return _Doings(script, start_ps, cost_ps, woken_ps - start_ps)

    def _happened(self, doings: _Doings, index: int, peer: int) -> Happened:
        n = len(doings.script)
        values = {name: np.broadcast_to(self._value(name, doings, index, peer), n) for name in self._given}
        span_ps = doings.wait_ps + doings.span_ps
        wait_ps = doings.wait_ps if doings.wait_ps.any() else None
        return Happened(doings.script, doings.start_ps, span_ps, np.full(n, index), values, wait_ps=wait_ps)

    def _value(self, name: str, doings: _Doings, index: int, peer: int) -> NDArray[np.int64] | int:
        """Return a value of `operation_workload.GIVEN`."""
        if name == "waited_ns":
            return doings.wait_ps // PS_OF_NS
        if name in ("tsc", "deadline"):
            # Two steps: picoseconds times hertz would not fit.
            clock_khz, start_ns = self._setting.platform.clock_hz // 1000, doings.start_ps // PS_OF_NS
            tsc = start_ns // 10**6 * clock_khz + start_ns % 10**6 * clock_khz // 10**6
            return tsc + (self._setting.workload.deadline_tsc if name == "deadline" else 0)
        own, other, vector = self._threads[index].vcpu, self._threads[peer].vcpu, self._setting.workload.ipi_vector
        same = {
            "self": own,
            "peer": other,
            "icr": other << 32 | vector,
            "icr2": other << 24,
            "avic_icr": _signed(other << 56 | vector),
            "avic_index": 1 << 32 | other,
        }
        return same[name]


def _signed(number: int) -> int:
    """Return the int64 with the bits of a u64."""
    return number - (1 << 64) if number >> 63 else number


@dataclass(frozen=True, slots=True)
class _Doings:
    """What a vCPU does: scripts, when each begins, how long it waits then, and how long it takes after that."""

    script: NDArray[np.int64]
    start_ps: NDArray[np.int64]
    span_ps: NDArray[np.int64]
    wait_ps: NDArray[np.int64]

    def before(self, end_ps: int) -> _Doings:
        """Return those that begin before a time."""
        kept = self.start_ps < end_ps
        return _Doings(self.script[kept], self.start_ps[kept], self.span_ps[kept], self.wait_ps[kept])
