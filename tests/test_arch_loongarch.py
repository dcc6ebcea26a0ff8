"""What LoongArch makes of its tracepoints: exceptions, instructions that KVM carries out, waits, and vCPUs."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import damage
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_runs import Row, StoredRun, Thread, column, pick, stored

from benchmarks.recording_builder import Recording
from kvmtrace import arch
from kvmtrace.arch.arm64 import Arm64
from kvmtrace.arch.base import NO_ROLE, Reason, Role
from kvmtrace.arch.loongarch import LoongArch
from kvmtrace.arch.loongarch_names import EXCEPTIONS, INSTRUCTIONS, without_operands
from kvmtrace.arch.x86 import X86
from kvmtrace.exits.builder import ExitBuilder
from kvmtrace.formats.perf_data import PerfDataRecording
from kvmtrace.recording import EventKind, Facts
from kvmtrace.store.manifest import Manifest
from kvmtrace.tracepoints import parse_format

if TYPE_CHECKING:
    from kvmtrace.writers.tracepoint_records import FieldValue

HEAD = """\
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;
"""
SIZES = {
    "u8": 1,
    "bool": 1,
    "int": 4,
    "u32": 4,
    "__u32": 4,
    "unsigned int": 4,
    "u64": 8,
    "__u64": 8,
    "unsigned long": 8,
}


def text_of(name: str, number: int, fields: str, print_fmt: str) -> str:
    """Return a format text; fields are "type name, type name", one behind the other at their natural offsets."""
    lines, offset = [], 8
    for declared in fields.split(", "):
        c_type = declared.rpartition(" ")[0]
        size = SIZES[c_type]
        offset = -(-offset // size) * size
        lines.append(f"\tfield:{declared};\toffset:{offset};\tsize:{size};\tsigned:{int(c_type == 'int')};\n")
        offset += size
    return f"name: {name}\nID: {number}\nformat:\n{HEAD}\n{''.join(lines)}\nprint fmt: {print_fmt}\n"


def texts(kernel: str) -> dict[str, str]:
    """Return the format texts of a kernel: 6.7 without vCPUs, 6.18 with them, 7.1 with two more events."""
    vcpu = "" if kernel == "6.7" else "unsigned int vcpu_id, "
    told, argument = ("", "") if kernel == "6.7" else ("vcpu %u ", "REC->vcpu_id, ")
    names = '{ 64, "IDLE" }, { 65, "CACHE" }' + (', { 66, "CPUCFG" }, { 67, "CSR" }' if kernel == "7.1" else "")
    exits = f'"{told}[%s] PC: 0x%08lx", {argument}__print_symbolic(REC->reason, {names}), REC->pc'
    entries = f'"{told}PC: 0x%08lx", {argument}REC->pc'
    exit_fields = f"{vcpu}unsigned long pc, unsigned int reason"
    further = ["kvm_exit_idle", "kvm_exit_cache", *(["kvm_exit_cpucfg", "kvm_exit_csr"] if kernel == "7.1" else [])]
    word = f'"{told}Inst word: 0x%08x", {argument}REC->inst_word'
    found = {
        **dict.fromkeys(["kvm_exit", *further], (exit_fields, exits)),
        **dict.fromkeys(("kvm_enter", "kvm_reenter", "kvm_out"), (f"{vcpu}unsigned long pc", entries)),
        "kvm_exit_gspr": (f"{vcpu}unsigned int inst_word", word),
        "kvm_iocsr": ("u32 type, u32 len, u64 gpa, u64 val", '"iocsr gpa 0x%llx", REC->gpa'),
        "kvm_mmio": ("u32 type, u32 len, u64 gpa, u64 val", '"mmio gpa 0x%llx", REC->gpa'),
        "kvm_aux": ("unsigned long pc, u8 op, u8 state", '"PC: 0x%08lx", REC->pc'),
        "kvm_vcpu_wakeup": ("__u64 ns, bool waited, bool valid", '"%llu", REC->ns'),
        "kvm_halt_poll_ns": ("bool grow, unsigned int vcpu_id, unsigned int new", '"%u", REC->new'),
        "kvm_userspace_exit": ("__u32 reason, int errno", '"%d", REC->reason'),
    }
    return {name: text_of(name, 400 + n, *parts) for n, (name, parts) in enumerate(found.items())}


KERNELS = ("6.7", "6.18", "7.1")
FLIPPED = 40
"""Damaged copies of a recording."""
TEXTS = {kernel: texts(kernel) for kernel in KERNELS}
INTERRUPT, MEM_READ, MEM_STORE, FPU, GSPR, HYPERCALL = 0, 1, 2, 15, 22, 23
CPUCFG_WORD = 0x00006C00 | 12 << 5 | 13  # cpucfg t1, t0
CSRRD_WORD, CSRWR_WORD, CSRXCHG_WORD = (0x04000000 | 0x200 << 10 | rj << 5 | 12 for rj in (0, 1, 14))  # of PMCFG0
IOCSRRD_WORD, IOCSRWR_WORD = 0x06480800 | 4 << 5 | 12, 0x06481C00 | 4 << 5 | 12  # .w and .d
IDLE_WORD, CACOP_WORD, UNKNOWN_WORD = 0x06488000 | 3, 0x06000000 | 0x123 << 10 | 8, 0x0015_0000
CPUCFG, PMCFG0, IOCSR, IDLE, CACOP = 0x6C00, 0x04000000 | 0x200 << 10, 0x06480000, 0x06488000, 0x06000000
"""The words above without their operands."""
ONE = Thread()


def kind(name: str, kernel: str = "6.18", text: str | None = None) -> EventKind:
    return EventKind("kvm", name, parse_format(TEXTS[kernel][name] if text is None else text))


def facts(*kinds: EventKind, machine: str | None = "loongarch64") -> Facts:
    return Facts("perf.data", events=list(kinds), host={} if machine is None else {"arch": machine})


class LoongRecording(Recording):
    """A recording of LoongArch, whose events are told in one line each."""

    def __init__(self, kernel: str = "6.18", *, order: str = "<", without: tuple[str, ...] = ()) -> None:
        """Enable all events of `texts` but those of `without`."""
        super().__init__(cpuid="", arch="loongarch64", kernel=f"{kernel}.0", order=order)
        self.names: dict[str, bool] = {}
        for event, text in TEXTS[kernel].items():
            if event not in without:
                self.add_tracepoint("kvm", event, text)
                self.names[event] = "vcpu_id" in text

    def event(self, name: str, ts_ns: int, thread: Thread = ONE, **fields: FieldValue) -> None:
        """Add any event; one that names its vCPU has the thread's."""
        if self.names[name]:
            fields = {"vcpu_id": thread.vcpu, **fields}
        self.add_sample(name, ts_ns, cpu=thread.tid % 4, pid=thread.pid, tid=thread.tid, fields=fields)

    def exit(self, ts_ns: int, code: int, thread: Thread = ONE, *, word: int | None = None) -> None:
        """Leave the guest; 10 ns later KVM tells the instruction."""
        self.event("kvm_exit", ts_ns, thread, reason=code)
        if word is not None:
            self.event("kvm_exit_gspr", ts_ns + 10, thread, inst_word=word)

    def reenter(self, ts_ns: int, thread: Thread = ONE) -> None:
        """Enter the guest without a way to the VMM."""
        self.event("kvm_reenter", ts_ns, thread)


