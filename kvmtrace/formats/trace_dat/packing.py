"""Compressed sections and chunks of trace.dat → their bytes, of which none may be more than it says."""

from __future__ import annotations

import zlib

ALGORITHMS = ("none", "zlib", "zstd")


class PackingError(ValueError):
    """The packed bytes are damaged, or are not what their header says."""


def unpack(packed: bytes, size: int, algorithm: str) -> bytes:
    """Return the `size` bytes that were packed. PackingError: they are not."""
    content = _zlib(packed, size) if algorithm == "zlib" else _zstd(packed, size)
    if len(content) != size:
        raise PackingError(f"expected {size} bytes from {len(packed)} packed ones, found {len(content)}")
    return content


def _zlib(packed: bytes, size: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(packed, max(size, 1))
    except zlib.error as error:
        raise PackingError(f"expected zlib data, found damage: {error}") from None


def _zstd(packed: bytes, size: int) -> bytes:
    import zstandard  # noqa: PLC0415 - heavy, and only for compressed files

    try:
        told = zstandard.frame_content_size(packed)
        if told not in (size, -1):  # the size in the frame decides what is allocated, so it must be the one bounded
            raise PackingError(f"expected {size} bytes, found a zstd frame of {told}")
        return zstandard.ZstdDecompressor().decompress(packed, max_output_size=max(size, 1))
    except zstandard.ZstdError as error:
        raise PackingError(f"expected zstd data, found damage: {error}") from None
