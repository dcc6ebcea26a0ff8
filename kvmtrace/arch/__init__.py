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
    from kvmtrace.arch.x86 import X86  # noqa: PLC0415 - only the one that is needed

    return X86(facts) if X86.records(facts) else None
