"""Recordings of POWER9's KVM-HV, radix, hash and nested: what perf prints, and what the guest did by its own count.

The guest runs loops of N turns on each vCPU, chosen by the bits of a mask. The README.txt beside each recording
describes them.
"""

from __future__ import annotations

import gzip
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from damage import assert_accounted
from perf_oracle import (
    SHARED,
    Recorded,
    ScriptLine,
    kvm_stat_of,
    kvm_stat_rows,
    kvm_stat_total,
    report_stats,
    script_lines,
)
from print_fmt_text import render
from test_against_perf import assert_same_lines, our_lines

from kvmtrace.store.connection import StoreConnection

if TYPE_CHECKING:
    from pathlib import Path

    from ingested import IngestedRecordings
    from test_against_perf import Rendering

    from kvmtrace.tracepoints import EventFormat, Values

CAPTURES = SHARED / "captures" / "ppc64-p9"
LOSSY = "nested-perf-record-lost/perf.data"
SCHED = "powernv9-perf-record-sched/perf.data"
HASH = "powernv9-hpt-perf-record/perf.data"
EXITS_ONLY = [
    "nested-perf-kvm-stat/perf.data.kvm",
    "powernv9-hpt-perf-kvm-stat/perf.data.kvm",
    "powernv9-perf-kvm-stat/perf.data.kvm",
    "powernv9-smp2-perf-kvm-stat/perf.data.kvm",
]
"""With the events of `perf kvm stat` only."""
ALL_EVENTS = [
    "nested-perf-record-all/perf.data",
    HASH,
    "powernv9-perf-pipe-zstd/perf.pipe.data",
    "powernv9-perf-pipe-zstd/perf.zstd.data",
    "powernv9-perf-record-2vcpus/perf.data",
    "powernv9-perf-record-all/perf.data",
    "powernv9-perf-record-nullhcall/perf.data",
    "powernv9-smp2-perf-record/perf.data",
]
IN_NS = ["nested-perf-record-all/perf.data", "powernv9-perf-record-all/perf.data"]
"""Those of which perf printed times in ns."""
WHOLE = [*EXITS_ONLY, *ALL_EVENTS, SCHED]
RECORDINGS = [*WHOLE, LOSSY]

pytestmark = pytest.mark.skipif(not CAPTURES.is_dir(), reason=f"{CAPTURES} is not there")
each_recording = pytest.mark.parametrize("name", RECORDINGS)
each_whole = pytest.mark.parametrize("name", WHOLE)
each_of_all_events = pytest.mark.parametrize("name", ALL_EVENTS)

H_RANDOM, H_GET_TCE, UNNAMED, CEDE, PAGES, MMIO, ILLEGAL, FIVE_MORE = 0x1, 0x2, 0x4, 0x8, 0x10, 0x20, 0x40, 0x100
"""Bits of the mask: a loop with one hypercall each turn, …, with two MMIO accesses, …, with five hypercalls."""
LOAD, STORE = 0x82720000, 0x92720004
"""The instructions of the MMIO loop: lwz and stw."""
NAMED_HCALLS = {"H_SET_MODE", "H_PROD", "H_CONFER", "H_REGISTER_VPA", "H_LOGICAL_CI_LOAD"}
"""The five of FIVE_MORE; the VMM answers H_SET_MODE and H_LOGICAL_CI_LOAD."""
LAST_HCALL = 0xFFFC
"""By which each vCPU ends."""
MINUS_1 = (1 << 64) - 1


def as_perf_finds_no_negative_value(event_format: EventFormat, values: Values) -> str:
    """Return what libtraceevent prints of kvm_hcall_exit: it takes all negative keys of __print_symbolic for -1.

    The kernel says H_PARAMETER of -4, perf 0xfffffffffffffffc; of -1 both say H_HARDWARE, the first of those keys.
    """
    code = values["hcall_rc"]
    assert isinstance(code, int)
    text = render(event_format, values)
    found = code >> 63 == 0 or code == MINUS_1
    return text if found else re.sub(r"hcall_rc=H_(?!TOO_HARD)\w+$", f"hcall_rc={code:#x}", text)


