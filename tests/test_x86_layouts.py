"""The same exits as every kernel since 2.6.32 records them, in both byte orders and every form of perf.data."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from made_runs import HLT, IO, MSR, NPF, SVM, VMX, Row, StoredRun, column, pick, stored
from perf_oracle import HAS_PERF

from benchmarks.recording_builder import AMD, INTEL, Recording, format_text
from kvmtrace.tracepoints import parse_format
from kvmtrace.writers.perf_data_file import Form
from kvmtrace.writers.tracepoint_records import pack_fields

if TYPE_CHECKING:
    from pathlib import Path

    from kvmtrace.writers.tracepoint_records import FieldValue

KERNELS = ("2.6.32", "3.14", "5.4", "5.8", "5.10", "6.1", "6.13", "6.18")
DETAIL = ("detail_kind", "detail", "detail_name")
NOTHING = (None, None, None)


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel, and whose layout of kvm_entry it has where that is not its own's."""

    release: str
    entry: str = ""

    @property
    def has_isa(self) -> bool:
        return self.release != "2.6.32"

    @property
    def has_vcpu(self) -> bool:
        """Tell whether kvm_exit says the vCPU."""
        return self.release not in ("2.6.32", "3.14")

    @property
    def has_intr_info(self) -> bool:
        return self.has_vcpu and self.release not in ("5.4", "5.8")


class Machine(Recording):
    """A recording of kvm_exit and kvm_entry by one kernel; vCPU n runs in thread 101 + n."""

    def __init__(self, kernel: Kernel, isa: int, *, cpuid: str | None = None, order: str = "<") -> None:
        processor = (INTEL if isa == VMX else AMD) if cpuid is None else cpuid
        super().__init__(cpuid=processor, kernel=f"{kernel.release}.0-made", order=order)
        self.made_by, self.isa = kernel, isa
        self.add_tracepoint("kvm", "kvm_exit", format_text("kvm", "kvm_exit", kernel.release))
        self.add_tracepoint("kvm", "kvm_entry", format_text("kvm", "kvm_entry", kernel.entry or kernel.release))

    def exit(self, ts_ns: int, reason: int, vcpu: int = 0, *, cpu: int = 0, **info: int) -> None:
        """Leave the guest. `info`: info1, info2 and intr_info as kernels since 5.10 record them."""
        fields: dict[str, FieldValue] = {"exit_reason": reason, "guest_rip": 0xFFFF_FFFF_8100_0000 + ts_ns}
        if self.made_by.has_isa:
            told = dict(info)
            if not self.made_by.has_intr_info and (intr_info := told.pop("intr_info", 0)) and self.isa == VMX:
                told["info2"] = intr_info
            fields |= {"isa": self.isa, **told}
        if self.made_by.has_vcpu:
            fields["vcpu_id"] = vcpu
        self.add_sample("kvm_exit", ts_ns, cpu=cpu, tid=101 + vcpu, fields=fields)

    def enter(self, ts_ns: int, vcpu: int = 0, *, cpu: int = 0) -> None:
        """Enter the guest."""
        self.add_sample("kvm_entry", ts_ns, cpu=cpu, tid=101 + vcpu, fields={"vcpu_id": vcpu})


