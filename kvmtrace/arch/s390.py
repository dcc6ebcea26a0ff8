"""s390: kvm_s390_sie_exit → kvm_s390_sie_enter (arch/s390/kvm/trace.h, system kvm).

The reason is the intercept code. What an intercept of an instruction or a program interruption was about, further
events tell. A guest's guest (vSIE) runs inside the intercept of its SIE instruction and fires no event of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from kvmtrace.arch.base import Architecture, Detail, EventRole, Reason, Role
from kvmtrace.arch.s390_names import (
    DIAGNOSE_CODES,
    INSTRUCTIONS,
    INTERCEPTS,
    PROGRAM_INTERRUPTIONS,
    SIGP_ORDERS,
    operation_codes,
)
from kvmtrace.tracepoints import FormatError, PrintFormat, field_symbols
from kvmtrace.tracepoints.lookups import SymbolTable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from kvmtrace.recording import EventKind, Facts, Fields

_MACHINES = frozenset({"s390", "s390x"})
_EXIT, _ENTRY = "kvm_s390_sie_exit", "kvm_s390_sie_enter"
_WAIT_STATE = 0x1C
# Of the PSW (asm/ptrace.h): interruptions of I/O, external ones and machine checks are enabled.
_PSW_ENABLED = np.uint64(0x0200000000000000 | 0x0100000000000000 | 0x0004000000000000)
_EVERY_BIT = (1 << 64) - 1
_INSTRUCTION, _SIGP, _DIAG, _PROGRAM = "instruction", "sigp", "diag", "program interruption"
_NAMES: Mapping[str, Mapping[int, str]] = {
    _INSTRUCTION: INSTRUCTIONS,
    _SIGP: SIGP_ORDERS,
    _DIAG: DIAGNOSE_CODES,
    _PROGRAM: PROGRAM_INTERRUPTIONS,
}


def _detail_role(index: int, detail: Detail) -> EventRole:
    value_of = operation_codes if detail.kind == _INSTRUCTION else None
    return EventRole(Role.DETAIL + index, value_field=detail.field, value_of=value_of)


class S390(Architecture):
    """kvm:kvm_s390_sie_exit → kvm:kvm_s390_sie_enter. Both name their vCPU, in the field id."""

    name = "s390"
    # A program interruption comes behind the instruction of intercept 0x0c, an order or a code behind its SIGP or DIAG.
    details: ClassVar[tuple[Detail, ...]] = (
        Detail("kvm_s390_intercept_prog", "code", _PROGRAM),
        Detail("kvm_s390_handle_sigp", "order_code", _SIGP),
        Detail("kvm_s390_handle_sigp_pei", "order_code", _SIGP),
        Detail("kvm_s390_handle_diag", "code", _DIAG),
        Detail("kvm_s390_intercept_validity", "viwhy", "validity"),
        Detail("kvm_s390_intercept_instruction", "instruction", _INSTRUCTION),
        Detail("kvm_s390_handle_operexc", "instruction", _INSTRUCTION),
    )
    roles: ClassVar[Mapping[tuple[str, str], tuple[EventRole, ...]]] = {
        ("kvm", _EXIT): (EventRole(Role.EXIT),),
        ("kvm", _ENTRY): (EventRole(Role.ENTRY),),
        **{("kvm", detail.event): (_detail_role(index, detail),) for index, detail in enumerate(details)},
    }
    own_vcpu: ClassVar[frozenset[str]] = frozenset(
        {
            _EXIT,
            _ENTRY,
            *(detail.event for detail in details),
            "kvm_s390_handle_lctl",
            "kvm_s390_handle_prefix",
            "kvm_s390_handle_stap",
            "kvm_s390_handle_stctl",
            "kvm_s390_handle_stfl",
            "kvm_s390_handle_sthyi",
            "kvm_s390_handle_stsi",
            "kvm_s390_major_guest_pfault",
            "kvm_s390_pfault_done",
            "kvm_s390_pfault_init",
            "kvm_s390_sie_fault",
            "kvm_s390_skey_related_inst",
            "kvm_halt_poll_ns",
            "kvm_dirty_ring_exit",
        }
    )
    """Fired in the vCPU's own KVM_RUN. Those of the system kvm-s390 are of other vCPUs and threads, too: whoever makes
    a vCPU or an interruption fires them."""
    summary = "kvm_s390_sie_exit and next kvm_s390_sie_enter of one thread"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._names: dict[str, Mapping[int, str]] = {}  # by kind of detail

    @classmethod
    def records(cls, facts: Facts) -> bool:
        """Tell whether kvm_s390_sie_exit or kvm_s390_sie_enter is among the tracepoints, with its fields."""
        if str(facts.host.get("arch", "s390x")) not in _MACHINES:
            return False
        wanted = {("kvm", _EXIT): {"icptcode"}, ("kvm", _ENTRY): {"id"}}
        return any(wanted.get((kind.system, kind.name), {""}) <= kind.format.integer_fields for kind in facts.events)

    def vcpu_field(self, kind: EventKind) -> str | None:
        """Return id where the event is one of s390's own, else vcpu_id."""
        if kind.system == "kvm" and kind.name.startswith("kvm_s390_") and "id" in kind.format.integer_fields:
            return "id"
        return super().vcpu_field(kind)

    def reason_fields(self, kind: EventKind) -> set[str]:  # noqa: ARG002 - one for all kernels
        """Return the intercept code."""
        return {"icptcode"}

    def reason_keys(self, kind: EventKind, fields: Fields) -> tuple[NDArray[Any] | None, NDArray[Any]]:
        """Return whether the guest waits (1) or not (0), and the intercept code.

        It waits in a wait state whose PSW lets some interruption through; KVM halts the vCPU then (handle_wait). The
        wait state of a disabled PSW is where a guest stops for good: it goes to the VMM. Without a PSW: it waits.
        """
        codes = fields.column("icptcode")
        waits = codes == _WAIT_STATE
        if "pswmask" in kind.format.integer_fields:
            waits &= fields.column("pswmask").astype(np.int64).view(np.uint64) & _PSW_ENABLED != 0
        return waits.astype(np.uint32), codes

    def reason(self, kind: EventKind, group: int | None, code: int) -> Reason:
        """Return what an intercept code means, as the recording's print fmt names it, else as ours do."""
        named = field_symbols(kind.format).get("icptcode", {})
        return Reason("SIE", code, named.get(code) or INTERCEPTS.get(code) or f"{code:#x}", idle=group == 1)

    def detail_names(self, kind: str) -> Mapping[int, str]:
        """Return the names of details of one kind: the recording's own, else ours."""
        if kind not in self._names:
            recorded = [self._recorded_names(detail) for detail in self.details if detail.kind == kind]
            named = {value & _EVERY_BIT: name for names in recorded for value, name in names.items()}
            self._names[kind] = {**_NAMES.get(kind, {}), **named}
        return self._names[kind]

    def _recorded_names(self, detail: Detail) -> Mapping[int, str]:
        event = next((e for e in self.facts.events if (e.system, e.name) == ("kvm", detail.event)), None)
        if event is None:
            return {}
        if detail.kind == _INSTRUCTION:
            return _operation_names(event)
        return field_symbols(event.format).get(detail.field, {})


def _operation_names(kind: EventKind) -> Mapping[int, str]:
    """Return the names by operation code that a print fmt has: its table looks up what an expression decodes.

    In Linux 3.14 a function of the kernel decodes (insn_to_mnemonic), and there is no table.
    """
    try:
        arguments = PrintFormat.of(kind.format).arguments
    except FormatError:
        return {}
    return {code: name for table in arguments if isinstance(table, SymbolTable) for code, name in table.symbols}
