"""What arm64 makes of its tracepoints: reasons, details and vCPUs, in the layouts of kernels before and since 5.2."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from made_runs import Row, StoredRun, Thread, column, pick, stored

from benchmarks.recording_builder import Recording
from kvmtrace import arch
from kvmtrace.arch.arm64 import Arm64
from kvmtrace.arch.arm64_names import FORWARDED_REGISTERS, SYNDROME_REGISTER, SYSTEM_REGISTERS
from kvmtrace.arch.base import NO_ROLE, Reason
from kvmtrace.exits.builder import ExitBuilder
from kvmtrace.formats.perf_data import PerfDataRecording
from kvmtrace.recording import EventKind, Facts
from kvmtrace.tracepoints import parse_format

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    from kvmtrace.writers.tracepoint_records import FieldValue

COMMON = """\
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;
"""
CLASSES = '{ (0x00), "UNKNOWN" }, { (0x01), "WFx" }, { (0x16), "HVC64" }, { (0x17), "SMC64" }, { (0x18), "SYS64" }, '
CLASSES += '{ (0x20), "IABT_LOW" }, { (0x24), "DABT_LOW" }, { (0x2F), "SERROR" }'
TYPES = '{0, "IRQ" }, {1, "SERROR" }, {2, "TRAP" }, {0xbadca11, "HYP_GONE" }'
SIZES = {"bool": 1, "int": 4, "unsigned int": 4, "u32": 4, "u64": 8, "unsigned long": 8, "unsigned long long": 8}


def text_of(name: str, number: int, fields: str, print_fmt: str, long_size: int = 8) -> str:
    """Return a format text; fields are "type name, type name", one behind the other at their natural offsets."""
    lines, offset = [], 8
    for declared in fields.split(", "):
        c_type = declared.rpartition(" ")[0]
        size = long_size if c_type == "unsigned long" else SIZES[c_type]
        offset = -(-offset // size) * size
        lines.append(f"\tfield:{declared};\toffset:{offset};\tsize:{size};\tsigned:{int(c_type == 'int')};\n")
        offset += size
    return f"name: {name}\nID: {number}\nformat:\n{COMMON}\n{''.join(lines)}\nprint fmt: {print_fmt}\n"


def exit_text(types: str, classes: str, *, print_fmt: str | None = None, names: str = TYPES, long_size: int = 8) -> str:
    """Return the format text of kvm_exit with its two fields, and the names of exception types."""
    fields = f"int {types}, unsigned int {classes}, unsigned long vcpu_pc"
    symbols = f"__print_symbolic(REC->{types}, {names}), REC->{classes}, __print_symbolic(REC->{classes}, {CLASSES})"
    usual = f'"%s: HSR_EC: 0x%04x (%s), PC: 0x%016lx", {symbols}, REC->vcpu_pc'
    return text_of("kvm_exit", 61, fields, usual if print_fmt is None else print_fmt, long_size)


NEW, OLD = ("ret", "esr_ec"), ("idx", "exit_reason")
ENTRY = text_of("kvm_entry", 62, "unsigned long vcpu_pc", '"PC: 0x%016lx", REC->vcpu_pc')
EVENTS = {
    "kvm_handle_sys_reg": text_of("kvm_handle_sys_reg", 65, "unsigned long hsr", '"HSR 0x%08lx", REC->hsr'),
    "kvm_forward_sysreg_trap": text_of(
        "kvm_forward_sysreg_trap", 66, "u64 pc, u32 sysreg, bool is_read", '"%llx", REC->pc'
    ),
    "kvm_hvc_arm64": text_of(
        "kvm_hvc_arm64",
        71,
        "unsigned long vcpu_pc, unsigned long r0, unsigned long imm",
        '"HVC at 0x%lx", REC->vcpu_pc',
    ),
    "kvm_wfx_arm64": text_of(
        "kvm_wfx_arm64", 72, "unsigned long vcpu_pc, bool is_wfe", "\"guest executed wf%c\", REC->is_wfe ? 'e' : 'i'"
    ),
    "kvm_mmio": text_of("kvm_mmio", 44, "u32 type, u32 len, u64 gpa, u64 val", '"gpa 0x%llx", REC->gpa'),
    "kvm_guest_fault": text_of(
        "kvm_guest_fault",
        60,
        "unsigned long vcpu_pc, unsigned long hsr, unsigned long hxfar, unsigned long long ipa",
        '"ipa %#llx", REC->ipa',
    ),
    "kvm_get_timer_map": text_of(
        "kvm_get_timer_map", 50, "unsigned long vcpu_id, int direct_vtimer", '"VCPU: %ld", REC->vcpu_id'
    ),
    "kvm_halt_poll_ns": text_of("kvm_halt_poll_ns", 42, "u32 vcpu_id, u32 new", '"vcpu %u", REC->vcpu_id'),
    "kvm_dirty_ring_exit": text_of("kvm_dirty_ring_exit", 39, "int vcpu_id", '"vcpu %d", REC->vcpu_id'),
    "kvm_timer_update_irq": text_of(
        "kvm_timer_update_irq", 54, "unsigned long vcpu_id, u32 irq, int level", '"VCPU: %ld", REC->vcpu_id'
    ),
}

IRQ, SERROR, TRAP, ILLEGAL, HYP_GONE = 0, 1, 2, 3, 0xBADCA11
WFX, HVC64, SMC64, SYS64, DABT_LOW = 0x01, 0x16, 0x17, 0x18, 0x24


def kind(text: str) -> EventKind:
    parsed = parse_format(text)
    return EventKind("kvm", parsed.name, parsed)


def facts(*kinds: EventKind, machine: str | None = "aarch64") -> Facts:
    return Facts("perf.data", events=list(kinds), host={} if machine is None else {"arch": machine})


def reason(text: str, group: int, code: int) -> Reason:
    return Arm64(facts(kind(text))).reason(kind(text), group, code)


class Columns:
    """Fields of some events of one kind."""

    def __init__(self, **columns: NDArray[Any]) -> None:
        self._columns = columns

    def column(self, name: str) -> NDArray[Any]:
        return self._columns[name]

    def arrow(self) -> dict[str, pa.Array]:
        raise NotImplementedError


@pytest.mark.parametrize("layout", [OLD, NEW], ids=["4.19", "5.2"])
@pytest.mark.parametrize(
    ("group", "code", "expected"),
    [
        (TRAP, DABT_LOW, Reason("EC", 0x24, "DABT_LOW", idle=False)),
        (TRAP, 0x2F, Reason("EC", 0x2F, "SERROR", idle=False)),
        (TRAP, 0x00, Reason("EC", 0x00, "UNKNOWN", idle=False)),
        (TRAP, WFX, Reason("EC", 0x01, "WFx", idle=True)),
        (TRAP, 0x12, Reason("EC", 0x12, "HVC32", idle=False)),  # the kernel has no name for it
        (TRAP, 0x3F, Reason("EC", 0x3F, "0x3f", idle=False)),
        (IRQ, 0, Reason("exception", 0, "IRQ", idle=False)),
        (SERROR, 0, Reason("exception", 1, "SERROR", idle=False)),
        (ILLEGAL, 0, Reason("exception", 3, "ILLEGAL", idle=False)),  # the kernel has no name for it
        (HYP_GONE, 0, Reason("exception", 0xBADCA11, "HYP_GONE", idle=False)),
        (7, 0, Reason("exception", 7, "0x7", idle=False)),
        (0x7FFFFFFF, 0, Reason("exception", 0x7FFFFFFF, "0x7fffffff", idle=False)),  # -1
    ],
)
def test_a_reason_is_the_class_of_a_trap_else_the_type(
    layout: tuple[str, str], group: int, code: int, expected: Reason
) -> None:
    assert reason(exit_text(*layout), group, code) == expected


def test_what_a_trap_is_comes_from_the_recording() -> None:
    text = exit_text(*OLD, names='{0, "IRQ" }, {1, "TRAP" }')  # an old kernel
    assert reason(text, 1, WFX) == Reason("EC", WFX, "WFx", idle=True)
    assert reason(text, 2, 0) == Reason("exception", 2, "0x2", idle=False)


def test_the_recordings_own_names_count() -> None:
    text = exit_text(*NEW).replace('"DABT_LOW"', '"DATA_ABORT"').replace('"IRQ"', '"INTERRUPT"')
    assert reason(text, TRAP, DABT_LOW).name == "DATA_ABORT"
    assert reason(text, IRQ, 0).name == "INTERRUPT"


@pytest.mark.parametrize("print_fmt", ["(((", '"%d", REC->ret'])
def test_a_print_fmt_without_names_leaves_ours(print_fmt: str) -> None:
    text = exit_text(*NEW, print_fmt=print_fmt)
    assert reason(text, TRAP, DABT_LOW) == Reason("EC", 0x24, "DABT_LOW", idle=False)
    assert reason(text, IRQ, 0).name == "IRQ"


@pytest.mark.parametrize("layout", [OLD, NEW], ids=["4.19", "5.2"])
def test_an_exception_with_an_serror_is_that_exception(layout: tuple[str, str]) -> None:
    """Bit 31 of the type says that an SError came with it; the class of what is no trap means nothing."""
    exit_kind = kind(exit_text(*layout))
    arm64 = Arm64(facts(exit_kind))
    types = np.array([TRAP, TRAP - (1 << 31), IRQ, IRQ - (1 << 31), SERROR, HYP_GONE, -1], np.int32)
    classes = np.array([DABT_LOW, DABT_LOW, SYS64, SYS64, SYS64, SYS64, SYS64], np.uint32)
    group, code = arm64.reason_keys(exit_kind, Columns(**dict(zip(layout, (types, classes), strict=True))))
    assert group is not None
    assert group.tolist() == [TRAP, TRAP, IRQ, IRQ, SERROR, HYP_GONE, 0x7FFFFFFF]
    assert code.tolist() == [DABT_LOW, DABT_LOW, 0, 0, 0, 0, 0]
    assert arm64.reason_fields(exit_kind) == set(layout)


@pytest.mark.parametrize("machine", ["aarch64", "aarch64_be", "arm64", None])
def test_a_recording_of_arm64_is_one_by_its_machine_and_its_fields(machine: str | None) -> None:
    for text in (exit_text(*OLD), exit_text(*NEW), ENTRY):
        assert isinstance(arch.for_recording(facts(kind(text), machine=machine)), Arm64)
    assert arch.for_recording(facts(kind(EVENTS["kvm_mmio"]), machine=machine)) is None
    assert arch.for_recording(facts(machine=machine)) is None


@pytest.mark.parametrize("machine", ["armv7l", "x86_64", "riscv64"])
def test_a_recording_of_another_machine_is_not_read_as_arm64(machine: str) -> None:
    assert arch.for_recording(facts(kind(exit_text(*NEW)), kind(ENTRY), machine=machine)) is None


def test_32_bit_arm_is_told_by_the_size_of_its_program_counter() -> None:
    narrow = text_of("kvm_entry", 62, "unsigned long vcpu_pc", '"PC: 0x%08lx", REC->vcpu_pc', long_size=4)
    texts = (narrow, exit_text(*OLD, long_size=4))
    assert arch.for_recording(facts(*map(kind, texts), machine=None)) is None


def test_a_kvm_exit_without_a_reason_is_no_exit() -> None:
    bare = kind(text_of("kvm_exit", 61, "unsigned long vcpu_pc", '"PC: 0x%016lx", REC->vcpu_pc'))
    assert Arm64(facts(bare)).event_roles(bare) == (NO_ROLE,)


def test_every_register_has_one_name_and_every_name_one_register() -> None:
    assert all(value & SYNDROME_REGISTER == value for value in SYSTEM_REGISTERS)
    assert len(set(SYSTEM_REGISTERS.values())) == len(SYSTEM_REGISTERS)
    assert set(FORWARDED_REGISTERS.values()) == set(SYSTEM_REGISTERS.values())
    assert len(FORWARDED_REGISTERS) == len(SYSTEM_REGISTERS)
    assert all(re.fullmatch(r"[A-Z][A-Za-z0-9_]+", name) for name in SYSTEM_REGISTERS.values())


@pytest.mark.parametrize(
    ("op0", "op1", "crn", "crm", "op2", "name"),
    [
        (3, 0, 12, 11, 5, "ICC_SGI1R_EL1"),
        (3, 3, 14, 3, 1, "CNTV_CTL_EL0"),
        (3, 3, 14, 2, 2, "CNTP_CVAL_EL0"),
        (3, 0, 0, 4, 0, "ID_AA64PFR0_EL1"),
        (2, 0, 1, 0, 4, "OSLAR_EL1"),
        (2, 0, 0, 15, 7, "DBGWCR15_EL1"),
        (3, 3, 14, 11, 6, "PMEVCNTR30_EL0"),
        (3, 3, 14, 15, 7, "PMCCFILTR_EL0"),
        (3, 4, 1, 1, 0, "HCR_EL2"),
        (1, 0, 7, 14, 2, "DC_CISW"),
    ],
)
def test_a_register_is_named_by_its_encoding(op0: int, op1: int, crn: int, crm: int, op2: int, name: str) -> None:
    assert SYSTEM_REGISTERS[op0 << 20 | op2 << 17 | op1 << 14 | crn << 10 | crm << 1] == name
    assert FORWARDED_REGISTERS[op0 << 19 | op1 << 16 | crn << 12 | crm << 8 | op2 << 5] == name


class ArmRecording(Recording):
    """A recording of arm64, whose exits and entries are told in one line each."""

    def __init__(self, *events: str, layout: tuple[str, str] = NEW, order: str = "<") -> None:
        """Enable kvm_exit with the two fields of `layout`, kvm_entry and further events of `EVENTS`."""
        super().__init__(cpuid="0x00000000411fd070", arch="aarch64" if order == "<" else "aarch64_be", order=order)
        self.layout = layout
        self.add_tracepoint("kvm", "kvm_exit", exit_text(*layout))
        self.add_tracepoint("kvm", "kvm_entry", ENTRY)
        for event in events:
            self.add_tracepoint("kvm", event, EVENTS[event])

    def event(self, name: str, ts_ns: int, tid: int = 101, **fields: FieldValue) -> None:
        """Add any event."""
        self.add_sample(name, ts_ns, tid=tid, fields=fields)

    def exit(self, ts_ns: int, exception: int, trap: int = 0, tid: int = 101) -> None:
        """Leave the guest."""
        self.event("kvm_exit", ts_ns, tid, **dict(zip(self.layout, (exception, trap), strict=True)))

    def enter(self, ts_ns: int, tid: int = 101) -> None:
        """Enter the guest."""
        self.event("kvm_entry", ts_ns, tid)


def details(run: StoredRun) -> list[tuple[Any, ...]]:
    """Return what is told of each exit's detail."""
    return [pick(row, "reason", "detail_kind", "detail", "detail_name", "detail_from") for row in run.exits()]


