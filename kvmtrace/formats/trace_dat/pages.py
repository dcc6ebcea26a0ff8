"""The pages of one CPU, from the file or from compressed chunks: whole pages, in order, some at a time."""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from kvmtrace.formats.trace_dat.abi import MAX_CHUNK_BYTES
from kvmtrace.formats.trace_dat.packing import PackingError, unpack
from kvmtrace.recording import Note, Notes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from kvmtrace.formats.source import Source
    from kvmtrace.formats.trace_dat.container import Buffer, CpuData

_ROOM_BYTES = 64
_COUNT_BYTES = 4
_CHUNK_HEADER_BYTES = 8


@dataclass(frozen=True, slots=True)
class Pages:
    """n pages of one CPU."""

    raw: NDArray[np.uint8]  # n by the bytes of a page, or more
    offset: NDArray[np.int64]  # where each stands in the file; of a compressed page: where its chunk does
    gap: NDArray[np.bool_]  # pages before it could not be read

    def __len__(self) -> int:
        return len(self.raw)


class PageStream(Protocol):
    """The pages of one CPU."""

    done_bytes: int  # of the file, in which the pages are that were read

    def read(self, pages: int) -> list[Pages]:
        """Return the next pages, some behind the others: none at the end, fewer before it."""


def open_pages(source: Source, data: CpuData, buffer: Buffer, algorithm: str, order: str, notes: Notes) -> PageStream:
    """Return the pages of one CPU from the first on; what cannot be read is added to `notes`."""
    if buffer.compressed:
        return _PackedPages(source, data, buffer.page_bytes, algorithm, order, notes)
    return _PlainPages(source, data, buffer.page_bytes, notes)


