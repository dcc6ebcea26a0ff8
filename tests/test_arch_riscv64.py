"""What RISC-V makes of its tracepoints: causes, the guest's WFI, and addresses, on hosts of 64 and of 32 bits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from made_runs import StoredRun, pick, stored

from benchmarks.recording_builder import Recording
from kvmtrace import arch
from kvmtrace.arch.base import NO_ROLE, ExitDetail, Reason
from kvmtrace.arch.riscv64 import RiscV64
from kvmtrace.recording import EventKind, Facts
from kvmtrace.tracepoints import parse_format

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    from kvmtrace.writers.tracepoint_records import FieldValue

EXCEPTION, INTERRUPT, WFI, UNTOLD = range(4)
"""Groups of causes."""
INST_GUEST_PAGE_FAULT, LOAD_GUEST_PAGE_FAULT, VIRTUAL_INST_FAULT, STORE_GUEST_PAGE_FAULT = 20, 21, 22, 23
SUPERVISOR_SYSCALL, S_TIMER = 10, 5
WFI_INSTRUCTION, READ_OF_TIME = 0x10500073, 0xC0102573
IRQ_64 = 1 << 63
OWN_EVENTS = ("kvm_halt_poll_ns", "kvm_dirty_ring_exit")


def text_of(name: str, number: int, fields: dict[str, int]) -> str:
    """Return a format text of unsigned integers: their sizes by name."""
    lines, offset = [], 8
    for field, size in fields.items():
        c_type = {4: "unsigned int", 8: "unsigned long"}[size]
        lines.append(f"\tfield:{c_type} {field};\toffset:{offset};\tsize:{size};\tsigned:0;\n")
        offset += size
    return (
        f"name: {name}\nID: {number}\nformat:\n"
        "\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n"
        "\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n"
        "\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n"
        "\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n"
        f'\n{"".join(lines)}\nprint fmt: "{name} %lx", REC->{next(iter(fields))}\n'
    )


def exit_text(long_size: int = 8, without: str = "") -> str:
    names = ("sepc", "scause", "stval", "htval", "htinst")
    return text_of("kvm_exit", 1320, {name: long_size for name in names if name != without})


def kind(text: str) -> EventKind:
    parsed = parse_format(text)
    return EventKind("kvm", parsed.name, parsed)


def facts(*kinds: EventKind, machine: str | None = "riscv64") -> Facts:
    return Facts("perf.data", events=list(kinds), host={} if machine is None else {"arch": machine})


EXIT = kind(exit_text())
RISCV = RiscV64(facts(EXIT))


class Columns:
    """Fields of some events of one kind."""

    def __init__(self, **columns: NDArray[Any]) -> None:
        self._columns = columns

    def column(self, name: str) -> NDArray[Any]:
        return self._columns[name]

    def arrow(self) -> dict[str, pa.Array]:
        raise NotImplementedError


@pytest.mark.parametrize("dtype", [np.uint64, np.uint32, np.int64, np.int32])
def test_the_top_bit_of_the_cause_is_an_interrupt_whatever_its_width(dtype: type[np.integer[Any]]) -> None:
    top = 1 << (np.dtype(dtype).itemsize * 8 - 1)
    unsigned = np.dtype(dtype).str.replace("i", "u")
    causes = [(SUPERVISOR_SYSCALL, 0), (top | S_TIMER, 0), (top | 63, 0), (0, 0), (48, 0)]
    causes += [(VIRTUAL_INST_FAULT, value) for value in (WFI_INSTRUCTION, READ_OF_TIME, 0)]
    causes += [(top | VIRTUAL_INST_FAULT, WFI_INSTRUCTION), (LOAD_GUEST_PAGE_FAULT, WFI_INSTRUCTION)]
    scause, stval = (np.array(values, unsigned).view(dtype) for values in zip(*causes, strict=True))
    group, code = RISCV.reason_keys(EXIT, Columns(scause=scause, stval=stval))
    assert group is not None
    assert list(zip(group.tolist(), code.tolist(), strict=True)) == [
        (EXCEPTION, SUPERVISOR_SYSCALL),
        (INTERRUPT, S_TIMER),
        (INTERRUPT, 63),
        (EXCEPTION, 0),
        (EXCEPTION, 48),
        (WFI, VIRTUAL_INST_FAULT),
        (EXCEPTION, VIRTUAL_INST_FAULT),
        (UNTOLD, VIRTUAL_INST_FAULT),
        (INTERRUPT, VIRTUAL_INST_FAULT),
        (EXCEPTION, LOAD_GUEST_PAGE_FAULT),
    ]


@pytest.mark.parametrize(
    ("group", "code", "expected"),
    [
        (EXCEPTION, 10, Reason("exception", 10, "SUPERVISOR_SYSCALL", idle=False)),
        (EXCEPTION, 2, Reason("exception", 2, "INST_ILLEGAL", idle=False)),
        (EXCEPTION, 23, Reason("exception", 23, "STORE_GUEST_PAGE_FAULT", idle=False)),
        (EXCEPTION, 22, Reason("exception", 22, "VIRTUAL_INST_FAULT", idle=False)),
        (WFI, 22, Reason("exception", 22, "VIRTUAL_INST_FAULT", idle=True)),
        (EXCEPTION, 48, Reason("exception", 48, "0x30", idle=False)),
        (INTERRUPT, 5, Reason("interrupt", 5, "IRQ_S_TIMER", idle=False)),
        (INTERRUPT, 10, Reason("interrupt", 10, "IRQ_VS_EXT", idle=False)),
        (INTERRUPT, 22, Reason("interrupt", 22, "0x16", idle=False)),
    ],
)
def test_a_cause_is_named_as_the_kernel_names_it(group: int, code: int, expected: Reason) -> None:
    assert RISCV.reason(EXIT, group, code) == expected


@pytest.mark.parametrize(
    ("group", "code", "expected"),
    [
        (EXCEPTION, INST_GUEST_PAGE_FAULT, ExitDetail(1, left_shift=2)),
        (EXCEPTION, LOAD_GUEST_PAGE_FAULT, ExitDetail(1, left_shift=2)),
        (EXCEPTION, STORE_GUEST_PAGE_FAULT, ExitDetail(1, left_shift=2)),
        (EXCEPTION, VIRTUAL_INST_FAULT, ExitDetail(2)),
        (WFI, VIRTUAL_INST_FAULT, ExitDetail(2)),
        (UNTOLD, VIRTUAL_INST_FAULT, None),
        (EXCEPTION, SUPERVISOR_SYSCALL, None),
        (INTERRUPT, LOAD_GUEST_PAGE_FAULT, None),
        (INTERRUPT, VIRTUAL_INST_FAULT, None),
    ],
)
def test_what_the_exit_says_of_itself(group: int, code: int, expected: ExitDetail | None) -> None:
    assert RISCV.exit_detail(EXIT, RISCV.reason(EXIT, group, code)) == expected


def test_without_htval_a_guest_page_fault_has_no_address() -> None:
    bare = kind(exit_text(without="htval"))
    riscv = RiscV64(facts(bare))
    assert riscv.exit_detail(bare, riscv.reason(bare, EXCEPTION, LOAD_GUEST_PAGE_FAULT)) is None


@pytest.mark.parametrize("lacking", ["scause", "stval"])
def test_a_kvm_exit_without_a_cause_is_no_exit(lacking: str) -> None:
    bare = kind(exit_text(without=lacking))
    assert RISCV.event_roles(bare) == (NO_ROLE,)
    assert arch.for_recording(facts(bare)) is None


@pytest.mark.parametrize("machine", ["riscv64", "riscv32", "riscv", None])
@pytest.mark.parametrize("long_size", [8, 4])
def test_a_recording_of_riscv_is_one_by_its_machine_and_its_fields(machine: str | None, long_size: int) -> None:
    assert isinstance(arch.for_recording(facts(kind(exit_text(long_size)), machine=machine)), RiscV64)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64", "ppc64le"])
def test_a_recording_of_another_machine_is_not_read_as_riscv(machine: str) -> None:
    assert arch.for_recording(facts(EXIT, machine=machine)) is None


class RiscVRecording(Recording):
    """A recording of RISC-V, whose exits and entries are told in one line each."""

    def __init__(self, long_size: int = 8) -> None:
        super().__init__(cpuid="", arch=f"riscv{8 * long_size}")
        self.add_tracepoint("kvm", "kvm_exit", exit_text(long_size))
        self.add_tracepoint("kvm", "kvm_entry", text_of("kvm_entry", 1321, {"pc": long_size}))
        self.add_tracepoint("kvm", "kvm_mmio", text_of("kvm_mmio", 44, {"type": 4, "len": 4, "gpa": 8, "val": 8}))
        for number, event in enumerate(OWN_EVENTS):
            self.add_tracepoint("kvm", event, text_of(event, number, {"vcpu_id": 4, "new": 4}))

    def exit(self, ts_ns: int, scause: int, **fields: FieldValue) -> None:
        """Leave the guest."""
        self.add_sample("kvm_exit", ts_ns, fields={"scause": scause, **fields})

    def enter(self, ts_ns: int) -> None:
        """Enter the guest."""
        self.add_sample("kvm_entry", ts_ns)


def details(run: StoredRun) -> list[tuple[Any, ...]]:
    """Return what is told of each exit's detail."""
    return [pick(row, "reason", "detail_kind", "detail", "detail_name", "detail_from") for row in run.exits()]


