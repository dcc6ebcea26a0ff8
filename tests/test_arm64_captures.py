"""Recordings of arm64's KVM, with and without VHE: what perf prints of them, and what the guest did by its own count.

The guest runs loops of N turns on each vCPU, described in the README.txt beside each recording. perf keeps what was
sampled while a vCPU was loaded for guests: only `--guestmount` and `--guest-code` make `perf script` print it.
"""

from __future__ import annotations

import gzip
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from perf_oracle import SHARED, Recorded, ScriptLine, kvm_stat_of, kvm_stat_table, report_stats, script_lines
from print_fmt_text import LONG_SIZE, render
from test_against_perf import assert_same_lines, our_lines

from kvmtrace.store.connection import StoreConnection

if TYPE_CHECKING:
    from pathlib import Path

    from ingested import IngestedRecordings
    from test_against_perf import Rendering

    from kvmtrace.tracepoints import EventFormat, Values

CAPTURES = SHARED / "captures" / "arm64"
TEXTS = {
    "perf-kvm-stat/perf.data.kvm": "perf-script-guestmount.txt.gz",
    "perf-pipe-zstd/perf.pipe.data": "perf-script-pipe-guestmount.txt.gz",
    "perf-pipe-zstd/perf.zstd.data": "perf-script-zstd-guestmount.txt.gz",
    "perf-record-2vcpus/perf.data": "perf-script-guestmount.txt.gz",
    "perf-record-all/perf.data": "perf-script-guestmount.txt.gz",
    "vhe-perf-kvm-stat/perf.data.kvm": "perf-script-guestmount.txt.gz",
    "vhe-perf-record/perf.data": "perf-script-guestmount.txt.gz",
}
"""Each recording, and what perf script prints of it."""
ALL_EVENTS = [name for name in TEXTS if not name.endswith(".kvm")]
EXITS_ONLY = [name for name in TEXTS if name.endswith(".kvm")]

pytestmark = pytest.mark.skipif(not CAPTURES.is_dir(), reason=f"{CAPTURES} is not there")
each_recording = pytest.mark.parametrize("name", TEXTS)
each_of_all_events = pytest.mark.parametrize("name", ALL_EVENTS)

UNKNOWN_FUNCTION = 0xC600FF00
MMIO_READ, MMIO_WRITE, LAST_WRITE, GICD_TYPER = 0x09000000, 0x09000004, 0x09010000, 0x08000004
"""Addresses that the guest uses: three that its VMM answers for, and one that KVM does."""


def as_perf_parses_none(event_format: EventFormat, values: Values) -> str:
    """Return what libtraceevent prints where it cannot parse a print fmt: fields of a long or an address in hex."""
    texts = []
    for field in event_format.own_fields:
        value = values[field.name]
        assert isinstance(value, int)
        texts.append(f"{field.name}={value:#x}" if field.size == LONG_SIZE else f"{field.name}={value:d}")
    return f"[FAILED TO PARSE] {' '.join(texts)}"


def as_perf_takes_a_character(event_format: EventFormat, values: Values) -> str:
    """Return what libtraceevent 1.7 prints of a %c and behind it: no character, and 0 for the program counter."""
    return re.sub(r"wf[ie] at: 0x\w{16}$", f"wf>c< at: 0x{0:016}", render(event_format, values))


PERFS_OWN_TEXT: dict[str, Rendering] = {
    "kvm:kvm_sys_access": as_perf_parses_none,
    "kvm:kvm_wfx_arm64": as_perf_takes_a_character,
}


@dataclass(frozen=True, slots=True)
class Capture:
    """A recording, the text of perf script, and what its README says of the guest: turns of a loop, and vCPUs."""

    path: Path
    lines: list[ScriptLine]
    readme: str
    turns: int
    vcpus: int