PERFS_OWN_TEXT: dict[str, Rendering] = {"kvm_hv:kvm_hcall_exit": as_perf_finds_no_negative_value}


@dataclass(frozen=True, slots=True)
class Capture:
    """A recording, the text of perf script, and what its README says of the guest."""

    path: Path
    text: str
    lines: list[ScriptLine]
    readme: str
    mask: int
    turns: int
    vcpus: int

    def turns_of(self, *loops: int) -> int:
        """Return how many turns the vCPUs made in some loops."""
        return sum(self.turns * self.vcpus for loop in loops if self.mask & loop)


@cache
def capture(name: str) -> Capture:
    path = CAPTURES / name
    readme = (path.parent / "README.txt").read_text()
    told = re.search(r"hcalls in mask 0x(\w+), N (\d+), vcpus (\d+)\n", readme)
    assert told
    form = re.search(r"perf\.(pipe|zstd)\.data", name)
    text = f"perf-script-{form[1]}.txt" if form else "perf-script.txt"
    lines = script_lines(gzip.decompress(path.with_name(f"{text}.gz").read_bytes()).decode())
    return Capture(path, text, lines, readme, int(told[1], 16), int(told[2]), int(told[3]))


def query(ingested: IngestedRecordings, name: str, sql: str) -> list[tuple[Any, ...]]:
    run_id = ingested.manifest(CAPTURES / name).run_id
    with StoreConnection(ingested.store) as connection:
        return connection.query(sql, {"run_id": run_id}).rows


def exits(ingested: IngestedRecordings, name: str, *columns: str) -> Counter[tuple[Any, ...]]:
    """Return how many exits have each combination of values in these columns."""
    table = ingested.table(CAPTURES / name, "exits")
    return Counter(zip(*(table[column].to_pylist() for column in columns), strict=True))


def test_every_recording_is_looked_at() -> None:
    assert {str(path.relative_to(CAPTURES)) for path in CAPTURES.glob("*/perf*data*")} == set(RECORDINGS)


