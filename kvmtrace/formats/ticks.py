"""Ticks of a clock → ns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_HZ = 10_000_000_000
"""Rate of a clock that is believed: with it a product of ticks within a second and ns fits 64 bits."""

_NS = 1_000_000_000


def ticks_to_ns(ticks: NDArray[np.uint64], hz: int, latest_ns: int) -> NDArray[np.uint64]:
    """Return ticks * 10⁹ / hz, cut to whole ns; what is later than `latest_ns` becomes the largest number."""
    whole, rest = np.divmod(ticks, np.uint64(hz))
    ns = whole * np.uint64(_NS) + rest * np.uint64(_NS) // np.uint64(hz)
    return np.where(whole > np.uint64(latest_ns // _NS), np.uint64((1 << 64) - 1), ns)
