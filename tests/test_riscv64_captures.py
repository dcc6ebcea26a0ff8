"""Recordings of RISC-V's KVM: what perf prints of them, and what the guest did by its own count.

The guest runs loops of N turns, described in the README.txt beside each recording.
"""

from __future__ import annotations

import gzip
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from perf_oracle import SHARED, Recorded, kvm_stat_of, kvm_stat_table, report_stats, script_lines
from print_fmt_text import render
from test_against_perf import assert_same_lines, our_lines

if TYPE_CHECKING:
    from ingested import IngestedRecordings
    from test_against_perf import Rendering

    from kvmtrace.tracepoints import EventFormat, Values

CAPTURES = SHARED / "captures" / "riscv64"
ALL_EVENTS, EXITS_ONLY = "perf-record/perf.data", "perf-kvm-stat/perf.data.kvm"
RECORDINGS = (ALL_EVENTS, EXITS_ONLY)

pytestmark = pytest.mark.skipif(not CAPTURES.is_dir(), reason=f"{CAPTURES} is not there")
each_recording = pytest.mark.parametrize("name", RECORDINGS)

N = 100
"""Turns of each loop of the guest, as its command line says."""
MMIO_READ, MMIO_WRITE, LAST_WRITE = 0x10000000, 0x10000004, 0x10010000
"""Addresses that the guest uses and its VMM answers for."""
RAM = range(0x80000000, 0x84000000)


def behind_what_perfs_plugin_lacks(complaint: str) -> Rendering:
    """Return the text that this perf prints, whose plugin for kvm's events looks for fields of x86 first."""

    def text(event_format: EventFormat, values: Values) -> str:
        return complaint + render(event_format, values)

    return text


PERFS_OWN_TEXT: dict[str, Rendering] = {
    "kvm:kvm_entry": behind_what_perfs_plugin_lacks('CAN\'T FIND FIELD "vcpu_id"<CANT FIND FIELD rip>'),
    "kvm:kvm_exit": behind_what_perfs_plugin_lacks("<CANT FIND FIELD exit_reason>"),
}


def text_of(name: str, text: str) -> str:
    return gzip.decompress((CAPTURES / name).with_name(text).read_bytes()).decode()


def exits(ingested: IngestedRecordings, name: str, *columns: str) -> Counter[tuple[Any, ...]]:
    """Return how many exits have each combination of values in these columns."""
    table = ingested.table(CAPTURES / name, "exits")
    return Counter(zip(*(table[column].to_pylist() for column in columns), strict=True))


def test_every_recording_is_looked_at() -> None:
    assert {str(path.relative_to(CAPTURES)) for path in CAPTURES.glob("*/perf*data*")} == set(RECORDINGS)


