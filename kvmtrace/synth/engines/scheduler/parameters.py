"""What the simulation is told: costs and bounds with their units, and the policy, in which variants differ."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from kvmtrace.checked_toml import Strict

INTERRUPT, HALT, KICK, YIELD, ICR_WRITE, SPIN_EXIT = range(6)
EXITS = ("interrupt", "halt", "kick", "sched-yield", "icr-write", "spin")
"""Name of each exit in a model's file, by the number above."""

Time = Annotated[int, Field(ge=0, le=10**12)]
Length = Annotated[int, Field(ge=1, le=10**12)]
Count = Annotated[int, Field(ge=1, le=4096)]


class Policy(Strict):
    """What host and guest do about vCPUs that do not run, as a model's file says it."""

    boost_ipi: bool = False  # host: a vCPU that an interrupt woke, or is to take one, may be yielded to
    boost_queue_head: bool = False  # host: the kick of a lock's queue head also yields to it
    keep_spinning: bool = False  # guest: a waiter spins on though the one before it does not run
    yield_to_ipi_target: bool = False  # guest: after call-function IPIs the sender yields to a target


class HostTimes(Strict):
    """The host: its scheduler (kernel/sched/fair.c of Linux 5.3), KVM, and other work; nanoseconds."""

    latency_ns: Length
    min_granularity_ns: Length
    wakeup_granularity_ns: Time
    sleeper_credit_ns: Time
    tick_ns: Annotated[int, Field(ge=10_000, le=10**12)]
    switch_ns: Annotated[int, Field(ge=2, le=10**12)]
    wake_ns: Time
    waker_ns: Time  # of the one who wakes another
    host_task_ns: Time  # mean time of other work of the host
    host_task_gap_ns: Annotated[int, Field(ge=10_000, le=10**12)]
    ple_window_ns: Annotated[int, Field(ge=100, le=10**12)]
    ple_window_max_ns: Annotated[int, Field(ge=100, le=10**12)]
    sockets: Count
    busy_step: Annotated[int, Field(ge=0, le=4096)]  # CPUs between the first busy vCPUs of two VMs
    stacked: Annotated[int, Field(ge=0, le=4096)]  # vCPUs of a VM that share a CPU with another of it


class GuestTimes(Strict):
    """ebizzy and its kernel; nanoseconds, each record or each time."""

    work_ns: Annotated[int, Field(ge=1_000, le=10**12)]  # mean, of one record
    kernel_percent: Annotated[int, Field(ge=0, le=100)]  # of the work that is done in the guest's kernel
    rounds: Count  # times that a record takes the lock
    shootdown_every: Count  # records
    locked_shootdown: bool  # the lock is held until all have answered
    hold_ns: Length
    ipi_handle_ns: Time
    icr_gap_ns: Time
    ipi_cluster: Count
    spin_threshold_ns: Annotated[int, Field(ge=1_000, le=10**12)]
    first_check_ns: Length
    next_check_ns: Length


class Parameters(HostTimes, GuestTimes):
    """Host, guests, and what everything takes; every VM has one vCPU for each CPU, which it is bound to."""

    vcpus: int
    vms: int  # that run ebizzy
    busy_vcpus: tuple[int, ...]  # of each other VM, on the first CPUs: they never sleep
    exit_ns: tuple[int, ...]  # by the numbers above

    def cpu_of(self, vm: int, vcpu: int) -> int:
        """Return the CPU that a vCPU is bound to."""
        if vm < self.vms:
            return vcpu % (self.vcpus - self.stacked)
        return (vcpu + (vm - self.vms) * self.busy_step) % self.vcpus

    def same_socket(self, cpu: int, other: int) -> bool:
        """Tell whether two CPUs share a last-level cache; those of a socket have numbers in a row."""
        return cpu * self.sockets // self.vcpus == other * self.sockets // self.vcpus
