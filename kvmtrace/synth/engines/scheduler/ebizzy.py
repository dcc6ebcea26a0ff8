"""The guests: ebizzy -M, whose threads map and unmap memory under one lock of their VM.

A record is work of its own; `rounds` times in it the lock is taken. One of `shootdown_every` records ends with a TLB
shootdown, whose sender waits, with the lock or without, until all vCPUs of the VM have answered its IPIs. The lock is a
queued spinlock in order of arrival, paravirtualised as in kernel/locking/qspinlock_paravirt.h: who spins long, or sees
the one before it halted (or not running), halts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmtrace.synth.engines.scheduler.fair import ACKS, BUSY, HOLD, HOST, SEND, SPIN, WORK
from kvmtrace.synth.engines.scheduler.parameters import HALT, ICR_WRITE, KICK, YIELD

if TYPE_CHECKING:
    from kvmtrace.synth.engines.scheduler.agenda import Agenda, Spread
    from kvmtrace.synth.engines.scheduler.fair import Vcpu
    from kvmtrace.synth.engines.scheduler.host import Host
    from kvmtrace.synth.engines.scheduler.parameters import Parameters, Policy


class Ebizzy:
    """What the guests of all vCPUs do; times in nanoseconds."""

    def __init__(self, parameters: Parameters, policy: Policy, host: Host, agenda: Agenda, spread: Spread) -> None:
        self._parameters = parameters
        self._policy = policy
        self._host = host
        self._agenda = agenda
        self._spread = spread
        host.guest = self

    def starts(self, vcpu: Vcpu) -> None:
        """Give a vCPU its first work: some way into a record."""
        self._begins_work(vcpu)
        vcpu.rounds = 1 + self._spread.below(self._parameters.rounds)
        vcpu.until_shootdown = 1 + self._spread.below(self._parameters.shootdown_every)

    def _begins_work(self, vcpu: Vcpu) -> None:
        vcpu.phase = WORK
        vcpu.whole_ns = vcpu.left_ns = self._spread.around(self._parameters.work_ns) // self._parameters.rounds

    # What the host tells.

    def exits(self, vcpu: Vcpu, now_ns: int) -> None:
        """Charge what was done since the entry."""
        used_ns = now_ns - vcpu.entered_ns
        if used_ns <= 0:
            return
        vcpu.entered_ns = now_ns
        if vcpu.phase == SPIN:
            vcpu.spin_left_ns -= used_ns
        else:
            vcpu.left_ns -= used_ns

    def enters(self, vcpu: Vcpu, at_ns: int) -> None:
        """Answer the IPIs that wait, and go on."""
        for sender in vcpu.pending:
            at_ns += self._parameters.ipi_handle_ns
            sender.acks -= 1
            sender.acks_by_ns = max(sender.acks_by_ns, at_ns)
            if not sender.acks and sender.phase == ACKS and sender.running:
                self._plan(sender, max(self._agenda.now_ns, sender.entered_ns))
        vcpu.pending.clear()
        vcpu.entered_ns = at_ns
        vcpu.window_end_ns = at_ns + vcpu.window_ns
        if vcpu.waits:
            vcpu.waits = False
            vcpu.spin_left_ns = self._parameters.spin_threshold_ns
        self._plan(vcpu, at_ns)

    def left(self, vcpu: Vcpu, now_ns: int) -> None:
        """Whoever waits behind this vCPU may see that it does not run."""
        if vcpu.phase == SPIN and not self._policy.keep_spinning:
            self._warn_next(vcpu, now_ns)

    # Steps.

    def _plan(self, vcpu: Vcpu, at_ns: int) -> None:
        """Note when a guest that is at a time does its next step."""
        phase = vcpu.phase
        if phase == BUSY:
            return
        vcpu.token += 1
        if phase == SPIN:
            at_ns = self._end_of_spinning(vcpu, at_ns)
        elif phase == ACKS:
            at_ns = vcpu.window_end_ns if vcpu.acks else max(at_ns, vcpu.acks_by_ns)
        elif phase == SEND:
            at_ns += self._parameters.icr_gap_ns
        else:
            at_ns += max(vcpu.left_ns, 0)
        self._agenda.step(at_ns, vcpu)

    def _end_of_spinning(self, vcpu: Vcpu, at_ns: int) -> int:
        parameters = self._parameters
        if vcpu is vcpu.vm.head:
            if vcpu.vm.holder is None:
                self._takes_lock(vcpu)
                return at_ns + vcpu.left_ns
        elif self._gives_up(vcpu):
            fresh = vcpu.spin_left_ns == parameters.spin_threshold_ns
            return at_ns + (parameters.first_check_ns if fresh else parameters.next_check_ns)
        return max(min(vcpu.window_end_ns, at_ns + vcpu.spin_left_ns), at_ns)

    def step(self, vcpu: Vcpu, now_ns: int) -> None:
        """Do what a guest planned."""
        self.exits(vcpu, now_ns)
        phase = vcpu.phase
        if phase == SPIN:
            self._spins(vcpu, now_ns)
        elif phase == ACKS:
            self._waits_for_acks(vcpu, now_ns)
        elif phase == SEND:
            self._sends(vcpu, now_ns)
        elif phase == HOST:
            self._host.block(vcpu, now_ns)
        elif vcpu.debt_ns:
            vcpu.left_ns, vcpu.debt_ns = vcpu.debt_ns, 0
            self._plan(vcpu, now_ns)
        elif phase == WORK:
            self._queues(vcpu, now_ns)
        elif vcpu.rounds > 1:
            vcpu.rounds -= 1
            self._begins_work(vcpu)
            self._unlocks(vcpu, now_ns)
        else:
            self._ends_record(vcpu, now_ns)

    # The lock.

    def _queues(self, vcpu: Vcpu, now_ns: int) -> None:
        vm = vcpu.vm
        if vm.holder is None and vm.head is None:
            vm.holder = vcpu
            vcpu.phase = HOLD
            vcpu.left_ns = self._parameters.hold_ns
        else:
            vcpu.phase = SPIN
            vcpu.hashed = False
            vcpu.spin_left_ns = self._parameters.spin_threshold_ns
            vcpu.window_end_ns = now_ns + vcpu.window_ns
            vcpu.previous = vm.tail
            if vm.tail is None:
                vm.head = vcpu
            else:
                vm.tail.next = vcpu
            vm.tail = vcpu
        self._plan(vcpu, now_ns)

    def _takes_lock(self, vcpu: Vcpu) -> None:
        vm = vcpu.vm
        vm.holder = vcpu
        vcpu.phase = HOLD
        vcpu.left_ns = self._parameters.hold_ns
        vm.head = after = vcpu.next
        vcpu.next = None
        if after is None:
            vm.tail = None
        else:
            after.previous = None
            after.spin_left_ns = self._parameters.spin_threshold_ns

    def _gives_up(self, vcpu: Vcpu) -> bool:
        before = vcpu.previous
        if before is None:
            return False
        return before.waits or (not before.running and not self._policy.keep_spinning)

    def _warn_next(self, vcpu: Vcpu, now_ns: int) -> None:
        after = vcpu.next
        if after is not None and after.running:
            self.exits(after, now_ns)
            self._plan(after, max(now_ns, after.entered_ns))

    def _spins(self, vcpu: Vcpu, now_ns: int) -> None:
        if vcpu is vcpu.vm.head and vcpu.vm.holder is None:
            self._plan(vcpu, now_ns)
        elif self._gives_up(vcpu) or vcpu.spin_left_ns <= 0:
            self._host.leave_guest(vcpu, now_ns, HALT)
            vcpu.waits = vcpu.hashed = True
            self._warn_next(vcpu, now_ns)
            self._host.block(vcpu, now_ns)
        elif now_ns >= vcpu.window_end_ns:
            self._host.on_spin(vcpu, now_ns)
        else:
            self._plan(vcpu, now_ns)

    def _unlocks(self, vcpu: Vcpu, now_ns: int) -> None:
        vcpu.vm.holder = None
        head = vcpu.vm.head
        if head is None or (not head.running and not head.hashed):
            self._plan(vcpu, now_ns)
        elif head.running:
            self.exits(head, now_ns)
            self._plan(head, max(now_ns, head.entered_ns))
            self._plan(vcpu, now_ns)
        else:
            self._kicks(vcpu, head, now_ns)

    def _kicks(self, vcpu: Vcpu, head: Vcpu, now_ns: int) -> None:
        self._host.leave_guest(vcpu, now_ns, KICK)
        cost_ns = self._parameters.exit_ns[KICK]
        vcpu.entered_ns = now_ns + cost_ns
        near = head.runnable or self._parameters.same_socket(vcpu.queue.cpu, head.queue.cpu)
        if not head.runnable:
            self._host.wake(head, now_ns)
        if self._policy.boost_queue_head and near and self._host.yield_to(vcpu, head, now_ns, KICK) > 0:
            return
        if vcpu.running:
            self._host.enter(vcpu, now_ns + cost_ns)

    # The shootdown.

    def _ends_record(self, vcpu: Vcpu, now_ns: int) -> None:
        vcpu.rounds = self._parameters.rounds
        vcpu.until_shootdown -= 1
        if vcpu.until_shootdown:
            vcpu.vm.records += 1
            self._begins_work(vcpu)
            self._unlocks(vcpu, now_ns)
            return
        vcpu.until_shootdown = self._parameters.shootdown_every
        vcpu.phase = SEND
        vcpu.sent = vcpu.acks = vcpu.acks_by_ns = 0
        if self._parameters.locked_shootdown:
            self._plan(vcpu, now_ns)
        else:
            self._unlocks(vcpu, now_ns)

    def _sends(self, vcpu: Vcpu, now_ns: int) -> None:
        """Send the IPIs of one cluster, which is one write of the ICR; those that halt are woken."""
        parameters = self._parameters
        vcpus = vcpu.vm.vcpus
        first = vcpu.sent
        vcpu.sent = first + parameters.ipi_cluster
        self._host.leave_guest(vcpu, now_ns, ICR_WRITE)
        vcpu.entered_ns = now_ns + parameters.exit_ns[ICR_WRITE]
        woken = 0
        for target in vcpus[first : vcpu.sent]:
            if target is vcpu:
                continue
            if target.running:
                answered_ns = max(now_ns, target.entered_ns) + parameters.ipi_handle_ns
                vcpu.acks_by_ns = max(vcpu.acks_by_ns, answered_ns)
                if target.phase == WORK:
                    target.debt_ns += parameters.ipi_handle_ns
                continue
            vcpu.acks += 1
            target.pending.append(vcpu)
            if not target.runnable:
                woken += 1
                self._host.wake(target, now_ns)
        if vcpu.sent >= len(vcpus):
            vcpu.phase = ACKS
            vcpu.vm.records += 1
        entry_ns = now_ns + parameters.exit_ns[ICR_WRITE] + woken * parameters.waker_ns
        self._host.enter(vcpu, entry_ns)
        if vcpu.phase == ACKS and self._policy.yield_to_ipi_target and vcpu.acks:
            # The sender looks for a target that does not run: a step of its own, right after the last write.
            vcpu.sent = 0
            vcpu.token += 1
            self._agenda.step(entry_ns + parameters.icr_gap_ns, vcpu)

    def _waits_for_acks(self, vcpu: Vcpu, now_ns: int) -> None:
        if not vcpu.sent:
            vcpu.sent = len(vcpu.vm.vcpus)
            target = next((each for each in vcpu.vm.vcpus if not each.running), None)
            if target is not None:
                self._yields(vcpu, target, now_ns)
                return
        if not vcpu.acks and vcpu.acks_by_ns <= now_ns:
            self._begins_work(vcpu)
            if vcpu.vm.holder is vcpu:
                self._unlocks(vcpu, now_ns)
            else:
                self._plan(vcpu, now_ns)
        elif now_ns >= vcpu.window_end_ns:
            self._host.on_spin(vcpu, now_ns)
        else:
            self._plan(vcpu, now_ns)

    def _yields(self, vcpu: Vcpu, target: Vcpu, now_ns: int) -> None:
        self._host.leave_guest(vcpu, now_ns, YIELD)
        vcpu.entered_ns = now_ns + self._parameters.exit_ns[YIELD]
        if self._host.yield_to(vcpu, target, now_ns, YIELD) <= 0 and vcpu.running:
            self._host.enter(vcpu, vcpu.entered_ns)
