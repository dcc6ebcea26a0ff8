"""What x86 makes of its tracepoints: reasons, idle exits, and exits that are followed by no entry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from benchmarks.recording_builder import format_text
from kvmtrace import arch
from kvmtrace.arch.base import NO_ROLE, Reason, Role
from kvmtrace.arch.x86 import X86
from kvmtrace.recording import EventKind, Facts
from kvmtrace.tracepoints import parse_format

if TYPE_CHECKING:
    from numpy.typing import NDArray

VMX, SVM = 1, 2


def kind(event: str, text: str | None = None) -> EventKind:
    return EventKind("kvm", event, parse_format(format_text("kvm", event) if text is None else text))


def facts(*kinds: EventKind, **host: str | int) -> Facts:
    return Facts("perf.data", events=list(kinds), host=dict(host))


def reason(isa: int | None, code: int, print_fmt: str | None = None) -> Reason:
    exit_kind = kind("kvm_exit")
    if print_fmt is not None:
        head = format_text("kvm", "kvm_exit").split("print fmt: ")[0]
        exit_kind = kind("kvm_exit", f"{head}print fmt: {print_fmt}\n")
    return X86(facts(exit_kind)).reason(exit_kind, isa, code)


@pytest.mark.parametrize(
    ("isa", "code", "expected"),
    [
        (VMX, 48, Reason("VMX", 48, "EPT_VIOLATION", idle=False)),
        (VMX, 0x80000021, Reason("VMX", 33, "INVALID_STATE", idle=False)),  # FAILED_VMENTRY
        (VMX, 0x0800_0000 | 30, Reason("VMX", 30, "IO_INSTRUCTION", idle=False)),  # a flag without a name
        (VMX, 0xFFF0, Reason("VMX", 0xFFF0, "0xfff0", idle=False)),
        (VMX, 0x8000FFF0, Reason("VMX", 0xFFF0, "0xfff0", idle=False)),
        (SVM, 0x400, Reason("SVM", 0x400, "npf", idle=False)),
        (SVM, 0x4E, Reason("SVM", 0x4E, "PF excp", idle=False)),
        (SVM, 0x40, Reason("SVM", 0x40, "DE excp", idle=False)),
        (SVM, 0xFFFFFFFF, Reason("SVM", 0xFFFFFFFF, "invalid_guest_state", idle=False)),
        (SVM, 0x80000011, Reason("SVM", 0x80000011, "vmgexit_guest_request", idle=False)),
        (SVM, 0x3FF, Reason("SVM", 0x3FF, "0x3ff", idle=False)),
        (SVM, 48, Reason("SVM", 48, "write_dr0", idle=False)),
    ],
)
def test_a_reason_is_named_as_the_print_fmt_names_it_without_flags(isa: int, code: int, expected: Reason) -> None:
    assert reason(isa, code) == expected


@pytest.mark.parametrize(
    ("isa", "code", "idle"),
    [
        (VMX, 12, True),  # HLT
        (VMX, 36, True),  # MWAIT_INSTRUCTION
        (VMX, 0x78, False),
        (SVM, 0x78, True),  # hlt
        (SVM, 0x8B, True),  # mwait
        (SVM, 0x8C, True),  # mwait where ECX.0 is set
        (SVM, 0xA6, True),  # idle-halt
        (SVM, 12, False),
        (SVM, 0x77, False),  # pause
        (VMX, 40, False),  # PAUSE_INSTRUCTION
    ],
)
def test_a_guest_that_waits_is_idle(isa: int, code: int, *, idle: bool) -> None:
    assert reason(isa, code).idle is idle


@pytest.mark.parametrize(
    "print_fmt", ['"reason %s", a_function_that_nobody_knows(REC->exit_reason)', '"no such word %d", REC->isa', "((("]
)
def test_a_reason_that_the_print_fmt_does_not_name_has_our_name_or_is_its_number(print_fmt: str) -> None:
    assert reason(VMX, 0x80000021, print_fmt).name == "INVALID_STATE"
    assert reason(SVM, 0x21, print_fmt).name == "read_dr1"
    assert reason(VMX, 0x80000FFF, print_fmt).name == "0xfff"
    assert reason(3, 0x80000021, print_fmt) == Reason("isa 3", 0x80000021, "0x80000021", idle=False)


@pytest.mark.parametrize(
    ("kernel", "isa", "code", "name"),
    [
        ("3.14", VMX, 7, "PENDING_INTERRUPT"),
        ("5.4", VMX, 7, "PENDING_INTERRUPT"),
        ("5.8", VMX, 7, "INTERRUPT_WINDOW"),
        ("3.14", VMX, 0x80000021, "INVALID_STATE"),  # such a kernel does not mask the flag itself
        ("3.14", VMX, 55, "XSETBV"),  # this name is ours
        ("3.14", SVM, 0x4D, "GP excp"),  # and this
        ("5.10", SVM, 0xA2, "invpcid"),
        ("6.1", SVM, 0xA6, "idle-halt"),  # and this
        ("6.18", SVM, 0xA6, "idle-halt"),
        ("6.18", VMX, 85, "MSR_WRITE_IMM"),
    ],
)
def test_reasons_have_the_names_of_their_kernel_and_ours_where_it_has_none(
    kernel: str, isa: int, code: int, name: str
) -> None:
    exit_kind = kind("kvm_exit", format_text("kvm", "kvm_exit", kernel))
    assert X86(facts(exit_kind)).reason(exit_kind, isa, code).name == name


def test_a_vendors_own_isa_is_named_by_its_own_table() -> None:
    text = format_text("kvm", "kvm_exit").replace(
        ": __print_symbolic(REC->exit_reason, {",
        ': (REC->isa == 3) ? __print_symbolic(REC->exit_reason, { 1, "one" }) : __print_symbolic(REC->exit_reason, {',
        1,
    )
    exit_kind = kind("kvm_exit", text)
    x86 = X86(facts(exit_kind))
    assert (x86.reason(exit_kind, 3, 1).name, x86.reason(exit_kind, SVM, 0x400).name) == ("one", "npf")


def test_a_reason_of_64_bits_is_named_by_its_low_half() -> None:
    text = format_text("kvm", "kvm_exit").replace(
        "unsigned int exit_reason;\toffset:8;\tsize:4", "u64 exit_reason;\toffset:8;\tsize:8"
    )
    exit_kind = kind("kvm_exit", text.replace("invalid_guest_state", "refused"))
    assert X86(facts(exit_kind)).reason(exit_kind, SVM, 0xFFFFFFFF) == Reason("SVM", 0xFFFFFFFF, "refused", idle=False)


class Columns:
    """Two exits by a kernel that records no isa."""

    def column(self, name: str) -> NDArray[np.uint32]:
        return {"exit_reason": np.array([12, 30], np.uint32)}[name]

    def arrow(self) -> dict[str, Any]:
        return {}


OLD = format_text("kvm", "kvm_exit", "2.6.32")
LOWER_CASE = OLD.replace(
    "ftrace_print_symbols_seq(p, REC->exit_reason, kvm_x86_ops->exit_reasons_str)",
    '__print_symbolic(REC->exit_reason, { 30, "io_instruction" }, { 12, "halt" })',
)
OF_SVM = LOWER_CASE.replace('{ 30, "io_instruction" }', '{ 0x7b, "io" }')


@pytest.mark.parametrize(
    ("text", "cpuid", "isa", "names"),
    [
        (OLD, "GenuineIntel,6,44,2", "VMX", ("HLT", "IO_INSTRUCTION")),
        (OLD, "AuthenticAMD,16,4,2", "SVM", ("0xc", "0x1e")),
        (OLD, "HygonGenuine,24,1,1", "SVM", ("0xc", "0x1e")),
        (OLD, "", None, ("0xc", "0x1e")),
        (LOWER_CASE, "", "VMX", ("halt", "io_instruction")),
        (LOWER_CASE, "AuthenticAMD,16,4,2", "VMX", ("halt", "io_instruction")),
        (OF_SVM, "GenuineIntel,6,44,2", "SVM", ("halt", "0x1e")),
    ],
)
def test_an_isa_that_is_not_recorded_is_that_of_the_names_or_else_of_the_processor(
    text: str, cpuid: str, isa: str | None, names: tuple[str, str]
) -> None:
    exit_kind = kind("kvm_exit", text)
    x86 = X86(facts(exit_kind, cpuid=cpuid))
    group, codes = x86.reason_keys(exit_kind, Columns())
    assert x86.reason_fields(exit_kind) == {"exit_reason"}
    told = [x86.reason(exit_kind, None if group is None else int(group[n]), int(codes[n])) for n in range(2)]
    assert [meaning.isa for meaning in told] == [isa, isa]
    assert tuple(meaning.name for meaning in told) == names


@pytest.mark.parametrize(("code", "idle"), [(12, True), (0x78, True), (0x8B, True), (36, False), (30, False)])
def test_without_an_isa_a_guest_waits_by_what_is_no_reason_of_the_other(code: int, *, idle: bool) -> None:
    exit_kind = kind("kvm_exit", OLD)  # 36: MWAIT of VMX, a read of DR4 of SVM
    assert X86(facts(exit_kind)).reason(exit_kind, None, code).idle is idle


@pytest.mark.parametrize(
    ("kernel", "isa", "code", "reenters"),
    [
        ("5.7.19", VMX, 48, False),
        ("5.8.0", VMX, 32, True),
        ("5.10.0-28-amd64", VMX, 52, True),
        ("5.11.22", VMX, 32, True),
        ("5.12.0", VMX, 32, False),
        ("6.9.1", VMX, 32, False),
        ("15.9.1", VMX, 32, False),
        ("5.10.0", VMX, 48, False),
        ("5.10.0", SVM, 0x7C, False),
        ("", VMX, 32, False),
        ("mainline", VMX, 32, False),
    ],
)
def test_only_the_fastpath_of_vmx_on_5_8_to_5_11_enters_without_an_event(
    kernel: str, isa: int, code: int, *, reenters: bool
) -> None:
    exit_kind = kind("kvm_exit")
    x86 = X86(facts(exit_kind, kernel=kernel))
    assert x86.reenters_without_entry(x86.reason(exit_kind, isa, code)) is reenters


@pytest.mark.parametrize(
    ("kernel", "layout", "reenters"),
    [
        ("5.4.210", "5.4", False),
        ("4.18.0-348.el8", "5.10", True),
        ("4.18.0-80.el8", "3.14", False),
        ("6.1.0", "5.8", False),
    ],
)
def test_an_older_kernel_that_records_as_5_10_does_may_have_its_fastpath(
    kernel: str, layout: str, *, reenters: bool
) -> None:
    exit_kind = kind("kvm_exit", format_text("kvm", "kvm_exit", layout))
    x86 = X86(facts(exit_kind, kernel=kernel))
    assert x86.reenters_without_entry(x86.reason(exit_kind, VMX, 52)) is reenters


def test_a_kernel_that_is_not_recorded_is_none_with_a_fastpath() -> None:
    exit_kind = kind("kvm_exit")
    x86 = X86(facts(exit_kind))
    assert not x86.reenters_without_entry(x86.reason(exit_kind, VMX, 32))


@pytest.mark.parametrize("machine", ["x86_64", "x86", "i686", "i386", None])
def test_a_recording_of_x86_is_one_by_its_machine_and_its_fields(machine: str | None) -> None:
    host = {} if machine is None else {"arch": machine}
    for event in ("kvm_exit", "kvm_entry"):
        assert isinstance(arch.for_recording(facts(kind(event), **host)), X86)
    assert arch.for_recording(facts(kind("kvm_msr"), **host)) is None
    assert arch.for_recording(facts(**host)) is None


@pytest.mark.parametrize("machine", ["aarch64", "s390x", "ppc64le", "riscv64", "i8086", "x"])
def test_a_recording_of_another_machine_is_not_read_as_x86(machine: str) -> None:
    assert arch.for_recording(facts(kind("kvm_exit"), kind("kvm_entry"), arch=machine)) is None


def test_a_kvm_exit_with_the_fields_of_another_machine_is_not_read_as_x86() -> None:
    fields = "\tfield:unsigned int ret;\toffset:8;\tsize:4;\tsigned:0;\n"
    common = format_text("kvm", "kvm_exit").split("\n\tfield:unsigned int exit_reason")[0]
    other = kind("kvm_exit", f'{common}\n{fields}\nprint fmt: "%d", REC->ret\n')
    assert arch.for_recording(facts(other)) is None


def test_an_event_that_lacks_the_field_of_its_role_has_none() -> None:
    common, _ = format_text("kvm", "kvm_msr").split("\n\tfield:unsigned write")
    bare = kind(
        "kvm_msr", f'{common}\n\tfield:u32 index;\toffset:8;\tsize:4;\tsigned:0;\n\nprint fmt: "%x", REC->index\n'
    )
    x86 = X86(facts(bare))
    assert x86.event_roles(bare) == (NO_ROLE,)
    assert x86.event_roles(kind("kvm_msr"))[0].role >= Role.DETAIL
    assert x86.event_roles(EventKind("other", "kvm_msr", kind("kvm_msr").format)) == (NO_ROLE,)


@pytest.mark.parametrize(
    ("isa", "code", "runs"),
    [(VMX, 20, True), (VMX, 24, True), (SVM, 0x80, True), (VMX, 0x80, False), (SVM, 20, False), (SVM, 0x400, False)],
)
def test_a_guest_runs_its_own_guest_by_these_instructions(isa: int, code: int, *, runs: bool) -> None:
    assert X86(facts()).enters_nested_guest(reason(isa, code)) is runs


def test_only_events_of_the_vcpus_own_thread_tell_which_one_it_runs() -> None:
    def told(event: str) -> bool:
        field = "\tfield:int vcpu_id;\toffset:8;\tsize:4;\tsigned:1;\n"
        common = format_text("kvm", "kvm_entry").split("\n\tfield:unsigned int vcpu_id")[0]
        event_kind = kind(event, f'{common.replace("kvm_entry", event)}\n{field}\nprint fmt: "%d", REC->vcpu_id\n')
        return X86(facts(event_kind)).tells_vcpu(event_kind)

    assert told("kvm_pvclock_update")
    assert told("kvm_vmgexit_enter")
    others = ("kvm_hv_stimer_callback", "kvm_hv_synic_set_irq", "kvm_pi_irte_update", "kvm_write_tsc_offset")
    assert not any(told(event) for event in (*others, "kvm_wait_lapic_expire"))


def test_details_of_events_inside_come_before_those_of_the_exit() -> None:
    events = [detail.event for detail in X86.details]
    first = events.index("kvm_exit")
    assert set(events[first:]) == {"kvm_exit"}
    assert events[:2] == ["kvm_vmgexit_enter", "kvm_vmgexit_msr_protocol_enter"]
    for index, event in enumerate(events[:first]):
        assert Role.DETAIL + index in {role.role for role in X86.roles["kvm", event]}
    assert [role.role for role in X86.roles["kvm", "kvm_exit"]] == [Role.EXIT]


def test_exits_that_a_sev_es_guest_asks_for_have_the_recordings_own_names() -> None:
    text = format_text("kvm", "kvm_exit").replace('{ 0x07b, "io" }', '{ 0x07b, "ioio" }')
    assert X86(facts(kind("kvm_exit", text))).detail_names("vmgexit")[0x7B] == "ioio"
    assert X86(facts()).detail_names("vmgexit")[0x7B] == "io"
    assert X86(facts()).detail_names("no such kind") == {}
