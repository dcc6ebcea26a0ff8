"""RISC-V with the hypervisor extension: kvm_exit → kvm_entry (arch/riscv/kvm/trace.h, since Linux 6.11)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from kvmtrace.arch.base import Architecture, Detail, EventRole, ExitDetail, Reason, Role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from kvmtrace.recording import EventKind, Facts, Fields

_EXCEPTION, _INTERRUPT, _WFI = 0, 1, 2
_VIRTUAL_INSTRUCTION = 22
_WFI_INSTRUCTION = 0x10500073
_GUEST_PAGE_FAULTS = frozenset({20, 21, 23})
# Causes of the privileged specification, table scause and chapter "H" extension; the print fmt names none.
_EXCEPTIONS = {
    0: "INST_MISALIGNED",
    1: "INST_ACCESS",
    2: "INST_ILLEGAL",
    3: "BREAKPOINT",
    4: "LOAD_MISALIGNED",
    5: "LOAD_ACCESS",
    6: "STORE_MISALIGNED",
    7: "STORE_ACCESS",
    8: "SYSCALL",
    9: "HYPERVISOR_SYSCALL",
    10: "SUPERVISOR_SYSCALL",
    11: "MACHINE_SYSCALL",
    12: "INST_PAGE_FAULT",
    13: "LOAD_PAGE_FAULT",
    15: "STORE_PAGE_FAULT",
    20: "INST_GUEST_PAGE_FAULT",
    21: "LOAD_GUEST_PAGE_FAULT",
    22: "VIRTUAL_INST_FAULT",
    23: "STORE_GUEST_PAGE_FAULT",
}
_INTERRUPTS = {
    1: "SUPERVISOR_SOFT_IRQ",
    2: "VIRTUAL_SUPERVISOR_SOFT_IRQ",
    3: "MACHINE_SOFT_IRQ",
    5: "SUPERVISOR_TIMER_IRQ",
    6: "VIRTUAL_SUPERVISOR_TIMER_IRQ",
    7: "MACHINE_TIMER_IRQ",
    9: "SUPERVISOR_EXTERNAL_IRQ",
    10: "VIRTUAL_SUPERVISOR_EXTERNAL_IRQ",
    11: "MACHINE_EXTERNAL_IRQ",
    12: "SUPERVISOR_GUEST_EXTERNAL_IRQ",
    13: "PMU_OVERFLOW_IRQ",
}


class RiscV64(Architecture):
    """kvm:kvm_exit → kvm:kvm_entry."""

    name = "riscv64"
    summary = "kvm_exit and next kvm_entry of one thread"
    details: ClassVar[tuple[Detail, ...]] = (
        Detail("kvm_mmio", "gpa", "gpa"),
        Detail("kvm_exit", "htval", "gpa"),
        Detail("kvm_exit", "stval", "instruction"),
    )
    roles: ClassVar[Mapping[tuple[str, str], tuple[EventRole, ...]]] = {
        ("kvm", "kvm_exit"): (EventRole(Role.EXIT),),
        ("kvm", "kvm_entry"): (EventRole(Role.ENTRY),),
        ("kvm", "kvm_mmio"): (EventRole(Role.DETAIL, value_field="gpa"),),
    }
    own_vcpu: ClassVar[frozenset[str]] = frozenset({"kvm_halt_poll_ns"})

    @classmethod
    def records(cls, facts: Facts) -> bool:
        """Tell whether kvm:kvm_exit has the fields that RISC-V gives it."""
        if not str(facts.host.get("arch", "riscv64")).startswith("riscv"):
            return False
        return any(
            (kind.system, kind.name) == ("kvm", "kvm_exit") and {"scause", "stval"} <= kind.format.integer_fields
            for kind in facts.events
        )

    def reason_fields(self, kind: EventKind) -> set[str]:  # noqa: ARG002 - one for all kernels
        """Return what tells a cause, and the WFI among the instructions."""
        return {"scause", "stval"}

    def reason_keys(self, kind: EventKind, fields: Fields) -> tuple[NDArray[Any] | None, NDArray[Any]]:  # noqa: ARG002 - as above
        """Return exception, interrupt (the top bit of scause) or WFI, and the cause."""
        scause = fields.column("scause")
        top = np.array(8 * scause.dtype.itemsize - 1, scause.dtype)
        code = (scause & ~(np.array(1, scause.dtype) << top)).astype(np.uint64) & np.uint64(0xFFFFFFFF)
        group = (scause >> top).astype(np.uint32)
        waits = (group == _EXCEPTION) & (code == _VIRTUAL_INSTRUCTION) & (fields.column("stval") == _WFI_INSTRUCTION)
        group[waits] = _WFI
        return group, code.astype(np.int64)

    def reason(self, kind: EventKind, group: int | None, code: int) -> Reason:  # noqa: ARG002 - the format has no names
        """Return what a cause means; a guest that executes WFI waits."""
        interrupt = group == _INTERRUPT
        name = (_INTERRUPTS if interrupt else _EXCEPTIONS).get(code, f"{code:#x}")
        return Reason("interrupt" if interrupt else "exception", code, name, idle=group == _WFI)

    def exit_detail(self, kind: EventKind, reason: Reason) -> ExitDetail | None:
        """Return the guest physical address of a page fault, or the instruction; htval is the address shifted by 2."""
        if reason.isa != "exception":
            return None
        if reason.code in _GUEST_PAGE_FAULTS and "htval" in kind.format.integer_fields:
            return ExitDetail(1, left_shift=2)
        return ExitDetail(2) if reason.code == _VIRTUAL_INSTRUCTION else None

    def detail_names(self, kind: str) -> Mapping[int, str]:
        """Return the name of WFI."""
        return {_WFI_INSTRUCTION: "WFI"} if kind == "instruction" else {}
