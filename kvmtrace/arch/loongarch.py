"""LoongArch: kvm_exit → kvm_reenter, or kvm_enter behind a way to the VMM (arch/loongarch/kvm/trace.h, since 6.7).

The reason is the exception code (Ecode of ESTAT). A guest that waits, reads CPUCFG or touches a CSR or IOCSR that it
has not leaves by one and the same code: which instruction it was, kvm_exit_gspr tells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from kvmtrace.arch.base import Architecture, Detail, EventRole, Reason, Role
from kvmtrace.arch.loongarch_names import EXCEPTIONS, IDLE, IDLE_BITS, INSTRUCTIONS, without_operands
from kvmtrace.tracepoints import field_symbols

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from kvmtrace.recording import EventKind, Facts, Fields

_ENTRIES = ("kvm_enter", "kvm_reenter")
_IOCSR, _GPA, _INSTRUCTION = range(3)  # indices into LoongArch.details


class LoongArch(Architecture):
    """kvm:kvm_exit → kvm:kvm_reenter or kvm:kvm_enter, which name their vCPU in newer kernels.

    kvm_out fires where kvm_userspace_exit does, and is no role. A hypercall has no event.
    """

    name = "loongarch"
    details: ClassVar[tuple[Detail, ...]] = (
        Detail("kvm_iocsr", "gpa", "iocsr"),
        Detail("kvm_mmio", "gpa", "gpa"),
        Detail("kvm_exit_gspr", "inst_word", "instruction"),
    )
    roles: ClassVar[Mapping[tuple[str, str], tuple[EventRole, ...]]] = {
        ("kvm", "kvm_exit"): (EventRole(Role.EXIT),),
        **{("kvm", entry): (EventRole(Role.ENTRY),) for entry in _ENTRIES},
        ("kvm", "kvm_iocsr"): (EventRole(Role.DETAIL + _IOCSR, value_field="gpa"),),
        ("kvm", "kvm_mmio"): (EventRole(Role.DETAIL + _GPA, value_field="gpa"),),
        # IDLE is told by its word and by an event of its own; a recording may have either.
        ("kvm", "kvm_exit_gspr"): (
            EventRole(Role.DETAIL + _INSTRUCTION, value_field="inst_word", value_of=without_operands),
            EventRole(Role.OTHER, choice_field="inst_word", choice_mask=IDLE_BITS, choices={IDLE: Role.IDLE}),
        ),
        ("kvm", "kvm_exit_idle"): (EventRole(Role.IDLE),),
    }
    own_vcpu: ClassVar[frozenset[str]] = frozenset(
        {
            "kvm_exit",
            *_ENTRIES,
            "kvm_out",
            "kvm_exit_cache",
            "kvm_exit_cpucfg",
            "kvm_exit_csr",
            "kvm_exit_gspr",
            "kvm_exit_idle",
            "kvm_halt_poll_ns",
            "kvm_dirty_ring_exit",
        }
    )
    """Fired by the vCPU's own thread in KVM_RUN."""
    summary = "kvm_exit and next kvm_reenter or kvm_enter of one thread"

    @classmethod
    def records(cls, facts: Facts) -> bool:
        """Tell whether kvm:kvm_exit has the fields that LoongArch gives it, or an entry of its names is there.

        MIPS has events of the same names and fields: where the machine is not recorded, kvm_exit_gspr or a vCPU in
        kvm_exit tells LoongArch.
        """
        kinds = {kind.name: kind.format.integer_fields for kind in facts.events if kind.system == "kvm"}
        if not ({"pc", "reason"} <= kinds.get("kvm_exit", set()) or any("pc" in kinds.get(e, ()) for e in _ENTRIES)):
            return False
        if "arch" in facts.host:
            return str(facts.host["arch"]).startswith("loongarch")
        return "inst_word" in kinds.get("kvm_exit_gspr", ()) or {"vcpu_id", "reason"} <= kinds.get("kvm_exit", set())

    def reason_fields(self, kind: EventKind) -> set[str]:  # noqa: ARG002 - one for all kernels
        """Return the exception code."""
        return {"reason"}

    def reason_keys(self, kind: EventKind, fields: Fields) -> tuple[NDArray[Any] | None, NDArray[Any]]:  # noqa: ARG002 - as above
        """Return the exception code."""
        return None, fields.column("reason")

    def reason(self, kind: EventKind, group: int | None, code: int) -> Reason:  # noqa: ARG002 - there is one group
        """Return what an exception code means; that the guest waits, other events tell.

        The print fmt names none of them but what kvm_exit_idle and its like say (64 and above).
        """
        named = field_symbols(kind.format).get("reason", {})
        return Reason("exception", code, named.get(code) or EXCEPTIONS.get(code) or f"{code:#x}", idle=False)

    def detail_names(self, kind: str) -> Mapping[int, str]:
        """Return the names of details of one kind."""
        return INSTRUCTIONS if kind == "instruction" else {}
