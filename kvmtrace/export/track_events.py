"""The packets of a time-line's events: slices, instants and counters, n of a kind at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kvmtrace.export.perfetto_fields import PACKET, Annotation, Event, EventType, Interned, Packet, SequenceFlags
from kvmtrace.export.protobuf_columns import Messages, interleaved, message, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from kvmtrace.export.interning import Names

SEQUENCE = number(Packet.SEQUENCE_ID, 1)
_EVENT_FLAGS = SEQUENCE + number(Packet.SEQUENCE_FLAGS, SequenceFlags.NEEDS_INCREMENTAL_STATE)


@dataclass(frozen=True, slots=True)
class EventPackets:
    """n packets of one layout. `order` tells which of two packets of one time comes first."""

    ts_ns: NDArray[np.int64]
    order: NDArray[np.int64]
    packets: NDArray[np.uint8]

    @classmethod
    def of(cls, ts_ns: NDArray[np.int64], order: NDArray[np.int64], events: Messages) -> EventPackets:
        """Put events into packets."""
        packet = Messages(events.rows)
        packet.numbers(Packet.TIMESTAMP, ts_ns)
        packet.constant(_EVENT_FLAGS)
        packet.messages(Packet.TRACK_EVENT, events)
        trace = Messages(events.rows)
        trace.messages(PACKET, packet)
        return cls(ts_ns, order, trace.matrix())


def by_time(groups: Sequence[EventPackets]) -> bytes:
    """Return the packets of all groups behind each other, by time."""
    if not groups:
        return b""
    ts_ns, order = (np.concatenate([getattr(group, name) for group in groups]) for name in ("ts_ns", "order"))
    place = np.empty(len(ts_ns), np.int64)
    place[np.lexsort((order, ts_ns))] = np.arange(len(ts_ns))
    bounds = np.cumsum([0, *(len(group.ts_ns) for group in groups)])
    return interleaved([(place[bounds[n] : bounds[n + 1]], group.packets) for n, group in enumerate(groups)])


def events(kind: EventType, track: NDArray[np.int64]) -> Messages:
    """Return n events on their tracks, to which more can be added."""
    result = Messages(len(track))
    result.constant(number(Event.TYPE, kind))
    result.numbers(Event.TRACK_UUID, track)
    return result


class Annotations:
    """What events say of themselves beside their name. Names and texts are interned."""

    def __init__(self, names: Names, to: Messages) -> None:
        self._names = names
        self._events = to

    def category(self, name: str) -> None:
        """Put the events into a category."""
        self._events.constant(number(Event.CATEGORY_IIDS, self._names.number(Interned.CATEGORIES, name)))

    def flag(self, name: str, values: NDArray[np.bool_]) -> None:
        """Add true or false."""
        self._add(name, Annotation.BOOL_VALUE, values)

    def integer(self, name: str, values: NDArray[np.integer[Any]]) -> None:
        """Add a number, shown in decimal."""
        self._add(name, Annotation.INT_VALUE, values)

    def hexadecimal(self, name: str, values: NDArray[np.uint64]) -> None:
        """Add a number, shown in hexadecimal."""
        self._add(name, Annotation.POINTER_VALUE, values)

    def text(self, name: str, numbers: NDArray[np.int64]) -> None:
        """Add a text, as its number in Interned.STRING_VALUES."""
        self._add(name, Annotation.STRING_VALUE_IID, numbers)

    def same_text(self, name: str, value: str) -> None:
        """Add one text to all."""
        content = self._name(name) + number(
            Annotation.STRING_VALUE_IID, self._names.number(Interned.STRING_VALUES, value)
        )
        self._events.constant(message(Event.DEBUG_ANNOTATIONS, content))

    def _add(self, name: str, field: Annotation, values: NDArray[Any]) -> None:
        annotation = Messages(self._events.rows)
        annotation.constant(self._name(name))
        annotation.numbers(field, values)
        self._events.messages(Event.DEBUG_ANNOTATIONS, annotation)

    def _name(self, name: str) -> bytes:
        return number(Annotation.NAME_IID, self._names.number(Interned.ANNOTATION_NAMES, name))
