"""Compressed inputs → their content in an unnamed temporary file, within a limit."""

from __future__ import annotations

import gzip
import lzma
import tempfile
import zipfile
import zlib
from contextlib import ExitStack
from typing import IO, cast

from kvmtrace.errors import InputError

_COPY_BYTES = 1 << 20
_PACKINGS = {b"\x1f\x8b": "gzip", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_USUAL_RATIO = 200
_USUAL_BYTES = 1 << 30


def packing(head: bytes) -> str | None:
    """Return how the content that begins with `head` is compressed; None: it is not."""
    return next((name for magic, name in _PACKINGS.items() if head.startswith(magic)), None)


def unpacked(stream: IO[bytes], path: str, how: str, packed_bytes: int, limit: int | None) -> IO[bytes]:
    """Return the content of `stream`, whose packing is `how`.

    `limit`: bytes that it may become; None: 200 times what it is, 1 GiB at least. InputError: it becomes more, it is
    damaged, or there is no room for it.
    """
    return copied(_opened(stream, how), path, how, limit or unpacked_limit(packed_bytes))


def unpacked_limit(packed_bytes: int) -> int:
    """Return what so many packed bytes may become, unless the user says otherwise."""
    return max(_USUAL_BYTES, _USUAL_RATIO * packed_bytes)


def copied(stream: IO[bytes], path: str, how: str = "readable", limit: int | None = None) -> IO[bytes]:
    """Copy a stream to an unnamed temporary file. InputError: it ends in damage or at the limit, or lacks room."""
    with ExitStack() as on_error:
        try:
            file = on_error.enter_context(tempfile.TemporaryFile())
            size = 0
            while piece := _piece(stream, path, how):
                size += len(piece)
                if limit is not None and size > limit:
                    raise _too_much(path, how, limit)
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


def _piece(stream: IO[bytes], path: str, how: str) -> bytes:
    try:
        return stream.read(_COPY_BYTES)
    except (EOFError, OSError, lzma.LZMAError, zlib.error, zipfile.BadZipFile) as error:
        raise InputError(path, f"expected {how} data to its end, found damage: {error}") from None


def _too_much(path: str, how: str, limit: int) -> InputError:
    return InputError(
        path,
        f"expected {how} data of at most {limit:,} bytes when unpacked, found more",
        hint=f"if that is no trick, raise the limit: --max-unpacked {2 * limit >> 20} (MiB)",
    )
