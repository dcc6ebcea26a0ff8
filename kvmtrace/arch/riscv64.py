"""RISC-V with the hypervisor extension: kvm_exit → kvm_entry (arch/riscv/kvm/trace.h, since Linux 6.11).

The print fmt has no names. The function of an SBI call (SUPERVISOR_SYSCALL) is not recorded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from kvmtrace.arch.base import Architecture, Detail, EventRole, ExitDetail, Reason, Role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from kvmtrace.recording import EventKind, Facts, Fields

# Groups of causes. A virtual instruction can be in three: stval is its word, or 0 where the processor does not tell.
_EXCEPTION, _INTERRUPT, _WFI, _UNTOLD_INSTRUCTION = range(4)
_CODE_BITS = (1 << 31) - 1  # causes are below 64
_VIRTUAL_INSTRUCTION = 22
_GUEST_PAGE_FAULTS = frozenset({20, 21, 23})
_WFI_INSTRUCTION = 0x10500073
_ADDRESS, _INSTRUCTION = 1, 2  # indices into RiscV64.details
# EXC_… of asm/csr.h, as perf 6.12 prints them, and 11 of the privileged architecture.
EXCEPTIONS = {
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
# IRQ_… of asm/csr.h; perf 6.12 names no interrupt.
_INTERRUPTS = {
    1: "IRQ_S_SOFT",
    2: "IRQ_VS_SOFT",
    3: "IRQ_M_SOFT",
    5: "IRQ_S_TIMER",
    6: "IRQ_VS_TIMER",
    7: "IRQ_M_TIMER",
    9: "IRQ_S_EXT",
    10: "IRQ_VS_EXT",
    11: "IRQ_M_EXT",
    12: "IRQ_S_GEXT",
    13: "IRQ_PMU_OVF",
}


@dataclass(frozen=True, slots=True)
class _UntoldInstruction(Reason):
    """A virtual instruction of which stval does not say what it was."""


class RiscV64(Architecture):
    """kvm:kvm_exit → kvm:kvm_entry, of 32-bit hosts too. Neither names its vCPU."""

    name = "riscv64"
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
    own_vcpu: ClassVar[frozenset[str]] = frozenset({"kvm_halt_poll_ns", "kvm_dirty_ring_exit"})
    """Fired by the vCPU's own thread in KVM_RUN: when a halt ends, when a ring is full."""
    summary = "kvm_exit and next kvm_entry of one thread"

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
        """Return what tells the cause, and the WFI among the instructions."""
        return {"scause", "stval"}

    def reason_keys(self, kind: EventKind, fields: Fields) -> tuple[NDArray[Any] | None, NDArray[Any]]:  # noqa: ARG002 - as above
        """Return the group of the cause, and the cause without its top bit, which tells an interrupt."""
        scause, stval = _unsigned(fields.column("scause")), _unsigned(fields.column("stval"))
        top = scause.dtype.type(8 * scause.dtype.itemsize - 1)  # a `long` of riscv32 has 32 bits
        group = (scause >> top).astype(np.uint32)
        code = scause.astype(np.int64) & _CODE_BITS
        virtual = (group == _EXCEPTION) & (code == _VIRTUAL_INSTRUCTION)
        group[virtual & (stval == _WFI_INSTRUCTION)] = _WFI
        group[virtual & (stval == 0)] = _UNTOLD_INSTRUCTION
        return group, code

    def reason(self, kind: EventKind, group: int | None, code: int) -> Reason:  # noqa: ARG002 - the format has no names
        """Return what a cause means; a guest that executes WFI waits."""
        if group == _INTERRUPT:
            return Reason("interrupt", code, _INTERRUPTS.get(code, f"{code:#x}"), idle=False)
        kind_of_reason = _UntoldInstruction if group == _UNTOLD_INSTRUCTION else Reason
        return kind_of_reason("exception", code, EXCEPTIONS.get(code, f"{code:#x}"), idle=group == _WFI)

    def exit_detail(self, kind: EventKind, reason: Reason) -> ExitDetail | None:
        """Return the guest physical address of a page fault, or the instruction.

        htval is the address without its two lowest bits; what is stored has 0 there.
        """
        if reason.isa != "exception" or isinstance(reason, _UntoldInstruction):
            return None
        if reason.code in _GUEST_PAGE_FAULTS and "htval" in kind.format.integer_fields:
            return ExitDetail(_ADDRESS, left_shift=2)
        return ExitDetail(_INSTRUCTION) if reason.code == _VIRTUAL_INSTRUCTION else None

    def detail_names(self, kind: str) -> Mapping[int, str]:
        """Return the names of details of one kind: of all instructions, WFI has one."""
        return {_WFI_INSTRUCTION: "WFI"} if kind == "instruction" else {}


def _unsigned(column: NDArray[Any]) -> NDArray[Any]:
    return column.view(f"u{column.dtype.itemsize}")
