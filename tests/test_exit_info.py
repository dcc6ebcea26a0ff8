"""What kvm_exit's own fields say of an x86 exit: its detail, where nothing inside gives one, and what a query tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from made_runs import HLT, IO, MSR, ONE, SVM, VMX, KvmRecording, Row, pick, stored
from perf_oracle import bundled_one

from benchmarks.recording_builder import AMD, Recording, format_text
from kvmtrace import queries
from kvmtrace.arch.x86_exit_info import EXIT_DETAILS, REASONS, told_by_exit
from kvmtrace.store.connection import StoreConnection

if TYPE_CHECKING:
    from pathlib import Path

    from ingested import IngestedRecordings
    from made_runs import StoredRun

DETAIL = ("detail_kind", "detail", "detail_name", "detail_from")
INFO1, INFO2, INTR_INFO, REASON = (f"kvm_exit.{name}" for name in ("info1", "info2", "intr_info", "exit_reason"))
NOTHING = (None, None, None, None)
FULL = {"isa", "info1", "info2", "intr_info", "error_code"}

Told = tuple[int, dict[str, int], tuple[Any, ...]]
# Reason, fields of kvm_exit, and the detail. Bits that are not the detail's are set, so that each mask is needed.
VMX_EXITS: list[Told] = [
    (0, {"info1": 0x7F0012345000, "intr_info": 0x80000B0E, "info2": 0xFF}, ("vector", 14, "#PF", INTR_INFO)),
    (0, {"intr_info": 0x80000202}, ("vector", 2, "NMI", INTR_INFO)),
    (1, {"intr_info": 0x800000EC}, ("vector", 0xEC, None, INTR_INFO)),
    (9, {"info1": 3 << 30 | 0x28}, ("selector", 0x28, None, INFO1)),
    (14, {"info1": 0xFFFF_8880_1234_5678}, ("gva", 0xFFFF_8880_1234_5678, None, INFO1)),
    (28, {"info1": 0x1004}, ("cr", 4, "CR4", INFO1)),
    (28, {"info1": 0x33_0030}, ("cr", 0, "CR0", INFO1)),  # LMSW
    (29, {"info1": 0x71F}, ("dr", 7, "DR7", INFO1)),
    (30, {"info1": 0x03F8_0048}, ("port", 0x3F8, "COM1 data", INFO1)),
    (30, {"info1": 0xFFFF_003B}, ("port", 0xFFFF, None, INFO1)),
    (44, {"info1": 0x10B0}, ("apic", 0xB0, "APIC_EOI", INFO1)),
    (45, {"info1": 0x1_0000_0031}, ("vector", 0x31, None, INFO1)),
    (56, {"info1": 0x1_0000_0300}, ("apic", 0x300, "APIC_ICR", INFO1)),
    (84, {"info1": 0x1_0000_0010}, ("msr", 0x10, "IA32_TIME_STAMP_COUNTER", INFO1)),
    (85, {"info1": 0x6E0}, ("msr", 0x6E0, "IA32_TSC_DEADLINE", INFO1)),
    (0x8000_0000 | 30, {"info1": 0x0064_0008}, ("port", 0x64, "keyboard status", INFO1)),
    (48, {"info1": 0x182, "info2": 0x1000}, NOTHING),  # the address is in no field
    (49, {"info1": 0x182, "info2": 0x1000}, NOTHING),
    (32, {"info1": 0x10}, NOTHING),  # the MSR is in a register of the guest
    (12, {"info1": 1}, NOTHING),
    (7, {}, NOTHING),
]
SVM_EXITS: list[Told] = [
    (0x00, {}, ("cr", 0, "CR0", REASON)),
    (0x14, {"info1": 1 << 63}, ("cr", 4, "CR4", REASON)),
    (0x27, {}, ("dr", 7, "DR7", REASON)),
    (0x30, {}, ("dr", 0, "DR0", REASON)),
    (0x46, {}, ("vector", 6, "#UD", REASON)),
    (0x4D, {}, ("vector", 13, "#GP", REASON)),
    (0x4E, {"info1": 2, "info2": 0x7F0012345678}, ("gva", 0x7F0012345678, None, INFO2)),
    (0x65, {}, ("cr", 0, "CR0", REASON)),
    (0x7B, {"info1": 0x03F9_0221}, ("port", 0x3F9, "COM1 IER", INFO1)),
    (0x7D, {"info1": 0x7_0030, "info2": 1 << 36}, ("selector", 0x30, None, INFO1)),
    (0x8F, {}, ("msr", 0xC0000080, "MSR_EFER", REASON)),
    (0x98, {}, ("cr", 8, "CR8", REASON)),
    (0x400, {"info1": 1 << 32 | 4, "info2": 0xFEE000B0}, ("gpa", 0xFEE000B0, "APIC_EOI", INFO2)),
    (0x400, {"info2": 0x8000_0000_0000_0FFF}, ("gpa", 0x8000_0000_0000_0FFF, None, INFO2)),
    (0x401, {"info1": 0x200_0000_08FD, "info2": 1 << 32}, ("vector", 0xFD, None, INFO1)),
    (0x402, {"info1": 1 << 32 | 0x380, "info2": 5}, ("apic", 0x380, "APIC_TMICT", INFO1)),
    (0x7C, {"info1": 1}, NOTHING),
    (0x79, {"info1": 0x1000}, NOTHING),  # an address only where the processor has decode assists
    (0x78, {}, NOTHING),
    (0x60, {}, NOTHING),
    (0xFFFF_FFFF, {}, NOTHING),
]


def run_of(folder: Path, isa: int, exits: list[Told], *events: str) -> StoredRun:
    """Return a run whose exits, 1 us apart, last 100 ns, 200 ns, 300 ns, …."""
    made = KvmRecording(*events, isa=isa)
    for number, (code, fields, _) in enumerate(exits, 1):
        made.exit(number * 100_000, code, ONE, **fields)
        made.enter(number * 100_000 + 100 * number)
    return stored(made, folder)


@pytest.mark.parametrize(("isa", "exits"), [(VMX, VMX_EXITS), (SVM, SVM_EXITS)], ids=["VMX", "SVM"])
def test_an_exit_says_itself_what_it_was_about(tmp_path: Path, isa: int, exits: list[Told]) -> None:
    rows = run_of(tmp_path, isa, exits).exits()
    assert [(f"{code:#x}", *pick(row, *DETAIL)) for (code, *_), row in zip(exits, rows, strict=True)] == [
        (f"{code:#x}", *expected) for code, _, expected in exits
    ]


def test_what_an_event_inside_says_counts_before_what_the_exit_says(tmp_path: Path) -> None:
    made = KvmRecording("kvm_pio", "kvm_page_fault", isa=VMX)
    made.exit(1_000, 30, info1=0x03F8_0048)
    made.event("kvm_pio", 1_100, port=0x60)
    made.enter(2_000)
    made.exit(3_000, 30, info1=0x03F8_0048)
    made.enter(4_000)
    made.exit(5_000, 0, intr_info=0x80000B0E, info1=0x5000)
    made.event("kvm_page_fault", 5_100, fault_address=0x5000)
    made.enter(6_000)
    assert [pick(row, *DETAIL[::3], "detail") for row in stored(made, tmp_path).exits()] == [
        ("port", "kvm_pio.port", 0x60),
        ("port", INFO1, 0x3F8),
        ("gva", "kvm_page_fault.fault_address", 0x5000),
    ]


@pytest.mark.parametrize(
    ("isa", "code", "fields", "field"),
    [
        ("VMX", 0, FULL, "intr_info"),
        ("VMX", 0, {"info1", "info2"}, "info2"),  # before 5.10 info2 is the interruption information
        ("VMX", 0, set(), None),
        ("VMX", 1, {"info1", "info2"}, None),  # these kernels may not acknowledge interrupts on exit
        ("VMX", 30, {"isa"}, None),
        ("SVM", 0x4E, FULL, "info2"),
        ("SVM", 0x4E, set(), "exit_reason"),
        ("SVM", 0x400, set(), None),
        ("isa 3", 30, FULL, None),
        (None, 30, FULL, None),
    ],
)
def test_what_an_exit_says_hangs_on_the_fields_that_its_kernel_records(
    isa: str | None, code: int, fields: set[str], field: str | None
) -> None:
    told = told_by_exit(isa, code, fields)
    assert (told and told.detail.field) == field


def test_every_detail_of_an_exit_is_of_kvm_exit_and_named_once() -> None:
    assert {detail.event for detail in EXIT_DETAILS} == {"kvm_exit"}
    assert len(set(EXIT_DETAILS)) == len(EXIT_DETAILS)


@pytest.mark.parametrize(
    ("isa", "code", "name"),
    [("VMX", 0, "EXCEPTION_NMI"), ("VMX", 85, "MSR_WRITE_IMM"), ("SVM", 0x1_8, "write_cr8"), ("SVM", 0x53, "XF excp")],
)
def test_our_names_of_reasons_are_those_of_the_kernel(isa: str, code: int, name: str) -> None:
    assert REASONS[isa][code] == name


# Reason, fields, and what the query says: subject, access_kind, size_bytes, flags.
VMX_QUALIFIED: list[Told] = [
    (30, {"info1": 0x03F8_0000}, ("port 0x3f8", "write", 1, None)),
    (30, {"info1": 0x03F8_0039}, ("port 0x3f8", "read", 2, "string, rep")),
    (30, {"info1": 0xCFC_0043}, ("port 0xcfc", "write", 4, None)),
    (28, {"info1": 0x003}, ("CR3", "write", None, None)),
    (28, {"info1": 0x718}, ("CR8", "read", None, None)),
    (28, {"info1": 0x20}, ("CR0", "CLTS", None, None)),
    (28, {"info1": 0x8_0030}, ("CR0", "LMSW", None, None)),
    (29, {"info1": 0x007}, ("DR7", "write", None, None)),
    (29, {"info1": 0x316}, ("DR6", "read", None, None)),
    (9, {"info1": 0x8000_0028}, ("task 0x28", "JMP", None, None)),
    (9, {"info1": 0xC000_0028}, ("task 0x28", "task gate", None, None)),
    (31, {}, (None, "read", None, None)),
    (44, {"info1": 0x10B0}, ("APIC 0xb0", "write", None, None)),
    (44, {"info1": 0x3300}, ("APIC 0x300", "event delivery", None, None)),
    (44, {"info1": 0xF300}, ("APIC 0x300", None, None, None)),
    (48, {"info1": 0x181}, (None, "read", None, "not present")),
    (48, {"info1": 0x1AA}, (None, "write", None, "present")),
    (48, {"info1": 0x194}, (None, "fetch", None, "present")),
    (48, {"info1": 0x1A5}, (None, "read, fetch", None, "present")),
    (48, {"info1": 0x083}, (None, "read, write", None, "not present, in page walk")),
    (48, {"info1": 0x004}, (None, "fetch", None, "not present, without linear address")),
    (56, {"info1": 0x300}, ("APIC 0x300", "write", None, None)),
    (85, {"info1": 0x6E0}, ("MSR 0x6e0", "write", None, None)),
    (0x8000_0021, {"info1": 2}, (None, None, None, None)),
    (0x8000_001D, {"info1": 0x005}, ("DR5", "write", None, None)),
]
SVM_QUALIFIED: list[Told] = [
    (0x03, {}, ("CR3", "read", None, None)),
    (0x13, {}, ("CR3", "write", None, None)),
    (0x27, {}, ("DR7", "read", None, None)),
    (0x37, {}, ("DR7", "write", None, None)),
    (0x65, {}, ("CR0", "write", None, None)),
    (0x94, {}, ("CR4", "write", None, None)),
    (0x90, {}, ("CR0", "write", None, None)),
    (0x7B, {"info1": 0x03F8_0010}, ("port 0x3f8", "write", 1, None)),
    (0x7B, {"info1": 0x03F8_002D}, ("port 0x3f8", "read", 2, "string, rep")),
    (0x7B, {"info1": 0x0CFC_0041}, ("port 0xcfc", "read", 4, None)),
    (0x7C, {"info1": 1}, (None, "write", None, None)),
    (0x7D, {"info1": 0x30, "info2": 1 << 36}, ("task 0x30", "IRET", None, None)),
    (0x7D, {"info1": 0x30, "info2": 1 << 38}, ("task 0x30", "JMP", None, None)),
    (0x7D, {"info1": 0x30}, ("task 0x30", "CALL or task gate", None, None)),
    (0x4E, {"info1": 0x7}, (None, "write", None, "present, user")),
    (0x400, {"info1": 1 << 32 | 0x4}, (None, "read", None, "not present, user")),
    (0x400, {"info1": 1 << 33 | 0x7}, (None, "write", None, "present, user, in page walk")),
    (0x400, {"info1": 1 << 32 | 0x8000_0015}, (None, "fetch", None, "present, user, RMP")),
    (0x400, {"info1": 0xD}, (None, "read", None, "present, user, reserved bit")),
    (0x401, {"info1": 0xFD, "info2": 1 << 32}, ("vector 0xfd", None, None, "target not running")),
    (0x402, {"info1": 1 << 32 | 0x380}, ("APIC 0x380", "write", None, None)),
    (0x402, {"info1": 0x39F}, ("APIC 0x390", "read", None, None)),
    (0x81, {}, (None, None, None, None)),
]
QUALIFIED = ("subject", "access_kind", "size_bytes", "flags")


def answer(store: Path, name: str, **parameters: object) -> list[Row]:
    with StoreConnection(store) as connection:
        result = queries.run(connection, queries.load(name), parameters)
    return [dict(zip(result.names, row, strict=True)) for row in result.rows]


@pytest.mark.parametrize(
    ("isa", "name", "exits"), [(VMX, "VMX", VMX_QUALIFIED), (SVM, "SVM", SVM_QUALIFIED)], ids=["VMX", "SVM"]
)
def test_the_query_tells_what_the_info_fields_say(tmp_path: Path, isa: int, name: str, exits: list[Told]) -> None:
    run_of(tmp_path, isa, exits)
    rows = answer(tmp_path / "store", "exit-qualification")
    assert {row["isa"] for row in rows} == {name}
    assert {row["exits"] for row in rows} == {1}
    by_latency = sorted(rows, key=lambda row: row["max_ns"])  # the exits last longer one by one
    assert [pick(row, *QUALIFIED) for row in by_latency] == [expected for *_, expected in exits]


def test_the_query_counts_equal_exits_together_and_times_those_that_can_be(tmp_path: Path) -> None:
    made = KvmRecording()
    for ts_ns, latency_ns in ((1_000, 100), (2_000, 200), (3_000, 600)):
        made.exit(ts_ns, IO, info1=0x03F8_0010)
        made.enter(ts_ns + latency_ns)
    made.exit(4_000, IO, info1=0x03F8_0010)
    made.exit(5_000, HLT)
    made.enter(1_000_005_000 - 4_000)
    stored(made, tmp_path)
    assert len(answer(tmp_path / "store", "exit-qualification", top=1)) == 1
    io, hlt = answer(tmp_path / "store", "exit-qualification")
    assert pick(io, "reason", "subject", "exits", "rate_per_s", "timed") == ("io", "port 0x3f8", 4, 4.0, 3)
    assert pick(io, "avg_ns", "max_ns") == (300.0, 600)
    assert pick(hlt, "reason", "exits", "timed") == ("hlt", 1, 1)


def test_a_recording_without_info_fields_has_exits_of_which_nothing_is_told(tmp_path: Path) -> None:
    made = Recording(cpuid=AMD, kernel="2.6.32")
    for event in ("kvm_exit", "kvm_entry"):
        made.add_tracepoint("kvm", event, format_text("kvm", event, "2.6.32"))
    made.add_sample("kvm_exit", 1_000, fields={"exit_reason": MSR})
    made.add_sample("kvm_entry", 2_000)
    stored(made, tmp_path)
    (row,) = answer(tmp_path / "store", "exit-qualification")
    assert pick(row, "isa", "reason", *QUALIFIED, "exits") == ("SVM", "msr", None, None, None, None, 1)


# What kvm_exit says of exits, and whether an event inside says the same (rows in which both stand).
SAID_TWICE = {
    "kvm_pio": (
        "io",
        "k.info1 >> 16 & 65535 = e.port AND (k.info1 & 1 = 0) = (e.rw <> 0) AND k.info1 >> 4 & 7 = e.size",
    ),
    "kvm_page_fault": ("npf", "k.info2 = e.fault_address AND k.info1 = e.error_code"),
}


@pytest.mark.parametrize("event", SAID_TWICE)
def test_a_real_recording_says_the_same_in_kvm_exit_and_in_the_event_inside(
    ingested: IngestedRecordings, event: str
) -> None:
    run_id = ingested.manifest(bundled_one("kut-vmexit-smp1").path).run_id
    reason, same = SAID_TWICE[event]
    statement = (
        f"SELECT count(*), count(*) FILTER ({same}) FROM kvm_exit AS k "  # noqa: S608 - from the table above
        f"JOIN {event} AS e USING (run_id, exit_id) JOIN exits AS x USING (run_id, exit_id) "
        f"WHERE run_id = '{run_id}' AND x.reason = '{reason}'"
    )
    with StoreConnection(ingested.store) as connection:
        ((both, equal),) = connection.query(statement).rows
    assert both == equal > 100


# Exits of a guest and of its guest: time, reason, kvm_nested_vmexit, kvm_nested_vmexit_inject, latency.
NESTED_EXITS = [
    (1_000, 24, False, False, 500),  # VMRESUME: runs the guest's guest
    (2_000, 48, True, False, 100),
    (3_000, 48, True, False, 300),
    (4_000, 48, True, True, 700),
    (5_000, 12, True, True, 900),
    (6_000, 24, False, True, 50),  # an interrupt came: handed back before the guest's guest ran
    (7_000, 32, False, False, 60),
]


def test_exits_of_a_guests_guests_are_told_by_who_handled_them(tmp_path: Path) -> None:
    made = KvmRecording("kvm_nested_vmexit", "kvm_nested_vmexit_inject", isa=VMX)
    for ts_ns, reason, second, handed, latency_ns in NESTED_EXITS:
        made.exit(ts_ns, reason)
        if second:
            made.event("kvm_nested_vmexit", ts_ns + 10, exit_reason=reason, isa=VMX)
        if handed:
            made.event("kvm_nested_vmexit_inject", ts_ns + 20, exit_code=reason, isa=VMX)
        made.enter(ts_ns + latency_ns)
    made.exit(8_000, 48)
    made.event("kvm_nested_vmexit", 8_010)
    made.add_sample("kvm_entry", 1_000_001_000, tid=999, fields={"vcpu_id": 5})  # ends the second
    run = stored(made, tmp_path)
    assert [pick(row, "nested", "reflected") for row in run.exits()] == [
        (1, False), (2, False), (2, False), (2, True), (2, True), (1, True), (1, False), (2, None),
    ]  # fmt: skip
    ept, hlt = answer(tmp_path / "store", "nested-exits")
    assert pick(ept, "reason", "idle", "exits", "rate_per_s", "untold") == ("EPT_VIOLATION", False, 4, 4.0, 1)
    assert pick(ept, "handled", "handled_ns", "handled_avg_ns", "handled_p99_ns", "handled_max_ns") == (
        2, 400, 200.0, 300, 300,
    )  # fmt: skip
    assert pick(ept, "reflected", "reflected_ns", "reflected_max_ns", "reflected_timed") == (1, 700, 700, 1)
    assert pick(hlt, "reason", "idle", "handled", "reflected", "reflected_avg_ns") == ("HLT", True, 0, 1, 900.0)


def test_who_handled_an_exit_is_null_where_that_was_not_recorded(tmp_path: Path) -> None:
    made = KvmRecording("kvm_nested_vmexit", isa=SVM)
    made.exit(1_000)
    made.event("kvm_nested_vmexit", 1_100)
    made.enter(2_000)
    stored(made, tmp_path)
    (row,) = answer(tmp_path / "store", "nested-exits")
    assert pick(row, "exits", "handled", "reflected", "untold", "handled_timed") == (1, None, None, 1, 0)


def test_a_guest_of_sev_es_says_why_it_left(tmp_path: Path) -> None:
    enter, protocol = "kvm_vmgexit_enter", "kvm_vmgexit_msr_protocol_enter"
    made = KvmRecording(enter, protocol, "kvm_msr", "kvm_pio")
    for ts_ns, event, fields in (
        (1_000, enter, {"exit_reason": 0x7B, "info1": 0x03F8_0010}),
        (2_000, enter, {"exit_reason": 0x8000_0010}),
        (3_000, enter, {"exit_reason": 0x8000_0018}),
        (4_000, protocol, {"ghcb_gpa": 0x1234_5000 | 0x014}),
        (5_000, protocol, {"ghcb_gpa": 0x0_0004 | 7 << 32}),
    ):
        made.exit(ts_ns, 0x403)
        made.event(event, ts_ns + 100, ONE, **fields)
        made.event("kvm_pio", ts_ns + 200, port=0x3F8)
        made.enter(ts_ns + 500)
    expected = [
        ("vmgexit", 0x7B, "io", "kvm_vmgexit_enter.exit_reason"),
        ("vmgexit", 0x8000_0010, "vmgexit_page_state_change", "kvm_vmgexit_enter.exit_reason"),
        ("vmgexit", 0x8000_0018, None, "kvm_vmgexit_enter.exit_reason"),
        ("ghcb_msr", 0x014, "page state change", "kvm_vmgexit_msr_protocol_enter.ghcb_gpa"),
        ("ghcb_msr", 0x004, "CPUID", "kvm_vmgexit_msr_protocol_enter.ghcb_gpa"),
    ]
    rows = stored(made, tmp_path).exits()
    assert [pick(row, "reason", *DETAIL) for row in rows] == [("vmgexit", *detail) for detail in expected]