@pytest.mark.parametrize("order", ["<", ">"], ids=["little endian", "big endian"])
@pytest.mark.parametrize("layout", [OLD, NEW], ids=["4.19", "5.2"])
def test_an_exit_lasts_until_the_next_entry_and_the_guest_ran_before(
    tmp_path: Path, layout: tuple[str, str], order: str
) -> None:
    made = ArmRecording(layout=layout, order=order)
    made.enter(1_000)
    made.exit(1_700, TRAP, DABT_LOW)
    made.enter(2_000)
    made.exit(2_900, IRQ, DABT_LOW)  # a class means nothing there
    made.enter(3_500)
    made.exit(3_600, TRAP, WFX)
    run = stored(made, tmp_path)
    assert [pick(row, "isa", "reason", "idle", "guest_ns", "latency_ns", "closed_by") for row in run.exits()] == [
        ("EC", "DABT_LOW", False, 700, 300, "entry"),
        ("exception", "IRQ", False, 900, 600, "entry"),
        ("EC", "WFx", True, 100, None, "end"),
    ]


def test_a_register_is_one_whatever_is_read_or_written_by_which_register_of_the_guest(tmp_path: Path) -> None:
    made = ArmRecording("kvm_handle_sys_reg")
    read_x10, write_x5, unnamed = 0x623A3157, 0x623A30B6, 0x623FF01E
    for start, hsr in ((1_000, read_x10), (2_000, write_x5), (3_000, unnamed)):
        made.exit(start, TRAP, SYS64)
        made.event("kvm_handle_sys_reg", start + 10, hsr=hsr)
        made.enter(start + 100)
    sgi = ("SYS64", "sysreg", 0x3A3016, "ICC_SGI1R_EL1", "kvm_handle_sys_reg.hsr")
    assert details(stored(made, tmp_path)) == [
        sgi,
        sgi,
        ("SYS64", "sysreg", unnamed & SYNDROME_REGISTER, None, "kvm_handle_sys_reg.hsr"),
    ]


