"""The exits and entries of one vCPU of an AMD machine, as columns of whole perf samples.

Latencies have a lognormal body by reason and a Pareto tail. The vCPU moves to the next CPU every few thousand exits,
by the clock, and so now and then between an exit and its entry. No figure of it is measured anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.tracepoints import EventFormat, FieldShape
from kvmtrace.writers.perf_data_file import RecordType
from kvmtrace.writers.tracepoint_records import CPUMODE_KERNEL

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.recording_builder import MadeTracepoint

    Records = NDArray[np.void]

PAIRS_OF_CHUNK = 1 << 15  # made at once for one vCPU: bounds memory
EXITS_BETWEEN_MOVES = 3001
CPUS = 8
START_NS = 10**12

TAIL_SHARE = 1 / 2000  # exits that something else held up
TAIL_FACTOR = 20
TAIL_EXPONENT = 1.5
LONGEST_NS = 50_000_000
SHORTEST_NS = 150
GUEST_MEDIAN_NS = 5_000.0
GUEST_SIGMA = 0.9

KERNEL_TEXT = 0xFFFF_FFFF_8100_0000
KERNEL_TEXT_BYTES = 1 << 24
HOT_RIPS = 64
APIC_PAGE = 0xFEE0_00B0
EXIT_IP = 0xFFFF_FFFF_C041_B408  # in kvm_amd, where the tracepoint fires
ENTRY_IP = 0xFFFF_FFFF_C041_ABA8
SVM = 2

MSR, INTERRUPT, NPF, HLT, IO, VINTR, CPUID = 0x7C, 0x60, 0x400, 0x78, 0x7B, 0x64, 0x72


@dataclass(frozen=True, slots=True)
class Reason:
    """How often an SVM exit code happens, how long it takes (lognormal), and the length of its instruction."""

    name: str  # as the kernel prints it
    code: int
    share: float
    median_ns: float
    sigma: float
    instruction_bytes: int


REASONS = (
    Reason("msr", MSR, 0.41, 1_200.0, 0.35, 2),
    Reason("interrupt", INTERRUPT, 0.40, 1_900.0, 0.60, 0),
    Reason("npf", NPF, 0.03, 4_500.0, 0.70, 0),
    Reason("hlt", HLT, 0.08, 60_000.0, 1.00, 1),
    Reason("io", IO, 0.03, 15_000.0, 0.80, 1),
    Reason("vintr", VINTR, 0.03, 900.0, 0.30, 0),
    Reason("cpuid", CPUID, 0.02, 1_100.0, 0.25, 2),
)


@dataclass(frozen=True, slots=True)
class Thread:
    """A vCPU and its thread."""

    pid: int
    tid: int
    vcpu: int

    @property
    def comm(self) -> str:
        """Its name, as QEMU gives it."""
        return f"CPU {self.vcpu}/KVM"


THREADS = (Thread(2001, 2009, 0), Thread(2001, 2010, 1), Thread(3001, 3009, 0), Thread(3001, 3010, 1))

SAMPLE_HEAD = (
    ("type", "<u4"),
    ("misc", "<u2"),
    ("size", "<u2"),
    ("identifier", "<u8"),
    ("ip", "<u8"),
    ("pid", "<u4"),
    ("tid", "<u4"),
    ("ts_ns", "<u8"),
    ("cpu", "<u4"),
    ("reserved", "<u4"),
    ("period", "<u8"),
    ("raw_bytes", "<u4"),
)
"""A sample of PERF_RECORD_DEFAULT up to its raw bytes."""

RAW_OFFSET = np.dtype(list(SAMPLE_HEAD)).itemsize


def sample_dtype(event: EventFormat) -> np.dtype[np.void]:
    """Return a whole sample of `event`: the head, then the integer fields under their own names."""
    head = np.dtype(list(SAMPLE_HEAD))
    names = list(head.names or ())
    formats = [kind for _, kind in SAMPLE_HEAD]
    offsets = [head.fields[name][1] for name in names] if head.fields else []
    for field in event.fields:
        if field.shape in {FieldShape.INTEGER, FieldShape.BOOL, FieldShape.POINTER}:
            names.append(field.name)
            formats.append(f"<{'i' if field.signed else 'u'}{field.size}")
            offsets.append(RAW_OFFSET + field.offset)
    end = max(RAW_OFFSET + field.offset + field.size for field in event.fields)
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": end + -end % 8})


def mean_pair_ns() -> float:
    """Return the mean time of one vCPU from exit to exit, the tail left out."""
    handled = sum(reason.share * reason.median_ns * np.exp(reason.sigma**2 / 2) for reason in REASONS)
    return float(handled + GUEST_MEDIAN_NS * np.exp(GUEST_SIGMA**2 / 2))


class VcpuSource:
    """Makes the pairs of one vCPU, a chunk at a time, in order of time."""

    def __init__(self, index: int, pairs: int, seed: int, exits: MadeTracepoint, entries: MadeTracepoint) -> None:
        self.pairs_left = pairs
        self.clock_ns = START_NS  # no later record is older
        self._index = index
        self._thread = THREADS[index]
        self._random = np.random.default_rng([seed, index])
        self._exits = exits
        self._entries = entries
        self._move_ns = int(EXITS_BETWEEN_MOVES * mean_pair_ns())
        self._hot_rips = KERNEL_TEXT + self._random.integers(0, KERNEL_TEXT_BYTES, HOT_RIPS).astype(np.uint64)

    def next_chunk(self) -> tuple[Records, Records]:
        """Return the next exits and their entries."""
        pairs = min(self.pairs_left, PAIRS_OF_CHUNK)
        self.pairs_left -= pairs
        reason = self._random.choice(len(REASONS), pairs, p=[reason.share for reason in REASONS])
        latency_ns = self._latency_ns(reason)
        guest_ns = 1 + self._random.lognormal(np.log(GUEST_MEDIAN_NS), GUEST_SIGMA, pairs).astype(np.int64)
        entry_ts_ns = self.clock_ns + np.cumsum(guest_ns + latency_ns)
        self.clock_ns = int(entry_ts_ns[-1])
        rip = self._rips(pairs)
        entry_rip = rip + np.array([reason.instruction_bytes for reason in REASONS], np.uint64)[reason]
        return (
            self._exit_records(entry_ts_ns - latency_ns, reason, rip, entry_rip),
            self._entry_records(entry_ts_ns, entry_rip),
        )

    def _latency_ns(self, reason: NDArray[np.intp]) -> NDArray[np.int64]:
        log_median = np.log([reason.median_ns for reason in REASONS])[reason]
        sigma = np.array([reason.sigma for reason in REASONS])[reason]
        body = self._random.lognormal(log_median, sigma)
        held_up = self._random.random(len(reason)) < TAIL_SHARE
        body[held_up] *= TAIL_FACTOR * (1 + self._random.pareto(TAIL_EXPONENT, np.count_nonzero(held_up)))
        return np.clip(body, SHORTEST_NS, LONGEST_NS).astype(np.int64)

    def _rips(self, pairs: int) -> NDArray[np.uint64]:
        """Return guest addresses: a few hot ones, and one in five anywhere in the kernel's text."""
        rip = self._hot_rips[np.minimum(self._random.geometric(0.08, pairs) - 1, HOT_RIPS - 1)]
        anywhere = self._random.random(pairs) < 0.2
        rip[anywhere] = KERNEL_TEXT + self._random.integers(0, KERNEL_TEXT_BYTES, np.count_nonzero(anywhere)).astype(
            np.uint64,
        )
        return rip

    def _exit_records(
        self,
        ts_ns: NDArray[np.int64],
        reason: NDArray[np.intp],
        rip: NDArray[np.uint64],
        next_rip: NDArray[np.uint64],
    ) -> Records:
        code = np.array([reason.code for reason in REASONS], np.uint32)[reason]
        records = self._records(self._exits, ts_ns, EXIT_IP)
        records["exit_reason"] = code
        records["guest_rip"] = rip
        records["isa"] = SVM
        records["vcpu_id"] = self._thread.vcpu
        records["info1"], records["info2"] = self._infos(code, next_rip)
        records["intr_info"] = np.where(self._random.random(len(code)) < 0.01, 0x8000_00EC, 0)
        return records

    def _infos(self, code: NDArray[np.uint32], next_rip: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], ...]:
        """Return exit_info_1 and exit_info_2 as SVM defines them for each code."""
        pairs = len(code)
        port = self._random.choice(np.array([0x3F8, 0x3FD, 0x64, 0xCF8, 0xC110], np.uint64), pairs)
        out_byte = np.uint64(0x0210)  # ASZ32, SZ8
        fault = self._random.choice(np.array([0x1_0000_0004, 0x1_0000_0006, 0x1_0000_000D], np.uint64), pairs)
        page = self._random.integers(0, 1 << 20, pairs).astype(np.uint64) << np.uint64(12)
        page[self._random.random(pairs) < 0.5] = APIC_PAGE
        write = self._random.integers(0, 2, pairs).astype(np.uint64)
        kinds = [code == NPF, code == IO, code == MSR]
        nothing = np.uint64(0)
        info1 = np.select(kinds, [fault, port << np.uint64(16) | out_byte, write], nothing)
        info2 = np.select(kinds[:2], [page, next_rip], nothing)
        return info1, info2

    def _entry_records(self, ts_ns: NDArray[np.int64], rip: NDArray[np.uint64]) -> Records:
        records = self._records(self._entries, ts_ns, ENTRY_IP)
        records["vcpu_id"] = self._thread.vcpu
        records["rip"] = rip
        return records

    def _records(self, tracepoint: MadeTracepoint, ts_ns: NDArray[np.int64], ip: int) -> Records:
        """Return samples at `ts_ns` with everything but the event's own fields."""
        records = np.zeros(len(ts_ns), sample_dtype(tracepoint.event))
        cpu = (2 * self._index + (ts_ns + self._index * self._move_ns // 5) // self._move_ns) % CPUS
        size = records.dtype.itemsize
        constants = {
            "type": RecordType.SAMPLE,
            "misc": CPUMODE_KERNEL,
            "size": size,
            "ip": ip,
            "pid": self._thread.pid,
            "tid": self._thread.tid,
            "period": 1,
            "raw_bytes": size - RAW_OFFSET,
            "common_type": tracepoint.event.id,
            "common_pid": self._thread.tid,
        }
        for name, value in constants.items():
            records[name] = value
        records["identifier"] = np.array(tracepoint.attr.ids, np.uint64)[cpu]
        records["ts_ns"] = ts_ns
        records["cpu"] = cpu
        return records
