"""The synthetic events as a trace.dat of version 6, uncompressed, as `trace-cmd record -e kvm` would leave it.

Layout: Documentation/trace-cmd/trace-cmd.dat.v6.5.txt of trace-cmd.
"""

from __future__ import annotations

from contextlib import ExitStack
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.recording_builder import KERNEL
from benchmarks.svm_vcpu import CPUS, RAW_OFFSET, THREADS
from benchmarks.synthetic_events import HOSTNAME, SyntheticEvents, column
from kvmtrace.synth.event_formats import header_text
from kvmtrace.writers.interleaving import interleaved
from kvmtrace.writers.ring_buffer_pages import WORD_BYTES, CpuPages
from kvmtrace.writers.trace_dat_file import UNAME, BufferContent, FilePages, TraceDat

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from kvmtrace.writers.trace_dat_file import Pages

    Records = NDArray[np.void]

CLOCKS = b"[local] global counter uptime perf mono mono_raw boot tai x86-tsc\n\0"
STRUCT_ALIGNMENT = 8  # of a struct that holds a u64, and so of an event


def write_trace_dat(target: Path, *, samples: int, seed: int = 1) -> None:
    """Write a trace.dat of `samples` events to `target`. ValueError: an odd number, for they come in pairs."""
    events = SyntheticEvents.of(samples, seed)
    with ExitStack() as opened:
        files = [opened.enter_context(TemporaryFile(dir=target.parent)) for _ in range(CPUS)]
        pages = [CpuPages(file) for file in files]
        for window in events.in_time():
            for cpu, ts_ns, counts, words in _of_cpus(window):
                pages[cpu].add(ts_ns, counts, words)
        for of_cpu in pages:
            of_cpu.close()
        pages_of_cpus = {cpu: FilePages(file) for cpu, file in enumerate(files)}
        with target.open("wb") as output:
            _file(events, pages_of_cpus).write(output)


def _of_cpus(parts: list[Records]) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64], NDArray[np.uint32]]]:
    """Yield each CPU of a window with its events by time: times, words of each event, and all these words."""
    ts_ns, cpu = column(parts, "ts_ns"), column(parts, "cpu")
    order = np.lexsort((ts_ns, cpu))
    words, ends = interleaved([_words(records) for records in parts], order)
    ts_ns, cpu, counts = ts_ns[order], cpu[order], np.diff(ends, prepend=0)
    bounds = np.searchsorted(cpu, np.arange(CPUS + 1)).tolist()
    word_bounds = np.concatenate(([0], ends))[bounds].tolist()
    for number in range(CPUS):
        chosen = slice(bounds[number], bounds[number + 1])
        yield number, ts_ns[chosen], counts[chosen], words[word_bounds[number] : word_bounds[number + 1]]


def _words(records: Records) -> NDArray[np.uint32]:
    """Return the events of records as words, one free before each."""
    raw = records.view(np.uint32).reshape(-1, records.dtype.itemsize // WORD_BYTES)
    payload = raw[:, RAW_OFFSET // WORD_BYTES :][:, : _payload_words(records)]
    words = np.zeros((len(records), 1 + _payload_words(records)), np.uint32)
    words[:, 1 : 1 + payload.shape[1]] = payload
    return words


def _payload_words(records: Records) -> int:
    """Return how many words an event takes: its fields up to the last, rounded up as a compiler does."""
    places = (field[:2] for field in (records.dtype.fields or {}).values())
    end = max(offset + kind.itemsize for kind, offset in places) - RAW_OFFSET
    return (end + -end % STRUCT_ALIGNMENT) // WORD_BYTES


def _file(events: SyntheticEvents, pages: Mapping[int, Pages]) -> TraceDat:
    """Return what stands around the pages of the CPUs."""
    uname = f"Linux {HOSTNAME} {KERNEL} x86_64\0".encode()
    return TraceDat(
        {"kvm": [events.exits.text, events.entries.text]},
        [BufferContent(pages)],
        version=6,
        threads={thread.tid: thread.comm for thread in THREADS},
        options=[(UNAME, uname)],
        clocks=CLOCKS,
        header_page=header_text("x86_64", "header_page"),
        header_event=header_text("x86_64", "header_event"),
    )
