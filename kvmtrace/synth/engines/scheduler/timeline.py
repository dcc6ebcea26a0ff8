"""A simulation, stretch by stretch → exits and switches with their events."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.synth.draws import Draws
from kvmtrace.synth.emission import PS_OF_NS, Emitter, Happened, Piece
from kvmtrace.synth.engines.scheduler.fair import IDLE
from kvmtrace.synth.engines.scheduler.parameters import EXITS
from kvmtrace.synth.engines.scheduler.setting import SWITCH
from kvmtrace.synth.engines.scheduler.simulation import Simulation
from kvmtrace.synth.machine import Thread, vcpu_threads

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from kvmtrace.synth.blocks import Window
    from kvmtrace.synth.engine import Run
    from kvmtrace.synth.engines.scheduler.setting import SchedulerSetting
    from kvmtrace.synth.exit_scripts import Scripts

S_NS = 10**9
_MS_NS = 10**6
_STRETCH_NS = 10 * _MS_NS
_NEVER_NS = 1 << 52
_FIRST_KWORKER = 500
_SCHED_SWITCH = "sched_switch"


def threads_of(setting: SchedulerSetting) -> list[Thread]:
    """Return vCPUs, then of each CPU a kernel worker, then of each CPU the idle thread."""
    parameters = setting.parameters
    vcpus = [
        Thread(each.pid, each.tid, each.comm, each.vm, each.vcpu, parameters.cpu_of(each.vm, each.vcpu))
        for each in vcpu_threads(setting.platform)
    ]
    cpus = range(setting.platform.cpus)
    workers = [Thread(_FIRST_KWORKER + cpu, _FIRST_KWORKER + cpu, f"kworker/{cpu}:1", -1, -1, cpu) for cpu in cpus]
    return [*vcpus, *workers, *(Thread(0, 0, f"swapper/{cpu}", -1, -1, cpu) for cpu in cpus)]


class Timeline:
    """A run of the simulation as events; times of the recording begin where the simulation has settled."""

    def __init__(self, run: Run, setting: SchedulerSetting, scripts: Scripts, threads: list[Thread]) -> None:
        self._scripts = scripts
        self._simulation = Simulation(setting.parameters, setting.policy, run.seed)
        self._emitter = Emitter(scripts, threads, Draws(run.seed, "fields"))
        self._exits = np.array([scripts.names[name] for name in EXITS])
        self._start_ns = round(setting.workload.settle_ms * _MS_NS)
        self._end_ns = self._start_ns + round(run.seconds * S_NS)
        self._idle = len(threads) - setting.platform.cpus
        self._tids = np.array([thread.tid for thread in threads])
        self._comms = np.array([thread.comm.encode() for thread in threads], "S16")

    def windows(self) -> Iterator[Window]:
        """Yield the events of one stretch after the other."""
        self._simulation.run(self._start_ns)
        self._settled()
        for now_ns in range(self._start_ns, self._end_ns, _STRETCH_NS):
            until_ns = min(now_ns + _STRETCH_NS, self._end_ns)
            self._simulation.run(until_ns)
            last = until_ns == self._end_ns
            certain_ns = until_ns if last else min(until_ns, self._open_from())
            yield [self._of_exits(last=last), self._of_switches()], certain_ns - self._start_ns

    def _settled(self) -> None:
        """Forget what happened before the recording; an exit that is still open then is never seen."""
        for vcpu in self._simulation.vcpus:
            kept = len(vcpu.exits) - 1 if vcpu.entries and vcpu.entries[-1] > self._start_ns else len(vcpu.entries)
            del vcpu.exits[:kept], vcpu.reasons[:kept], vcpu.entries[:kept]
        for queue in self._simulation.queues:
            queue.switches[:] = [switch for switch in queue.switches if switch.at_ns >= self._start_ns]

    def _open_from(self) -> int:
        """Return the time of the first exit whose entry has not come: it may still be taken back."""
        return min((vcpu.exits[-1] for vcpu in self._simulation.vcpus if vcpu.exits), default=self._end_ns)

    def _of_exits(self, *, last: bool) -> Piece:
        exits: list[int] = []
        entries: list[int] = []
        reasons: list[int] = []
        owners: list[int] = []
        for vcpu in self._simulation.vcpus:
            # The last one stays: its entry is open, or to come and may be taken back.
            done = len(vcpu.exits) - (0 if last else 1)
            if done <= 0:
                continue
            if last and len(vcpu.entries) < len(vcpu.exits):
                vcpu.entries.append(_NEVER_NS)
            exits += vcpu.exits[:done]
            reasons += vcpu.reasons[:done]
            entries += vcpu.entries[:done]
            owners += [vcpu.number] * done
            del vcpu.exits[:done], vcpu.reasons[:done], vcpu.entries[:done]
        start_ns = np.array(exits, np.int64) - self._start_ns
        span_ns = np.array(entries, np.int64) - self._start_ns - start_ns
        script = self._exits[np.array(reasons, np.int64)]
        nothing = np.zeros(len(exits), np.int64)
        values = {"prev": nothing, "next": nothing, "state": nothing}
        return self._seen(Happened(script, start_ns * PS_OF_NS, span_ns * PS_OF_NS, np.array(owners, np.int64), values))

    def _of_switches(self) -> Piece:
        rows = []
        for queue in self._simulation.queues:
            idle = self._idle + queue.cpu
            for switch in queue.switches:
                threads = [idle if number == IDLE else number for number in (switch.previous, switch.next)]
                rows.append((switch.at_ns - self._start_ns, threads[0], switch.state, threads[1]))
            queue.switches.clear()
        columns: NDArray[np.int64] = np.array(rows, np.int64).reshape(-1, 4)
        at_ns, before, state, after = (columns[:, number].copy() for number in range(4))
        script = np.full(len(rows), self._scripts.names[SWITCH])
        values = {"prev": self._tids[before], "next": self._tids[after], "state": state}
        happened = Happened(script, at_ns * PS_OF_NS, np.zeros(len(rows), np.int64), before, values)
        piece = self._seen(happened)
        self._name(piece, before, after, at_ns)
        return piece

    def _seen(self, happened: Happened) -> Piece:
        piece = self._emitter.events(happened)
        return piece.part((piece.ts_ns >= 0) & (piece.ts_ns < self._end_ns - self._start_ns))

    def _name(
        self, piece: Piece, before: NDArray[np.int64], after: NDArray[np.int64], at_ns: NDArray[np.int64]
    ) -> None:
        """Fill in the names of the threads, which are no numbers that a script could be given."""
        seen = (at_ns >= 0) & (at_ns < self._end_ns - self._start_ns)
        for number, kind in enumerate(self._scripts.kinds):
            if kind.event.name != _SCHED_SWITCH or number not in piece.records:
                continue
            records = piece.records[number].view(kind.records)
            for field, threads in (("prev_comm", before[seen]), ("next_comm", after[seen])):
                records[field] = self._comms[threads].view(records[field].dtype.base).reshape(records[field].shape)