@each_recording
def test_every_event_has_the_values_that_perf_prints(ingested: IngestedRecordings, name: str) -> None:
    ours = our_lines(ingested, Recorded(CAPTURES / name), PERFS_OWN_TEXT)
    perfs = script_lines(text_of(name, "perf-script.txt.gz"))
    assert_same_lines([line._replace(ts_ns=line.ts_ns // 1000 * 1000) for line in ours], perfs)


def test_every_event_has_the_time_that_perf_prints_in_ns(ingested: IngestedRecordings) -> None:
    perfs = text_of(ALL_EVENTS, "perf-script-ns.txt.gz")
    without_period = re.sub(r"(\.\d{9}:) +1 +(kvm:)", r"\1 \2", perfs)
    ours = list(our_lines(ingested, Recorded(CAPTURES / ALL_EVENTS), PERFS_OWN_TEXT))
    assert_same_lines(ours, script_lines(without_period))


@each_recording
def test_every_event_is_counted_as_the_readme_counts_it(ingested: IngestedRecordings, name: str) -> None:
    readme = (CAPTURES / name).with_name("README.txt").read_text()
    section = readme.partition("Events in perf-script.txt ")[2].partition("\n\n")[0]
    counted = {event: int(n) for n, event in re.findall(r"^ +(\d+) (\w+)$", section, re.MULTILINE)}
    manifest = ingested.manifest(CAPTURES / name)
    assert {t.event: t.rows for t in manifest.tracepoints if t.rows} == counted
    assert exits(ingested, name, "isa").total() == counted["kvm_exit"]


def test_every_record_is_counted_as_perf_counts_it(ingested: IngestedRecordings) -> None:
    stats = report_stats(Recorded(CAPTURES / ALL_EVENTS).text("perf-report-stats") or "")
    manifest = ingested.manifest(CAPTURES / ALL_EVENTS)
    assert manifest.records == stats.records
    assert {f"{t.system}:{t.event}": t.samples for t in manifest.tracepoints if t.samples} == stats.samples


@each_recording
def test_exits_have_the_reasons_that_the_guest_gave(ingested: IngestedRecordings, name: str) -> None:
    reasons = exits(ingested, name, "isa", "reason_code", "reason", "idle")
    assert reasons["exception", 10, "SUPERVISOR_SYSCALL", False] == 6 * N
    assert reasons["exception", 22, "VIRTUAL_INST_FAULT", True] == N
    assert reasons["exception", 21, "LOAD_GUEST_PAGE_FAULT", False] == N + 1  # and one of the program
    assert reasons["exception", 23, "STORE_GUEST_PAGE_FAULT", False] == 2 * N + 1
    assert reasons["exception", 20, "INST_GUEST_PAGE_FAULT", False] == 1
    assert reasons.total() == 10 * N + 3 + reasons["interrupt", 5, "IRQ_S_TIMER", False]


@each_recording
def test_every_exit_but_the_last_ends_with_an_entry(ingested: IngestedRecordings, name: str) -> None:
    closed_by = exits(ingested, name, "closed_by", "suspect")
    assert closed_by == {("entry", False): closed_by.total() - 1, ("end", False): 1}


@pytest.mark.parametrize("which", ["kvmstat-vmexit", "kvmstat-vmexit-vcpu0"])
def test_times_in_the_guest_are_those_of_perf_kvm_stat(ingested: IngestedRecordings, which: str) -> None:
    """On RISC-V perf measures from kvm_entry to kvm_exit, knows no interrupt, and says 0.00us for a vCPU's minima."""
    perfs = kvm_stat_table((CAPTURES / EXITS_ONLY).with_name(f"{which}.txt").read_text())
    table = ingested.table(CAPTURES / EXITS_ONLY, "exits")
    rows = zip(*(table[column].to_pylist() for column in ("isa", "reason", "guest_ns")), strict=True)
    told = [("UNKNOWN" if isa == "interrupt" else reason, ns) for isa, reason, ns in rows if ns is not None]
    names, times = [name for name, _ in told], [ns for _, ns in told]
    assert kvm_stat_of(names, times, 0 if which.endswith("vcpu0") else None) == perfs


@each_recording
def test_a_guest_page_fault_has_its_address(ingested: IngestedRecordings, name: str) -> None:
    faults = exits(ingested, name, "reason", "detail_kind", "detail", "detail_from")
    faults = Counter({fault: n for fault, n in faults.items() if "GUEST_PAGE_FAULT" in fault[0]})
    assert {fault[1::2] for fault in faults} == {("gpa", "kvm_exit.htval")}
    assert faults["LOAD_GUEST_PAGE_FAULT", "gpa", MMIO_READ, "kvm_exit.htval"] == N
    assert faults["STORE_GUEST_PAGE_FAULT", "gpa", MMIO_WRITE, "kvm_exit.htval"] == N
    assert faults["STORE_GUEST_PAGE_FAULT", "gpa", LAST_WRITE, "kvm_exit.htval"] == 1
    in_memory = {fault[2]: n for fault, n in faults.items() if fault[2] in RAM}
    assert len(in_memory) == sum(in_memory.values()) == N + 2  # the guest's code, its data, and the fresh pages
    assert faults.total() == sum(in_memory.values()) + 2 * N + 1


def test_exits_go_to_the_vmm_where_it_answers(ingested: IngestedRecordings) -> None:
    goes = exits(ingested, ALL_EVENTS, "userspace", "detail")
    assert {detail: n for (userspace, detail), n in goes.items() if userspace} == {
        MMIO_READ: N,
        MMIO_WRITE: N,
        LAST_WRITE: 1,
    }
    assert {userspace for userspace, _ in goes} == {True, False}


@each_recording
def test_a_guest_that_waits_is_idle_and_its_instruction_is_the_detail(ingested: IngestedRecordings, name: str) -> None:
    instructions = exits(ingested, name, "reason", "idle", "detail_kind", "detail", "detail_name", "detail_from")
    assert {told: n for told, n in instructions.items() if told[2] == "instruction" or told[1]} == {
        ("VIRTUAL_INST_FAULT", True, "instruction", 0x10500073, "WFI", "kvm_exit.stval"): N
    }


def test_what_an_sbi_call_or_an_interrupt_was_about_is_not_recorded(ingested: IngestedRecordings) -> None:
    details = exits(ingested, ALL_EVENTS, "reason", "detail", "detail_kind", "detail_from")
    nothing = {reason for reason, *rest in details if rest == [None] * 3}
    assert nothing == {"SUPERVISOR_SYSCALL", "IRQ_S_TIMER"}


@pytest.mark.parametrize(
    ("name", "rule"), [(ALL_EVENTS, "vcpu: field vcpu_id of the thread's own kvm_"), (EXITS_ONLY, "vcpu: inferred")]
)
def test_the_vcpu_is_told_or_said_to_be_inferred(ingested: IngestedRecordings, name: str, rule: str) -> None:
    assert exits(ingested, name, "vcpu").keys() == {(0,)}
    assert any(said.startswith(rule) for said in ingested.manifest(CAPTURES / name).identity)
