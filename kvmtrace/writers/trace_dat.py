"""A recording → trace.dat, as `trace-cmd record -e kvm` leaves it.

The pages of each CPU are gathered in a file of their own, which then is copied behind the tables.
"""

from __future__ import annotations

import re
import struct
from contextlib import ExitStack
from itertools import pairwise
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.errors import UsageError
from kvmtrace.writers.events import COMM_BYTES, Machine, raw_events, texts_by_system
from kvmtrace.writers.interleaving import interleaved
from kvmtrace.writers.ring_buffer_pages import WORD_BYTES, CpuPages
from kvmtrace.writers.trace_dat_file import CPUCOUNT, UNAME, BufferContent, FilePages, TraceDat

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from kvmtrace.recording import EventBlock, Facts
    from kvmtrace.writers.events import WritableRecording

CLOCKS = ("local", "global", "counter", "uptime", "perf", "mono", "mono_raw", "boot", "tai")
"""Clocks of every kernel, in the order of tracefs' trace_clock."""
_DATA = re.compile(r"char data;\toffset:(\d+);\tsize:(\d+);")


def write_trace_dat(recording: WritableRecording, target: Path, *, version: int = 7, compression: str = "none") -> None:
    """Write a trace.dat. UsageError: an event that has no fixed length, or a host without its number of CPUs."""
    machine = Machine.of(recording.facts)
    page_bytes = page_size(recording.header_texts["header_page"])
    names = {tid: name for (_, tid), name in recording.facts.threads.items()}
    with ExitStack() as opened:
        files = [opened.enter_context(TemporaryFile(dir=target.parent)) for _ in range(machine.cpus)]
        pages = [CpuPages(file, page_bytes=page_bytes, order=machine.order) for file in files]
        for block in recording.blocks():
            names.update((tid, name) for (_, tid), name in block.threads.items())
            for cpu, ts_ns, counts, words in _by_cpu(recording, machine, block):
                pages[cpu].add(ts_ns, counts, words)
        for of_cpu in pages:
            of_cpu.close()
        buffer = BufferContent(
            {cpu: FilePages(file) for cpu, file in enumerate(files)},
            clock=_clock(recording.facts),
            page_bytes=page_bytes,
        )
        made = TraceDat(
            texts_by_system(recording),
            [buffer],
            machine.order,
            version,
            compression,
            page_bytes=page_bytes,
            threads={tid: name.encode()[:COMM_BYTES].decode(errors="ignore") for tid, name in names.items()},
            options=_options(recording.facts, machine),
            clocks=_clocks(recording.facts),
            header_page=recording.header_texts["header_page"],
            header_event=recording.header_texts["header_event"],
        )
        with target.open("wb") as output:
            made.write(output)


def page_size(header_page: str) -> int:
    """Return the bytes of a page as tracefs' header_page tells them. UsageError: it does not."""
    data = _DATA.search(header_page)
    if data is None:
        raise UsageError("cannot be written: header_page does not say how long a page is")
    return int(data[1]) + int(data[2])


def _clock(facts: Facts) -> str:
    return facts.clock if facts.clock in CLOCKS else CLOCKS[0]


def _clocks(facts: Facts) -> bytes:
    clock = _clock(facts)
    return (" ".join(f"[{name}]" if name == clock else name for name in CLOCKS) + "\n\0").encode()


def _options(facts: Facts, machine: Machine) -> list[tuple[int, bytes]]:
    uname = f"Linux {facts.host.get('hostname', '')} {facts.host.get('kernel', '')} {machine.arch}"
    return [
        (UNAME, f"{uname}\0".encode()),
        (CPUCOUNT, struct.pack(f"{machine.order}I", machine.cpus)),
    ]


def _by_cpu(
    recording: WritableRecording, machine: Machine, block: EventBlock
) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64], NDArray[np.uint32]]]:
    """Yield each CPU with its events in a block by time: times, words of each event, and all these words."""
    parts, rows = [], []
    for kind, own in sorted(block.rows.items()):
        if len(own):
            parts.append(_words(raw_events(block, kind, recording.facts.events[kind]), machine.order))
            rows.append(own)
    if not parts:
        return
    places = np.concatenate(rows)
    order = np.lexsort((places, block.ts_ns[places], block.cpu[places]))
    words, ends = interleaved(parts, order)
    counts = np.diff(ends, prepend=0)
    ts_ns, cpu = block.ts_ns[places[order]], block.cpu[places[order]]
    firsts = np.append(np.flatnonzero(np.diff(cpu, prepend=-1)), len(cpu)).tolist()
    for first, behind in pairwise(firsts):
        chosen = slice(first, behind)
        yield int(cpu[first]), ts_ns[chosen], counts[chosen], words[ends[first] - counts[first] : ends[behind - 1]]


def _words(raw: NDArray[np.uint8], order: str) -> NDArray[np.uint32]:
    """Return raw events as words, one free before each."""
    size = raw.shape[1] + -raw.shape[1] % WORD_BYTES
    padded = np.zeros((len(raw), WORD_BYTES + size), np.uint8)
    padded[:, WORD_BYTES : WORD_BYTES + raw.shape[1]] = raw
    return padded.view(f"{order}u4")
