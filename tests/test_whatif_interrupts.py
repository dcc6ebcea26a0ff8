"""queries/whatif/interrupts.sql: which EOIs would exit with PV EOI too, by what was pending and in service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from query_samples import ACCEPT, I32, INJECT, U32, accept, answers, inject
from store_builder import add_run, event, exits

from kvmtrace.ingest import ingest
from kvmtrace.store.label import Label

if TYPE_CHECKING:
    from store_builder import Row

RECORDINGS = Path(__file__).parent / "data" / "recordings"
TID = 70
EXITS = [(0, 100), (200, 300), (400, 450), (500, 560), (600, 650), (700, 720), (740, 760), (800, 820), (900, 930)]
EXITS += [(950, 960)]
ACCEPTED = {50: 80, 60: 410, 61: 420, 70: 620, 80: 705}
LEVEL = {90: 910}
INJECTED = {50: 90, 60: 440, 61: 550, 70: 640, 80: 710, 90: 920}
EOIS = {50: (1, 250), 60: (3, 530), 61: (4, 610), 80: (6, 750), 70: (7, 810), 90: (9, 955)}
"""Vector → the exit in which its EOI came, and when."""

QUIET = (False, False, False, False)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return a store with interrupts of one vCPU, one after the other."""
    entered = [None, *(entry for _, entry in EXITS)]
    rows: list[Row] = [
        {"vm_id": "7", "vcpu": 0, "tid": TID, "reason": "msr", "exit_ts_ns": at, "entry_ts_ns": entry}
        | {"latency_ns": entry - at, "guest_ns": None if before is None else at - before}
        for (at, entry), before in zip(EXITS, entered, strict=False)
    ]
    accepts = [accept(at, 7, 0, vector) for vector, at in ACCEPTED.items()]
    accepts += [accept(at, 7, 0, vector, tm=1) for vector, at in LEVEL.items()]
    eois = [
        {"ts_ns": at, "tid": TID, "vcpu": 0, "apicid": 0, "vector": vector, "exit_id": exit_id}
        for vector, (exit_id, at) in EOIS.items()
    ]
    tables = {
        "exits": exits(*rows),
        "events/kvm/kvm_apic_accept_irq": event(ACCEPT, *accepts),
        "events/kvm/kvm_inj_virq": event(INJECT, *(inject(at, TID, 0, v) for v, at in INJECTED.items())),
        "events/kvm/kvm_eoi": event({"apicid": U32, "vector": I32}, *eois),
    }
    add_run(tmp_path, "aa", tables, first_ts_ns=0, last_ts_ns=1000)
    return tmp_path


def of_vectors(store: Path) -> dict[int, tuple[bool, ...]]:
    rows = {row.pop("exit_id"): tuple(row.values()) for row in answers(store, "whatif/interrupts", run_id="aa")}
    return {vector: rows[exit_id] for vector, (exit_id, _) in EOIS.items() if exit_id in rows}


def test_an_interrupt_by_itself_needs_no_exit_for_its_eoi(store: Path) -> None:
    found = of_vectors(store)
    assert found[50] == QUIET
    assert found[80] == QUIET  # of two in service the newest


def test_an_interrupt_that_waited_when_the_guest_was_entered_makes_the_eoi_exit(store: Path) -> None:
    assert of_vectors(store)[60] == (True, False, False, False)


def test_an_interrupt_that_came_in_the_exit_is_told(store: Path) -> None:
    assert of_vectors(store)[61] == (False, False, False, True)


def test_the_eoi_of_what_another_interrupted_exits(store: Path) -> None:
    assert of_vectors(store)[70] == (False, True, False, False)


def test_an_interrupt_of_a_level_triggered_line_needs_the_exit(store: Path) -> None:
    assert of_vectors(store)[90] == (False, False, True, False)


def test_in_a_real_recording_with_pv_eoi_the_eois_that_exit_are_those_with_an_interrupt_pending(tmp_path: Path) -> None:
    (on,) = ingest(str(RECORDINGS / "pveoi-idletick-xapic-on.perf.data.zst"), tmp_path / "store", Label())
    rows = answers(tmp_path / "store", "whatif/interrupts", run_id=on.manifest.run_id)
    assert len(rows) == 43
    assert sum(row["interrupt_pending"] for row in rows) >= 40
