"""The query interrupt-chain: made interrupts of each kind, and those of real recordings against what perf prints."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from perf_oracle import SHARED, Recorded, bundled, bundled_one, script_lines
from query_samples import ACCEPT, BOOL, I32, INJECT, U8, U32, accept, add_interrupts, answers, end, inject, msi
from store_builder import add_run, event, exits, fixed_table

from kvmtrace.store.manifest import run_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from ingested import IngestedRecordings
    from perf_oracle import ScriptLine

Row = dict[str, Any]

SOURCES = ("kvm_set_irq", "kvm_ioapic_set_irq", "kvm_msi_set_irq", "kvm_apic_ipi")
OWN = ("callgraph", "overwrite-tail", "perf-kvm-stat-record", "sparse")  # these have no accepts
RECORDED = [recorded for recorded in bundled() if recorded.name not in OWN]
FURTHER = ("pveoi-mixed-xapic-off", "pveoi-mixed-xapic-on", "ioeventfd-blk-off", "ioeventfd-blk-on")


def one_vm(*vcpus: int, last_entry_ns: int = 10_000) -> pa.Table:
    """Return exits of VM 7, in which the thread 70 + n runs vCPU n."""
    rows = ({"tid": 70 + n, "vm_id": "7", "vcpu": n, "entry_ts_ns": last_entry_ns, "reason": "hlt"} for n in vcpus)
    return exits(*rows)


def chains(
    store: Path, tables: Mapping[str, pa.Table], enabled: Iterable[str] = SOURCES, **more: pa.Table
) -> list[Row]:
    """Return the interrupts of a run with the tables of kvm's events `tables`, and others."""
    paths = {f"events/kvm/{name}": table for name, table in tables.items()}
    silent = [("kvm", name) for name in enabled if name not in tables]
    add_run(store, "aa", {"exits": one_vm(0, 1), **more, **paths}, enabled=silent)
    return answers(store, "interrupt-chain")


def seen(rows: Iterable[Row], *columns: str) -> list[tuple[object, ...]]:
    return [tuple(row[column] for column in columns) for row in rows]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    store = add_interrupts(tmp_path_factory.mktemp("interrupts") / "store")
    return answers(store, "interrupt-chain", run_id="interrupts")


def test_each_accept_is_one_row(sample: list[Row]) -> None:
    told = {
        row["accept_ts_ns"]: (row["vm_id"], row["vcpu"], row["vec"], row["status"], row["source_kind"])
        for row in sample
    }
    told.pop(None)
    assert told == {
        1010: ("7", 0, 35, "injected", "msi"),
        1030: ("7", 0, 35, "coalesced", "msi"),
        2010: ("7", 1, 34, "injected", "line"),
        3010: ("7", 0, 251, "injected", "ipi"),
        3020: ("7", 0, 2, "no vector", "ipi"),
        4000: ("7", 0, 236, "injected", "self"),
        4005: ("8", 0, 236, "injected", "self"),
        4290: ("8", 0, 253, "injected", "ipi"),
        6000: ("7", 0, 50, "not injected", "msi"),
        7000: ("7", 0, 70, "posted", None),
        8000: (None, 0, 35, "unattributed", None),
        8010: (None, 0, 35, "unattributed", None),
        8110: ("7", 1, 36, "injected", "msi"),
        9800: ("7", 1, 51, "pending", "self"),
    }


def test_what_was_not_accepted_is_told_too(sample: list[Row]) -> None:
    rest = [row for row in sample if row["accept_ts_ns"] is None]
    assert seen(rest, "vec", "status", "source_kind", "source_ts_ns", "inject_ts_ns") == [
        (60, "no accept", None, None, 500),
        (34, "coalesced", "line", 2030, None),
        (8, "not accepted", "ipi", 8300, None),
        (99, "not accepted", "msi", 8500, None),
    ]


