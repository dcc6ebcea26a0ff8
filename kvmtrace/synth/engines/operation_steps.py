"""The steps of a setting's operations, flat: operation after operation, each with its cost and what it does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.synth.draws import Draws

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kvmtrace.synth.costs import Distribution
    from kvmtrace.synth.engines.operation_workload import OperationLoopSetting, Step
    from kvmtrace.synth.exit_scripts import Scripts


@dataclass(frozen=True, slots=True)
class FlatStep:
    """A step that is done once; the peer's steps take no time of this vCPU."""

    costs: tuple[Distribution, ...] = ()  # all of them together
    deadline: bool = False  # the cost is counted from the operation's beginning
    script: int = -1  # exit or sequence of this vCPU
    interrupts: int = -1
    wakes: int = -1
    after: Distribution | None = None
    since: bool = False  # after is before the wake-up


class OperationSteps:
    """All steps of all operations of a setting."""

    def __init__(self, setting: OperationLoopSetting, scripts: Scripts) -> None:
        self.names = list(setting.workload.operations)
        self.weights = [operation.weight for operation in setting.workload.operations.values()]
        self.steps: list[FlatStep] = []
        first, count = [], []
        for operation in setting.workload.operations.values():
            first.append(len(self.steps))
            once = [_flat(step, setting, scripts) for step in operation.steps for _ in range(step.times)]
            self.steps += once * operation.times
            count.append(len(self.steps) - first[-1])
        self.first = np.array(first)
        self.count = np.array(count)

    def drawn(self, operations: NDArray[np.intp], streams: Streams) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the steps of these operations, one behind the other, and how long each takes in picoseconds."""
        counts = self.count[operations]
        ends = np.cumsum(counts)
        step = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts - self.first[operations], counts)
        span_ps = np.zeros(len(step), np.int64)
        deadlines = []
        for number in np.unique(step).tolist():
            flat = self.steps[number]
            of_step = np.flatnonzero(step == number)
            for part, cost in enumerate(flat.costs):
                span_ps[of_step] += cost.drawn(streams.of(number, part), len(of_step))
            if flat.deadline:
                deadlines.append((number, of_step))
        for number, of_step in deadlines:  # an earlier one of the same operation comes first: its number is lower
            operation = int(np.searchsorted(self.first, number, side="right")) - 1
            done_ps = np.concatenate(([0], np.cumsum(span_ps)))
            began = of_step - (number - self.first[operation])
            span_ps[of_step] = np.maximum(span_ps[of_step] - (done_ps[of_step] - done_ps[began]), 0)
        return step, span_ps


class Streams:
    """The random streams of one vCPU: one for the operations, one for each part of each step's cost.

    So what is drawn does not depend on how many operations are drawn at once.
    """

    def __init__(self, seed: int, *names: str | int) -> None:
        self._seed = seed
        self._names = names
        self.operations = Draws(seed, *names, "operations")
        self._of_steps: dict[tuple[int, int], Draws] = {}

    def of(self, step: int, part: int = 0) -> Draws:
        """Return the stream of a part of a step."""
        if (step, part) not in self._of_steps:
            self._of_steps[step, part] = Draws(self._seed, *self._names, "step", step, part)
        return self._of_steps[step, part]


def _flat(step: Step, setting: OperationLoopSetting, scripts: Scripts) -> FlatStep:
    clock_hz = setting.platform.clock_hz
    plus = [setting.workload.costs[name].distribution(clock_hz) for name in step.plus]
    if step.guest is not None:
        plus.insert(0, step.guest.distribution(clock_hz))
    if step.until is not None:
        return FlatStep((step.until.distribution(clock_hz),), deadline=True)
    own = step.exit or step.events
    if own is not None:
        script = scripts.names[own]
        return FlatStep((scripts.costs[script], *plus), script=script)
    told = step.after or step.since
    after = told.distribution(clock_hz) if told is not None else None
    if step.interrupts is not None:
        return FlatStep(interrupts=scripts.names[step.interrupts], after=after)
    if step.wakes is not None:
        return FlatStep(wakes=scripts.names[step.wakes], after=after, since=step.since is not None)
    return FlatStep(tuple(plus))
