"""Makes a large recording of kvm_exit and kvm_entry: `python -m benchmarks.synthetic -n 4000000 --form FORM TARGET`.

Two VMs of two vCPUs on eight CPUs. The same seed gives the same bytes, and in every form the same events.
In a perf.data, records stand as `perf record` leaves them: by round, in it by CPU, on a CPU by time, each CPU read a
little later than the one before it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.svm_vcpu import CPUS, START_NS, THREADS, mean_pair_ns
from benchmarks.synthetic_events import SyntheticEvents, column
from benchmarks.synthetic_text import TextForm, write_text
from benchmarks.synthetic_trace_dat import write_trace_dat
from kvmtrace.writers.interleaving import interleaved
from kvmtrace.writers.perf_data_file import FINISHED_ROUND, Form, PerfDataWriter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from benchmarks.recording_builder import Recording

    Records = NDArray[np.void]

DEFAULT_SAMPLES = 4_000_000
TRACE_DAT = "trace.dat"
PAIRS_OF_ROUND = 4096
READ_SKEW_NS = 15_000  # CPU n is read n times this after CPU 0
ROUND_NS = int(PAIRS_OF_ROUND * mean_pair_ns() / len(THREADS))


def write_synthetic(
    target: Path, *, samples: int = DEFAULT_SAMPLES, seed: int = 1, form: Form | str = Form.FILE
) -> None:
    """Write a perf.data of `samples` samples to `target`. ValueError: an odd number, for they come in pairs."""
    events = SyntheticEvents.of(samples, seed)
    _name_threads(events.recording)
    attrs = [events.exits.attr, events.entries.attr]
    with PerfDataWriter(target, form, attrs=attrs, features=events.recording.features()) as writer:
        writer.write(b"".join(events.recording.records))
        for records in rounds(events):
            writer.write(records)
            writer.write_user(FINISHED_ROUND)


def rounds(events: SyntheticEvents) -> Iterator[memoryview]:
    """Yield the records of one round after the other."""
    for window in events.windows(_read_before):
        yield from _laid_out(window)


def _read_before(records: Records, complete_ns: int) -> NDArray[np.bool]:
    """Return which records are of a round that ends before `complete_ns` on the CPU that is read last."""
    return np.less(_round_of_records(records), _round_of(np.array([complete_ns]), CPUS - 1))


def _round_of(ts_ns: NDArray[np.int64], cpu: NDArray[np.int64] | int) -> NDArray[np.int64]:
    """Return the round in which each record is read: a CPU that is read later gives more."""
    return (ts_ns - START_NS - cpu * READ_SKEW_NS) // ROUND_NS


def _round_of_records(records: Records) -> NDArray[np.int64]:
    return _round_of(records["ts_ns"].astype(np.int64), records["cpu"].astype(np.int64))


def _laid_out(parts: list[Records]) -> Iterator[memoryview]:
    """Yield the bytes of each round: records by CPU, on a CPU by time."""
    of_round = np.concatenate([_round_of_records(records) for records in parts])
    order = np.lexsort((column(parts, "ts_ns"), column(parts, "cpu"), of_round))
    words = [records.view(np.uint64).reshape(-1, records.dtype.itemsize // 8) for records in parts]
    laid_out, ends = interleaved(words, order)
    round_ends = ends[np.flatnonzero(np.diff(of_round[order], append=of_round.max(initial=0) + 1))]
    start = 0
    for end in round_ends.tolist():
        yield laid_out[start:end].data.cast("B")
        start = end


def _name_threads(recording: Recording) -> None:
    for pid in sorted({thread.pid for thread in THREADS}):
        recording.add_comm("qemu-system-x86", pid=pid, tid=pid)
    for thread in THREADS:
        recording.add_comm(thread.comm, pid=thread.pid, tid=thread.tid)


def main() -> None:
    """Write the file that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("target", type=Path)
    parser.add_argument("-n", "--samples", type=int, default=DEFAULT_SAMPLES)
    parser.add_argument("--seed", type=int, default=1)
    forms = [*Form, TRACE_DAT, *TextForm]
    parser.add_argument("--form", choices=[str(form) for form in forms], default=Form.FILE.value)
    options = parser.parse_args()
    if options.form == TRACE_DAT:
        write_trace_dat(options.target, samples=options.samples, seed=options.seed)
    elif options.form in list(TextForm):
        write_text(options.target, TextForm(options.form), samples=options.samples, seed=options.seed)
    else:
        write_synthetic(options.target, samples=options.samples, seed=options.seed, form=options.form)


if __name__ == "__main__":
    main()