def test_the_times_of_a_chain_are_those_of_its_events(sample: list[Row]) -> None:
    (line,) = (row for row in sample if row["accept_ts_ns"] == 2010)
    times = (
        "source_ts_ns",
        "inject_ts_ns",
        "eoi_ts_ns",
        "source_to_accept_ns",
        "accept_to_inject_ns",
        "inject_to_eoi_ns",
    )
    assert [line[name] for name in times] == [2000, 2100, 2200, 10, 90, 100]
    assert (line["gsi"], line["source_tid"], line["source_vcpu"], line["source_exit_id"]) == (4, 71, 1, 1)
    assert {row["accept_ts_ns"]: row["pv_eoi"] for row in sample if row["eoi_ts_ns"]} == {
        1010: True, 2010: False, 4000: False, 4005: False
    }  # fmt: skip


def test_an_accept_while_one_is_in_service_waits_for_the_next_injection(tmp_path: Path) -> None:
    rows = chains(
        tmp_path,
        {
            "kvm_apic_accept_irq": event(ACCEPT, *(accept(ts, 70, 0, 236, vcpu=0) for ts in (100, 220, 230, 300))),
            "kvm_inj_virq": event(INJECT, inject(200, 70, 0, 236), inject(400, 70, 0, 236)),
            "kvm_eoi": event({"apicid": U32, "vector": I32}, end(250, 70, 0, 236), end(500, 70, 0, 236)),
        },
    )
    assert seen(rows, "accept_ts_ns", "status", "inject_ts_ns", "eoi_ts_ns") == [
        (100, "injected", 200, 250),
        (220, "injected", 400, 500),
        (230, "coalesced", None, None),
        (300, "coalesced", None, None),
    ]


def test_events_of_one_time_have_the_order_of_the_kernel(tmp_path: Path) -> None:
    line = {"ts_ns": 1000, "tid": 70, "gsi": 4, "level": 1}
    pin = {"ts_ns": 1000, "tid": 70, "common_flags": 0, "e": 35, "coalesced": False}
    rows = chains(
        tmp_path,
        {
            "kvm_apic_accept_irq": event(ACCEPT, accept(1000, 70, 1, 35, vcpu=0), accept(2000, 70, 1, 35, vcpu=0)),
            "kvm_set_irq": event({"gsi": U32, "level": I32}, line),
            "kvm_ioapic_set_irq": event({"common_flags": U8, "e": U32, "coalesced": BOOL}, pin),
            "kvm_inj_virq": event(INJECT, inject(1000, 71, 1, 35), inject(2000, 71, 1, 35)),
            "kvm_eoi": event({"apicid": U32, "vector": I32}, end(2000, 71, 1, 35)),
        },
    )
    assert seen(rows, "accept_ts_ns", "status", "source_kind", "inject_ts_ns", "eoi_ts_ns") == [
        (1000, "injected", "line", 1000, 2000),
        (2000, "injected", None, 2000, None),
    ]


def test_old_kernels_call_the_vector_irq_and_tell_what_was_coalesced(tmp_path: Path) -> None:
    old = {**ACCEPT, "coalesced": BOOL}
    rows = chains(
        tmp_path,
        {
            "kvm_apic_accept_irq": event(
                old,
                accept(100, 7, 0, 49, coalesced=True),  # with one from before the recording
                accept(300, 7, 0, 49, coalesced=False),
                accept(310, 7, 0, 49, coalesced=True),
            ),
            "kvm_inj_virq": event(
                {"irq": U32}, {"ts_ns": 200, "tid": 70, "irq": 49}, {"ts_ns": 400, "tid": 70, "irq": 49}
            ),
        },
    )
    assert seen(rows, "accept_ts_ns", "status", "inject_ts_ns", "pv_eoi") == [
        (100, "coalesced", None, None),
        (None, "no accept", 200, None),
        (300, "injected", 400, None),
        (310, "coalesced", None, None),
    ]


