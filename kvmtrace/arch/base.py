"""What an architecture says of its tracepoints: the roles of events on the time line of a vCPU."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy import uint64
    from numpy.typing import NDArray

    from kvmtrace.recording import EventKind, Facts, Fields


class Role(IntEnum):
    """What an event says of the exit in which it falls."""

    EXIT = 0  # the vCPU left the guest
    ENTRY = 1  # the vCPU enters the guest
    OTHER = 2  # nothing
    USERSPACE = 3  # the exit goes to the VMM
    USER_LEAVE = 4  # the thread leaves the kernel …
    USER_RETURN = 5  # … and comes back
    BLOCKED = 6  # the halt of the vCPU ended in sleep; the value is how long it was, polling included, ns
    POLLED = 7  # the halt of the vCPU ended while it was polled for; the value is how long it was, ns
    POLL_LIMIT = 8  # from the next halt on, the vCPU is polled for so long at most; the value, ns
    SLEEP = 9  # the halted vCPU goes to sleep …
    WAKE = 10  # … and is awake again
    EOI = 11  # an interrupt was ended
    NESTED = 12  # the exit was one of a guest's guest
    REFLECTED = 13  # … and was handed to the guest's own hypervisor
    PREEMPTED = 14  # the thread lost its CPU while it could run …
    RUNNING = 15  # … and has one again
    HCALL_ENTER = 16  # the handler of a hypercall begins …
    HCALL_EXIT = 17  # … and ends
    IDLE = 18  # the guest asked to wait: the exit is idle, though its reason alone does not say so
    DETAIL = 32  # + the index of a Detail: the value is what the exit was about


@dataclass(frozen=True, slots=True)
class EventRole:
    """A role of one tracepoint's events: `role`, or what `choices` says for the masked value of `choice_field`.

    It is one on the time line of the thread that fired the event, or of the one whose id is in `thread_field`. The
    value is the masked `value_field`, or what `value_of` makes of that, n values of n.
    """

    role: int
    value_field: str | None = None
    value_mask: int = (1 << 64) - 1
    choice_field: str | None = None
    choice_mask: int = -1
    choices: Mapping[int, int] = field(default_factory=dict)
    thread_field: str | None = None
    value_of: Callable[[NDArray[uint64]], NDArray[uint64]] | None = None

    @property
    def fields(self) -> set[str]:
        """Return the fields that the role needs."""
        return {name for name in (self.value_field, self.choice_field, self.thread_field) if name is not None}

    @property
    def possible(self) -> set[int]:
        """Return all roles that an event can have by it."""
        return {self.role, *self.choices.values()}


NO_ROLE = EventRole(Role.OTHER)
# Task states up to TASK_REPORT; 0 is running, and what is switched out all the same was preempted.
COMMON_ROLES: Mapping[tuple[str, str], tuple[EventRole, ...]] = {
    ("sched", "sched_switch"): (
        EventRole(Role.OTHER, choice_field="prev_state", choice_mask=0xFF, choices={0: Role.PREEMPTED}),
        EventRole(Role.RUNNING, thread_field="next_pid"),
    ),
    ("kvm", "kvm_userspace_exit"): (EventRole(Role.USERSPACE),),
    ("kvm", "kvm_vcpu_wakeup"): (
        EventRole(Role.OTHER, value_field="ns", choice_field="waited", choices={0: Role.POLLED, 1: Role.BLOCKED}),
    ),
    ("kvm", "kvm_halt_poll_ns"): (EventRole(Role.POLL_LIMIT, value_field="new"),),
}


@dataclass(frozen=True, slots=True)
class Detail:
    """A tracepoint's field that tells what an exit was about; of several in one exit the first in the list counts."""

    event: str
    field: str
    kind: str

    @property
    def origin(self) -> str:
        """Return event and field, as the column `detail_from` names them."""
        return f"{self.event}.{self.field}"


@dataclass(frozen=True, slots=True)
class ExitDetail:
    """What the exit event itself tells of an exit of one reason: a part of a field, shifted left, or a constant.

    It counts where no event inside the exit tells more.
    """

    rule: int  # index into Architecture.details, which names event, field and kind
    shift: int = 0
    mask: int = (1 << 64) - 1
    left_shift: int = 0
    constant: int | None = None


