"""Names of s390's intercepts, instructions, SIGP orders, DIAGNOSE codes and program interruptions.

Of arch/s390/include/uapi/asm/sie.h, whose names kernels put into print fmt and perf prints; sources are given where
a number is not in it. Linux 3.14 has shorter tables of its own. A recording's own names count first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

INTERCEPTS = {
    0x00: "Host interruption",  # KVM clears the code before SIE; a fault of the host leaves it so, too
    0x04: "Instruction",
    0x08: "Program interruption",
    0x0C: "Instruction and program interruption",
    0x10: "External request",
    0x14: "External interruption",
    0x18: "I/O request",
    0x1C: "Wait state",
    0x20: "Validity",
    0x28: "Stop request",
    0x2C: "Operation exception",
    0x38: "Partial-execution",
    0x3C: "I/O interruption",
    0x40: "I/O instruction",
    0x48: "Timing subset",
    # ICPT_… of asm/kvm_host.h, without a name in sie.h.
    0x5C: "Keyless subset",
    0x60: "Machine check request",
    0x64: "Interruptions enabled",
    0x68: "Protected instruction",
    0x6C: "Protected notification",
    0x70: "Protected prefix",
}
SIGP_ORDERS = {
    0x01: "SIGP sense",
    0x02: "SIGP external call",
    0x03: "SIGP emergency signal",
    0x04: "SIGP start",
    0x05: "SIGP stop",
    0x06: "SIGP restart",
    0x09: "SIGP stop and store status",
    0x0B: "SIGP initial cpu reset",
    0x0C: "SIGP cpu reset",
    0x0D: "SIGP set prefix",
    0x0E: "SIGP store status at address",
    0x12: "SIGP set architecture",
    0x13: "SIGP conditional emergency signal",
    0x15: "SIGP sense running",
    0x16: "SIGP set multithreading",
    0x17: "SIGP store additional status at address",
}
DIAGNOSE_CODES = {
    code: f"DIAG ({code:#x}) {name}"
    for code, name in {
        0x10: "release pages",
        0x44: "time slice end",
        0x9C: "time slice end directed",
        0x204: "logical-cpu utilization",
        0x258: "page-reference services",
        0x288: "watchdog functions",
        0x308: "ipl functions",
        0x318: "set control program code",  # asm/diag.h
        0x500: "KVM virtio functions",
        0x501: "KVM breakpoint",
    }.items()
}
PROGRAM_INTERRUPTIONS = {
    code: f"Prog {name}"
    for code, name in {
        0x01: "Operation",
        0x02: "Privileged Operation",
        0x03: "Execute",
        0x04: "Protection",
        0x05: "Addressing",
        0x06: "Specification",
        0x07: "Data",
        0x08: "Fixedpoint overflow",
        0x09: "Fixedpoint divide",
        0x0A: "Decimal overflow",
        0x0B: "Decimal divide",
        0x0C: "HFP exponent overflow",
        0x0D: "HFP exponent underflow",
        0x0E: "HFP significance",
        0x0F: "HFP divide",
        0x10: "Segment translation",
        0x11: "Page translation",
        0x12: "Translation specification",
        0x13: "Special operation",
        0x15: "Operand",
        0x16: "Trace table",
        0x17: "ASNtranslation specification",
        0x1C: "Spaceswitch event",
        0x1D: "HFP square root",
        0x1F: "PCtranslation specification",
        0x20: "AFX translation",
        0x21: "ASX translation",
        0x22: "LX translation",
        0x23: "EX translation",
        0x24: "Primary authority",
        0x25: "Secondary authority",
        0x26: "LFXtranslation exception",
        0x27: "LSXtranslation exception",
        0x28: "ALET specification",
        0x29: "ALEN translation",
        0x2A: "ALE sequence",
        0x2B: "ASTE validity",
        0x2C: "ASTE sequence",
        0x2D: "Extended authority",
        0x2E: "LSTE sequence",
        0x2F: "ASTE instance",
        0x30: "Stack full",
        0x31: "Stack empty",
        0x32: "Stack specification",
        0x33: "Stack type",
        0x34: "Stack operation",
        0x39: "Region first translation",
        0x3A: "Region second translation",
        0x3B: "Region third translation",
        0x40: "Monitor event",
        0x80: "PER event",
        0x119: "Crypto operation",
    }.items()
}
# Second bytes of operation codes and their mnemonics, by the first byte. PQAP: z/Architecture, handled in kvm/priv.c.
_OF_TWO_BYTES = {
    0x01: "01 PR 04 PTFF 07 SCKPF",
    0xAA: "00 RINEXT 01 RION 02 TRIC 03 RIOFF 04 RIEMIT",
    0xB2: (
        "02 STIDP 04 SCK 05 STCK 06 SCKC 07 STCKC 08 SPT 09 STPT 0d PTLB 10 SPX 11 STPX 12 STAP 14 SIE 16 SETR "
        "17 STETR 18 PC 20 SERVC 21 IPTE 28 PT 29 ISKE 2a RRBE 2b SSKE 2c TB 2e PGIN 2f PGOUT 30 CSCH 31 HSCH 32 MSCH "
        "33 SSCH 34 STSCH 35 TSCH 36 TPI 37 SAL 38 RSCH 39 STCRW 3a STCPS 3b RCHP 3c SCHM 40 BAKR 48 PALB 4c TAR "
        "50 CSP 54 MVPG 56 STHYI 58 BSG 5a BSA 5f CHSC 74 SIGA 76 XSCH 78 STCKE 7c STCKF 7d STSI af PQAP b0 STFLE "
        "b1 STFL b2 LPSWE f8 TEND fc TABORT"
    ),
    0xB9: (
        "1e KMAC 28 PCKMO 2a KMF 2b KMO 2d KMCTR 2e KM 2f KMC 3e KIMD 3f KLMD 8a CSPG 8d EPSW 8e IDTE 8f CRDTE "
        "9c EQBS a2 PTF ab ESSA ae RRBM af PFMF"
    ),
    0xC8: "01 ECTG",
    0xE3: "03 LRAG 13 LRAY 25 NTSTG",
    0xE5: "00 LASP 01 TPROT 60 TBEGIN 61 TBEGINC",
    0xEB: "25 STCTG 2f LCTLG 60 LRIC 61 STRIC 62 MRIC 8a SQBS",
}
_OF_ONE_BYTE = "0a SVC 80 SSM 82 LPSW 83 DIAG ac STNSM ad STOSM ae SIGP b1 LRA b6 STCTL b7 LCTL ee PLO"
_LAST_BYTE, _LOW_HALF_BYTE = (0xE3, 0xEB), (0xAA, 0xC8)


def _by_code(text: str) -> dict[int, str]:
    words = text.split()
    return {int(code, 16): name for code, name in zip(words[::2], words[1::2], strict=True)}


INSTRUCTIONS = _by_code(_OF_ONE_BYTE) | {
    first << 8 | second: f"0x{first:02X} {name}"
    for first, text in _OF_TWO_BYTES.items()
    for second, name in _by_code(text).items()
}
"""By operation code, as `operation_codes` makes it."""


def operation_codes(instructions: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the operation code of each instruction, which has its first byte in the highest of its 64 bits.

    That is the key of sie.h's icpt_insn_decoder: the first byte, and before it is shifted up where one more byte or
    half a byte tells the instruction. sie.h takes byte 1 of 0xE3, which is R1 and X2; the operation code is in byte 5
    (z/Architecture, format RXY), and there it is taken from here.
    """
    first = instructions >> np.uint64(56)
    second = instructions >> np.uint64(48) & np.uint64(0xFF)
    second = np.where(np.isin(first, _LAST_BYTE), instructions >> np.uint64(16) & np.uint64(0xFF), second)
    second = np.where(np.isin(first, _LOW_HALF_BYTE), second & np.uint64(0xF), second)
    return np.where(np.isin(first, list(_OF_TWO_BYTES)), first << np.uint64(8) | second, first)
