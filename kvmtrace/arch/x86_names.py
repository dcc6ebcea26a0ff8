"""Names of what x86 exits are about. Recordings give numbers only.

Sources: arch/x86/include/asm/{msr-index.h,apicdef.h,kvm_para.h,sev-common.h}, uapi/linux/kvm_para.h, the processors'
manuals, AMD's "SEV-ES Guest-Hypervisor Communication Block Standardization" (GHCB MSR protocol).
"""

from __future__ import annotations

_APIC_BASE = 0xFEE00000
_X2APIC_BASE = 0x800

_APIC_REGISTERS = {
    0x020: "ID",
    0x030: "LVR",
    0x080: "TASKPRI",
    0x090: "ARBPRI",
    0x0A0: "PROCPRI",
    0x0B0: "EOI",
    0x0D0: "LDR",
    0x0E0: "DFR",
    0x0F0: "SPIV",
    **{0x100 + 0x10 * i: f"ISR{i}" for i in range(8)},
    **{0x180 + 0x10 * i: f"TMR{i}" for i in range(8)},
    **{0x200 + 0x10 * i: f"IRR{i}" for i in range(8)},
    0x280: "ESR",
    0x2F0: "LVTCMCI",
    0x300: "ICR",
    0x310: "ICR2",
    0x320: "LVTT",
    0x330: "LVTTHMR",
    0x340: "LVTPC",
    0x350: "LVT0",
    0x360: "LVT1",
    0x370: "LVTERR",
    0x380: "TMICT",
    0x390: "TMCCT",
    0x3E0: "TDCR",
    0x3F0: "SELF_IPI",
}