# Reason, info fields, latency, and what is known of the exit: code, name, idle, and its detail.
Story = list[tuple[int, dict[str, int], int, tuple[int, str, bool], tuple[Any, ...]]]
VMX_STORY: Story = [
    (10, {}, 900, (10, "CPUID", False), NOTHING),
    (30, {"info1": 0x03F8_0000}, 7_000, (30, "IO_INSTRUCTION", False), ("port", 0x3F8, "COM1 data")),
    (48, {"info1": 0x182}, 3_000, (48, "EPT_VIOLATION", False), NOTHING),
    (0, {"info1": 0x7F00_1000, "intr_info": 0x80000B0E}, 2_500, (0, "EXCEPTION_NMI", False), ("vector", 14, "#PF")),
    (28, {"info1": 0x004}, 1_200, (28, "CR_ACCESS", False), ("cr", 4, "CR4")),
    (32, {}, 800, (32, "MSR_WRITE", False), NOTHING),
    (12, {}, 90_000, (12, "HLT", True), NOTHING),
    (7, {}, 600, (7, "INTERRUPT_WINDOW", False), NOTHING),
    (56, {"info1": 0x0B0}, 700, (56, "APIC_WRITE", False), ("apic", 0xB0, "APIC_EOI")),
    (0x8000_0021, {"info1": 2}, 40_000, (33, "INVALID_STATE", False), NOTHING),
]
SVM_STORY: Story = [
    (0x72, {}, 900, (0x72, "cpuid", False), NOTHING),
    (0x7B, {"info1": 0x03F8_0210}, 7_000, (0x7B, "io", False), ("port", 0x3F8, "COM1 data")),
    (
        0x400,
        {"info1": 1 << 32 | 6, "info2": 0xFEE0_0300},
        3_000,
        (0x400, "npf", False),
        ("gpa", 0xFEE00300, "APIC_ICR"),
    ),
    (0x4E, {"info1": 2, "info2": 0x7F00_1000}, 2_500, (0x4E, "PF excp", False), ("gva", 0x7F001000, None)),
    (0x14, {}, 1_200, (0x14, "write_cr4", False), ("cr", 4, "CR4")),
    (0x7C, {"info1": 1}, 800, (0x7C, "msr", False), NOTHING),
    (0x78, {}, 90_000, (0x78, "hlt", True), NOTHING),
    (0x64, {}, 600, (0x64, "vintr", False), NOTHING),
    (0x402, {"info1": 0x3B0}, 700, (0x402, "avic_unaccelerated_access", False), ("apic", 0x3B0, None)),
    (0xFFFF_FFFF, {}, 40_000, (0xFFFF_FFFF, "invalid_guest_state", False), NOTHING),
]
STORIES = {VMX: VMX_STORY, SVM: SVM_STORY}
WITHOUT_INFO = {(SVM, 0x4E): ("vector", 14, "#PF")}
"""Details of exits by a kernel without info fields, where the reason alone tells one; `cr` is one of these."""


def told(machine: Machine, story: Story) -> Machine:
    """Let two vCPUs tell a story, the second 300 ns after the first and on another CPU."""
    for number, (reason, info, latency_ns, _, _) in enumerate(story):
        ts_ns = 1_000_000 + 100_000 * number
        for vcpu, late in ((0, 0), (1, 300)):
            machine.exit(ts_ns + late, reason, vcpu, cpu=vcpu, **info)
            machine.enter(ts_ns + late + latency_ns, vcpu, cpu=vcpu + 1)
    machine.add_round()
    return machine


def expected_detail(kernel: Kernel, isa: int, code: int, detail: tuple[Any, ...]) -> tuple[Any, ...]:
    if kernel.has_isa or (detail[0] == "cr" and isa == SVM):
        return detail
    return WITHOUT_INFO.get((isa, code), NOTHING)


def assert_tells(run: StoredRun, kernel: Kernel, isa: int) -> None:
    """Check each exit of a story that was told by a kernel."""
    rows = run.exits()
    story = STORIES[isa]
    assert len(rows) == 2 * len(story)
    for vcpu, late in ((0, 0), (1, 300)):
        own = [row for row in rows if row["vcpu"] == vcpu]
        assert column(own, "latency_ns") == [latency_ns for _, _, latency_ns, _, _ in story]
        assert column(own, "exit_ts_ns") == [1_000_000 + 100_000 * n + late for n in range(len(story))]
        assert column(own, "guest_ns") == [None, *(100_000 - latency_ns for _, _, latency_ns, _, _ in story[:-1])]
        assert [pick(row, "reason_code", "reason", "idle") for row in own] == [
            (
                code,
                "PENDING_INTERRUPT" if kernel.release in ("3.14", "5.4") and name == "INTERRUPT_WINDOW" else name,
                idle,
            )
            for _, _, _, (code, name, idle), _ in story
        ]
        assert [pick(row, *DETAIL) for row in own] == [
            expected_detail(kernel, isa, known[0], detail) for _, _, _, known, detail in story
        ]
        assert set(column(own, "tid")) == {101 + vcpu}
        assert {pick(row, "cpu", "entry_cpu", "closed_by", "suspect") for row in own} == {
            (vcpu, vcpu + 1, "entry", False)
        }
    assert set(column(rows, "isa")) == {{VMX: "VMX", SVM: "SVM"}[isa]}


