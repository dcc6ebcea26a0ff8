"""Injections and EOIs → instants on the vCPU's track, at which flows of IPIs end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.export.flows import Flows
from kvmtrace.export.instants import INJECTION, INSTANTS, Instants
from kvmtrace.export.perfetto_fields import Event, EventType, Interned
from kvmtrace.export.slices import track_of
from kvmtrace.export.track_events import Annotations, EventPackets, events

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from kvmtrace.export.instants import InstantReader
    from kvmtrace.export.interning import Names


@dataclass(slots=True)
class InstantCount:
    """What was written."""

    instants: int = 0
    flows: int = 0
    elsewhere: int = 0  # of threads that have no track


def instant_packets(
    reader: InstantReader, span: tuple[int, int], names: Names, flows: Flows, count: InstantCount
) -> Iterator[EventPackets]:
    """Yield the packets of all injections and EOIs in a stretch of time; add them to `count`."""
    for event, (category, _) in INSTANTS.items():
        found = reader.read(event, span)
        if found is None:
            continue
        kept = found.on_timelines()
        count.instants += len(kept.ts_ns)
        count.elsewhere += len(found.ts_ns) - len(kept.ts_ns)
        ends, flow_id = (flows if event == INJECTION else Flows.none()).received_by(kept)
        count.flows += len(ends)
        yield from _packets(event, category, kept, np.bincount(ends, minlength=len(kept.ts_ns)), flow_id, names)


def _packets(
    event: str, category: str, found: Instants, received: NDArray[np.int64], flow_id: NDArray[np.int64], names: Names
) -> Iterator[EventPackets]:
    """Yield one group for each layout. received: how many flows end at each; flow_id: theirs, one after the other."""
    first_flow = np.cumsum(received) - received
    layout = received * 2 + (found.vector >= 0)
    for kind in np.unique(layout).tolist():
        rows = np.flatnonzero(layout == kind)
        instants = events(EventType.INSTANT, track_of(found.timeline[rows]))
        instants.numbers(Event.NAME_IID, np.full(len(rows), names.number(Interned.NAMES, event)))
        notes = Annotations(names, instants)
        notes.category(category)
        if kind % 2:
            notes.hexadecimal("vector", found.vector[rows].astype(np.uint64))
        for turn in range(kind // 2):
            instants.fixed64(Event.TERMINATING_FLOW_IDS, flow_id[first_flow[rows] + turn].astype(np.uint64))
        yield EventPackets.of(found.ts_ns[rows], np.full(len(rows), -1), instants)
