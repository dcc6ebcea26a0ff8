"""What a guest prints of an operation: kvm-unit-tests' vmexit loop (x86/vmexit.c).

Iterations double until all of them take the goal (2^30 cycles) or more; what is printed is the time of these divided
by their number, cut to a whole number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kvmtrace import schema
from kvmtrace.recording import Facts, TableSet
from kvmtrace.synth import machine
from kvmtrace.synth.arrivals import S_PS
from kvmtrace.synth.engines.operation_steps import OperationSteps, Streams

if TYPE_CHECKING:
    from kvmtrace.synth.engine import Run
    from kvmtrace.synth.engines.operation_workload import Benchmark, OperationLoopSetting
    from kvmtrace.synth.exit_scripts import Scripts

_STEPS_AT_ONCE = 1 << 18


def benchmark_table(run: Run, setting: OperationLoopSetting, scripts: Scripts) -> list[TableSet]:
    """Return the table of what the guest prints, or nothing where it prints nothing."""
    import pyarrow as pa  # noqa: PLC0415 - a model is read without it

    benchmarks = setting.workload.benchmarks
    if not benchmarks:
        return []
    steps = OperationSteps(setting, scripts)
    rows = [
        _row(name, benchmark, printed_cycles(benchmark, setting, steps, Streams(run.seed, "benchmark", name)))
        for name, benchmark in benchmarks.items()
    ]
    facts = Facts(
        machine.FORMAT, host=machine.host(setting.platform), tool=machine.tool(run), part="what the guest prints"
    )
    return [TableSet(facts, "benchmarks", pa.Table.from_pylist(rows, schema=schema.BENCHMARKS.arrow_schema()))]


def _row(name: str, benchmark: Benchmark, cycles: int) -> dict[str, object]:
    return {
        "suite": benchmark.suite,
        "test": benchmark.test,
        "name": name,
        "value": float(cycles),
        "unit": "cycles",
        "statistic": "mean",
        "clock": benchmark.clock,
        "state": "measured",
    }


def printed_cycles(benchmark: Benchmark, setting: OperationLoopSetting, steps: OperationSteps, streams: Streams) -> int:
    """Return what the loop prints for an operation."""
    operation = steps.names.index(benchmark.operation)
    share = _shares(benchmark, setting)
    clock_hz = setting.platform.clock_hz
    iterations = 1
    while True:
        iterations *= 2
        total_ps = 0
        at_once = max(_STEPS_AT_ONCE // int(steps.count[operation]), 1)
        for first in range(0, iterations, at_once):
            chosen = np.full(min(at_once, iterations - first), operation, np.intp)
            step, span_ps = steps.drawn(chosen, streams)
            total_ps += int((span_ps * share[step - steps.first[operation]]).astype(np.int64).sum())
        cycles = total_ps * clock_hz // S_PS
        if cycles >= benchmark.goal_cycles:
            return cycles // iterations


def _shares(benchmark: Benchmark, setting: OperationLoopSetting) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the part of each step's time that counts: all of it up to the event where the time ends."""
    shares: list[float] = []
    ended = False
    for step in setting.workload.operations[benchmark.operation].steps:
        at = next((event.at for event in setting.events_of(step) if event.event == benchmark.until), None)
        if ended:
            shares += [0.0] * step.times
        elif at is not None:
            shares += [at, *[0.0] * (step.times - 1)]
            ended = True
        else:
            shares += [1.0] * step.times
    times = setting.workload.operations[benchmark.operation].times
    return np.array(shares * times)
