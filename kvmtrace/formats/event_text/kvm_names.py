"""Names that KVM's events, and the events beside them, print in place of numbers; x86's exit reasons are in names.py.

Sources: the __print_symbolic and __print_flags tables of include/trace/events/*.h, arch/*/kvm/trace*.h and mmutrace.h,
include/uapi/linux/kvm.h, arch/powerpc/include/asm/{hvcall,kvm_asm}.h of Linux 2.6.32 to 7.1. Names of several versions
are together: the number that a name has in the newest counts where they differ.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from kvmtrace.arch import arm64_names, ppc64_names, x86_names

if TYPE_CHECKING:
    from collections.abc import Mapping

Table = dict[str, tuple[int, ...]]

NOT_TOLD = (1 << 32) - 1
"""`reason` of a kvm_userspace_exit whose text tells only that KVM_RUN failed, and with what."""

_EINTR = 4
_ERRNOS = (*range(1, 134), *range(512, 531))  # asm-generic/errno*.h, and those that only the kernel has
_MASK64 = (1 << 64) - 1

# The last that a kernel names is X86_WRMSR (30); those behind it print as numbers.
_USERSPACE_EXITS = (
    "UNKNOWN EXCEPTION IO HYPERCALL DEBUG HLT MMIO IRQ_WINDOW_OPEN SHUTDOWN FAIL_ENTRY INTR SET_TPR TPR_ACCESS"
    " S390_SIEIC S390_RESET DCR NMI INTERNAL_ERROR OSI PAPR_HCALL S390_UCONTROL WATCHDOG S390_TSCH EPR SYSTEM_EVENT"
    " S390_STSI IOAPIC_EOI HYPERV ARM_NISV X86_RDMSR X86_WRMSR DIRTY_RING_FULL AP_RESET_HOLD X86_BUS_LOCK XEN"
    " RISCV_SBI RISCV_CSR NOTIFY LOONGARCH_IOCSR MEMORY_FAULT TDX"
)
_APIC_REGISTERS = {
    "APIC_RRR": 0xC0, "APIC_ISR": 0x100, "APIC_TMR": 0x180, "APIC_IRR": 0x200, "APIC_EFEAT": 0x400, "APIC_ECTRL": 0x410,
}  # fmt: skip
_BOOKE_EXITS = (
    "CRITICAL MACHINE_CHECK DATA_STORAGE INST_STORAGE EXTERNAL ALIGNMENT PROGRAM FP_UNAVAIL SYSCALL AP_UNAVAIL"
    " DECREMENTER FIT WATCHDOG DTLB_MISS ITLB_MISS DEBUG"
)
_BOOKE_EXITS_FROM_32 = (
    "SPE_UNAVAIL SPE_FP_DATA SPE_FP_ROUND PERFORMANCE_MONITOR DOORBELL DOORBELL_CRITICAL GUEST_DBELL GUEST_DBELL_CRIT"
    " HV_SYSCALL HV_PRIV"
)
# Return codes of hypercalls: 0 and more, and below 0.
_HCALL_RETURNS = (
    "0 H_SUCCESS, 1 H_BUSY, 2 H_CLOSED, 3 H_NOT_AVAILABLE, 4 H_CONSTRAINED, 5 H_PARTIAL, 14 H_IN_PROGRESS,"
    "15 H_PAGE_REGISTERED, 16 H_PARTIAL_STORE, 17 H_PENDING, 18 H_CONTINUE, 9900 H_LONG_BUSY_START_RANGE,"
    "9900 H_LONG_BUSY_ORDER_1_MSEC, 9901 H_LONG_BUSY_ORDER_10_MSEC, 9902 H_LONG_BUSY_ORDER_100_MSEC,"
    "9903 H_LONG_BUSY_ORDER_1_SEC, 9904 H_LONG_BUSY_ORDER_10_SEC, 9905 H_LONG_BUSY_ORDER_100_SEC,"
    "9905 H_LONG_BUSY_END_RANGE, 9999 H_TOO_HARD, -1 H_HARDWARE, -2 H_FUNCTION, -3 H_PRIVILEGE, -4 H_PARAMETER,"
    "-5 H_BAD_MODE, -6 H_PTEG_FULL, -7 H_NOT_FOUND, -8 H_RESERVED_DABR, -9 H_NO_MEM, -10 H_AUTHORITY,"
    "-11 H_PERMISSION, -12 H_DROPPED, -13 H_SOURCE_PARM, -14 H_DEST_PARM, -15 H_REMOTE_PARM, -16 H_RESOURCE,"
    "-17 H_ADAPTER_PARM, -18 H_RH_PARM, -19 H_RCQ_PARM, -20 H_SCQ_PARM, -21 H_EQ_PARM, -22 H_RT_PARM, -23 H_ST_PARM,"
    "-24 H_SIGT_PARM, -25 H_TOKEN_PARM, -27 H_MLENGTH_PARM, -28 H_MEM_PARM, -29 H_MEM_ACCESS_PARM, -30 H_ATTR_PARM,"
    "-31 H_PORT_PARM, -32 H_MCG_PARM, -33 H_VL_PARM, -34 H_TSIZE_PARM, -35 H_TRACE_PARM, -37 H_MASK_PARM,"
    "-38 H_MCG_FULL, -39 H_ALIAS_EXIST, -40 H_P_COUNTER, -41 H_TABLE_FULL, -42 H_ALT_TABLE, -43 H_MR_CONDITION,"
    "-44 H_NOT_ENOUGH_RESOURCES, -45 H_R_STATE, -46 H_RESCINDED, -55 H_P2, -56 H_P3, -57 H_P4, -58 H_P5, -59 H_P6,"
    "-60 H_P7, -61 H_P8, -62 H_P9, -64 H_TOO_BIG, -68 H_OVERLAP, -69 H_INTERRUPT, -70 H_BAD_DATA, -71 H_NOT_ACTIVE,"
    "-72 H_SG_LIST, -73 H_OP_MODE, -74 H_COP_HW, -256 H_UNSUPPORTED_FLAG_START, -511 H_UNSUPPORTED_FLAG_END,"
    "-9005 H_MULTI_THREADS_ACTIVE, -9006 H_OUTSTANDING_COP_OPS"
)
# Letters of sched_switch. From 4.14 on X is 16, Z 32, P 64 and I 128; x, K, W, N and n are of kernels before that.
_TASK_STATES = {
    "S": 1, "D": 2, "T": 4, "t": 8, "X": 16, "Z": 32, "P": 64, "I": 128, "x": 64, "K": 128, "W": 256, "N": 1024,
    "n": 2048,
}  # fmt: skip
_PREEMPTED = 256
# libtraceevent's plugin has no +, and wrote W and x (and Z for 16, X for 32) up to its version 1.7.
_TASK_STATES_OF_PLUGIN = {"S": 1, "D": 2, "T": 4, "t": 8, "X": 16, "Z": 32, "P": 64, "I": 128, "x": 64, "W": 128}


def _one(values: Mapping[str, int]) -> Table:
    return {name: (value,) for name, value in values.items()}


def _numbered(names: str, start: int = 0, step: int = 1) -> Table:
    """Return the table of "name name …", numbered from `start` in steps."""
    return _one({name: start + step * number for number, name in enumerate(names.split())})


def _reversed(names: Mapping[int, str]) -> Table:
    return _one({name: number for number, name in names.items()})


def _task_states(bits: Mapping[str, int]) -> dict[str, int]:
    """Return running, one state, and two or three at once ("D|K"), but letters of one bit: no kernel has both."""
    sets = [*combinations(bits, 1), *combinations(bits, 2), ("D", "K", "N")]
    states = {"R": 0}
    for letters in sets:
        values = {bits.get(letter, 0) for letter in letters}
        if len(values) == len(letters) and 0 not in values:
            states["|".join(letters)] = sum(values)
    return states


def _preempted(states: Mapping[str, int]) -> dict[str, int]:
    """Return the states, and each with the + of a thread that was preempted."""
    return {**states, **{f"{name}+": value | _PREEMPTED for name, value in states.items()}}


def _exit_failures() -> Table:
    """Return what stands in place of "KVM_EXIT_… (n)": errors, and reasons that the kernel has no name for."""
    failures = {f"error ({errno})": (NOT_TOLD, -errno) for errno in _ERRNOS if errno != _EINTR}
    unnamed = {f"{reason:#x} ({reason})": (reason, 0) for reason in range(1, 256)}
    return {f"restart ({_EINTR})": (NOT_TOLD, -_EINTR), **unnamed, **failures}


def _hcall_returns() -> Table:
    entries = (entry.strip().partition(" ") for entry in _HCALL_RETURNS.split(","))
    return _one({name: int(code) & _MASK64 for code, _, name in entries})


_VM86, _PROTECTED, _CS_DEFAULT, _CS_LONG = 1 << 1, 1 << 0, 1 << 2, 1 << 3  # KVM_EMUL_INSN_F_…

TABLES: dict[str, Table] = {
    "kvm_exit_reason": {name: (number, 0) for number, name in enumerate(_USERSPACE_EXITS.split())},
    "kvm_exit_failed": _exit_failures(),
    "kvm_mmio_type": _numbered("unsatisfied-read read write"),
    "kvm_fpu_load": _numbered("unload load"),
    "kvm_irqchip": _one({"PIC master": 0, "PIC slave": 1, "IOAPIC": 2}),
    "kvm_wait_poll": _numbered("poll wait"),
    "kvm_page_age": _numbered("OLD YOUNG"),
    "read_write": _numbered("read write"),
    "is_write": _numbered("read write"),
    "grow_shrink": _numbered("shrink grow"),
    "true_false": _numbered("false true"),
    "valid_invalid": _numbered("invalid valid"),
    "yes_no": _numbered("n y"),
    "on_off": _numbered("off on"),
    "irq_return": _numbered("unhandled handled"),
    "task_state": _one(_preempted(_task_states(_TASK_STATES))),
    "task_state_of_plugin": _one(_task_states(_TASK_STATES_OF_PLUGIN)),
    "x86_nested_block": _one({"vmcs": 1, "vmcb": 2}),
    "x86_cpuid_entry": _one({"not found": 0, "found": 1}),
    "x86_apic_register": {**_reversed(x86_names.APIC_REGISTERS), **_one(_APIC_REGISTERS)},
    "x86_emulation_mode": _one(
        {
            "real": 0,
            "vm16": _PROTECTED | _VM86,
            "prot16": _PROTECTED,
            "prot32": _PROTECTED | _CS_DEFAULT,
            "prot64": _PROTECTED | _CS_LONG,
        }
    ),
    "x86_mmio_access": _numbered("Read Write"),
    "x86_mmio_match": _numbered("GVA GPA"),
    "x86_virq_kind": _numbered("IRQ Soft/INTn"),
    "x86_exception": _one(
        {name if name.startswith("#") else f"#{name}": vector for vector, name in x86_names.VECTORS.items()}
    ),
    "x86_delivery_mode": _numbered("Fixed LowPrio SMI Res3 NMI INIT SIPI ExtINT", step=1 << 8),
    "x86_apicv_change": _numbered("cleared set"),
    "x86_apicv_request": _numbered("deactivate activate"),
    "x86_posted_interrupts": _one({"disabled": 0, "enabled and being updated": 1}),
    "x86_avic_fault": _numbered("fault trap"),
    "x86_host_clock": _numbered("none tsc"),
    "x86_smm": _numbered("leaving entering"),
    "x86_hypercall_kind": _numbered("slow fast"),
    "x86_page_sync": _numbered("sync unsync"),
    "x86_page_created": _numbered("existing new"),
    "ppc_trap": {
        **{name: code for name, code in _reversed(ppc64_names.TRAPS).items() if code != (0,)},
        "EXTERNAL_LEVEL": (0x501,),
    },
    "ppc_booke_exit": {**_numbered(_BOOKE_EXITS), **_numbered(_BOOKE_EXITS_FROM_32, start=32)},
    # 0x1b0 was H_DISABLE_AND_GETC in kernels up to 6.0.
    "ppc_hcall": {**_reversed(ppc64_names.HCALLS), "H_DISABLE_AND_GETC": (0x1B0,)},
    "ppc_resume": _numbered("RESUME_GUEST RESUME_GUEST_NV RESUME_HOST RESUME_HOST_NV"),
    "ppc_hcall_return": _hcall_returns(),
    "ppc_where": _numbered("Enter Exit"),
    "ppc_page_flag": _one({flag: ord(flag) for flag in "-wx"}),
    "arm64_exception_type": {**_reversed(arm64_names.EXCEPTION_TYPES), "EL1_SERROR": (1,)},
    "arm64_access": _numbered("W R"),  # is_read
    "arm64_wfx": _numbered("i e"),
    "arm64_trap": _one({"read from": 0, "write to": 1}),
    "arm_cp15_access": _numbered("mrc mcr"),
    "s390_load_control": _numbered("lctl lctlg"),
    "s390_store_control": _numbered("stctl stctg"),
    "s390_prefix": _numbered("storing setting"),
    "s390_injector": _one({"": 0, " (from kernel)": 1, " (from user)": 2}),
    "s390_vcpu_state": _numbered("stopping starting"),
    "s390_ibs_state": _numbered("disabling enabling"),
    "loongarch_exit": _one({"IDLE": 64, "CACHE": 65, "CPUCFG": 66, "CSR": 67}),
    "loongarch_iocsr": _numbered("unsatisfied-read read write"),
}
"""Name of the table → name → the value of each field."""

TYPES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        (
            "is_write", "grow_shrink", "true_false", "valid_invalid", "yes_no", "on_off", "kvm_wait_poll",
            "x86_cpuid_entry", "x86_mmio_access", "x86_mmio_match", "x86_virq_kind", "x86_apicv_change",
            "x86_apicv_request", "x86_posted_interrupts", "x86_avic_fault", "x86_smm", "x86_hypercall_kind",
            "x86_page_sync", "x86_page_created", "arm64_access", "arm64_wfx", "arm64_trap", "arm_cp15_access",
        ),
        ("bool",),
    ),
    **dict.fromkeys(("kvm_exit_reason", "kvm_exit_failed"), ("u32", "s32")),
    **dict.fromkeys(("kvm_page_age", "x86_exception", "x86_emulation_mode", "ppc_page_flag"), ("u8",)),
    "x86_delivery_mode": ("u16",),
    **dict.fromkeys(("ppc_hcall", "ppc_resume", "ppc_hcall_return"), ("u64",)),
    **dict.fromkeys(
        (
            "ppc_where", "ppc_trap", "arm64_exception_type", "s390_load_control", "s390_store_control", "s390_prefix",
            "s390_injector", "s390_vcpu_state", "s390_ibs_state", "irq_return",
        ),
        ("s32",),
    ),
    **dict.fromkeys(("task_state", "task_state_of_plugin"), ("s64",)),
}  # fmt: skip
"""Name of the table → the kernel's type of each field; u32 where nothing stands here."""
