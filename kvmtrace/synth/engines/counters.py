"""Counters of perf around a workload that makes no exits: what one `perf stat -r` of it says.

    [workload]
    operations = 1_000_000            of one boot's measurement
    boots = 64                        the repeats: each is another boot of the kernel
    user, kernel                      what an operation costs in each mode, without the calls
    [workload.calls.NAME]             a call that the kernel makes `times` an operation, on one of the paths
    [workload.paths.NAME]             what one call costs that takes this path
    [workload.boot_variation]         how much figures differ from boot to boot
    [workload.counters]               perf's name of a counter → what it sums up, in which modes

Variants differ in the paths that calls take. Time is counted in both modes; cycles are time at the clock of the
platform. How long it takes follows from the work: --seconds and --events say nothing to this engine.
"""

from __future__ import annotations

from math import fsum, sqrt
from typing import TYPE_CHECKING, Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from kvmtrace import schema
from kvmtrace.checked_toml import Strict, unknown, wrong
from kvmtrace.errors import UsageError
from kvmtrace.recording import Facts, TableSet
from kvmtrace.synth import machine
from kvmtrace.synth.draws import Draws
from kvmtrace.synth.engine import Engine, Run
from kvmtrace.synth.model import CounterName, Name, NotNegative, Setting, Workload

if TYPE_CHECKING:
    from numpy.typing import NDArray

Figure = Literal["time_ns", "cycles", "instructions", "cache_references", "cache_misses"]
_NS_PER_S = 10**9
_NS_PER_MS = 10**6
_HALF = 1 << 31  # of what Draws.halves returns

Percent = Annotated[float, Field(ge=0, lt=100)]


class Costs(Strict):
    """What something costs, on average; cycles follow from the time."""

    time_ns: NotNegative = 0.0
    instructions: NotNegative = 0.0
    cache_references: NotNegative = 0.0
    cache_misses: NotNegative = 0.0

    def figure(self, name: Figure, clock_hz: int) -> float:
        """Return one of the costs."""
        if name == "cycles":
            return self.time_ns * clock_hz / _NS_PER_S
        return float(getattr(self, name))


class Call(Strict):
    """A call of the kernel: how often an operation makes it, and the path that it takes."""

    times: NotNegative
    path: Name


class Counter(Strict):
    """What a counter of perf sums up."""

    sums: Figure
    modes: Annotated[list[Literal["user", "kernel"]], Field(min_length=1, max_length=2)]


class BootVariation(Strict):
    """By how much a boot's figures are off at most, either way, each share as likely; time and cycles go together."""

    time_percent: Percent = 0.0
    cache_references_percent: Percent = 0.0
    cache_misses_percent: Percent = 0.0


class CountersWorkload(Workload):
    """Operations, and what perf counts of them."""

    operations: Annotated[int, Field(ge=1, le=10**12)]
    boots: Annotated[int, Field(ge=2, le=100_000)]
    user: Costs
    kernel: Costs
    calls: Annotated[dict[Name, Call], Field(min_length=1)]
    paths: Annotated[dict[Name, Costs], Field(min_length=1)]
    boot_variation: BootVariation
    counters: Annotated[dict[CounterName, Counter], Field(min_length=1)]


class CountersSetting(Setting):
    """A setting without exits, whose calls take paths that are there."""

    workload: CountersWorkload

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for section in ("exits", "sequences"):
            for name in getattr(self, section):
                raise wrong("the engine counters makes no events", section, name)
        if self.platform.isa != "none":
            raise wrong("expected 'none': the engine counters runs no guest", "platform", "isa")
        for name, call in self.workload.calls.items():
            if call.path not in self.workload.paths:
                raise unknown(call.path, set(self.workload.paths), "path", "workload", "calls", name, "path")
        return self


def contents(run: Run) -> list[TableSet]:
    """Return the counters. UsageError: a length or a number of events was asked for."""
    import pyarrow as pa  # noqa: PLC0415 - a model is read without it

    setting = run.setting
    if not isinstance(setting, CountersSetting):
        raise TypeError(f"expected a setting of {ENGINE.name}, found one of {type(setting).__name__}")
    if run.seconds != setting.workload.seconds or run.events is not None:
        raise UsageError(f"{run.model}: its work is a number of operations, neither seconds nor events limit it")
    elapsed_ns = round(_mean(counted(setting, Counter(sums="time_ns", modes=["user", "kernel"]), run)))
    rows = [_row(name, counter, setting, run, elapsed_ns) for name, counter in setting.workload.counters.items()]
    tool = machine.tool(run) | {"target": "one pass of the workload"}
    facts = Facts(machine.FORMAT, host=machine.host(setting.platform), tool=tool)
    table = pa.Table.from_pylist(rows, schema=schema.COUNTERS.arrow_schema())
    return [TableSet(facts, "counters", table, elapsed_ns=elapsed_ns)]


def counted(setting: CountersSetting, counter: Counter, run: Run) -> NDArray[np.float64]:
    """Return what a counter counts in each boot: one number a boot, in the unit of its figure."""
    boot = _boot_factors(setting, counter.sums, run)
    mean = fsum(_per_operation(setting, counter.sums, mode) for mode in counter.modes) * setting.workload.operations
    return np.rint(boot * mean)


def _per_operation(setting: CountersSetting, figure: Figure, mode: str) -> float:
    workload, clock_hz = setting.workload, setting.platform.clock_hz
    if mode == "user":
        return workload.user.figure(figure, clock_hz)
    called = fsum(call.times * workload.paths[call.path].figure(figure, clock_hz) for call in workload.calls.values())
    return workload.kernel.figure(figure, clock_hz) + called


def _boot_factors(setting: CountersSetting, figure: Figure, run: Run) -> NDArray[np.float64]:
    """Return by what each boot's figures differ from the mean. A variant is another kernel: its boots are its own."""
    of = "time_ns" if figure == "cycles" else figure
    percent = getattr(setting.workload.boot_variation, f"{of.removesuffix('_ns')}_percent", 0.0)
    place = Draws(run.seed, run.variant, "boots", of).halves(setting.workload.boots).astype(np.float64)
    factors: NDArray[np.float64] = 1 + percent / 100 * (place - _HALF) / _HALF
    return factors


def _mean(values: NDArray[np.float64]) -> float:
    """Return the mean, whose last bit does not depend on the order in which a machine adds up."""
    return fsum(values.tolist()) / len(values)


def _row(name: str, counter: Counter, setting: CountersSetting, run: Run, elapsed_ns: int) -> dict[str, object]:
    values = counted(setting, counter, run)
    mean = _mean(values)
    variance = _mean((values - mean) * (values - mean)) * len(values) / (len(values) - 1)
    is_time = counter.sums == "time_ns"
    return {
        "event": name,
        "value": mean / _NS_PER_MS if is_time else mean,
        "unit": "msec" if is_time else None,
        "state": "counted",
        "enabled_ns": elapsed_ns,
        "running_ns": elapsed_ns,
        "running_share": 1.0,
        "stderr_share": sqrt(variance / len(values)) / mean if mean else 0.0,
        "repeats": len(values),
    }


ENGINE = Engine("counters", "counters of perf around a workload that makes no exits", CountersSetting, contents)
