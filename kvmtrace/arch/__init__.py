"""Architectures: what opens and closes an exit, what its reason and its detail are. One module each.

To add one: a module with a subclass of `Architecture`, and its line in `for_recording`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmtrace.arch.base import Architecture

if TYPE_CHECKING:
    from kvmtrace.recording import Facts

__all__ = ["Architecture", "for_recording"]


def for_recording(facts: Facts) -> Architecture | None:
    """Return the architecture of a recording that has the tracepoints of its exits; None where it has none of ours."""
    from kvmtrace.arch.arm64 import Arm64  # noqa: PLC0415 - only where a recording is read
    from kvmtrace.arch.loongarch import LoongArch  # noqa: PLC0415
    from kvmtrace.arch.ppc64 import Ppc64  # noqa: PLC0415
    from kvmtrace.arch.riscv64 import RiscV64  # noqa: PLC0415
    from kvmtrace.arch.s390 import S390  # noqa: PLC0415
    from kvmtrace.arch.x86 import X86  # noqa: PLC0415

    architectures: tuple[type[Architecture], ...] = (X86, Ppc64, Arm64, RiscV64, S390, LoongArch)
    return next((architecture(facts) for architecture in architectures if architecture.records(facts)), None)
