"""What the simulation is told: costs and bounds with their units, and the policy, in which variants differ."""

from __future__ import annotations

from dataclasses import dataclass, field

from kvmtrace.checked_toml import Strict

INTERRUPT, HALT, KICK, YIELD, ICR_WRITE, SPIN_EXIT = range(6)
EXITS = ("interrupt", "halt", "kick", "sched-yield", "icr-write", "spin")
"""Name of each exit in a model's file, by the number above."""


class Policy(Strict):
    """What host and guest do about vCPUs that do not run, as a model's file says it."""

    boost_ipi: bool = False  # host: a vCPU that an interrupt woke, or is to take one, may be yielded to
    boost_queue_head: bool = False  # host: the kick of a lock's queue head also yields to it
    keep_spinning: bool = False  # guest: a waiter spins on though the one before it does not run
    yield_to_ipi_target: bool = False  # guest: after call-function IPIs the sender yields to a target


@dataclass(frozen=True, slots=True)
class Parameters:
    """Machine, host, guests, and what everything takes; every VM has one vCPU for each CPU, which it is bound to."""

    vcpus: int = 80
    vms: int = 1  # that run ebizzy
    busy_vcpus: tuple[int, ...] = ()  # of each other VM, on the first CPUs: they never sleep

    stacked: int = 1  # vCPUs of each VM that share a CPU with another of it, while as many CPUs have none of it

    busy_step: int = 0  # CPUs from where the busy vCPUs of a VM begin to where those of the next do
    sockets: int = 1

    # The host's scheduler: kernel/sched/fair.c of Linux 5.3.
    latency_ns: int = 24_000_000
    min_granularity_ns: int = 3_000_000
    wakeup_granularity_ns: int = 4_000_000
    sleeper_credit_ns: int = 12_000_000
    tick_ns: int = 4_000_000
    switch_ns: int = 1_500
    wake_ns: int = 2_000
    waker_ns: int = 1_000  # of the one who wakes another
    host_task_ns: int = 100_000  # mean time of other work of the host
    host_task_gap_ns: int = 10_000_000
    ple_window_ns: int = 2_000
    ple_window_max_ns: int = 200_000

    exit_ns: tuple[int, ...] = field(default=(1_500, 2_000, 2_000, 2_000, 2_860, 1_500))

    # The guests.
    work_ns: int = 2_000_000  # mean, of one record
    kernel_percent: int = 90  # of the work that is done in the guest's kernel
    rounds: int = 1  # times that a record takes the lock
    hold_ns: int = 4_000
    shootdown_every: int = 1  # records
    locked_shootdown: bool = False  # the lock is held until all have answered
    ipi_handle_ns: int = 1_700
    icr_gap_ns: int = 200
    ipi_cluster: int = 16
    spin_threshold_ns: int = 2_700_000
    first_check_ns: int = 500
    next_check_ns: int = 8_500

    def cpu_of(self, vm: int, vcpu: int) -> int:
        """Return the CPU that a vCPU is bound to."""
        if vm < self.vms:
            return vcpu % (self.vcpus - self.stacked)
        return (vcpu + (vm - self.vms) * self.busy_step) % self.vcpus

    def same_socket(self, cpu: int, other: int) -> bool:
        """Tell whether two CPUs share a last-level cache; those of a socket have numbers in a row."""
        return cpu * self.sockets // self.vcpus == other * self.sockets // self.vcpus
