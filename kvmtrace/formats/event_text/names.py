"""Names that texts print in place of numbers: tables of name → the value of each field, for `{field:TABLE}`.

The exit reasons of x86 are here, the other tables in kvm_names.py. Sources: arch/x86/include/uapi/asm/{vmx,svm}.h,
vmx_exit_reasons_str of arch/x86/kvm/vmx.c in Linux 2.6.32, plugins/plugin_kvm.c of libtraceevent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING

from kvmtrace.arch.x86_exit_info import REASONS, SVM, VMX

if TYPE_CHECKING:
    from collections.abc import Mapping

EXITS = "x86_exit"

_MASK32 = (1 << 32) - 1
_ISA = {VMX: 1, SVM: 2}  # KVM_ISA_VMX, KVM_ISA_SVM
_HEX = r"0x[0-9a-fA-F]{1,16}"
_NUMBER = re.compile(r"0x([0-9a-fA-F]{1,16})")
_UNKNOWN = re.compile(r"UNKNOWN \((\d{1,10})\)")  # as libtraceevent writes it
_FLAGGED = re.compile(rf"(\S+)((?: FAILED_VMENTRY| {_HEX})+)")
_FAILED_VMENTRY = 1 << 31

# VMX reasons that were named otherwise, before the kernel's table of today.
_VMX_FORMERLY = {"PENDING_INTERRUPT": 0x7, "MSR_LOADING_FAIL": 0x22}
_VMX_OF_2_6_32 = {
    "exception": 0x0, "ext_irq": 0x1, "triple_fault": 0x2, "nmi_window": 0x8, "io_instruction": 0x1E,
    "cr_access": 0x1C, "dr_access": 0x1D, "cpuid": 0xA, "rdmsr": 0x1F, "wrmsr": 0x20, "interrupt_window": 0x7,
    "halt": 0xC, "invlpg": 0xE, "hypercall": 0x12, "tpr_below_thres": 0x2B, "apic_access": 0x2C, "wbinvd": 0x36,
    "task_switch": 0x9, "ept_violation": 0x30,
}  # fmt: skip
# libtraceevent's names of SVM reasons that are not the kernel's behind EXIT_.
_SVM_OF_PLUGIN = {
    "EXIT_INTR": 0x60, "EXIT_IDTR_READ": 0x66, "EXIT_GDTR_READ": 0x67, "EXIT_LDTR_READ": 0x68, "EXIT_TR_READ": 0x69,
    "EXIT_IDTR_WRITE": 0x6A, "EXIT_GDTR_WRITE": 0x6B, "EXIT_LDTR_WRITE": 0x6C, "EXIT_TR_WRITE": 0x6D,
    "EXIT_IOIO": 0x7B, "EXIT_VMMCALL": 0x81, "EXIT_ERR": _MASK32,
}  # fmt: skip


@dataclass(frozen=True)
class NameTable:
    """Values of the fields by name, and their types. A hexadecimal number is the first field's value itself."""

    values: Mapping[str, tuple[int, ...]]
    types: tuple[str, ...]

    @cached_property
    def pattern(self) -> str:
        """Return a regular expression of everything that may have a value."""
        return self._names()

    def _names(self) -> str:
        return "|".join([*map(re.escape, sorted(self.values, key=len, reverse=True)), _HEX])

    def resolve(self, text: str) -> tuple[int, ...] | None:
        """Return the value of each field; None: no such name, or a number that leaves a field unknown."""
        number = _NUMBER.fullmatch(text) if text not in self.values else None
        if number is not None and len(self.types) == 1:
            return (int(number[1], 16),)
        return self.values.get(text)


@dataclass(frozen=True)
class ExitReasons(NameTable):
    """Reasons of x86 exits: (exit_reason, isa); `isa_of_numbers` is what a reason without a name belongs to."""

    isa_of_numbers: int | None = None

    @cached_property
    def pattern(self) -> str:
        """Return a regular expression of names, with flags or without, and of numbers."""
        return rf"(?:{self._names()})(?: FAILED_VMENTRY| {_HEX})*|UNKNOWN \(\d{{1,10}}\)"

    def resolve(self, text: str) -> tuple[int, ...] | None:
        """Return exit_reason, flags in its high bits, and isa."""
        if text in self.values:
            return self.values[text]
        if (flagged := _FLAGGED.fullmatch(text)) is not None:
            return self._with_flags(flagged[1], flagged[2].split())
        if (unknown := _UNKNOWN.fullmatch(text)) is not None:
            return self._number(int(unknown[1]))
        number = _NUMBER.fullmatch(text)
        return None if number is None else self._number(int(number[1], 16))

    def _number(self, code: int) -> tuple[int, ...] | None:
        return None if self.isa_of_numbers is None else (code, self.isa_of_numbers)

    def _with_flags(self, name: str, flags: list[str]) -> tuple[int, ...] | None:
        reason = self.resolve(name)
        if reason is None or reason[1] != _ISA[VMX]:
            return None
        high = [_FAILED_VMENTRY if flag == "FAILED_VMENTRY" else int(flag, 16) for flag in flags]
        code = reason[0]
        for flag in high:
            code |= flag
        return (code, reason[1]) if code <= _MASK32 else None


