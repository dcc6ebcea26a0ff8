"""perf.data as a Recording: facts at the start, then blocks of events."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.errors import InputError
from kvmtrace.formats.perf_data.abi import MAGIC, MAGIC_SWAPPED, MAGIC_V1, RecordType
from kvmtrace.formats.perf_data.attributes import AttributeTable
from kvmtrace.formats.perf_data.compression import CompressionError, RecordStream
from kvmtrace.formats.perf_data.header import clock_name, describe, read_file_header, start_time
from kvmtrace.formats.perf_data.losses import LossFinder
from kvmtrace.formats.perf_data.metadata import Metadata, read_metadata
from kvmtrace.formats.perf_data.samples import SampleDecoder
from kvmtrace.formats.perf_data.scanner import OtherRecord, Scan, Scanner
from kvmtrace.formats.perf_data.side_records import record_name, thread_name
from kvmtrace.recording import NO_WATERMARK, EventBlock, Facts, Loss, Note, Notes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from kvmtrace.formats.source import Source

BLOCK_BYTES = 1 << 21
_SLACK_BYTES = 128  # the fixed part of a sample may be looked at beyond the end of a short record
_WORD = 8


def recognises(head: bytes) -> bool:
    """Tell whether an input that begins with `head` is a perf.data."""
    return head.startswith((MAGIC, MAGIC_SWAPPED, MAGIC_V1))


class PerfDataRecording:
    """A perf.data of either byte order, from a file or a pipe, compressed or not (recording.Recording)."""

    def __init__(self, source: Source, block_bytes: int = BLOCK_BYTES) -> None:
        self._source = source
        self._block_bytes = block_bytes
        self.notes = Notes()
        self._header = read_file_header(source)
        for note in self._header.notes:
            self.notes.add(note)
        self._metadata: Metadata = read_metadata(source, self._header, self.notes)
        if not self._metadata.kinds:
            what = _nothing_to_read(self._metadata, self.notes)
            raise InputError(source.path, what, hint="record with: perf record -e 'kvm:*' -a")
        self.facts = Facts("perf.data", events=self._metadata.kinds)
        describe(self.facts, self._header.features, self._header.order)
        self.facts.clock = clock_name(self._header.attributes)
        self.facts.left_out = self._metadata.left_out
        self.facts.has_times = self._metadata.has_times
        self.facts.has_processes = self._metadata.has_processes
        self._order = self._header.order
        self._attributes = AttributeTable(self._header.attributes)
        self._scanner = Scanner(self._order, pipe=self._header.pipe)
        self._decoder = SampleDecoder(
            self._order, self._attributes, self._metadata.kind_of_attribute, self._metadata.layouts, self.notes
        )
        self._losses = LossFinder(self._order, self._attributes)
        self._rounds = _Rounds()
        self._inner = _Inner(self._order)
        self._records: Counter[str] = Counter()
        self._unknown_ids = 0
        self._first_ts: int | None = None

    def blocks(self) -> Iterator[EventBlock]:
        """Read the records once, from first to last."""
        source, end = self._source, self._header.data_end
        source.skip_to(self._header.data_start)
        carry = np.zeros(0, np.uint8)
        last = False
        while not last or len(carry):
            offset = source.position - len(carry)
            wanted = min(self._block_bytes, end - source.position)
            raw, filled = _block(carry, wanted)
            got = source.read_some(raw.data[len(carry) : len(carry) + wanted]) if wanted else 0
            filled = len(carry) + got
            cut = source.was_cut and not got
            last = (not got and not cut) or source.position >= end
            scan = self._scan(raw, filled, offset, last=last)
            if cut and not scan.consumed:  # what is left is a record that was cut, or nothing
                self.notes.add(Note(f"offset {offset}", "reading was ended on request, and more might have come"))
                break
            yield from self._events(scan, raw, offset)
            carry = raw[scan.consumed : filled]
            if scan.skip_bytes:
                self._skip(scan.skip_bytes)
                last = source.position >= end
        yield from self._flush_inner(last=True)
        self._finish()

    def _skip(self, payload: int) -> None:
        """Go over a payload that nobody reads (AUXTRACE)."""
        place = self._source.position
        self._source.skip_to(min(place + payload, self._header.data_end))
        if self._source.position < place + payload:
            self.notes.add(Note(f"offset {place}", f"expected {payload} bytes of AUX data, found the end"))

    def _scan(self, raw: NDArray[np.uint8], filled: int, offset: int, *, last: bool) -> Scan:
        scan = self._scanner.scan(raw, filled, offset, self._attributes, last=last)
        self._records["SAMPLE"] += len(scan.sample_words)
        for note in scan.notes:
            self.notes.add(note)
            self._records["SAMPLE"] += note.events
        return scan

    def _events(self, scan: Scan, raw: NDArray[np.uint8], offset: int) -> Iterator[EventBlock]:
        """Yield the events of one scanned block, and of the compressed records in it."""
        block, columns = self._decoder.decode(scan, raw, offset)
        done = 0
        losses: list[Loss] = []
        threads: dict[tuple[int, int], str] = {}
        inner: list[EventBlock] = []
        for other in scan.others:
            self._records[record_name(other.type)] += 1
            if other.type == RecordType.FINISHED_ROUND:
                inner.extend(self._flush_inner(last=False))
                self._rounds.see(columns.ts_ns[done : other.samples_before])
                done = other.samples_before
                self._rounds.finish()
            elif other.type in (RecordType.COMPRESSED, RecordType.COMPRESSED2):
                inner.extend(self._unpack(other, raw, offset))
            else:
                self._side_record(other, raw, columns.ts_ns, columns.cpu, losses, threads)
        self._rounds.see(columns.ts_ns[done:])
        self._losses.remember(columns.ts_ns, columns.cpu)
        if self._first_ts is None and len(block.ts_ns):
            self._first_ts = int(block.ts_ns.min())
        watermark = NO_WATERMARK if inner else self._rounds.watermark
        yield replace(block, watermark_ns=watermark, losses=tuple(losses), threads=threads)
        for place, inner_block in enumerate(inner, 1):
            yield replace(inner_block, watermark_ns=self._rounds.watermark if place == len(inner) else NO_WATERMARK)

    def _side_record(
        self,
        other: OtherRecord,
        raw: NDArray[np.uint8],
        ts_ns: NDArray[np.int64],
        cpu: NDArray[np.int32],
        losses: list[Loss],
        threads: dict[tuple[int, int], str],
    ) -> None:
        record = raw[other.start : other.start + other.size].tobytes()
        if other.type == RecordType.SAMPLE:
            self._unknown_ids += 1
        elif other.type == RecordType.COMM:
            if (named := thread_name(record, self._order)) is not None:
                threads[named[:2]] = named[2]
        elif other.type in (RecordType.LOST, RecordType.LOST_SAMPLES):
            before = slice(0, other.samples_before)
            losses.extend(self._losses.find(other.type, record, ts_ns[before], cpu[before]))

    def _unpack(self, other: OtherRecord, raw: NDArray[np.uint8], offset: int) -> Iterator[EventBlock]:
        record = raw[other.start : other.start + other.size].tobytes()
        place = offset + other.start
        try:
            self._inner.feed(other.type, record, place)
        except CompressionError as error:
            self.notes.add(
                Note(f"offset {place}", f"expected zstd data, found damage: {error}; the rest is not readable")
            )
            self._inner.broken = True
        if self._inner.waiting >= self._block_bytes:
            yield from self._flush_inner(last=False)

    def _flush_inner(self, *, last: bool) -> Iterator[EventBlock]:
        while self._inner.waiting or (last and len(self._inner.carry)):
            raw, filled, offset = self._inner.take()
            scan = self._scan(raw, filled, offset, last=last)
            self._inner.carry = raw[scan.consumed : filled].copy()
            yield from self._events(scan, raw, offset)

    def _finish(self) -> None:
        facts, seen = self.facts, self._decoder.seen
        facts.records = {**self._records, "SAMPLE": self._records["SAMPLE"]}
        for name, attributes in self._metadata.undecoded.items():
            if attributes and (count := int(seen[attributes].sum())):
                facts.not_stored[name] = count
        for kind, of_kind in enumerate(self._metadata.attributes_of_kind()):
            facts.samples[kind] = int(seen[of_kind].sum())
        if self._unknown_ids:
            facts.not_stored["samples whose id no event of the header has"] = self._unknown_ids
        if skipped := self._inner.skipped:
            self.notes.add(Note("records", f"{skipped} compressed records behind the damage are not read"))
        elif silent := self._inner.stream.silent:
            self.notes.add(Note("records", f"the last {silent} compressed records gave nothing: damaged, or cut off"))
        if self._first_ts is not None:
            facts.start = start_time(self._header.features, self._order, self._first_ts)


class _Rounds:
    """perf's rule of order: after a FINISHED_ROUND, nothing comes that is older than the round before it was."""

    def __init__(self) -> None:
        self.watermark = NO_WATERMARK
        self._newest = NO_WATERMARK
        self._newest_of_last_round = NO_WATERMARK

    def see(self, ts_ns: NDArray[np.int64]) -> None:
        if len(ts_ns):
            self._newest = max(self._newest, int(ts_ns.max()))

    def finish(self) -> None:
        self.watermark = self._newest_of_last_round
        self._newest_of_last_round = self._newest


