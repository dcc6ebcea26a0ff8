"""Compressed inputs → their content in an unnamed temporary file, within a limit.

All that is unpacked from one input, in however many layers and files, has one limit together.
"""

from __future__ import annotations

import gzip
import lzma
import os
import tempfile
import zipfile
import zlib
from contextlib import ExitStack
from typing import IO, TYPE_CHECKING, Protocol, cast

from kvmtrace.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

_COPY_BYTES = 1 << 20
_PACKINGS = {b"\x1f\x8b": "gzip", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_USUAL_RATIO = 200
_ZSTD_HEADER_BYTES = 18  # at most: RFC 8878, magic and frame header
_USUAL_BYTES = 1 << 30


def packing(head: bytes) -> str | None:
    """Return how the content that begins with `head` is compressed; None: it is not."""
    return next((name for magic, name in _PACKINGS.items() if head.startswith(magic)), None)


class Readable(Protocol):
    """What is copied."""

    def read(self, size: int, /) -> bytes:
        """Return up to so many bytes, none at the end."""


class Allowance:
    """Bytes that one input may become when unpacked: all that is unpacked from it takes its part of them."""

    def __init__(self, packed_bytes: int, limit: int | None) -> None:
        """Allow `limit` bytes; None: 200 times what the input is, 1 GiB at least."""
        self.limit = limit or max(_USUAL_BYTES, _USUAL_RATIO * packed_bytes)
        self.taken = 0

    def take(self, size: int) -> bool:
        """Take so many bytes. False: there are not as many left, and none is taken."""
        if self.taken + size > self.limit:
            return False
        self.taken += size
        return True

    def exceeded(self, path: str, how: str, needed: int = 0) -> InputError:
        """Return the error of one who needs more than is left; `needed`: what all of it takes, 0: not known."""
        enough = needed if needed > self.limit else 2 * self.limit
        return InputError(
            path,
            f"expected {how} data of at most {self.limit:,} bytes when unpacked, found more",
            hint=f"if that is no trick, raise the limit: --max-unpacked {-(-enough >> 20)} (MiB)",
        )


def unpacked(stream: IO[bytes], path: str, how: str, allowance: Allowance) -> IO[bytes]:
    """Return the content of `stream`, whose packing is `how`.

    InputError: it becomes more than is allowed, it is damaged, or there is no room for it.
    """
    before = allowance.taken

    def error() -> InputError:
        told = _told_bytes(stream, how)
        return allowance.exceeded(path, how, before + told if told else 0)

    return copied(_opened(stream, how), path, how, (allowance, error))


def copied(
    stream: Readable,
    path: str,
    how: str = "readable",
    allowed: tuple[Allowance, Callable[[], InputError]] | None = None,
) -> IO[bytes]:
    """Copy a stream to an unnamed temporary file.

    `allowed`: how much of it, and the error where it is more. InputError: it ends in damage, or lacks room.
    """
    with ExitStack() as on_error:
        try:
            file = on_error.enter_context(tempfile.TemporaryFile())
            while piece := _piece(stream, path, how):
                if allowed is not None and not allowed[0].take(len(piece)):
                    error = allowed[1]()
                    raise error
                file.write(piece)
            file.flush()
        except OSError as error:
            raise InputError(
                path,
                f"cannot be unpacked into {tempfile.gettempdir()}: {error.strerror}",
                hint="name a folder with more room in $TMPDIR",
            ) from None
        on_error.pop_all()
    return file


def _opened(packed: IO[bytes], how: str) -> IO[bytes]:
    if how == "gzip":
        return cast("IO[bytes]", gzip.GzipFile(fileobj=packed))
    if how == "xz":
        return cast("IO[bytes]", lzma.LZMAFile(packed))
    import pyarrow as pa  # noqa: PLC0415 - heavy, and only for this: zstandard does not tell where a frame is cut off

    return cast("IO[bytes]", pa.CompressedInputStream(packed, "zstd"))


def _piece(stream: Readable, path: str, how: str) -> bytes:
    try:
        return stream.read(_COPY_BYTES)
    except (EOFError, OSError, lzma.LZMAError, zlib.error, zipfile.BadZipFile) as error:
        raise InputError(path, f"expected {how} data to its end, found damage: {error}") from None


def _told_bytes(packed: IO[bytes], how: str) -> int:
    """Return what a file says that it becomes, which may not be true; 0: it does not say it."""
    if how == "gzip":
        packed.seek(-4, os.SEEK_END)
        return int.from_bytes(packed.read(4), "little")  # RFC 1952, ISIZE
    if how == "zstd":
        import zstandard  # noqa: PLC0415 - heavy, and only for this

        packed.seek(0)
        return max(zstandard.frame_content_size(packed.read(_ZSTD_HEADER_BYTES)), 0)
    return 0
