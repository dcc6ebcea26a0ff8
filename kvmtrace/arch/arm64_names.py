"""Names of arm64's exception types and classes, system registers, and functions that guests call by HVC.

Recordings name types and classes themselves, of classes only some; registers and functions are numbers in them.
"""

from __future__ import annotations

EXCEPTION_TYPES: dict[int, str] = {0: "IRQ", 1: "SERROR", 2: "TRAP", 3: "ILLEGAL", 0xBADCA11: "HYP_GONE"}
"""What kvm_exit's `ret` is (asm/kvm_asm.h); in old kernels (3.14) a trap is 1."""

EXCEPTION_CLASSES: dict[int, str] = {
    0x00: "UNKNOWN",
    0x01: "WFx",
    0x03: "CP15_32",
    0x04: "CP15_64",
    0x05: "CP14_MR",
    0x06: "CP14_LS",
    0x07: "FP_ASIMD",
    0x08: "CP10_ID",
    0x09: "PAC",
    0x0A: "OTHER",
    0x0C: "CP14_64",
    0x0D: "BTI",
    0x0E: "ILL",
    0x11: "SVC32",
    0x12: "HVC32",
    0x13: "SMC32",
    0x15: "SVC64",
    0x16: "HVC64",
    0x17: "SMC64",
    0x18: "SYS64",
    0x19: "SVE",
    0x1A: "ERET",
    0x1C: "FPAC",
    0x1D: "SME",
    0x1F: "IMP_DEF",
    0x20: "IABT_LOW",
    0x21: "IABT_CUR",
    0x22: "PC_ALIGN",
    0x24: "DABT_LOW",
    0x25: "DABT_CUR",
    0x26: "SP_ALIGN",
    0x27: "MOPS",
    0x28: "FP_EXC32",
    0x2C: "FP_EXC64",
    0x2D: "GCS",
    0x2F: "SERROR",
    0x30: "BREAKPT_LOW",
    0x31: "BREAKPT_CUR",
    0x32: "SOFTSTP_LOW",
    0x33: "SOFTSTP_CUR",
    0x34: "WATCHPT_LOW",
    0x35: "WATCHPT_CUR",
    0x38: "BKPT32",
    0x3A: "VECTOR32",
    0x3C: "BRK64",
}
"""ESR_ELx.EC, as asm/esr.h names it."""

SYNDROME_REGISTER = 0x3FFC1E
"""Bits of a trapped access's syndrome that tell the register: Op0, Op2, Op1, CRn, CRm (Arm ARM, ESR_ELx, EC 0x18)."""

_Encoding = tuple[int, int, int, int, int]  # Op0, Op1, CRn, CRm, Op2

