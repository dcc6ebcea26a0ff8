"""Losses of the recording, as slices on tracks of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.export.perfetto_fields import Event, EventType, Interned
from kvmtrace.export.track_events import Annotations, EventPackets, events

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmtrace.export.exit_blocks import ChosenExits
    from kvmtrace.export.interning import Names
    from kvmtrace.store.manifest import Lost, Manifest

LOST = "lost events"


@dataclass(frozen=True, slots=True)
class Loss:
    """What one teller says of one CPU, and where it is drawn: an instant where both times are one."""

    lost: Lost
    first_ns: int
    last_ns: int

    @property
    def track_name(self) -> str:
        """Return the name of its track."""
        where = "all CPUs" if self.lost.cpu is None else f"CPU {self.lost.cpu}"
        return f"{where} ({self.lost.said_by})"


def read_losses(chosen: ChosenExits, manifest: Manifest) -> list[Loss]:
    """Return the losses that reach into the window; one without a time is drawn over all of it."""
    found = []
    for lost in manifest.lost:
        if not lost.events and not lost.records:
            continue
        first = chosen.from_ns if lost.first_ts_ns is None else max(lost.first_ts_ns, chosen.from_ns)
        last = chosen.to_ns if lost.last_ts_ns is None else min(lost.last_ts_ns, chosen.to_ns)
        if first <= last:
            found.append(Loss(lost, first, last))
    return found


def loss_packets(losses: list[Loss], tracks: list[int], names: Names) -> Iterator[EventPackets]:
    """Yield the packets of each loss, on its track."""
    for loss, number in zip(losses, tracks, strict=True):
        track = np.array([number])
        is_slice = loss.last_ns > loss.first_ns
        begins = events(EventType.SLICE_BEGIN if is_slice else EventType.INSTANT, track)
        begins.numbers(Event.NAME_IID, np.array([names.number(Interned.NAMES, LOST)]))
        notes = Annotations(names, begins)
        notes.category("lost")
        notes.integer("events", np.array([loss.lost.events]))
        notes.integer("records that tell of it", np.array([loss.lost.records]))
        notes.same_text("said_by", loss.lost.said_by)
        if loss.lost.first_ts_ns is None:
            notes.same_text("time", "not recorded")
        yield EventPackets.of(np.array([loss.first_ns]), np.array([0]), begins)
        if is_slice:
            yield EventPackets.of(np.array([loss.last_ns]), np.array([1]), events(EventType.SLICE_END, track))
