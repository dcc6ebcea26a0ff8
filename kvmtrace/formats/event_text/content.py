"""The bytes of a text: those of its source, or what became of them by mending."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvmtrace.formats.source import Source

    Read = Callable[[memoryview], int]
    """Fills a buffer with what comes next, and returns how many bytes that is."""


class TextContent:
    """A text of `size` bytes."""

    def __init__(self, source: Source, mended: bytes | None = None) -> None:
        """Take a text as it was mended; None: the source has it as it is."""
        self.source = source
        self._mended = mended
        self.size = source.size if mended is None else len(mended)

    def whole(self) -> bytes:
        """Return all of it."""
        return self.source.read_at(0, self.source.size) if self._mended is None else self._mended

    def look(self, start: int = 0, end: int | None = None) -> Read:
        """Return what reads from one place to another as often as one likes."""
        at, stop = start, self.size if end is None else end

        def read(buffer: memoryview) -> int:
            nonlocal at
            buffer = buffer[: max(stop - at, 0)]
            if self._mended is None:
                got = self.source.look_into(at, buffer)
            else:
                piece = self._mended[at : at + len(buffer)]
                got = len(piece)
                buffer[:got] = piece
            at += got
            return got

        return read

    def read(self, start: int, end: int) -> Read:
        """Return what reads from one place to another once, as the recording: the source's digest has it too."""
        if self._mended is not None:
            return self.look(start, end)
        source = self.source
        source.skip_to(start)
        return lambda buffer: source.read_into(buffer[: max(end - source.position, 0)])
