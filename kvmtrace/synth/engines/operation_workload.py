"""What the files of operation-loop models say of the guest's work.

    [workload.operations.NAME]
    weight = 1.0                      how often it is done, beside the others
    times = 1                         how often its steps are gone through
    steps = [ … ]                     what it is made of, in order, each one of
        { guest = COST }              time in the guest; unseen = "…": what no tracepoint tells of it
        { until = COST }              time in the guest until so long after the operation began (its first pass)
        { exit = NAME }               an exit of this vCPU
        { events = NAME }             a sequence that this vCPU's own thread fires
        { interrupts = NAME }         an exit of the peer, which runs; after = COST: so long after it is told
        { wakes = NAME, after = COST }  the exit of the peer that waits: it began `after` its last entry; or, with
                                      since = COST, so long before it is woken, but not before its last entry
        plus = [NAME, …]              costs of [workload.costs] beside its own, or alone: parts that variants share
        times = 3                     so many times
    [workload.costs.NAME]             such a part
    [workload.benchmarks.NAME]        what the guest prints of an operation: cycles of one (kvm-unit-tests' vmexit)
    ipi_vector, deadline_tsc          what "$icr" and "$deadline" are made of

Where operations interrupt or wake a peer, vCPUs 0, 2, 4 … do them, and 1, 3, 5 … are their peers.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from kvmtrace.checked_toml import Strict, Text, unknown, wrong
from kvmtrace.synth.exit_scripts import compiled
from kvmtrace.synth.model import Cost, Event, Name, Setting, Weight, Workload

_WAYS = ("guest", "until", "exit", "events", "interrupts", "wakes")
_OF_EXITS = ("exit", "interrupts", "wakes")
_OWN = {"guest", "exit", "events"}
GIVEN = frozenset(
    {
        "self",  # number of the vCPU, which its APIC has too
        "peer",  # that of its peer
        "icr",  # ICR as x2APIC takes it: ipi_vector to the peer, fixed, physical, edge
        "icr2",  # upper half of xAPIC's ICR, to the peer
        "avic_icr",  # both halves of xAPIC's ICR, as AVIC's exits have them
        "avic_index",  # "the target does not run", and the peer's place in the table of physical APIC ids
        "tsc",  # the guest's TSC
        "deadline",  # deadline_tsc later
        "waited_ns",  # how long the exit had waited when it was woken
    }
)


_MOST_STEPS = 5_000
"""Steps of one operation."""


class Step(Strict):
    """A part of an operation: exactly one of guest, until, exit, events, interrupts and wakes.

    `plus` alone is time in the guest.
    """

    guest: Cost | None = None
    until: Cost | None = None
    exit: Name | None = None
    events: Name | None = None
    interrupts: Name | None = None
    wakes: Name | None = None
    after: Cost | None = None
    since: Cost | None = None
    plus: list[Name] = Field(default_factory=list)
    times: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    unseen: str = ""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        ways = [way for way in _WAYS if getattr(self, way) is not None]
        if len(ways) != 1 and (ways or not self.plus):
            raise wrong("expected one of " + ", ".join(_WAYS))
        if (self.wakes is not None) != (self.since is not None or (self.after is not None and self.interrupts is None)):
            raise wrong("wakes and one of after and since go together")
        if self.since is not None and self.after is not None:
            raise wrong("after or since, not both", "since")
        if self.plus and not set(ways) <= _OWN:
            raise wrong("expected plus beside guest, exit or events", "plus")
        if self.unseen and ways not in ([], ["guest"]):
            raise wrong("only time in the guest can be unseen", "unseen")
        return self


class Operation(Strict):
    """What the guest does again and again."""

    weight: Weight = 1.0
    times: Annotated[int, Field(ge=1, le=1_000_000)] = 1  # that its steps are gone through
    steps: Annotated[list[Step], Field(min_length=1)]


class Benchmark(Strict):
    """A figure that the guest prints: cycles of one operation, of so many that they take `goal_cycles` or more."""

    operation: Name
    until: str = ""  # an event of it where the time ends; "": its end
    goal_cycles: Annotated[int, Field(ge=1, le=1 << 40)] = 1 << 30
    suite: Text = "kvm-unit-tests"
    test: Text = "vmexit"
    clock: Text = "TSC"


class OperationLoopWorkload(Workload):
    """Operations, and what is printed of them."""

    operations: Annotated[dict[Name, Operation], Field(min_length=1)]
    costs: dict[Name, Cost] = Field(default_factory=dict)
    ipi_vector: Annotated[int, Field(ge=0x10, le=0xFF)] = 0xFD  # RESCHEDULE_VECTOR of Linux
    deadline_tsc: Annotated[int, Field(ge=0, le=1 << 40)] = 0  # from the guest's TSC to "$deadline", in its cycles
    benchmarks: dict[Text, Benchmark] = Field(default_factory=dict)


class OperationLoopSetting(Setting):
    """A setting whose operations are made of exits that are there."""

    workload: OperationLoopWorkload

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        for name, operation in self.workload.operations.items():
            for number, step in enumerate(operation.steps):
                self._check_step(step, ("workload", "operations", name, "steps", str(number)))
        self._check_benchmarks()
        operations = self.workload.operations.values()
        if not any(operation.weight for operation in operations):
            raise wrong("expected an operation with a weight above 0", "workload", "operations")
        if self.platform.vms * self.platform.vcpus > self.platform.cpus:
            raise wrong("expected a CPU for each vCPU: this engine has no scheduler", "platform", "cpus")
        for name, operation in self.workload.operations.items():
            self._check_operation(operation, ("workload", "operations", name))
        if self.has_peers and self.platform.vcpus % 2:
            raise wrong("operations that interrupt or wake a peer need an even number of vCPUs", "platform", "vcpus")
        compiled(self, GIVEN)
        return self

    def _check_operation(self, operation: Operation, place: tuple[str, ...]) -> None:
        if operation.times * sum(step.times for step in operation.steps) > _MOST_STEPS:
            raise wrong(f"expected at most {_MOST_STEPS:,} steps, all repetitions counted", *place, "times")
        costs = self.workload.costs
        taken = [step.guest or (self.exits[step.exit].cost if step.exit else None) for step in operation.steps]
        taken += [step.until for step in operation.steps] + [
            costs[name] for step in operation.steps for name in step.plus
        ]
        if not any(cost is not None and cost.mean > 0 for cost in taken):
            raise wrong("expected steps that take time: so it never ends", *place, "steps")

    def _check_step(self, step: Step, place: tuple[str, ...]) -> None:
        for way in _OF_EXITS:
            wanted = getattr(step, way)
            if wanted is not None and wanted not in self.exits:
                raise unknown(wanted, set(self.exits), "exit", *place, way)
        if step.events is not None and step.events not in self.sequences:
            raise unknown(step.events, set(self.sequences) or {"no sequence"}, "sequence", *place, "events")
        for wanted in step.plus:
            if wanted not in self.workload.costs:
                raise unknown(wanted, set(self.workload.costs) or {"no cost"}, "cost", *place, "plus")

    def _check_benchmarks(self) -> None:
        for name, benchmark in self.workload.benchmarks.items():
            place = ("workload", "benchmarks", name)
            if benchmark.operation not in self.workload.operations:
                raise unknown(benchmark.operation, set(self.workload.operations), "operation", *place, "operation")
            steps = self.workload.operations[benchmark.operation].steps
            fired = {event.event for step in steps for event in self.events_of(step)}
            if benchmark.until and benchmark.until not in fired:
                raise unknown(benchmark.until, fired or {"no event"}, "event of the operation", *place, "until")

    def events_of(self, step: Step) -> list[Event]:
        """Return the events that fire within a step on this vCPU, beside those of the exit and the entry."""
        if step.exit is not None:
            return self.exits[step.exit].events
        return self.sequences[step.events].events if step.events is not None else []

    @property
    def has_peers(self) -> bool:
        """Some operation that is done is told to another vCPU."""
        done = [operation for operation in self.workload.operations.values() if operation.weight]
        return any(step.interrupts or step.wakes for operation in done for step in operation.steps)

    @property
    def has_waiting_peers(self) -> bool:
        """Some of them wake one that waits: its exit began long before."""
        done = [operation for operation in self.workload.operations.values() if operation.weight]
        return any(step.wakes for operation in done for step in operation.steps)
