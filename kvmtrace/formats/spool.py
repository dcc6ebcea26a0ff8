"""What stands between a recorder of our own and its reader: a pipe that is never full.

A perf that waits for its reader loses events. So a thread empties its pipe, whatever the reader does, and hands on at
once what the reader takes; the rest waits in an unnamed temporary file, which is given back to the disk as it is read.
Where the disk is full the recorder must wait after all: it loses events then, and says how many. Pipes of others
need none of this: who they wait for is theirs to choose.
"""

from __future__ import annotations

import ctypes
import os
import select
import tempfile
import threading
from typing import IO, TYPE_CHECKING, Self

from kvmtrace.formats.pipes import widen

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

_PIECE_BYTES = 1 << 20
_GIVEN_BACK_BYTES = 1 << 24
_PUNCH_HOLE = 3  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, linux/falloc.h


class Spool:
    """Hands on what comes out of a stream by `output`, in a thread. Use it as a context manager.

    The stream must have ended, or be about to, when that is left; what nobody has read is dropped then.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        """Read `stream`, of which nothing is buffered, from now on."""
        self.was_full = False  # the disk was, and the recorder had to wait
        self._from = stream.fileno()
        given, self._to = os.pipe()
        self.output = os.fdopen(given, "rb", buffering=0)
        os.set_blocking(self._to, False)
        widen(self._from)
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with this
        self._written = 0  # bytes of the file
        self._taken = 0  # of these, by the reader
        self._given_back = 0
        self._rest = b""  # what the file had no room for
        self._ended = False
        self._reader_is_gone = False
        self._thread = threading.Thread(target=self._run, name="kvmtrace-spool", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.output.close()
        self._thread.join()
        self._file.close()

    @property
    def _waits(self) -> bool:
        """Whether something waits for the reader."""
        return self._written > self._taken or bool(self._rest)

    def _run(self) -> None:
        while not self._ended or self._waits:
            waiting = select.poll()
            if not self._ended and not self._rest:
                waiting.register(self._from, select.POLLIN)
            if self._waits:
                waiting.register(self._to, select.POLLOUT)
            ready = dict(waiting.poll())
            if self._to in ready:
                self._hand_on()
            if self._from in ready:
                self._take()
        os.close(self._to)

    def _take(self) -> None:
        piece = os.read(self._from, _PIECE_BYTES)
        self._ended = not piece
        if self._reader_is_gone:
            return
        self._keep(piece if self._waits else piece[self._sent(piece) :])

    def _keep(self, piece: bytes) -> None:
        while piece:
            try:
                written = _written_at(self._file.fileno(), piece, self._written)
            except OSError:
                self.was_full = True
                self._rest = piece
                return
            self._written += written
            piece = piece[written:]

    def _hand_on(self) -> None:
        """Give the reader what waits, as much as it takes now: what is in the file came before the rest."""
        if self._written == self._taken:
            self._rest = self._rest[self._sent(self._rest) :]
        else:
            piece = os.pread(self._file.fileno(), min(_PIECE_BYTES, self._written - self._taken), self._taken)
            self._taken += self._sent(piece)
        if self._reader_is_gone:
            self._taken, self._rest = self._written, b""
        if self._written == self._taken:
            os.ftruncate(self._file.fileno(), 0)
            self._written = self._taken = self._given_back = 0
        elif self._taken - self._given_back >= _GIVEN_BACK_BYTES:
            _punch_hole(self._file.fileno(), self._given_back, self._taken - self._given_back)
            self._given_back = self._taken

    def _sent(self, piece: bytes) -> int:
        """Write to the reader and return how much it took; all of it where it is gone."""
        try:
            return os.write(self._to, piece) if piece else 0
        except BlockingIOError:
            return 0
        except BrokenPipeError:
            self._reader_is_gone = True
            return len(piece)


_written_at = os.pwrite


def _punch_hole(descriptor: int, offset: int, length: int) -> None:
    """Give bytes of a file back to the disk, parts of pages aside; a file system that cannot do it keeps them."""
    if (fallocate := _fallocate()) is not None:
        fallocate(descriptor, _PUNCH_HOLE, offset, length)


def _fallocate() -> Callable[[int, int, int, int], int] | None:
    """Return fallocate(2), which Python does not offer with its modes."""
    found = getattr(ctypes.CDLL(None), "fallocate64", None)
    if found is not None:
        found.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return found
