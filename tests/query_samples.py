"""Runs that the queries are asked of: two recordings and two runs of counters, each figure in them chosen.

A third recording has interrupts of two VMs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
from store_builder import add_run, event, exits, fixed_table

from kvmtrace import queries
from kvmtrace.store.catalogue import Catalogue
from kvmtrace.store.connection import StoreConnection
from kvmtrace.store.label import Label
from kvmtrace.store.manifest import Source

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECOND = 10**9

U8, U16, U32, U64 = pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()
I32, I64, BOOL, TEXT = pa.int32(), pa.int64(), pa.bool_(), pa.string()
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
    "events/kvm/kvm_exit": event(
        {"exit_reason": U32, "isa": U32, "info1": U64, "info2": U64},
        {"exit_reason": 0x400, "isa": 2, "info1": 6, "info2": 0xFEE000B0, "exit_id": 0},
        {"exit_reason": 0x400, "isa": 2, "info1": 6, "info2": 2**63, "exit_id": 1},
        {"exit_reason": 0x7B, "isa": 2, "info1": 0x03F80010, "info2": 0, "exit_id": 2},
        {"exit_reason": 0x7B, "isa": 2, "info1": 0x03F80010, "info2": 0, "exit_id": 3},
        {"exit_reason": 0x7C, "isa": 2, "info1": 1, "info2": 0, "exit_id": 6},
    ),
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

# A third recording: VM 7 has the vCPU threads 70 and 71, VM 8 the vCPU thread 80. Of VM 7's vCPU 1 an exit never ends.
_SPLIT = (
    "tid", "vm_id", "vcpu", "reason", "exit_ts_ns", "entry_ts_ns", "latency_ns",
    "userspace_ns", "blocked_ns", "polled_ns", "preempted_ns",
)  # fmt: skip
INTERRUPT_EXITS = exits(
    *(
        {**dict(zip(_SPLIT, row, strict=True)), "idle": row[3] == "hlt"}
        for row in (
            (70, "7", 0, "hlt", 900, 1110, 210, 0, 150, 50, 0),
            (71, "7", 1, "io", 1990, 2110, 120, 60, 0, 0, 20),
            (71, "7", 1, "hypercall", 3000, 3040, 40, 0, 0, 0, 10),
            (70, "7", 0, "hlt", 3050, 3110, 60, 0, 40, None, 0),
            (80, "8", 0, "msr", 4310, 4320, 10, None, 0, 0, 0),
            (70, "7", 0, "npf", 9500, 9600, 100, 0, 0, 0, 0),
            (71, "7", 1, "hlt", 9700, None, None, None, None, None, None),
        )
    )
)
INTERRUPT_THREADS = fixed_table(
    "threads",
    [
        {"pid": pid, "tid": tid, "name": name}
        for pid, tid, name in (
            (7, 7, "qemu"), (7, 70, "CPU 0/KVM"), (7, 71, "CPU 1/KVM"), (8, 8, "qemu"), (8, 80, "CPU 0/KVM"),
            (2, 20, "vhost-7"), (2, 21, "kworker/0:1"),
        )
    ],
)  # fmt: skip
ACCEPT = {"common_flags": U8, "apicid": U32, "dm": U16, "tm": U16, "vec": U8}
INJECT = {"vector": U32, "soft": BOOL, "reinjected": BOOL}
SWITCH = {"prev_comm": TEXT, "prev_pid": I32, "prev_state": I64, "next_comm": TEXT, "next_pid": I32}
HARDIRQ = 8


def accept(ts_ns: int, tid: int, apicid: int, vec: int, **more: object) -> dict[str, object]:
    """Return a kvm_apic_accept_irq of a fixed, edge-triggered interrupt."""
    fields = {"common_flags": 0, "apicid": apicid, "dm": 0, "tm": 0, "vec": vec}
    return {"ts_ns": ts_ns, "tid": tid, **fields, **more}


def inject(ts_ns: int, tid: int, vcpu: int, vector: int, **more: object) -> dict[str, object]:
    """Return a kvm_inj_virq of a hard interrupt."""
    return {"ts_ns": ts_ns, "tid": tid, "vcpu": vcpu, "vector": vector, "soft": False, "reinjected": False, **more}


def end(ts_ns: int, tid: int, apicid: int, vector: int) -> dict[str, object]:
    """Return a kvm_eoi or kvm_pv_eoi."""
    return {"ts_ns": ts_ns, "tid": tid, "vcpu": apicid, "apicid": apicid, "vector": vector}


def msi(ts_ns: int, tid: int, vec: int) -> dict[str, object]:
    return {"ts_ns": ts_ns, "tid": tid, "common_flags": 0, "address": 0xFEE00000, "data": vec}


def switch(ts_ns: int, tid: int, state: int, other: tuple[int, str], exit_id: int | None = None) -> dict[str, object]:
    """Return a sched_switch from the thread `tid`, in a state, to another."""
    names = {"prev_comm": "x", "prev_pid": tid, "prev_state": state, "next_pid": other[0], "next_comm": other[1]}
    return {"ts_ns": ts_ns, "tid": tid, "exit_id": exit_id, **names}


INTERRUPT_EVENTS = {
    "events/kvm/kvm_apic_accept_irq": event(
        ACCEPT,
        accept(1010, 7, 0, 35),  # of an MSI …
        accept(1030, 7, 0, 35),  # … and of another before the first is injected
        accept(2010, 71, 1, 34, vcpu=1, exit_id=1),  # of a line
        accept(3010, 71, 0, 251, vcpu=1, exit_id=2),  # of an IPI
        accept(3020, 71, 0, 2, vcpu=1, exit_id=2, dm=0x400),  # an NMI, sent too
        accept(4000, 70, 0, 236, vcpu=0),  # of a timer
        accept(4005, 80, 0, 236, vcpu=0),  # of the other VM's
        accept(4290, 80, 0, 253, vcpu=0),  # of an IPI to itself, told after it and before its exit
        accept(6000, 7, 0, 50),  # never injected
        accept(7000, 7, 0, 70),  # posted
        accept(8000, 21, 0, 35),  # by a thread of no VM
        accept(8010, 70, 0, 35, common_flags=HARDIRQ),  # by a device's interrupt on a thread of a VM
        accept(8110, 20, 1, 36),  # by a vhost worker
        accept(9800, 71, 1, 51, vcpu=1, exit_id=6),  # still pending at the end
    ),
    "events/kvm/kvm_apicv_accept_irq": event(
        {"apicid": U32, "dm": U16, "tm": U16, "vec": U8},
        {"ts_ns": 7001, "tid": 7, "apicid": 0, "dm": 0, "tm": 0, "vec": 70},
    ),
    "events/kvm/kvm_msi_set_irq": event(
        {"common_flags": U8, "address": U64, "data": U64},
        *(msi(ts_ns, tid, vec) for ts_ns, tid, vec in ((1000, 7, 35), (1020, 7, 35), (5990, 7, 50), (8100, 20, 36))),
        msi(8500, 7, 99),  # accepted by nobody
    ),
    "events/kvm/kvm_set_irq": event(
        {"gsi": U32, "level": I32},
        *({"ts_ns": ts_ns, "tid": 71, "vcpu": 1, "exit_id": 1, "gsi": 4, "level": 1} for ts_ns in (2000, 2030)),
    ),
    "events/kvm/kvm_ioapic_set_irq": event(
        {"common_flags": U8, "e": U64, "pin": I32, "coalesced": BOOL},
        *(
            {
                "ts_ns": ts_ns,
                "tid": 71,
                "vcpu": 1,
                "exit_id": 1,
                "common_flags": 0,
                "e": 34,
                "pin": 4,
                "coalesced": again,
            }
            for ts_ns, again in ((2020, False), (2040, True))
        ),
    ),
    "events/kvm/kvm_hypercall": event(
        {"nr": U64, "a3": U64},
        {"ts_ns": 3005, "tid": 71, "vcpu": 1, "exit_id": 2, "nr": 10, "a3": 0x40FB},
        {"ts_ns": 3015, "tid": 71, "vcpu": 1, "exit_id": 2, "nr": 10, "a3": 0x402},
        {"ts_ns": 3030, "tid": 71, "vcpu": 1, "exit_id": 2, "nr": 5, "a3": 251},
    ),
    "events/kvm/kvm_apic_ipi": event(
        {"icr_low": U32, "dest_id": U32},
        {"ts_ns": 4295, "tid": 80, "vcpu": 0, "icr_low": 0x400FD, "dest_id": 0},
        {"ts_ns": 8300, "tid": 80, "vcpu": 0, "icr_low": 0x608, "dest_id": 1},
    ),
    "events/kvm/kvm_inj_virq": event(
        INJECT,
        inject(500, 70, 0, 60),
        inject(1100, 70, 0, 35, exit_id=0),
        inject(2100, 71, 1, 34, exit_id=1),
        inject(2150, 71, 1, 34, reinjected=True),
        inject(2160, 71, 1, 128, soft=True),
        inject(3100, 70, 0, 251, exit_id=3),
        inject(4100, 70, 0, 236),
        inject(4150, 80, 0, 236),
        inject(4400, 80, 0, 253),
        inject(8200, 71, 1, 36),
    ),
    "events/kvm/kvm_eoi": event(
        {"apicid": U32, "vector": I32},
        *(end(*row) for row in ((1200, 70, 0, 35), (2200, 71, 1, 34), (4200, 70, 0, 236), (4260, 80, 0, 236))),
    ),
    "events/kvm/kvm_pv_eoi": event({"apicid": U32, "vector": I32}, end(1205, 70, 0, 35)),
    "events/sched/sched_switch": event(
        SWITCH,
        switch(2050, 71, 256, (70, "CPU 0/KVM"), exit_id=1),
        switch(2070, 70, 0, (71, "CPU 1/KVM")),  # preempted in the guest
        switch(3011, 71, 0, (21, "kworker/0:1"), exit_id=2),
        switch(3021, 21, 1, (71, "CPU 1/KVM")),
        switch(3060, 70, 1, (0, "swapper/0"), exit_id=3),  # sleeps
        switch(3090, 0, 0, (70, "CPU 0/KVM")),
        switch(9900, 71, 0, (21, "kworker/0:1"), exit_id=6),  # until the end
    ),
}


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
            source=Source("004.txt", "perf-stat", 1, "blake3:0", part),
            elapsed_ns=round(seconds * SECOND),
        )
    catalogue = Catalogue(store)
    for run_id, label in {"00aa": "off", "11bb": "on", "22cc": "before", "33dd": "after"}.items():
        catalogue.set_label(run_id, Label(label))
    return store


def add_interrupts(store: Path, arranged: Callable[[pa.Table], pa.Table] = lambda table: table) -> Path:
    """Add the recording that has interrupts to a store; it is called interrupts."""
    tables = {"exits": INTERRUPT_EXITS, "threads": INTERRUPT_THREADS, **INTERRUPT_EVENTS}
    times = {"first_ts_ns": 0, "last_ts_ns": 10_000, "elapsed_ns": 10_000}
    add_run(store, "01cc", {path: arranged(table) for path, table in tables.items()}, **times)
    Catalogue(store).set_label("01cc", Label("interrupts"))
    return store


def add_given(store: Path, arranged: Callable[[pa.Table], pa.Table] = lambda table: table) -> Path:
    """Add a run of a table of perf kvm stat, called summaries, and one of cycles, called benchmarks."""
    summaries: list[dict[str, object]] = [
        {
            "event_kind": "vmexit",
            "reason": "MSR_WRITE",
            "samples": 379929,
            "samples_share": 0.4136,
            "time_share": 0.2543,
            "min_ns": 1900.0,
            "max_ns": 60180.0,
            "mean_ns": 2860.0,
            "total_ns": 1.0866e9,
            "stderr_share": 0.0003,
            "time_is": "out of the guest",
            "scope": "all VMs, all VCPUs",
            "line": 23,
        },
        {"event_kind": "vmexit", "reason": "UNKNOWN", "samples": 2, "line": 24},
        {"event_kind": "vmexit", "reason": "UNKNOWN", "samples": 1, "line": 25},
        {
            "event_kind": "msr",
            "reason": "0x6e0:W",
            "detail_kind": "msr",
            "detail": 0x6E0,
            "detail_name": "IA32_TSC_DEADLINE",
            "direction": "write",
            "samples": 304839,
            "logged_at": "10:11:12.000013",
            "line": 25,
        },
    ]
    figures: list[dict[str, object]] = [
        {"suite": "kvm-unit-tests", "test": "vmexit", "name": "cpuid", "value": 1846.0, "unit": "cycles"},
        {"name": "NULL hcall", "value": 9587.0, "unit": "cycles", "statistic": "mean", "clock": "timebase"},
        {"test": "vmexit", "name": "ipi", "state": "skip", "message": "needs 2 vCPUs"},
    ]
    benchmarks = [{"state": "measured", "line": line, **row} for line, row in enumerate(figures, 7)]
    for run_id, table, rows, label in (
        ("44ee", "exit_summaries", summaries, "summaries"),
        ("55ff", "benchmarks", benchmarks, "benchmarks"),
    ):
        add_run(
            store,
            run_id,
            {table: arranged(fixed_table(table, rows))},
            kind=table,
            ingested_at=f"2025-01-01T00:00:00Z-{run_id}",
        )
        Catalogue(store).set_label(run_id, Label(label))
    return store


def answers(store: Path, name: str, **parameters: object) -> list[dict[str, Any]]:
    """Return the rows that a query gives, by column."""
    with StoreConnection(store) as connection:
        result = queries.run(connection, queries.load(name), parameters)
    return [dict(zip(result.names, row, strict=True)) for row in result.rows]
