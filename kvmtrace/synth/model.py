"""What an engine runs: the tables of a model's file that variants may change, with their types and bounds.

(header.py has the other tables, and the list of all.)

    [platform]                        machine and kernel
    [exits.NAME]                      an exit: its reason, cost and events
    [sequences.NAME]                  events outside an exit: those of another thread, say
    [workload]                        what the guest does: the engine's own keys

Units: a cost says its own; other keys end in theirs.
"""

from __future__ import annotations

from math import sqrt
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from kvmtrace.checked_toml import Strict, Text, wrong
from kvmtrace.synth import costs
from kvmtrace.synth.event_formats import release

_PS = {"ps": 1, "ns": 10**3, "us": 10**6, "ms": 10**9}
_S_PS = 10**12
_MOST_PS = 10**16  # of one cost: sums of them stay far below 2^63
_SLOWEST_CYCLE_PS = 10**6

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$")]
Line = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
CounterName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w:./ -]*$", max_length=100)]
EventName = Annotated[str, Field(pattern=r"^\w+:\w+$")]
Weight = Annotated[float, Field(ge=0, le=1e12)]
Seconds = Annotated[float, Field(gt=0, le=1e6)]
Share = Annotated[float, Field(ge=0, le=1)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Cost(Strict):
    """What something takes: the figures that a source gives of it."""

    mean: NotNegative
    unit: Literal["ps", "ns", "us", "ms", "cycles"]
    min: NotNegative | None = None
    max: NotNegative | None = None
    sd: NotNegative | None = None
    stderr_percent: NotNegative | None = None  # of the mean, as perf kvm stat prints it behind +-
    n: Annotated[int, Field(gt=1)] | None = None  # exits that stderr_percent is of

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if (self.min is None) != (self.max is None):
            raise wrong("min and max go together")
        if self.min is None and (self.sd is not None or self.stderr_percent is not None):
            raise wrong("a deviation needs min and max")
        if (self.stderr_percent is None) != (self.n is None):
            raise wrong("stderr_percent and n go together")
        if self.sd is not None and self.n is not None:
            raise wrong("sd, or stderr_percent and n, not both", "sd")
        try:
            self._scaled(1)  # in its own unit, which the error is to speak of
        except costs.CostError as error:
            raise wrong(str(error)) from None
        longest = self.mean if self.max is None else self.max
        if longest * _PS.get(self.unit, _SLOWEST_CYCLE_PS) > _MOST_PS:
            raise wrong(f"expected a cost of at most {_MOST_PS // _S_PS:,} s, found {longest:g} {self.unit}")
        return self

    @property
    def deviation(self) -> float:
        """Standard deviation in `unit`; where no figure tells it, half of the room to the nearer bound (assumed)."""
        if self.sd is not None:
            return self.sd
        if self.stderr_percent is not None and self.n is not None:
            return self.mean * self.stderr_percent / 100 * sqrt(self.n)
        if self.min is None or self.max is None:
            return 0.0
        return min(self.mean - self.min, self.max - self.mean) / 2

    def distribution(self, clock_hz: int) -> costs.Distribution:
        """Return the costs in picoseconds; `clock_hz`: cycles in a second. CostError: there are none."""
        return self._scaled(_S_PS / clock_hz if self.unit == "cycles" else _PS[self.unit])

    def _scaled(self, factor: float) -> costs.Distribution:
        if self.min is None or self.max is None:
            return costs.constant(self.mean * factor)
        return costs.bounded(self.mean * factor, self.min * factor, self.max * factor, self.deviation * factor)


class Arrivals(Strict):
    """When something happens: `rate_per_s` times in a second in all, `burst` at once, `gap_us` apart."""

    process: Literal["periodic", "poisson", "bursts"]
    rate_per_s: Annotated[float, Field(ge=1e-3, le=1e9)]
    burst: Annotated[int, Field(ge=1, le=10_000)] = 1
    gap_us: Annotated[float, Field(ge=0, le=1e6)] = 0.0

    @model_validator(mode="after")
    def _bursts(self) -> Self:
        if (self.process == "bursts") != (self.burst > 1):
            raise wrong("bursts, and only they, have a burst of 2 or more", "burst")
        return self

    @property
    def period_ps(self) -> int:
        """Mean time from one to the next."""
        return max(round(_S_PS / self.rate_per_s), 1)

    @property
    def gap_ps(self) -> int:
        """Time between those of one burst."""
        return round(self.gap_us * _PS["us"])


class Choice(Strict):
    """A value of a field, chosen anew each time."""

    choose: Annotated[list[int], Field(min_length=1)]
    weights: list[Weight] | None = None

    @model_validator(mode="after")
    def _weights_fit(self) -> Self:
        if self.weights is not None and (len(self.weights) != len(self.choose) or sum(self.weights) <= 0):
            raise wrong("expected a weight for each value, not all 0", "weights")
        return self


FieldValue = int | str | list[int] | Choice
"""A number; text of a char array; `"$name"`, which the engine gives; bytes; a choice."""


class Event(Strict):
    """An event that fires inside an exit, or in a sequence."""

    event: EventName
    at: Share  # part of the exit's time that lies before it
    chance: Share = 1.0
    fields: dict[str, FieldValue] = Field(default_factory=dict)


class Exit(Strict):
    """An exit: from its own event to the next entry."""

    reason: Text  # as the print fmt of the kernel names it
    cost: Cost  # time out of the guest
    fields: dict[str, FieldValue] = Field(default_factory=dict)  # of the exit's own event, beside reason, vCPU and isa
    entry_fields: dict[str, FieldValue] = Field(default_factory=dict)
    events: list[Event] = Field(default_factory=list)
    entry: bool = True  # false: the guest goes on, and no event of an entry fires


class Sequence(Strict):
    """Events outside an exit."""

    span: Cost  # time from its beginning to its end
    events: Annotated[list[Event], Field(min_length=1)]


class Platform(Strict):
    """The machine, its kernel, and the VMs on it."""

    arch: Literal["x86_64", "ppc64le", "ppc64"]
    isa: Literal["VMX", "SVM", "book3s-hv", "none"]  # none: no guest runs
    cpu: Line
    cpuid: Line | None = None
    kernel: Line
    clock_hz: Annotated[int, Field(ge=10**6, le=10**12)]  # cycles of the guest's clock in a second
    cpus: Annotated[int, Field(ge=1, le=4096)]
    vms: Annotated[int, Field(ge=1, le=64)] = 1
    vcpus: Annotated[int, Field(ge=1, le=1024)] = 1  # of each VM
    events: list[EventName] = Field(default_factory=list)  # enabled beside those that the model fires

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.isa == "book3s-hv") != self.arch.startswith("ppc64"):
            raise wrong(f"{self.arch} has no {self.isa}", "isa")
        try:
            release(self.kernel)
        except ValueError as error:
            raise wrong(str(error), "kernel") from None
        return self


class Workload(Strict):
    """What the guest does: every engine adds its own keys."""

    seconds: Seconds = 1.0  # of the recording, unless --seconds says another


class Setting(Strict):
    """One variant of a model, whole: what an engine runs."""

    platform: Platform
    exits: dict[Name, Exit] = Field(default_factory=dict)
    sequences: dict[Name, Sequence] = Field(default_factory=dict)
    workload: Workload


VARIED = tuple(Setting.model_fields)
"""The tables in which variants may differ."""