def details(run: StoredRun) -> list[tuple[Any, ...]]:
    """Return what is told of each exit's detail."""
    return [pick(row, "reason", "detail_kind", "detail", "detail_name", "detail_from") for row in run.exits()]


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_recording_of_loongarch_is_one_by_its_machine_and_its_fields(kernel: str) -> None:
    for event in ("kvm_exit", "kvm_enter", "kvm_reenter"):
        assert isinstance(arch.for_recording(facts(kind(event, kernel))), LoongArch)
    assert arch.for_recording(facts(kind("kvm_exit_gspr", kernel), kind("kvm_mmio", kernel))) is None


@pytest.mark.parametrize("machine", ["x86_64", "aarch64", "ppc64le", "s390x", "riscv64", "mips64"])
def test_a_recording_of_another_machine_is_not_read_as_loongarch(machine: str) -> None:
    kinds = [kind(event) for event in TEXTS["6.18"]]
    assert arch.for_recording(facts(*kinds, machine=machine)) is None


def test_without_a_machine_the_fields_tell_loongarch_from_mips() -> None:
    old = [kind(event, "6.7") for event in ("kvm_exit", "kvm_enter")]
    assert arch.for_recording(facts(*old, machine=None)) is None  # MIPS has the same
    gspr = kind("kvm_exit_gspr", "6.7")
    assert isinstance(arch.for_recording(facts(*old, gspr, machine=None)), LoongArch)
    assert isinstance(arch.for_recording(facts(kind("kvm_exit", "6.18"), machine=None)), LoongArch)


