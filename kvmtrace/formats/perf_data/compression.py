"""COMPRESSED and COMPRESSED2 records: one zstd stream, cut anywhere into records (tools/perf/util/zstd.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import zstandard

from kvmtrace.formats.perf_data.abi import RECORD_HEADER_SIZE, RecordType

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIZE = struct.Struct("Q")
_MAX_OUTPUT = 1 << 26
"""Bytes that one record, of 64 KB at most, may unpack to. Samples pack 10 to 50 times smaller, and not 1000 times."""
_SLICE = 1 << 10  # bytes fed at once: what a forged record can unpack to before it is noticed is 32 MB more


class CompressionError(ValueError):
    """The compressed stream is damaged; nothing behind can be unpacked."""


class RecordStream:
    """The records inside the COMPRESSED records of one recording."""

    def __init__(self, order: str) -> None:
        self._order = order
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._frame_begun = False
        self.silent = 0  # records since the last that gave bytes: at the end of a stream, more was expected of them

    def unpack(self, kind: int, record: bytes) -> bytes:
        """Return the next bytes of the stream. CompressionError: it is damaged."""
        packed = record[RECORD_HEADER_SIZE:]
        if kind == RecordType.COMPRESSED2:  # u64 data_size, then padding
            if len(packed) < _SIZE.size:
                raise CompressionError("expected the size of the data")
            (size,) = struct.unpack_from(self._order + _SIZE.format, packed)
            packed = packed[_SIZE.size : _SIZE.size + size]
        unpacked: list[bytes] = []
        total = 0
        for at in range(0, len(packed), _SLICE):
            unpacked.extend(self._unpack_slice(packed[at : at + _SLICE]))
            total = sum(map(len, unpacked))
            if total > _MAX_OUTPUT:
                raise CompressionError(f"expected at most {_MAX_OUTPUT} bytes from one record, found more")
        self.silent = self.silent + 1 if self._frame_begun and total == 0 else 0
        return b"".join(unpacked)

    def _unpack_slice(self, packed: bytes) -> Iterator[bytes]:
        while packed:
            self._frame_begun = True
            try:
                yield self._frame.decompress(packed)
            except zstandard.ZstdError as error:
                raise CompressionError(str(error)) from None
            if not self._frame.eof:
                return
            packed = self._frame.unused_data
            self._frame = zstandard.ZstdDecompressor().decompressobj()
            self._frame_begun = False