class _Inner:
    """Unpacked bytes that wait to be scanned."""

    def __init__(self, order: str) -> None:
        self.stream = RecordStream(order)
        self._pieces: list[bytes] = []
        self.carry = np.zeros(0, np.uint8)
        self.waiting = 0
        self.broken = False
        self.skipped = 0
        self._place = 0

    def feed(self, kind: int, record: bytes, place: int) -> None:
        """Unpack one record. CompressionError: the stream is damaged."""
        if self.broken:
            self.skipped += 1
            return
        self._place = place
        piece = self.stream.unpack(kind, record)
        self._pieces.append(piece)
        self.waiting += len(piece)

    def take(self) -> tuple[NDArray[np.uint8], int, int]:
        """Return the waiting bytes, how many, and the place of the last compressed record among them."""
        raw, filled = _block(self.carry, self.waiting)
        for piece in self._pieces:
            raw[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
            filled += len(piece)
        self._pieces.clear()
        self.waiting = 0
        return raw, filled, self._place


def _block(carry: NDArray[np.uint8], room: int) -> tuple[NDArray[np.uint8], int]:
    """Return a new buffer that begins with `carry` and has room for more, and how much is filled."""
    raw = np.empty(-(-(len(carry) + room) // _WORD) * _WORD + _SLACK_BYTES, np.uint8)
    raw[: len(carry)] = carry
    raw[len(carry) + room :] = 0
    return raw, len(carry)


def _nothing_to_read(metadata: Metadata, notes: Notes) -> str:
    found = next(iter(metadata.undecoded), "no event at all")
    why = f" ({notes.kept[0].what})" if notes.kept else ""
    return f"expected tracepoints that can be decoded, found {found}{why}"