def test_a_kvm_exit_of_x86_or_arm64_is_none_of_loongarch() -> None:
    x86 = kind("kvm_exit", text=text_of("kvm_exit", 1, "unsigned int exit_reason, unsigned long guest_rip", '"%u", 1'))
    arm = kind(
        "kvm_exit", text=text_of("kvm_exit", 2, "int ret, unsigned int esr_ec, unsigned long vcpu_pc", '"%u", 1')
    )
    gspr = kind("kvm_exit_gspr")
    assert isinstance(arch.for_recording(facts(x86, gspr, machine=None)), X86)
    assert isinstance(arch.for_recording(facts(arm, gspr, machine=None)), Arm64)


def test_a_kvm_exit_without_a_reason_is_no_exit() -> None:
    bare = kind("kvm_exit", text=TEXTS["6.18"]["kvm_exit"].replace("int reason", "int cause"))
    assert LoongArch(facts(bare)).event_roles(bare) == (NO_ROLE,)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(
    ("code", "name"),
    [
        (INTERRUPT, "Interrupt"),
        (MEM_READ, "Mem Read"),
        (GSPR, "Privilege Error"),
        (HYPERCALL, "Hypercall"),
        (20, "BTD"),
        (63, "0x3f"),
        (64, "IDLE"),  # never a code of kvm_exit, but its print fmt has it
    ],
)
def test_an_exception_has_perfs_name(kernel: str, code: int, name: str) -> None:
    event = kind("kvm_exit", kernel)
    assert LoongArch(facts(event)).reason(event, None, code) == Reason("exception", code, name, idle=False)


@pytest.mark.parametrize("print_fmt", ["(((", '"%d", REC->pc'])
def test_a_print_fmt_without_names_leaves_ours(print_fmt: str) -> None:
    text = TEXTS["6.18"]["kvm_exit"].partition("print fmt:")[0] + f"print fmt: {print_fmt}\n"
    event = kind("kvm_exit", text=text)
    assert LoongArch(facts(event)).reason(event, None, GSPR).name == "Privilege Error"


@pytest.mark.parametrize(
    ("word", "instruction", "name"),
    [
        (CPUCFG_WORD, CPUCFG, "CPUCFG"),
        (CSRRD_WORD, PMCFG0, "CSR PMCFG0"),
        (CSRWR_WORD, PMCFG0, "CSR PMCFG0"),
        (CSRXCHG_WORD, PMCFG0, "CSR PMCFG0"),
        (0x04000000 | 0x3FFF << 10 | 5, 0x04000000 | 0x3FFF << 10, None),
        (0x04000000, 0x04000000, "CSR CRMD"),
        (IOCSRRD_WORD, IOCSR, "IOCSR"),
        (IOCSRWR_WORD, IOCSR, "IOCSR"),
        (IDLE_WORD, IDLE, "Idle"),
        (IDLE | 0x7FFF, IDLE, "Idle"),
        (CACOP_WORD, CACOP, "CACOP"),
        (0x06490000, 0x06490000, None),  # behind IDLE: something else
        (0x00006800 | 5, 0x00006800 | 5, None),  # before CPUCFG
        (0x05000000, 0x05000000, None),
        (UNKNOWN_WORD, UNKNOWN_WORD, None),
        (0xFFFFFFFF, 0xFFFFFFFF, None),
    ],
)
def test_an_instruction_is_told_without_its_operands(word: int, instruction: int, name: str | None) -> None:
    words = np.array([word, UNKNOWN_WORD], np.uint64)
    assert without_operands(words).tolist() == [instruction, UNKNOWN_WORD]
    assert words.tolist() == [word, UNKNOWN_WORD]
    assert INSTRUCTIONS.get(instruction) == name