def test_a_trap_that_goes_to_the_guests_hypervisor_has_its_register_by_linuxs_number(tmp_path: Path) -> None:
    made = ArmRecording("kvm_forward_sysreg_trap")
    made.exit(1_000, TRAP, SYS64)
    made.event("kvm_forward_sysreg_trap", 1_010, sysreg=3 << 19 | 3 << 16 | 14 << 12 | 2 << 8 | 1 << 5, is_read=1)
    made.enter(1_100)
    ((_, kind_of_detail, _, name, _),) = details(stored(made, tmp_path))
    assert (kind_of_detail, name) == ("forwarded_sysreg", "CNTP_CTL_EL0")


def test_a_function_is_the_low_half_of_x0_and_that_of_an_smc_is_not_recorded(tmp_path: Path) -> None:
    made = ArmRecording("kvm_hvc_arm64")
    for start, x0 in ((1_000, 0xC4000003), (2_000, 0xDEADBEEF_84000008), (3_000, 0x12345678)):
        made.exit(start, TRAP, HVC64)
        made.event("kvm_hvc_arm64", start + 10, r0=x0)
        made.enter(start + 100)
    made.exit(4_000, TRAP, SMC64)
    made.enter(4_100)
    assert details(stored(made, tmp_path)) == [
        ("HVC64", "smccc", 0xC4000003, "PSCI_CPU_ON", "kvm_hvc_arm64.r0"),
        ("HVC64", "smccc", 0x84000008, "PSCI_SYSTEM_OFF", "kvm_hvc_arm64.r0"),
        ("HVC64", "smccc", 0x12345678, None, "kvm_hvc_arm64.r0"),
        ("SMC64", None, None, None, None),
    ]


