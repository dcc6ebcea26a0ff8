"""Every stored table: its columns, their Arrow types, units and meaning. The single source.

A table of one tracepoint (`events/<system>/<event>`) has the columns of `EVENT_COLUMNS` and then the event's own
fields, under their own names (a field that bears the name of one of ours gets a trailing underscore).
Changes within a major version only add columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = "1.2"
"""Schema version, `major.minor`; a reader refuses a newer major and reads a missing column as null."""


@dataclass(frozen=True, slots=True)
class Column:
    """One stored column; `type` is the name of an Arrow type, and the unit ends the name where there is one."""

    name: str
    type: str
    meaning: str
    nullable: bool = True


@dataclass(frozen=True, slots=True)
class Table:
    """One stored table. A run's own id is in its folder's name (`run_id=…`) and a column of every view."""

    name: str
    meaning: str
    columns: tuple[Column, ...]

    def arrow_schema(self) -> pa.Schema:
        """Return the Arrow schema of the table's files."""
        import pyarrow as pa  # noqa: PLC0415 - heavy, and `kvmtrace --help` reads this module

        return pa.schema([pa.field(c.name, pa.type_for_alias(c.type), nullable=c.nullable) for c in self.columns])

    def names(self) -> list[str]:
        """Return the names of the columns, in order."""
        return [c.name for c in self.columns]


EVENT_COLUMNS = (
    Column("ts_ns", "int64", "time of the event on the recording's clock", nullable=False),
    Column("cpu", "int32", "CPU that recorded the event"),
    Column("tid", "int32", "thread that recorded the event"),
    Column("vcpu", "int32", "vCPU that the thread ran, where known"),
    Column("exit_id", "int64", "exit of this thread in whose interval [exit, entry) the event fell"),
)

EXITS = Table(
    "exits",
    "One row for each VM exit.",
    (
        Column("exit_id", "int64", "ordinal of the exit's event in the recording", nullable=False),
        Column("vm_id", "string", "the VMM's process, where the recording tells it"),
        Column("vcpu", "int32", "vCPU number within its VM"),
        Column("tid", "int32", "thread that recorded the exit"),
        Column("cpu", "int32", "CPU of the exit"),
        Column("entry_cpu", "int32", "CPU of the next entry"),
        Column("exit_ts_ns", "int64", "time of the exit", nullable=False),
        Column("entry_ts_ns", "int64", "time of the next entry of that vCPU"),
        Column("latency_ns", "int64", "time out of the guest: exit to next entry"),
        Column("guest_ns", "int64", "time in the guest: previous entry to this exit"),
        Column("isa", "string", "what the reason code is a code of: VMX, SVM, trap, EC, exception, interrupt, SIE, …"),
        Column("reason_code", "int64", "exit reason as recorded, flags masked"),
        Column("reason", "string", "exit reason, as the recording's own print fmt names it"),
        Column("idle", "bool", "the guest waited (HLT, MWAIT, …): waiting, not cost", nullable=False),
        Column("detail_kind", "string", "what detail is: msr, port, gpa, hypercall, cpuid, cr, sigp, diag, …"),
        Column("detail", "uint64", "the MSR, port, address, … that the exit was about"),
        Column("detail_name", "string", "name of the detail, where it has one"),
        Column("detail_from", "string", "event and field that gave the detail; null: not recorded"),
        Column("userspace", "bool", "the exit went to the VMM; null: not recorded"),
        Column("userspace_ns", "int64", "time in the VMM"),
        Column("blocked_ns", "int64", "time that a halted vCPU slept; with polling where polled_ns is null"),
        Column("polled_ns", "int64", "time that a halted vCPU was polled for; null: not recorded how long"),
        Column("preempted_ns", "int64", "time that the thread could run and had no CPU, in the VMM or the kernel"),
        Column("hcall_ns", "int64", "time in the hypercall's handler (ppc64)"),
        Column("eoi", "bool", "the exit ended an interrupt; null: not recorded"),
        Column("nested", "int8", "guest level: 1 a guest, 2 a guest's guest; null: not recorded"),
        Column("reflected", "bool", "the exit was handed to the guest's own hypervisor; null: not recorded"),
        Column("closed_by", "string", "what ended the exit: entry, next_exit, hole, end", nullable=False),
        Column("suspect", "bool", "a loss or a hole lies inside: not in latency figures", nullable=False),
    ),
)

LATENCY_BUCKETS = Table(
    "latency_buckets",
    "Exits counted in log-linear buckets of their latency; sums, minima and maxima are exact.",
    (
        Column("vm_id", "string", "as in exits"),
        Column("vcpu", "int32", "as in exits"),
        Column("cpu", "int32", "as in exits"),
        Column("isa", "string", "as in exits"),
        Column("reason", "string", "as in exits"),
        Column("detail_kind", "string", "as in exits"),
        Column("detail", "uint64", "as in exits"),
        Column("detail_name", "string", "as in exits"),
        Column("detail_capped", "bool", "its details were too many to keep apart and are null here", nullable=False),
        Column("idle", "bool", "as in exits", nullable=False),
        Column("userspace", "bool", "as in exits"),
        Column("suspect", "bool", "as in exits", nullable=False),
        Column("bucket_low_ns", "int64", "lowest latency of the bucket; null: exits without a latency"),
        Column("bucket_high_ns", "int64", "highest latency of the bucket"),
        Column("n", "int64", "exits in the bucket", nullable=False),
        Column("sum_ns", "int64", "sum of their latencies"),
        Column("sum_sq_ns2", "double", "sum of the squares of their latencies"),
        Column("min_ns", "int64", "shortest latency of them"),
        Column("max_ns", "int64", "longest latency of them"),
        Column("userspace_ns", "int64", "sum of their time in the VMM; null: not recorded"),
        Column("blocked_ns", "int64", "sum of their time asleep in a halt; null: not recorded"),
        Column("polled_ns", "int64", "sum of their time polled for; null: not recorded"),
        Column("preempted_ns", "int64", "sum of their time without a CPU; null: not recorded"),
        Column("hcall_ns", "int64", "sum of their time in handlers of hypercalls; null: not recorded"),
    ),
)