MSRS: dict[int, str] = {
    0x000: "IA32_P5_MC_ADDR", 0x001: "IA32_P5_MC_TYPE", 0x010: "IA32_TIME_STAMP_COUNTER", 0x017: "IA32_PLATFORM_ID",
    0x01B: "IA32_APIC_BASE", 0x03A: "IA32_FEATURE_CONTROL", 0x03B: "IA32_TSC_ADJUST", 0x048: "IA32_SPEC_CTRL",
    0x049: "IA32_PRED_CMD", 0x079: "IA32_BIOS_UPDT_TRIG", 0x08B: "IA32_BIOS_SIGN_ID",
    **{0x0C1 + i: f"IA32_PMC{i}" for i in range(8)},
    0x0CD: "MSR_FSB_FREQ", 0x0CE: "MSR_PLATFORM_INFO", 0x0CF: "IA32_CORE_CAPS", 0x0E1: "IA32_UMWAIT_CONTROL",
    0x0E7: "IA32_MPERF", 0x0E8: "IA32_APERF", 0x0FE: "IA32_MTRRCAP", 0x10A: "IA32_ARCH_CAPABILITIES",
    0x10B: "IA32_FLUSH_CMD", 0x122: "IA32_TSX_CTRL", 0x140: "MSR_MISC_FEATURES_ENABLES", 0x174: "IA32_SYSENTER_CS",
    0x175: "IA32_SYSENTER_ESP", 0x176: "IA32_SYSENTER_EIP", 0x179: "IA32_MCG_CAP", 0x17A: "IA32_MCG_STATUS",
    0x17B: "IA32_MCG_CTL",
    **{0x186 + i: f"IA32_PERFEVTSEL{i}" for i in range(8)},
    0x198: "IA32_PERF_STATUS", 0x199: "IA32_PERF_CTL", 0x19A: "IA32_CLOCK_MODULATION", 0x19B: "IA32_THERM_INTERRUPT",
    0x19C: "IA32_THERM_STATUS", 0x1A0: "IA32_MISC_ENABLE", 0x1A2: "MSR_TEMPERATURE_TARGET", 0x1A6: "MSR_OFFCORE_RSP_0",
    0x1A7: "MSR_OFFCORE_RSP_1", 0x1AD: "MSR_TURBO_RATIO_LIMIT", 0x1B0: "IA32_ENERGY_PERF_BIAS", 0x1C4: "IA32_XFD",
    0x1C5: "IA32_XFD_ERR", 0x1D9: "IA32_DEBUGCTL", 0x1DB: "MSR_LASTBRANCHFROMIP", 0x1DC: "MSR_LASTBRANCHTOIP",
    **{0x200 + 2 * i: f"IA32_MTRR_PHYSBASE{i}" for i in range(10)},
    **{0x201 + 2 * i: f"IA32_MTRR_PHYSMASK{i}" for i in range(10)},
    0x250: "IA32_MTRR_FIX64K_00000", 0x258: "IA32_MTRR_FIX16K_80000", 0x259: "IA32_MTRR_FIX16K_A0000",
    **{0x268 + i: f"IA32_MTRR_FIX4K_{0xC0 + 8 * i:X}000" for i in range(8)},
    0x277: "IA32_PAT",
    **{0x280 + i: f"IA32_MC{i}_CTL2" for i in range(32)},
    0x2FF: "IA32_MTRR_DEF_TYPE",
    **{0x309 + i: f"IA32_FIXED_CTR{i}" for i in range(4)},
    0x345: "IA32_PERF_CAPABILITIES", 0x38D: "IA32_FIXED_CTR_CTRL", 0x38E: "IA32_PERF_GLOBAL_STATUS",
    0x38F: "IA32_PERF_GLOBAL_CTRL", 0x390: "IA32_PERF_GLOBAL_OVF_CTRL", 0x3F1: "IA32_PEBS_ENABLE",
    **{
        0x400 + 4 * bank + part: f"IA32_MC{bank}_{name}"
        for bank in range(32)
        for part, name in enumerate(("CTL", "STATUS", "ADDR", "MISC"))
    },
    0x480: "IA32_VMX_BASIC", 0x570: "IA32_RTIT_CTL", 0x600: "IA32_DS_AREA", 0x606: "MSR_RAPL_POWER_UNIT",
    0x611: "MSR_PKG_ENERGY_STATUS", 0x6E0: "IA32_TSC_DEADLINE",
    **{_X2APIC_BASE + (register >> 4): f"X2APIC_{name}" for register, name in _APIC_REGISTERS.items()},
    0xD90: "IA32_BNDCFGS", 0xDA0: "IA32_XSS", 0x11: "MSR_KVM_WALL_CLOCK", 0x12: "MSR_KVM_SYSTEM_TIME",
    0x40000000: "HV_X64_MSR_GUEST_OS_ID", 0x40000001: "HV_X64_MSR_HYPERCALL", 0x40000002: "HV_X64_MSR_VP_INDEX",
    0x40000003: "HV_X64_MSR_RESET", 0x40000010: "HV_X64_MSR_VP_RUNTIME", 0x40000020: "HV_X64_MSR_TIME_REF_COUNT",
    0x40000021: "HV_X64_MSR_REFERENCE_TSC", 0x40000022: "HV_X64_MSR_TSC_FREQUENCY",
    0x40000023: "HV_X64_MSR_APIC_FREQUENCY", 0x40000070: "HV_X64_MSR_EOI", 0x40000071: "HV_X64_MSR_ICR",
    0x40000072: "HV_X64_MSR_TPR", 0x40000073: "HV_X64_MSR_VP_ASSIST_PAGE", 0x40000080: "HV_X64_MSR_SCONTROL",
    0x40000081: "HV_X64_MSR_SVERSION", 0x40000082: "HV_X64_MSR_SIEFP", 0x40000083: "HV_X64_MSR_SIMP",
    0x40000084: "HV_X64_MSR_EOM",
    **{0x40000090 + i: f"HV_X64_MSR_SINT{i}" for i in range(16)},
    **{0x400000B0 + 2 * i: f"HV_X64_MSR_STIMER{i}_CONFIG" for i in range(4)},
    **{0x400000B1 + 2 * i: f"HV_X64_MSR_STIMER{i}_COUNT" for i in range(4)},
    0x4B564D00: "MSR_KVM_WALL_CLOCK_NEW", 0x4B564D01: "MSR_KVM_SYSTEM_TIME_NEW", 0x4B564D02: "MSR_KVM_ASYNC_PF_EN",
    0x4B564D03: "MSR_KVM_STEAL_TIME", 0x4B564D04: "MSR_KVM_PV_EOI_EN", 0x4B564D05: "MSR_KVM_POLL_CONTROL",
    0x4B564D06: "MSR_KVM_ASYNC_PF_INT", 0x4B564D07: "MSR_KVM_ASYNC_PF_ACK", 0x4B564D08: "MSR_KVM_MIGRATION_CONTROL",
    0xC0000080: "MSR_EFER", 0xC0000081: "MSR_STAR", 0xC0000082: "MSR_LSTAR", 0xC0000083: "MSR_CSTAR",
    0xC0000084: "MSR_SYSCALL_MASK", 0xC0000100: "MSR_FS_BASE", 0xC0000101: "MSR_GS_BASE",
    0xC0000102: "MSR_KERNEL_GS_BASE", 0xC0000103: "MSR_TSC_AUX", 0xC0000104: "MSR_AMD64_TSC_RATIO",
    **{0xC0010000 + i: f"MSR_K7_EVNTSEL{i}" for i in range(4)},
    **{0xC0010004 + i: f"MSR_K7_PERFCTR{i}" for i in range(4)},
    0xC0010010: "MSR_AMD64_SYSCFG", 0xC0010015: "MSR_K7_HWCR", 0xC001001F: "MSR_AMD64_NB_CFG",
    0xC0010055: "MSR_K8_INT_PENDING_MSG", 0xC0010114: "MSR_VM_CR", 0xC0010117: "MSR_VM_HSAVE_PA",
    0xC001011F: "MSR_AMD64_VIRT_SPEC_CTRL", 0xC0010130: "MSR_AMD64_SEV_ES_GHCB", 0xC0010131: "MSR_AMD64_SEV",
    **{0xC0010200 + 2 * i: f"MSR_F15H_PERF_CTL{i}" for i in range(6)},
    **{0xC0010201 + 2 * i: f"MSR_F15H_PERF_CTR{i}" for i in range(6)},
    0xC0011020: "MSR_AMD64_LS_CFG", 0xC0011022: "MSR_AMD64_DC_CFG", 0xC0011023: "MSR_AMD64_BU_CFG",
    0xC0011029: "MSR_AMD64_DE_CFG", 0xC001102A: "MSR_AMD64_BU_CFG2",
}  # fmt: skip

