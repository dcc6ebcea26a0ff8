"""What is to happen, in order of time; at one time what was noted first comes first."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kvmtrace.synth.draws import Draws
    from kvmtrace.synth.engines.scheduler.fair import Vcpu

_PART_BITS = 20
_CHUNK = 4096


class Agenda:
    """Steps of guests, and other things to do; times in nanoseconds."""

    def __init__(self) -> None:
        self.now_ns = 0
        self._sequence = 0
        self._entries: list[tuple[int, int, int, Vcpu | None, Callable[[int], None] | None]] = []

    def step(self, at_ns: int, vcpu: Vcpu) -> None:
        """Note when a guest does its next step; nothing comes of it once the vCPU's token is another."""
        self._sequence += 1
        heappush(self._entries, (at_ns, self._sequence, vcpu.token, vcpu, None))

    def call(self, at_ns: int, action: Callable[[int], None]) -> None:
        """Note what to call, with the time."""
        self._sequence += 1
        heappush(self._entries, (at_ns, self._sequence, 0, None, action))

    def run(self, until_ns: int, does: Callable[[Vcpu, int], None]) -> None:
        """Do everything up to a time; `does` is called for steps of guests."""
        entries = self._entries
        while entries and entries[0][0] <= until_ns:
            now_ns, _, token, vcpu, action = heappop(entries)
            self.now_ns = now_ns
            if vcpu is None:
                if action is not None:
                    action(now_ns)
            elif vcpu.token == token:
                does(vcpu, now_ns)
        self.now_ns = until_ns


class Spread:
    """Times around a mean: uniform from half of it to one and a half (assumed)."""

    def __init__(self, draws: Draws) -> None:
        self._parts = _parts(draws)

    def around(self, mean_ns: int) -> int:
        """Return the next time."""
        return next(self._parts) * mean_ns >> _PART_BITS

    def below(self, limit: int) -> int:
        """Return a number from 0 to limit - 1, each as likely."""
        return (next(self._parts) - (1 << _PART_BITS - 1)) * limit >> _PART_BITS


def _parts(draws: Draws) -> Iterator[int]:
    half = 1 << _PART_BITS - 1
    while True:
        for part in draws.below(_CHUNK, 1 << _PART_BITS).tolist():
            yield half + part