@pytest.mark.parametrize("ended", [True, False])
def test_a_vector_is_not_injected_twice_before_its_eoi(tmp_path: Path, *, ended: bool) -> None:
    rows = chains(
        tmp_path,
        {
            "kvm_apic_accept_irq": event(ACCEPT, accept(100, 7, 0, 49), accept(210, 7, 0, 49)),
            "kvm_inj_virq": event({"irq": U32}, *({"ts_ns": ts, "tid": 70, "irq": 49} for ts in (200, 220, 400))),
            "kvm_eoi": event({"apicid": U32, "vector": I32}, *([end(300, 70, 0, 49)] if ended else [])),
        },
    )
    told = seen(rows, "accept_ts_ns", "status", "inject_ts_ns")
    if ended:  # so the injection at 220 was one more of that at 200
        assert told == [(100, "injected", 200), (210, "injected", 400)]
    else:  # Hyper-V's AutoEOI, or not recorded
        assert told == [(100, "injected", 200), (210, "injected", 220), (None, "no accept", 400)]


def test_where_injections_were_not_recorded_nothing_is_claimed(tmp_path: Path) -> None:
    accepts = event(ACCEPT, accept(100, 70, 0, 49, vcpu=0), accept(200, 70, 0, 49, vcpu=0))
    rows = chains(tmp_path, {"kvm_apic_accept_irq": accepts}, enabled=())
    assert seen(rows, "accept_ts_ns", "status", "source_kind", "pv_eoi") == [
        (100, None, None, None),
        (200, None, None, None),
    ]
    (row,) = answers(tmp_path, "interrupt-chain-summary")
    unknown = [
        "injected",
        "coalesced",
        "posted",
        "not_injected",
        "pending",
        "no_accept",
        "coalesced_at_pin",
        "not_accepted",
        "eois",
        "pv_eois",
    ]
    assert (row["accepts"], [row[name] for name in unknown]) == (2, [None] * len(unknown))


def test_what_was_recorded_and_never_fired_is_counted_as_none(tmp_path: Path) -> None:
    accepts = event(ACCEPT, accept(100, 70, 0, 49, vcpu=0))
    silent = ("kvm_apicv_accept_irq", "kvm_ioapic_set_irq", "kvm_msi_set_irq", "kvm_eoi", "kvm_pv_eoi")
    chains(tmp_path, {"kvm_apic_accept_irq": accepts}, enabled=silent)
    (row,) = answers(tmp_path, "interrupt-chain-summary")
    known = ("posted", "coalesced_at_pin", "not_accepted", "eois", "pv_eois")
    assert [row[name] for name in known] == [0] * len(known)


def test_a_vcpu_without_injections_coalesces_nothing_that_is_known(tmp_path: Path) -> None:
    accepts = [accept(ts, 70, vcpu, 49) for vcpu, times in ((0, (100, 200)), (1, (300, 350))) for ts in times]
    tables = {"kvm_apic_accept_irq": event(ACCEPT, *accepts), "kvm_inj_virq": event(INJECT, inject(320, 71, 1, 49))}
    rows = chains(tmp_path, tables)
    assert seen(rows, "vcpu", "status") == [
        (0, "not injected"),
        (0, "not injected"),
        (1, "injected"),
        (1, "not injected"),
    ]


def test_what_is_posted_does_not_wait_for_an_injection(tmp_path: Path) -> None:
    tables = {
        "kvm_apic_accept_irq": event(ACCEPT, accept(100, 7, 0, 49), accept(200, 7, 0, 49), accept(300, 7, 0, 49)),
        "kvm_apicv_accept_irq": event({"apicid": U32, "vec": U8}, {"ts_ns": 101, "tid": 7, "apicid": 0, "vec": 49}),
        "kvm_inj_virq": event(INJECT, inject(400, 70, 0, 49)),
    }
    assert seen(chains(tmp_path, tables), "accept_ts_ns", "status", "inject_ts_ns") == [
        (100, "posted", None), (200, "injected", 400), (300, "coalesced", None)
    ]  # fmt: skip


def test_where_the_end_of_a_line_s_event_was_not_recorded_it_is_no_source(tmp_path: Path) -> None:
    lines = event({"gsi": U32, "level": I32}, {"ts_ns": 90, "tid": 70, "vcpu": 0, "gsi": 4, "level": 1})
    tables = {"kvm_apic_accept_irq": event(ACCEPT, accept(100, 70, 0, 49, vcpu=0)), "kvm_set_irq": lines}
    rows = chains(tmp_path, tables, enabled=("kvm_msi_set_irq", "kvm_apic_ipi"))
    assert seen(rows, "source_kind", "source_ts_ns", "gsi") == [(None, None, None)]


