"""Places of events in a batch of pages → an EventBlock: all events of the batch in columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.formats.trace_dat.clocks import LATEST_NS
from kvmtrace.formats.trace_dat.survey import IDS
from kvmtrace.recording import EventBlock, EventKind, Loss, Note, Notes
from kvmtrace.tracepoints import FormatError
from kvmtrace.tracepoints.records import DecodedFields, FieldLayout, RawRows, gather, gathered_part

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kvmtrace.formats.trace_dat.container import FormatTexts
    from kvmtrace.formats.trace_dat.ring_buffer import Events

_WORD = 4
_UNKNOWN = -1
_NAMED = 16  # tracepoints without a format that are named one by one


@dataclass(slots=True)
class Kinds:
    """The tracepoints that fired: those of a readable format are kinds, of the others only the events are counted."""

    kinds: list[EventKind] = field(default_factory=list)
    layouts: list[FieldLayout] = field(default_factory=list)
    samples: dict[int, int] = field(default_factory=dict)  # kind → events
    of_id: NDArray[np.int32] = field(default_factory=lambda: np.full(IDS, _UNKNOWN, np.int32))  # -1: no kind
    not_stored: dict[str, int] = field(default_factory=dict)


def find_kinds(counts: NDArray[np.int64], formats: FormatTexts, order: str, long_bytes: int) -> Kinds:
    """Relate the ids that occur to formats, in the order of the ids; counts: events by id."""
    found = Kinds()
    unnamed = 0
    for event_id in np.flatnonzero(counts).tolist():
        count = int(counts[event_id])
        try:
            system, event = formats.parse(event_id, long_bytes)
        except FormatError as error:
            if len(found.not_stored) < _NAMED:
                found.not_stored[f"events of tracepoint {event_id}: {error}"] = count
            else:
                unnamed += count
            continue
        found.of_id[event_id] = len(found.kinds)
        found.samples[len(found.kinds)] = count
        found.kinds.append(EventKind(system, event.name, event))
        found.layouts.append(FieldLayout(event, order))
    if unnamed:
        found.not_stored["events of further tracepoints without a format that can be read"] = unnamed
    return found


@dataclass(frozen=True, slots=True)
class Located:
    """The events of a batch: where they are, and when they were."""

    raw: NDArray[np.uint8]  # the bytes of all pages
    events: Events
    ts_ns: NDArray[np.int64]
    cpu: NDArray[np.int32]
    page_offset: NDArray[np.int64]  # of each page, in the file


class EventDecoder:
    """Turns located events into blocks."""

    def __init__(self, kinds: Kinds, order: str, notes: Notes) -> None:
        self._kinds = kinds
        self._order = order
        self._notes = notes
        self._few = len(kinds.kinds) < 1 << 8

    def decode(self, batch: Located, watermark_ns: int, losses: tuple[Loss, ...]) -> EventBlock:
        """Return all events of known tracepoints and of believable times; those of a damaged record are noted."""
        kind = self._kinds.of_id[batch.events.id]
        stored = kind != _UNKNOWN
        self._refuse_times(batch, stored)
        tid = np.full(len(kind), _UNKNOWN, np.int32)
        rows: dict[int, NDArray[np.int64]] = {}
        fields: dict[int, DecodedFields] = {}
        for of_kind, places in self._by_kind(kind, stored):
            kept, decoded = self._fields(self._kinds.layouts[of_kind], places, batch, stored, tid)
            if len(kept):
                rows[of_kind], fields[of_kind] = kept, decoded
        everything = bool(stored.all())
        chosen = slice(None) if everything else stored
        if not everything:
            place = np.cumsum(stored) - 1  # of each event among those that are stored
            rows = {of_kind: place[of_rows] for of_kind, of_rows in rows.items()}
        return EventBlock(
            ts_ns=batch.ts_ns[chosen],
            cpu=batch.cpu[chosen],
            pid=np.full(int(stored.sum()), _UNKNOWN, np.int32),
            tid=tid[chosen],
            kind=kind[chosen].astype(np.uint16),
            rows=rows,
            fields=fields,
            watermark_ns=watermark_ns,
            losses=losses,
        )

    def _by_kind(self, kind: NDArray[np.int32], stored: NDArray[np.bool_]) -> list[tuple[int, NDArray[np.int64]]]:
        """Return the events of each kind, in the order of the batch."""
        small = np.uint8 if self._few else np.uint16  # for a radix sort
        if stored.all():
            kinds = kind.astype(small)
            order = np.argsort(kinds, kind="stable")
        else:
            places = np.flatnonzero(stored)
            kinds = kind[places].astype(small)
            order = places[np.argsort(kinds, kind="stable")]
        counts = np.bincount(kinds)
        ends = np.cumsum(counts)
        return [(one, order[ends[one] - counts[one] : ends[one]]) for one in np.flatnonzero(counts).tolist()]

    def _refuse_times(self, batch: Located, stored: NDArray[np.bool_]) -> None:
        beyond = stored & ((batch.ts_ns > LATEST_NS) | (batch.ts_ns < 0))
        if beyond.any():
            self._note(batch, beyond, f"expected a time from 0 to {LATEST_NS} ns, found another")
            stored &= ~beyond

    def _note(self, batch: Located, refused: NDArray[np.bool_], what: str) -> None:
        first = int(np.argmax(refused))
        place = int(batch.page_offset[batch.events.page[first]])
        self._notes.add(Note(f"offset {place}", f"in this page and behind it: {what}", events=int(refused.sum())))

    def _fields(
        self,
        layout: FieldLayout,
        places: NDArray[np.int64],
        batch: Located,
        stored: NDArray[np.bool_],
        tid: NDArray[np.int32],
    ) -> tuple[NDArray[np.int64], DecodedFields]:
        """Return the events of one kind that can be decoded, and their fields; learn their threads."""
        words, sizes = batch.events.word[places], batch.events.size[places]
        if int(sizes.min()) < layout.gather_size:
            short = sizes < layout.gather_size
            refused = np.zeros(len(stored), np.bool_)
            refused[places[short]] = True
            what = f"expected a {layout.event.name} of {layout.size} bytes, found {int(sizes[short][0])}"
            self._note(batch, refused, what)
            stored &= ~refused
            places, words, sizes = places[~short], words[~short], sizes[~short]
        gathered = gather(batch.raw, words, layout.gather_size, _WORD).view(layout.dtype)
        if layout.tid_offset is not None:
            tid[places] = gathered_part(gathered, f"{self._order}i4", layout.tid_offset)
        return places, layout.rows(gathered, RawRows(batch.raw, words * _WORD, sizes))
