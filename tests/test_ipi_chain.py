"""The query ipi-chain: made IPIs of each kind, and those of real recordings against what perf and the guest say."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from perf_oracle import SHARED, Recorded, ScriptLine, bundled_one, script_lines
from query_samples import ACCEPT, INJECT, U32, accept, add_interrupts, answers, inject
from store_builder import add_run, event, exits

from kvmtrace import queries
from kvmtrace.store.connection import StoreConnection

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import pyarrow as pa
    from ingested import IngestedRecordings

Row = dict[str, Any]

SENDER_EXIT = {"tid": 70, "vm_id": "7", "vcpu": 0, "reason": "npf", "exit_ts_ns": 100, "entry_ts_ns": 200}


def chains(store: Path, accepts: Iterable[Row], **tables: pa.Table) -> list[Row]:
    """Return the IPIs of a run in which the thread 70 runs vCPU 0; vCPU 1 is injected vector 251 at 150."""
    other = {"tid": 71, "vm_id": "7", "vcpu": 1, "reason": "hlt", "exit_ts_ns": 50, "entry_ts_ns": 160}
    events = {
        "kvm_apic_accept_irq": event(ACCEPT, *accepts),
        "kvm_inj_virq": event(INJECT, inject(150, 71, 1, 251)),
        **tables,
    }
    paths = {f"events/kvm/{name}": table for name, table in events.items()}
    add_run(store, "aa", {"exits": exits(SENDER_EXIT, other), **paths})
    return answers(store, "ipi-chain")


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    store = add_interrupts(tmp_path_factory.mktemp("ipis") / "store")
    return answers(store, "ipi-chain", run_id="interrupts")


def test_an_ipi_goes_from_its_sender_s_exit_to_its_injection(sample: list[Row]) -> None:
    ipi = sample[0]
    who = ("vm_id", "sender_vcpu", "vcpu", "vec", "status", "sent_by", "sender_exit_id", "reason")
    assert [ipi[name] for name in who] == ["7", 1, 0, 251, "injected", "kvm_hypercall", 2, "hypercall"]
    times = ("exit_ts_ns", "send_ts_ns", "accept_ts_ns", "inject_ts_ns")
    assert [ipi[name] for name in times] == [3000, 3005, 3010, 3100]
    assert [ipi[name] for name in ("exit_to_accept_ns", "accept_to_inject_ns", "exit_to_inject_ns")] == [10, 90, 100]


def test_an_nmi_is_an_ipi_that_is_not_injected_by_vector(sample: list[Row]) -> None:
    assert [(row["delivery"], row["status"]) for row in sample[:2]] == [("Fixed", "injected"), ("NMI", "no vector")]


def test_an_ipi_of_the_fast_path_is_of_the_exit_behind_it_and_has_no_time_from_it(sample: list[Row]) -> None:
    ipi = sample[2]
    assert (ipi["vm_id"], ipi["sender_vcpu"], ipi["vcpu"], ipi["sender_exit_id"], ipi["reason"]) == (
        "8",
        0,
        0,
        4,
        "msr",
    )
    assert (ipi["exit_ts_ns"], ipi["exit_to_accept_ns"], ipi["exit_to_inject_ns"]) == (None, None, None)
    assert (ipi["status"], ipi["accept_to_inject_ns"]) == ("injected", 110)


def test_an_ipi_that_nobody_accepts_is_told(sample: list[Row]) -> None:
    assert [(row["vcpu"], row["delivery"], row["status"], row["send_ts_ns"]) for row in sample[3:]] == [
        (None, "SIPI", "not accepted", 8300)
    ]


def test_an_ipi_to_several_vcpus_is_a_row_for_each(tmp_path: Path) -> None:
    send = {"ts_ns": 110, "tid": 70, "vcpu": 0, "exit_id": 0, "icr_low": 0x000C40FB, "dest_id": 0}
    rows = chains(
        tmp_path,
        [accept(120 + n, 70, n, 251, vcpu=0, exit_id=0) for n in (1, 2, 3)],
        kvm_apic_ipi=event({"icr_low": U32, "dest_id": U32}, send),
    )
    assert [(row["vcpu"], row["status"], row["exit_to_inject_ns"]) for row in rows] == [
        (1, "injected", 50), (2, "pending", None), (3, "pending", None)
    ]  # fmt: skip
    assert {row["send_ts_ns"] for row in rows} == {110}


@pytest.mark.parametrize("name", ["kvm_hv_send_ipi", "kvm_hv_send_ipi_ex"])
def test_hyper_v_s_hypercalls_send_ipis_too(tmp_path: Path, name: str) -> None:
    sent = event({"vector": U32}, {"ts_ns": 110, "tid": 70, "vcpu": 0, "exit_id": 0, "vector": 251})
    (row,) = chains(tmp_path, [accept(120, 70, 1, 251, vcpu=0, exit_id=0)], **{name: sent})
    assert (row["sent_by"], row["vcpu"], row["status"], row["exit_to_accept_ns"]) == (name, 1, "injected", 20)


def test_an_accept_of_another_exit_or_thread_or_vector_is_not_of_the_ipi(tmp_path: Path) -> None:
    send = {"ts_ns": 110, "tid": 70, "vcpu": 0, "exit_id": 0, "icr_low": 251, "dest_id": 1}
    others = [
        accept(120, 71, 1, 251, exit_id=1),
        accept(130, 70, 1, 252, exit_id=0),
        accept(140, 70, 1, 251, exit_id=9),
    ]
    (row,) = chains(tmp_path, others, kvm_apic_ipi=event({"icr_low": U32, "dest_id": U32}, send))
    assert (row["vcpu"], row["status"], row["sender_exit_id"]) == (None, "not accepted", 0)


def sent(line: ScriptLine) -> bool:
    """Tell whether perf prints an IPI."""
    return line.event == "kvm:kvm_apic_ipi" or (line.event == "kvm:kvm_hypercall" and line.text.startswith("nr 0xa "))


def ipis(ingested: IngestedRecordings, recorded: Recorded) -> tuple[list[Row], Counter[str]]:
    """Return the IPIs of a recording, and how many perf script prints of each event and reason."""
    lines = [line for line in script_lines(recorded.text("perf-script") or "") if sent(line)]
    rows = answers(ingested.store, "ipi-chain", run_id=ingested.manifest(recorded.path).run_id)
    return rows, Counter(line.event.removeprefix("kvm:") for line in lines)


def test_every_ipi_of_the_unit_tests_through_the_icr_has_its_chain(ingested: IngestedRecordings) -> None:
    rows, expected = ipis(ingested, bundled_one("kut-vmexit-smp1"))
    assert Counter(row["sent_by"] for row in rows) == expected == {"kvm_apic_ipi": 452}
    # There is one vCPU: what is for all but oneself nobody accepts, all else is to oneself.
    outcomes = Counter((row["delivery"], row["sender_vcpu"], row["vcpu"], row["status"]) for row in rows)
    assert outcomes == {
        ("Fixed", 0, 0, "injected"): 448,
        ("INIT", 0, None, "not accepted"): 2,
        ("SIPI", 0, None, "not accepted"): 2,
    }
    assert all(0 < row["exit_to_accept_ns"] < row["exit_to_inject_ns"] for row in rows if row["vcpu"] == 0)


def test_every_ipi_by_hypercall_has_its_chain(ingested: IngestedRecordings) -> None:
    rows, expected = ipis(ingested, bundled_one("multi-vm"))
    assert Counter(row["sent_by"] for row in rows) == expected
    assert {(row["vm_id"], row["sender_vcpu"], row["vcpu"]) for row in rows} == {("6665", 0, 1), ("6665", 1, 0)}
    assert {(row["reason"], row["status"]) for row in rows} == {("hypercall", "injected")}


def test_the_ipis_of_a_workload_that_sends_them(ingested: IngestedRecordings) -> None:
    folder = SHARED / "captures" / "x86-svm" / "pveoi-mixed-xapic-off"
    if not folder.exists():
        pytest.skip(f"{folder} is not there")
    rows, expected = ipis(ingested, Recorded(folder / "perf.data"))
    assert Counter(row["sent_by"] for row in rows) == expected == {"kvm_hypercall": 523}
    assert Counter(row["status"] for row in rows) == {"injected": 523}
    assert all(row["sender_vcpu"] != row["vcpu"] for row in rows)
    # Each membarrier of the guest's program makes one at least, and each write to its pipe wakes the other vCPU.
    counts = dict(re.findall(r" (ipi|pingpong)=(\d+)", (folder / "facts.txt").read_text()))
    assert len(rows) >= int(counts["ipi"]) + int(counts["pingpong"])
    assert all(0 < row["exit_to_accept_ns"] < row["exit_to_inject_ns"] for row in rows)


def test_events_are_not_joined_each_with_each(ingested: IngestedRecordings) -> None:
    run_id = ingested.manifest(bundled_one("multi-vm").path).run_id
    query = queries.load("ipi-chain")
    with StoreConnection(ingested.store) as connection:
        plan = connection.query(f"EXPLAIN {query.sql}", {"run_id": run_id}, fields=query.fields).rows
    operators = Counter(re.findall(r"asof.join|nested.loop.join", "\n".join(line for (line,) in plan).lower()))
    assert [(name[:4], n) for name, n in operators.items()] == [("asof", 2)]
