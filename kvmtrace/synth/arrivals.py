"""When things happen: at fixed intervals, at random (Poisson), or in bursts."""

from __future__ import annotations

from decimal import Decimal, localcontext
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from kvmtrace.synth.draws import Draws
    from kvmtrace.synth.model import Arrivals

S_PS = 10**12
_CELL_BITS = 10
_CELLS = 1 << _CELL_BITS
_ONE = 1 << 20
"""A mean gap, in the unit of the table of gaps."""
_CHUNK = 1 << 12


class ArrivalTimes:
    """The times of one arrival process, in picoseconds, in order, from `start_ps` on."""

    def __init__(self, arrivals: Arrivals, draws: Draws, start_ps: int = 0) -> None:
        self._arrivals = arrivals
        self._draws = draws
        self._last_ps = start_ps  # of a process that remembers nothing
        if arrivals.process == "periodic":  # streams of one rate do not tick together
            self._last_ps += (int(draws.below(1, 1 << 30)[0]) * arrivals.period_ps >> 30) - arrivals.period_ps
        self._ahead = np.empty(0, np.int64)
        self._of_bursts = np.empty(0, np.int64)  # members that may lie behind those of bursts to come

    def until(self, end_ps: int) -> NDArray[np.int64]:
        """Return the times before `end_ps` that were not returned yet."""
        parts = [self._ahead]
        while self._last_ps < end_ps:
            parts.append(self._more())
        times = np.concatenate(parts)
        behind = int(np.searchsorted(times, end_ps))
        self._ahead = times[behind:]
        return times[:behind]

    def __iter__(self) -> Iterator[int]:
        """Yield one time after the other, without end."""
        while True:
            times, self._ahead = (self._ahead, self._ahead[:0]) if len(self._ahead) else (self._more(), self._ahead)
            yield from times.tolist()

    def _more(self) -> NDArray[np.int64]:
        arrivals = self._arrivals
        if arrivals.process == "periodic":
            gaps = np.full(_CHUNK, arrivals.period_ps, np.int64)
        else:
            gaps = exponential(self._draws, _CHUNK, arrivals.period_ps * arrivals.burst)
        times = self._last_ps + np.cumsum(gaps)
        self._last_ps = int(times[-1])
        if arrivals.burst == 1:
            return times
        members = (times[:, None] + np.arange(arrivals.burst, dtype=np.int64) * arrivals.gap_ps).reshape(-1)
        inside = np.sort(np.concatenate((self._of_bursts, members)))
        behind = int(np.searchsorted(inside, self._last_ps))
        self._of_bursts = inside[behind:]
        return inside[:behind]


def exponential(draws: Draws, n: int, mean_ps: int) -> NDArray[np.int64]:
    """Return n gaps in picoseconds that are distributed exponentially."""
    table = _gaps()
    gaps = np.zeros(n, np.int64)
    open_ = np.arange(n)
    while len(open_):
        raw = draws.halves(len(open_))
        cell = raw >> (32 - _CELL_BITS)
        within = raw & ((1 << (32 - _CELL_BITS)) - 1)
        last = cell == _CELLS - 1
        step = table[cell] + ((table[cell + 1] - table[cell]) * within >> (32 - _CELL_BITS))
        # Beyond the last cell the rest of a gap is distributed as a whole gap is.
        gaps[open_] += np.where(last, table[-2], step)
        open_ = open_[last]
    # In two steps, for the product of both would not fit.
    return (gaps >> 20) * mean_ps + ((gaps & (_ONE - 1)) * (mean_ps >> 10) >> 10)


@cache
def _gaps() -> NDArray[np.int64]:
    """Return the gap below which i of `_CELLS` lie, in 1 / `_ONE` of the mean; the last one is of no use."""
    with localcontext() as context:
        context.prec = 30  # its logarithm is rounded correctly, and so the same everywhere
        shares = [1 - Decimal(i) / _CELLS for i in range(_CELLS)]
        gaps = [int((-share.ln() * _ONE).to_integral_value()) for share in shares]
    return np.array([*gaps, gaps[-1]], np.int64)
