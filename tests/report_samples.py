"""Summaries of reports, built by hand: no store, no recording."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvmtrace.exit_keys import By, Key
from kvmtrace.report.grouping import BucketRow, sections
from kvmtrace.report.summary import Bucket, Counter, ExitTable, Summary
from kvmtrace.store.label import Label
from kvmtrace.store.manifest import Lost, Manifest, Source, Tracepoint

if TYPE_CHECKING:
    from kvmtrace.report.summary import Row

MSR_DEADLINE = Key("msr", "msr", 0x6E0, "IA32_TSC_DEADLINE")
MSR_OTHER = Key("msr", "msr", detail_capped=True)
PAGE_FAULT = Key("npf", "gpa", 0xFEBFB000)
HALT = Key("hlt")


def bucket_row(
    key: Key,
    latencies_ns: list[int],
    *,
    idle: bool = False,
    suspect: bool = False,
    n: int = 0,
    userspace: int | None = 0,
    **parts_ns: int,
) -> BucketRow:
    """Return a row of exits with these latencies, or of `n` exits outside the latency figures."""
    timed = bool(latencies_ns)
    return BucketRow(
        idle,
        suspect,
        *key,
        low_ns=min(latencies_ns) if timed else None,
        high_ns=max(latencies_ns) if timed else None,
        n=n or len(latencies_ns),
        userspace=userspace,
        sum_ns=sum(latencies_ns) if timed else None,
        sum_sq_ns2=float(sum(ns**2 for ns in latencies_ns)) if timed else None,
        min_ns=min(latencies_ns) if timed else None,
        max_ns=max(latencies_ns) if timed else None,
        several_vms=False,
        userspace_ns=parts_ns.get("userspace_ns"),
        blocked_ns=parts_ns.get("blocked_ns"),
        polled_ns=parts_ns.get("polled_ns"),
        preempted_ns=parts_ns.get("preempted_ns"),
        hcall_ns=parts_ns.get("hcall_ns"),
    )


ROWS = [
    bucket_row(MSR_DEADLINE, [1000] * 90),
    bucket_row(MSR_DEADLINE, [4000] * 9),
    bucket_row(MSR_DEADLINE, [1_048_576]),
    bucket_row(MSR_DEADLINE, [], suspect=True, n=12, userspace=None),
    bucket_row(MSR_OTHER, [2000, 2010, 2020]),
    bucket_row(PAGE_FAULT, [700], userspace=1),
    bucket_row(HALT, [3_000_000, 3_040_000], idle=True),
    bucket_row(HALT, [], idle=True, n=1),
]
"""99 quick MSR writes and a slow one, 12 suspect ones, 3 of other MSRs, a page fault, three idle exits."""

SPLIT_ROWS = [
    bucket_row(MSR_OTHER, [2000, 2010], userspace_ns=0, blocked_ns=0, polled_ns=0, preempted_ns=0),
    bucket_row(PAGE_FAULT, [10_000], userspace=1, userspace_ns=6_000, blocked_ns=0, polled_ns=0, preempted_ns=1_500),
    bucket_row(PAGE_FAULT, [], suspect=True, n=2, userspace=None),
    bucket_row(HALT, [3_000_000], idle=True, userspace_ns=0, blocked_ns=2_700_000, polled_ns=200_000, preempted_ns=0),
]
"""Exits of which is recorded where their time went."""


def manifest(**facts: Any) -> Manifest:  # noqa: ANN401 - any fact of a manifest
    """Return the manifest of a recording of two seconds; `facts` replace what it says."""
    told: dict[str, Any] = {
        "run_id": "6e163c13fcf26b85",
        "kind": "recording",
        "source": Source("guest.perf.data", "perf.data", 1_841_830, "blake3:" + "0" * 64),
        "ingested_at": "2026-01-01T00:00:00Z",
        "kvmtrace_version": "0.1.0",
        "host": {"hostname": "rig", "kernel": "6.1.0-56-amd64", "arch": "x86_64", "cpu": "AMD EPYC 7543"},
        "tool": {"version": "6.1.187", "cmdline": "perf record -e kvm:* -a"},
        "clock": "perf clock",
        "elapsed_ns": 2_000_000_000,
        "tracepoints": (
            Tracepoint("kvm", "kvm_exit", 119, 119),
            Tracepoint("kvm", "kvm_entry", 118, 118),
            Tracepoint("kvm", "kvm_inj_virq", 50, 50),
            Tracepoint("kvm", "kvm_userspace_exit", 1, 1),
            Tracepoint("kvm", "kvm_pv_eoi", 0, 0),
        ),
        "exits": {"rows": 119, "closed_by_entry": 118, "closed_by_end": 1},
        "lost": (Lost("LOST", 0, 3000, 30, 5, 9), Lost("LOST", 1, 521, 6, 5, 9)),
        "left_out": ("callchain",),
    }
    return Manifest(**(told | facts))


def exits(*by: By, with_idle: bool = False, rows: list[BucketRow] | None = None, **facts: Any) -> Summary:  # noqa: ANN401 - any fact of a manifest
    """Return the report of a recording with exits."""
    rows = ROWS if rows is None else rows
    table = ExitTable(by or (By.REASON,), sections(_kept(rows, by), with_idle=with_idle), with_idle=with_idle)
    distribution = tuple(
        Bucket(row.reason, row.low_ns, row.high_ns or row.low_ns, row.n, row.sum_ns or 0)
        for row in rows
        if row.low_ns is not None and (with_idle or not row.idle)
    )
    return Summary(manifest(**facts), Label("before", {"pv_eoi": "off"}), exits=table, distribution=distribution)


def _kept(rows: list[BucketRow], by: tuple[By, ...]) -> list[BucketRow]:
    """Drop the keys that `by` does not name, as the query does."""
    if By.DETAIL in by:
        return rows
    return [row._replace(detail_kind=None, detail=None, detail_name=None, detail_capped=False) for row in rows]


NO_EXIT_EVENTS = (
    Tracepoint("kvm", "kvm_pio", 2_000_000, 2_000_000),
    Tracepoint("kvm", "kvm_userspace_exit", 2_000_001, 2_000_001),
    Tracepoint("kvm", "kvm_pv_eoi", 0, 0),
)


def no_exits(**facts: Any) -> Summary:  # noqa: ANN401 - any fact of a manifest
    """Return the report of a recording without exits."""
    return Summary(manifest(**({"exits": {}, "lost": (), "tracepoints": NO_EXIT_EVENTS} | facts)), Label())


def counters(*rows: Counter, **facts: Any) -> Summary:  # noqa: ANN401 - any fact of a manifest
    """Return the report of a run of counters."""
    nothing: dict[str, Any] = {
        "host": {},
        "tool": {},
        "clock": None,
        "tracepoints": (),
        "exits": {},
        "lost": (),
        "left_out": (),
    }
    source = Source("mail.txt", "perf-stat", 8183, "blake3:" + "1" * 64, "#1", "Before: 'sleep 1s'")
    told = {"run_id": "a4f425123e406969", "kind": "counters", "source": source, "elapsed_ns": 1_002_100_578}
    return Summary(manifest(**(nothing | told | facts)), Label(), counters=rows or COUNTERS)


def given(kind: str, rows: tuple[Row, ...]) -> Summary:
    """Return the report of a run of figures that somebody else worked out."""
    source = Source("slides.txt", "perf-kvm-stat", 3497, "blake3:" + "2" * 64)
    nothing: dict[str, Any] = dict.fromkeys(("tracepoints", "lost", "left_out"), ())
    told = {"run_id": "c9a646d3d3b2f0aa", "kind": kind, "source": source, "host": {}, "tool": {}, "clock": None}
    return Summary(manifest(**(nothing | told | {"exits": {}, "elapsed_ns": None})), Label(), given=rows)


_SUMMARY: Row = {
    "event_kind": "vmexit",
    "reason": "MSR_WRITE",
    "detail_kind": None,
    "detail": None,
    "detail_name": None,
    "direction": None,
    "samples": 379929,
    "samples_share": 0.4136,
    "time_share": 0.2543,
    "min_ns": 1900.0,
    "max_ns": 60180.0,
    "mean_ns": 2860.0,
    "total_ns": None,
    "stderr_share": 0.0003,
    "time_is": "out of the guest",
    "scope": None,
    "logged_at": None,
}
SUMMARIES: tuple[Row, ...] = (
    _SUMMARY,
    {
        **dict.fromkeys(_SUMMARY),
        "event_kind": "msr",
        "reason": "0x6e0:W",
        "detail_kind": "msr",
        "detail": 0x6E0,
        "detail_name": "IA32_TSC_DEADLINE",
        "samples": 304839,
    },
)
_FIGURE: Row = dict.fromkeys(("suite", "test", "name", "value", "unit", "statistic", "clock", "state", "message"), None)
BENCHMARKS: tuple[Row, ...] = (
    {**_FIGURE, "name": "Upstream virt NULL hcall", "value": 9587.0, "unit": "cycles", "state": "measured"},
    {**_FIGURE, "name": "vmexit | ipi", "state": "skip", "message": "needs <2> vCPUs"},
)
COUNTERS = (
    Counter(None, "kvm", "kvm_exit", None, None, 49849.0, "counted", running_share=0.9998),
    Counter(None, "kvm", "kvm_inj_virq", None, None, 21115.0, "counted", running_share=0.9998),
    Counter(None, "kvm", "kvm_pv_eoi", None, None, 0.0, "counted", running_share=0.9999),
    Counter(None, "kvm", "kvm_nested_vmrun", None, None, None, "not supported", counted_rows=0),
    Counter(None, None, "cycles", None, None, None, "not counted", counted_rows=0),
    Counter(None, None, "task-clock", None, "msec", 1000.25, "counted", running_share=1.0),
)
