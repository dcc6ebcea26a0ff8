"""VMs that run ebizzy -M, VMs of busy vCPUs and other work of the host, on the CPUs of one machine, event by event."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from kvmtrace.synth.draws import Draws
from kvmtrace.synth.engines.scheduler.agenda import Agenda, Spread
from kvmtrace.synth.engines.scheduler.ebizzy import Ebizzy
from kvmtrace.synth.engines.scheduler.fair import BUSY, HOST, WORK, RunQueue, Vcpu, Vm
from kvmtrace.synth.engines.scheduler.host import Host

if TYPE_CHECKING:
    from kvmtrace.synth.engines.scheduler.parameters import Parameters, Policy


class Simulation:
    """One machine. Threads have numbers: vCPUs VM by VM, those of the busy VMs last, then one of the host for each CPU.

    The same for the same parameters, policy and seed on every machine; times in nanoseconds from 0 on.
    """

    def __init__(self, parameters: Parameters, policy: Policy, seed: int) -> None:
        self.parameters = parameters
        self._agenda = Agenda()
        self._spread = Spread(Draws(seed, "scheduler"))
        self._host = Host(parameters, policy)
        self._guests = Ebizzy(parameters, policy, self._host, self._agenda, self._spread)
        self.queues = [RunQueue(cpu, parameters) for cpu in range(parameters.vcpus)]
        self.vms = [Vm() for _ in range(parameters.vms + len(parameters.busy_vcpus))]
        for number, vm in enumerate(self.vms):
            phase = WORK if number < parameters.vms else BUSY
            first = number * parameters.vcpus
            vm.vcpus = [
                Vcpu(first + index, vm, self.queues[parameters.cpu_of(number, index)], phase)
                for index in range(parameters.vcpus)
            ]
        self.vcpus = [vcpu for vm in self.vms for vcpu in vm.vcpus]
        self.host_threads = [Vcpu(len(self.vcpus) + queue.cpu, Vm(), queue, HOST) for queue in self.queues]
        self._start()

    def run(self, until_ns: int) -> None:
        """Go on up to a time."""
        self._agenda.run(until_ns, self._guests.step)

    def records(self) -> list[int]:
        """Return the records that each VM of ebizzy has finished so far: those whose shootdown is sent."""
        return [vm.records for vm in self.vms[: self.parameters.vms]]

    def _start(self) -> None:
        parameters = self.parameters
        for queue, thread in zip(self.queues, self.host_threads, strict=True):
            self._agenda.call(self._spread.below(parameters.tick_ns), partial(self._tick, queue))
            if parameters.host_task_ns:
                self._agenda.call(self._spread.around(parameters.host_task_gap_ns), partial(self._host_task, thread))
        for number, vm in enumerate(self.vms):
            busy = number - parameters.vms
            count = len(vm.vcpus) if busy < 0 else parameters.busy_vcpus[busy]
            for vcpu in vm.vcpus[:count]:
                vcpu.vruntime_ns = self._spread.below(parameters.latency_ns)
                if vcpu.phase == WORK:
                    self._guests.starts(vcpu)
                vcpu.runnable = True
                vcpu.queue.waiting.append(vcpu)
        for queue in self.queues:
            self._host.reschedule(queue, 0)

    def _tick(self, queue: RunQueue, now_ns: int) -> None:
        self._agenda.call(now_ns + self.parameters.tick_ns, partial(self._tick, queue))
        self._host.tick(queue, now_ns)

    def _host_task(self, thread: Vcpu, now_ns: int) -> None:
        self._agenda.call(
            now_ns + self._spread.around(self.parameters.host_task_gap_ns), partial(self._host_task, thread)
        )
        if not thread.runnable:
            thread.left_ns = self._spread.around(self.parameters.host_task_ns)
            self._host.wake(thread, now_ns)