CONTROL_REGISTERS: dict[int, str] = {number: f"CR{number}" for number in (0, 2, 3, 4, 8)}

DEBUG_REGISTERS: dict[int, str] = {number: f"DR{number}" for number in range(8)}

# Below 32 a vector is an exception (SDM vol. 3, "Exception and Interrupt Vectors"; APM vol. 2, "Vectors").
VECTORS: dict[int, str] = {
    0: "#DE", 1: "#DB", 2: "NMI", 3: "#BP", 4: "#OF", 5: "#BR", 6: "#UD", 7: "#NM", 8: "#DF", 10: "#TS", 11: "#NP",
    12: "#SS", 13: "#GP", 14: "#PF", 16: "#MF", 17: "#AC", 18: "#MC", 19: "#XM", 20: "#VE", 21: "#CP", 28: "#HV",
    29: "#VC", 30: "#SX",
}  # fmt: skip

APIC_REGISTERS: dict[int, str] = {offset: f"APIC_{name}" for offset, name in _APIC_REGISTERS.items()}

# The low 12 bits of the GHCB MSR: what a guest asks for without a GHCB page.
GHCB_REQUESTS: dict[int, str] = {
    0x002: "SEV information", 0x004: "CPUID", 0x006: "AP reset hold", 0x010: "preferred GHCB GPA",
    0x012: "register GHCB GPA", 0x014: "page state change", 0x016: "run VMPL", 0x080: "hypervisor features",
    0x100: "termination",
}  # fmt: skip

