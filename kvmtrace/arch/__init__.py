"""Architectures: what opens and closes an exit, what its reason and its detail are. One module each.

To add one: a module with a subclass of `Architecture`, and its line in `for_recording`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmtrace.arch.base import COMMON_ROLES, Architecture

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from kvmtrace.arch.base import EventRole
    from kvmtrace.recording import Facts

__all__ = ["Architecture", "for_recording", "roles_among"]


def for_recording(facts: Facts) -> Architecture | None:
    """Return the architecture of a recording that has the tracepoints of its exits; None where it has none of ours."""
    return next((architecture(facts) for architecture in _all() if architecture.records(facts)), None)


def roles_among(wanted: AbstractSet[int]) -> dict[tuple[str, str], tuple[EventRole, ...]]:
    """Return by (system, event) the roles of every architecture's events that may be one of `wanted`."""
    found = {}
    for roles in (*(architecture.roles for architecture in _all()), COMMON_ROLES):
        for key, event_roles in roles.items():
            chosen = tuple(role for role in event_roles if role.possible & wanted)
            if chosen:
                found[key] = chosen
    return found


def _all() -> tuple[type[Architecture], ...]:
    from kvmtrace.arch.arm64 import Arm64  # noqa: PLC0415 - only where a recording is read
    from kvmtrace.arch.loongarch import LoongArch  # noqa: PLC0415
    from kvmtrace.arch.ppc64 import Ppc64  # noqa: PLC0415
    from kvmtrace.arch.riscv64 import RiscV64  # noqa: PLC0415
    from kvmtrace.arch.s390 import S390  # noqa: PLC0415
    from kvmtrace.arch.x86 import X86  # noqa: PLC0415

    return (X86, Ppc64, Arm64, RiscV64, S390, LoongArch)