@each_recording
def test_every_event_has_the_values_that_perf_prints(ingested: IngestedRecordings, name: str) -> None:
    told = capture(name)
    ours = our_lines(ingested, Recorded(told.path), PERFS_OWN_TEXT)
    assert_same_lines([line._replace(ts_ns=line.ts_ns // 1000 * 1000) for line in ours], told.lines)


@each_recording
def test_every_event_and_every_trap_is_counted_as_the_readme_counts_it(ingested: IngestedRecordings, name: str) -> None:
    told = capture(name)
    section = told.readme.partition(f"Events in {told.text} ")[2].partition("\n\n")[0]
    counted = {event: int(n) for n, event in re.findall(r"^ +(\d+) (\w+)$", section, re.MULTILINE)}
    manifest = ingested.manifest(told.path)
    assert {t.event: t.rows for t in manifest.tracepoints if t.rows} == counted
    assert_accounted(manifest)
    kinds = {(what, item): int(n) for n, what, item in re.findall(r"^ +(\d+) (\w+)=(\w+)$", section, re.MULTILINE)}
    ours = Counter({("trap", reason): n for (reason,), n in exits(ingested, name, "reason").items()})
    ours["trap", "0x0"] = ours.pop(("trap", "RETURN_TO_HOST"), 0)  # which only perf kvm stat and we name
    hcalls = query(ingested, name, "SELECT req, count(*) FROM kvm_hcall_enter WHERE run_id = $run_id GROUP BY req")
    named = dict(exits(ingested, name, "detail", "detail_name").keys())
    ours.update({("hcall", named[number] or f"{number:#x}"): n for number, n in hcalls})
    assert +ours == kinds


@pytest.mark.parametrize("name", [name for name in [*ALL_EVENTS, SCHED, LOSSY] if not re.search("pipe-zstd", name)])
def test_every_record_is_counted_as_perf_counts_it(ingested: IngestedRecordings, name: str) -> None:
    stats = report_stats(Recorded(CAPTURES / name).text("perf-report-stats") or "")
    manifest = ingested.manifest(CAPTURES / name)
    assert manifest.records == stats.records
    assert {f"{t.system}:{t.event}": t.samples for t in manifest.tracepoints if t.samples} == stats.samples


@each_whole
def test_every_exit_but_the_last_of_a_vcpu_ends_with_an_entry(ingested: IngestedRecordings, name: str) -> None:
    told = capture(name)
    closed_by = exits(ingested, name, "closed_by", "suspect")
    assert closed_by == {("entry", False): closed_by.total() - told.vcpus, ("end", False): told.vcpus}


TIMES = {
    "vmexit": """
        SELECT reason AS name, reason_code AS number, latency_ns AS ns, vcpu FROM exits
        WHERE run_id = $run_id AND latency_ns IS NOT NULL
    """,
    "hcall": """
        SELECT coalesce(detail_name, 'UNKNOWN') AS name, detail AS number, hcall_ns AS ns, vcpu FROM exits
        WHERE run_id = $run_id AND detail_from = 'kvm_hcall_enter.req'
    """,
}
"""What perf kvm stat measures: exits that ended, and the handlers of hypercalls."""


@pytest.mark.parametrize("which", ["-bytime", "-vcpu0", ""])
@pytest.mark.parametrize("what", TIMES)
@pytest.mark.parametrize("name", EXITS_ONLY)
def test_times_are_those_of_perf_kvm_stat(ingested: IngestedRecordings, name: str, what: str, which: str) -> None:
    """Where perf is wrong: of one vCPU (--vcpu) it prints 0.00us for all minima, whose variable begins with 0.

    Each hypercall that it has no name for is a row UNKNOWN of its own.
    """
    text = (CAPTURES / name).with_name(f"kvmstat-{what}{which}.txt").read_text()
    of_one = which == "-vcpu0"
    rows = [row[:3] for row in query(ingested, name, TIMES[what]) if row[3] == 0 or not of_one]
    table = kvm_stat_of(
        [f"{name} {number}" for name, number, _ in rows], [ns for *_, ns in rows], 0 if of_one else None
    )
    ours = [row._replace(name=row.name.partition(" ")[0]) for row in table.rows.values()]
    assert sorted(ours) == sorted(kvm_stat_rows(text))
    assert (table.samples, table.time) == kvm_stat_total(text)


@each_whole
def test_hypercalls_are_those_that_the_guest_made(ingested: IngestedRecordings, name: str) -> None:
    told = capture(name)
    calls = exits(ingested, name, "reason", "detail_kind", "detail", "detail_name", "detail_from")
    made = Counter({call[2:4]: n for call, n in calls.items() if call[4] == "kvm_hcall_enter.req"})
    assert {call[:2] for call in calls if call[4] == "kvm_hcall_enter.req"} == {("SYSCALL", "hcall")}
    assert made.total() == told.turns_of(H_RANDOM, H_GET_TCE, UNNAMED, *[FIVE_MORE] * 5) + told.vcpus
    assert (made[0xF00C, None], made[LAST_HCALL, None]) == (told.turns_of(UNNAMED), told.vcpus)
    assert (made[0x300, "H_RANDOM"], made[0x1C, "H_GET_TCE"]) == (told.turns_of(H_RANDOM), told.turns_of(H_GET_TCE))
    further = {hcall: n for (_, hcall), n in made.items() if hcall in NAMED_HCALLS}
    assert further == (dict.fromkeys(NAMED_HCALLS, told.turns_of(FIVE_MORE)) if told.mask & FIVE_MORE else {})


@each_whole
def test_a_vcpu_that_ceded_is_idle_and_no_other(ingested: IngestedRecordings, name: str) -> None:
    """Of the exits with trap 0 only those with ceded=1 are H_CEDE; with two CPUs there are a few others."""
    told = capture(name)
    about = exits(ingested, name, "idle", "reason", "detail_kind", "detail", "detail_name", "detail_from")
    ceded = ("RETURN_TO_HOST", "hcall", 0xE0, "H_CEDE", "kvm_guest_exit.ceded")
    assert {row[1:]: n for row, n in about.items() if row[0]} == (
        {ceded: told.turns_of(CEDE)} if told.mask & CEDE else {}
    )
    trap_0 = Counter(line.text[-1] for line in told.lines if "trap=0x0 " in line.text)
    assert trap_0["1"] == told.turns_of(CEDE)
    assert trap_0["0"] == about[False, "RETURN_TO_HOST", None, None, None, None]


def test_a_few_exits_with_trap_0_are_no_h_cede(ingested: IngestedRecordings) -> None:
    others = [exits(ingested, name, "reason", "idle")["RETURN_TO_HOST", False] for name in WHOLE]
    assert sum(others) > 0


@each_whole
def test_an_illegal_instruction_is_an_exit(ingested: IngestedRecordings, name: str) -> None:
    told = capture(name)
    assert exits(ingested, name, "reason")["H_EMUL_ASSIST",] == told.turns_of(ILLEGAL)


@each_of_all_events
def test_an_mmio_access_is_about_its_instruction(ingested: IngestedRecordings, name: str) -> None:
    told = capture(name)
    about = exits(ingested, name, "reason", "detail_kind", "detail", "detail_from", "userspace")
    accesses = {row: n for row, n in about.items() if row[1] == "instruction"}
    one = ("kvm_ppc_instr.inst", True)
    assert accesses == (
        {("H_DATA_STORAGE", "instruction", inst, *one): told.turns_of(MMIO) for inst in (LOAD, STORE)}
        if told.mask & MMIO
        else {}
    )


@pytest.mark.parametrize("name", [*ALL_EVENTS, SCHED])
def test_exits_go_to_the_vmm_where_it_answers(ingested: IngestedRecordings, name: str) -> None:
    told = capture(name)
    goes = exits(ingested, name, "userspace", "userspace_ns")
    expected = told.turns_of(UNNAMED, MMIO, MMIO, FIVE_MORE, FIVE_MORE) + told.vcpus
    assert sum(n for (userspace, _), n in goes.items() if userspace) == expected
    assert {time for userspace, time in goes if not userspace} == {0}
    # Only of the exit that ended the vCPU no way back is recorded.
    assert goes[True, None] == told.vcpus
    assert 0 not in {time for userspace, time in goes if userspace}


@pytest.mark.parametrize("name", EXITS_ONLY)
def test_what_was_not_recorded_is_null(ingested: IngestedRecordings, name: str) -> None:
    columns = ("userspace", "userspace_ns", "blocked_ns", "polled_ns", "preempted_ns", "eoi", "nested")
    assert exits(ingested, name, *columns).keys() == {(None,) * len(columns)}


def test_a_fault_of_a_hash_guest_is_about_the_address_that_it_used(ingested: IngestedRecordings) -> None:
    """The guest stores to N fresh pages, 64 KiB apart; base_gfn is the same for all of them."""
    told = capture(HASH)
    about = exits(ingested, HASH, "reason", "detail_kind", "detail", "detail_from")
    faults = {row[2]: n for row, n in about.items() if row[:2] == ("H_DATA_STORAGE", "ea")}
    assert {row[3] for row in about if row[1] == "ea"} == {"kvm_page_fault_enter.ea"}
    first = min(faults)
    assert faults == {first + turn * 0x10000: 1 for turn in range(told.turns)}
    slots = query(ingested, HASH, "SELECT count(DISTINCT base_gfn) FROM kvm_page_fault_enter WHERE run_id = $run_id")
    assert slots == [(1,)]


class Parts(NamedTuple):
    """An exit, and where its time went; -1: there is no end."""

    exit_ts_ns: int
    latency_ns: int
    hcall_ns: int
    userspace_ns: int
    blocked_ns: int


def parts_of(lines: list[ScriptLine]) -> list[Parts]:
    """Return the closed exits of the events of one thread, one after the other: a plain, slow reference."""
    found: list[Parts] = []
    sums: dict[str, int] = defaultdict(int)
    since: dict[str, int] = {}
    opens = {
        "kvm_hv:kvm_hcall_enter": "hcall",
        "kvm:kvm_userspace_exit": "userspace",
        "kvm_hv:kvmppc_vcore_blocked Enter": "blocked",
    }
    closes = {
        "kvm_hv:kvm_hcall_exit": "hcall",
        "kvm_hv:kvmppc_run_vcpu_enter": "userspace",
        "kvm_hv:kvmppc_vcore_blocked Exit": "blocked",
    }
    for line in lines:
        event = f"{line.event} {line.text.split()[0]}" if line.event.endswith("blocked") else line.event
        if event == "kvm_hv:kvm_guest_exit":
            since, sums = {"exit": line.ts_ns}, defaultdict(int)
        elif event == "kvm_hv:kvm_guest_enter" and "exit" in since:
            left = since["exit"]
            found.append(Parts(left, line.ts_ns - left, sums["hcall"], sums["userspace"], sums["blocked"]))
        elif event in opens:
            since[opens[event]] = line.ts_ns
        elif event in closes and closes[event] in since:  # the VMM is left once, by the first entry of KVM_RUN
            sums[closes[event]] += line.ts_ns - since.pop(closes[event])
    return found


@pytest.mark.parametrize("name", IN_NS)
def test_every_exit_has_the_times_that_perfs_text_says(ingested: IngestedRecordings, name: str) -> None:
    packed = (CAPTURES / name).with_name("perf-script-ns.txt.gz").read_bytes()
    text = re.sub(r"(\.\d{9}:) +1 +(kvm\w*:)", r"\1 \2", gzip.decompress(packed).decode())  # without the period
    lines = script_lines(text)
    assert_same_lines(list(our_lines(ingested, Recorded(CAPTURES / name), PERFS_OWN_TEXT)), lines)
    ours = query(
        ingested,
        name,
        f"""
        SELECT {", ".join(Parts._fields)} FROM exits
        WHERE run_id = $run_id AND latency_ns IS NOT NULL ORDER BY exit_ts_ns
        """,  # noqa: S608 - names of columns
    )
    expected = parts_of(lines)
    assert [Parts(*row) for row in ours] == expected
    assert all(sum(parts[n] for parts in expected) for n in range(2, 5))


@pytest.mark.parametrize("name", [*ALL_EVENTS, SCHED, LOSSY])
def test_the_parts_of_an_exit_are_not_longer_than_it(ingested: IngestedRecordings, name: str) -> None:
    (row,) = query(
        ingested,
        name,
        """
        SELECT
            count(*) FILTER (userspace_ns + coalesce(blocked_ns, 0) + coalesce(polled_ns, 0)
                + coalesce(preempted_ns, 0) > latency_ns),
            count(*) FILTER (hcall_ns > latency_ns),
            count(*) FILTER (blocked_ns > 0 AND NOT idle)
        FROM exits WHERE run_id = $run_id
        """,
    )
    assert row == (0, 0, 0)


@pytest.mark.parametrize("name", [SCHED, "powernv9-perf-record-2vcpus/perf.data"])
def test_a_thread_that_loses_its_cpu_inside_an_exit_is_preempted(ingested: IngestedRecordings, name: str) -> None:
    """From each switch away in state R to the next switch to that thread."""
    switches = query(
        ingested,
        name,
        """
        WITH switches AS (SELECT * FROM sched_switch WHERE run_id = $run_id)
        SELECT away.exit_id, sum(back.ts_ns - away.ts_ns)
        FROM (SELECT * FROM switches WHERE prev_state & 255 = 0 AND exit_id IS NOT NULL) AS away
        ASOF JOIN switches AS back ON back.next_pid = away.tid AND away.ts_ns <= back.ts_ns
        GROUP BY away.exit_id
        ORDER BY away.exit_id
        """,
    )
    ours = "SELECT exit_id, preempted_ns FROM exits WHERE run_id = $run_id AND preempted_ns > 0 ORDER BY exit_id"
    assert query(ingested, name, ours) == switches
    in_state_r = [
        line for line in capture(name).lines if "prev_comm=vmmppc" in line.text and "prev_state=R" in line.text
    ]
    assert 0 < len(switches) <= len(in_state_r)


def test_the_events_of_an_exit_carry_its_id_and_its_vcpu(ingested: IngestedRecordings) -> None:
    """kvm_userspace_exit and kvm_ppc_instr name no vCPU: theirs is that of their thread's exits."""
    name = "powernv9-smp2-perf-record/perf.data"
    for event in ("kvm_hcall_enter", "kvm_hcall_exit", "kvm_userspace_exit", "kvm_ppc_instr", "kvmppc_run_vcpu_exit"):
        rows = query(
            ingested,
            name,
            f"""
            SELECT count(*), count(e.exit_id), count(*) FILTER (e.vcpu = v.vcpu AND e.tid = v.tid) FROM {event} AS v
            LEFT JOIN exits AS e ON e.run_id = v.run_id AND e.exit_id = v.exit_id WHERE v.run_id = $run_id
            """,  # noqa: S608 - names of tables
        )
        fired = sum(line.event.endswith(f":{event}") for line in capture(name).lines)
        assert rows == [(fired, fired, fired)]


@pytest.mark.parametrize("name", [name for name in WHOLE if re.search("2vcpus|smp2", name)])
def test_each_vcpu_has_its_own_thread_on_power9(ingested: IngestedRecordings, name: str) -> None:
    told = capture(name)
    named = {
        (line.tid, int(line.text.removeprefix("VCPU ").partition(":")[0]))
        for line in told.lines
        if line.event == "kvm_hv:kvm_guest_exit"
    }
    assert exits(ingested, name, "tid", "vcpu").keys() == named
    assert {vcpu for _, vcpu in named} == {0, 1}
    assert len(exits(ingested, name, "vm_id")) == 1
    assert not any("several vCPUs" in rule for rule in ingested.manifest(told.path).identity)


def test_each_loss_makes_an_exit_suspect_or_hides_one(ingested: IngestedRecordings) -> None:
    """Seventeen LOST records of one CPU: an exit reaches over 13 of them, a stay in the guest over 4."""
    told = capture(LOSSY)
    manifest = ingested.manifest(told.path)
    lost = next(loss for loss in manifest.lost if loss.said_by == "LOST")
    bounds = [line.event.rpartition("_")[2] for line in told.lines if "kvm_guest_" in line.event]
    hidden = sum(pair == ("enter", "enter") for pair in pairwise(bounds))
    how = exits(ingested, LOSSY, "closed_by", "suspect")
    assert how == {
        ("entry", False): bounds.count("exit") - 1 - (lost.records - hidden),
        ("entry", True): lost.records - hidden,
        ("end", False): 1,
    }
    assert manifest.exits["entries_without_exit"] == hidden == bounds.count("enter") - bounds.count("exit")
    # What may have been lost is null, not 0.
    suspect = exits(ingested, LOSSY, "suspect", "userspace", "userspace_ns", "blocked_ns", "polled_ns", "hcall_ns")
    assert {row[1:] for row in suspect if row[0]} == {(None,) * 5}
