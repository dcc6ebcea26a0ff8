"""POWER, KVM-HV (book3s-hv): kvm_guest_exit → kvm_guest_enter (arch/powerpc/kvm/trace_hv.h).

On POWER9 and later the thread of each vCPU fires its own events. On POWER8 the thread that runs a virtual core fires
the exits and entries of all its vCPUs: the vCPU in the event is right, the thread is not.

KVM-PR is not paired: kvm_book3s_reenter also fires where the exit goes on to the VMM, and nothing fires when KVM_RUN
enters the guest after that.
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

_MACHINES = frozenset({"ppc64", "ppc64le"})
_EXIT = ("kvm_hv", "kvm_guest_exit")
_ENTRY = ("kvm_hv", "kvm_guest_enter")
_HCALL = ("kvm_hv", "kvm_hcall_enter")
_H_CEDE = 0xE0


class Ppc64(Architecture):
    """kvm_hv:kvm_guest_exit → kvm_hv:kvm_guest_enter, of radix and hash guests, and of guests' guests.

    On bare metal a guest's guest runs inside the hypercall H_ENTER_NESTED: that exit ends with the entry of the guest's
    guest, whose exits follow, and kvm_hcall_exit falls into the last of them. None of it says so: `nested` is null.
    """

    name = "ppc64"
    runners = True
    summary = "kvm_guest_exit and next kvm_guest_enter of one vCPU"
    details: ClassVar[tuple[Detail, ...]] = (
        Detail("kvm_hcall_enter", "req", "hcall"),
        Detail("kvm_mmio", "gpa", "gpa"),
        # Of hash guests: the address that the guest used. base_gfn is only where the memory slot begins, and gpte_r
        # has the page in bits whose number depends on the page's size. It says more than the instruction.
        Detail("kvm_page_fault_enter", "ea", "ea"),
        Detail("kvm_ppc_instr", "inst", "instruction"),
        Detail("kvm_guest_exit", "ceded", "hcall"),
    )
    roles: ClassVar[Mapping[tuple[str, str], tuple[EventRole, ...]]] = {
        _EXIT: (EventRole(Role.EXIT),),
        _ENTRY: (EventRole(Role.ENTRY),),
        _HCALL: (EventRole(Role.HCALL_ENTER), EventRole(Role.DETAIL, value_field="req")),
        ("kvm_hv", "kvm_hcall_exit"): (EventRole(Role.HCALL_EXIT),),
        ("kvm", "kvm_mmio"): (EventRole(Role.DETAIL + 1, value_field="gpa"),),
        ("kvm_hv", "kvm_page_fault_enter"): (EventRole(Role.DETAIL + 2, value_field="ea"),),
        ("kvm", "kvm_ppc_instr"): (EventRole(Role.DETAIL + 3, value_field="inst"),),
        # Before each entry, whether the vCPU comes from the VMM or not.
        ("kvm_hv", "kvmppc_run_vcpu_enter"): (EventRole(Role.USER_RETURN),),
        # Of the runner: on POWER8 the other vCPUs of its core, all ceded, wait meanwhile, and no event says so.
        ("kvm_hv", "kvmppc_vcore_blocked"): (
            EventRole(Role.OTHER, choice_field="where", choices={0: Role.SLEEP, 1: Role.WAKE}),
        ),
        ("kvm_hv", "kvmppc_vcore_wakeup"): (
            EventRole(Role.OTHER, value_field="ns", choice_field="waited", choices={0: Role.POLLED, 1: Role.BLOCKED}),
        ),
    }
    own_vcpu: ClassVar[frozenset[str]] = frozenset(
        {
            "kvmppc_run_vcpu_enter",
            "kvmppc_run_vcpu_exit",
            "kvm_hcall_enter",
            "kvm_hcall_exit",
            "kvm_page_fault_enter",
            "kvm_page_fault_exit",
        }
    )
    """Fired in the vCPU's own KVM_RUN (kvmppc_vcpu_run_hv), on POWER8 too."""

    @classmethod
    def records(cls, facts: Facts) -> bool:
        """Tell whether kvm_guest_exit or kvm_guest_enter of KVM-HV is among the tracepoints, with its vCPU."""
        if str(facts.host.get("arch", "ppc64")) not in _MACHINES:
            return False
        wanted = {_EXIT: {"vcpu_id", "trap"}, _ENTRY: {"vcpu_id"}}
        return any(wanted.get((kind.system, kind.name), {""}) <= kind.format.integer_fields for kind in facts.events)

    def reason_fields(self, kind: EventKind) -> set[str]:  # noqa: ARG002 - one for all kernels
        """Return the vCPU, by which exits are paired, and the trap."""
        return {"vcpu_id", "trap"}

    def reason_keys(self, kind: EventKind, fields: Fields) -> tuple[NDArray[Any] | None, NDArray[Any]]:
        """Return whether the vCPU has ceded, and the trap, of which the kernel masks no bit."""
        ceded = (fields.column("ceded") != 0).astype("u4") if "ceded" in kind.format.integer_fields else None
        return ceded, fields.column("trap")

    def reason(self, kind: EventKind, group: int | None, code: int) -> Reason:
        """Return what a trap means; a vCPU that has ceded waits.

        KVM handles H_CEDE on the way out of the guest and leaves trap 0, not SYSCALL. So it does with what is no wait:
        an H_CEDE that was cut short, and XICS hypercalls. On POWER8 a ceded vCPU may leave with its core again and
        again, and with another trap where an interrupt of the host woke it: it waits all the same.
        Where the VMM handles H_CEDE (kvm_hcall_enter with that number), the exit does not tell that the guest waits.
        """
        named = field_symbols(kind.format).get("trap", {})
        return Reason("trap", code, named.get(code) or TRAPS.get(code) or f"{code:#x}", idle=group == 1)

    def exit_detail(self, kind: EventKind, reason: Reason) -> ExitDetail | None:  # noqa: ARG002 - the reason tells
        """Return H_CEDE for an exit of a vCPU that has ceded."""
        return ExitDetail(len(self.details) - 1, constant=_H_CEDE) if reason.idle else None

    def detail_names(self, kind: str) -> Mapping[int, str]:
        """Return the names of hypercalls: the recording's own, else ours."""
        return self._hcalls if kind == "hcall" else {}

    @cached_property
    def _hcalls(self) -> Mapping[int, str]:
        named = (field_symbols(e.format).get("req", {}) for e in self.facts.events if (e.system, e.name) == _HCALL)
        return {**HCALLS, **next(named, {})}
