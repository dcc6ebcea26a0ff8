"""Places of samples in a block of bytes → an EventBlock: all events of the block in columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.formats.perf_data.abi import TYPE_TRACEPOINT, Sample
from kvmtrace.recording import EventBlock, Note, Notes
from kvmtrace.tracepoints.records import DecodedFields, FieldLayout, RawRows, gather, gathered_part

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kvmtrace.formats.perf_data.attributes import AttributeTable, Layout
    from kvmtrace.formats.perf_data.scanner import Scan

_WORD = 8
_UNKNOWN = -1
_SIZE_BYTES = 4  # a raw record stands behind its own size
_LATEST_NS = 1 << 62
"""Latest time that is believed: the wall clock reaches it in 2116, and differences of times stay within 64 bits."""


@dataclass(slots=True)
class Columns:
    """What all samples of a block have, one row a sample in the order of the block."""

    ts_ns: NDArray[np.int64]
    cpu: NDArray[np.int32]
    pid: NDArray[np.int32]
    tid: NDArray[np.int32]
    raw_word: NDArray[np.int64]  # place of the raw record's size in the block
    raw_room: NDArray[np.int64]  # bytes between that size and the end of the sample
    stored: NDArray[np.bool_]  # whether a raw record of a known tracepoint is there

    @classmethod
    def empty(cls, rows: int) -> Columns:
        """Make room for `rows` samples."""
        return cls(
            np.zeros(rows, np.int64),
            np.full(rows, -1, np.int32),
            np.full(rows, -1, np.int32),
            np.full(rows, -1, np.int32),
            np.zeros(rows, np.int64),
            np.zeros(rows, np.int64),
            np.zeros(rows, np.bool_),
        )


class SampleDecoder:
    """Turns scanned samples into blocks of events.

    `kinds` says for each attribute which kind of `Facts.events` its samples are, -1 where they cannot be decoded;
    `layouts` has one for each kind.
    """

    def __init__(
        self,
        order: str,
        attributes: AttributeTable,
        kinds: NDArray[np.int64],
        layouts: list[FieldLayout],
        notes: Notes,
    ) -> None:
        self.order = order
        self.attributes = attributes
        self.kinds = kinds
        self.layouts = layouts
        self.notes = notes
        self.seen = np.zeros(len(attributes.attributes), np.int64)  # samples in the source by attribute
        lacking = ["tid" not in attr.layout.words for attr in attributes.attributes]
        self._threadless = set(kinds[lacking].tolist())
        """Kinds whose samples name no thread: the tracepoint's own record does."""

    def decode(self, scan: Scan, raw: NDArray[np.uint8], offset: int) -> tuple[EventBlock, Columns]:
        """Decode the samples of one block; `raw` are its bytes as recorded, which begin at `offset` of the source.

        Returns the events that can be stored, and the columns of all samples.
        """
        columns = self._columns(scan)
        attributes = self._attributes(scan, raw, columns)
        self.seen += np.bincount(attributes, minlength=len(self.seen))
        kinds = self.kinds[attributes]
        decoded = kinds != _UNKNOWN
        self._refuse(~columns.stored & decoded, "expected a tracepoint's record inside the sample", scan, offset)
        columns.stored &= decoded
        self._refuse_times(columns, scan, offset)
        fields: dict[int, DecodedFields] = {}
        rows: dict[int, NDArray[np.int64]] = {}
        stored_kinds = kinds if columns.stored.all() else kinds[columns.stored]
        for kind in np.flatnonzero(np.bincount(stored_kinds, minlength=len(self.layouts))).tolist():
            rows[kind], fields[kind] = self._fields(kind, kinds, scan, raw, columns, offset)
        if columns.stored.all():
            return _block(columns, kinds, slice(None), rows, fields), columns
        place = np.cumsum(columns.stored) - 1  # of each sample among those that are stored
        rows = {kind: place[of_kind] for kind, of_kind in rows.items()}
        return _block(columns, kinds, columns.stored, rows, fields), columns

    def _columns(self, scan: Scan) -> Columns:
        layouts = [attr.layout for attr in self.attributes.attributes]
        present = np.flatnonzero(np.bincount(scan.sample_attributes, minlength=len(layouts))).tolist()
        distinct = dict.fromkeys(layouts[index] for index in present)
        if len(distinct) == 1:
            return self._layout_columns(next(iter(distinct)), scan, slice(None))
        columns = Columns.empty(len(scan.sample_words))
        for layout in distinct:
            of_layout = np.array([other == layout for other in layouts])
            rows = np.flatnonzero(of_layout[scan.sample_attributes])
            part = self._layout_columns(layout, scan, rows)
            for name in ("ts_ns", "cpu", "pid", "tid", "raw_word", "raw_room", "stored"):
                getattr(columns, name)[rows] = getattr(part, name)
        return columns

    def _layout_columns(self, layout: Layout, scan: Scan, rows: slice | NDArray[np.int64]) -> Columns:
        places, sizes = scan.sample_words[rows], scan.sample_sizes[rows]
        whole = sizes >= layout.prefix_words
        if not whole.all():
            places = np.where(whole, places, 0)
        columns = Columns.empty(len(places))
        if "time" in layout.words:
            columns.ts_ns = scan.words.take(places + layout.words["time"], mode="clip").view(np.int64)
        if "tid" in layout.words:
            columns.pid, columns.tid = self._halves(scan.words.take(places + layout.words["tid"], mode="clip"))
        if "cpu" in layout.words:
            columns.cpu, _ = self._halves(scan.words.take(places + layout.words["cpu"], mode="clip"))
        if layout.has_raw:
            columns.raw_word, columns.raw_room = _raw_places(layout, scan.words, places, sizes)
            columns.stored = whole & (columns.raw_room > 0)
        return columns

    def _halves(self, words: NDArray[np.uint64]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the two 32-bit numbers of each word, in the order in which they were recorded."""
        halves = words.view(np.int32)
        first, second = halves[::2], halves[1::2]
        return (first, second) if self.order == "<" else (second, first)

    def _attributes(self, scan: Scan, raw: NDArray[np.uint8], columns: Columns) -> NDArray[np.int64]:
        """Return the index of each sample's attribute; a sample for which there is none is marked as not stored."""
        if self.attributes.id_word is not None or len(self.attributes.attributes) == 1:
            return scan.sample_attributes
        # No id in the samples: the tracepoint's own id is all there is.
        types = gathered_part(
            gather(raw, np.where(columns.stored, columns.raw_word, 0), _WORD, _WORD), self.order + "u2", 4
        )
        table = np.full(1 << 16, _UNKNOWN, np.int64)
        for index, attr in enumerate(self.attributes.attributes):
            if attr.type == TYPE_TRACEPOINT:
                table[attr.config & 0xFFFF] = index
        columns.stored &= table[types] != _UNKNOWN
        return np.maximum(table[types], 0)

    def _refuse(self, refused: NDArray[np.bool_], expected: str, scan: Scan, offset: int) -> None:
        """Note samples that cannot be stored, by the first of them."""
        if refused.any():
            first = int(np.argmax(refused))
            place = offset + int(scan.sample_words[first]) * _WORD
            what = f"{expected}, found {int(scan.sample_sizes[first]) * _WORD} bytes in all"
            self.notes.add(Note(f"offset {place}", what, events=int(refused.sum())))

    def _refuse_times(self, columns: Columns, scan: Scan, offset: int) -> None:
        """Leave out samples whose time no clock can have shown."""
        times = columns.ts_ns.view(np.uint64)
        if len(times) and int(times.max()) > _LATEST_NS:
            beyond = times > _LATEST_NS
            self._refuse(beyond & columns.stored, f"expected a time up to {_LATEST_NS} ns", scan, offset)
            columns.stored &= ~beyond
            columns.ts_ns = np.where(beyond, 0, columns.ts_ns)

    def _fields(
        self, kind: int, kinds: NDArray[np.int64], scan: Scan, raw: NDArray[np.uint8], columns: Columns, offset: int
    ) -> tuple[NDArray[np.int64], DecodedFields]:
        """Return the samples of one kind that can be decoded, and their fields."""
        layout = self.layouts[kind]
        rows = np.flatnonzero((kinds == kind) & columns.stored)
        places, room = columns.raw_word[rows], columns.raw_room[rows]
        least_room = int(room.min())
        fits = least_room >= layout.gather_size - _SIZE_BYTES
        if not fits:
            places = np.where(room >= layout.gather_size - _SIZE_BYTES, places, 0)
        gathered = gather(raw, places, layout.gather_size, _WORD).view(layout.dtype)
        sizes = gathered_part(gathered, self.order + "u4", 0).astype(np.int64)
        if not fits or int(sizes.min()) < layout.size or int(sizes.max()) > least_room:
            kept = self._undamaged(layout, rows, sizes, room, scan, columns, offset)
            rows, places, sizes, gathered = rows[kept], places[kept], sizes[kept], gathered[kept]
        if kind in self._threadless and layout.tid_offset is not None:
            columns.tid[rows] = gathered_part(gathered, self.order + "i4", layout.tid_offset)
        return rows, layout.rows(gathered, RawRows(raw, places * _WORD + _SIZE_BYTES, sizes))

    def _undamaged(
        self,
        layout: FieldLayout,
        rows: NDArray[np.int64],
        sizes: NDArray[np.int64],
        room: NDArray[np.int64],
        scan: Scan,
        columns: Columns,
        offset: int,
    ) -> NDArray[np.int64]:
        """Return which of `rows` have a raw record of the size that it says and needs; note the others."""
        damaged = (room < layout.gather_size - _SIZE_BYTES) | (sizes < layout.size) | (sizes > room)
        if damaged.any():
            first = offset + int(scan.sample_words[rows[damaged][0]]) * _WORD
            what = f"expected a {layout.event.name} of {layout.size} bytes, found {int(sizes[damaged][0])} bytes"
            self.notes.add(Note(f"offset {first}", what, events=int(damaged.sum())))
            columns.stored[rows[damaged]] = False
        return np.flatnonzero(~damaged)


def _block(
    columns: Columns,
    kinds: NDArray[np.int64],
    stored: slice | NDArray[np.bool_],
    rows: dict[int, NDArray[np.int64]],
    fields: dict[int, DecodedFields],
) -> EventBlock:
    return EventBlock(
        ts_ns=columns.ts_ns[stored],
        cpu=columns.cpu[stored],
        pid=columns.pid[stored],
        tid=columns.tid[stored],
        kind=kinds[stored].astype(np.uint16),
        rows=rows,
        fields=fields,
    )


def _raw_places(
    layout: Layout, words: NDArray[np.uint64], places: NDArray[np.int64], sizes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the word of each sample's raw size, and the bytes behind it: none where it lies outside the sample."""
    at = places + layout.prefix_words
    ends = places + sizes
    last = len(words) - 1
    if layout.sample_type & Sample.READ:
        before, each, grouped = layout.read_words()
        if grouped:
            counters = words.take(np.minimum(at, last))
            at = at + 1 + before + each * np.minimum(counters, np.uint64(last)).view(np.int64)
        else:
            at = at + before + each
    if layout.sample_type & Sample.CALLCHAIN:
        depth = words.take(np.minimum(at, last))
        at = at + 1 + np.minimum(depth, np.uint64(last)).view(np.int64)
    room = (ends - at) * _WORD - _SIZE_BYTES
    return np.minimum(at, ends - 1), room