@pytest.mark.parametrize("isa", [VMX, SVM], ids=["VMX", "SVM"])
@pytest.mark.parametrize("release", KERNELS)
def test_a_story_is_the_same_whichever_kernel_tells_it(tmp_path: Path, release: str, isa: int) -> None:
    kernel = Kernel(release)
    assert_tells(stored(told(Machine(kernel, isa), STORIES[isa]), tmp_path), kernel, isa)


@pytest.mark.parametrize("isa", [VMX, SVM], ids=["VMX", "SVM"])
@pytest.mark.parametrize(("release", "entry"), [("3.14", "5.10"), ("5.4", "6.18"), ("6.18", "3.14")])
def test_a_vendors_kernel_may_mix_the_layouts_of_several(tmp_path: Path, release: str, entry: str, isa: int) -> None:
    kernel = Kernel(release, entry)
    assert_tells(stored(told(Machine(kernel, isa), STORIES[isa]), tmp_path), kernel, isa)


@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize(("isa", "release"), [(VMX, "5.10"), (SVM, "3.14")], ids=["VMX", "SVM"])
def test_a_story_is_the_same_in_every_form_and_byte_order(
    tmp_path: Path, form: Form, order: str, isa: int, release: str
) -> None:
    kernel = Kernel(release)
    run = stored(told(Machine(kernel, isa, order=order), STORIES[isa]), tmp_path, form)
    assert_tells(run, kernel, isa)
    (tmp_path / "plain").mkdir()
    plain = stored(told(Machine(kernel, isa), STORIES[isa]), tmp_path / "plain")
    for event in ("kvm_exit", "kvm_entry"):
        assert run.events(event) == plain.events(event)
    assert run.exits() == plain.exits()


def test_without_isa_and_processor_no_reason_has_a_name(tmp_path: Path) -> None:
    rows = stored(told(Machine(Kernel("2.6.32"), VMX, cpuid=""), VMX_STORY), tmp_path).exits()
    assert {pick(row, "isa", "detail") for row in rows} == {(None, None)}
    first = [row for row in rows if row["vcpu"] == 0]
    assert column(first, "reason")[:2] == ["0xa", "0x1e"]
    assert [row["idle"] for row in first] == [known[2] for *_, known, _ in VMX_STORY]
    assert column(first, "latency_ns") == [latency_ns for _, _, latency_ns, _, _ in VMX_STORY]


def exits_of(machine: Machine, folder: Path) -> list[Row]:
    return stored(machine, folder).exits()


@pytest.mark.parametrize(
    ("release", "closed_by", "suspect"),
    [("5.8", "next_exit", False), ("5.10", "next_exit", False), ("5.4", "next_exit", True)],
)
def test_vmx_of_5_8_to_5_11_may_enter_again_without_an_entry(
    tmp_path: Path, release: str, closed_by: str, *, suspect: bool
) -> None:
    machine = Machine(Kernel(release), VMX)
    machine.enter(500)
    for ts_ns, reason in ((1_000, 32), (2_000, 52), (3_000, 32), (4_000, 30)):
        machine.exit(ts_ns, reason)
    machine.enter(5_000)
    rows = exits_of(machine, tmp_path)
    assert [pick(row, "closed_by", "suspect", "latency_ns") for row in rows[:3]] == [(closed_by, suspect, None)] * 3
    assert pick(rows[3], "closed_by", "suspect", "latency_ns", "guest_ns") == ("entry", False, 1_000, None)
    assert column(rows[:3], "guest_ns") == [500, None, None]


def test_on_these_kernels_other_reasons_are_followed_by_an_entry(tmp_path: Path) -> None:
    machine = Machine(Kernel("5.10"), VMX)
    for ts_ns, reason in ((1_000, 30), (2_000, 32)):
        machine.exit(ts_ns, reason)
    machine.enter(3_000)
    assert [pick(row, "closed_by", "suspect") for row in exits_of(machine, tmp_path)] == [
        ("next_exit", True), ("entry", False),
    ]  # fmt: skip


def test_svm_of_6_1_may_enter_twice_without_an_exit(tmp_path: Path) -> None:
    machine = Machine(Kernel("6.1"), SVM)
    machine.exit(1_000, NPF)
    for ts_ns in (2_000, 3_000, 4_000):
        machine.enter(ts_ns)
    machine.exit(9_000, MSR)
    machine.enter(9_500)
    run = stored(machine, tmp_path)
    assert [pick(row, "latency_ns", "guest_ns", "suspect") for row in run.exits()] == [
        (1_000, None, False), (500, 5_000, False),
    ]  # fmt: skip
    assert run.manifest.exits["entries_without_exit"] == 2


