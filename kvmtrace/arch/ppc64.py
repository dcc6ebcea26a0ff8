"""POWER, KVM-HV (book3s-hv): kvm_guest_exit → kvm_guest_enter (arch/powerpc/kvm/trace_hv.h).

On POWER9 the thread of each vCPU fires its own events. On POWER8, and for hash guests of old kernels, the thread that
runs a virtual core fires those of all its vCPUs: the vCPU in the event is right, the thread is not.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from kvmtrace.arch.base import Architecture, Detail, EventRole, ExitDetail, Reason, Role
from kvmtrace.arch.ppc64_names import HCALLS, TRAPS
from kvmtrace.tracepoints import field_symbols

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from kvmtrace.recording import EventKind, Facts, Fields

_EXIT = ("kvm_hv", "kvm_guest_exit")
_ENTRY = ("kvm_hv", "kvm_guest_enter")
_HCALL = ("kvm_hv", "kvm_hcall_enter")
_H_CEDE = 0xE0


class Ppc64(Architecture):
    """kvm_hv:kvm_guest_exit → kvm_hv:kvm_guest_enter, of radix and hash guests, nested ones too."""

    name = "ppc64"
    runners = True
    summary = "kvm_guest_exit and next kvm_guest_enter of one vCPU"
    details: ClassVar[tuple[Detail, ...]] = (
        Detail("kvm_hcall_enter", "req", "hcall"),
        Detail("kvm_mmio", "gpa", "gpa"),
        Detail("kvm_ppc_instr", "inst", "instruction"),
        # The address that the guest used; base_gfn is only where the memory slot begins.
        Detail("kvm_page_fault_enter", "ea", "ea"),
        Detail("kvm_guest_exit", "ceded", "hcall"),
    )
    roles: ClassVar[Mapping[tuple[str, str], tuple[EventRole, ...]]] = {
        _EXIT: (EventRole(Role.EXIT),),
        _ENTRY: (EventRole(Role.ENTRY),),
        _HCALL: (EventRole(Role.HCALL_ENTER), EventRole(Role.DETAIL, value_field="req")),
        ("kvm_hv", "kvm_hcall_exit"): (EventRole(Role.HCALL_EXIT),),
        ("kvm", "kvm_mmio"): (EventRole(Role.DETAIL + 1, value_field="gpa"),),
        ("kvm", "kvm_ppc_instr"): (EventRole(Role.DETAIL + 2, value_field="inst"),),
        ("kvm_hv", "kvm_page_fault_enter"): (EventRole(Role.DETAIL + 3, value_field="ea"),),
        ("kvm_hv", "kvmppc_run_vcpu_enter"): (EventRole(Role.USER_RETURN),),
        ("kvm_hv", "kvmppc_vcore_blocked"): (
            EventRole(Role.OTHER, choice_field="where", choices={0: Role.SLEEP, 1: Role.WAKE}),
        ),
        ("kvm_hv", "kvmppc_vcore_wakeup"): (
            EventRole(Role.OTHER, value_field="ns", choice_field="waited", choices={0: Role.POLLED, 1: Role.BLOCKED}),
        ),
    }
    own_vcpu: ClassVar[frozenset[str]] = frozenset(
        {"kvmppc_run_vcpu_enter", "kvmppc_run_vcpu_exit", "kvm_hcall_enter", "kvm_hcall_exit"}
    )
    """Fired in the vCPU's own KVM_RUN (kvmppc_vcpu_run_hv), on POWER8 too."""

    @classmethod
    def records(cls, facts: Facts) -> bool:
        """Tell whether kvm_guest_exit or kvm_guest_enter of KVM-HV is among the tracepoints."""
        if not str(facts.host.get("arch", "ppc64")).startswith(("ppc", "powerpc")):
            return False
        wanted = {_EXIT: {"vcpu_id", "trap"}, _ENTRY: {"vcpu_id"}}
        return any(wanted.get((kind.system, kind.name), {""}) <= kind.format.integer_fields for kind in facts.events)

    def reason_fields(self, kind: EventKind) -> set[str]:  # noqa: ARG002 - one for all kernels
        """Return trap."""
        return {"vcpu_id", "trap"}

    def reason_keys(self, kind: EventKind, fields: Fields) -> tuple[NDArray[Any] | None, NDArray[Any]]:
        """Return whether the vCPU had ceded, and the trap."""
        ceded = (fields.column("ceded") != 0).astype("u4") if "ceded" in kind.format.integer_fields else None
        return ceded, fields.column("trap")

    def reason(self, kind: EventKind, group: int | None, code: int) -> Reason:
        """Return what a trap means. A vCPU that has ceded waits: H_CEDE is no hcall event but a trap 0 on POWER9."""
        named = field_symbols(kind.format).get("trap", {})
        return Reason("trap", code, named.get(code) or TRAPS.get(code) or f"{code:#x}", idle=group == 1)

    def exit_detail(self, kind: EventKind, reason: Reason) -> ExitDetail | None:  # noqa: ARG002 - the reason tells
        """Return H_CEDE for an exit of a vCPU that has ceded."""
        rule = len(self.details) - 1
        return ExitDetail(rule, constant=_H_CEDE) if reason.idle else None

    def detail_names(self, kind: str) -> Mapping[int, str]:
        """Return the names of hcalls: the recording's own, else ours."""
        return self._hcalls if kind == "hcall" else {}

    @cached_property
    def _hcalls(self) -> Mapping[int, str]:
        named = (field_symbols(e.format).get("req", {}) for e in self.facts.events if (e.system, e.name) == _HCALL)
        return {**HCALLS, **next(named, {})}
