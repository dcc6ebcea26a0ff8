"""Names of LoongArch's exceptions, and of the instructions that KVM carries out for a guest.

Exceptions: as perf names them (tools/perf, kvm-stat for loongarch); those without a name there by the mnemonics of
the LoongArch Reference Manual, volume 1, or of asm/loongarch.h. CSRs: as the manual names them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

EXCEPTIONS = {
    0: "Interrupt",
    1: "Mem Read",
    2: "Mem Store",
    3: "Inst Fetch",
    4: "Mem Modify",
    5: "PNR",
    6: "PNX",
    7: "PPI",
    8: "ADE",
    9: "ALE",
    10: "BCE",
    11: "SYS",
    12: "BRK",
    13: "INE",
    14: "IPE",
    15: "FPU",
    16: "LSX",
    17: "LASX",
    18: "FPE",
    19: "WPE",
    20: "BTD",
    21: "BTE",
    22: "Privilege Error",
    23: "Hypercall",
    24: "GCM",
}
# Words without their operands: cpucfg rd, rj; cacop code, rj, si12; iocsr{rd,wr}.{b,h,w,d} rd, rj; idle level.
_CPUCFG, _CACOP, _IOCSR, _IDLE = 0x00006C00, 0x06000000, 0x06480000, 0x06488000
_CSR = 0x04000000  # csrrd, csrwr and csrxchg: bits 23 to 10 are the CSR
IDLE_BITS, IDLE = 0xFFFF8000, _IDLE
"""Bits of an instruction word by which it is IDLE, and their value."""
# Masks under which words are those above. All that an instruction is told by is in its mask, but for the CSR's number.
_MASKS = ((0xFFFFFC00, _CPUCFG), (0xFFC00000, _CACOP), (0xFFFF8000, _IOCSR), (IDLE_BITS, IDLE))
_CSR_BITS, _CSR_KEPT = 0xFF000000, 0xFFFFFC00
_CSRS = {
    0x00: "CRMD PRMD EUEN MISC ECFG ESTAT ERA BADV BADI",
    0x0C: "EENTRY",
    0x10: "TLBIDX TLBEHI TLBELO0 TLBELO1",
    0x18: "ASID PGDL PGDH PGD PWCL PWCH STLBPS RVACFG",
    0x20: "CPUID PRCFG1 PRCFG2 PRCFG3",
    0x30: " ".join(f"SAVE{n}" for n in range(16)),
    0x40: "TID TCFG TVAL CNTC TICLR",
    0x50: "GSTAT GCFG GINTC GCNTC",
    0x60: "LLBCTL",
    0x80: "IMPCTL1 IMPCTL2",
    0x88: "TLBRENTRY TLBRBADV TLBRERA TLBRSAVE TLBRELO0 TLBRELO1 TLBREHI TLBRPRMD",
    0x90: "MERRCTL MERRINFO1 MERRINFO2 MERRENTRY MERRERA MERRSAVE",
    0x98: "CTAG",
    0x180: "DMW0 DMW1 DMW2 DMW3",
    0x200: " ".join(f"PMCFG{n} PMCNT{n}" for n in range(16)),
    0x300: "MWPC MWPS",
    0x380: "FWPC FWPS",
    0x500: "DBG DERA DSAVE",
}
INSTRUCTIONS = {_CPUCFG: "CPUCFG", _CACOP: "CACOP", _IOCSR: "IOCSR", _IDLE: "Idle"} | {
    _CSR | (first + n) << 10: f"CSR {name}" for first, names in _CSRS.items() for n, name in enumerate(names.split())
}
"""By word, as `without_operands` makes it."""


def without_operands(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return each instruction word without its registers, but for the number of a CSR; of an unknown one all of it.

    What is told apart is what perf tells apart, CACOP and the CSRs as well.
    """
    result = words.copy()
    for mask, instruction in _MASKS:
        result[words & np.uint64(mask) == np.uint64(instruction)] = instruction
    csr = words & np.uint64(_CSR_BITS) == np.uint64(_CSR)
    result[csr] = words[csr] & np.uint64(_CSR_KEPT)
    return result