def test_the_vcpu_of_an_old_kernels_exit_is_that_of_its_thread(tmp_path: Path) -> None:
    machine = Machine(Kernel("3.14"), SVM)
    machine.exit(1_000, HLT, 3)
    machine.enter(2_000, 3)
    machine.exit(3_000, IO, 3, info1=0x0060_0010)
    assert [pick(row, "vcpu", "closed_by") for row in exits_of(machine, tmp_path)] == [(3, "entry"), (3, "end")]


@pytest.mark.parametrize("isa", [VMX, SVM], ids=["VMX", "SVM"])
@pytest.mark.parametrize("release", KERNELS[1:])
def test_every_kernel_tells_the_exits_of_a_guests_guest(tmp_path: Path, release: str, isa: int) -> None:
    machine = Machine(Kernel(release), isa)
    for event in ("kvm_nested_vmexit", "kvm_nested_vmexit_inject"):
        machine.add_tracepoint("kvm", event, format_text("kvm", event, release))
    run, fault = {VMX: (24, 48), SVM: (0x80, 0x400)}[isa]  # VMRESUME or vmrun, EPT_VIOLATION or npf
    for ts_ns, reason, events in (
        (1_000, run, []),
        (2_000, fault, ["kvm_nested_vmexit"]),
        (3_000, fault, ["kvm_nested_vmexit", "kvm_nested_vmexit_inject"]),
        (4_000, run, ["kvm_nested_vmexit_inject"]),  # an interrupt was pending: its guest did not run
        (5_000, fault, []),
    ):
        machine.exit(ts_ns, reason)
        for event in events:
            machine.add_sample(event, ts_ns + 10, fields={"isa": isa})
        machine.enter(ts_ns + 500)
    assert [pick(row, "nested", "reflected") for row in exits_of(machine, tmp_path)] == [
        (1, False), (2, False), (2, True), (1, True), (1, False),
    ]  # fmt: skip


@pytest.mark.parametrize("release", KERNELS)
def test_format_texts_are_laid_out_as_a_compiler_does(release: str) -> None:
    for event in ("kvm_exit", "kvm_entry"):
        parsed = parse_format(format_text("kvm", event, release))
        for field, following in pairwise(parsed.fields):
            assert field.offset % field.size == 0
            assert field.offset + field.size <= following.offset < field.offset + field.size + following.size


@pytest.mark.perf
@pytest.mark.skipif(not HAS_PERF, reason="perf is not installed")
@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
def test_perf_reads_what_the_writer_writes_in_either_byte_order(tmp_path: Path, order: str) -> None:
    machine = told(Machine(Kernel("5.8"), VMX, order=order), VMX_STORY[-1:])
    command = ["perf", "script", "--ns", "-F", "cpu,tid,time,event,trace", "-i", str(machine.write(tmp_path / "p"))]
    script = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True).stdout.decode()
    told_by_perf = [" ".join(line.split()) for line in script.splitlines()]
    rip = 0xFFFF_FFFF_8100_0000 + 1_000_000
    assert told_by_perf == [
        f"101 [000] 0.001000000: kvm:kvm_exit: vcpu 0 reason INVALID_STATE FAILED_VMENTRY rip {rip:#x} info 2 0",
        f"102 [001] 0.001000300: kvm:kvm_exit: vcpu 1 reason INVALID_STATE FAILED_VMENTRY rip {rip + 300:#x} info 2 0",
        "101 [001] 0.001040000: kvm:kvm_entry: vcpu 0",
        "102 [002] 0.001040300: kvm:kvm_entry: vcpu 1",
    ]


@pytest.mark.parametrize(("order", "raw"), [("<", "2a000000"), (">", "0000002a")])
def test_the_writer_writes_either_byte_order(order: str, raw: str) -> None:
    packed = pack_fields(parse_format(format_text("kvm", "kvm_entry", "3.14")), {"vcpu_id": 42}, order)
    assert packed[8:12].hex() == raw
    machine = Machine(Kernel("3.14"), SVM, order=order)
    machine.enter(5)
    assert machine.records[0][:8].hex() == {"<": "0900000001004800", ">": "0000000900010048"}[order]
