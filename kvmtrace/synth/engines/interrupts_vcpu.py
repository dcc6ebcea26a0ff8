"""One vCPU with its local APIC: what is pending, what is in service, what the guest does, and when it is out.

Interrupts are accepted into the request register (IRR), injected into the in-service register (ISR) by priority, and
leave it at their EOI. As arch/x86/kvm/lapic.c has it, the bit of PV EOI is set at an entry if nothing is pending, an
interrupt was injected with no EOI since (highest_isr_cache), and it is not the IOAPIC's; every exit takes the bit
back, and where the guest took it before, the EOI is done then. So an EOI exits where another interrupt is pending, or
came in between: how often follows from times alone.

A loop over interrupts: what one does depends on all before it.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kvmtrace.synth.engines.interrupts_scripts import ENTRY
from kvmtrace.synth.engines.interrupts_sources import ExitKind, Other, Source, Streams

if TYPE_CHECKING:
    from kvmtrace.synth.engines.interrupts_workload import InterruptsSetting
    from kvmtrace.synth.exit_scripts import Scripts

NEVER = 1 << 62
COLUMNS = 6
"""script, start, span, thread, vector, and one number more: ended, coalesced, reinjected or wait_ns."""
Rows = NDArray[np.int64]
"""n rows of `COLUMNS` numbers."""
_CLASS_BITS = 4
_PS_OF_NS = 1_000


class Vcpu:
    """A vCPU, whose rows (COLUMNS numbers each) are what happened to it and was told to it."""

    def __init__(self, index: int, seed: int, setting: InterruptsSetting, scripts: Scripts, first_worker: int) -> None:
        work = setting.workload
        hz = setting.platform.clock_hz
        streams = Streams(seed, index, hz)
        sources = {
            name: Source(name, spec, scripts, streams, first_worker + number)
            for number, (name, spec) in enumerate(work.sources.items())
        }
        self._thread = index
        self._sources = {source.vector: source for source in sources.values()}
        costs = {name: streams.costs(scripts.costs[number], name) for name, number in scripts.names.items()}
        self._exits = {name: ExitKind(name, scripts, costs[name]) for name in setting.exits}
        self._kick, self._window_exit, self._eoi = (self._exits[name] for name in (work.kick, work.window, work.eoi))
        self._halt = self._exits[work.halt] if work.halt else None
        self._injection, self._entry = scripts.names[work.injection], scripts.names[ENTRY]
        self._injection_ps = costs[work.injection]
        self._pv = work.pv_eoi is not None
        self._pv_before = work.pv_eoi_before_exit
        self._pv_script = scripts.names[work.pv_eoi] if work.pv_eoi else -1
        self._pv_ps = costs[work.pv_eoi] if work.pv_eoi else iter([0])
        self._wakeup = scripts.names[work.wakeup] if work.wakeup else -1
        self._wakeup_ps = costs[work.wakeup] if work.wakeup else None
        self._before_halt = streams.costs(work.before_halt.distribution(hz), "before_halt")
        self._late = None if work.late is None else streams.chances(work.late.chance, "late")
        self._late_ps = None if work.late is None else streams.costs(work.late.time.distribution(hz), "late", "time")

        self.rows: list[int] = []
        self.now_ps = int(streams.draws("start").below(1, 1_000_000)[0])
        self._irr = self._isr = 0
        self._cache = -1  # the last injected vector, where no EOI came since
        self._bit_set = self._bit_taken = False  # by the host, and then by the guest
        self._window = False  # the host asked to be told when the guest can be interrupted
        self._handlers: list[tuple[Source, bool, int]] = []  # source, its EOI is done, picoseconds left
        self._main_ps = next(self._before_halt) if work.halt else NEVER  # of the guest's own work
        self._halted_ps = -1
        self._back_ps = 0  # of a halt's exit, after the wait
        self._worked_ps = 0  # outside handlers
        self._works: list[tuple[int, int, Source]] = []  # the next of a source comes when so much is worked
        self._deferred: list[Other] = []
        self._coming: list[tuple[int, int, Source | Other]] = []
        self._number = 0
        for source in sources.values():
            self._next_closed(source)
            self._next_of(source)
        for name, spec in work.background.items():
            other = Other(spec, streams.draws("background", name), sources)
            self._come(next(other.times), other)

    @property
    def certain_ps(self) -> int:
        """Time before which no later row begins."""
        told = [source.told_ps for source in self._sources.values() if source.times is not None]
        reached = self._coming[0][0] if self._halted_ps >= 0 and self._coming else self.now_ps
        return min([reached, *told])

    def rows_until(self, end_ps: int) -> Rows:
        """Go on, and return what happened meanwhile; an exit that began before the end is told whole."""
        self._runs_until(end_ps)
        rows = np.array(self.rows, np.int64).reshape(-1, COLUMNS)
        self.rows = []
        return rows

    def _runs_until(self, end_ps: int) -> None:
        handlers, coming = self._handlers, self._coming
        while self.now_ps < end_ps:
            next_ps = coming[0][0] if coming else NEVER
            if self._halted_ps >= 0:
                if next_ps >= end_ps:
                    return
                self._wakes()
            elif self._window and not (handlers and handlers[-1][0].masked):
                self._exit(self._window_exit)
            elif handlers:
                self._handles_until(next_ps)
            elif self._deferred:
                self._background(self._deferred.pop(0))
            else:
                self._works_until(next_ps)

    def _handles_until(self, next_ps: int) -> None:
        """Let a handler run until something comes, or it writes its EOI, or ends."""
        handlers = self._handlers
        source, done, left_ps = handlers[-1]
        if self.now_ps + left_ps > next_ps:
            ran_ps = max(next_ps - self.now_ps, 0)
            handlers[-1] = (source, done, left_ps - ran_ps)
            self.now_ps += ran_ps
            self._told()
            return
        self.now_ps += left_ps
        if not done:
            after_ps = next(source.after_eoi)
            if not self._bit_set or self._bit_taken:
                handlers[-1] = (source, True, after_ps)
                self._exit(self._eoi)
                return
            self._bit_taken = True
            if self.now_ps + after_ps > next_ps:
                handlers[-1] = (source, True, after_ps)
                return
            self.now_ps += after_ps
        handlers.pop()
        self._next_closed(source)
        if not handlers and self._halt is not None:
            self._main_ps = next(self._before_halt)

    def _works_until(self, next_ps: int) -> None:
        """Let the guest do its own work until something comes, or it causes an interrupt, or halts."""
        works, coming = self._works, self._coming
        while works and self._halt is None:
            due_ps = self.now_ps + works[0][0] - self._worked_ps
            if due_ps > next_ps:
                break
            self._worked_ps = works[0][0]
            self.now_ps = due_ps
            self._raise_at(heappop(works)[2], due_ps)
            next_ps = coming[0][0]
        left_ps = works[0][0] - self._worked_ps if works else NEVER
        left_ps = min(left_ps, self._main_ps)
        stays = self.now_ps + left_ps > next_ps
        if stays:
            left_ps = max(next_ps - self.now_ps, 0)
        self.now_ps += left_ps
        self._worked_ps += left_ps
        if self._halt is None:
            self._told()
            return
        self._main_ps -= left_ps
        if stays:
            self._told()
        elif self._main_ps == 0:
            self._halts(self._halt)
        else:
            self._raise_at(heappop(works)[2], self.now_ps)

    def _next_closed(self, source: Source) -> None:
        """Let the next interrupt come of a source that waits for the last one."""
        if source.think is not None:
            self._raise_at(source, self.now_ps + next(source.think))
        elif source.work is not None:
            self._number += 1
            heappush(self._works, (self._worked_ps + next(source.work), self._number, source))

    def _told(self) -> None:
        """Handle what comes while the guest runs, if anything ever does."""
        if not self._coming:
            return
        _, _, each = heappop(self._coming)
        if isinstance(each, Source):
            self._next_of(each)
            self._exit(self._kick, each)
            return
        self._come(next(each.times), each)
        if each.host or not self._handlers:
            self._background(each)
        else:
            self._deferred.append(each)

    def _background(self, each: Other) -> None:
        self._exit(self._exits[each.exit], raises=each.raises)

    def _exit(self, kind: ExitKind, told: Source | None = None, raises: Source | None = None) -> None:
        """Leave the guest, and enter it again."""
        found, ended_ps = self._finds() if self._bit_taken else (0, 0)
        self._bit_set = self._bit_taken = False
        start_ps = self.now_ps
        vector = self._ends() if kind is self._eoi else 0
        self.now_ps = end_ps = start_ps + next(kind.costs) + ended_ps
        timers: list[Source] = []
        if told is not None:
            if told.own:
                timers.append(told)
            else:
                self._irr |= told.bit
        if raises is not None:
            vector = raises.vector
            self._irr |= raises.bit
        if self._coming and self._coming[0][0] <= end_ps:
            timers += self._comes_until(end_ps)
        if timers or (self._irr and self._can_inject()):
            script = kind.found_opened if ended_ps else kind.opened
            self.rows += (script, start_ps, end_ps - start_ps, self._thread, vector, found)
            if timers:
                self._accept(timers)
            self._enter()
        else:
            script = kind.found if ended_ps else kind.plain
            self.rows += (script, start_ps, end_ps - start_ps, self._thread, vector, found)
        self._settle()

    def _finds(self) -> tuple[int, int]:
        """End what the guest ended; return its vector, and the time that this takes of the exit."""
        vector = self._ends()
        span_ps = max(next(self._pv_ps), 1)
        if not self._pv_before:
            return vector, span_ps
        self.rows += (self._pv_script, self.now_ps, span_ps, self._thread, vector, vector)
        self.now_ps += span_ps
        return vector, 0

    def _ends(self) -> int:
        """Return the highest vector in service, which is ended; 0: none was."""
        vector = self._isr.bit_length() - 1
        if vector < 0:
            return 0
        self._isr ^= 1 << vector
        self._cache = -1
        return vector

    def _can_inject(self) -> bool:
        """Tell whether something pending has a higher priority class than all in service, and the guest takes it."""
        if self._irr.bit_length() - 1 >> _CLASS_BITS <= self._isr.bit_length() - 1 >> _CLASS_BITS:
            return False
        return not (self._handlers and self._handlers[-1][0].masked)

    def _accept(self, timers: list[Source]) -> None:
        """Accept interrupts of the vCPU's own thread."""
        for source in timers:
            span_ps = next(source.span) if source.span is not None else 0
            coalesced = int(self._irr & source.bit != 0)
            self.rows += (source.script, self.now_ps, span_ps, self._thread, source.vector, coalesced)
            self._irr |= source.bit
            self.now_ps += span_ps

    def _enter(self) -> None:
        """Inject what can be, and enter the guest."""
        if not self._irr or not self._can_inject():
            self.rows += (self._entry, self.now_ps, 0, self._thread, 0, 0)
            return
        source = self._sources[self._irr.bit_length() - 1]
        self._irr ^= source.bit
        self._isr |= source.bit
        self._cache = source.vector
        again = 0
        while True:
            span_ps = next(self._injection_ps)
            if not again and self._late is not None and self._late_ps is not None and next(self._late):
                span_ps += next(self._late_ps)
            self.rows += (self._injection, self.now_ps, span_ps, self._thread, source.vector, again)
            self.now_ps += span_ps
            if not self._coming or self._coming[0][0] > self.now_ps:
                break
            # What comes now cancels the entry: KVM takes the injection back, and does it again.
            pending = self._irr
            timers = self._comes_until(self.now_ps)
            if not timers and self._irr == pending:
                break
            self._accept(timers)
            again = 1
        self._handlers.append((source, False, next(source.until_eoi)))
        self.rows += (self._entry, self.now_ps, 0, self._thread, 0, 0)

    def _settle(self) -> None:
        """Ask for what the host wants to know, and offer an EOI without an exit."""
        if self._irr:
            due = self._irr.bit_length() - 1 >> _CLASS_BITS
            self._window = due > self._isr.bit_length() - 1 >> _CLASS_BITS
            return
        self._window = False
        if self._cache >= 0 and self._pv and not self._sources[self._cache].level:
            self._bit_set = True

    def _halts(self, kind: ExitKind) -> None:
        """Leave the guest with HLT, and stay out unless something is pending."""
        found, ended_ps = self._finds() if self._bit_taken else (0, 0)
        self._bit_set = self._bit_taken = False
        out_ps = next(kind.costs)
        span_ps = out_ps // 2 + ended_ps
        self._back_ps = out_ps - out_ps // 2
        script = kind.found_opened if ended_ps else kind.opened
        self.rows += (script, self.now_ps, span_ps, self._thread, 0, found)
        self.now_ps += span_ps
        timers = self._comes_until(self.now_ps)
        self._main_ps = next(self._before_halt)
        if timers or self._irr:
            self.now_ps += self._back_ps
            self._accept(timers)
            self._enter()
            self._settle()
        else:
            self._halted_ps = self.now_ps

    def _wakes(self) -> None:
        """Take what comes to a halted vCPU: an interrupt wakes it."""
        at_ps, _, each = heappop(self._coming)
        self.now_ps = max(at_ps, self.now_ps)
        if isinstance(each, Other):
            self._come(next(each.times), each)
            if not each.host:
                self._deferred.append(each)
            return
        self._next_of(each)
        self.now_ps += self._back_ps
        span_ps = next(self._wakeup_ps) if self._wakeup_ps is not None else 0
        waited_ns = (self.now_ps - self._halted_ps) // _PS_OF_NS
        self.rows += (self._wakeup, self.now_ps, span_ps, self._thread, each.vector, waited_ns)
        self.now_ps += span_ps
        self._halted_ps = -1
        if not each.own:
            self._irr |= each.bit
        self._accept([each] if each.own else [])
        self._accept(self._comes_until(self.now_ps))
        self._enter()
        self._settle()

    def _comes_until(self, end_ps: int) -> list[Source]:
        """Take what comes while the vCPU is out; return interrupts that its own thread is to accept."""
        timers: list[Source] = []
        coming = self._coming
        while coming and coming[0][0] <= end_ps:
            _, _, each = heappop(coming)
            if isinstance(each, Other):
                self._come(next(each.times), each)
                if not each.host:  # the host's own interrupts need no exit now
                    self._deferred.append(each)
            else:
                self._next_of(each)
                if each.own:
                    timers.append(each)
                else:
                    self._irr |= each.bit
        return timers

    def _come(self, at_ps: int, each: Source | Other) -> None:
        self._number += 1
        heappush(self._coming, (at_ps, self._number, each))

    def _next_of(self, source: Source) -> None:
        if source.times is not None:
            self._raise_at(source, next(source.times))

    def _raise_at(self, source: Source, start_ps: int) -> None:
        """Let an interrupt come; a worker tells one after the other."""
        if source.own:
            source.told_ps = start_ps
            self._come(start_ps, source)
            return
        start_ps = max(start_ps, source.busy_ps)
        span_ps = next(source.span) if source.span is not None else 0
        source.told_ps = start_ps
        source.busy_ps = start_ps + span_ps
        self.rows += (source.script, start_ps, span_ps, source.worker, source.vector, 0)
        self._come(start_ps + span_ps, source)
