"""Events of several threads → blocks in order of time, and the recording that they make."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kvmtrace.recording import EventBlock, Notes
from kvmtrace.synth import event_formats, machine
from kvmtrace.synth.emission import Piece
from kvmtrace.tracepoints.records import DecodedFields

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from kvmtrace.synth.engine import Run
    from kvmtrace.synth.exit_scripts import Scripts
    from kvmtrace.synth.machine import Thread

Window = tuple["Sequence[Piece]", int]
"""Pieces, and the time in nanoseconds before which no later piece has an event."""
NO_END = (1 << 63) - 1


class ModelRecording:
    """A recording that a model makes (recording.Recording), in order of time.

    `format_texts` are the format texts of its events by kind, `header_texts` those of the ring buffer.
    """

    def __init__(
        self, run: Run, scripts: Scripts, threads: Sequence[Thread], windows: Callable[[], Iterator[Window]]
    ) -> None:
        kinds = scripts.kinds
        self.facts = machine.facts(run, [kind.event for kind in kinds], threads)
        self.notes = Notes()
        self.format_texts = {number: kind.text for number, kind in enumerate(kinds)}
        arch = run.setting.platform.arch
        self.header_texts = {name: event_formats.header_text(arch, name) for name in ("header_page", "header_event")}
        self._kinds = kinds
        self._windows = windows
        self._most = run.events

    def blocks(self) -> Iterator[EventBlock]:
        """Make the events, from the first to the last."""
        left = NO_END if self._most is None else self._most
        for piece, watermark_ns in in_time(self._windows()):
            yield self._block(piece.part(np.arange(len(piece.ts_ns)) < left), watermark_ns)
            left -= len(piece.ts_ns)
            if left <= 0:
                return

    def _block(self, piece: Piece, watermark_ns: int) -> EventBlock:
        fields = {}
        for number, records in piece.records.items():
            layout = self._kinds[number].layout
            fields[number] = DecodedFields(layout, records.view(layout.dtype), {})
        return EventBlock(piece.ts_ns, piece.cpu, piece.pid, piece.tid, piece.kind, piece.rows, fields, watermark_ns)


def in_time(windows: Iterator[Window]) -> Iterator[tuple[Piece, int]]:
    """Yield the events sorted, and the time up to which they are whole; at one time the earlier piece's come first."""
    held: list[Piece] = []
    for pieces, until_ns in windows:
        held += pieces
        done = [piece.before(until_ns) for piece in held]
        held = [piece.part(piece.ts_ns >= until_ns) for piece in held]
        held = [piece for piece in held if len(piece.ts_ns)]
        if done:  # also where nothing happened: who reads may want to stop
            yield _sorted(done), until_ns - 1
    if held:
        yield _sorted(held), NO_END


def _sorted(pieces: list[Piece]) -> Piece:
    ts_ns = np.concatenate([piece.ts_ns for piece in pieces])
    order = np.argsort(ts_ns, kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    rows: dict[int, NDArray[np.int64]] = {}
    records: dict[int, NDArray[Any]] = {}
    firsts = np.cumsum([0, *(len(piece.ts_ns) for piece in pieces)]).tolist()
    for number in sorted({kind for piece in pieces for kind in piece.rows}):
        holding = [(piece, first) for piece, first in zip(pieces, firsts, strict=False) if number in piece.rows]
        places = place[np.concatenate([piece.rows[number] + first for piece, first in holding])]
        sorting = np.argsort(places, kind="stable")
        rows[number] = places[sorting]
        records[number] = np.concatenate([piece.records[number] for piece, _ in holding])[sorting]
    cpu, pid, tid, kind = (
        np.concatenate([getattr(piece, name) for piece in pieces])[order] for name in ("cpu", "pid", "tid", "kind")
    )
    return Piece(ts_ns[order], cpu, pid, tid, kind, rows, records)
