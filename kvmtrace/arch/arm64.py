"""arm64, with and without VHE: kvm_exit → kvm_entry (arch/arm64/kvm/trace_arm.h, up to 5.7 virt/kvm/arm/trace.h).

kvm_exit tells an exception type (`ret`, up to 4.19 `idx`) and, where that is a trap, an exception class (`esr_ec`, up
to 4.19 `exit_reason`). The reason is the class of a trap, else the type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from kvmtrace.arch.arm64_names import (
    EXCEPTION_CLASSES,
    EXCEPTION_TYPES,
    FORWARDED_REGISTERS,
    SMCCC_FUNCTIONS,
    SYNDROME_REGISTER,
    SYSTEM_REGISTERS,
    WFX,
)
from kvmtrace.arch.base import Architecture, Detail, EventRole, Reason, Role
from kvmtrace.tracepoints import field_symbols

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from kvmtrace.recording import EventKind, Facts, Fields

_MACHINES = frozenset({"aarch64", "aarch64_be", "arm64"})
_LONG_SIZE = 8
_TYPE_BITS = (1 << 31) - 1  # without ARM_EXIT_WITH_SERROR_BIT: an SError came with the exit, whatever that is
_TRAP = "TRAP"
_WFX = 0x01
_EVERY_BIT = (1 << 64) - 1
# The whole field is the detail but for these; SMCCC: the function is in w0.
_DETAIL_BITS = {"kvm_handle_sys_reg": SYNDROME_REGISTER, "kvm_hvc_arm64": 0xFFFFFFFF}


def _detail_role(index: int, detail: Detail) -> EventRole:
    mask = _DETAIL_BITS.get(detail.event, _EVERY_BIT)
    return EventRole(Role.DETAIL + index, value_field=detail.field, value_mask=mask)


class Arm64(Architecture):
    """kvm:kvm_exit → kvm:kvm_entry. Neither names its vCPU."""

    name = "arm64"
    # kvm_sys_access, which fires with kvm_handle_sys_reg, has the register in five fields. An SMC has no event.
    details: ClassVar[tuple[Detail, ...]] = (
        Detail("kvm_handle_sys_reg", "hsr", "sysreg"),
        Detail("kvm_forward_sysreg_trap", "sysreg", "forwarded_sysreg"),
        Detail("kvm_hvc_arm64", "r0", "smccc"),
        Detail("kvm_wfx_arm64", "is_wfe", "wfx"),
        Detail("kvm_mmio", "gpa", "gpa"),
        Detail("kvm_mmio_nisv", "ipa", "gpa"),
        Detail("kvm_guest_fault", "ipa", "gpa"),  # that of the page
        Detail("kvm_access_fault", "ipa", "gpa"),
    )
    roles: ClassVar[Mapping[tuple[str, str], tuple[EventRole, ...]]] = {
        ("kvm", "kvm_exit"): (EventRole(Role.EXIT),),
        ("kvm", "kvm_entry"): (EventRole(Role.ENTRY),),
        **{("kvm", detail.event): (_detail_role(index, detail),) for index, detail in enumerate(details)},
    }
    own_vcpu: ClassVar[frozenset[str]] = frozenset({"kvm_get_timer_map", "kvm_halt_poll_ns", "kvm_dirty_ring_exit"})
    """Fired by the vCPU's own thread in KVM_RUN: when its timers are loaded, when a halt ends, when a ring is full.

    kvm_get_timer_map also by a thread that makes vCPUs (KVM_ARM_VCPU_INIT); what it runs it loads before it enters.
    Not kvm_timer_update_irq and vgic_update_irq_pending: whoever raises an interrupt fires those.
    """
    summary = "kvm_exit and next kvm_entry of one thread"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._names: dict[int, tuple[Mapping[int, str], Mapping[int, str]]] = {}

    @classmethod
    def records(cls, facts: Facts) -> bool:
        """Tell whether kvm:kvm_exit or kvm:kvm_entry has the program counter of arm64; 32-bit arm has a shorter one."""
        if str(facts.host.get("arch", "aarch64")) not in _MACHINES:
            return False
        return any(
            (field.name, field.size) == ("vcpu_pc", _LONG_SIZE)
            for kind in facts.events
            if kind.system == "kvm" and kind.name in ("kvm_exit", "kvm_entry")
            for field in kind.format.own_fields
        )

    def reason_fields(self, kind: EventKind) -> set[str]:
        """Return the fields of exception type and exception class."""
        return set(_fields(kind))

    def reason_keys(self, kind: EventKind, fields: Fields) -> tuple[NDArray[Any] | None, NDArray[Any]]:
        """Return the exception's type, and the class of a trap.

        For what is no trap the class is 0, whatever was recorded: it means nothing there.
        """
        type_field, class_field = _fields(kind)
        types = fields.column(type_field).astype(np.int64) & _TYPE_BITS
        traps = [number for number, name in self._symbols(kind)[0].items() if name == _TRAP]
        return types, np.where(np.isin(types, traps), fields.column(class_field), 0)

    def reason(self, kind: EventKind, group: int | None, code: int) -> Reason:
        """Return the class of a trap, else the type of the exception, as the recording's print fmt names them."""
        types, classes = self._symbols(kind)
        number = group or 0
        name = types.get(number, f"{number:#x}")
        if name != _TRAP:
            return Reason("exception", number, name, idle=False)
        # WFI waits for an interrupt, WFE for an event of another CPU: the guest asks to wait by either, and kvm_exit
        # does not tell which: the detail, of kvm_wfx_arm64, does. New kernels trap WFE only while others want the CPU.
        return Reason("EC", code, classes.get(code, f"{code:#x}"), idle=code == _WFX)

    def _symbols(self, kind: EventKind) -> tuple[Mapping[int, str], Mapping[int, str]]:
        """Return the names of types and classes: the recording's, and ours of what it has no name for.

        Ours of types only where the recording numbers them alike: in old kernels a trap is 1.
        """
        if kind.format.id not in self._names:
            type_field, class_field = _fields(kind)
            symbols = field_symbols(kind.format)
            types = symbols.get(type_field, EXCEPTION_TYPES)
            if types.get(2) == _TRAP:
                types = {**EXCEPTION_TYPES, **types}
            self._names[kind.format.id] = types, {**EXCEPTION_CLASSES, **symbols.get(class_field, {})}
        return self._names[kind.format.id]

    def detail_names(self, kind: str) -> Mapping[int, str]:
        """Return the names of details of one kind."""
        tables: dict[str, Mapping[int, str]] = {
            "sysreg": SYSTEM_REGISTERS,
            "forwarded_sysreg": FORWARDED_REGISTERS,
            "smccc": SMCCC_FUNCTIONS,
            "wfx": WFX,
        }
        return tables.get(kind, {})


def _fields(kind: EventKind) -> tuple[str, str]:
    """Return the fields of exception type and class, which have their names since Linux 5.2."""
    return ("idx", "exit_reason") if "exit_reason" in kind.format.integer_fields else ("ret", "esr_ec")
