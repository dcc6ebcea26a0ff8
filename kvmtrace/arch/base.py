"""What an architecture says of its tracepoints: the roles of events on the time line of a vCPU."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmtrace.recording import EventKind, Facts


class Role(IntEnum):
    """What an event says of the exit in which it falls."""

    EXIT = 0  # the vCPU left the guest
    ENTRY = 1  # the vCPU enters the guest
    OTHER = 2  # nothing
    USERSPACE = 3  # the exit goes to the VMM
    USER_LEAVE = 4  # the thread leaves the kernel …
    USER_RETURN = 5  # … and comes back
    BLOCKED = 6  # the halted vCPU slept; the value is how long, ns
    POLLED = 7  # the halted vCPU was polled for; the value is how long, ns
    EOI = 8  # an interrupt was ended
    NESTED = 9  # the exit was one of a guest's guest
    PREEMPTED = 10  # the thread lost its CPU while it could run …
    RUNNING = 11  # … and has one again
    DETAIL = 16  # + the index of a Detail: the value is what the exit was about


@dataclass(frozen=True, slots=True)
class EventRole:
    """The role of one tracepoint's events: `role`, or what `choices` says for the masked value of `choice_field`.

    An event that also says something of a second thread has that thread's id in `other_thread_field`.
    """

    role: int
    value_field: str | None = None
    choice_field: str | None = None
    choice_mask: int = -1
    choices: Mapping[int, int] = field(default_factory=dict)
    other_thread_field: str | None = None
    other_role: int = Role.OTHER

    @property
    def fields(self) -> set[str]:
        """Return the fields that the role needs."""
        return {name for name in (self.value_field, self.choice_field, self.other_thread_field) if name is not None}

    @property
    def roles(self) -> set[int]:
        """Return all roles that an event can have."""
        return {self.role, self.other_role, *self.choices.values()}


NO_ROLE = EventRole(Role.OTHER)
# Task states up to TASK_REPORT; 0 is running, and what is switched out all the same was preempted.
_COMMON_ROLES = {
    ("sched", "sched_switch"): EventRole(
        Role.OTHER,
        choice_field="prev_state",
        choice_mask=0xFF,
        choices={0: Role.PREEMPTED},
        other_thread_field="next_pid",
        other_role=Role.RUNNING,
    ),
}


@dataclass(frozen=True, slots=True)
class Detail:
    """A tracepoint's field that tells what an exit was about; of several in one exit the first in the list counts."""

    event: str
    field: str
    kind: str


@dataclass(frozen=True, slots=True)
class Reason:
    """What one recorded reason means."""

    isa: str | None
    code: int  # flags masked
    name: str
    idle: bool


class Architecture(ABC):
    """The rules of one architecture for one recording."""

    name: ClassVar[str]
    details: ClassVar[tuple[Detail, ...]]
    roles: ClassVar[Mapping[tuple[str, str], EventRole]]  # by system and event

    def __init__(self, facts: Facts) -> None:
        self.facts = facts

    @classmethod
    @abstractmethod
    def records(cls, facts: Facts) -> bool:
        """Tell whether the recording has this architecture's exit tracepoints."""

    def role(self, kind: EventKind) -> EventRole:
        """Return the role of a tracepoint's events; one that lacks the fields of its role has none."""
        key = kind.system, kind.name
        role = self.roles.get(key) or _COMMON_ROLES.get(key, NO_ROLE)
        needed = role.fields | {self.reason_fields(kind)[1]} if role.role == Role.EXIT else role.fields
        return role if needed <= kind.format.integer_fields else NO_ROLE

    def told(self) -> set[int]:
        """Return the roles whose events were all recorded: where none of such is in an exit, there was none."""
        roles = [(role, kind.period == 1) for kind in self.facts.events for role in self.role(kind).roles]
        return {role for role, whole in roles if whole} - {role for role, whole in roles if not whole}

    @abstractmethod
    def reason_fields(self, kind: EventKind) -> tuple[str | None, str]:
        """Return the fields of the exit tracepoint that hold the isa (None: there is none) and the reason."""

    @abstractmethod
    def reason(self, kind: EventKind, isa: int | None, code: int) -> Reason:
        """Return what a recorded reason means, as the recording's own print fmt names it."""

    @abstractmethod
    def detail_kind(self, detail: Detail, reason: Reason) -> str:
        """Return what kind of thing the detail of an exit with that reason is."""

    @abstractmethod
    def detail_names(self, kind: str) -> Mapping[int, str]:
        """Return the names of details of one kind."""

    @abstractmethod
    def reenters_without_entry(self, reason: Reason) -> bool:
        """Tell whether this kernel may enter the guest again after such an exit without an entry event."""
