"""Lines that tell of lost events → losses with the stretch of time in which the events were lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.formats.event_text.comments import LONGEST, LossLine, loss_line
from kvmtrace.recording import EventBlock, Loss

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvmtrace.formats.event_text.heads import Heads
    from kvmtrace.formats.event_text.lines import LineBlock
    from kvmtrace.formats.event_text.survey import Survey
    from kvmtrace.formats.event_text.words import Places

_MAX_CPU = 1 << 16
_LATEST = (1 << 63) - 1


class Losses:
    """Knows the newest event of each CPU, behind which a loss begins; it ends with the next one of that CPU."""

    def __init__(self, found: Survey, *, has_times: bool) -> None:
        self._has_times = has_times
        self._newest = np.full(_MAX_CPU, -1, np.int64)
        self._waiting: list[tuple[LossLine, int]] = []  # and the time after which events were lost
        self._overwritten = found.header.overwritten
        self._first_of_cpu = found.first_of_cpu

    def find(self, lines: LineBlock, others: Sequence[int], heads: Heads) -> tuple[Loss, ...]:
        """Return the losses of a block, and those before it whose end it shows."""
        found = [self._before_the_start()] if self._overwritten else []
        cpu = np.clip(heads.cpu, 0, _MAX_CPU - 1)
        waiting, self._waiting = self._waiting, []
        for loss, after in waiting:
            found += self._ended(loss, after, heads, cpu, 0)
        for index in others:
            if (said := loss_line(lines.line(index, LONGEST))) is not None:
                row = int(np.searchsorted(heads.line, index))
                found += self._ended(said, self._after(said, heads, cpu, row), heads, cpu, row)
        self._newest[cpu] = heads.ts_ns
        return tuple(found)

    def left_over(self) -> Iterator[EventBlock]:
        """Yield a block without events that tells of losses after which no event of their CPU came."""
        losses = [self._loss(loss, after, None) for loss, after in self._waiting]
        if losses:
            none = np.zeros(0, np.int32)
            times = np.zeros(0, np.int64)
            yield EventBlock(times, none, none, none, none.astype(np.uint16), {}, {}, losses=tuple(losses))

    def _after(self, loss: LossLine, heads: Heads, cpu: Places, row: int) -> int:
        """Return the time of the event before a loss."""
        before = np.flatnonzero(cpu[:row] == loss.cpu) if loss.cpu is not None else np.arange(row)
        if len(before):
            return int(heads.ts_ns[before[-1]])
        if loss.cpu is None:
            return int(self._newest.max())
        return int(self._newest[min(loss.cpu, _MAX_CPU - 1)])

    def _ended(self, loss: LossLine, after: int, heads: Heads, cpu: Places, row: int) -> list[Loss]:
        """Return the loss if it ends with an event from `row` on, else let it wait."""
        behind = np.flatnonzero(cpu[row:] == loss.cpu) if loss.cpu is not None else np.arange(len(cpu) - row)
        if not len(behind):
            self._waiting.append((loss, after))
            return []
        return [self._loss(loss, after, int(heads.ts_ns[row + behind[0]]))]

    def _loss(self, loss: LossLine, after: int, until: int | None) -> Loss:
        if not self._has_times:
            return Loss(loss.said_by, loss.events or 0, loss.cpu, None, None)
        return Loss(loss.said_by, loss.events or 0, loss.cpu, max(after, 0), _LATEST if until is None else until)

    def _before_the_start(self) -> Loss:
        """Return the loss of what was overwritten: on each CPU before its first event."""
        events, self._overwritten = self._overwritten, 0
        known = self._first_of_cpu[self._first_of_cpu != _LATEST]
        until = int(known.max()) if len(known) and self._has_times else None
        return Loss("overwritten", events, None, None if until is None else 0, until)
