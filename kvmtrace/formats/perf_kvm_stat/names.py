"""Exit reasons as perf names them, by what the times of their table are.

perf measures from kvm_exit to kvm_entry on x86, POWER, s390 and LoongArch: time out of the guest. On arm64 and RISC-V
it measures from kvm_entry to kvm_exit: time in the guest, which ended in that exit. The tables look the same.

Sources: tools/perf/arch/*/util/kvm-stat.c (from 7.1 tools/perf/util/kvm-stat-arch/) and the headers that they take
their names from: uapi/asm/{vmx,svm,sie}.h, book3s_hv_exits.h, arm64_exception_types.h, riscv_{exception,trap}_types.h.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

OUT_OF_GUEST = "out of the guest"
IN_GUEST = "in the guest"

CUT_AT = 19
"""Characters that a column of 20 leaves of a name (scnprintf)."""

UNKNOWN = "UNKNOWN"
"""What perf calls every reason that it has no name for."""

_VMX = """
EXCEPTION_NMI EXTERNAL_INTERRUPT TRIPLE_FAULT INIT_SIGNAL SIPI_SIGNAL OTHER_SMI INTERRUPT_WINDOW PENDING_INTERRUPT
NMI_WINDOW TASK_SWITCH CPUID HLT INVD INVLPG RDPMC RDTSC VMCALL VMCLEAR VMLAUNCH VMPTRLD VMPTRST VMREAD VMRESUME VMWRITE
VMOFF VMON CR_ACCESS DR_ACCESS IO_INSTRUCTION MSR_READ MSR_WRITE INVALID_STATE MSR_LOAD_FAIL MWAIT_INSTRUCTION
MONITOR_TRAP_FLAG MONITOR_INSTRUCTION PAUSE_INSTRUCTION MCE_DURING_VMENTRY TPR_BELOW_THRESHOLD APIC_ACCESS EOI_INDUCED
GDTR_IDTR LDTR_TR EPT_VIOLATION EPT_MISCONFIG INVEPT RDTSCP PREEMPTION_TIMER INVVPID WBINVD XSETBV APIC_WRITE RDRAND
INVPCID VMFUNC ENCLS RDSEED PML_FULL XSAVES XRSTORS UMWAIT TPAUSE BUS_LOCK NOTIFY SEAMCALL TDCALL MSR_READ_IMM
MSR_WRITE_IMM FAILED_VMENTRY
"""
_SVM = """
interrupt nmi smi init vintr cr0_sel_write rdtsc rdpmc pushf popf cpuid rsm iret swint invd pause hlt invlpg invlpga io
msr task_switch ferr_freeze shutdown vmrun hypercall vmload vmsave stgi clgi skinit rdtscp icebp wbinvd monitor mwait
xsetbv invpcid npf avic_incomplete_ipi avic_unaccelerated_access invalid_guest_state write_efer_trap write_cr0_trap
write_cr4_trap write_cr8_trap buslock idle-halt vmgexit vmgexit_mmio_read vmgexit_mmio_write vmgexit_nmi_complete
vmgexit_ap_hlt_loop vmgexit_ap_jump_table
"""
_SVM_NUMBERED = (
    *(f"{way}_cr{n}" for way in ("read", "write") for n in (0, 2, 3, 4, 8)),
    *(f"{way}_dr{n}" for way in ("read", "write") for n in range(8)),
    *(f"{way}_{what}" for way in ("read", "write") for what in ("idtr", "gdtr", "ldtr", "rt")),
    *(
        f"{vector} excp"
        for vector in [
            "DE",
            "DB",
            "BP",
            "OF",
            "BR",
            "UD",
            "NM",
            "DF",
            "TS",
            "NP",
            "SS",
            "GP",
            "PF",
            "MF",
            "AC",
            "MC",
            "XF",
        ]
    ),
)
_POWER = """
RETURN_TO_HOST SYSTEM_RESET MACHINE_CHECK DATA_STORAGE DATA_SEGMENT INST_STORAGE INST_SEGMENT EXTERNAL EXTERNAL_LEVEL
EXTERNAL_HV ALIGNMENT PROGRAM FP_UNAVAIL DECREMENTER HV_DECREMENTER TRACE H_DATA_STORAGE H_INST_STORAGE H_EMUL_ASSIST
PERFMON ALTIVEC VSX
"""
_S390 = (
    "Host interruption", "Instruction", "Program interruption", "Instruction and program interruption",
    "External request", "External interruption", "I/O request", "Wait state", "Validity", "Stop request",
    "Operation exception", "Partial-execution", "I/O interruption", "I/O instruction", "Timing subset",
)  # fmt: skip
_S390_BEGINNINGS = (
    "DIAG (0x",
    "SIGP ",
    "Prog ",
    "0x01 ",
    "0xAA ",
    "0xB2 ",
    "0xB9 ",
    "0xE3 ",
    "0xE5 ",
    "0xEB ",
    "0xC8 ",
)
_LOONGARCH = (
    "Interrupt", "Mem read", "Mem Read", "Mem store", "Mem Store", "Ifecth", "Inst Fetch", "Mem modify", "Mem Modify",
    "FPU", "LSX", "LASX", "Privilege Error", "Hypercall", "Cpucfg", "CPUCFG", "Csr", "CSR", "Iocsr", "IOCSR", "Idle",
    "Others",
)  # fmt: skip
_ARM64_OUT_OF_TREE = ("TRAP",)  # perf of 2019, never merged, which measured from exit to entry
_ARM64 = """
SERROR HYP_GONE IL WFx CP15_32 CP15_64 CP14_MR CP14_LS FP_ASIMD CP10_ID PAC CP14_64 BTI ILL SVC32 HVC32 SMC32 SVC64
HVC64 SMC64 SYS64 SVE ERET FPAC SME IMP_DEF IABT_LOW IABT_CUR PC_ALIGN DABT_LOW DABT_CUR SP_ALIGN MOPS FP_EXC32
FP_EXC64 GCS BREAKPT_LOW BREAKPT_CUR SOFTSTP_LOW SOFTSTP_CUR WATCHPT_LOW WATCHPT_CUR BKPT32 VECTOR32 BRK64
"""
_RISCV = """
INST_MISALIGNED INST_ACCESS INST_ILLEGAL BREAKPOINT LOAD_MISALIGNED LOAD_ACCESS STORE_MISALIGNED STORE_ACCESS
HYPERVISOR_SYSCALL SUPERVISOR_SYSCALL INST_PAGE_FAULT LOAD_PAGE_FAULT STORE_PAGE_FAULT INST_GUEST_PAGE_FAULT
LOAD_GUEST_PAGE_FAULT VIRTUAL_INST_FAULT STORE_GUEST_PAGE_FAULT
"""
_RISCV_BEGINNINGS = ("EXC_", "IRQ_")  # from 6.17 on
_EITHER = (UNKNOWN, "IRQ", "SYSCALL", "OTHER")  # reasons of both, which tell nothing

_OUT = frozenset(
    [*_VMX.split(), *_SVM.split(), *_SVM_NUMBERED, *_POWER.split(), *_S390, *_LOONGARCH, *_ARM64_OUT_OF_TREE]
)
_IN = frozenset([*_ARM64.split(), *_RISCV.split()])
_REASONS = _OUT | _IN | {*_EITHER}
_LONG = tuple(sorted(name for name in _REASONS if len(name) > CUT_AT))
_ISAS = {"arm64": IN_GUEST, "riscv64": IN_GUEST}
"""`exit_reasons_isa` of perf, where the times are not out of the guest."""


def is_reason(name: str) -> bool:
    """Tell whether perf names an exit reason so, maybe cut by its column."""
    return _time_is(name) is not None or name in _EITHER


def whole_names(name: str) -> list[str]:
    """Return the longer names that a name may be the beginning of: it is cut. None: it is whole."""
    if len(name) != CUT_AT or name in _REASONS:
        return []
    return [long for long in _LONG if long.startswith(name)]


def time_is(event_kind: str, names: Iterable[str], isas: Iterable[str]) -> str | None:
    """Return what the times of a table are; None: its rows, and what perf says of their ISA, do not tell."""
    if event_kind in {"mmio", "ioport", "msr", "hcall"}:  # x86 and POWER only
        return OUT_OF_GUEST
    if event_kind != "vmexit":
        return None
    told = {*map(_time_is, names), *(_ISAS.get(isa, OUT_OF_GUEST) for isa in isas)} - {None}
    return told.pop() if len(told) == 1 else None


def _time_is(name: str) -> str | None:
    name = next(iter(whole_names(name)), name)
    if name in _IN or name.startswith(_RISCV_BEGINNINGS):
        return IN_GUEST
    if name in _OUT or name.startswith(_S390_BEGINNINGS):
        return OUT_OF_GUEST
    return None