def test_wfi_and_wfe_are_one_reason_and_two_details(tmp_path: Path) -> None:
    made = ArmRecording("kvm_wfx_arm64")
    for start, is_wfe in ((1_000, 0), (2_000, 1)):
        made.exit(start, TRAP, WFX)
        made.event("kvm_wfx_arm64", start + 10, is_wfe=is_wfe)
        made.enter(start + 100)
    run = stored(made, tmp_path)
    assert column(run.exits(), "idle") == [True, True]
    assert details(run) == [
        ("WFx", "wfx", 0, "WFI", "kvm_wfx_arm64.is_wfe"),
        ("WFx", "wfx", 1, "WFE", "kvm_wfx_arm64.is_wfe"),
    ]


def test_the_address_of_an_access_counts_before_that_of_its_page(tmp_path: Path) -> None:
    made = ArmRecording("kvm_guest_fault", "kvm_mmio")
    made.exit(1_000, TRAP, DABT_LOW)
    made.event("kvm_guest_fault", 1_010, ipa=0x80A0000)
    made.event("kvm_mmio", 1_020, gpa=0x80A0014)
    made.enter(1_100)
    made.exit(2_000, TRAP, DABT_LOW)
    made.event("kvm_guest_fault", 2_010, ipa=0x41000000)
    made.enter(2_100)
    assert details(stored(made, tmp_path)) == [
        ("DABT_LOW", "gpa", 0x80A0014, None, "kvm_mmio.gpa"),
        ("DABT_LOW", "gpa", 0x41000000, None, "kvm_guest_fault.ipa"),
    ]