def capture(name: str) -> Capture:
    path = CAPTURES / name
    readme = (path.parent / "README.txt").read_text()
    told = re.search(r"phases mask 0x3ff, N (\d+), vcpus (\d+)\n", readme)
    assert told
    text = gzip.decompress((path.parent / TEXTS[name]).read_bytes()).decode()
    return Capture(path, script_lines(text), readme, int(told[1]), int(told[2]))


def query(ingested: IngestedRecordings, name: str, sql: str) -> list[tuple[Any, ...]]:
    run_id = ingested.manifest(CAPTURES / name).run_id
    with StoreConnection(ingested.store) as connection:
        return connection.query(sql, {"run_id": run_id}).rows


def exits(ingested: IngestedRecordings, name: str, *columns: str) -> Counter[tuple[Any, ...]]:
    """Return how many exits have each combination of values in these columns."""
    table = ingested.table(CAPTURES / name, "exits")
    return Counter(zip(*(table[column].to_pylist() for column in columns), strict=True))


def test_every_recording_is_looked_at() -> None:
    assert {str(path.relative_to(CAPTURES)) for path in CAPTURES.glob("*/perf*data*")} == set(TEXTS)


@each_recording
def test_every_event_has_the_values_that_perf_prints(ingested: IngestedRecordings, name: str) -> None:
    told = capture(name)
    ours = our_lines(ingested, Recorded(told.path), PERFS_OWN_TEXT)
    assert_same_lines([line._replace(ts_ns=line.ts_ns // 1000 * 1000) for line in ours], told.lines)


@each_recording
def test_every_event_and_every_reason_is_counted_as_the_readme_counts_it(
    ingested: IngestedRecordings, name: str
) -> None:
    told = capture(name)
    text = TEXTS[name].removesuffix(".gz")
    section = told.readme.partition(f"Events in {text} ")[2].partition("\n\n")[0]
    counted = {event: int(n) for n, event in re.findall(r"^ +(\d+) (\w+)$", section, re.MULTILINE)}
    manifest = ingested.manifest(told.path)
    assert {t.event: t.rows for t in manifest.tracepoints if t.rows} == counted
    kinds = re.findall(r"^ +(\d+) exit=(\w+)\((\w+)\)", section, re.MULTILINE)
    reasons = {trap if exception == "TRAP" else exception: int(n) for n, exception, trap in kinds}
    assert sum(reasons.values()) == counted["kvm_exit"]
    assert {reason: n for (reason,), n in exits(ingested, name, "reason").items()} == reasons


@pytest.mark.parametrize("name", [name for name in ALL_EVENTS if "pipe-zstd" not in name])
def test_every_record_is_counted_as_perf_counts_it(ingested: IngestedRecordings, name: str) -> None:
    stats = report_stats(Recorded(CAPTURES / name).text("perf-report-stats") or "")
    manifest = ingested.manifest(CAPTURES / name)
    assert manifest.records == stats.records
    assert {f"{t.system}:{t.event}": t.samples for t in manifest.tracepoints if t.samples} == stats.samples


@each_recording
def test_an_exit_is_an_exception_class_of_a_trap_or_another_exception(ingested: IngestedRecordings, name: str) -> None:
    codes = exits(ingested, name, "isa", "reason_code", "reason", "idle")
    assert set(codes) == {
        ("EC", 0x01, "WFx", True),
        ("EC", 0x16, "HVC64", False),
        ("EC", 0x17, "SMC64", False),
        ("EC", 0x18, "SYS64", False),
        ("EC", 0x20, "IABT_LOW", False),
        ("EC", 0x24, "DABT_LOW", False),
        ("exception", 0, "IRQ", False),
    }


@each_recording
def test_every_exit_but_the_last_ends_with_an_entry(ingested: IngestedRecordings, name: str) -> None:
    told = capture(name)
    closed_by = exits(ingested, name, "closed_by")
    assert closed_by["end",] == told.vcpus
    assert closed_by.keys() == {("entry",), ("end",)}
    assert exits(ingested, name, "suspect").keys() == {(False,)}


@pytest.mark.parametrize("which", ["kvmstat-vmexit", "kvmstat-vmexit-vcpu0"])
@pytest.mark.parametrize("name", EXITS_ONLY)
def test_times_in_the_guest_are_those_of_perf_kvm_stat(ingested: IngestedRecordings, name: str, which: str) -> None:
    """On arm64 perf measures from kvm_entry to kvm_exit; of one vCPU (--vcpu) it prints 0.00us for all minima."""
    perfs = kvm_stat_table((CAPTURES / name).with_name(f"{which}.txt").read_text())
    rows = query(ingested, name, "SELECT reason, guest_ns FROM exits WHERE run_id = $run_id AND guest_ns IS NOT NULL")
    names, times = [row[0] for row in rows], [row[1] for row in rows]
    assert kvm_stat_of(names, times, 0 if which.endswith("vcpu0") else None) == perfs


@each_of_all_events
def test_hypercalls_are_named_by_their_function(ingested: IngestedRecordings, name: str) -> None:
    told = capture(name)
    n = told.turns * told.vcpus
    calls = exits(ingested, name, "reason", "detail_kind", "detail", "detail_name", "detail_from")
    assert {call[1:]: count for call, count in calls.items() if call[0] == "HVC64"} == {
        ("smccc", 0x84000000, "PSCI_VERSION", "kvm_hvc_arm64.r0"): n,
        ("smccc", UNKNOWN_FUNCTION, None, "kvm_hvc_arm64.r0"): n,
    }
    assert {call[1:]: count for call, count in calls.items() if call[0] == "SMC64"} == {(None,) * 4: n}


@each_of_all_events
def test_a_trapped_access_is_named_by_its_register(ingested: IngestedRecordings, name: str) -> None:
    told = capture(name)
    n = told.turns * told.vcpus
    accesses = exits(ingested, name, "reason", "detail_kind", "detail_name")
    assert {names[1:]: count for names, count in accesses.items() if names[0] == "SYS64"} == {
        ("sysreg", "ID_AA64PFR0_EL1"): n,
        ("sysreg", "ID_AA64MMFR0_EL1"): n,
        ("sysreg", "ICC_SGI1R_EL1"): n,
        ("sysreg", "DC_ISW"): n,
        ("sysreg", "MDSCR_EL1"): told.vcpus,
        ("sysreg", "OSLAR_EL1"): told.vcpus,
        ("sysreg", "OSLSR_EL1"): told.vcpus,
        ("sysreg", "DBGBVR0_EL1"): told.vcpus,
    }


@each_of_all_events
def test_the_register_is_the_one_that_kvm_looks_up(ingested: IngestedRecordings, name: str) -> None:
    """kvm_sys_access tells Op0, Op1, CRn, CRm and Op2 of what the syndrome of the same exit says."""
    rows = query(
        ingested,
        name,
        """
        SELECT e.detail, a.Op0, a.Op1, a.CRn, a.CRm, a.Op2 FROM exits AS e
        JOIN kvm_sys_access AS a ON a.run_id = e.run_id AND a.exit_id = e.exit_id
        WHERE e.run_id = $run_id AND e.detail_kind = 'sysreg'
        """,
    )
    assert len(rows) == sum(line.event == "kvm:kvm_sys_access" for line in capture(name).lines)
    for detail, *encoding in rows:
        fields = (detail >> 20 & 3, detail >> 14 & 7, detail >> 10 & 15, detail >> 1 & 15, detail >> 17 & 7)
        assert list(fields) == encoding


@each_of_all_events
def test_faults_have_their_address_and_go_to_the_vmm_where_it_answers(ingested: IngestedRecordings, name: str) -> None:
    told = capture(name)
    n = told.turns * told.vcpus
    faults = exits(ingested, name, "reason", "detail_kind", "detail", "detail_from", "userspace")
    assert {fault[:-1]: count for fault, count in faults.items() if fault[-1]} == {
        ("DABT_LOW", "gpa", MMIO_READ, "kvm_mmio.gpa"): n,
        ("DABT_LOW", "gpa", MMIO_WRITE, "kvm_mmio.gpa"): n,
        ("DABT_LOW", "gpa", LAST_WRITE, "kvm_mmio.gpa"): told.vcpus,
    }
    assert faults["DABT_LOW", "gpa", GICD_TYPER, "kvm_mmio.gpa", False] == n
    pages = {fault[2]: count for fault, count in faults.items() if fault[3] == "kvm_guest_fault.ipa"}
    assert all(page % 4096 == 0 for page in pages)
    assert set(pages.values()) == {1}  # the vCPUs use the same pages
    assert len(pages) == told.turns + sum("IABT_LOW" in line.text for line in told.lines)


@each_of_all_events
def test_a_guest_that_waits_is_idle_and_how_it_waits_is_the_detail(ingested: IngestedRecordings, name: str) -> None:
    told = capture(name)
    waits = exits(ingested, name, "idle", "detail_kind", "detail", "detail_name", "detail_from")
    idle = {wait[1:]: count for wait, count in waits.items() if wait[0]}
    assert idle == {("wfx", 0, "WFI", "kvm_wfx_arm64.is_wfe"): told.turns * told.vcpus}
    wakeups = sum(line.event == "kvm:kvm_vcpu_wakeup" for line in told.lines)
    (slept,) = query(
        ingested, name, "SELECT count(*) FROM exits WHERE run_id = $run_id AND blocked_ns + polled_ns > 0 AND NOT idle"
    )
    assert (wakeups, slept) == (told.turns * told.vcpus, (0,))


@each_of_all_events
def test_an_event_inside_an_exit_has_its_program_counter(ingested: IngestedRecordings, name: str) -> None:
    """kvm_wfx_arm64 tells it again; perf prints 0 there."""
    same = query(
        ingested,
        name,
        """
        SELECT count(*), count(*) FILTER (w.vcpu_pc = e.vcpu_pc AND w.vcpu_pc > 0) FROM kvm_wfx_arm64 AS w
        JOIN kvm_exit AS e ON e.run_id = w.run_id AND e.exit_id = w.exit_id WHERE w.run_id = $run_id
        """,
    )
    told = capture(name)
    assert same == [(told.turns * told.vcpus,) * 2]


@each_of_all_events
def test_interrupt_lines_move_while_the_vmm_answers(ingested: IngestedRecordings, name: str) -> None:
    told = capture(name)
    moved = query(
        ingested,
        name,
        """
        SELECT count(*), count(e.exit_id), count(*) FILTER (e.userspace) FROM kvm_irq_line AS l
        LEFT JOIN exits AS e ON e.run_id = l.run_id AND e.exit_id = l.exit_id WHERE l.run_id = $run_id
        """,
    )
    assert moved == [(told.turns // 10 * told.vcpus,) * 3]


@each_of_all_events
def test_a_threads_vcpu_is_what_its_timers_say(ingested: IngestedRecordings, name: str) -> None:
    """The main thread makes the vCPUs, fires their kvm_get_timer_map too, and runs none."""
    told = capture(name)
    in_guest = {line.tid for line in told.lines if line.event == "kvm:kvm_entry"}
    maps = {
        (line.tid, int(line.text.removeprefix("VCPU: ").partition(",")[0]))
        for line in told.lines
        if line.event == "kvm:kvm_get_timer_map" and line.tid in in_guest
    }
    assert len(maps) == told.vcpus
    assert exits(ingested, name, "tid", "vcpu").keys() == maps
    assert any("kvm_get_timer_map" in rule for rule in ingested.manifest(told.path).identity)


@pytest.mark.parametrize("name", EXITS_ONLY)
def test_a_vcpu_that_no_event_tells_is_inferred_and_said_to_be(ingested: IngestedRecordings, name: str) -> None:
    assert exits(ingested, name, "vcpu").keys() == {(0,)}
    assert any(rule.startswith("vcpu: inferred") for rule in ingested.manifest(CAPTURES / name).identity)