@pytest.mark.parametrize("long_size", [8, 4])
def test_an_exit_lasts_until_the_next_entry_and_the_guest_ran_before(tmp_path: Path, long_size: int) -> None:
    made = RiscVRecording(long_size)
    made.enter(1_000)
    made.exit(1_700, SUPERVISOR_SYSCALL)
    made.enter(2_000)
    made.exit(2_900, 1 << (8 * long_size - 1) | S_TIMER)
    made.enter(3_500)
    made.exit(3_600, VIRTUAL_INST_FAULT, stval=WFI_INSTRUCTION)
    run = stored(made, tmp_path)
    assert [pick(row, "isa", "reason", "idle", "guest_ns", "latency_ns", "closed_by") for row in run.exits()] == [
        ("exception", "SUPERVISOR_SYSCALL", False, 700, 300, "entry"),
        ("interrupt", "IRQ_S_TIMER", False, 900, 600, "entry"),
        ("exception", "VIRTUAL_INST_FAULT", True, 100, None, "end"),
    ]


@pytest.mark.parametrize("long_size", [8, 4])
def test_the_address_of_a_fault_is_htval_and_has_two_bits_more_than_a_long(tmp_path: Path, long_size: int) -> None:
    """Not stval, which is an address of the guest's own page tables."""
    made = RiscVRecording(long_size)
    made.exit(1_000, LOAD_GUEST_PAGE_FAULT, htval=0xFFFFFFFF, stval=0x1003)
    made.enter(1_100)
    made.exit(2_000, STORE_GUEST_PAGE_FAULT, htval=0x4000001, stval=0x7000)
    made.enter(2_100)
    assert details(stored(made, tmp_path)) == [
        ("LOAD_GUEST_PAGE_FAULT", "gpa", 0x3FFFFFFFC, None, "kvm_exit.htval"),
        ("STORE_GUEST_PAGE_FAULT", "gpa", 0x10000004, None, "kvm_exit.htval"),
    ]


