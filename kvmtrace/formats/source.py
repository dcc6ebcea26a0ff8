"""The bytes of an input: a regular file or a piece of one, read as it was when it was opened.

Standard input and compressed files are first copied to an unnamed temporary file, so that every format can look
where it must; the digest is that of the content, so a recording is the same run compressed or not.
"""

from __future__ import annotations

import io
import os
import stat
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self, cast

import blake3

from kvmtrace.errors import InputError, UsageError
from kvmtrace.formats.ticks import MAX_HZ
from kvmtrace.formats.unpacking import Allowance, Readable, copied, packing, unpacked

if TYPE_CHECKING:
    from types import TracebackType

STANDARD_INPUT = "-"
_COPY_BYTES = 1 << 20
_HEAD_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How inputs are read."""

    jobs: int = 1  # with several the digest is worked out beside the caller's thread
    clock_hz: int | None = None  # ticks in a second of a clock that counts ticks; None: the recording must tell
    max_unpacked_bytes: int | None = None  # of all that is packed in one input; None: by its size

    def __post_init__(self) -> None:
        """Check what no clock has. UsageError: a rate beyond belief."""
        if self.clock_hz is not None and not 0 < self.clock_hz <= MAX_HZ:
            raise UsageError(f"expected a clock of 1 to {MAX_HZ:,} ticks in a second, found {self.clock_hz:,}")


class Source:
    """An input's bytes, with a digest of all of them.

    `read_into` goes through the content once, from start to end, and feeds the digest; `read_at` looks anywhere.
    """

    def __init__(
        self,
        path: str,
        file: IO[bytes],
        options: ReadOptions = ReadOptions(),
        *,
        piece: tuple[int, int] | None = None,
        allowance: Allowance | None = None,
    ) -> None:
        """Take over an open file, or a piece of it: its first byte and its bytes.

        `allowance`: that of the input which it is unpacked from or a piece of; None: it is an input.
        """
        self.path = path
        self.name = Path(path).name
        self.options = options
        self._file = file
        self._start, self.size = piece or (0, os.fstat(file.fileno()).st_size)
        self.allowance = allowance or Allowance(self.size, options.max_unpacked_bytes)
        self.position = 0
        self.was_cut = False  # reading was ended on request, and more might have come
        self._gone_through = 0  # bytes beside those before the position
        self._digested_bytes = 0  # from the start
        self._digest = blake3.blake3()
        self._digesting = ThreadPoolExecutor(1, thread_name_prefix="kvmtrace-digest") if options.jobs > 1 else None
        self._digested: Future[object] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        if self._digesting is not None:
            self._digesting.shutdown()
        self._file.close()

    @property
    def clock_hz(self) -> int | None:
        """Ticks in a second, as the user says."""
        return self.options.clock_hz

    def piece(self, name: str, offset: int, length: int) -> Source:
        """Return a piece of this source as a source of its own, which stays readable when this one is closed."""
        again, place = os.fdopen(os.dup(self._file.fileno()), "rb"), (self._start + offset, length)
        piece = Source(f"{self.path}:{name}", again, self.options, piece=place, allowance=self.allowance)
        piece.name = f"{self.name}:{name}"
        return piece

    @property
    def jobs(self) -> int:
        """1: read and store in turn; 2: side by side."""
        return self.options.jobs

    @property
    def progress(self) -> int:
        """How many bytes of the content are gone through, in whatever order."""
        return min(self.position + self._gone_through, self.size)

    def go_through(self, size: int) -> None:
        """Take note of so many more bytes that a reader is done with, where it does not read them with `read_into`."""
        self._gone_through += size

    def stream(self) -> IO[bytes]:
        """Return the content as a file of its own position; the digest takes no notice."""
        return cast("IO[bytes]", io.BufferedReader(_Stream(self), _COPY_BYTES))

    def read_at(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`: fewer at the end of the content."""
        length = min(length, self.size - offset)
        return os.pread(self._file.fileno(), length, self._start + offset) if length > 0 else b""

    def look_into(self, offset: int, buffer: memoryview) -> int:
        """Fill `buffer` from `offset` and return how many bytes there were; the digest takes no notice."""
        filled = 0
        wanted = max(0, min(len(buffer), self.size - offset))
        while filled < wanted:
            try:
                got = os.preadv(self._file.fileno(), [buffer[filled:wanted]], self._start + offset + filled)
            except OSError as error:
                raise InputError(self.path, f"cannot be read: {error.strerror}", where=offset + filled) from None
            if got == 0:  # the file became shorter
                break
            filled += got
        return filled

    def head(self) -> bytes:
        """Return the first 64 KiB."""
        return self.read_at(0, _HEAD_BYTES)

    def is_longer(self, size: int) -> bool:
        """Tell whether there are more bytes than that."""
        return self.size > size

    def read_into(self, buffer: memoryview) -> int:
        """Fill `buffer` from the current position and return how many bytes there were.

        The bytes must stay as they are until the next call.
        """
        filled = self.look_into(self.position, buffer)
        self._feed_digest(buffer[:filled])
        self.position += filled
        return filled

    def read_some(self, buffer: memoryview) -> int:
        """Do as `read_into`, but of what is still coming return what there is, and what comes soon: 0 at its end."""
        return self.read_into(buffer)

    def _feed_digest(self, piece: memoryview) -> None:
        """Take what stands at the current position into the digest, but for what is in it already."""
        piece = piece[max(self._digested_bytes - self.position, 0) :]
        self._settle_digest()
        self._digested_bytes += len(piece)
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
        """Return the digest of all of the content; what reads on reads on where it was."""
        position = self.position
        self.position = self._digested_bytes
        self.skip_to(self.size)
        self._settle_digest()
        self.position = position
        return "blake3:" + self._digest.hexdigest()


class _Stream(io.RawIOBase):
    """The bytes of a source as a file."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._source.size}[whence]
        if start + offset < 0:
            raise ValueError("a place before the beginning")
        self._position = start + offset
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        piece = self._source.read_at(self._position, len(buffer))
        buffer[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)


def open_source(path: str, options: ReadOptions = ReadOptions()) -> Source:
    """Open a file, or standard input for "-". InputError: it cannot be read, or is no file."""
    if path == STANDARD_INPUT:
        return source_of_stream(path, sys.stdin.buffer, options)
    file = _opened(path)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        with file as stream:
            return source_of_stream(path, stream, options)
    return content(Source(path, file, options))


def source_of_stream(path: str, stream: Readable, options: ReadOptions) -> Source:
    """Copy what can be read only once, and open the copy. InputError: it cannot be read, or there is no room."""
    return content(Source(path, copied(stream, path), options))


def content(source: Source) -> Source:
    """Return the content of a compressed source, which is closed; another one as it is. InputError: damaged."""
    how = packing(source.head())
    if how is None:
        return source
    with source:
        file = unpacked(source.stream(), source.path, how, source.allowance)
    unpacked_source = Source(source.path, file, source.options, allowance=source.allowance)
    unpacked_source.name = source.name
    return unpacked_source


def _opened(path: str) -> IO[bytes]:
    try:
        if Path(path).is_dir():
            raise InputError(path, "expected a recording, found a folder", hint="give the file in it that you mean")
        return Path(path).open("rb")
    except OSError as error:
        raise InputError(path, f"cannot be opened: {error.strerror}") from None
