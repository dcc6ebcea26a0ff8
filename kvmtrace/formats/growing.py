"""A recording that is still being written, as a source: what comes out of a pipe is read while more of it comes.

A thread copies the pipe to an unnamed temporary file, so that whoever records never waits for whoever reads; what is
read for good is given back to the disk. Only a format that goes through its input from start to end can read it.
"""

from __future__ import annotations

import ctypes
import os
import tempfile
import threading
from contextlib import suppress
from typing import IO, TYPE_CHECKING

from kvmtrace.errors import InputError
from kvmtrace.formats.source import ReadOptions, Source
from kvmtrace.formats.unpacking import Allowance

if TYPE_CHECKING:
    from collections.abc import Callable

_COPY_BYTES = 1 << 20
_UNKNOWN_SIZE = 1 << 62
_GIVEN_BACK_BYTES = 1 << 24
_PAGE_BYTES = 1 << 16
_PUNCH_HOLE = 3  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, linux/falloc.h


class GrowingSource(Source):
    """What a pipe gives. `size` is known once its end was read; reading waits for bytes that are to come."""

    def __init__(self, stream: IO[bytes], name: str, options: ReadOptions | None = None) -> None:
        """Read `stream` from now on, to its end; who closes it before ends this, too."""
        file = tempfile.TemporaryFile()  # noqa: SIM115 - the source closes it
        super().__init__(name, file, options or ReadOptions(), piece=(0, _UNKNOWN_SIZE), allowance=Allowance(0, None))
        self._written = 0
        self._ended = False
        self._trouble: OSError | None = None
        self._more = threading.Condition()
        self._given_back = 0
        self._copying = threading.Thread(target=self._copy, args=(stream,), name="kvmtrace-pipe", daemon=True)
        self._copying.start()

    def close(self) -> None:
        """Let go of the file, once the pipe has ended."""
        self._copying.join()
        super().close()

    def read_at(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`: fewer at the end of the pipe. InputError: there is no room for them."""
        self._wait_for(offset + length)
        return super().read_at(offset, length)

    def look_into(self, offset: int, buffer: memoryview) -> int:
        """Fill `buffer` from `offset` and return how many bytes there were: fewer at the end of the pipe."""
        self._wait_for(offset + len(buffer))
        return super().look_into(offset, buffer)

    def read_into(self, buffer: memoryview) -> int:
        """Fill `buffer` from the current position; what lies before it is not read again."""
        filled = super().read_into(buffer)
        if self.position - self._given_back >= _GIVEN_BACK_BYTES:
            self._settle_digest()
            done = self.position - self.position % _PAGE_BYTES  # a part of a page is not given back
            _punch_hole(self._file.fileno(), self._given_back, done - self._given_back)
            self._given_back = done
        return filled

    def _wait_for(self, end: int) -> None:
        with self._more:
            self._more.wait_for(lambda: self._ended or self._written >= end)
            if self._trouble is not None:
                raise InputError(
                    self.path,
                    f"cannot be kept in {tempfile.gettempdir()} until it is decoded: {self._trouble.strerror}",
                    hint="name a folder with more room in $TMPDIR",
                )

    def _copy(self, stream: IO[bytes]) -> None:
        try:
            with suppress(ValueError):  # it was closed
                while piece := os.read(stream.fileno(), _COPY_BYTES):
                    _write(self._file.fileno(), piece)
                    with self._more:
                        self._written += len(piece)
                        self._more.notify_all()
        except OSError as error:
            self._trouble = error
            _drain(stream)
        with self._more:
            self._ended = True
            self.size = self._written
            self._more.notify_all()


def _write(descriptor: int, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[os.write(descriptor, view) :]


def _drain(stream: IO[bytes]) -> None:
    """Read what nobody keeps: who writes it would wait for ever."""
    with suppress(OSError, ValueError):
        while os.read(stream.fileno(), _COPY_BYTES):
            pass


def _punch_hole(descriptor: int, offset: int, length: int) -> None:
    """Give bytes of a file back to the disk; a file system that cannot do it keeps them."""
    if (fallocate := _fallocate()) is not None:
        fallocate(descriptor, _PUNCH_HOLE, offset, length)


def _fallocate() -> Callable[[int, int, int, int], int] | None:
    """Return fallocate(2), which Python does not offer with its modes."""
    found = getattr(ctypes.CDLL(None), "fallocate64", None)
    if found is not None:
        found.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return found
