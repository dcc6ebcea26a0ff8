"""One time for each CPU of a text, as many as there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kvmtrace.formats.event_text.words import Places

_MOST = 1 << 16
_ROOM = 16


def cpu_index(cpu: Places) -> Places:
    """Return numbers of CPUs as indexes: one that is not told is that of CPU 0, too large ones are one."""
    return np.clip(cpu, 0, _MOST - 1)


class PerCpu:
    """Times by CPU, `fill` where there is none yet."""

    def __init__(self, fill: int) -> None:
        self.fill = fill
        self._times = np.full(_ROOM, fill, np.int64)

    def up_to(self, cpu: int) -> NDArray[np.int64]:
        """Return the times of all CPUs up to one, to be changed in place."""
        if cpu >= len(self._times):
            more = np.full(2 * (cpu + 1) - len(self._times), self.fill, np.int64)
            self._times = np.concatenate([self._times, more])
        return self._times[: cpu + 1]

    def known(self) -> list[tuple[int, int]]:
        """Return the CPUs that have a time, and the times."""
        cpus = np.flatnonzero(self._times != self.fill)
        return list(zip(cpus.tolist(), self._times[cpus].tolist(), strict=True))
