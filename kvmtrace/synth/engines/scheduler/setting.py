"""What the files of scheduler models say: the host, the guests, and the policy in which variants differ.

[exits.interrupt], [exits.halt], [exits.kick], [exits.sched-yield], [exits.icr-write], [exits.spin]
                                  the exits that there are; their mean cost is what the simulation takes
[sequences.switch]                sched_switch; $prev, $next, $state are threads and the state of the one that left
[workload]                        busy_vcpus = [2]: busy vCPUs of the last VMs, which do not run ebizzy
[workload.host], [workload.guest], [workload.policy]
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from kvmtrace.checked_toml import wrong
from kvmtrace.synth.engines.scheduler.parameters import EXITS, GuestTimes, HostTimes, Parameters, Policy
from kvmtrace.synth.exit_scripts import compiled
from kvmtrace.synth.model import NotNegative, Setting, Workload

GIVEN = frozenset({"prev", "next", "state"})
SWITCH = "switch"
_PS_OF_NS = 1_000


class SchedulerWorkload(Workload):
    """ebizzy -M in the first VMs, busy vCPUs in the last."""

    busy_vcpus: list[Annotated[int, Field(ge=0)]] = Field(default_factory=list)
    settle_ms: NotNegative = 0.0  # simulated before the recording begins
    host: HostTimes
    guest: GuestTimes
    policy: Policy = Policy()


class SchedulerSetting(Setting):
    """A setting with the exits and the sequence that the engine makes."""

    workload: SchedulerWorkload

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        for section, known, wanted in (
            ("exits", self.exits, EXITS),
            ("sequences", self.sequences, (SWITCH,)),
        ):
            for name in wanted:
                if name not in known:
                    raise wrong(f"the scheduler needs {section}.{name}", section)
        if self.platform.vcpus != self.platform.cpus:
            raise wrong("expected as many vCPUs in a VM as the host has CPUs", "platform", "vcpus")
        if len(self.workload.busy_vcpus) >= self.platform.vms:
            raise wrong("expected fewer busy VMs than VMs: one runs ebizzy", "workload", "busy_vcpus")
        if max(self.workload.busy_vcpus, default=0) > self.platform.vcpus:
            raise wrong("a VM has fewer vCPUs than that", "workload", "busy_vcpus")
        if self.workload.host.stacked >= self.platform.vcpus:
            raise wrong("expected fewer than all vCPUs", "workload", "host", "stacked")
        compiled(self, GIVEN)
        return self

    @property
    def parameters(self) -> Parameters:
        """What the simulation takes."""
        workload = self.workload
        clock_hz = self.platform.clock_hz
        costs = [self.exits[name].cost.distribution(clock_hz).mean for name in EXITS]
        return Parameters(
            vcpus=self.platform.vcpus,
            vms=self.platform.vms - len(workload.busy_vcpus),
            busy_vcpus=tuple(workload.busy_vcpus),
            exit_ns=tuple(round(cost) // _PS_OF_NS for cost in costs),
            **workload.host.model_dump(),
            **workload.guest.model_dump(),
        )

    @property
    def policy(self) -> Policy:
        """The policy of host and guest."""
        return self.workload.policy