@dataclass(frozen=True, slots=True)
class Reason:
    """What one recorded reason means."""

    isa: str | None  # what the code is a code of; None: not recorded
    code: int  # flags masked
    name: str
    idle: bool


class Architecture(ABC):
    """The rules of one architecture for one recording."""

    name: ClassVar[str]
    details: ClassVar[tuple[Detail, ...]]
    roles: ClassVar[Mapping[tuple[str, str], tuple[EventRole, ...]]]  # by system and event
    own_vcpu: ClassVar[frozenset[str]]
    """Events whose `vcpu_field` is the vCPU that the firing thread runs."""
    runners: ClassVar[bool] = False
    """One thread may fire events for the vCPUs of its siblings: then an event's vCPU counts, not its thread."""
    summary: ClassVar[str]
    """What opens and closes an exit, for the manifest: "kvm_exit → kvm_entry of one thread"."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts

    @classmethod
    @abstractmethod
    def records(cls, facts: Facts) -> bool:
        """Tell whether the recording has this architecture's exit tracepoints."""

    def event_roles(self, kind: EventKind) -> tuple[EventRole, ...]:
        """Return the roles of a tracepoint's events, at least one; a role whose fields are lacking is none."""
        key = kind.system, kind.name
        known = self.roles.get(key) or COMMON_ROLES.get(key, ())
        usable = tuple(role for role in known if self._needed(kind, role) <= kind.format.integer_fields)
        return usable or (NO_ROLE,)

    def _needed(self, kind: EventKind, role: EventRole) -> set[str]:
        return role.fields | self.reason_fields(kind) if role.role == Role.EXIT else role.fields

    def vcpu_field(self, kind: EventKind) -> str | None:
        """Return the integer field of a tracepoint that names a vCPU; None: it has none."""
        return "vcpu_id" if "vcpu_id" in kind.format.integer_fields else None

    def tells_vcpu(self, kind: EventKind) -> bool:
        """Tell whether a tracepoint's `vcpu_field` is the vCPU on whose time line its events belong."""
        if self.vcpu_field(kind) is None:
            return False
        return self.runners or kind.name in self.own_vcpu or self.event_roles(kind)[0].role <= Role.ENTRY

    def told(self) -> set[int]:
        """Return the roles whose events were all recorded: where none of such is in an exit, there was none."""
        roles = [
            (role, kind.period == 1)
            for kind in self.facts.events
            for event_role in self.event_roles(kind)
            for role in event_role.possible
        ]
        return {role for role, whole in roles if whole} - {role for role, whole in roles if not whole}

    @abstractmethod
    def reason_fields(self, kind: EventKind) -> set[str]:
        """Return the fields of the exit tracepoint without which an exit has no reason."""

    @abstractmethod
    def reason_keys(self, kind: EventKind, fields: Fields) -> tuple[NDArray[Any] | None, NDArray[Any]]:
        """Return of each exit what its code is a code of (0 to 2³¹ - 1; None: not recorded), and the code, 32 bits."""

    @abstractmethod
    def reason(self, kind: EventKind, group: int | None, code: int) -> Reason:
        """Return what a key of `reason_keys` means, as the recording's own print fmt names it."""

    def exit_detail(self, kind: EventKind, reason: Reason) -> ExitDetail | None:  # noqa: ARG002 - for those who have one
        """Return what the exit event of that kind itself tells of an exit with that reason."""
        return None

    def detail_kind(self, detail: Detail, reason: Reason) -> str:  # noqa: ARG002 - for those where it depends on it
        """Return what kind of thing the detail of an exit with that reason is."""
        return detail.kind

    @abstractmethod
    def detail_names(self, kind: str) -> Mapping[int, str]:
        """Return the names of details of one kind."""

    def reenters_without_entry(self, reason: Reason) -> bool:  # noqa: ARG002 - only some kernels do
        """Tell whether this kernel may enter the guest again after such an exit without an entry event."""
        return False

    def enters_nested_guest(self, reason: Reason) -> bool:  # noqa: ARG002 - only where guests have guests
        """Tell whether such an exit asks to run a guest's guest: what is handed back in it was no exit of that."""
        return False