def _exits(vmx: dict[str, int], svm: dict[str, int], isa_of_numbers: int | None) -> ExitReasons:
    values = {name: (code, _ISA[VMX]) for name, code in vmx.items()}
    values |= {name: (code, _ISA[SVM]) for name, code in svm.items()}
    return ExitReasons(values, ("u32", "u32"), isa_of_numbers)


def _plugin_name(name: str) -> str:
    """Return libtraceevent's name of an SVM reason: EXIT_EXCP_GP for "GP excp", EXIT_NPF for npf."""
    vector = name.removesuffix(" excp")
    return f"EXIT_EXCP_{vector}" if vector != name else f"EXIT_{name.upper()}"


_VMX = {name: code for code, name in REASONS[VMX].items()} | _VMX_FORMERLY
_SVM = {name: code for code, name in REASONS[SVM].items()}
_SVM |= {_plugin_name(name): code for name, code in _SVM.items()} | _SVM_OF_PLUGIN
_OF_BOTH = _VMX_OF_2_6_32.keys() & _SVM.keys()
OLD_VMX_NAMES = frozenset(_VMX_OF_2_6_32) - _OF_BOTH
"""Names of Linux 2.6.32 that only VMX has."""
SVM_NAMES = frozenset(REASONS[SVM].values()) - _OF_BOTH
"""Names that only SVM has; of both kinds are cpuid, hypercall and the like."""


def exits_table(isa: str | None, *, of_2_6_32: bool) -> str:
    """Return the name of the table of exit reasons for a source whose other names are of `isa` (VMX, SVM, None: both).

    A number without a name is of that isa, and so is a name of both in a text of Linux 2.6.32; where nothing tells
    their isa they have no value.
    """
    return f"{EXITS} {isa} {'2.6.32' if of_2_6_32 else ''}".strip()


def _exit_tables() -> dict[str, NameTable]:
    clear_vmx = {**_VMX, **{name: _VMX_OF_2_6_32[name] for name in OLD_VMX_NAMES}}
    clear_svm = {name: code for name, code in _SVM.items() if name not in _OF_BOTH}
    tables: dict[str, NameTable] = {EXITS: _exits(clear_vmx, _SVM, None)}
    for isa in (VMX, SVM, None):
        number = _ISA.get(isa or "")
        tables[exits_table(isa, of_2_6_32=False)] = _exits(clear_vmx, _SVM, number)
        vmx, svm = {VMX: (_VMX | _VMX_OF_2_6_32, clear_svm), SVM: (clear_vmx, _SVM)}.get(
            isa or "", (clear_vmx, clear_svm)
        )
        tables[exits_table(isa, of_2_6_32=True)] = _exits(vmx, svm, number)
    return tables


def isa_of(name: str) -> str | None:
    """Return the isa that a reason's name tells: None where it tells none."""
    name = name.split(" ", 1)[0] if name not in _SVM else name
    if name in _OF_BOTH:
        return None
    if name in _VMX or name in OLD_VMX_NAMES:
        return VMX
    return SVM if name in _SVM else None


@cache
def table(name: str) -> NameTable:
    """Return a table by its name. KeyError: there is none."""
    return _tables()[name]


@cache
def _tables() -> dict[str, NameTable]:
    from kvmtrace.formats.event_text.kvm_names import TABLES, TYPES  # noqa: PLC0415 - for recognising none is needed

    plain = {name: NameTable(values, TYPES.get(name) or _types(values)) for name, values in TABLES.items()}
    return plain | _exit_tables()


def _types(values: Mapping[str, tuple[int, ...]]) -> tuple[str, ...]:
    """Return 32 bits for each field, with a sign where a value has one."""
    columns = zip(*values.values(), strict=True)
    return tuple("s32" if min(column) < 0 else "u32" for column in columns)
