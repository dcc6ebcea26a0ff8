"""What kvm_exit says of itself on x86: reason codes, and what `info1`, `info2` and `intr_info` mean by reason.

VMX (vmx_get_exit_info): info1 is the exit qualification. info2 is the IDT-vectoring information and intr_info the
VM-exit interruption information; before Linux 5.10 there is no intr_info and info2 holds that. The meaning of each is
in Intel's SDM, volume 3, chapter "VM Exits", sections "Basic VM-Exit Information" (tables "Exit Qualification for …")
and "Information for VM Exits Due to Vectored Events".

SVM (svm_get_exit_info): info1 and info2 are EXITINFO1 and EXITINFO2. Their meaning is in AMD's APM, volume 2, chapter
15 with each intercept, and the codes in appendix "SVM Intercept Exit Codes".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmtrace.arch.base import Detail

if TYPE_CHECKING:
    from collections.abc import Mapping

VMX, SVM = "VMX", "SVM"
_ALL = (1 << 64) - 1
_EFER = 0xC0000080


@dataclass(frozen=True, slots=True)
class Told:
    """What one reason's exit event tells: bits of a field (shifted right, then masked), or a constant."""

    detail: Detail
    shift: int = 0
    mask: int = _ALL
    constant: int | None = None


def _field(name: str, kind: str, high: int = 63, low: int = 0) -> Told:
    """Return the bits high:low of a field, as the manuals write them."""
    return Told(Detail("kvm_exit", name, kind), low, (1 << (high - low + 1)) - 1)


def _constant(kind: str, value: int) -> Told:
    """Return what the reason alone tells."""
    return Told(Detail("kvm_exit", "exit_reason", kind), constant=value)


# Of several the first counts whose field the kernel records.
_Rules = dict[int, tuple[Told, ...]]

_VMX_RULES: _Rules = {
    # EXCEPTION_NMI: bits 7:0 of the interruption information, "Information for VM Exits Due to Vectored Events". (The
    # qualification is the address of a page fault, and something else for another vector.)
    0: (_field("intr_info", "vector", 7), _field("info2", "vector", 7)),
    # EXTERNAL_INTERRUPT: the same, where interrupts are acknowledged on exit, which kernels with intr_info ask for.
    1: (_field("intr_info", "vector", 7),),
    9: (_field("info1", "selector", 15),),  # TASK_SWITCH, "Exit Qualification for Task Switches"
    14: (_field("info1", "gva"),),  # INVLPG: the linear address
    28: (_field("info1", "cr", 3),),  # CR_ACCESS, "Exit Qualification for Control-Register Accesses"
    29: (_field("info1", "dr", 2),),  # DR_ACCESS, "Exit Qualification for MOV DR"
    30: (_field("info1", "port", 31, 16),),  # IO_INSTRUCTION, "Exit Qualification for I/O Instructions"
    44: (_field("info1", "apic", 11),),  # APIC_ACCESS, "… for APIC-Access VM Exits from Linear Accesses …"
    45: (_field("info1", "vector", 7),),  # EOI_INDUCED: the vector whose EOI was virtualized
    56: (_field("info1", "apic", 11),),  # APIC_WRITE: the page offset
    84: (_field("info1", "msr", 31),),  # MSR_READ_IMM: the MSR is an immediate of the instruction
    85: (_field("info1", "msr", 31),),  # MSR_WRITE_IMM
    # 48 EPT_VIOLATION and 49 EPT_MISCONFIG: the guest-physical address is in no field of kvm_exit.
}

_SVM_RULES: _Rules = {
    **{code: (_constant("cr", code & 0xF),) for code in range(0x20)},  # CR reads, then CR writes
    **{code: (_constant("dr", code & 0xF),) for code in range(0x20, 0x40)},  # DR reads, then DR writes
    **{code: (_constant("vector", code - 0x40),) for code in range(0x40, 0x60)},  # "Exception Intercepts"
    0x4E: (_field("info2", "gva"), _constant("vector", 0x0E)),  # "#PF (Page Fault)": the faulting linear address
    0x65: (_constant("cr", 0),),  # cr0_sel_write
    0x7B: (_field("info1", "port", 31, 16),),  # io, "EXITINFO1 for IOIO Intercept"
    0x7D: (_field("info1", "selector", 15),),  # "Task Switch Intercept"
    0x8F: (_constant("msr", _EFER),),  # write_efer_trap
    **{code: (_constant("cr", code & 0xF),) for code in range(0x90, 0xA0)},  # traps behind writes of a CR
    0x400: (_field("info2", "gpa"),),  # npf, "Nested versus Guest Page Faults, Fault Ordering"
    0x401: (_field("info1", "vector", 7),),  # avic_incomplete_ipi: the vector in the low half of the ICR
    0x402: (Told(Detail("kvm_exit", "info1", "apic"), mask=0xFF0),),  # avic_unaccelerated_access: the register
    # 0x79 invlpg and 0x75 swint: EXITINFO1 is defined only with decode assists, and no recording tells of those.
}

_RULES: Mapping[str, _Rules] = {VMX: _VMX_RULES, SVM: _SVM_RULES}

EXIT_DETAILS: tuple[Detail, ...] = tuple(
    dict.fromkeys(told.detail for rules in _RULES.values() for choices in rules.values() for told in choices)
)
"""Every detail that the exit event itself may give."""


