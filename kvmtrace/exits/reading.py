"""Blocks of events → the narrow rows that pairing needs: whose event it is, its role, and what it tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.arch.base import EventRole, Role
from kvmtrace.exits.lanes import Lanes
from kvmtrace.exits.pairing import NONE
from kvmtrace.exits.timeline import Timeline

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kvmtrace.arch import Architecture
    from kvmtrace.exits.reasons import Reasons
    from kvmtrace.exits.threads import Threads
    from kvmtrace.recording import EventBlock, EventKind, Facts, Fields

_UNKNOWN = -1


@dataclass(slots=True)
class AttributedBlock:
    """A block whose events know their exit and their vCPU; -1: none."""

    block: EventBlock
    exit_id: NDArray[np.int64]
    vcpu: NDArray[np.int32]
    first_target: int
    newest_ns: int


class EventReader:
    """Reads the blocks of one recording."""

    def __init__(self, facts: Facts, architecture: Architecture, threads: Threads, reasons: Reasons) -> None:
        self._facts = facts
        self._architecture = architecture
        self._threads = threads
        self._reasons = reasons
        self.lanes = Lanes(threads)
        self.exits = 0
        self.tellers: set[str] = set()  # events that told a vCPU
        self._targets = 0
        self._roles = [architecture.event_roles(kind) for kind in facts.events]
        telling = [architecture.tells_vcpu(kind) for kind in facts.events]
        self._vcpu_fields = [
            architecture.vcpu_field(kind) if tells else None for kind, tells in zip(facts.events, telling, strict=True)
        ]

    def read(self, block: EventBlock) -> tuple[AttributedBlock, Timeline]:
        """Return the block, to be told its exits later, and its rows in the order of the source."""
        count = len(block.ts_ns)
        vcpu = self._vcpus(block)
        thread = self._threads.codes(block.pid, block.tid)
        if self._architecture.runners:
            thread = self.lanes.codes(thread, vcpu, self._own(block))
        role = np.full(count, Role.OTHER, np.uint8)
        value = np.zeros(count, np.uint64)
        reason = np.zeros(count, np.int32)
        detail = np.zeros(count, np.uint64)
        exit_id = np.full(count, _UNKNOWN, np.int64)
        for kind, fields in block.fields.items():
            rows = block.rows[kind]
            event_role = self._roles[kind][0]
            role[rows] = _role_of(event_role, fields)
            if event_role.value_field is not None:
                value[rows] = _value_of(event_role, fields)
            if event_role.role == Role.EXIT:
                exit_id[rows] = np.arange(self.exits, self.exits + len(rows))
                value[rows] = exit_id[rows].view(np.uint64)
                codes = self._reasons.codes(self._facts.events[kind], fields)
                reason[rows], detail[rows] = codes, self._reasons.own_details(fields, codes)
                self.exits += len(rows)
        target = np.arange(self._targets, self._targets + count)
        newest = int(block.ts_ns.max()) if count else -(1 << 63)
        attributed = AttributedBlock(block, exit_id, vcpu, self._targets, newest)
        self._targets += count
        timeline = Timeline(block.ts_ns, thread, role, block.cpu, vcpu, value, reason, detail, target)
        return attributed, Timeline.concat([timeline, *self._further_roles(block, timeline)])

    def _vcpus(self, block: EventBlock) -> NDArray[np.int32]:
        """Return the vCPU that each event is about."""
        vcpu = np.full(len(block.ts_ns), _UNKNOWN, np.int32)
        for kind, fields in block.fields.items():
            field = self._vcpu_fields[kind]
            if field is not None:
                self.tellers.add(self._facts.events[kind].name)
                vcpu[block.rows[kind]] = fields.column(field).astype(np.int32)
        return vcpu

    def _own(self, block: EventBlock) -> NDArray[np.bool_]:
        """Tell of each event whether its vCPU is the one that its thread runs."""
        own = np.zeros(len(block.ts_ns), np.bool_)
        for kind in block.fields:
            tells = self._vcpu_fields[kind] is not None
            own[block.rows[kind]] = tells and self._facts.events[kind].name in self._architecture.own_vcpu
        return own

    def _further_roles(self, block: EventBlock, rows: Timeline) -> list[Timeline]:
        """Return rows for what events say beside their first role, some of it of another thread."""
        parts = []
        for kind, fields in block.fields.items():
            for event_role in self._roles[kind][1:]:
                further = rows.take(block.rows[kind])
                further.role[:] = _role_of(event_role, fields)
                further.target[:] = NONE
                if event_role.value_field is not None:
                    further.value[:] = _value_of(event_role, fields)
                if event_role.thread_field is not None:
                    further.thread[:] = self._threads.known(fields.column(event_role.thread_field))
                    further.vcpu[:] = _UNKNOWN
                    further = further.take(np.flatnonzero(further.thread != _UNKNOWN))
                parts.append(further)
        return parts


def _role_of(event_role: EventRole, fields: Fields) -> NDArray[np.uint8] | np.uint8:
    """Return the role of each event, or that of all."""
    if event_role.choice_field is None:
        return np.uint8(event_role.role)
    choice = fields.column(event_role.choice_field).astype(np.int64) & event_role.choice_mask
    role = np.full(len(choice), event_role.role, np.uint8)
    for wanted, chosen in event_role.choices.items():
        role[choice == wanted] = chosen
    return role


def _value_of(event_role: EventRole, fields: Fields) -> NDArray[np.uint64]:
    assert event_role.value_field is not None  # noqa: S101 - the callers ask
    values = fields.column(event_role.value_field)
    words = values if values.dtype == np.uint64 else values.astype(np.int64).view(np.uint64)
    masked = words & np.uint64(event_role.value_mask)
    return masked if event_role.value_of is None else event_role.value_of(masked)


def tells_lane_vcpu(architecture: Architecture, kind: EventKind) -> bool:
    """Tell whether a tracepoint is an exit or an entry that names its vCPU."""
    boundary = architecture.event_roles(kind)[0].role <= Role.ENTRY
    return boundary and architecture.vcpu_field(kind) is not None
