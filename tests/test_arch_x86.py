"""What x86 makes of its tracepoints: reasons, idle exits, and exits that are followed by no entry."""

from __future__ import annotations

import pytest

from benchmarks.recording_builder import format_text
from kvmtrace import arch
from kvmtrace.arch.base import NO_ROLE, Reason, Role
from kvmtrace.arch.x86 import X86
from kvmtrace.recording import EventKind, Facts
from kvmtrace.tracepoints import parse_format

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
def test_a_reason_that_the_print_fmt_does_not_name_is_its_number(print_fmt: str) -> None:
    assert reason(VMX, 0x80000021, print_fmt).name == "0x21"


def test_an_isa_that_is_not_recorded_is_not_guessed() -> None:
    head = format_text("kvm", "kvm_exit").split("print fmt: ")[0]
    old = "\n".join(line for line in head.splitlines() if " isa;" not in line)
    text = (
        old
        + '\n\nprint fmt: "reason %s rip 0x%lx", __print_symbolic(REC->exit_reason, { 12, "hlt" }), REC->guest_rip\n'
    )
    exit_kind = kind("kvm_exit", text)
    x86 = X86(facts(exit_kind))
    assert x86.reason_fields(exit_kind) == {"exit_reason"}
    assert (x86.reason(exit_kind, None, 12).isa, x86.reason(exit_kind, None, 12).name) == (None, "hlt")


@pytest.mark.parametrize(
    ("kernel", "isa", "code", "reenters"),
    [
        ("5.7.19", VMX, 32, False),
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