def test_an_msi_is_the_source_of_its_own_vector_only(tmp_path: Path) -> None:
    accepts = event(ACCEPT, accept(110, 7, 0, 49), accept(111, 7, 1, 49), accept(120, 7, 0, 50))
    data = {"common_flags": U8, "address": pa.uint64(), "data": pa.uint64()}
    rows = chains(tmp_path, {"kvm_apic_accept_irq": accepts, "kvm_msi_set_irq": event(data, msi(100, 7, 49))})
    assert seen(rows, "accept_ts_ns", "source_kind", "source_ts_ns") == [
        (110, "msi", 100),
        (111, "msi", 100),
        (120, None, None),
    ]


def test_of_several_vms_an_interrupt_goes_to_that_of_its_thread(tmp_path: Path) -> None:
    two = exits(
        *(
            {"tid": tid, "vm_id": vm, "vcpu": 0, "reason": "hlt"}
            for tid, vm in ((70, "7"), (80, "8"), (90, "9"), (91, "9#2"))
        )
    )
    names = [
        (7, 7, "vmm"), (7, 70, "CPU 0"), (8, 80, "CPU 0"), (8, 8, "vmm"), (9, 9, "vmm"), (9, 90, "x"), (9, 91, "x"),
        (2, 20, "vhost-8"), (2, 21, "vhost-9"), (2, 22, "vhost-x"), (7, 5, "old"), (8, 5, "reused"),
    ]  # fmt: skip
    threads = fixed_table("threads", [{"pid": pid, "tid": tid, "name": name} for pid, tid, name in names])
    tids = (70, 7, 8, 20, 91, 9, 21, 22, 5, None)
    accepts = event(ACCEPT, *(accept(ts, tid, 0, 49) for ts, tid in enumerate(tids)))  # type: ignore[arg-type]
    rows = chains(tmp_path, {"kvm_apic_accept_irq": accepts}, exits=two, threads=threads)
    assert seen(rows, "source_tid", "vm_id") == [
        (70, "7"), (7, "7"), (8, "8"), (20, "8"), (91, "9#2"),
        (9, None), (21, None), (22, None), (5, None), (None, None),
    ]  # fmt: skip


def test_of_a_single_vm_every_interrupt_is_its_own(tmp_path: Path) -> None:
    accepts = event(ACCEPT, accept(1, 5, 0, 49), accept(2, 70, 1, 49, common_flags=8))
    rows = chains(tmp_path, {"kvm_apic_accept_irq": accepts, "kvm_inj_virq": event(INJECT, inject(3, 70, 0, 49))})
    assert seen(rows, "vm_id", "vcpu", "status", "source_kind") == [
        ("7", 0, "injected", None), ("7", 1, "not injected", None)
    ]  # fmt: skip


def test_an_event_before_the_first_exit_is_of_the_vcpu_that_its_thread_runs_later(tmp_path: Path) -> None:
    tables = {
        "kvm_apic_accept_irq": event(ACCEPT, accept(1, 71, 1, 49)),
        "kvm_inj_virq": event(INJECT, {**inject(2, 71, 0, 49), "vcpu": None}),
    }
    assert seen(chains(tmp_path, tables), "vcpu", "status", "source_kind") == [(1, "injected", "self")]


class Chain(NamedTuple):
    """One injected interrupt; times are as fine as perf script prints them."""

    vm_id: str
    vcpu: int
    vec: int
    accept_ns: int | None
    inject_ns: int
    eoi_ns: int | None
    pv_eoi: bool | None