def test_what_events_say_of_their_exit() -> None:
    loongarch = LoongArch(facts())
    said = {name: {r for role in loongarch.event_roles(kind(name)) for r in role.possible} for name in TEXTS["6.18"]}
    assert said["kvm_exit"] == {Role.EXIT}
    assert said["kvm_enter"] == said["kvm_reenter"] == {Role.ENTRY}
    assert said["kvm_exit_idle"] == {Role.IDLE}
    assert said["kvm_exit_gspr"] == {Role.DETAIL + 2, Role.OTHER, Role.IDLE}
    assert said["kvm_iocsr"] == {Role.DETAIL}
    assert said["kvm_mmio"] == {Role.DETAIL + 1}
    assert said["kvm_out"] == said["kvm_exit_cache"] == said["kvm_aux"] == {Role.OTHER}
    for name, roles in said.items():
        for role in roles - {Role.DETAIL + n for n in range(3)}:
            assert role < Role.DETAIL
        for role in roles - set(Role):
            assert LoongArch.details[role - Role.DETAIL].event == name


kernels = pytest.mark.parametrize("kernel", KERNELS)
both_orders = pytest.mark.parametrize("order", ["<", ">"], ids=["little endian", "big endian"])


@kernels
@both_orders
def test_each_kind_of_exit_lasts_until_the_next_entry_and_the_guest_ran_before(
    tmp_path: Path, kernel: str, order: str
) -> None:
    made = LoongRecording(kernel, order=order)
    made.event("kvm_enter", 1_000)
    made.exit(1_700, INTERRUPT)
    made.reenter(2_000)
    made.exit(2_900, GSPR, word=CPUCFG_WORD)
    made.reenter(3_500)
    made.exit(3_600, GSPR, word=IDLE_WORD)
    made.event("kvm_exit_idle", 3_620, reason=64)
    made.reenter(7_600)
    made.exit(8_000, GSPR, word=CSRXCHG_WORD)
    made.reenter(8_100)
    made.exit(8_300, GSPR, word=IOCSRWR_WORD)
    made.event("kvm_iocsr", 8_350, gpa=0x1040, type=2)
    made.event("kvm_out", 8_400)
    made.event("kvm_userspace_exit", 8_410, reason=38)
    made.event("kvm_enter", 9_410)
    made.exit(9_500, MEM_READ)
    made.event("kvm_mmio", 9_520, gpa=0x1001_0000)
    made.reenter(9_600)
    made.exit(9_700, GSPR, word=IDLE_WORD)
    run = stored(made, tmp_path)
    told = ("reason_code", "reason", "idle", "guest_ns", "latency_ns", "closed_by")
    assert [pick(row, *told) for row in run.exits()] == [
        (0, "Interrupt", False, 700, 300, "entry"),
        (22, "Privilege Error", False, 900, 600, "entry"),
        (22, "Privilege Error", True, 100, 4_000, "entry"),
        (22, "Privilege Error", False, 400, 100, "entry"),
        (22, "Privilege Error", False, 200, 1_110, "entry"),
        (1, "Mem Read", False, 90, 100, "entry"),
        (22, "Privilege Error", True, 100, None, "end"),
    ]
    assert set(column(run.exits(), "isa")) == {"exception"}
    word = "kvm_exit_gspr.inst_word"
    assert details(run) == [
        ("Interrupt", None, None, None, None),
        ("Privilege Error", "instruction", CPUCFG, "CPUCFG", word),
        ("Privilege Error", "instruction", IDLE, "Idle", word),
        ("Privilege Error", "instruction", PMCFG0, "CSR PMCFG0", word),
        ("Privilege Error", "iocsr", 0x1040, None, "kvm_iocsr.gpa"),
        ("Mem Read", "gpa", 0x1001_0000, None, "kvm_mmio.gpa"),
        ("Privilege Error", "instruction", IDLE, "Idle", word),
    ]
    assert column(run.exits(), "userspace") == [False] * 4 + [True, False, None]
    assert run.exits()[4]["userspace_ns"] == 1_000


@pytest.mark.parametrize("told_by", ["kvm_exit_gspr", "kvm_exit_idle"])
def test_either_event_of_a_wait_tells_it_and_without_both_none_is_told(tmp_path: Path, told_by: str) -> None:
    made = LoongRecording(without=tuple({"kvm_exit_gspr", "kvm_exit_idle"} - {told_by}))
    fields = {"inst_word": IDLE_WORD} if told_by == "kvm_exit_gspr" else {"reason": 64}
    made.exit(1_000, GSPR)
    made.event(told_by, 1_010, ONE, **fields)
    made.reenter(2_000)
    made.exit(3_000, GSPR)
    made.reenter(3_100)
    assert column(stored(made, tmp_path).exits(), "idle") == [True, False]


