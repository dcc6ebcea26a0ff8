"""What exits are told apart by, in words: headings, and the names of details."""

from __future__ import annotations

from kvmtrace.exit_keys import By
from kvmtrace.report.printable import printable

BY_WORDS = {By.REASON: "reason", By.DETAIL: "detail", By.VCPU: "vCPU", By.VM: "VM", By.CPU: "CPU"}
NOT_RECORDED = "(not recorded)"
_DECIMAL_DETAILS = {"vector", "cr", "hypercall"}


def detail_words(kind: str | None, detail: int, name: str | None) -> str:
    """Return a detail: `msr 0x6e0 IA32_TSC_DEADLINE`, `hypercall 10 KVM_HC_SEND_IPI`."""
    shown = str(detail) if kind in _DECIMAL_DETAILS else f"{detail:#x}"
    return printable(" ".join(part for part in (kind, shown, name) if part is not None))
