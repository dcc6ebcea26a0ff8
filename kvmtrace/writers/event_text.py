"""A recording → the texts that `perf script` and tracefs' `trace` show of its events."""

from __future__ import annotations

import shutil
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.writers.events import Machine, raw_events
from kvmtrace.writers.print_text import EventPrinter
from kvmtrace.writers.text_heads import Ftrace, Heads, PerfScript, Threads, flags_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kvmtrace.recording import EventBlock
    from kvmtrace.writers.events import WritableRecording

LINES_OF_BLOCK = 1 << 15
"""Lines that are made at once."""


def write_perf_script(recording: WritableRecording, target: Path) -> None:
    """Write what `perf script --header --ns -F +pid` prints. UsageError: an event that cannot be printed."""
    _write(recording, target, PerfScript(recording.facts.events))


def write_ftrace(recording: WritableRecording, target: Path) -> None:
    """Write what tracefs' `trace` shows. UsageError: as above."""
    _write(recording, target, Ftrace())


def _write(recording: WritableRecording, target: Path, layout: Heads) -> None:
    """Write the lines aside: only behind the last of them it is known how many the header must tell."""
    order = Machine.of(recording.facts).order
    printer = _Printer(recording, layout, order)
    with TemporaryFile("w+", encoding="utf-8", newline="\n", dir=target.parent) as lines:
        events = 0
        for block in recording.blocks():
            printer.threads.add(block.threads)
            events += len(block.ts_ns)
            lines.writelines(printer.lines(block))
        lines.seek(0)
        with target.open("w", encoding="utf-8", newline="\n") as output:
            output.write(layout.top(recording.facts, events))
            shutil.copyfileobj(lines, output, 1 << 20)


class _Printer:
    """Prints the events of a recording."""

    def __init__(self, recording: WritableRecording, layout: Heads, order: str) -> None:
        self._events = recording.facts.events
        self._layout = layout
        self._order = order
        self._printers: dict[int, EventPrinter] = {}
        self.threads = Threads(recording.facts.threads)

    def lines(self, block: EventBlock) -> Iterator[str]:
        """Yield the line of each event."""
        texts = np.empty(len(block.ts_ns), object)
        flags = np.zeros(len(block.ts_ns), np.uint16)
        for kind, rows in block.rows.items():
            if not len(rows):
                continue
            event = self._events[kind]
            if kind not in self._printers:
                self._printers[kind] = EventPrinter(event, self._order)
            raw = raw_events(block, kind, event)
            name = self._layout.event(event)
            for first in range(0, len(rows), LINES_OF_BLOCK):
                piece = slice(first, first + LINES_OF_BLOCK)
                texts[rows[piece]] = [f"{name}{text}\n" for text in self._printers[kind].texts(raw[piece])]
            flags[rows] = flags_of(raw, event, self._order)
        heads = self._layout.heads(block, flags, self.threads)
        return (head + text for head, text in zip(heads, texts.tolist(), strict=True))
