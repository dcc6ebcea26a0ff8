"""Names that exit reasons can have: what a name that no recording here has seen is held to."""

from __future__ import annotations

from kvmtrace.arch.arm64_names import EXCEPTION_CLASSES, EXCEPTION_TYPES
from kvmtrace.arch.loongarch_names import EXCEPTIONS as LOONGARCH
from kvmtrace.arch.ppc64_names import TRAPS
from kvmtrace.arch.riscv64 import EXCEPTIONS as RISCV64
from kvmtrace.arch.s390_names import INTERCEPTS
from kvmtrace.arch.x86_exit_info import REASONS

_TABLES = (*REASONS.values(), EXCEPTION_CLASSES, EXCEPTION_TYPES, TRAPS, RISCV64, INTERCEPTS, LOONGARCH)


def reason_names() -> frozenset[str]:
    """Return the names of all architectures, as our own tables have them; other kernels may name a few otherwise."""
    return frozenset(name for table in _TABLES for name in table.values())
