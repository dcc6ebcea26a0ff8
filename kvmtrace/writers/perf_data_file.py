"""Writes perf.data: a file, a stream (pipe mode) and the two zstd forms, all from the same records.

Layout: tools/perf/Documentation/perf.data-file-format.txt and tools/perf/util/header.c of the Linux source, as perf
6.1 writes it. `order` is the byte order of the machine that recorded: "<" (little endian) or ">" (big endian).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Self

import zstandard

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

MAGIC = b"PERFILE2"  # a u64: its bytes are the other way round on a big-endian machine
HEADER_BYTES = 104  # struct perf_file_header
PIPE_HEADER_BYTES = 16
SECTION = struct.Struct("<QQ")  # struct perf_file_section of a little-endian machine: offset, size
FEATURE_BITS = 256
_WORD = (1 << 64) - 1
LONGEST_RECORD = 0xFFFF  # perf_event_header.size is a u16

PIECE_BYTES = 4093
"""Bytes that one COMPRESSED record holds when unpacked: odd, so that records straddle two of them."""


class Form(StrEnum):
    """The shapes that one recording can be written in."""

    FILE = "file"
    PIPE = "pipe"
    ZSTD = "zstd"  # PERF_RECORD_COMPRESSED
    ZSTD2 = "zstd2"  # PERF_RECORD_COMPRESSED2, perf 6.16 and later


class RecordType(IntEnum):
    """enum perf_event_type (below 64: the kernel's) and enum perf_user_event_type."""

    LOST = 2
    COMM = 3
    EXIT = 4
    FORK = 7
    SAMPLE = 9
    LOST_SAMPLES = 13
    HEADER_ATTR = 64
    HEADER_TRACING_DATA = 66
    FINISHED_ROUND = 68
    AUXTRACE = 71
    HEADER_FEATURE = 80
    COMPRESSED = 81
    COMPRESSED2 = 83


FIRST_USER_TYPE = 64  # PERF_RECORD_USER_TYPE_START


class Feature(IntEnum):
    """Bits of perf_file_header.adds_features (HEADER_* of tools/perf/util/header.h)."""

    TRACING_DATA = 1
    BUILD_ID = 2
    HOSTNAME = 3
    OSRELEASE = 4
    VERSION = 5
    ARCH = 6
    NRCPUS = 7
    CPUDESC = 8
    CPUID = 9
    CMDLINE = 11
    EVENT_DESC = 12
    BRANCH_STACK = 15
    AUXTRACE = 18
    STAT = 19
    CACHE = 20
    DIR_FORMAT = 24
    COMPRESSED = 27
    LAST = 32  # HEADER_LAST_FEATURE of perf 6.1: ends the features of a stream


# perf has no record for these (FEAT_OPN in header.c); tracing data have one of their own.
NOT_IN_PIPE = frozenset(
    {
        Feature.TRACING_DATA,
        Feature.BUILD_ID,
        Feature.BRANCH_STACK,
        Feature.AUXTRACE,
        Feature.STAT,
        Feature.CACHE,
        Feature.DIR_FORMAT,
    },
)


@dataclass(frozen=True, slots=True)
class Attr:
    """One event of a recording: the bytes of its struct perf_event_attr, and the ids of its samples."""

    raw: bytes
    ids: tuple[int, ...]


def record(record_type: int, body: bytes, *, misc: int = 0, order: str = "<") -> bytes:
    """Return a record: struct perf_event_header and `body`. ValueError: longer than a header can say."""
    size = 8 + len(body)
    if size > LONGEST_RECORD:
        raise ValueError(f"a record of {size} bytes: the longest is {LONGEST_RECORD}")
    return struct.pack(f"{order}IHH", record_type, misc, size) + body


FINISHED_ROUND = record(RecordType.FINISHED_ROUND, b"")


class PerfDataWriter:
    """Writes one perf.data; a context manager.

    All attrs must have the same size. `features` holds the content of each feature section by its bit. Records go
    through `write` (the kernel's: samples, COMM, LOST …) and `write_user` (perf's own, type 64 and above), since
    only the first are compressed.
    """

    def __init__(
        self,
        target: Path,
        form: Form | str,
        *,
        attrs: Sequence[Attr],
        features: Mapping[int, bytes],
        piece_bytes: int = PIECE_BYTES,
        order: str = "<",
    ) -> None:
        self._form = Form(form)
        self._start = _Start(attrs, dict(features), order)
        self._features = self._start.features
        self._compressor = None
        if self._form in {Form.ZSTD, Form.ZSTD2}:
            self._compressor = _Compressor(self._form, piece_bytes, order)
            self._features[Feature.COMPRESSED] = self._compressor.feature()
        else:
            self._features.pop(Feature.COMPRESSED, None)
        self._file = target.open("wb")
        if self._form is Form.PIPE:
            self._file.write(self._start.of_pipe())
        else:
            self._file.write(self._start.of_file(data_bytes=0))
        self._data_offset = self._file.tell()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def write(self, records: bytes | memoryview) -> None:
        """Write whole records of the kernel, one after the other."""
        if self._compressor is None:
            self._file.write(records)
        else:
            self._file.writelines(self._compressor.records(records))

    def write_user(self, records: bytes) -> None:
        """Write whole records of perf's own: they stand outside the compressed stream, after what it holds so far."""
        if self._compressor is not None:
            self._file.writelines(self._compressor.rest())
        self._file.write(records)

    def close(self) -> None:
        """Write what is held back and, in a file, the feature sections and the final header."""
        if self._file.closed:
            return
        self.write_user(b"")
        if self._form is not Form.PIPE:
            data_bytes = self._file.tell() - self._data_offset
            self._file.write(self._start.feature_sections(self._file.tell()))
            self._file.seek(0)
            self._file.write(self._start.of_file(data_bytes=data_bytes))
        self._file.close()


class _Compressor:
    """One zstd stream over all records, flushed every `piece_bytes` of them, as perf flushes what a buffer gave."""

    def __init__(self, form: Form, piece_bytes: int, order: str) -> None:
        self._form = form
        self._order = order
        self._piece_bytes = piece_bytes
        self._held = b""
        self._stream = zstandard.ZstdCompressor(level=1).compressobj()

    def records(self, added: bytes | memoryview) -> Iterator[bytes]:
        """Yield a record for each full piece; the rest is held."""
        held = self._held + bytes(added)
        full = len(held) - len(held) % self._piece_bytes
        for start in range(0, full, self._piece_bytes):
            yield self._record(held[start : start + self._piece_bytes])
        self._held = held[full:]

    def rest(self) -> Iterator[bytes]:
        """Yield a record of what is held, if anything is."""
        if self._held:
            yield self._record(self._held)
        self._held = b""

    def _record(self, piece: bytes) -> bytes:
        packed = self._stream.compress(piece) + self._stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        if self._form is Form.ZSTD:
            return record(RecordType.COMPRESSED, packed, order=self._order)
        padding = bytes(-len(packed) % 8)
        body = struct.pack(f"{self._order}Q", len(packed)) + packed + padding
        return record(RecordType.COMPRESSED2, body, order=self._order)

    def feature(self) -> bytes:
        """Return HEADER_COMPRESSED: version, type (1 zstd), level, ratio, and the most that a record unpacks to."""
        whole_pages = -(-self._piece_bytes // 4096) * 4096
        return struct.pack(f"{self._order}5I", 0, 1, 1, 1, whole_pages)


@dataclass(frozen=True, slots=True)
class _Start:
    """What stands in front of the records and, in a file, behind them."""

    attrs: Sequence[Attr]
    features: dict[int, bytes]
    order: str

    def of_file(self, *, data_bytes: int) -> bytes:
        """Return struct perf_file_header, the ids of all attrs and the attrs: everything before the data."""
        attr_bytes = len(self.attrs[0].raw) + SECTION.size
        ids = b""
        entries = b""
        for attr in self.attrs:
            own = self._ids(attr)
            entries += attr.raw + self._words(HEADER_BYTES + len(ids), len(own))
            ids += own
        attrs_offset = HEADER_BYTES + len(ids)
        header = self._magic() + self._words(HEADER_BYTES, attr_bytes)
        header += self._words(attrs_offset, len(entries))
        header += self._words(attrs_offset + len(entries), data_bytes)
        header += self._words(0, 0)  # event_types, unused since Linux 3.10
        bits = sum(1 << bit for bit in self.features)
        header += self._words(*(bits >> shift & _WORD for shift in range(0, FEATURE_BITS, 64)))
        return header + ids + entries

    def feature_sections(self, offset: int) -> bytes:
        """Return the table of sections at file `offset`, in the order of the bits, and the sections."""
        table = b""
        sections = b""
        first_section = offset + SECTION.size * len(self.features)
        for _, content in sorted(self.features.items()):
            table += self._words(first_section + len(sections), len(content))
            sections += content
        return table + sections

    def of_pipe(self) -> bytes:
        """Return the header of a stream and the records that perf sends first: attrs, features, tracing data."""
        parts = [self._magic(), self._words(PIPE_HEADER_BYTES)]
        parts += [self._record(RecordType.HEADER_ATTR, attr.raw + self._ids(attr)) for attr in self.attrs]
        parts += [
            self._record(RecordType.HEADER_FEATURE, self._words(bit) + content)
            for bit, content in sorted(self.features.items())
            if bit not in NOT_IN_PIPE and 16 + len(content) <= LONGEST_RECORD
        ]
        parts.append(self._record(RecordType.HEADER_FEATURE, self._words(Feature.LAST)))
        if (tracing := self.features.get(Feature.TRACING_DATA)) is not None:
            tracing += bytes(-len(tracing) % 8)
            size = struct.pack(f"{self.order}II", len(tracing), 0)
            parts += [self._record(RecordType.HEADER_TRACING_DATA, size), tracing]
        return b"".join(parts)

    def _magic(self) -> bytes:
        return MAGIC if self.order == "<" else MAGIC[::-1]

    def _words(self, *numbers: int) -> bytes:
        return struct.pack(f"{self.order}{len(numbers)}Q", *numbers)

    def _ids(self, attr: Attr) -> bytes:
        return self._words(*attr.ids)

    def _record(self, record_type: RecordType, body: bytes) -> bytes:
        return record(record_type, body, order=self.order)
