"""Runs that the queries are asked of: two recordings and two runs of counters, each figure in them chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
from store_builder import add_run, event, exits, fixed_table

from kvmtrace.store.catalogue import Catalogue
from kvmtrace.store.label import Label
from kvmtrace.store.manifest import Source

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECOND = 10**9

U8, U32, U64, I32 = pa.uint8(), pa.uint32(), pa.uint64(), pa.int32()
MSR = {"write": U32, "ecx": U32, "data": U64, "exception": U8}
PIO = {"rw": U32, "port": U32, "size": U32, "count": U32, "val": U32}
FAULT = {"vcpu_id": U32, "guest_rip": U64, "fault_address": U64, "error_code": U64}

# exit_id is the row's place. Latencies are chosen so that each sum tells which exits are in it.
_COLUMNS = (
    "vm_id", "vcpu", "cpu", "reason", "detail_kind", "detail", "detail_name",
    "exit_ts_ns", "latency_ns", "guest_ns", "userspace", "userspace_ns", "blocked_ns", "polled_ns",
)  # fmt: skip
_ROWS = (
    ("7", 0, 0, "npf", "gpa", 0xFEE000B0, "APIC_EOI", 1 * SECOND, 1000, 10, False, 0, None, None),
    ("7", 0, 1, "npf", "gpa", 2**63, None, 1 * SECOND + 1, 3000, 20, False, 0, None, None),
    ("7", 0, 0, "io", "port", 0x3F8, "COM1 data", 2 * SECOND, 100_000, None, True, 90_000, None, None),
    ("7", 1, 1, "io", "port", 0x3F8, "COM1 data", 2 * SECOND + 5, 50_000, 30, True, None, None, None),
    ("7", 1, 1, "hlt", None, None, None, 2 * SECOND + 6, 2_000_000, 40, False, 0, 1_900_000, 0),
    ("7", 1, 1, "hlt", None, None, None, 4 * SECOND, None, None, None, None, None, None),
    ("7", 1, 0, "msr", "msr", 0x6E0, "IA32_TSC_DEADLINE", 3 * SECOND, 7000, 50, False, 0, None, None),
    ("7", 1, 0, "msr", "msr", 0x6E0, "IA32_TSC_DEADLINE", 3 * SECOND + 1, 900_000_000, 60, None, None, None, None),
    ("8", None, 0, "hypercall", "hypercall", 10, "KVM_HC_SEND_IPI", 4 * SECOND - 1, 0, None, False, 0, None, None),
)
_SUSPECT = 7
EXITS = exits(
    *(
        {**dict(zip(_COLUMNS, row, strict=True)), "idle": row[3] == "hlt", "suspect": n == _SUSPECT}
        for n, row in enumerate(_ROWS)
    )
)
EVENTS = {
    "events/kvm/kvm_msr": event(
        MSR,
        {"write": 1, "ecx": 0x6E0, "data": 1, "exception": 0, "exit_id": 6},
        {"write": 1, "ecx": 0x6E0, "data": 2, "exception": 0, "exit_id": 7},
        {"write": 0, "ecx": 0x6E0, "data": 2, "exception": 0, "exit_id": 6},
        {"write": 1, "ecx": 0xC0000080, "data": 2, "exception": 1, "exit_id": None},
    ),
    "events/kvm/kvm_pio": event(
        PIO,
        {"rw": 1, "port": 0x3F8, "size": 1, "count": 1, "val": 65, "exit_id": 2},
        {"rw": 1, "port": 0x3F8, "size": 1, "count": 16, "val": 65, "exit_id": 3},
        {"rw": 0, "port": 0x3FD, "size": 1, "count": 1, "val": 1, "exit_id": None},
    ),
    "events/kvm/kvm_hypercall": event({"nr": U64, "a0": U64}, {"nr": 10, "a0": 1, "exit_id": 8}, {"nr": 5, "a0": 1}),
    "events/kvm/kvm_page_fault": event(
        FAULT,
        {"vcpu_id": 0, "guest_rip": 1, "fault_address": 0xFEE000B0, "error_code": 0x100000002, "exit_id": 0},
        {"vcpu_id": 0, "guest_rip": 1, "fault_address": 0xFEE00FFF, "error_code": 0x100000004, "exit_id": 1},
        {"vcpu_id": 0, "guest_rip": 1, "fault_address": 2**64 - 1, "error_code": 0, "exit_id": None},
    ),
    "events/kvm/kvm_userspace_exit": event(
        {"reason": U32, "errno": I32},
        {"reason": 2, "errno": 0, "exit_id": 2},
        {"reason": 2, "errno": 0, "exit_id": 3},
        {"reason": 99, "errno": 0},
        {"reason": 10, "errno": -4},
        {"reason": 10, "errno": -14},
    ),
    "events/kvm/kvm_inj_virq": event({"vector": U32}, {"vector": 1}, {"vector": 2}),
}
SYMBOLS = fixed_table(
    "symbols", [{"system": "kvm", "event": "kvm_userspace_exit", "field": "reason", "value": 2, "name": "KVM_EXIT_IO"}]
)


def counter(name: str, value: float | None, **more: object) -> dict[str, object]:
    return {"event": name, "system": "kvm", "value": value, "state": "counted", "line": 1, **more}


def turned(table: pa.Table) -> pa.Table:
    """Return the rows of `table` from the last to the first."""
    return table.take(list(range(table.num_rows))[::-1])


def make_store(store: Path, arranged: Callable[[pa.Table], pa.Table]) -> Path:
    """Make the store, its tables' rows `arranged`; its runs are called off, on, before and after."""
    times = {"first_ts_ns": 1 * SECOND, "last_ts_ns": 4 * SECOND, "elapsed_ns": 3 * SECOND}
    off = {"exits": EXITS, "symbols": SYMBOLS, **EVENTS}
    on = {
        "exits": exits({"reason": "npf", "latency_ns": 1}, {"reason": "cpuid", "latency_ns": 2}),
        "events/kvm/kvm_inj_virq": event({"vector": U32}, *[{"vector": 1}] * 4),
    }
    add_run(
        store,
        "00aa",
        {path: arranged(table) for path, table in off.items()},
        exits={"rows": 9, "suspect": 1},
        enabled=[("kvm", "kvm_vcpu_wakeup")],
        **times,
    )
    add_run(
        store,
        "11bb",
        {path: arranged(table) for path, table in on.items()},
        enabled=[("kvm", "kvm_msr")],
        enabled_ns=2 * SECOND,
        **times,
    )
    for run_id, part, seconds, counts in (
        ("22cc", "#1", 1.002100578, {"kvm_exit": 49849, "kvm_inj_virq": 21115, "kvm_entry": 47357, "kvm_cr": 0}),
        ("33dd", "#2", 1.002039622, {"kvm_exit": 29595, "kvm_inj_virq": 24884, "kvm_entry": 28354, "kvm_cr": None}),
    ):
        rows = [counter(name, value) for name, value in counts.items()]
        rows.append(counter("task-clock", 3.5, system=None, unit="msec"))
        add_run(
            store,
            run_id,
            {"counters": fixed_table("counters", rows)},
            kind="counters",
            source=Source("004.txt", "perf stat", 1, "blake3:0", part),
            elapsed_ns=round(seconds * SECOND),
        )
    catalogue = Catalogue(store)
    for run_id, label in {"00aa": "off", "11bb": "on", "22cc": "before", "33dd": "after"}.items():
        catalogue.set_label(run_id, Label(label))
    return store