def test_a_wait_is_told_wherever_a_block_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PerfDataRecording.__init__, "__defaults__", (1 << 10,))  # bytes that are read at a time
    monkeypatch.setattr(ExitBuilder.__init__, "__defaults__", (2,))  # rows that are paired at a time
    made, turns = LoongRecording(), 40
    for start in range(1_000, 1_000 * (turns + 1), 1_000):
        made.exit(start, GSPR)
        made.add_round()
        made.event("kvm_exit_gspr", start + 10, inst_word=CPUCFG_WORD if start % 3_000 else IDLE_WORD)
        made.add_round()
        made.reenter(start + 500)
        made.add_round()
    rows = stored(made, tmp_path).exits()
    assert column(rows, "idle") == [(turn + 1) % 3 == 0 for turn in range(turns)]
    assert column(rows, "detail_name") == ["CPUCFG" if (turn + 1) % 3 else "Idle" for turn in range(turns)]
    assert set(column(rows, "latency_ns")) == {500}


def test_idle_exits_are_apart_in_the_latency_buckets(tmp_path: Path) -> None:
    made = LoongRecording()
    for start, word, ends in ((1_000, IDLE_WORD, 5_000), (6_000, CPUCFG_WORD, 6_100), (7_000, IDLE_WORD, 9_000)):
        made.exit(start, GSPR, word=word)
        made.reenter(ends)
    buckets = stored(made, tmp_path).table("latency_buckets").to_pylist()
    told = [pick(row, "idle", "detail_name", "n", "sum_ns") for row in buckets]
    assert sorted(told) == [(False, "CPUCFG", 1, 100), (True, "Idle", 1, 2_000), (True, "Idle", 1, 4_000)]
    assert {row["reason"] for row in buckets} == {"Privilege Error"}


def test_without_the_events_that_tell_it_a_detail_is_null(tmp_path: Path) -> None:
    made = LoongRecording(without=tuple(TEXTS["6.18"].keys() - {"kvm_exit", "kvm_reenter"}))
    made.exit(1_000, GSPR)
    made.reenter(1_500)
    row = stored(made, tmp_path).only_exit()
    assert pick(row, "detail_kind", "detail", "detail_name", "detail_from") == (None,) * 4
    assert pick(row, "userspace", "blocked_ns", "latency_ns", "vcpu") == (None, None, 500, 0)


def test_a_halt_is_told_as_everywhere(tmp_path: Path) -> None:
    made = LoongRecording()
    made.exit(2_000, GSPR, word=IDLE_WORD)
    made.event("kvm_vcpu_wakeup", 9_000, ns=6_500, waited=1)
    made.reenter(10_000)
    assert pick(stored(made, tmp_path).only_exit(), "idle", "blocked_ns", "latency_ns") == (True, 6_500, 8_000)


def test_what_has_no_name_shows_its_number(tmp_path: Path) -> None:
    made = LoongRecording()
    made.exit(1_000, 0x30)
    made.reenter(1_100)
    made.exit(2_000, GSPR, word=UNKNOWN_WORD)
    made.reenter(2_100)
    assert details(stored(made, tmp_path)) == [
        ("0x30", None, None, None, None),
        ("Privilege Error", "instruction", UNKNOWN_WORD, None, "kvm_exit_gspr.inst_word"),
    ]


@kernels
def test_a_vcpu_is_the_one_that_its_events_name_else_its_threads(tmp_path: Path, kernel: str) -> None:
    made = LoongRecording(kernel)
    thread = Thread(tid=105, vcpu=200)
    made.add_comm("CPU 3/KVM", tid=thread.tid)
    made.reenter(1_000, thread)
    made.exit(2_000, GSPR, thread, word=CPUCFG_WORD)
    made.reenter(3_000, thread)
    run = stored(made, tmp_path)
    vcpu = 3 if kernel == "6.7" else 200
    assert pick(run.only_exit(), "vcpu", "guest_ns", "latency_ns") == (vcpu, 1_000, 1_000)
    assert column(run.events("kvm_exit_gspr"), "vcpu") == [vcpu]
    rule = "thread's name" if kernel == "6.7" else "field vcpu_id of the event"
    assert any(rule in told for told in run.manifest.identity)


