"""The bytes of an input: a regular file, read as it was when it was opened.

Standard input and compressed files are first copied to an unnamed temporary file, so that every format can look
where it must; the digest is that of the content, so a recording is the same run compressed or not.
"""

from __future__ import annotations

import gzip
import lzma
import os
import stat
import sys
import tempfile
import zlib
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self, cast

import blake3

from kvmtrace.errors import InputError

if TYPE_CHECKING:
    from types import TracebackType

STANDARD_INPUT = "-"
_COPY_BYTES = 1 << 20
_HEAD_BYTES = 1 << 16
_COMPRESSED = {b"\x1f\x8b": "gzip", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


class Source:
    """An input's bytes, with a digest of all of them.

    `read_into` goes through the content once, from start to end, and feeds the digest; `read_at` looks anywhere.
    """

    def __init__(self, path: str, file: IO[bytes], *, jobs: int = 1) -> None:
        """Take over an open file; with several `jobs` the digest is worked out beside the caller's thread."""
        self.path = path
        self.name = Path(path).name
        self._file = file
        self.size = os.fstat(file.fileno()).st_size
        self.position = 0
        self._digest = blake3.blake3()
        self._digesting = ThreadPoolExecutor(1, thread_name_prefix="kvmtrace-digest") if jobs > 1 else None
        self._digested: Future[object] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._digesting is not None:
            self._digesting.shutdown()
        self._file.close()

    def read_at(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`: fewer at the end of the content."""
        length = min(length, self.size - offset)
        return os.pread(self._file.fileno(), length, offset) if length > 0 else b""

    def head(self) -> bytes:
        """Return the first 64 KiB."""
        return self.read_at(0, _HEAD_BYTES)

    def read_into(self, buffer: memoryview) -> int:
        """Fill `buffer` from the current position and return how many bytes there were.

        The bytes must stay as they are until the next call.
        """
        wanted = min(len(buffer), self.size - self.position)
        filled = 0
        while filled < wanted:
            try:
                got = os.preadv(self._file.fileno(), [buffer[filled:wanted]], self.position + filled)
            except OSError as error:
                place = self.position + filled
                raise InputError(self.path, f"cannot be read: {error.strerror}", where=place) from None
            if got == 0:  # the file became shorter
                break
            filled += got
        self._feed_digest(buffer[:filled])
        self.position += filled
        return filled

    def _feed_digest(self, piece: memoryview) -> None:
        self._settle_digest()
        if self._digesting is None:
            self._digest.update(piece)
        else:
            self._digested = self._digesting.submit(self._digest.update, piece)

    def _settle_digest(self) -> None:
        """Wait until the bytes read last are in the digest."""
        if self._digested is not None:
            self._digested.result()
            self._digested = None

    def skip_to(self, offset: int) -> None:
        """Go forward to `offset`, or to the end of the content."""
        left = min(offset, self.size) - self.position
        buffer = memoryview(bytearray(max(0, min(left, _COPY_BYTES))))
        while self.position < min(offset, self.size):
            self._settle_digest()  # of what the buffer holds
            if not self.read_into(buffer[: offset - self.position]):
                break

    def digest(self) -> str:
        """Go to the end of the content and return the digest of all of it."""
        self.skip_to(self.size)
        self._settle_digest()
        return "blake3:" + self._digest.hexdigest()


def open_source(path: str, *, jobs: int = 1) -> Source:
    """Open a file, or standard input for "-". InputError: it cannot be read, or is no file."""
    if path == STANDARD_INPUT:
        file = _copied(sys.stdin.buffer, path)
    else:
        file = _opened(path)
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            with file as stream:
                file = _copied(stream, path)
    head = os.pread(file.fileno(), 8, 0)
    packing = next((name for magic, name in _COMPRESSED.items() if head.startswith(magic)), None)
    if packing is not None:
        with file as packed:
            file = _copied(_unpacking(packed, packing), path, packing)
    return Source(path, file, jobs=jobs)


def _opened(path: str) -> IO[bytes]:
    try:
        if Path(path).is_dir():
            raise InputError(path, "expected a recording, found a folder", hint="give the file in it that you mean")
        return Path(path).open("rb")
    except OSError as error:
        raise InputError(path, f"cannot be opened: {error.strerror}") from None


def _unpacking(packed: IO[bytes], packing: str) -> IO[bytes]:
    packed.seek(0)
    if packing == "gzip":
        return cast("IO[bytes]", gzip.GzipFile(fileobj=packed))
    if packing == "xz":
        return cast("IO[bytes]", lzma.LZMAFile(packed))
    import pyarrow as pa  # noqa: PLC0415 - heavy, and only for this: zstandard does not tell where a frame is cut off

    return cast("IO[bytes]", pa.CompressedInputStream(packed, "zstd"))


def _copied(stream: IO[bytes], path: str, packing: str = "readable") -> IO[bytes]:
    """Copy a stream to an unnamed temporary file. InputError: it ends in damage, or there is no room for it."""
    with ExitStack() as on_error:
        try:
            file = on_error.enter_context(tempfile.TemporaryFile())
            while piece := _piece(stream, path, packing):
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


def _piece(stream: IO[bytes], path: str, packing: str) -> bytes:
    try:
        return stream.read(_COPY_BYTES)
    except (EOFError, OSError, lzma.LZMAError, zlib.error) as error:
        raise InputError(path, f"expected {packing} data to its end, found damage: {error}") from None