class Simulation:
    """Local APICs as the lines of perf script drive them: a bit for a vector that waits, one for it in service."""

    def __init__(self, pids: Mapping[int, str]) -> None:
        self._pids = pids  # VM of each thread
        self._vcpu: dict[int, int] = {}  # by thread
        self.waiting: dict[tuple[str, int, int], int] = {}
        self._in_service: dict[tuple[str, int, int], Chain] = {}
        self._ended: dict[tuple[str, int, int], int] = {}  # where in chains the newest is that an EOI ended
        self.chains: list[Chain] = []
        self.counts: Counter[str] = Counter()

    def run(self, lines: Iterable[ScriptLine]) -> Simulation:
        """Take over all lines; the vCPU of a thread is that of its entries."""
        for line in lines:
            if vcpu := re.match(r"vcpu (\d+)", line.text if line.event == "kvm:kvm_entry" else ""):
                self._vcpu[line.tid] = int(vcpu[1])
        for line in lines:
            self._step(line.event.removeprefix("kvm:kvm_"), line.ts_ns, line.tid, line.text)
        self.chains += self._in_service.values()
        return self

    def _step(self, name: str, ts_ns: int, tid: int, text: str) -> None:
        vm = self._pids.get(tid, next(iter(self._pids.values())) if len(set(self._pids.values())) == 1 else "")
        if name == "apic_accept_irq":
            vcpu, vec, mode = re.findall(r"apicid (\w+) vec (\d+) \((\w+)", text)[0]
            key = vm, int(vcpu, 16), int(vec)
            self.counts["accepts"] += 1
            if mode not in {"Fixed", "LowPrio"}:
                self.counts["no vector"] += 1
            elif key in self.waiting:
                self.counts["coalesced"] += 1
            else:
                self.waiting[key] = ts_ns
        elif name == "inj_virq" and "reinjected" not in text:
            key = vm, self._vcpu[tid], int(text.split()[1], 16)
            self._ended.pop(key, None)
            if key in self._in_service:
                self.chains.append(self._in_service.pop(key))
            self._in_service[key] = Chain(*key, self.waiting.pop(key, None), ts_ns, None, None)
        elif name in {"eoi", "pv_eoi"}:
            vcpu, vec = re.findall(r"apicid (\w+) vector (-?\d+)", text)[0]
            key = vm, int(vcpu, 16), int(vec)
            ended = self._ended.pop(key, None)
            if name == "eoi" and key in self._in_service:
                self._ended[key] = len(self.chains)
                self.chains.append(self._in_service.pop(key)._replace(eoi_ns=ts_ns, pv_eoi=False))
            elif name == "pv_eoi" and ended is not None:
                self.chains[ended] = self.chains[ended]._replace(pv_eoi=True)


def same_chains(store: Path, run_id: str, recorded: Recorded) -> list[Row]:
    """Check the interrupts of a run against a simulation of what perf script prints, and return them."""
    text = recorded.text("perf-script")
    assert text is not None
    rows = answers(store, "interrupt-chain", run_id=run_id)
    vms = {row["source_tid"]: row["vm_id"] for row in rows if row["source_tid"] is not None}
    lines = script_lines(text)
    expected = Simulation(vms).run(lines)
    unit_ns = 1 if any(line.ts_ns % 1000 for line in lines) else 1000
    times = ("accept_ts_ns", "inject_ts_ns", "eoi_ts_ns")
    found = [
        Chain._make(
            [
                *(row[name] for name in ("vm_id", "vcpu", "vec")),
                *(None if row[name] is None else row[name] // unit_ns * unit_ns for name in times),
                row["pv_eoi"],
            ]
        )
        for row in rows
        if row["inject_ts_ns"] is not None
    ]
    assert sorted(found, key=repr) == sorted(expected.chains, key=repr)
    statuses = Counter(row["status"] for row in rows if row["accept_ts_ns"] is not None)
    left = statuses.pop("not injected", 0) + statuses.pop("pending", 0)
    assert left == len(expected.waiting)
    assert statuses.pop("injected") == sum(chain.accept_ns is not None for chain in expected.chains)
    assert dict(statuses) == {k: n for k, n in expected.counts.items() if k != "accepts"}
    return rows


def events_of(text: str) -> Counter[str]:
    return Counter(line.event.removeprefix("kvm:") for line in script_lines(text))


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: recorded.name)
def test_the_chains_are_those_of_a_simulated_local_apic(ingested: IngestedRecordings, recorded: Recorded) -> None:
    rows = same_chains(ingested.store, ingested.manifest(recorded.path).run_id, recorded)
    text = recorded.text("perf-script") or ""
    again = text.count("[reinjected]")
    counts = events_of(text)
    assert sum(row["accept_ts_ns"] is not None for row in rows) == counts["kvm_apic_accept_irq"]
    assert sum(row["inject_ts_ns"] is not None for row in rows) == counts["kvm_inj_virq"] - again
    (total,) = totals(ingested.store, ingested.manifest(recorded.path).run_id)
    parts = ("injected", "coalesced", "posted", "not_injected", "pending", "no_vector", "unattributed")
    assert total["accepts"] == sum(total[part] for part in parts) == counts["kvm_apic_accept_irq"]
    assert total["injected"] + total["no_accept"] == counts["kvm_inj_virq"] - again


