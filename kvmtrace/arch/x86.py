"""x86, VMX and SVM: kvm_exit → kvm_entry (arch/x86/kvm/trace.h)."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from kvmtrace.arch import x86_names as names
from kvmtrace.arch.base import Architecture, Detail, EventRole, ExitDetail, Reason, Role
from kvmtrace.arch.x86_exit_info import EXIT_DETAILS, REASONS, SVM, VMX, told_by_exit
from kvmtrace.tracepoints import field_symbols

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from kvmtrace.recording import EventKind, Facts, Fields

_ISA_NAMES = {1: VMX, 2: SVM}  # KVM_ISA_VMX, KVM_ISA_SVM
_VENDORS = {"GenuineIntel": 1, "CentaurHauls": 1, "Shanghai": 1, "AuthenticAMD": 2, "HygonGenuine": 2}
# Codes of uapi/asm/vmx.h and uapi/asm/svm.h.
_VMX_REASON_BITS = 0xFFFF  # above them FAILED_VMENTRY and other flags
_MASK32 = 0xFFFFFFFF
_VMX_IDLE = frozenset({12, 36})  # HLT, MWAIT_INSTRUCTION
_SVM_IDLE = frozenset({0x78, 0x8B, 0x8C, 0xA6})  # hlt, mwait, mwait with ECX.0, idle-halt
_IDLE = {VMX: _VMX_IDLE, SVM: _SVM_IDLE, None: _SVM_IDLE | {12}}  # without an isa: what is no code of the other
_VMX_FASTPATH = frozenset({32, 52})  # MSR_WRITE, PREEMPTION_TIMER
_GUEST_FAULTS = frozenset({(VMX, 0), (SVM, 0x4E)})  # EXCEPTION_NMI, PF excp: with shadow paging, at the guest's address
_RUNS_NESTED = frozenset({(VMX, 20), (VMX, 24), (SVM, 0x80)})  # VMLAUNCH, VMRESUME, vmrun
_IO = {1: 30, 2: 0x7B}  # a code of one of the two alone
_GHCB_REQUEST_BITS = 0xFFF


class X86(Architecture):
    """kvm:kvm_exit → kvm:kvm_entry."""

    name = "x86"
    details: ClassVar[tuple[Detail, ...]] = (
        # A guest of SEV-ES says itself why it left; what it asks for is carried out like an exit of another guest.
        Detail("kvm_vmgexit_enter", "exit_reason", "vmgexit"),
        Detail("kvm_vmgexit_msr_protocol_enter", "ghcb_gpa", "ghcb_msr"),
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
        *EXIT_DETAILS,
    )
    roles: ClassVar[Mapping[tuple[str, str], tuple[EventRole, ...]]] = {
        **{
            ("kvm", detail.event): (EventRole(Role.DETAIL + index, value_field=detail.field),)
            for index, detail in enumerate(details)
            if detail.event != "kvm_exit"
        },
        ("kvm", "kvm_vmgexit_msr_protocol_enter"): (
            EventRole(Role.DETAIL + 1, value_field="ghcb_gpa", value_mask=_GHCB_REQUEST_BITS),
        ),
        ("kvm", "kvm_exit"): (EventRole(Role.EXIT),),
        ("kvm", "kvm_entry"): (EventRole(Role.ENTRY),),
        ("kvm", "kvm_fpu"): (
            EventRole(Role.OTHER, choice_field="load", choices={0: Role.USER_LEAVE, 1: Role.USER_RETURN}),
        ),
        ("kvm", "kvm_eoi"): (EventRole(Role.EOI),),
        ("kvm", "kvm_nested_vmexit"): (EventRole(Role.NESTED),),
        ("kvm", "kvm_nested_vmexit_inject"): (EventRole(Role.REFLECTED),),
    }
    own_vcpu: ClassVar[frozenset[str]] = frozenset(
        {
            "kvm_exit",
            "kvm_entry",
            "kvm_nested_vmexit",
            "kvm_page_fault",
            "kvm_rmp_fault",
            "kvm_pml_full",
            "kvm_pvclock_update",
            "kvm_pv_tlb_flush",
            "kvm_halt_poll_ns",
            "kvm_dirty_ring_exit",
            "kvm_hv_stimer_expiration",
            "kvm_hv_stimer_start_one_shot",
            "kvm_hv_stimer_start_periodic",
            "kvm_hv_synic_send_eoi",
            "kvm_vmgexit_enter",
            "kvm_vmgexit_exit",
            "kvm_vmgexit_msr_protocol_enter",
            "kvm_vmgexit_msr_protocol_exit",
        }
    )
    """Fired nowhere but in the vCPU's own KVM_RUN. Others with a vcpu_id may be fired in a timer's interrupt
    (kvm_hv_stimer_callback, kvm_wait_lapic_expire), for another vCPU (kvm_hv_synic_set_irq, kvm_pi_irte_update), or by
    whoever creates a vCPU or sets its registers (kvm_write_tsc_offset, kvm_track_tsc, kvm_smm_transition)."""
    summary = "kvm_exit and next kvm_entry of one thread"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._named: dict[tuple[int, int | None], Mapping[int, str]] = {}

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
        """Return isa (recorded since 2.6.39, else as `_isa_of` finds it) and exit_reason."""
        reason = fields.column("exit_reason")
        if "isa" in kind.format.integer_fields:
            return fields.column("isa"), reason
        isa = self._isa_of(kind)
        return None if isa is None else np.full(len(reason), isa, np.uint32), reason

    def _isa_of(self, kind: EventKind) -> int | None:
        """Return the isa where kvm_exit does not record it: by its print fmt's names, else by the processor.

        Linux 2.6.32 to 2.6.38 look names up in a table of the kernel's own, which no format text has.
        """
        told = [isa for isa, io in _IO.items() if io in self._names(kind, None)]
        if len(told) == 1:
            return told[0]
        return _VENDORS.get(str(self.facts.host.get("cpuid", "")).split(",")[0].strip())

    def reason(self, kind: EventKind, group: int | None, code: int) -> Reason:
        """Return what an isa and a recorded reason mean, as the recording's own print fmt names it."""
        isa = None if group is None else _ISA_NAMES.get(group, f"isa {group}")
        masked = code & _VMX_REASON_BITS if isa == VMX else code
        name = self._names(kind, group).get(masked) or REASONS.get(isa or "", {}).get(masked) or f"{masked:#x}"
        return Reason(isa, masked, name, idle=masked in _IDLE.get(isa, ()))

    def _names(self, kind: EventKind, group: int | None) -> Mapping[int, str]:
        """Return the names of reasons that the print fmt gives."""
        key = kind.format.id, group
        if key not in self._named:
            known = {} if group is None else {"isa": group}
            symbols = field_symbols(kind.format, known).get("exit_reason", {})
            self._named[key] = {value & _MASK32: name for value, name in symbols.items()}
        return self._named[key]

    def exit_detail(self, kind: EventKind, reason: Reason) -> ExitDetail | None:
        """Return what kvm_exit itself tells of an exit with that reason: a port, an address, a register, a vector."""
        told = told_by_exit(reason.isa, reason.code, kind.format.integer_fields)
        if told is None:
            return None
        return ExitDetail(self.details.index(told.detail), told.shift, told.mask, constant=told.constant)

    def detail_kind(self, detail: Detail, reason: Reason) -> str:
        """Return the detail's kind: with shadow paging a faulting address is a guest virtual one."""
        shadow = (reason.isa, reason.code) in _GUEST_FAULTS
        return "gva" if shadow and detail.event == "kvm_page_fault" else detail.kind

    def detail_names(self, kind: str) -> Mapping[int, str]:
        """Return the names of details of one kind."""
        return self._detail_names.get(kind, {})

    @cached_property
    def _detail_names(self) -> Mapping[str, Mapping[int, str]]:
        exits = [kind for kind in self.facts.events if (kind.system, kind.name) == ("kvm", "kvm_exit")]
        return {
            "vmgexit": {**REASONS[SVM], **(self._names(exits[0], 2) if exits else {})},
            "ghcb_msr": names.GHCB_REQUESTS,
            "msr": names.MSRS,
            "port": names.IO_PORTS,
            "cr": names.CONTROL_REGISTERS,
            "dr": names.DEBUG_REGISTERS,
            "cpuid": names.CPUID_LEAVES,
            "hypercall": names.HYPERCALLS,
            "gpa": names.MMIO,
            "apic": names.APIC_REGISTERS,
            "vector": names.VECTORS,
        }

    def reenters_without_entry(self, reason: Reason) -> bool:
        """Tell whether it is a fastpath exit of VMX where vmx_vcpu_run loops without kvm_entry: on 5.8 to 5.11.

        An older kernel whose kvm_exit is one of 5.10 or newer has parts of such a kernel: there it may be.
        """
        if reason.isa != VMX or reason.code not in _VMX_FASTPATH:
            return False
        version = re.match(r"(\d+)\.(\d+)", str(self.facts.host.get("kernel", "")))
        if version is None:
            return False
        release = int(version[1]), int(version[2])
        return (5, 8) <= release <= (5, 11) or (release < (5, 8) and self._backported)

    @cached_property
    def _backported(self) -> bool:
        return any("intr_info" in kind.format.integer_fields for kind in self.facts.events if kind.name == "kvm_exit")

    def enters_nested_guest(self, reason: Reason) -> bool:
        """Tell whether the guest asked to run a guest of its own."""
        return (reason.isa, reason.code) in _RUNS_NESTED
