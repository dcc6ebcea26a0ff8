"""A recording of interrupts that a vCPU takes one after the other, and ends in exits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from query_samples import ACCEPT, I32, INJECT, U32, accept, inject
from store_builder import add_run, event, exits, fixed_table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import pyarrow as pa
    from store_builder import Row

TID = 70
EXITS = [(0, 100), (200, 300), (400, 450), (500, 560), (600, 650), (700, 720), (740, 760), (800, 820), (900, 930)]
EXITS += [(950, 960)]
ACCEPTED = {50: 80, 60: 410, 61: 420, 70: 620, 80: 705}
LEVEL = {90: 910}
INJECTED = {50: 90, 60: 440, 61: 550, 70: 640, 80: 710, 90: 920}
EOIS = {50: (1, 250), 60: (3, 530), 61: (4, 610), 80: (6, 750), 70: (7, 810), 90: (9, 955)}
"""Vector → the exit in which its EOI came, and when."""


def add_eois(
    store: Path, arranged: Callable[[pa.Table], pa.Table] = lambda table: table, others: Sequence[Row] = ()
) -> Path:
    """Add the recording, called 02dd, to a store; `others` are accepts of vCPU 1, which does nothing else."""
    entered = [None, *(entry for _, entry in EXITS)]
    rows: list[Row] = [
        {"vm_id": "7", "vcpu": 0, "tid": TID, "reason": "msr", "exit_ts_ns": at, "entry_ts_ns": entry}
        | {"latency_ns": entry - at, "guest_ns": None if before is None else at - before}
        for (at, entry), before in zip(EXITS, entered, strict=False)
    ]
    rows.append({"vm_id": "7", "vcpu": 1, "tid": 71, "reason": "msr", "exit_ts_ns": 10, "entry_ts_ns": 20})
    accepts = [accept(at, 7, 0, vector) for vector, at in ACCEPTED.items()]
    accepts += [accept(at, 7, 0, vector, tm=1) for vector, at in LEVEL.items()]
    eois = [
        {"ts_ns": at, "tid": TID, "vcpu": 0, "apicid": 0, "vector": vector, "exit_id": exit_id}
        for vector, (exit_id, at) in EOIS.items()
    ]
    threads = ((7, 7, "qemu"), (7, TID, "CPU 0/KVM"), (7, 71, "CPU 1/KVM"))
    tables = {
        "exits": exits(*rows),
        "threads": fixed_table("threads", [{"pid": pid, "tid": tid, "name": name} for pid, tid, name in threads]),
        "events/kvm/kvm_apic_accept_irq": event(ACCEPT, *accepts, *others),
        "events/kvm/kvm_inj_virq": event(INJECT, *(inject(at, TID, 0, v) for v, at in INJECTED.items())),
        "events/kvm/kvm_eoi": event({"apicid": U32, "vector": I32}, *eois),
    }
    add_run(store, "02dd", {path: arranged(table) for path, table in tables.items()}, first_ts_ns=0, last_ts_ns=1000)
    return store
