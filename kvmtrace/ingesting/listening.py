"""What may be told of a recording while it is read, so that somebody can look on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from kvmtrace.exits.builder import ExitBuilder, Exits
    from kvmtrace.recording import EventBlock, Recording


class Listener(Protocol):
    """Is told of one recording after the other, by the thread that pairs exits: what takes long here holds up that."""

    def begin(self, recording: Recording, builder: ExitBuilder | None) -> None:
        """Take note of a recording; `builder` is None where its exits are not paired."""

    def block(self, block: EventBlock) -> None:
        """Take note of events, and of what the recorder says it lost."""

    def exits(self, exits: Exits) -> None:
        """Take note of exits, whose codes are those of the builder."""

    def reached(self, ts_ns: int) -> None:
        """Take note that all up to this time was told: later calls are about later events, but for late ones."""

    def end(self) -> None:
        """Take note that the recording is read."""
