"""Random integers that are the same on every machine, for a seed and the name of what they are drawn for.

Only the raw output of numpy's Philox generator is used: numpy promises that it stays as it is, and does not promise
that of its distributions (NEP 19). What is made of it here is integer arithmetic.
"""

from __future__ import annotations

from hashlib import sha256
from math import fsum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_WORD_BITS = 64
_HALF_BITS = 32


class Draws:
    """A stream of random integers; streams of other names are independent of it, whatever is drawn from each."""

    def __init__(self, seed: int, *names: str | int) -> None:
        self._named = (seed, names)
        text = "\0".join(map(str, (seed, *names)))
        self._generator = np.random.Philox(key=int.from_bytes(sha256(text.encode()).digest()[:16], "little"))

    def own(self, *names: str | int) -> Draws:
        """Return the stream of a part of what this one is for."""
        seed, named = self._named
        return Draws(seed, *named, *names)

    def raw(self, n: int) -> NDArray[np.uint64]:
        """Return n integers below 2^64."""
        return self._generator.random_raw(n)

    def halves(self, n: int) -> NDArray[np.int64]:
        """Return n integers below 2^32."""
        return (self.raw(n) >> np.uint64(_HALF_BITS)).astype(np.int64)

    def below(self, n: int, limit: int) -> NDArray[np.int64]:
        """Return n integers below `limit`, which is at most 2^31."""
        return self.halves(n) * limit >> _HALF_BITS

    def happens(self, n: int, chance: float) -> NDArray[np.bool]:
        """Return n times whether something of that chance (0 to 1) happened."""
        return self.halves(n) < int(chance * (1 << _HALF_BITS))

    def chosen(self, n: int, weights: Sequence[float]) -> NDArray[np.intp]:
        """Return n indexes of `weights` (not negative, not all 0), each as often as its weight says."""
        total = fsum(weights)
        limits, reached = [], 0.0
        for weight in weights:
            reached += weight
            limits.append(round(reached / total * (1 << _HALF_BITS)))
        return np.searchsorted(np.array(limits[:-1], np.int64), self.halves(n), side="right")
