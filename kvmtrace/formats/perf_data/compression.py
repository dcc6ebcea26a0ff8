"""COMPRESSED and COMPRESSED2 records: one zstd stream, cut anywhere into records (tools/perf/util/zstd.c)."""

from __future__ import annotations

import struct

import zstandard

from kvmtrace.formats.perf_data.abi import RECORD_HEADER_SIZE, RecordType

_SIZE = struct.Struct("Q")
_MAX_OUTPUT = 1 << 27
"""Bytes that one record may unpack to: more than a ring buffer of perf record, so that a forged one is refused."""
_SLICE = 1 << 10  # bytes fed at once: what a forged record can unpack to before it is noticed is 32 MB more


class CompressionError(ValueError):
    """The compressed stream is damaged; nothing behind can be unpacked."""


class RecordStream:
    """The records inside the COMPRESSED records of one recording."""

    def __init__(self, order: str) -> None:
        self._order = order
        self._stream = zstandard.ZstdDecompressor().decompressobj(read_across_frames=True)

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
            try:
                unpacked.append(self._stream.decompress(packed[at : at + _SLICE]))
            except zstandard.ZstdError as error:
                raise CompressionError(str(error)) from None
            total += len(unpacked[-1])
            if total > _MAX_OUTPUT:
                raise CompressionError(f"expected at most {_MAX_OUTPUT} bytes from one record, found more")
        return b"".join(unpacked)
