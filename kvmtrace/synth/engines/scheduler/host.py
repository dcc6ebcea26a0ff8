"""The host: who runs where, exits and entries, and KVM's directed yield from a vCPU that spins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from kvmtrace.synth.engines.scheduler.fair import HOST, PREEMPTED, RUNNABLE, SLEEPS, WORK
from kvmtrace.synth.engines.scheduler.parameters import HALT, INTERRUPT, SPIN_EXIT

if TYPE_CHECKING:
    from kvmtrace.synth.engines.scheduler.fair import RunQueue, Vcpu
    from kvmtrace.synth.engines.scheduler.parameters import Parameters, Policy

_TRIES = 3  # of kvm_vcpu_on_spin


class Guest(Protocol):
    """What the host tells the guests."""

    def exits(self, vcpu: Vcpu, now_ns: int) -> None:
        """Stop the guest of a vCPU."""

    def enters(self, vcpu: Vcpu, at_ns: int) -> None:
        """Let the guest of a vCPU go on at a time."""

    def left(self, vcpu: Vcpu, now_ns: int) -> None:
        """See that a vCPU does not run any more, though it could."""


class Host:
    """Scheduling and exits of all CPUs."""

    def __init__(self, parameters: Parameters, policy: Policy) -> None:
        self._parameters = parameters
        self._boost_ipi = policy.boost_ipi
        self._exit_ns = parameters.exit_ns
        self.guest: Guest

    def tick(self, queue: RunQueue, now_ns: int) -> None:
        """Take the timer of a CPU."""
        current = queue.current
        if current is None:
            return
        queue.account(now_ns)
        if queue.slice_is_over(now_ns):
            self.interrupt(queue, now_ns)
        elif now_ns >= current.entered_ns:
            self.exit(current, now_ns, INTERRUPT)

    def interrupt(self, queue: RunQueue, now_ns: int) -> None:
        """Another CPU, or the end of a slice, asks this CPU to choose anew."""
        current = queue.current
        if current is not None:
            self.leave_guest(current, now_ns, INTERRUPT)
        self.reschedule(queue, now_ns, PREEMPTED)

    def reschedule(self, queue: RunQueue, now_ns: int, state: int = RUNNABLE, more_ns: int = 0) -> None:
        """Choose who runs, the current thread among them: it is out of the guest."""
        queue.account(now_ns)
        current = queue.current
        if current is not None:
            queue.waiting.append(current)
        chosen = queue.picked()
        if chosen is not None and chosen is current:
            queue.waiting.remove(chosen)
            chosen.in_spin = False
            self.enter(chosen, now_ns + (more_ns or self._exit_ns[INTERRUPT]))
            return
        if current is not None:
            current.running = False
            current.token += 1
            current.preempted = current.ready = True
            current.in_kernel = self._in_kernel(current)
            self.guest.left(current, now_ns)
        self._switch(queue, current, state, chosen, now_ns + more_ns + self._parameters.switch_ns)

    def _in_kernel(self, vcpu: Vcpu) -> bool:
        if vcpu.phase == WORK:
            return vcpu.left_ns * 100 < vcpu.whole_ns * self._parameters.kernel_percent
        return vcpu.phase < HOST - 1

    def _switch(self, queue: RunQueue, previous: Vcpu | None, state: int, chosen: Vcpu | None, at_ns: int) -> None:
        at_ns = queue.switch(previous, state, chosen, at_ns)
        if chosen is not None:
            chosen.window_ns = self._parameters.ple_window_ns
            self.enter(chosen, at_ns)

    def block(self, vcpu: Vcpu, now_ns: int) -> None:
        """Let a thread sleep."""
        queue = vcpu.queue
        queue.account(now_ns)
        vcpu.running = vcpu.runnable = vcpu.preempted = vcpu.ready = False
        vcpu.token += 1
        queue.current = None
        self._switch(queue, vcpu, SLEEPS, queue.picked(), now_ns + self._exit_ns[HALT] + self._parameters.switch_ns)

    def wake(self, vcpu: Vcpu, now_ns: int) -> None:
        """Let a sleeping thread run again."""
        queue = vcpu.queue
        queue.account(now_ns)
        queue.add_woken(vcpu)
        vcpu.runnable = vcpu.ready = True
        if queue.current is None:
            queue.next = queue.skip = None
            self._switch(queue, None, RUNNABLE, vcpu, now_ns + self._parameters.wake_ns)
        elif queue.preempts(vcpu):
            self.interrupt(queue, now_ns)

    def leave_guest(self, vcpu: Vcpu, now_ns: int, reason: int) -> None:
        """Stop the guest of a vCPU, if it was not stopped yet."""
        self.guest.exits(vcpu, now_ns)
        vcpu.token += 1
        if vcpu.phase != HOST:
            vcpu.leaves_guest(now_ns, reason)

    def exit(self, vcpu: Vcpu, now_ns: int, reason: int, more_ns: int = 0) -> None:
        """Make an exit that ends in an entry, unless its thread leaves the CPU before."""
        self.leave_guest(vcpu, now_ns, reason)
        self.enter(vcpu, now_ns + self._exit_ns[reason] + more_ns)

    def enter(self, vcpu: Vcpu, at_ns: int) -> None:
        """Let the guest of a vCPU go on."""
        vcpu.enters_guest(at_ns)
        self.guest.enters(vcpu, at_ns)

    def on_spin(self, me: Vcpu, now_ns: int) -> None:
        """Take a PAUSE exit: give the turn to another vCPU of the VM that does not run (kvm_vcpu_on_spin)."""
        self.leave_guest(me, now_ns, SPIN_EXIT)
        me.window_ns = min(2 * me.window_ns, self._parameters.ple_window_max_ns)
        me.in_spin = True
        vm = me.vm
        count = len(vm.vcpus)
        tries = _TRIES
        for index in range(vm.last_boosted + 1, vm.last_boosted + 1 + count):
            other = vm.vcpus[index % count]
            # Most do run: that is found here, for calls are dear.
            if other.running or not self.is_candidate(other):
                continue
            yielded = self.yield_to(me, other, now_ns, SPIN_EXIT)
            if yielded > 0:
                vm.last_boosted = index % count
                return
            tries += yielded
            if not tries:
                break
        me.in_spin = False
        self.enter(me, now_ns + self._exit_ns[SPIN_EXIT])

    def is_candidate(self, other: Vcpu) -> bool:
        """Tell whether a vCPU that does not run may be yielded to; one that spun itself may, every other time."""
        if not (other.ready if self._boost_ipi else other.preempted):
            return False
        if other.preempted and not other.in_kernel:
            return False
        if other.in_spin:
            other.dy_eligible = not other.dy_eligible
            return not other.dy_eligible
        return True

    def yield_to(self, me: Vcpu, target: Vcpu, now_ns: int, reason: int) -> int:
        """Let a vCPU run in place of this one, which left the guest: 1; 0: it cannot; -1: nobody has to wait."""
        if target.running or not target.runnable:
            return 0
        own, theirs = me.queue, target.queue
        if own.runnable == 1 and theirs.runnable == 1:
            return -1
        theirs.next = target
        own.skip = me
        if theirs is not own:
            self.interrupt(theirs, now_ns)
        if own.current is me:
            self.reschedule(own, now_ns, more_ns=self._exit_ns[reason])
        return 1