# Op0, Op1, CRn, CRm → the names of Op2 0, 1, …; "-": none (Arm ARM, part D; instructions are Op0 1).
_ROWS: dict[tuple[int, int, int, int], str] = {
    (1, 0, 7, 6): "- DC_IVAC DC_ISW",
    (1, 0, 7, 8): "AT_S1E1R AT_S1E1W AT_S1E0R AT_S1E0W",
    (1, 0, 7, 10): "- - DC_CSW",
    (1, 0, 7, 14): "- - DC_CISW",
    (1, 3, 7, 4): "- DC_ZVA",
    (2, 0, 0, 0): "- - OSDTRRX_EL1",
    (2, 0, 0, 2): "MDCCINT_EL1 - MDSCR_EL1",
    (2, 0, 0, 3): "- - OSDTRTX_EL1",
    (2, 0, 0, 6): "- - OSECCR_EL1",
    (2, 0, 1, 0): "MDRAR_EL1 - - - OSLAR_EL1",
    (2, 0, 1, 1): "- - - - OSLSR_EL1",
    (2, 0, 1, 3): "- - - - OSDLR_EL1",
    (2, 0, 1, 4): "- - - - DBGPRCR_EL1",
    (2, 0, 7, 8): "- - - - - - DBGCLAIMSET_EL1",
    (2, 0, 7, 9): "- - - - - - DBGCLAIMCLR_EL1",
    (2, 0, 7, 14): "- - - - - - DBGAUTHSTATUS_EL1",
    (2, 3, 0, 1): "MDCCSR_EL0",
    (2, 3, 0, 4): "DBGDTR_EL0",
    (2, 3, 0, 5): "DBGDTRRX_EL0",  # a write is one of DBGDTRTX_EL0
    (2, 4, 0, 7): "DBGVCR32_EL2",
    (3, 0, 0, 0): "MIDR_EL1 - - - - MPIDR_EL1 REVIDR_EL1",
    (3, 0, 0, 1): "ID_PFR0_EL1 ID_PFR1_EL1 ID_DFR0_EL1 ID_AFR0_EL1 ID_MMFR0_EL1 ID_MMFR1_EL1 ID_MMFR2_EL1 ID_MMFR3_EL1",
    (3, 0, 0, 2): "ID_ISAR0_EL1 ID_ISAR1_EL1 ID_ISAR2_EL1 ID_ISAR3_EL1 "
    "ID_ISAR4_EL1 ID_ISAR5_EL1 ID_MMFR4_EL1 ID_ISAR6_EL1",
    (3, 0, 0, 3): "MVFR0_EL1 MVFR1_EL1 MVFR2_EL1 - ID_PFR2_EL1 ID_DFR1_EL1 ID_MMFR5_EL1",
    (3, 0, 0, 4): "ID_AA64PFR0_EL1 ID_AA64PFR1_EL1 ID_AA64PFR2_EL1 - "
    "ID_AA64ZFR0_EL1 ID_AA64SMFR0_EL1 - ID_AA64FPFR0_EL1",
    (3, 0, 0, 5): "ID_AA64DFR0_EL1 ID_AA64DFR1_EL1 ID_AA64DFR2_EL1 - ID_AA64AFR0_EL1 ID_AA64AFR1_EL1",
    (3, 0, 0, 6): "ID_AA64ISAR0_EL1 ID_AA64ISAR1_EL1 ID_AA64ISAR2_EL1 ID_AA64ISAR3_EL1",
    (3, 0, 0, 7): "ID_AA64MMFR0_EL1 ID_AA64MMFR1_EL1 ID_AA64MMFR2_EL1 ID_AA64MMFR3_EL1 ID_AA64MMFR4_EL1",
    (3, 0, 1, 0): "SCTLR_EL1 ACTLR_EL1 CPACR_EL1",
    (3, 0, 1, 2): "ZCR_EL1 TRFCR_EL1",
    (3, 0, 2, 0): "TTBR0_EL1 TTBR1_EL1 TCR_EL1 TCR2_EL1",
    (3, 0, 2, 1): "APIAKeyLo_EL1 APIAKeyHi_EL1 APIBKeyLo_EL1 APIBKeyHi_EL1",
    (3, 0, 2, 2): "APDAKeyLo_EL1 APDAKeyHi_EL1 APDBKeyLo_EL1 APDBKeyHi_EL1",
    (3, 0, 2, 3): "APGAKeyLo_EL1 APGAKeyHi_EL1",
    (3, 0, 4, 0): "SPSR_EL1 ELR_EL1",
    (3, 0, 4, 6): "ICC_PMR_EL1",
    (3, 0, 5, 1): "AFSR0_EL1 AFSR1_EL1",
    (3, 0, 5, 2): "ESR_EL1",
    (3, 0, 5, 3): "ERRIDR_EL1 ERRSELR_EL1",
    (3, 0, 5, 4): "ERXFR_EL1 ERXCTLR_EL1 ERXSTATUS_EL1 ERXADDR_EL1",
    (3, 0, 5, 5): "ERXMISC0_EL1 ERXMISC1_EL1 ERXMISC2_EL1 ERXMISC3_EL1",
    (3, 0, 6, 0): "FAR_EL1",
    (3, 0, 7, 4): "PAR_EL1",
    (3, 0, 9, 9): "PMSCR_EL1 - PMSICR_EL1 PMSIRR_EL1 PMSFCR_EL1 PMSEVFR_EL1 PMSLATFR_EL1 PMSIDR_EL1",
    (3, 0, 9, 10): "PMBLIMITR_EL1 PMBPTR_EL1 - PMBSR_EL1 - - - PMBIDR_EL1",
    (3, 0, 9, 14): "- PMINTENSET_EL1 PMINTENCLR_EL1 - - - PMMIR_EL1",
    (3, 0, 10, 2): "MAIR_EL1",
    (3, 0, 10, 3): "AMAIR_EL1",
    (3, 0, 10, 4): "LORSA_EL1 LOREA_EL1 LORN_EL1 LORC_EL1 - - - LORID_EL1",
    (3, 0, 12, 0): "VBAR_EL1 RVBAR_EL1 RMR_EL1",
    (3, 0, 12, 1): "ISR_EL1 DISR_EL1",
    (3, 0, 12, 8): "ICC_IAR0_EL1 ICC_EOIR0_EL1 ICC_HPPIR0_EL1 ICC_BPR0_EL1 "
    "ICC_AP0R0_EL1 ICC_AP0R1_EL1 ICC_AP0R2_EL1 ICC_AP0R3_EL1",
    (3, 0, 12, 9): "ICC_AP1R0_EL1 ICC_AP1R1_EL1 ICC_AP1R2_EL1 ICC_AP1R3_EL1",
    (3, 0, 12, 11): "- ICC_DIR_EL1 - ICC_RPR_EL1 - ICC_SGI1R_EL1 ICC_ASGI1R_EL1 ICC_SGI0R_EL1",
    (3, 0, 12, 12): "ICC_IAR1_EL1 ICC_EOIR1_EL1 ICC_HPPIR1_EL1 ICC_BPR1_EL1 "
    "ICC_CTLR_EL1 ICC_SRE_EL1 ICC_IGRPEN0_EL1 ICC_IGRPEN1_EL1",
    (3, 0, 13, 0): "- CONTEXTIDR_EL1 - - TPIDR_EL1",
    (3, 0, 14, 1): "CNTKCTL_EL1",
    (3, 1, 0, 0): "CCSIDR_EL1 CLIDR_EL1 CCSIDR2_EL1 - GMID_EL1 - SMIDR_EL1 AIDR_EL1",
    (3, 2, 0, 0): "CSSELR_EL1",
    (3, 3, 0, 0): "- CTR_EL0 - - - - - DCZID_EL0",
    (3, 3, 2, 4): "RNDR RNDRRS",
    (3, 3, 9, 12): "PMCR_EL0 PMCNTENSET_EL0 PMCNTENCLR_EL0 PMOVSCLR_EL0 PMSWINC_EL0 PMSELR_EL0 PMCEID0_EL0 PMCEID1_EL0",
    (3, 3, 9, 13): "PMCCNTR_EL0 PMXEVTYPER_EL0 PMXEVCNTR_EL0",
    (3, 3, 9, 14): "PMUSERENR_EL0 - - PMOVSSET_EL0",
    (3, 3, 13, 0): "- - TPIDR_EL0 TPIDRRO_EL0 - TPIDR2_EL0 - SCXTNUM_EL0",
    (3, 3, 14, 0): "CNTFRQ_EL0 CNTPCT_EL0 CNTVCT_EL0 - - CNTPCTSS_EL0 CNTVCTSS_EL0",
    (3, 3, 14, 2): "CNTP_TVAL_EL0 CNTP_CTL_EL0 CNTP_CVAL_EL0",
    (3, 3, 14, 3): "CNTV_TVAL_EL0 CNTV_CTL_EL0 CNTV_CVAL_EL0",
    (3, 3, 14, 15): "- - - - - - - PMCCFILTR_EL0",
    (3, 4, 0, 0): "VPIDR_EL2 - - - - VMPIDR_EL2",
    (3, 4, 1, 0): "SCTLR_EL2 ACTLR_EL2",
    (3, 4, 1, 1): "HCR_EL2 MDCR_EL2 CPTR_EL2 HSTR_EL2 HFGRTR_EL2 HFGWTR_EL2 HFGITR_EL2 HACR_EL2",
    (3, 4, 2, 0): "TTBR0_EL2 TTBR1_EL2 TCR_EL2",
    (3, 4, 2, 1): "VTTBR_EL2 - VTCR_EL2",
    (3, 4, 4, 0): "SPSR_EL2 ELR_EL2",
    (3, 4, 4, 1): "SP_EL1",
    (3, 4, 5, 1): "AFSR0_EL2 AFSR1_EL2",
    (3, 4, 5, 2): "ESR_EL2",
    (3, 4, 6, 0): "FAR_EL2 - - - HPFAR_EL2",
    (3, 4, 10, 2): "MAIR_EL2",
    (3, 4, 12, 0): "VBAR_EL2",
    (3, 4, 12, 9): "ICH_AP1R0_EL2 ICH_AP1R1_EL2 ICH_AP1R2_EL2 ICH_AP1R3_EL2 - ICC_SRE_EL2",
    (3, 4, 12, 11): "ICH_HCR_EL2 ICH_VTR_EL2 ICH_MISR_EL2 ICH_EISR_EL2 - ICH_ELRSR_EL2 - ICH_VMCR_EL2",
    (3, 4, 13, 0): "- CONTEXTIDR_EL2 TPIDR_EL2",
    (3, 4, 14, 0): "- - - CNTVOFF_EL2",
    (3, 4, 14, 1): "CNTHCTL_EL2",
    (3, 4, 14, 2): "CNTHP_TVAL_EL2 CNTHP_CTL_EL2 CNTHP_CVAL_EL2",
    (3, 4, 14, 3): "CNTHV_TVAL_EL2 CNTHV_CTL_EL2 CNTHV_CVAL_EL2",
}
_NUMBERED: dict[_Encoding, str] = {
    **{
        (2, 0, 0, n, op2): f"{name}{n}_EL1"
        for op2, name in ((4, "DBGBVR"), (5, "DBGBCR"), (6, "DBGWVR"), (7, "DBGWCR"))
        for n in range(16)
    },
    **{(3, 3, 14, 8 + n // 8, n % 8): f"PMEVCNTR{n}_EL0" for n in range(31)},
    **{(3, 3, 14, 12 + n // 8, n % 8): f"PMEVTYPER{n}_EL0" for n in range(31)},
    **{(3, 4, 12, 12 + n // 8, n % 8): f"ICH_LR{n}_EL2" for n in range(16)},
}
_NAMES: dict[_Encoding, str] = {
    **{(*row, op2): name for row, names in _ROWS.items() for op2, name in enumerate(names.split()) if name != "-"},
    **_NUMBERED,
}

SYSTEM_REGISTERS: dict[int, str] = {
    op0 << 20 | op2 << 17 | op1 << 14 | crn << 10 | crm << 1: name for (op0, op1, crn, crm, op2), name in _NAMES.items()
}
"""By the bits of SYNDROME_REGISTER in a syndrome."""

FORWARDED_REGISTERS: dict[int, str] = {
    op0 << 19 | op1 << 16 | crn << 12 | crm << 8 | op2 << 5: name for (op0, op1, crn, crm, op2), name in _NAMES.items()
}
"""By Linux's own number of a register (sys_reg() of asm/sysreg.h)."""

_PSCI = (
    "VERSION CPU_SUSPEND CPU_OFF CPU_ON AFFINITY_INFO MIGRATE MIGRATE_INFO_TYPE MIGRATE_INFO_UP_CPU SYSTEM_OFF "
    "SYSTEM_RESET FEATURES CPU_FREEZE CPU_DEFAULT_SUSPEND NODE_HW_STATE SYSTEM_SUSPEND SET_SUSPEND_MODE "
    "STAT_RESIDENCY STAT_COUNT SYSTEM_RESET2 MEM_PROTECT MEM_PROTECT_CHECK_RANGE SYSTEM_OFF2"
)
_PSCI_64 = frozenset({1, 3, 4, 5, 7, 12, 13, 14, 16, 17, 18, 20, 21})  # that take addresses or affinities

SMCCC_FUNCTIONS: dict[int, str] = {
    0x80000000: "SMCCC_VERSION",
    0x80000001: "SMCCC_ARCH_FEATURES",
    0x80000002: "SMCCC_ARCH_SOC_ID",
    0x80003FFF: "SMCCC_ARCH_WORKAROUND_3",
    0x80007FFF: "SMCCC_ARCH_WORKAROUND_2",
    0x80008000: "SMCCC_ARCH_WORKAROUND_1",
    **{0x84000000 + number: f"PSCI_{name}" for number, name in enumerate(_PSCI.split())},
    **{0xC4000000 + number: f"PSCI_{name}" for number, name in enumerate(_PSCI.split()) if number in _PSCI_64},
    0x84000050: "TRNG_VERSION",
    0x84000051: "TRNG_FEATURES",
    0x84000052: "TRNG_GET_UUID",
    0x84000053: "TRNG_RND32",
    0xC4000053: "TRNG_RND64",
    0xC5000020: "PV_TIME_FEATURES",
    0xC5000021: "PV_TIME_ST",
    0x8600FF01: "VENDOR_HYP_CALL_UID",
    0x86000000: "KVM_FEATURES",
    0x86000001: "KVM_PTP",
    0xC6000002: "KVM_HYP_MEMINFO",
    0xC6000003: "KVM_MEM_SHARE",
    0xC6000004: "KVM_MEM_UNSHARE",
    0xC6000007: "KVM_MMIO_GUARD",
    0xC6000040: "KVM_DISCOVER_IMPL_VER",
    0xC6000041: "KVM_DISCOVER_IMPL_CPUS",
    **{0x95C1BA5E + n: f"PSCI_0.1_{name}" for n, name in enumerate(("CPU_SUSPEND", "CPU_OFF", "CPU_ON", "MIGRATE"))},
}
"""By w0: Arm DEN0028 (SMCCC), DEN0022 (PSCI), DEN0098 (TRNG), DEN0057 (PV time), linux/arm-smccc.h, uapi/asm/kvm.h."""

WFX: dict[int, str] = {0: "WFI", 1: "WFE"}
