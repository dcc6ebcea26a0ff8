"""Exits per second over time, of each VM and of its most frequent reasons, as counters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.export.perfetto_fields import Event, EventType
from kvmtrace.export.track_events import EventPackets, events

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from kvmtrace.export.exit_blocks import ChosenExits

_POINTS = 500  # of a counter at most
_REASONS = 5  # of a VM
_STEPS_NS = [factor * 10**power for power in range(3, 13) for factor in (1, 2, 5)]
_READ = """
SELECT vm_id, reason, (exit_ts_ns - $from_ns) // $step_ns AS place, count(*) AS exits
FROM exits
WHERE {condition}
GROUP BY vm_id, reason, place
ORDER BY vm_id NULLS LAST, reason NULLS LAST, place
"""


@dataclass(frozen=True, slots=True)
class Counter:
    """Exits of each step of time: of one VM, and of one reason where it is not None."""

    vm_id: str | None
    reason: str | None
    exits: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Rates:
    """Counters over the same steps of time."""

    counters: tuple[Counter, ...]
    from_ns: int
    to_ns: int
    step_ns: int

    def packets(self, tracks: Sequence[int]) -> Iterator[EventPackets]:
        """Yield the packets of each counter, on its track: a value holds for the step that begins there."""
        for counter, track in zip(self.counters, tracks, strict=True):
            begins = self.from_ns + np.arange(len(counter.exits)) * self.step_ns
            lengths = np.minimum(begins + self.step_ns, self.to_ns) - begins
            rate = np.append(counter.exits * 1e9 / lengths, 0.0)
            ts_ns = np.append(begins, self.to_ns)
            changes = np.flatnonzero(np.diff(rate, prepend=-1.0))  # a counter holds its value
            values = events(EventType.COUNTER, np.full(len(changes), track))
            values.fixed64(Event.DOUBLE_COUNTER_VALUE, rate[changes])
            yield EventPackets.of(ts_ns[changes], np.zeros(len(changes), np.int64), values)


def read_rates(chosen: ChosenExits) -> Rates:
    """Count the chosen exits by VM and reason in steps of time."""
    length = chosen.to_ns - chosen.from_ns
    step_ns = next((step for step in _STEPS_NS if length <= step * _POINTS), length)
    sql = _READ.format(condition=chosen.condition)
    rows = chosen.connection.query(sql, {**chosen.parameters(), "step_ns": step_ns}).rows
    steps = -(-length // step_ns)
    counts: dict[str | None, dict[str | None, NDArray[np.int64]]] = {}
    for vm_id, reason, place, exits in rows:  # of figures: some hundred of each reason
        of_vm = counts.setdefault(vm_id, {})
        of_vm.setdefault(reason, np.zeros(steps, np.int64))[place] = exits
    counters = []
    for vm_id, by_reason in counts.items():
        counters.append(Counter(vm_id, None, np.sum(list(by_reason.values()), axis=0)))
        most = sorted(by_reason, key=lambda reason: (-int(by_reason[reason].sum()), reason or ""))
        counters += [Counter(vm_id, reason, by_reason[reason]) for reason in most[:_REASONS] if reason is not None]
    return Rates(tuple(counters), chosen.from_ns, chosen.to_ns, step_ns)