COUNTERS = Table(
    "counters",
    "What `perf stat`, kvm_stat and KVM's statistics say: one row for each counter printed.",
    (
        Column(
            "event",
            "string",
            "event or statistic as its source names it, without its system (kvm_exit)",
            nullable=False,
        ),
        Column("system", "string", "system of a tracepoint (kvm); null: not a tracepoint"),
        Column("value", "double", "what was counted; null: not counted or not supported"),
        Column("unit", "string", "unit of value; null: a count of events"),
        Column("state", "string", "counted, not counted, not supported", nullable=False),
        Column("enabled_ns", "int64", "time that the counter was enabled"),
        Column("running_ns", "int64", "time that the counter ran"),
        Column("running_share", "double", "part of the enabled time that the counter ran, 0 to 1, as printed"),
        Column("stderr_share", "double", "standard error of the mean of the repeats, relative to it, 0 to 1"),
        Column("repeats", "int64", "runs that value is the mean of"),
        Column("interval_end_ns", "int64", "end of the interval since the start (-I)"),
        Column("scope", "string", "what is counted apart (CPU0, S0, a thread, a VM); null: everything"),
        Column("part", "string", "part of the event that is counted: in kvm_stat an exit reason; null: all of it"),
        Column("rate_per_s", "double", "events in a second, as printed; null: not printed"),
        Column("logged_at", "string", "wall clock of the row as logged, ISO 8601; null: not logged"),
        Column("line", "int64", "line of the source"),
    ),
)

EXIT_SUMMARIES = Table(
    "exit_summaries",
    "What `perf kvm stat` says: one row for each row that it printed.",
    (
        Column("event_kind", "string", "what the rows are: vmexit, mmio, ioport, msr, hcall", nullable=False),
        Column("reason", "string", "exit reason, address, port, MSR or hypercall, as printed", nullable=False),
        Column("detail_kind", "string", "what detail is, as in exits; null: reason names an exit reason"),
        Column("detail", "uint64", "the MSR, port, address, … of the row"),
        Column("detail_name", "string", "name of the detail, where the source gives one"),
        Column("direction", "string", "read or write, where the row tells it"),
        Column("samples", "int64", "exits of the row"),
        Column("samples_share", "double", "part of all exits, 0 to 1, as printed"),
        Column("time_share", "double", "part of all time, 0 to 1, as printed"),
        Column("min_ns", "double", "shortest time, as printed"),
        Column("max_ns", "double", "longest time, as printed"),
        Column("mean_ns", "double", "mean time, as printed"),
        Column("total_ns", "double", "time of all exits of the row, as printed; null: not printed"),
        Column("stderr_share", "double", "standard error of the mean, relative to it, 0 to 1, as printed (+-)"),
        Column("time_is", "string", "out of the guest, or in the guest (perf on arm64 and riscv); null: not told"),
        Column("scope", "string", "VMs and vCPUs that the table is of, as its heading says"),
        Column("logged_at", "string", "wall clock of the table, as printed (perf kvm stat live)"),
        Column("line", "int64", "line of the source"),
    ),
)

BENCHMARKS = Table(
    "benchmarks",
    "What benchmarks say: kvm-unit-tests and lists of cycles, one row for each figure or verdict.",
    (
        Column("suite", "string", "what printed the row (kvm-unit-tests); null: not told"),
        Column("test", "string", "test that the row is of (vmexit); null: not told"),
        Column("name", "string", "what was measured or checked, as printed", nullable=False),
        Column("value", "double", "the figure; null: a verdict, or skipped"),
        Column("unit", "string", "unit of value as given: cycles, ns, us, …; null: not given"),
        Column("statistic", "string", "what value is of its samples: mean, total, …; null: not told"),
        Column("clock", "string", "clock that counts the unit (TSC); null: not told"),
        Column("state", "string", "measured, pass, fail, xpass, xfail, kfail, skip, info, abort", nullable=False),
        Column("message", "string", "what stands behind the verdict, or beside the figure"),
        Column("line", "int64", "line of the source"),
    ),
)

SYMBOLS = Table(
    "symbols",
    "Names that a recording's own print fmt gives to the values of a field.",
    (
        Column("system", "string", "system of the tracepoint", nullable=False),
        Column("event", "string", "tracepoint", nullable=False),
        Column("field", "string", "field, as it is named in the event's table", nullable=False),
        Column("value", "int64", "value", nullable=False),
        Column("name", "string", "its name", nullable=False),
    ),
)

THREADS = Table(
    "threads",
    "Names of the threads that the recording knows.",
    (
        Column("pid", "int32", "process", nullable=False),
        Column("tid", "int32", "thread", nullable=False),
        Column("name", "string", "newest name of the thread", nullable=False),
    ),
)

TABLES = {
    table.name: table for table in (EXITS, LATENCY_BUCKETS, COUNTERS, EXIT_SUMMARIES, BENCHMARKS, SYMBOLS, THREADS)
}
"""Tables of fixed columns, by name."""
