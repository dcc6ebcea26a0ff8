"""Finds the records in a stretch of bytes: every sample at once, all other records one by one.

A sample's header is an 8-byte word that says SAMPLE, followed at a fixed distance by the id of an event. Such words
are looked up in the whole block at once, and are then proved to be samples by their sizes: from a known start, each
record's size must lead to the next one. The gaps between runs of samples are other records, walked one by one.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.formats.perf_data.abi import LAST_RECORD_TYPE, RECORD_HEADER_SIZE, RecordType
from kvmtrace.recording import Note

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kvmtrace.formats.perf_data.attributes import AttributeTable

_WORD = 8
_MAX_PAYLOAD = 1 << 26
_RESYNC_RUN = 2  # samples in a row that are believed to be samples again behind a damaged place
# perf pads every other record to 8 bytes.
_UNALIGNED = frozenset({RecordType.FEATURE, RecordType.COMPRESSED, RecordType.TRACING_DATA})


@dataclass(frozen=True, slots=True)
class OtherRecord:
    """A record that is no sample of a known event."""

    type: int
    start: int  # byte of the block
    size: int  # bytes, with the header
    samples_before: int  # samples of the block that stand before it


@dataclass(slots=True)
class Scan:
    """The records of one block."""

    words: NDArray[np.uint64]  # the block, in native byte order
    sample_words: NDArray[np.int64]  # place of each sample
    sample_sizes: NDArray[np.int64]  # in words
    sample_attributes: NDArray[np.int64]  # index of each sample's attribute
    others: list[OtherRecord]
    consumed: int  # bytes of complete records; the rest belongs to the next block
    skip_bytes: int = 0  # bytes behind the block that belong to its last record (AUXTRACE)
    notes: list[Note] = field(default_factory=list)


class Scanner:
    """Finds records in blocks of one recording."""

    def __init__(self, order: str, *, pipe: bool) -> None:
        self.order = order
        self._payload_types = (RecordType.TRACING_DATA, RecordType.AUXTRACE) if pipe else (RecordType.AUXTRACE,)
        self._header = struct.Struct(order + "IHH")  # struct perf_event_header {u32 type; u16 misc; u16 size}
        self._size_shift = np.uint64(48 if order == "<" else 0)  # of the header read as one u64

    def scan(self, raw: NDArray[np.uint8], filled: int, offset: int, attributes: AttributeTable, *, last: bool) -> Scan:
        """Find the records in the first `filled` bytes of `raw`, which begin with a record at `offset` of the source.

        `last`: nothing follows, so an incomplete record is an error of the source.
        """
        words = raw[: filled // _WORD * _WORD].view(np.uint64)
        if self.order == ">":
            words = words.byteswap()
        places, sizes, events = self._candidates(words, attributes)
        walk = _Walk(self, raw[:filled], offset, last=last)
        runs = walk.prove(places, sizes)
        if runs == [(0, len(places))]:
            chosen: slice | NDArray[np.int64] = slice(None)
        else:
            chosen = np.concatenate([np.arange(a, b) for a, b in runs]) if runs else np.zeros(0, np.int64)
        return Scan(
            words=words,
            sample_words=places[chosen],
            sample_sizes=sizes[chosen],
            sample_attributes=events[chosen],
            others=walk.others,
            consumed=walk.at,
            skip_bytes=walk.skip_bytes,
            notes=walk.notes,
        )

    def header(self, raw: NDArray[np.uint8], at: int) -> tuple[int, int]:
        """Return type and size in bytes of the record at a byte."""
        kind, _misc, size = self._header.unpack_from(raw.data, at)
        return kind, size

    def payload_size(self, kind: int, raw: NDArray[np.uint8], at: int) -> int:
        """Return the bytes that follow the record outside of its own size."""
        width = 4 if kind == RecordType.TRACING_DATA else 8  # u32 size; AUXTRACE: u64 size
        start = at + RECORD_HEADER_SIZE
        if kind not in self._payload_types or start + width > len(raw):
            return 0
        size = int.from_bytes(raw[start : start + width].tobytes(), "little" if self.order == "<" else "big")
        return -(-size // _WORD) * _WORD

    def _candidates(
        self, words: NDArray[np.uint64], attributes: AttributeTable
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        # A header begins with the type, which is the low half of the word, or in a big-endian file the high one.
        kinds = (words if self.order == "<" else words >> np.uint64(32)).astype(np.uint32)
        places = np.flatnonzero(kinds == RecordType.SAMPLE)
        byte_sizes = (words.take(places) >> self._size_shift & np.uint64(0xFFFF)).view(np.int64)
        sizes = byte_sizes >> 3
        fits = (byte_sizes & 7 == 0) & (sizes > 1) & (places + sizes <= len(words))
        id_word = attributes.id_word
        if id_word is None:  # only one event, or none that says which it is: the samples layer sorts them out
            events = np.full(len(places), 0 if attributes.attributes else -1, np.int64)
        else:
            events = attributes.lookup(words.take(np.minimum(places + id_word, len(words) - 1)))
            fits &= sizes > id_word
        fits &= events >= 0
        if not fits.all():
            places, sizes, events = places[fits], sizes[fits], events[fits]
        return places, sizes, events


class _Walk:
    """Goes from record to record through one block; runs of candidates are taken in one step."""

    def __init__(self, scanner: Scanner, raw: NDArray[np.uint8], offset: int, *, last: bool) -> None:
        self.scanner = scanner
        self.raw = raw
        self.offset = offset
        self.last = last
        self.at = 0  # byte
        self.taken = 0
        self.others: list[OtherRecord] = []
        self.notes: list[Note] = []
        self.skip_bytes = 0
        self.stopped = False  # the block ends at `at`
        self.damage: str | None = None  # what was found at `at` instead of a record
        self.damaged_samples = 0  # there

    def prove(self, places: NDArray[np.int64], sizes: NDArray[np.int64]) -> list[tuple[int, int]]:
        """Return the runs of candidates that are samples, as ranges of their indexes."""
        ends = places + sizes
        breaks = np.flatnonzero(ends[:-1] != places[1:]) + 1
        runs: list[tuple[int, int]] = []
        for start, stop in zip([0, *breaks.tolist()], [*breaks.tolist(), len(places)], strict=True):
            if start < stop and (count := self._take(places[start:stop], int(ends[stop - 1]) * _WORD)):
                runs.append((stop - count, stop))
            if self.stopped:
                break
        if not self.stopped:
            self._walk_others(len(self.raw))
        if self.damage:
            self._resume(len(self.raw))
        return _joined(runs)

    def _take(self, places: NDArray[np.int64], run_end: int) -> int:
        """Go to the end of a run of candidates, and return how many of them are samples, counted from its end."""
        before = self.at
        if run_end > before:
            self._walk_others(int(places[0]) * _WORD)
        if run_end <= before or (run_end <= self.at and not self.damage):  # all of them are inside of a record
            if len(places) >= _RESYNC_RUN or run_end == self.at:
                self._note_swallowed(places)
            return 0
        if self.damage and (len(places) >= _RESYNC_RUN or run_end == len(self.raw) // _WORD * _WORD):
            self._resume(int(places[0]) * _WORD)
        first = int(np.searchsorted(places, self.at // _WORD))
        if self.stopped or self.damage or first == len(places) or int(places[first]) * _WORD != self.at:
            return 0
        if first:
            self._note_swallowed(places[:first])
        count = len(places) - first
        self.taken += count
        self.at = run_end
        return count

    def _walk_others(self, target: int) -> None:
        """Walk records until byte `target` is reached or passed, or a place that is no record."""
        while self.at < target and not self.stopped and not self.damage:
            if self.at + RECORD_HEADER_SIZE > len(self.raw):
                self._stop_incomplete(0, RECORD_HEADER_SIZE)
                return
            kind, size = self.scanner.header(self.raw, self.at)
            if self.at % _WORD and kind == RecordType.SAMPLE:
                self.stopped = True  # the next block begins here, so that the sample is aligned
                return
            payload = self.scanner.payload_size(kind, self.raw, self.at)
            if not _plausible(kind, size, payload):
                self.damage = f"expected a record, found type {kind} of {size + payload} bytes"
                return
            behind = self.at + size
            complete = behind if kind == RecordType.AUXTRACE else behind + payload
            if complete > len(self.raw):
                self._stop_incomplete(kind, complete - self.at)
                return
            self.others.append(OtherRecord(kind, self.at, size, self.taken))
            self.at = behind + payload
            if self.at > len(self.raw):  # only AUXTRACE, whose payload nobody reads
                self.skip_bytes = self.at - len(self.raw)
                self.at = len(self.raw)

    def _stop_incomplete(self, kind: int, size: int) -> None:
        """End the block inside a record: the next block brings the rest, unless there is none."""
        if not self.last:
            self.stopped = True
            return
        self.damage = f"expected a record of {size} bytes, found the end after {len(self.raw) - self.at}"
        self.damaged_samples = int(kind == RecordType.SAMPLE)

    def _resume(self, place: int) -> None:
        what = f"{self.damage}; {place - self.at} bytes skipped"
        self.notes.append(Note(f"offset {self.offset + self.at}", what, self.damaged_samples))
        self.at = place
        self.damage = None
        self.damaged_samples = 0

    def _note_swallowed(self, places: NDArray[np.int64]) -> None:
        """Note samples that chain inside of a record: the record's size is damaged, and they are not read."""
        what = f"expected no sample inside of a record, found {len(places)}"
        self.notes.append(Note(f"offset {self.offset + int(places[0]) * _WORD}", what, len(places)))


def _plausible(kind: int, size: int, payload: int) -> bool:
    aligned = size % _WORD == 0 or kind in _UNALIGNED
    bounded = payload <= _MAX_PAYLOAD or kind == RecordType.AUXTRACE
    return size >= RECORD_HEADER_SIZE and aligned and bounded and 0 < kind <= LAST_RECORD_TYPE


def _joined(runs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, stop in runs:
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], stop)
        else:
            joined.append((start, stop))
    return joined
