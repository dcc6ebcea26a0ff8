"""arm64, with and without VHE: kvm_exit → kvm_entry (arch/arm64/kvm/trace_arm.h, up to 5.7 virt/kvm/arm/trace.h)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from kvmtrace.arch.arm64_names import SMCCC_FUNCTIONS, SYSTEM_REGISTER_BITS, SYSTEM_REGISTERS
from kvmtrace.arch.base import Architecture, Detail, EventRole, Reason, Role
from kvmtrace.tracepoints import field_symbols

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from kvmtrace.recording import EventKind, Facts, Fields

_WITH_SERROR = 1 << 31  # ARM_EXIT_WITH_SERROR_BIT: an SError came with the exit
_TRAP = "TRAP"
_EXCEPTION_TYPES = {0: "IRQ", 1: "SERROR", 2: _TRAP, 3: "ILLEGAL", 0xBADCA11: "HYP_GONE"}
_WFX = 0x01
_FUNCTION_BITS = 0xFFFFFFFF  # SMCCC: the function is in w0


class Arm64(Architecture):
    """kvm:kvm_exit → kvm:kvm_entry. Neither names its vCPU."""

    name = "arm64"
    summary = "kvm_exit and next kvm_entry of one thread"
    details: ClassVar[tuple[Detail, ...]] = (
        Detail("kvm_handle_sys_reg", "hsr", "sysreg"),
        Detail("kvm_hvc_arm64", "r0", "smccc"),
        Detail("kvm_wfx_arm64", "is_wfe", "wfx"),
        Detail("kvm_mmio", "gpa", "gpa"),
        Detail("kvm_guest_fault", "ipa", "gpa"),
        Detail("kvm_access_fault", "ipa", "gpa"),
    )
    roles: ClassVar[Mapping[tuple[str, str], tuple[EventRole, ...]]] = {
        ("kvm", "kvm_exit"): (EventRole(Role.EXIT),),
        ("kvm", "kvm_entry"): (EventRole(Role.ENTRY),),
        ("kvm", "kvm_handle_sys_reg"): (EventRole(Role.DETAIL, value_field="hsr", value_mask=SYSTEM_REGISTER_BITS),),
        ("kvm", "kvm_hvc_arm64"): (EventRole(Role.DETAIL + 1, value_field="r0", value_mask=_FUNCTION_BITS),),
        **{
            ("kvm", detail.event): (EventRole(Role.DETAIL + index, value_field=detail.field),)
            for index, detail in enumerate(details[2:], 2)
        },
    }
    own_vcpu: ClassVar[frozenset[str]] = frozenset({"kvm_get_timer_map", "kvm_halt_poll_ns"})
    """Fired when the vCPU's own thread loads its timers, and at the end of its halts."""

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._names: dict[int, tuple[Mapping[int, str], Mapping[int, str]]] = {}

    @classmethod
    def records(cls, facts: Facts) -> bool:
        """Tell whether kvm:kvm_exit or kvm:kvm_entry has the fields that arm64 gives it."""
        if str(facts.host.get("arch", "aarch64")) not in ("aarch64", "arm64", "aarch64_be"):
            return False
        wanted = {("kvm", "kvm_exit"): {"vcpu_pc"}, ("kvm", "kvm_entry"): {"vcpu_pc"}}
        return any(wanted.get((kind.system, kind.name), {""}) <= kind.format.integer_fields for kind in facts.events)

    def reason_fields(self, kind: EventKind) -> set[str]:
        """Return exception type and exception class: idx and exit_reason before Linux 5.2."""
        return {"idx", "exit_reason"} if "exit_reason" in kind.format.integer_fields else {"ret", "esr_ec"}

    def reason_keys(self, kind: EventKind, fields: Fields) -> tuple[NDArray[Any] | None, NDArray[Any]]:
        """Return the exception's type and its class, which is 0 where the type is no trap."""
        old = "exit_reason" in kind.format.integer_fields
        types, classes = ("idx", "exit_reason") if old else ("ret", "esr_ec")
        return fields.column(types).astype("i8") & (_WITH_SERROR - 1), fields.column(classes)

    def reason(self, kind: EventKind, group: int | None, code: int) -> Reason:
        """Return the exception class of a trap, else the exception's type, as the recording's print fmt names them."""
        types, classes = self._symbols(kind)
        name = types.get(group or 0, f"{group:#x}")
        if name != _TRAP:
            return Reason("exception", group or 0, name, idle=False)
        # WFI waits. WFE, of the same class, spins for a short while: only kvm_wfx_arm64, the detail, tells them apart.
        return Reason("EC", code, classes.get(code, f"{code:#x}"), idle=code == _WFX)

    def _symbols(self, kind: EventKind) -> tuple[Mapping[int, str], Mapping[int, str]]:
        """Return the names of types and classes: TRAP was 1 in Linux 3.14 and is 2."""
        if kind.format.id not in self._names:
            symbols = field_symbols(kind.format)
            types = symbols.get("ret") or symbols.get("idx") or _EXCEPTION_TYPES
            self._names[kind.format.id] = types, symbols.get("esr_ec") or symbols.get("exit_reason") or {}
        return self._names[kind.format.id]

    def detail_names(self, kind: str) -> Mapping[int, str]:
        """Return the names of details of one kind."""
        tables: dict[str, Mapping[int, str]] = {
            "sysreg": SYSTEM_REGISTERS,
            "smccc": SMCCC_FUNCTIONS,
            "wfx": {0: "WFI", 1: "WFE"},
        }
        return tables.get(kind, {})
