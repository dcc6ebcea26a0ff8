"""x86, VMX and SVM: kvm_exit → kvm_entry (arch/x86/kvm/trace.h)."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from kvmtrace.arch.base import Architecture, Detail, EventRole, Reason, Role
from kvmtrace.arch.x86_names import CONTROL_REGISTERS, CPUID_LEAVES, HYPERCALLS, IO_PORTS, MMIO, MSRS
from kvmtrace.tracepoints import EvaluationError, Expression, FormatError, PrintFormat

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from kvmtrace.recording import EventKind, Facts, Fields

_ISA_NAMES = {1: "VMX", 2: "SVM"}  # KVM_ISA_VMX, KVM_ISA_SVM
# Codes of uapi/asm/vmx.h and uapi/asm/svm.h.
_VMX_FLAGS = ~0xFFFF  # FAILED_VMENTRY and others
_VMX_IDLE = frozenset({12, 36})  # HLT, MWAIT_INSTRUCTION
_SVM_IDLE = frozenset({0x78, 0x8B, 0x8C, 0xA6})  # hlt, mwait, mwait with ECX.0, idle-halt
_VMX_FASTPATH = frozenset({32, 52})  # MSR_WRITE, PREEMPTION_TIMER
_VMX_GUEST_FAULT = frozenset({0})  # EXCEPTION_NMI: with shadow paging the faulting address is the guest's own
_SVM_GUEST_FAULT = frozenset({0x4E})  # PF excp


class X86(Architecture):
    """kvm:kvm_exit → kvm:kvm_entry."""

    name = "x86"
    details: ClassVar[tuple[Detail, ...]] = (
        Detail("kvm_msr", "ecx", "msr"),
        Detail("kvm_pio", "port", "port"),
        Detail("kvm_cr", "cr", "cr"),
        Detail("kvm_cpuid", "function", "cpuid"),
        Detail("kvm_hypercall", "nr", "hypercall"),
        Detail("kvm_hv_hypercall", "code", "hv_hypercall"),
        Detail("kvm_xen_hypercall", "nr", "xen_hypercall"),
        Detail("kvm_mmio", "gpa", "gpa"),
        Detail("kvm_fast_mmio", "gpa", "gpa"),
        Detail("kvm_page_fault", "fault_address", "gpa"),
    )
    roles: ClassVar[Mapping[tuple[str, str], tuple[EventRole, ...]]] = {
        ("kvm", "kvm_exit"): (EventRole(Role.EXIT),),
        ("kvm", "kvm_entry"): (EventRole(Role.ENTRY),),
        ("kvm", "kvm_fpu"): (
            EventRole(Role.OTHER, choice_field="load", choices={0: Role.USER_LEAVE, 1: Role.USER_RETURN}),
        ),
        ("kvm", "kvm_eoi"): (EventRole(Role.EOI),),
        ("kvm", "kvm_nested_vmexit"): (EventRole(Role.NESTED),),
        ("kvm", "kvm_nested_vmexit_inject"): (EventRole(Role.REFLECTED),),
        **{("kvm", d.event): (EventRole(Role.DETAIL + index, value_field=d.field),) for index, d in enumerate(details)},
    }
    own_vcpu: ClassVar[frozenset[str]] = frozenset({"kvm_exit", "kvm_entry"})
    summary = "kvm_exit and next kvm_entry of one thread"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._reasons: dict[int, Expression | None] = {}

    @classmethod
    def records(cls, facts: Facts) -> bool:
        """Tell whether kvm:kvm_exit or kvm:kvm_entry has the fields that x86 gives it."""
        arch = str(facts.host.get("arch", "x86"))
        if not re.fullmatch(r"x86.*|i[3-6]86", arch):
            return False
        wanted = {("kvm", "kvm_exit"): {"exit_reason", "guest_rip"}, ("kvm", "kvm_entry"): {"vcpu_id"}}
        return any(wanted.get((kind.system, kind.name), {""}) <= kind.format.integer_fields for kind in facts.events)

    def reason_fields(self, kind: EventKind) -> set[str]:  # noqa: ARG002 - one for all kernels
        """Return exit_reason, which every kernel records."""
        return {"exit_reason"}

    def reason_keys(self, kind: EventKind, fields: Fields) -> tuple[NDArray[Any] | None, NDArray[Any]]:
        """Return isa (recorded since 2.6.39) and exit_reason."""
        isa = fields.column("isa") if "isa" in kind.format.integer_fields else None
        return isa, fields.column("exit_reason")

    def reason(self, kind: EventKind, group: int | None, code: int) -> Reason:
        """Return what an isa and a recorded reason mean, as the recording's own print fmt names it."""
        isa, vmx = group, group == 1
        masked = code & ~_VMX_FLAGS if vmx else code
        name = f"{masked:#x}"
        expression = self._expression(kind)
        if expression is not None:
            values = {"exit_reason": code} if isa is None else {"exit_reason": code, "isa": isa}
            with suppress(EvaluationError):  # the number stands for a name that the recording does not give
                name = str(expression.evaluate(values))
        idle = masked in (_VMX_IDLE if vmx else _SVM_IDLE)
        return Reason(None if isa is None else _ISA_NAMES.get(isa, f"isa {isa}"), masked, name, idle)

    def _expression(self, kind: EventKind) -> Expression | None:
        key = kind.format.id
        if key not in self._reasons:
            try:
                self._reasons[key] = PrintFormat.of(kind.format).conversion_argument("reason ")
            except FormatError:
                self._reasons[key] = None
        return self._reasons[key]

    def detail_kind(self, detail: Detail, reason: Reason) -> str:
        """Return the detail's kind: with shadow paging a faulting address is a guest virtual one."""
        shadow = reason.code in (_VMX_GUEST_FAULT if reason.isa == "VMX" else _SVM_GUEST_FAULT)
        return "gva" if shadow and detail.event == "kvm_page_fault" else detail.kind

    def detail_names(self, kind: str) -> Mapping[int, str]:
        """Return the names of details of one kind."""
        tables: dict[str, Mapping[int, str]] = {
            "msr": MSRS,
            "port": IO_PORTS,
            "cr": CONTROL_REGISTERS,
            "cpuid": CPUID_LEAVES,
            "hypercall": HYPERCALLS,
            "gpa": MMIO,
        }
        return tables.get(kind, {})

    def reenters_without_entry(self, reason: Reason) -> bool:
        """Tell whether it is a fastpath exit of VMX on 5.8 to 5.11: vmx_vcpu_run loops without kvm_entry there."""
        version = re.match(r"(\d+)\.(\d+)", str(self.facts.host.get("kernel", "")))
        if version is None or reason.isa != "VMX" or reason.code not in _VMX_FASTPATH:
            return False
        return (5, 8) <= (int(version[1]), int(version[2])) <= (5, 11)