def test_a_thread_without_a_name_or_a_number_runs_what_its_halts_say(tmp_path: Path) -> None:
    made = LoongRecording("6.7")
    made.exit(1_000, GSPR, word=IDLE_WORD)
    made.event("kvm_halt_poll_ns", 1_050, Thread(vcpu=6), new=100)
    made.reenter(1_100)
    assert stored(made, tmp_path).only_exit()["vcpu"] == 6


def test_exits_that_lack_an_entry_have_no_latency(tmp_path: Path) -> None:
    made = LoongRecording()
    made.exit(1_000, INTERRUPT)
    made.exit(2_000, GSPR, word=IDLE_WORD)
    made.reenter(2_500)
    made.exit(3_000, GSPR, word=IDLE_WORD)
    rows = stored(made, tmp_path).exits()
    told = [pick(row, "closed_by", "latency_ns", "guest_ns", "suspect", "idle") for row in rows]
    assert told == [
        ("next_exit", None, None, True, False),
        ("entry", 500, None, False, True),
        ("end", None, 500, False, True),
    ]


@dataclass(frozen=True)
class Step:
    """An exit and the instruction that KVM tells of it, and what perf calls it if that is not lost."""

    code: int
    word: int | None
    key: str
    entry: str = "kvm_reenter"


STEPS = (
    Step(INTERRUPT, None, "Interrupt"),
    Step(MEM_STORE, None, "Mem Store", "kvm_enter"),
    Step(FPU, None, "FPU"),
    Step(HYPERCALL, None, "Hypercall"),
    Step(GSPR, CPUCFG_WORD, "CPUCFG"),
    Step(GSPR, CSRRD_WORD, "CSR"),
    Step(GSPR, CSRXCHG_WORD, "CSR"),
    Step(GSPR, IOCSRRD_WORD, "IOCSR", "kvm_enter"),
    Step(GSPR, IDLE_WORD, "Idle"),
    Step(GSPR, CACOP_WORD, "Others"),
    Step(GSPR, UNKNOWN_WORD, "Others"),
)
TURN_NS = 10_000
"""From one turn to the next. Rows that last longer span a lost exit, and one of two details: which one is a guess."""
Event = tuple[int, int, str, str, int]
"""Time, thread, event, field, value."""


def events_of(turns: list[tuple[int, Step, list[bool]]]) -> list[Event]:
    """Return the events of each turn of one of two threads, without those that were lost."""
    events: list[Event] = []
    for turn, (thread, step, lost) in enumerate(turns):
        told = [("kvm_exit", "reason", step.code)]
        told += [] if step.word is None else [("kvm_exit_gspr", "inst_word", step.word)]
        told += [(step.entry, "pc", 0)]
        start = TURN_NS * (turn + 1)
        events += [
            (start + 1_000 * n + 7 * turn, thread, *event) for n, event in enumerate(told) if not lost[n % len(lost)]
        ]
    return events


def perfs_name(word: int) -> str:
    """Return what event_gspr_get_key of perf makes of an instruction word."""
    if word >> 24 == 0 and word >> 10 == 0x1B:
        return "CPUCFG"
    if word >> 24 == 4:
        return "CSR"
    if word >> 24 == 6 and word >> 15 in (0xC90, 0xC91):
        return "IOCSR" if word >> 15 == 0xC90 else "Idle"
    return "Others"


def perfs_table(events: list[Event]) -> dict[str, list[int]]:
    """Follow tools/perf/builtin-kvm.c with the events of loongarch: times by row.

    A thread counts from its first kvm_enter on, not from a kvm_reenter.
    """
    table: dict[str, list[int]] = defaultdict(list)
    known: set[int] = set()
    start: dict[int, int] = {}
    key: dict[int, str] = {}
    for ts_ns, thread, event, _, value in events:
        if event in ("kvm_enter", "kvm_reenter"):
            if thread in known and thread in start and (lasted := ts_ns - start.pop(thread)) < TURN_NS:
                table[key[thread]].append(lasted)
            known |= {thread} if event == "kvm_enter" else set()
        elif thread in known:
            if event == "kvm_exit":
                start[thread] = ts_ns
            key[thread] = EXCEPTIONS[value] if event == "kvm_exit" else perfs_name(value)
    return table


