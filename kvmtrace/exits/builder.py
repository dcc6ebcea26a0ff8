"""Blocks of events → exits, and blocks whose events know their exit."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from kvmtrace.arch.base import Role
from kvmtrace.exits.doubts import Holes
from kvmtrace.exits.facets import NOT_KNOWN, Facets, Inside, find_facets
from kvmtrace.exits.halts import PollLimits
from kvmtrace.exits.pairing import NONE, Pairs, pair
from kvmtrace.exits.reading import AttributedBlock, EventReader, tells_lane_vcpu
from kvmtrace.exits.reasons import Reasons
from kvmtrace.exits.threads import GuestStays, Threads, VirtualMachines
from kvmtrace.exits.timeline import Timeline
from kvmtrace.exits.vcpus import InferredVcpus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from kvmtrace.arch import Architecture
    from kvmtrace.exits.lanes import Lanes
    from kvmtrace.recording import EventBlock, Facts

_UNKNOWN = -1
_DRAIN_ROWS = 1 << 17
_HOLD_ROWS = 1 << 20
"""Rows held at most where the source never says that nothing older can come: some 200 bytes of memory each."""
_LONGEST_NS = 1 << 53
"""Longest latency that is believed, 104 days: a longer one comes of a damaged time."""
_FOREVER = np.iinfo(np.int64).max


class ClosedBy(IntEnum):
    """What ended an exit."""

    ENTRY = 0
    NEXT_EXIT = 1
    HOLE = 2
    END = 3


@dataclass(frozen=True, slots=True)
class Exits:
    """n exits, by thread and time; -1 in a time or a CPU is: there is none."""

    exit_id: NDArray[np.int64]
    vm: NDArray[np.int32]  # index into ExitBuilder.vms.names
    vcpu: NDArray[np.int32]
    tid: NDArray[np.int32]
    cpu: NDArray[np.int32]
    entry_cpu: NDArray[np.int32]
    exit_ts_ns: NDArray[np.int64]
    entry_ts_ns: NDArray[np.int64]
    latency_ns: NDArray[np.int64]
    guest_ns: NDArray[np.int64]
    reason: NDArray[np.int32]  # index into ExitBuilder.reasons.meanings
    facets: Facets
    closed_by: NDArray[np.int8]
    suspect: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.exit_id)

    @property
    def incomplete(self) -> NDArray[np.bool_]:
        """Whether events may be missing inside: something was lost, or the end was not recorded."""
        unclosed: NDArray[np.bool_] = self.closed_by != ClosedBy.ENTRY
        return unclosed | self.suspect


@dataclass(slots=True)
class Tally:
    """What pairing counted."""

    exits: int = 0
    closed_by: NDArray[np.int64] = None  # type: ignore[assignment]  # set below: arrays are no defaults
    suspect: int = 0
    entries_without_exit: int = 0
    late_events: int = 0

    def __post_init__(self) -> None:
        self.closed_by = np.zeros(len(ClosedBy), np.int64)


class ExitBuilder:
    """Pairs exits and entries of one recording, block by block."""

    def __init__(self, facts: Facts, architecture: Architecture, drain_rows: int = _DRAIN_ROWS) -> None:
        self.facts = facts
        self.architecture = architecture
        self._drain_rows = drain_rows
        self.threads = Threads()
        self.vms = VirtualMachines(self.threads, facts)
        self.reasons = Reasons(architecture)
        self.tally = Tally()
        self._reader = EventReader(facts, architecture, self.threads, self.reasons)
        self.inferred = InferredVcpus(facts, self.threads)
        self._holes = Holes()
        self._poll_limits = PollLimits()
        self._held: list[Timeline] = []
        self._held_rows = 0
        self._carry = Timeline.empty()
        self._pending: deque[AttributedBlock] = deque()
        self._watermark = -_FOREVER
        self._drained_to = -_FOREVER
        roles = [(architecture.event_roles(kind)[0].role, kind) for kind in facts.events]
        self._sampled = any(role <= Role.ENTRY and kind.period != 1 for role, kind in roles)
        self._entries_recorded = any(role == Role.ENTRY for role, _ in roles)
        telling = [kind for _, kind in roles if tells_lane_vcpu(architecture, kind)]
        self.boundaries_tell = bool(telling)
        self.vcpu_fields = sorted({architecture.vcpu_field(kind) or "" for kind in telling})

    @property
    def own_events(self) -> list[str]:
        """Return the names of the events that told the vCPU of their thread."""
        return sorted(self._reader.tellers)

    @property
    def lanes(self) -> Lanes:
        """Return which threads speak for several vCPUs."""
        return self._reader.lanes

    @property
    def settled_to_ns(self) -> int:
        """Return the time up to which exits were told, but for those still open."""
        return self._drained_to

    def add(self, block: EventBlock) -> Iterator[Exits | AttributedBlock]:
        """Take over a block; yield what is certain now: exits, and blocks in the order of the source."""
        for loss in block.losses:
            self._holes.add(loss)
        attributed, rows = self._reader.read(block)
        self.tally.exits = self._reader.exits
        self._pending.append(attributed)
        self._held.append(rows)
        self._held_rows += len(rows)
        self.tally.late_events += int((block.ts_ns < self._drained_to).sum())
        self._watermark = max(self._watermark, block.watermark_ns)
        if self._held_rows >= self._drain_rows and self._watermark > self._drained_to:
            yield from self._drain(self._watermark)
        if self._held_rows >= _HOLD_ROWS:
            yield from self._drain(int(np.median(np.concatenate([rows.ts_ns for rows in self._held]))))

    def finish(self) -> Iterator[Exits | AttributedBlock]:
        """Yield all that is left; exits that are still open end with the recording."""
        yield from self._drain(_FOREVER)
        left = self._carry
        lane = self.threads.lanes(left.thread)
        pairs = pair(lane, left.role)
        if len(pairs.exits):
            yield self._exits(left, lane, pairs, np.arange(len(pairs.exits)), closed=False)

    def _drain(self, watermark: int) -> Iterator[Exits | AttributedBlock]:
        held = Timeline.concat([self._carry, *self._held])
        ready = np.flatnonzero(held.ts_ns <= watermark)
        self._held = [held.take(np.flatnonzero(held.ts_ns > watermark))] if len(ready) < len(held) else []
        self._held_rows = sum(len(rows) for rows in self._held)
        self._drained_to = watermark
        rows = held.take(held.order(ready, self.threads.lanes))
        lane = self.threads.lanes(rows.thread)
        pairs = pair(lane, rows.role)
        self.tally.entries_without_exit += len(pairs.lone_entries)
        self._learn_vcpus(rows, lane)
        closed = np.flatnonzero(pairs.closer != NONE)
        if len(closed):
            yield self._exits(rows, lane, pairs, closed, closed=True)
        self._attribute(rows, lane, pairs)
        self._poll_limits.learn(rows, lane, pairs)
        carried = rows.take(pairs.carry)
        self._carry = replace(carried, target=np.full(len(carried), NONE))
        open_since = int(self._carry.ts_ns.min()) if len(self._carry) else watermark
        self._holes.forget(min(open_since, watermark))
        while self._pending and self._pending[0].newest_ns <= watermark:
            settled = self._pending.popleft()
            yield settled

    def _learn_vcpus(self, rows: Timeline, lane: NDArray[np.int32]) -> None:
        if not self.boundaries_tell:  # what was inferred once holds to the end: a lane of two numbers would be two
            rows.vcpu[self.inferred.holds(lane)] = _UNKNOWN
        told = np.flatnonzero(rows.vcpu != _UNKNOWN)
        self.threads.vcpu[lane[told]] = rows.vcpu[told]
        if not self.boundaries_tell:
            bounds = lane[rows.role <= Role.ENTRY]
            lanes, first = np.unique(bounds, return_index=True)
            self.inferred.learn(lanes[np.argsort(rows.ts_ns[rows.role <= Role.ENTRY][first], kind="stable")])

    def _attribute(self, rows: Timeline, lane: NDArray[np.int32], pairs: Pairs) -> None:
        """Write into its block the exit of each event inside an exit, and the vCPU of one that does not tell it."""
        inside = np.flatnonzero((pairs.exit_rank != NONE) & (rows.role != Role.EXIT) & (rows.target != NONE))
        if len(inside):
            exit_id = rows.value[pairs.exits[pairs.exit_rank[inside]]].view(np.int64)
            self._write_back("exit_id", rows.target[inside], exit_id)
        silent = np.flatnonzero((rows.vcpu == _UNKNOWN) & (rows.target != NONE))
        if len(silent):
            vcpu = _told_vcpu(rows, lane, pairs)
            if not self.boundaries_tell:
                vcpu = np.where(vcpu == _UNKNOWN, self.threads.vcpu[lane], vcpu)
            self._write_back("vcpu", rows.target[silent], vcpu[silent])

    def _write_back(self, column: str, target: NDArray[np.int64], values: NDArray[np.integer[Any]]) -> None:
        for pending in self._pending:
            here = (target >= pending.first_target) & (target < pending.first_target + len(pending.exit_id))
            getattr(pending, column)[target[here] - pending.first_target] = values[here]

    def _exits(
        self, rows: Timeline, lane: NDArray[np.int32], pairs: Pairs, chosen: NDArray[np.int64], *, closed: bool
    ) -> Exits:
        """Make the chosen exits, which either all have a closer or none has."""
        exit_row, opener = pairs.exits[chosen], pairs.opener[chosen]
        exit_ts, cpu, reason = rows.ts_ns[exit_row], rows.cpu[exit_row], rows.reason[exit_row]
        exit_lane, own_vcpu = lane[exit_row], rows.vcpu[exit_row]
        vcpu = own_vcpu
        nobody = np.full(len(chosen), _UNKNOWN, np.int32)
        if closed:
            closer = pairs.closer[chosen]
            end_ts, end_cpu, end_vcpu = rows.ts_ns[closer], rows.cpu[closer], rows.vcpu[closer]
            doubtful = self._holes.within(cpu, exit_ts, end_ts) | self._holes.within(end_cpu, exit_ts, end_ts)
            same_vcpu = (vcpu == end_vcpu) | (vcpu == _UNKNOWN) | (end_vcpu == _UNKNOWN)
            believed = same_vcpu & (end_ts - exit_ts <= _LONGEST_NS)
            closed_by = _closed_by(rows.role[closer] == Role.ENTRY, believed, doubtful)
        else:
            end_ts, end_cpu, end_vcpu = np.full(len(chosen), _FOREVER), nobody, nobody
            doubtful = self._holes.within(cpu, exit_ts, end_ts)
            closed_by = np.full(len(chosen), ClosedBy.END, np.int8)
        if (vcpu == _UNKNOWN).any():
            vcpu = np.where(vcpu == _UNKNOWN, end_vcpu, vcpu)
            vcpu = np.where(vcpu == _UNKNOWN, self.threads.vcpu[exit_lane], vcpu)
        paired = closed_by == ClosedBy.ENTRY
        latency = np.where(paired, end_ts - exit_ts, -1)
        facets = self._facets(rows, lane, pairs, chosen, latency)
        exits = Exits(
            exit_id=rows.value[exit_row].view(np.int64),
            vm=self.vms.of(exit_lane, vcpu, GuestStays(rows, lane)),
            vcpu=vcpu,
            tid=self.threads.tid[rows.thread[exit_row]],
            cpu=cpu,
            entry_cpu=np.where(paired, end_cpu, nobody),
            exit_ts_ns=exit_ts,
            entry_ts_ns=np.where(paired, end_ts, -1),
            latency_ns=latency,
            guest_ns=self._guest_times(rows, opener, exit_ts, cpu, own_vcpu),
            reason=self.reasons.of_idle_exits(reason, facets.idle),
            facets=facets,
            closed_by=closed_by,
            suspect=doubtful | self._unexplained(closed_by, reason) | self._sampled,
        )
        self.tally.closed_by += np.bincount(closed_by, minlength=len(ClosedBy))
        self.tally.suspect += int(exits.suspect.sum())
        return exits

    def _guest_times(
        self,
        rows: Timeline,
        opener: NDArray[np.int64],
        exit_ts: NDArray[np.int64],
        cpu: NDArray[np.int32],
        own_vcpu: NDArray[np.int32],
    ) -> NDArray[np.int64]:
        """Return the time from the entry before each exit, -1 where that entry may not be the newest one."""
        entered, vcpu = rows.ts_ns[opener], rows.vcpu[opener]
        known = (opener != NONE) & (rows.role[opener] == Role.ENTRY)
        known &= (vcpu == own_vcpu) | (vcpu == _UNKNOWN) | (own_vcpu == _UNKNOWN)
        if self._holes:
            known &= ~self._holes.within(rows.cpu[opener], entered, exit_ts)
            known &= ~self._holes.within(cpu, entered, exit_ts)
        return np.where(known, exit_ts - entered, -1)

    def _unexplained(self, closed_by: NDArray[np.int8], reason: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Tell for each exit whether an entry must be missing behind it."""
        by_exit = closed_by == ClosedBy.NEXT_EXIT
        if self._entries_recorded:
            by_exit &= ~self.reasons.reenters[reason]
        else:
            by_exit[:] = False
        missing: NDArray[np.bool_] = (closed_by == ClosedBy.HOLE) | by_exit
        return missing

    def _facets(
        self,
        rows: Timeline,
        lane: NDArray[np.int32],
        pairs: Pairs,
        chosen: NDArray[np.int64],
        latency: NDArray[np.int64],
    ) -> Facets:
        exit_row = pairs.exits[chosen]
        own_rule, own_detail = self.reasons.own_rule[rows.reason[exit_row]], rows.detail[exit_row]
        telling = np.flatnonzero((rows.role > Role.OTHER) & (pairs.exit_rank != NONE))
        rank_of = np.full(len(pairs.exits), NONE, np.int64)
        rank_of[chosen] = np.arange(len(chosen))
        rank = rank_of[pairs.exit_rank[telling]]
        telling, rank = telling[rank != NONE], rank[rank != NONE]
        if not len(telling):
            return Facets.of_exits_alone(own_rule, own_detail)
        role = rows.role[telling]
        limits = np.full(len(telling), NONE, np.int64)
        sleeps = np.flatnonzero(role == Role.BLOCKED)
        limits[sleeps] = self._poll_limits.at(rows, lane, pairs, telling[sleeps])
        since = rows.ts_ns[telling] - rows.ts_ns[exit_row[rank]]
        facets = find_facets(Inside(rank, role, rows.value[telling], since, limits), own_rule, own_detail, latency)
        if self.lanes.processes:  # the sleep of a core is told by its runner, and is that of the other vCPUs as well
            spoken_for = np.isin(self.threads.pid[lane[exit_row]], list(self.lanes.processes))
            untold = spoken_for & self.reasons.idle[rows.reason[exit_row]] & (facets.blocked_ns == 0)
            facets.blocked_ns[untold] = NOT_KNOWN
        return facets