HYPERCALLS: dict[int, str] = {
    1: "KVM_HC_VAPIC_POLL_IRQ",
    2: "KVM_HC_MMU_OP",
    3: "KVM_HC_FEATURES",
    4: "KVM_HC_PPC_MAP_MAGIC_PAGE",
    5: "KVM_HC_KICK_CPU",
    6: "KVM_HC_MIPS_GET_CLOCK_FREQ",
    7: "KVM_HC_MIPS_EXIT_VM",
    8: "KVM_HC_MIPS_CONSOLE_OUTPUT",
    9: "KVM_HC_CLOCK_PAIRING",
    10: "KVM_HC_SEND_IPI",
    11: "KVM_HC_SCHED_YIELD",
    12: "KVM_HC_MAP_GPA_RANGE",
}

CPUID_LEAVES: dict[int, str] = {
    0x0: "vendor",
    0x1: "family, features",
    0x2: "caches (descriptors)",
    0x4: "caches",
    0x5: "MONITOR/MWAIT",
    0x6: "thermal and power",
    0x7: "extended features",
    0xA: "performance monitoring",
    0xB: "topology",
    0xD: "XSAVE",
    0x15: "TSC frequency",
    0x16: "CPU frequency",
    0x1F: "topology, version 2",
    0x40000000: "hypervisor signature",
    0x40000001: "KVM features",
    0x40000010: "hypervisor timing",
    0x80000000: "highest extended leaf",
    0x80000001: "extended features (AMD)",
    0x80000002: "brand string 1",
    0x80000003: "brand string 2",
    0x80000004: "brand string 3",
    0x80000005: "L1 caches and TLBs (AMD)",
    0x80000006: "L2 and L3 caches",
    0x80000007: "power management",
    0x80000008: "address sizes",
    0x8000000A: "SVM features",
    0x8000001D: "caches (AMD)",
    0x8000001E: "topology (AMD)",
    0x8000001F: "memory encryption",
}

IO_PORTS: dict[int, str] = {
    0x20: "PIC1 command",
    0x21: "PIC1 data",
    **{0x40 + i: f"PIT channel {i}" for i in range(3)},
    0x43: "PIT mode",
    0x60: "keyboard data",
    0x61: "system control B",
    0x64: "keyboard status",
    0x70: "CMOS index",
    0x71: "CMOS data",
    0x80: "POST code, delay",
    0x92: "system control A",
    0xA0: "PIC2 command",
    0xA1: "PIC2 data",
    0x402: "debug console (QEMU)",
    0x4D0: "PIC1 ELCR",
    0x4D1: "PIC2 ELCR",
    0x510: "fw_cfg selector (QEMU)",
    0x511: "fw_cfg data (QEMU)",
    0xB2: "APM command",
    0xB3: "APM status",
    0xCF8: "PCI config address",
    **{0xCFC + i: f"PCI config data +{i}" for i in range(4)},
    **{
        base + offset: f"{name} {register}"
        for base, name in ((0x3F8, "COM1"), (0x2F8, "COM2"), (0x3E8, "COM3"), (0x2E8, "COM4"))
        for offset, register in enumerate(("data", "IER", "IIR/FCR", "LCR", "MCR", "LSR", "MSR", "scratch"))
    },
    **{0x1F0 + i: f"IDE primary +{i}" for i in range(8)},
    **{0x170 + i: f"IDE secondary +{i}" for i in range(8)},
    0x3F6: "IDE primary control",
    0x376: "IDE secondary control",
    0x3D4: "VGA CRTC index",
    0x3D5: "VGA CRTC data",
}

MMIO: dict[int, str] = {
    **{_APIC_BASE + offset: name for offset, name in APIC_REGISTERS.items()},
    0xFEC00000: "IOAPIC index",
    0xFEC00010: "IOAPIC data",
    0xFEC00040: "IOAPIC EOI",
    0xFED00000: "HPET capabilities",
    0xFED00010: "HPET configuration",
    0xFED00020: "HPET status",
    0xFED000F0: "HPET counter",
}