def our_table(rows: list[Row], events: list[Event]) -> dict[str, list[int]]:
    entered: dict[int, int] = {}
    for ts_ns, thread, event, _, _ in events:
        if event == "kvm_enter":
            entered.setdefault(thread, ts_ns)
    table: dict[str, list[int]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row["entry_ts_ns"] or 0):
        if (row["latency_ns"] or TURN_NS) < TURN_NS and row["exit_ts_ns"] > entered.get(row["tid"], 1 << 62):
            name = row["reason"] if row["detail_kind"] is None else row["detail_name"] or "Others"
            table[name.partition(" PMCFG")[0].replace("CACOP", "Others")].append(row["latency_ns"])
    return table


turns_of_two_threads = st.lists(
    st.tuples(
        st.sampled_from([101, 102]),
        st.sampled_from(STEPS),
        st.lists(st.sampled_from([False, False, False, True]), min_size=1, max_size=3),
    ),
    max_size=20,
)


@settings(max_examples=60, deadline=None)
@given(turns_of_two_threads, st.sampled_from(KERNELS))
def test_rows_are_those_of_perf_kvm_stat_whatever_is_lost(
    turns: list[tuple[int, Step, list[bool]]], kernel: str
) -> None:
    events = [(1_000 + n, 101 + n, "kvm_enter", "pc", 0) for n in range(2)] + events_of(turns)
    made = LoongRecording(kernel)
    for ts_ns, tid, event, field, value in events:
        made.event(event, ts_ns, Thread(tid=tid, vcpu=tid - 101), **{field: value})
    with TemporaryDirectory() as folder:
        rows = stored(made, Path(folder)).exits()
    assert our_table(rows, events) == perfs_table(events)
    told = {row["exit_ts_ns"]: row["idle"] for row in rows if (row["latency_ns"] or TURN_NS) < TURN_NS}
    waits = [ts_ns for ts_ns, _, event, _, value in events if event == "kvm_exit_gspr" and value == IDLE_WORD]
    assert [ts_ns for ts_ns, idle in told.items() if idle and ts_ns + 1_000 not in waits] == []
    assert len(rows) == sum(event == "kvm_exit" for _, _, event, _, _ in events)


def test_nothing_lost_gives_the_rows_that_the_steps_are_called_by() -> None:
    events: list[Event] = [(1_000, 101, "kvm_enter", "pc", 0), *events_of([(101, step, [False]) for step in STEPS])]
    assert set(perfs_table(events)) == {step.key for step in STEPS}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(TEXTS["6.18"])), st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 32) - 1)),
        max_size=25,
    )
)
def test_any_values_in_any_order_are_stored(events: list[tuple[str, int, int]]) -> None:
    made = LoongRecording()
    made.reenter(0)
    for turn, (event, value, vcpu) in enumerate(events):
        own = [field for field in kind(event).format.own_fields if field.name != "vcpu_id"]
        fields = {field.name: value & ((1 << (8 * field.size - field.signed)) - 1) for field in own}
        made.event(event, 1_000 * turn, Thread(vcpu=vcpu), **fields)
    with TemporaryDirectory() as folder:
        run = stored(made, Path(folder))
        assert len(run.exits()) == sum(event == "kvm_exit" for event, _, _ in events)


def test_flipped_bits_end_in_rows_and_notes_or_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damage.keep_nothing(monkeypatch)
    made = LoongRecording()
    for turn, step in enumerate(STEPS):
        made.exit(1_000 * turn, step.code, word=step.word)
        made.event(step.entry, 1_000 * turn + 500)
    whole = made.write(tmp_path / "whole.data").read_bytes()
    rng = np.random.default_rng(len(whole))
    for turn in range(FLIPPED):
        flipped = bytearray(whole)
        for place in rng.integers(len(flipped), size=(1, 10, 100)[turn % 3]).tolist():
            flipped[place] ^= 1 << int(rng.integers(8))
        path = tmp_path / "flipped.data"
        path.write_bytes(flipped)
        found = damage.ingested(path, tmp_path)
        if isinstance(found, Manifest):
            damage.assert_accounted(found)
        else:
            assert "\n" not in found.message
