"""A pipe that is read as it comes: what is looked at ahead is kept, what is read through is not.

A read waits until there is something, and then a moment for more: a block of a busy recording is a full one, and what
a quiet one has said is there at once.
"""

from __future__ import annotations

import fcntl
import os
import select
import time
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Self, TypeVar

from kvmtrace.errors import InputError
from kvmtrace.formats.source import ReadOptions, Source
from kvmtrace.formats.unpacking import Allowance

if TYPE_CHECKING:
    from types import TracebackType

UNKNOWN_SIZE = 1 << 62
"""Size of an input whose end has not come: more than any input has."""
_GATHER_S = 0.2
"""How long a read that has something waits for more."""
_PIECE_BYTES = 1 << 16
_PIPE_BYTES = 1 << 20  # what anyone may ask for (/proc/sys/fs/pipe-max-size): the writer waits less often


Found = TypeVar("Found")


class Stop:
    """Lets another thread, or a signal's handler, end the reading of a pipe: what was read until then is all of it."""

    def __init__(self) -> None:
        self._awake, self._wake = os.pipe()
        self.asked = False

    def ask(self) -> None:
        """End the reading; it may be asked for more than once."""
        self.asked = True
        os.write(self._wake, b"\0")

    def fileno(self) -> int:
        """Return a file that can be read once the end was asked for."""
        return self._awake

    def close(self) -> None:
        """Let go of the files."""
        os.close(self._awake)
        os.close(self._wake)


class PipeBytes:
    """The bytes of a pipe, or of anything that can be read only once."""

    def __init__(self, stream: IO[bytes], path: str, stop: Stop | None = None, *, closes: bool = True) -> None:
        """Read a stream of which nothing is buffered; `closes`: and close it with this."""
        self.stream = stream
        self._path = path
        self._stop = stop
        self._closes = closes
        self._taken_over = False
        self._fd = stream.fileno()
        self._kept = bytearray()  # what was looked at and not read through
        self._passed = 0  # bytes before it
        self._ended = False
        self.was_cut = False  # the end was asked for: more might have come
        self._waiting = select.poll()
        self._waiting.register(self._fd, select.POLLIN)
        if stop is not None:
            self._waiting.register(stop, select.POLLIN)
        widen(self._fd)

    @property
    def size(self) -> int:
        """Bytes of it, UNKNOWN_SIZE as long as its end has not come."""
        return self._passed + len(self._kept) if self._ended else UNKNOWN_SIZE

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._taken_over:
            self.close()

    def taken_over(self) -> Self:
        """Return this, which somebody else will close."""
        self._taken_over = True
        return self

    def close(self) -> None:
        """Let go of the stream; who writes to it is told by a broken pipe."""
        if self._closes:
            self.stream.close()

    def kept(self) -> bytes:
        """Return what was looked at and not read through."""
        return bytes(self._kept)

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes of what comes next: none at the end."""
        piece = bytearray(size)
        return bytes(piece[: self.read_into(memoryview(piece), whole=True)])

    def look_at(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`, which was not read through: fewer at the end."""
        start = offset - self._passed
        if start < 0:
            raise ValueError("bytes of a pipe that were read through")
        while len(self._kept) < start + length:
            piece = bytearray(_PIECE_BYTES)
            got = self._read(memoryview(piece), None)
            if not got:
                break
            self._kept += piece[:got]
        return bytes(self._kept[start : start + length])

    def read_into(self, buffer: memoryview, *, whole: bool) -> int:
        """Fill `buffer` with what comes next, and return how many bytes: 0 at the end.

        `whole`: as many as it has room for, unless the end comes; else what there is, and what comes soon.
        """
        filled = min(len(self._kept), len(buffer))
        if filled:
            buffer[:filled] = self._kept[:filled]
            del self._kept[:filled]
            self._passed += filled
        until = None if whole or not filled else time.monotonic() + _GATHER_S
        while filled < len(buffer):
            got = self._read(buffer[filled:], until)
            if not got:
                break
            if until is None and not whole:
                until = time.monotonic() + _GATHER_S
            filled += got
            self._passed += got
        return filled

    def _read(self, buffer: memoryview, until: float | None) -> int:
        """Read once; 0 at the end, and where nothing came until then (None: wait)."""
        if self._ended:
            return 0
        timeout = None if until is None else max(0.0, until - time.monotonic()) * 1e3
        ready = dict(self._waiting.poll(timeout))
        if self._stop is not None and self._stop.fileno() in ready:
            self._ended = self.was_cut = True
            return 0
        if not ready:
            return 0
        try:
            got = os.readv(self._fd, [buffer])
        except OSError as error:
            raise InputError(self._path, f"cannot be read: {error.strerror}", where=self._passed) from None
        self._ended = got == 0
        return got


class PipeSource(Source):
    """What comes out of a pipe, gone through once from start to end; only what was not gone through can be looked at.

    `size` is UNKNOWN_SIZE until the end has come.
    """

    def __init__(self, path: str, coming: PipeBytes, options: ReadOptions) -> None:
        super().__init__(path, coming.stream, options, piece=(0, UNKNOWN_SIZE), allowance=Allowance(0, None))
        self._coming = coming

    def close(self) -> None:
        """Let go of the pipe."""
        if self._digesting is not None:
            self._digesting.shutdown()
        self._coming.close()

    def read_at(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`, which was not gone through: fewer at the end of the pipe."""
        return self._seen(self._coming.look_at(offset, length))

    def head(self) -> bytes:
        """Return what was looked at so far: who looks at a pipe's head does not wait."""
        return self._coming.kept()

    def is_longer(self, size: int) -> bool:
        """Tell whether more bytes than that come; so many are waited for, and kept."""
        return len(self.read_at(0, size + 1)) > size

    def look_into(self, offset: int, buffer: memoryview) -> int:
        """Fill `buffer` from `offset`, which was not gone through, and return how many bytes there were."""
        piece = self.read_at(offset, len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def read_into(self, buffer: memoryview) -> int:
        """Fill `buffer` with what comes next, and return how many bytes: fewer at the end."""
        return self._take(buffer, whole=True)

    def read_some(self, buffer: memoryview) -> int:
        """Fill `buffer` with what there is, or comes soon, and return how many bytes: 0 at the end."""
        return self._take(buffer, whole=False)

    def _take(self, buffer: memoryview, *, whole: bool) -> int:
        filled = self._seen(self._coming.read_into(buffer, whole=whole))
        self._feed_digest(buffer[:filled])
        self.position += filled
        return filled

    def _seen(self, found: Found) -> Found:
        self.size, self.was_cut = self._coming.size, self._coming.was_cut
        return found


def widen(fd: int) -> None:
    """Ask for a large pipe; a file or a socket is none, and a limit of the system is no trouble."""
    with suppress(OSError):
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
