"""What x86/vmexit.c of kvm-unit-tests prints: `name cycles`, the mean of one exit and its way back in TSC cycles.

    cpuid 1251
    tscdeadline (skipped)
    self_ipi_sti_hlt 5261
      ipi self_ipi_sti_hlt 1793
    mmio-no-eventfd:pci-mem 4089

`pci-mem` and `pci-io` have the name of QEMU's pci-testdev in front. A word and a number are also prose, so `read_row`
takes the names that the program has; where they count is for its caller to know.
"""

from __future__ import annotations

import re

from kvmtrace.formats.kvm_unit_tests.rows import Row

TEST = "vmexit"

# The `tests` of x86/vmexit.c, and the spelling of ple_round_robin before 2022.
_NAMES = re.compile(
    r"cpuid|vmcall|wbinvd|invd|mov_from_cr8|mov_to_cr8|inl_from_(?:pmtimer|qemu|kernel)|outl_to_kernel|mov_dr"
    r"|tscdeadline|tscdeadline_immed|(?:x2apic_)?self_ipi_(?:sti_nop|sti_hlt|tpr|tpr_sti_nop|tpr_sti_hlt)|ipi|ipi_halt"
    r"|ple[-_]round[-_]robin|wr_kernel_gs_base|wr_tsx_ctrl_msr|wr_ibrs_msr|wr_ibpb_msr|(?:wr|rd)_tsc_adjust_msr"
    r"|toggle_cr0_wp|toggle_cr4_pge|pci-mem|pci-io",
)
_PCI_NAME = re.compile(r"[A-Za-z][\w-]{0,60}:pci-(?:mem|io)", re.ASCII)
_ROW = re.compile(r"[ \t]*(?:(ipi|eoi)[ \t]+)?([\w:-]{2,80})[ \t]+(?:(-?[0-9]{1,19})|(\(skipped\)))", re.ASCII)
_FIRST_WORD = re.compile(r"[ \t]*([\w:-]{2,80}?)[:=]{0,2}[ \t]+[^ \t]{0,40}[0-9]", re.ASCII)


def is_own_name(name: str) -> bool:
    """Tell whether a name is that of a measurement on pci-testdev, which nothing else prints."""
    return _PCI_NAME.fullmatch(name) is not None


def read_row(text: str, line: int) -> Row | None:
    """Read a line that has the form of a row and a known name."""
    match = _ROW.fullmatch(text)
    if match is None or not is_name(match[2]):
        return None
    name = f"{match[1]} {match[2]}" if match[1] else match[2]
    if match[4]:
        return Row(line, name, "skip", test=TEST, message="skipped")
    return Row(line, name, "measured", TEST, float(match[3]), "cycles", "mean", "TSC")


def looks_like_row(text: str) -> bool:
    """Tell whether a line begins with a known name and has a number, in another form than that of a row."""
    match = _FIRST_WORD.match(text)
    return match is not None and ("_" in match[1] or is_own_name(match[1])) and is_name(match[1])


def is_name(name: str) -> bool:
    """Tell whether the program measures something of this name."""
    return _NAMES.fullmatch(name) is not None or is_own_name(name)