def pair(made: ArmRecording, ts_ns: int, tid: int) -> None:
    made.exit(ts_ns, TRAP, DABT_LOW, tid)
    made.enter(ts_ns + 100, tid)


def vcpus(rows: list[Row]) -> dict[int, set[int | None]]:
    """Return the vCPUs of each thread's exits."""
    return {tid: {row["vcpu"] for row in rows if row["tid"] == tid} for tid in {row["tid"] for row in rows}}


def test_a_thread_runs_the_vcpu_whose_timers_it_loads(tmp_path: Path) -> None:
    """Not one that it makes, nor one whose interrupt it raises."""
    made = ArmRecording("kvm_get_timer_map", "kvm_timer_update_irq")
    for vcpu in (0, 1, 2):
        made.event("kvm_get_timer_map", 10 * vcpu, 100, vcpu_id=vcpu)  # the main thread makes all
    for tid, vcpu in ((101, 2), (102, 1)):
        made.event("kvm_get_timer_map", 1_000 * tid, tid, vcpu_id=vcpu)
        made.event("kvm_timer_update_irq", 1_000 * tid + 50, tid, vcpu_id=0)
        pair(made, 1_000 * tid + 100, tid)
    run = stored(made, tmp_path)
    assert vcpus(run.exits()) == {101: {2}, 102: {1}}
    assert "vcpu: field vcpu_id of the thread's own kvm_get_timer_map" in run.manifest.identity