def test_two_vms_of_a_recording_have_their_own_threads(ingested: IngestedRecordings) -> None:
    run_id = ingested.manifest(bundled_one("multi-vm").path).run_id
    rows = answers(ingested.store, "interrupt-chain", run_id=run_id)
    threads = {(row["vm_id"], row["source_tid"]) for row in rows}
    assert threads == {("6665", 6665), ("6665", 6686), ("6665", 6687), ("6671", 6671), ("6671", 6685)}


def totals(store: Path, run_id: str) -> list[dict[str, int]]:
    """Return the counts of interrupt-chain-summary, added up, as its only element."""
    sums: dict[str, int] = defaultdict(int)
    for row in answers(store, "interrupt-chain-summary", run_id=run_id, by_vcpu=True):
        for name, value in row.items():
            if isinstance(value, int):
                sums[name] += value
    return [dict(sums)]


@pytest.mark.parametrize("name", FURTHER)
def test_chains_of_further_recordings(ingested: IngestedRecordings, name: str) -> None:
    folder = SHARED / "captures" / "x86-svm" / name
    if not folder.exists():
        pytest.skip(f"{folder} is not there")
    recorded = Recorded(folder / "perf.data")
    rows = same_chains(ingested.store, ingested.manifest(recorded.path).run_id, recorded)
    # What the guest did: so many reads of its disk, an interrupt each; and what it counted of its own interrupts.
    facts, console = (folder / "facts.txt").read_text(), (folder / "l2-console.txt").read_text()
    (reads,) = re.findall(r" disk=(\d+)", facts)
    (guests_count,) = re.findall(r"guest interrupts (\d+)", console)
    by_source = Counter(row["source_kind"] for row in rows if row["status"] == "injected")
    assert by_source["msi"] == int(reads)
    assert 0.9 * by_source.total() < int(guests_count) < by_source.total()
    counts = events_of(recorded.text("perf-script") or "")
    assert by_source["self"] == counts["kvm_wait_lapic_expire"]  # fires once for each interrupt of the timer
    assert None not in by_source


@pytest.mark.parametrize("name", ["mixed-sched-irq", "multi-vm", "pveoi-idletick-xapic-off"])
def test_what_was_injected_again_is_found_without_being_told(
    ingested: IngestedRecordings, tmp_path: Path, name: str
) -> None:
    """Linux up to 5.10 does not say it; the flag of this one is taken away."""
    recorded = bundled_one(name)
    manifest = ingested.manifest(recorded.path)
    told = answers(ingested.store, "interrupt-chain", run_id=manifest.run_id)
    for file in run_folder(ingested.store, manifest.run_id).rglob("*"):
        copy = run_folder(tmp_path, manifest.run_id) / file.relative_to(run_folder(ingested.store, manifest.run_id))
        copy.parent.mkdir(parents=True, exist_ok=True)
        if file.parent.name == "kvm_inj_virq":
            table = pq.read_table(file, partitioning=None)
            assert any(table["reinjected"].to_pylist())
            pq.write_table(
                table.set_column(table.column_names.index("reinjected"), "reinjected", pa.nulls(len(table), BOOL)), copy
            )
        elif file.is_file():
            copy.write_bytes(file.read_bytes())
    assert answers(tmp_path, "interrupt-chain") == told