def _told_vcpu(rows: Timeline, lane: NDArray[np.int32], pairs: Pairs) -> NDArray[np.int32]:
    """Return for each row the newest vCPU that its lane tells, -1: none yet.

    Inside a lane's first exit it is that of the entry behind: kvm_exit tells none before 5.4.
    """
    place = np.maximum.accumulate(np.where(rows.vcpu != _UNKNOWN, np.arange(len(rows)), NONE))
    known = (place != NONE) & (lane[place] == lane)
    vcpu = np.where(known, rows.vcpu[place], np.int32(_UNKNOWN))
    early = np.flatnonzero((vcpu == _UNKNOWN) & (pairs.exit_rank != NONE))
    closer = pairs.closer[pairs.exit_rank[early]]
    vcpu[early] = np.where(closer == NONE, _UNKNOWN, rows.vcpu[closer])
    return vcpu


def _closed_by(
    by_entry: NDArray[np.bool_], believed: NDArray[np.bool_], doubtful: NDArray[np.bool_]
) -> NDArray[np.int8]:
    """Return what closed each exit that has a next boundary in its thread."""
    if by_entry.all() and believed.all():
        return np.full(len(by_entry), ClosedBy.ENTRY, np.int8)
    closed_by = np.full(len(by_entry), ClosedBy.NEXT_EXIT, np.int8)
    closed_by[by_entry & believed] = ClosedBy.ENTRY
    closed_by[(by_entry & ~believed) | (~by_entry & doubtful)] = ClosedBy.HOLE
    return closed_by