def test_an_mmio_event_counts_before_the_exits_own_address(tmp_path: Path) -> None:
    made = RiscVRecording()
    made.exit(1_000, LOAD_GUEST_PAGE_FAULT, htval=0x4000000)
    made.add_sample("kvm_mmio", 1_010, fields={"gpa": 0x10000002})
    made.enter(1_100)
    assert details(stored(made, tmp_path)) == [("LOAD_GUEST_PAGE_FAULT", "gpa", 0x10000002, None, "kvm_mmio.gpa")]


def test_a_virtual_instruction_has_its_word_where_the_processor_tells_it(tmp_path: Path) -> None:
    made = RiscVRecording()
    for start, stval in ((1_000, WFI_INSTRUCTION), (2_000, READ_OF_TIME), (3_000, 0)):
        made.exit(start, VIRTUAL_INST_FAULT, stval=stval)
        made.enter(start + 100)
    made.exit(4_000, IRQ_64 | VIRTUAL_INST_FAULT, stval=WFI_INSTRUCTION)
    run = stored(made, tmp_path)
    assert [row["idle"] for row in run.exits()] == [True, False, False, False]
    assert details(run) == [
        ("VIRTUAL_INST_FAULT", "instruction", WFI_INSTRUCTION, "WFI", "kvm_exit.stval"),
        ("VIRTUAL_INST_FAULT", "instruction", READ_OF_TIME, None, "kvm_exit.stval"),
        ("VIRTUAL_INST_FAULT", None, None, None, None),
        ("0x16", None, None, None, None),
    ]


@pytest.mark.parametrize("event", OWN_EVENTS)
def test_a_thread_runs_the_vcpu_that_its_own_events_name(tmp_path: Path, event: str) -> None:
    made = RiscVRecording()
    made.exit(1_000, VIRTUAL_INST_FAULT, stval=WFI_INSTRUCTION)
    made.add_sample(event, 1_050, fields={"vcpu_id": 3})
    made.enter(1_100)
    made.exit(2_000, SUPERVISOR_SYSCALL)
    assert [row["vcpu"] for row in stored(made, tmp_path).exits()] == [3, 3]
