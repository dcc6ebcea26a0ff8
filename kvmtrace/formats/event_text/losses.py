"""What tells of events that are missing → losses with the stretch of time in which they are.

A loss begins behind the event before it and ends with the next one, of its CPU where that is told. Until that one
comes the loss goes on: each block says how far, so that nothing is taken for whole before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from kvmtrace.formats.event_text.per_cpu import PerCpu, cpu_index
from kvmtrace.recording import NO_WATERMARK, Loss

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmtrace.formats.event_text.comments import LossLine
    from kvmtrace.formats.event_text.heads import Heads
    from kvmtrace.formats.event_text.survey import Survey
    from kvmtrace.formats.event_text.words import Places

UNREAD = "lines that cannot be read"
_LATEST = (1 << 63) - 1
_MANY = 256  # losses of one block that are told one by one


class Telling(NamedTuple):
    """A line that tells of missing events, and its index in the block."""

    line: int
    said: LossLine


@dataclass(slots=True)
class _Open:
    """A loss whose end has not come: events and lines that no Loss has yet, and how far it is told."""

    events: int
    told: int
    after: int


class Losses:
    """Knows the newest event of each CPU."""

    def __init__(self, found: Survey, *, has_times: bool) -> None:
        self._has_times = has_times
        self._newest = PerCpu(-1)
        self._newest_of_all = -1
        self._open: dict[tuple[str, int | None], _Open] = {}
        self._first: list[Loss] = list(_overwritten(found, has_times=has_times))

    def find(self, tellings: Sequence[Telling], heads: Heads, watermark_ns: int) -> tuple[Loss, ...]:
        """Return the losses of a block, and those before it as far as it shows them."""
        found, self._first = self._first, []
        if not self._has_times:
            return (*found, *(Loss(said.said_by, said.events or 0, said.cpu, None, None) for _, said in tellings))
        rows = _RowsByCpu(heads) if tellings or self._open else None
        if rows is not None:
            found += self._ended(rows, heads)
            for line, said in tellings:
                self._tell(said, int(np.searchsorted(heads.line, line)), rows, heads, found)
        if len(heads.line):
            cpu = cpu_index(heads.cpu)
            self._newest.up_to(int(cpu.max()))[cpu] = heads.ts_ns
            self._newest_of_all = int(heads.ts_ns[-1])
        return (*found, *self._so_far(watermark_ns))

    def left_over(self) -> tuple[Loss, ...]:
        """Return the losses after which no event of their CPU came."""
        return tuple(self._loss(key, loss, _LATEST) for key, loss in self._open.items())

    def _ended(self, rows: _RowsByCpu, heads: Heads) -> list[Loss]:
        """Return the losses before the block that end in it."""
        ended = []
        for key in list(self._open):
            of_cpu = rows.of(key[1])
            if len(of_cpu):
                ended.append(self._loss(key, self._open.pop(key), int(heads.ts_ns[of_cpu[0]])))
        return ended

    def _tell(self, said: LossLine, row: int, rows: _RowsByCpu, heads: Heads, found: list[Loss]) -> None:
        """Take a loss before the event of `row`: to `found` if the block shows its end."""
        key, of_cpu = (said.said_by, said.cpu), rows.of(said.cpu)
        place = int(np.searchsorted(of_cpu, row))
        after = int(heads.ts_ns[of_cpu[place - 1]]) if place else self._before(said.cpu)
        loss = _Open(said.events or 0, 1, max(after, 0))
        if place < len(of_cpu):
            found.append(self._loss(key, loss, int(heads.ts_ns[of_cpu[place]])))
            return
        waiting = self._open.setdefault(key, loss)
        if waiting is not loss:  # told twice with no event of the CPU between
            waiting.events, waiting.told = waiting.events + loss.events, waiting.told + 1

    def _before(self, cpu: int | None) -> int:
        """Return the time of the newest event before the block."""
        if cpu is None:
            return self._newest_of_all
        index = int(cpu_index(np.array([cpu]))[0])
        return int(self._newest.up_to(index)[index])

    def _so_far(self, watermark_ns: int) -> list[Loss]:
        """Return the part of each open loss that lies before what may still come."""
        parts = []
        for key, loss in self._open.items():
            if watermark_ns != NO_WATERMARK and watermark_ns > loss.after:
                parts.append(self._loss(key, loss, watermark_ns))
                self._open[key] = _Open(0, 0, watermark_ns)
        return parts

    def _loss(self, key: tuple[str, int | None], loss: _Open, until: int) -> Loss:
        said_by, cpu = key
        return Loss(said_by, loss.events, cpu, loss.after, max(until, loss.after), told=loss.told)


class _RowsByCpu:
    """The events of a block by CPU."""

    def __init__(self, heads: Heads) -> None:
        self._all = np.arange(len(heads.line))
        self._order = np.argsort(heads.cpu, kind="stable")
        self._cpu = heads.cpu[self._order]

    def of(self, cpu: int | None) -> Places:
        """Return the rows of one CPU, None: of all."""
        if cpu is None:
            return self._all
        first, end = np.searchsorted(self._cpu, [cpu, cpu + 1]).tolist()
        return self._order[first:end]


def unread(heads: Heads, rows: Places) -> list[Loss]:
    """Return the losses that events are whose time is known, and whose text is not."""
    if len(rows) <= _MANY:
        told = zip(heads.cpu[rows].tolist(), heads.ts_ns[rows].tolist(), strict=True)
        return [Loss(UNREAD, 1, _known(cpu), ts_ns - 1, ts_ns) for cpu, ts_ns in told]
    losses = []
    for cpu in np.unique(heads.cpu[rows]).tolist():
        times = heads.ts_ns[rows[heads.cpu[rows] == cpu]]
        losses.append(Loss(UNREAD, len(times), _known(cpu), int(times.min()) - 1, int(times.max()), told=len(times)))
    return losses


def _known(cpu: int) -> int | None:
    return None if cpu < 0 else cpu


def _overwritten(found: Survey, *, has_times: bool) -> list[Loss]:
    """Return the losses of what was overwritten before the text begins: on each CPU before its first event."""
    events, said_by = found.header.overwritten, "overwritten"
    if not events:
        return []
    if not has_times:
        return [Loss(said_by, events, None, None, None)]
    before = [Loss(said_by, 0, cpu, 0, until, told=0) for cpu, until in found.first_of_cpu.known()]
    return [Loss(said_by, events, None, 0, 0), *before]
