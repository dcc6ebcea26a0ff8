"""Threads of the host, and the fair scheduler of one CPU: runtimes, slices, wakeup preemption, buddies of a yield.

The rules are those of kernel/sched/fair.c of Linux 5.3 for tasks of one weight: no groups, and no balancing of CPUs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from kvmtrace.synth.engines.scheduler.parameters import Parameters

IDLE = -1
RUNNABLE, SLEEPS, PREEMPTED = 0, 1, 256
"""prev_state of sched_switch, as Linux 4.14 and later print it: R, S, R+."""


WORK, HOLD, SEND, ACKS, SPIN, BUSY, HOST = range(7)
"""Phases: own work; holding the lock; sending IPIs; waiting for their targets; waiting for the lock; a vCPU that is
always busy; a thread of the host that is no vCPU."""


class Vm:
    """The vCPUs of a VM, its lock with the queue of those who wait, and who was yielded to last."""

    __slots__ = ("head", "holder", "last_boosted", "records", "tail", "vcpus")

    def __init__(self) -> None:
        self.vcpus: list[Vcpu] = []
        self.last_boosted = 0
        self.holder: Vcpu | None = None
        self.head: Vcpu | None = None
        self.tail: Vcpu | None = None
        self.records = 0


class Vcpu:
    """One thread; times in nanoseconds."""

    __slots__ = (
        "acks", "acks_by_ns", "debt_ns", "dy_eligible", "entered_ns", "entries", "exits", "hashed", "in_kernel",
        "in_spin", "left_ns", "next", "number", "pending", "phase", "preempted", "previous", "queue", "ready",
        "reasons", "rounds", "runnable", "running", "sent", "spin_left_ns", "token", "until_shootdown", "used_from_ns",
        "vm", "vruntime_ns", "waits", "whole_ns", "window_end_ns", "window_ns",
    )  # fmt: skip

    def __init__(self, number: int, vm: Vm, queue: RunQueue, phase: int) -> None:
        self.number = number
        self.vm = vm
        self.queue = queue
        self.phase = phase
        # The host's scheduler.
        self.vruntime_ns = 0
        self.used_from_ns = 0
        self.runnable = self.running = False
        # KVM's directed yield: preempted while it ran; to be yielded to; it spun when it left.
        self.preempted = self.ready = self.in_kernel = self.in_spin = self.dy_eligible = False
        self.window_ns = self.window_end_ns = 0
        # The guest: its next step is an entry of the agenda with this token.
        self.token = 0
        self.entered_ns = 0
        self.left_ns = self.whole_ns = self.debt_ns = self.spin_left_ns = 0
        self.rounds = self.until_shootdown = 1
        self.waits = False  # halted, as its guest sees it: woken, it still is until it runs
        self.hashed = False  # it halted in this wait: whoever unlocks kicks it
        self.previous: Vcpu | None = None
        self.next: Vcpu | None = None
        # IPIs: whom it owes an answer; who still owes one to it, and when the last comes.
        self.pending: list[Vcpu] = []
        self.acks = self.acks_by_ns = self.sent = 0
        # What happened: an exit without an entry is still open.
        self.exits: list[int] = []
        self.reasons: list[int] = []
        self.entries: list[int] = []

    def leaves_guest(self, now_ns: int, reason: int) -> None:
        """Note an exit. An entry that was still to come never was."""
        if len(self.exits) > len(self.entries):
            return
        if self.entries and self.entries[-1] > now_ns:
            self.entries.pop()
            return
        self.exits.append(now_ns)
        self.reasons.append(reason)

    def enters_guest(self, at_ns: int) -> None:
        """Note an entry, if there was an exit."""
        if len(self.exits) > len(self.entries):
            self.entries.append(at_ns)


class Switch(NamedTuple):
    """A change of the thread that runs, by their numbers."""

    at_ns: int
    previous: int
    state: int
    next: int


class RunQueue:
    """The threads of a CPU that can run: `current` runs, all others wait; times in nanoseconds."""

    __slots__ = (
        "cpu",
        "current",
        "min_vruntime_ns",
        "next",
        "parameters",
        "skip",
        "slice_from_ns",
        "switched_ns",
        "switches",
        "waiting",
    )

    def __init__(self, cpu: int, parameters: Parameters) -> None:
        self.cpu = cpu
        self.parameters = parameters
        self.waiting: list[Vcpu] = []
        self.current: Vcpu | None = None
        self.min_vruntime_ns = 0
        self.next: Vcpu | None = None  # whom a directed yield prefers
        self.skip: Vcpu | None = None  # who gave up its turn
        self.slice_from_ns = 0
        self.switched_ns = -(1 << 62)  # the last switch
        self.switches: list[Switch] = []  # that nobody took yet

    @property
    def runnable(self) -> int:
        """How many could run."""
        return len(self.waiting) + (self.current is not None)

    def account(self, now_ns: int) -> None:
        """Charge the running thread for its time until now."""
        current = self.current
        if current is None:
            return
        if now_ns > current.used_from_ns:
            current.vruntime_ns += now_ns - current.used_from_ns
            current.used_from_ns = now_ns
        least = current.vruntime_ns
        for thread in self.waiting:
            least = min(least, thread.vruntime_ns)
        self.min_vruntime_ns = max(self.min_vruntime_ns, least)

    def add_woken(self, thread: Vcpu) -> None:
        """Take up a thread that slept: it has some credit, and no more."""
        floor_ns = self.min_vruntime_ns - self.parameters.sleeper_credit_ns
        thread.vruntime_ns = max(thread.vruntime_ns, floor_ns)
        self.waiting.append(thread)

    def preempts(self, thread: Vcpu) -> bool:
        """Tell whether a woken thread runs at once."""
        current = self.current
        return current is None or current.vruntime_ns - thread.vruntime_ns > self.parameters.wakeup_granularity_ns

    def slice_is_over(self, now_ns: int) -> bool:
        """Tell at a tick whether another one's turn has come."""
        current = self.current
        if current is None or not self.waiting:
            return False
        parameters = self.parameters
        ran_ns = now_ns - self.slice_from_ns
        slice_ns = max(parameters.latency_ns // (len(self.waiting) + 1), parameters.min_granularity_ns)
        if ran_ns > slice_ns:
            return True
        if ran_ns < parameters.min_granularity_ns:
            return False
        return current.vruntime_ns - min(thread.vruntime_ns for thread in self.waiting) > slice_ns

    def picked(self) -> Vcpu | None:
        """Return which of those in `waiting` runs next, and forget the buddies."""
        if not self.waiting:
            return None
        order = sorted(self.waiting, key=_by_vruntime)
        chosen = order[0]
        limit_ns = chosen.vruntime_ns + self.parameters.wakeup_granularity_ns
        if chosen is self.skip and len(order) > 1 and order[1].vruntime_ns <= limit_ns:
            chosen = order[1]
        if self.next is not None and self.next in order and self.next.vruntime_ns <= limit_ns:
            chosen = self.next
        self.next = self.skip = None
        return chosen

    def switch(self, previous: Vcpu | None, state: int, chosen: Vcpu | None, at_ns: int) -> int:
        """Let another thread run at a time, or nobody; return that time: one switch ends before the next begins."""
        switch_ns = self.parameters.switch_ns
        at_ns = max(at_ns, self.switched_ns + switch_ns)
        before = IDLE if previous is None else previous.number
        after = IDLE if chosen is None else chosen.number
        self.switched_ns = at_ns - switch_ns // 2
        self.switches.append(Switch(self.switched_ns, before, state, after))
        self.current = chosen
        if chosen is not None:
            self.waiting.remove(chosen)
            self.slice_from_ns = at_ns
            chosen.used_from_ns = at_ns
            chosen.running = True
            chosen.preempted = chosen.ready = chosen.in_spin = False
        return at_ns


def _by_vruntime(thread: Vcpu) -> tuple[int, int]:
    return thread.vruntime_ns, thread.number
