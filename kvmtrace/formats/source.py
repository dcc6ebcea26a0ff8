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
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

import blake3
import zstandard

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

    def __init__(self, name: str, file: IO[bytes]) -> None:
        self.name = name
        self._file = file
        self.size = os.fstat(file.fileno()).st_size
        self.position = 0
        self._digest = blake3.blake3()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def read_at(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`: fewer at the end of the content."""
        length = min(length, self.size - offset)
        return os.pread(self._file.fileno(), length, offset) if length > 0 else b""

    def head(self) -> bytes:
        """Return the first 64 KiB."""
        return self.read_at(0, _HEAD_BYTES)

    def read_into(self, buffer: memoryview) -> int:
        """Fill `buffer` from the current position and return how many bytes there were."""
        wanted = min(len(buffer), self.size - self.position)
        filled = 0
        while filled < wanted:
            got = os.preadv(self._file.fileno(), [buffer[filled:wanted]], self.position + filled)
            if got == 0:  # the file became shorter
                break
            filled += got
        self._digest.update(buffer[:filled])
        self.position += filled
        return filled

    def skip_to(self, offset: int) -> None:
        """Go forward to `offset`, or to the end of the content."""
        buffer = memoryview(bytearray(_COPY_BYTES))
        while self.position < min(offset, self.size):
            if not self.read_into(buffer[: offset - self.position]):
                break

    def digest(self) -> str:
        """Go to the end of the content and return the digest of all of it."""
        self.skip_to(self.size)
        return "blake3:" + self._digest.hexdigest()


def open_source(path: str) -> Source:
    """Open a file, or standard input for "-". InputError: it cannot be read, or is no file."""
    if path == STANDARD_INPUT:
        return Source(STANDARD_INPUT, _spooled(sys.stdin.buffer, STANDARD_INPUT))
    try:
        if Path(path).is_dir():
            raise InputError(
                path, "expected a recording, found a folder", hint="give the file; in perf's own folders it is …/data"
            )
        file = Path(path).open("rb")  # noqa: SIM115 - the Source closes it
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            with file:
                return Source(Path(path).name, _spooled(file, path))
    except OSError as error:
        raise InputError(path, f"cannot be opened: {error.strerror}") from None
    source = Source(Path(path).name, file)
    packing = next((name for magic, name in _COMPRESSED.items() if source.head().startswith(magic)), None)
    if packing is None:
        return source
    with file:
        return Source(Path(path).name, _unpacked(file, packing, path))


def _spooled(stream: IO[bytes], path: str) -> IO[bytes]:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the Source closes it
    while piece := stream.read(_COPY_BYTES):
        file.write(piece)
    file.flush()
    head = os.pread(file.fileno(), 8, 0)
    packing = next((name for magic, name in _COMPRESSED.items() if head.startswith(magic)), None)
    if packing is None:
        return file
    file.seek(0)
    with file:
        return _unpacked(file, packing, path)


def _unpacked(packed: IO[bytes], packing: str, path: str) -> IO[bytes]:
    openers = {
        "gzip": lambda: gzip.GzipFile(fileobj=packed),
        "xz": lambda: lzma.LZMAFile(packed),
        "zstd": lambda: zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True),
    }
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the Source closes it
    try:
        with openers[packing]() as stream:
            while piece := stream.read(_COPY_BYTES):
                file.write(piece)
    except (EOFError, OSError, lzma.LZMAError, zstandard.ZstdError) as error:
        raise InputError(path, f"expected {packing} data to its end, found damage: {error}") from None
    file.flush()
    return file