@pytest.mark.parametrize("event", ["kvm_halt_poll_ns", "kvm_dirty_ring_exit"])
def test_a_thread_runs_the_vcpu_that_its_own_events_name(tmp_path: Path, event: str) -> None:
    made = ArmRecording(event)
    made.exit(1_000, TRAP, WFX)
    made.event(event, 1_050, vcpu_id=3)
    made.enter(1_100)
    pair(made, 2_000, Thread().tid)
    assert vcpus(stored(made, tmp_path).exits()) == {101: {3}}


@pytest.mark.parametrize(("comm", "vcpu"), [("CPU 3/KVM", 3), ("kvm-vcpu-2", 2), ("fc_vcpu 5", 5)])
def test_a_thread_runs_the_vcpu_that_its_name_says(tmp_path: Path, comm: str, vcpu: int) -> None:
    made = ArmRecording()
    made.add_comm(comm, tid=Thread().tid)
    pair(made, 1_000, Thread().tid)
    run = stored(made, tmp_path)
    assert vcpus(run.exits()) == {101: {vcpu}}
    assert any("thread's name" in rule for rule in run.manifest.identity)


def test_threads_that_nothing_tells_apart_run_vcpus_in_the_order_of_their_coming(tmp_path: Path) -> None:
    made = ArmRecording()
    for start, tid in ((1_000, 102), (1_050, 101), (2_000, 101), (2_050, 102)):
        pair(made, start, tid)
    run = stored(made, tmp_path)
    assert vcpus(run.exits()) == {102: {0}, 101: {1}}
    assert any(rule.startswith("vcpu: inferred") for rule in run.manifest.identity)


def test_a_number_that_was_inferred_holds_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PerfDataRecording.__init__, "__defaults__", (1 << 10,))  # bytes that are read at a time
    monkeypatch.setattr(ExitBuilder.__init__, "__defaults__", (8,))  # rows that are paired at a time
    made = ArmRecording("kvm_halt_poll_ns")
    for turn in range(40):
        for tid in (101, 102):
            if turn >= 20:
                made.event("kvm_halt_poll_ns", 10_000 * turn + tid - 50, tid, vcpu_id=102 - tid)
            pair(made, 10_000 * turn + tid, tid)
        made.add_round()
    run = stored(made, tmp_path)
    assert {pick(row, "vm_id", "tid", "vcpu") for row in run.exits()} == {("100", 101, 0), ("100", 102, 1)}
