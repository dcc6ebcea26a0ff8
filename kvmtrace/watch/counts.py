"""Exits or events, counted by keys: columns, one row for each combination of keys that came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kvmtrace.exits.buckets import grouped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Counts:
    """n rows; the keys are columns of numbers from 0, times are ns and 0 where nothing was timed."""

    keys: tuple[NDArray[np.int64], ...]
    n: NDArray[np.int64]
    total_ns: NDArray[np.int64]
    least_ns: NDArray[np.int64]
    most_ns: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.n)

    @classmethod
    def none(cls, keys: int) -> Counts:
        """Return no rows, of so many keys."""
        empty = np.zeros(0, np.int64)
        return cls((empty,) * keys, empty, empty, empty, empty)

    @classmethod
    def of(cls, keys: Sequence[NDArray[np.integer[Any]]], time_ns: NDArray[np.int64]) -> Counts:
        """Count things, one a row, that took so long."""
        columns = tuple(key.astype(np.int64) for key in keys)
        return cls(columns, np.ones(len(time_ns), np.int64), time_ns, time_ns, time_ns).by(range(len(columns)))

    @classmethod
    def together(cls, parts: Sequence[Counts]) -> Counts:
        """Return the rows of several behind each other."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            tuple(np.concatenate(columns) for columns in zip(*(part.keys for part in parts), strict=True)),
            np.concatenate([part.n for part in parts]),
            np.concatenate([part.total_ns for part in parts]),
            np.concatenate([part.least_ns for part in parts]),
            np.concatenate([part.most_ns for part in parts]),
        )

    def where(self, chosen: NDArray[Any] | slice) -> Counts:
        """Return some of the rows."""
        return Counts(
            tuple(key[chosen] for key in self.keys),
            self.n[chosen],
            self.total_ns[chosen],
            self.least_ns[chosen],
            self.most_ns[chosen],
        )

    def by(self, columns: Sequence[int]) -> Counts:
        """Return one row for each combination of these keys, in their order, and no other key."""
        keys = tuple(self.keys[column] for column in columns)
        if not len(self):
            return Counts(keys, self.n, self.total_ns, self.least_ns, self.most_ns)
        order, starts = grouped(keys)
        return Counts(
            tuple(key[order[starts]] for key in keys),
            np.add.reduceat(self.n[order], starts),
            np.add.reduceat(self.total_ns[order], starts),
            np.minimum.reduceat(self.least_ns[order], starts),
            np.maximum.reduceat(self.most_ns[order], starts),
        )
