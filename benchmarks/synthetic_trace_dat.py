"""The synthetic events as a trace.dat of version 6, uncompressed, as `trace-cmd record -e kvm` would leave it.

Layout: Documentation/trace-cmd/trace-cmd.dat.v6.5.txt of trace-cmd.
"""

from __future__ import annotations

import shutil
import struct
from contextlib import ExitStack
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING

import numpy as np

from benchmarks.perf_data_features import tracing_data
from benchmarks.recording_builder import FORMATS, KERNEL
from benchmarks.ring_buffer_pages import PAGE_BYTES, WORD_BYTES, CpuPages
from benchmarks.svm_vcpu import CPUS, RAW_OFFSET, THREADS
from benchmarks.synthetic_events import HOSTNAME, SyntheticEvents, column

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Records = NDArray[np.void]

TRACECLOCK, UNAME = 4, 5
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
        _join(target, _metadata(events), files)


def _of_cpus(parts: list[Records]) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64], NDArray[np.uint32]]]:
    """Yield each CPU of a window with its events by time: times, words of each event, and all these words."""
    counts = np.concatenate([np.full(len(records), 1 + _payload_words(records)) for records in parts])
    ts_ns, cpu = column(parts, "ts_ns"), column(parts, "cpu")
    order = np.lexsort((ts_ns, cpu))
    ends = np.cumsum(counts[order])
    starts = np.empty_like(counts)
    starts[order] = ends - counts[order]
    words = np.zeros(counts.sum(), np.uint32)
    first = 0
    for records in parts:
        payload = records.view(np.uint32).reshape(-1, records.dtype.itemsize // WORD_BYTES)[
            :, RAW_OFFSET // WORD_BYTES :
        ]
        payload = payload[:, : _payload_words(records)]
        words[starts[first : first + len(records), None] + 1 + np.arange(payload.shape[1])] = payload
        first += len(records)
    ts_ns, cpu, counts = ts_ns[order], cpu[order], counts[order]
    bounds = np.searchsorted(cpu, np.arange(CPUS + 1)).tolist()
    word_bounds = np.concatenate(([0], ends))[bounds].tolist()
    for number in range(CPUS):
        chosen = slice(bounds[number], bounds[number + 1])
        yield number, ts_ns[chosen], counts[chosen], words[word_bounds[number] : word_bounds[number + 1]]


def _payload_words(records: Records) -> int:
    """Return how many words an event takes: its fields up to the last, rounded up as a compiler does."""
    places = (field[:2] for field in (records.dtype.fields or {}).values())
    end = max(offset + kind.itemsize for kind, offset in places) - RAW_OFFSET
    return (end + -end % STRUCT_ALIGNMENT) // WORD_BYTES


def _metadata(events: SyntheticEvents) -> bytes:
    """Return what stands before the table of the CPUs' pages."""
    head = tracing_data(
        {"kvm": [events.exits.text, events.entries.text]},
        header_page=(FORMATS / "header_page.txt").read_text(),
        header_event=(FORMATS / "header_event.txt").read_text(),
        version="6",
        command_lines="".join(f"{thread.tid} {thread.comm}\n" for thread in THREADS),
    )
    uname = f"Linux {HOSTNAME} {KERNEL} x86_64\0".encode()
    options = b"".join(_option(number, content) for number, content in ((TRACECLOCK, CLOCKS), (UNAME, uname)))
    return head + struct.pack("<I", CPUS) + b"options  \0" + options + struct.pack("<H", 0) + b"flyrecord\0"


def _option(number: int, content: bytes) -> bytes:
    return struct.pack("<HI", number, len(content)) + content


def _join(target: Path, metadata: bytes, files: Sequence[IO[bytes]]) -> None:
    """Write the metadata, the place of each CPU's pages, the clock, and the pages from the next page on."""
    clock = struct.pack("<Q", len(CLOCKS)) + CLOCKS
    end = len(metadata) + 16 * len(files) + len(clock)
    start = end + -end % PAGE_BYTES
    with target.open("wb") as output:
        output.write(metadata)
        offset = start
        for file in files:
            output.write(struct.pack("<QQ", offset, file.tell()))
            offset += file.tell()
        output.write(clock + bytes(start - end))
        for file in files:
            file.seek(0)
            shutil.copyfileobj(file, output, 1 << 20)
