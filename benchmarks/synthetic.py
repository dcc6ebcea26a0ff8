"""Makes a large perf.data of kvm_exit and kvm_entry: `python -m benchmarks.synthetic -n 4000000 TARGET`.

Two VMs of two vCPUs on eight CPUs. Records stand as `perf record` leaves them: by round, in it by CPU, on a CPU by
time, each CPU read a little later than the one before it. The same seed gives the same bytes.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.perf_data_writer import FINISHED_ROUND, Form, PerfDataWriter
from benchmarks.recording_builder import Recording
from benchmarks.svm_vcpu import CPUS, START_NS, THREADS, VcpuSource, mean_pair_ns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Records = NDArray[np.void]

DEFAULT_SAMPLES = 4_000_000
PAIRS_OF_ROUND = 4096
READ_SKEW_NS = 15_000  # CPU n is read n times this after CPU 0


def write_synthetic(
    target: Path, *, samples: int = DEFAULT_SAMPLES, seed: int = 1, form: Form | str = Form.FILE
) -> None:
    """Write a recording of `samples` samples to `target`. ValueError: an odd number, for they come in pairs."""
    if samples % 2:
        raise ValueError(f"expected an even number of samples, found {samples}")
    recording = Recording(cpus=CPUS, hostname="synthetic")
    exits = recording.add_tracepoint("kvm", "kvm_exit")
    entries = recording.add_tracepoint("kvm", "kvm_entry")
    _name_threads(recording)
    shares = [samples // 2 // len(THREADS) + (index < samples // 2 % len(THREADS)) for index in range(len(THREADS))]
    vcpus = [VcpuSource(index, pairs, seed, exits, entries) for index, pairs in enumerate(shares)]
    with PerfDataWriter(target, form, attrs=[exits.attr, entries.attr], features=recording.features()) as writer:
        writer.write(b"".join(recording.records))
        for records in rounds(vcpus):
            writer.write(records)
            writer.write_user(FINISHED_ROUND)


def rounds(vcpus: Sequence[VcpuSource]) -> Iterator[memoryview]:
    """Yield the records of one round after the other."""
    round_ns = int(PAIRS_OF_ROUND * mean_pair_ns() / len(vcpus))
    held: list[Records] = []
    while left := [vcpu for vcpu in vcpus if vcpu.pairs_left]:
        held += min(left, key=lambda vcpu: vcpu.clock_ns).next_chunk()
        complete_ns = min((vcpu.clock_ns for vcpu in vcpus if vcpu.pairs_left), default=None)
        last = None if complete_ns is None else _round_of(np.array([complete_ns]), CPUS - 1, round_ns)[0]
        ready = []
        for index, records in enumerate(held):
            done = np.ones(len(records), bool) if last is None else _round_of_records(records, round_ns) < last
            ready.append(_selected(records, done))
            held[index] = _selected(records, ~done)
        held = [records for records in held if len(records)]
        yield from _laid_out(ready, round_ns)


def _selected(records: Records, chosen: NDArray[np.bool]) -> Records:
    """Return the chosen records, copied as plain bytes: by field, numpy would leave the padding as it finds it."""
    return records.view(np.dtype((np.void, records.dtype.itemsize)))[chosen].view(records.dtype)


def _round_of(ts_ns: NDArray[np.int64], cpu: NDArray[np.int64] | int, round_ns: int) -> NDArray[np.int64]:
    """Return the round in which each record is read: a CPU that is read later gives more."""
    return (ts_ns - START_NS - cpu * READ_SKEW_NS) // round_ns


def _round_of_records(records: Records, round_ns: int) -> NDArray[np.int64]:
    return _round_of(records["ts_ns"].astype(np.int64), records["cpu"].astype(np.int64), round_ns)


def _laid_out(parts: Sequence[Records], round_ns: int) -> Iterator[memoryview]:
    """Yield the bytes of each round: records by CPU, on a CPU by time."""
    ts_ns = np.concatenate([records["ts_ns"] for records in parts])
    cpu = np.concatenate([records["cpu"] for records in parts])
    of_round = np.concatenate([_round_of_records(records, round_ns) for records in parts])
    words = np.concatenate([np.full(len(records), records.dtype.itemsize // 8) for records in parts])
    order = np.lexsort((ts_ns, cpu, of_round))
    ends = np.cumsum(words[order])
    starts = np.empty_like(words)
    starts[order] = ends - words[order]
    laid_out = np.empty(ends[-1] if len(ends) else 0, np.uint64)
    first = 0
    for records in parts:
        width = records.dtype.itemsize // 8
        places = starts[first : first + len(records), None] + np.arange(width)
        laid_out[places] = records.view(np.uint64).reshape(-1, width)
        first += len(records)
    round_ends = ends[np.flatnonzero(np.diff(of_round[order], append=of_round.max(initial=0) + 1))]
    start = 0
    for end in round_ends.tolist():
        yield laid_out[start:end].data.cast("B")
        start = end


def _name_threads(recording: Recording) -> None:
    for pid in sorted({thread.pid for thread in THREADS}):
        recording.add_comm("qemu-system-x86", pid=pid, tid=pid)
    for thread in THREADS:
        recording.add_comm(f"CPU {thread.vcpu}/KVM", pid=thread.pid, tid=thread.tid)


def main() -> None:
    """Write the file that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("target", type=Path)
    parser.add_argument("-n", "--samples", type=int, default=DEFAULT_SAMPLES)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--form", choices=[form.value for form in Form], default=Form.FILE.value)
    options = parser.parse_args()
    write_synthetic(options.target, samples=options.samples, seed=options.seed, form=options.form)


if __name__ == "__main__":
    main()