def told_by_exit(isa: str | None, code: int, fields: frozenset[str] | set[str]) -> Told | None:
    """Return what kvm_exit with these fields tells of an exit by a reason; None: nothing."""
    choices = _RULES.get(isa or "", {}).get(code, ())
    return next((told for told in choices if told.constant is not None or told.detail.field in fields), None)


def _table(names: str) -> dict[int, str]:
    """Return code → name of "code name, code name, …", codes in hexadecimal."""
    entries = (entry.strip().partition(" ") for entry in names.split(","))
    return {int(code, 16): name for code, _, name in entries}


# As the newest kernels name them (uapi/asm/vmx.h and svm.h), and two of svm.h that they leave out of their table.
REASONS: Mapping[str, Mapping[int, str]] = {
    VMX: _table(
        "0 EXCEPTION_NMI, 1 EXTERNAL_INTERRUPT, 2 TRIPLE_FAULT, 3 INIT_SIGNAL, 4 SIPI_SIGNAL, 7 INTERRUPT_WINDOW,"
        "8 NMI_WINDOW, 9 TASK_SWITCH, a CPUID, c HLT, d INVD, e INVLPG, f RDPMC, 10 RDTSC, 12 VMCALL, 13 VMCLEAR,"
        "14 VMLAUNCH, 15 VMPTRLD, 16 VMPTRST, 17 VMREAD, 18 VMRESUME, 19 VMWRITE, 1a VMOFF, 1b VMON, 1c CR_ACCESS,"
        "1d DR_ACCESS, 1e IO_INSTRUCTION, 1f MSR_READ, 20 MSR_WRITE, 21 INVALID_STATE, 22 MSR_LOAD_FAIL,"
        "24 MWAIT_INSTRUCTION, 25 MONITOR_TRAP_FLAG, 27 MONITOR_INSTRUCTION, 28 PAUSE_INSTRUCTION,"
        "29 MCE_DURING_VMENTRY, 2b TPR_BELOW_THRESHOLD, 2c APIC_ACCESS, 2d EOI_INDUCED, 2e GDTR_IDTR, 2f LDTR_TR,"
        "30 EPT_VIOLATION, 31 EPT_MISCONFIG, 32 INVEPT, 33 RDTSCP, 34 PREEMPTION_TIMER, 35 INVVPID, 36 WBINVD,"
        "37 XSETBV, 38 APIC_WRITE, 39 RDRAND, 3a INVPCID, 3b VMFUNC, 3c ENCLS, 3d RDSEED, 3e PML_FULL, 3f XSAVES,"
        "40 XRSTORS, 43 UMWAIT, 44 TPAUSE, 4a BUS_LOCK, 4b NOTIFY, 4d TDCALL, 54 MSR_READ_IMM, 55 MSR_WRITE_IMM"
    ),
    SVM: {
        **{base + n: f"{access}_cr{n}" for base, access in ((0, "read"), (0x10, "write")) for n in (0, 2, 3, 4, 8)},
        **{base + n: f"{access}_dr{n}" for base, access in ((0x20, "read"), (0x30, "write")) for n in range(8)},
        **_table(
            "40 DE excp, 41 DB excp, 43 BP excp, 44 OF excp, 45 BR excp, 46 UD excp, 47 NM excp, 48 DF excp,"
            "4a TS excp, 4b NP excp, 4c SS excp, 4d GP excp, 4e PF excp, 50 MF excp, 51 AC excp, 52 MC excp,"
            "53 XF excp, 60 interrupt, 61 nmi, 62 smi, 63 init, 64 vintr, 65 cr0_sel_write, 66 read_idtr,"
            "67 read_gdtr, 68 read_ldtr, 69 read_rt, 6a write_idtr, 6b write_gdtr, 6c write_ldtr, 6d write_rt,"
            "6e rdtsc, 6f rdpmc, 70 pushf, 71 popf, 72 cpuid, 73 rsm, 74 iret, 75 swint, 76 invd, 77 pause, 78 hlt,"
            "79 invlpg, 7a invlpga, 7b io, 7c msr, 7d task_switch, 7e ferr_freeze, 7f shutdown, 80 vmrun,"
            "81 hypercall, 82 vmload, 83 vmsave, 84 stgi, 85 clgi, 86 skinit, 87 rdtscp, 88 icebp, 89 wbinvd,"
            "8a monitor, 8b mwait, 8c mwait_cond, 8d xsetbv, 8e rdpru, 8f write_efer_trap, 90 write_cr0_trap,"
            "94 write_cr4_trap, 98 write_cr8_trap, a2 invpcid, a5 buslock, a6 idle-halt, 400 npf,"
            "401 avic_incomplete_ipi, 402 avic_unaccelerated_access, 403 vmgexit, 80000001 vmgexit_mmio_read,"
            "80000002 vmgexit_mmio_write, 80000003 vmgexit_nmi_complete, 80000004 vmgexit_ap_hlt_loop,"
            "80000005 vmgexit_ap_jump_table, 80000010 vmgexit_page_state_change, 80000011 vmgexit_guest_request,"
            "80000012 vmgexit_ext_guest_request, 80000013 vmgexit_ap_creation, 8000fffd vmgexit_hypervisor_feature,"
            "ffffffff invalid_guest_state"
        ),
    },
}
"""Names of reasons, for recordings that give none."""