class _PlainPages:
    """Pages that stand in the file as they are."""

    def __init__(self, source: Source, data: CpuData, page_bytes: int, notes: Notes) -> None:
        self._source = source
        self._at = data.offset
        self._end = min(data.offset + data.size, source.size)
        self._page_bytes = page_bytes
        self.done_bytes = 0
        if data.offset + data.size > source.size:
            missing = data.offset + data.size - max(data.offset, source.size)
            what = f"the file ends {missing} bytes before the pages of CPU {data.cpu} do"
            notes.add(Note(f"offset {source.size}", what))

    def read(self, pages: int) -> list[Pages]:
        """Return the next pages; what is cut off the last one is taken for zeros."""
        raw = self._source.read_at(self._at, min(pages * self._page_bytes, max(self._end - self._at, 0)))
        page = _paged(raw, self._page_bytes)
        offset = self._at + np.arange(len(page)) * self._page_bytes
        self._at += len(raw) or self._page_bytes  # the file may have become shorter
        self.done_bytes += len(raw)
        return [Pages(page, offset, np.zeros(len(page), np.bool_))] if len(page) else []


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A compressed chunk: where its header stands, the bytes behind that, and those that they become."""

    offset: int
    packed: int
    size: int
    is_last: bool


def _chunks(source: Source, data: CpuData, order: str) -> Iterator[_Chunk | Note]:
    """Yield the chunks of a CPU (u32 number; each u32 packed size, u32 unpacked size, bytes), or what ends them."""
    if not data.size:
        return
    count = source.read_at(data.offset, _COUNT_BYTES)
    if len(count) < _COUNT_BYTES:
        yield _note(data.cpu, data.offset, f"expected the number of chunks, found {len(count)} bytes")
        return
    (chunks,) = struct.unpack(order + "I", count)
    at = data.offset + _COUNT_BYTES
    # trace-cmd does not count the number of chunks itself into the size.
    end = min(data.offset + data.size + _COUNT_BYTES, source.size)
    for left in range(chunks, 0, -1):
        header = source.read_at(at, _CHUNK_HEADER_BYTES)
        packed, size = struct.unpack(order + "II", header) if len(header) == _CHUNK_HEADER_BYTES else (0, 0)
        if packed == 0 or at + _CHUNK_HEADER_BYTES + packed > end:
            yield _note(data.cpu, at, f"expected {left} more chunks, found {max(end - at, 0)} bytes")
            return
        yield _Chunk(at, packed, size, left == 1)
        at += _CHUNK_HEADER_BYTES + packed


def _note(cpu: int, offset: int, what: str) -> Note:
    return Note(f"offset {offset}", f"pages of CPU {cpu}: {what}")


def unpacked_bytes(source: Source, data: CpuData, order: str) -> int:
    """Return what the chunks of one CPU say that they become: none becomes more, and one that is too large nothing."""
    chunks = (chunk for chunk in _chunks(source, data, order) if isinstance(chunk, _Chunk))
    return sum(chunk.size for chunk in chunks if chunk.size <= MAX_CHUNK_BYTES)


class _PackedPages:
    """Pages in compressed chunks."""

    def __init__(
        self, source: Source, data: CpuData, page_bytes: int, algorithm: str, order: str, notes: Notes
    ) -> None:
        self._source = source
        self._cpu = data.cpu
        self._page_bytes = page_bytes
        self._algorithm = algorithm
        self._notes = notes
        self._waiting: deque[Pages] = deque()
        self._gap = False  # a chunk before the next one could not be read
        self._chunks = _chunks(source, data, order)
        self.done_bytes = 0

    def _note(self, offset: int, what: str) -> None:
        self._notes.add(_note(self._cpu, offset, what))

    def read(self, pages: int) -> list[Pages]:
        """Return the next pages, at most those of the chunks that hold the first of them and the last."""
        parts: list[Pages] = []
        wanted = pages
        while wanted > 0 and (self._waiting or self._unpack_next()):
            part = self._waiting.popleft()
            if len(part) > wanted:
                self._waiting.appendleft(Pages(part.raw[wanted:], part.offset[wanted:], part.gap[wanted:]))
                part = Pages(part.raw[:wanted], part.offset[:wanted], part.gap[:wanted])
            parts.append(part)
            wanted -= len(part)
        return parts

    def _unpack_next(self) -> bool:
        """Unpack the next chunk that can be. False: there is none."""
        for chunk in self._chunks:
            if isinstance(chunk, Note):
                self._notes.add(chunk)
                continue
            self.done_bytes += _CHUNK_HEADER_BYTES + chunk.packed
            if self._take(chunk):
                return True
        return False

    def _unpacked(self, chunk: _Chunk) -> bytes:
        if chunk.size > MAX_CHUNK_BYTES:
            raise PackingError(f"expected a chunk of at most {MAX_CHUNK_BYTES} bytes, found {chunk.size}")
        packed = self._source.read_at(chunk.offset + _CHUNK_HEADER_BYTES, chunk.packed)
        return unpack(packed, chunk.size, self._algorithm)

    def _take(self, chunk: _Chunk) -> bool:
        try:
            raw = self._unpacked(chunk)
        except PackingError as error:
            self._note(chunk.offset, f"{error}; {chunk.size // self._page_bytes} pages are lost")
            self._gap = True
            return False
        if not raw:
            self._note(chunk.offset, "expected pages in a chunk, found none")
            return False
        if len(raw) % self._page_bytes and not chunk.is_last:
            self._note(chunk.offset, f"expected pages of {self._page_bytes} bytes in a chunk, found {len(raw)} bytes")
        page = _paged(raw, self._page_bytes)
        gap = np.zeros(len(page), np.bool_)
        gap[0] = self._gap
        self._gap = False
        self._waiting.append(Pages(page, np.full(len(page), chunk.offset), gap))
        return True


def joined(parts: list[Pages], page_bytes: int) -> Pages:
    """Return the pages of all parts behind each other, with room behind each.

    Pages are walked side by side. Were they a power of two apart, all that is looked at together would fall into the
    same few lines of the CPU's caches: the walk takes a fifth longer then.
    """
    raw = np.empty((sum(map(len, parts)), page_bytes + _ROOM_BYTES), np.uint8)
    row = 0
    for part in parts:
        raw[row : row + len(part), :page_bytes] = part.raw[:, :page_bytes]
        row += len(part)
    nothing = np.zeros(0, np.int64)
    return Pages(
        raw,
        np.concatenate([nothing, *(part.offset for part in parts)]),
        np.concatenate([np.zeros(0, np.bool_), *(part.gap for part in parts)]),
    )


def _paged(raw: bytes, page_bytes: int) -> NDArray[np.uint8]:
    """Return whole pages; what is missing in the last one is zeros."""
    if missing := -len(raw) % page_bytes:
        raw += bytes(missing)
    return np.frombuffer(raw, np.uint8).reshape(-1, page_bytes)
