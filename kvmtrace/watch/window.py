"""The counts of the last seconds of a recording's own clock.

Time is cut into slots, counted from the first time that was told; a slot is forgotten as a whole. However long a
recording is, and however many keys come, the rows kept are limited: keys with few exits become one, "other".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kvmtrace.watch.counts import Counts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

KEYS_KEPT = 256
_MAX_ROWS = 1 << 17
_MAX_PARTS = 64
_SLOT = 0
_SHIFT = 1 << 20
"""Slots before the first time that was told: blocks are out of order by less. Keys are numbers from 0."""


class Window:
    """Counts by slot and keys. The last key is the bucket of latency; it is not what "other" stands for.

    The first of the keys says to which of two kinds a thing belongs (idle); "other" keeps these apart.
    """

    def __init__(self, last_ns: int, slot_ns: int, keys: int, *, keys_kept: int = KEYS_KEPT) -> None:
        """Keep `last_ns` of things with so many keys, in slots of `slot_ns`."""
        self.last_ns = last_ns
        self._slot_ns = slot_ns
        self._columns = keys + 2  # with the slot, and whether it is "other"
        self._keys_kept = keys_kept
        self._parts: list[Counts] = []
        self._origin_ns: int | None = None
        self._oldest = 0  # slot; of those before it something is forgotten

    def add(
        self, ts_ns: NDArray[np.int64], keys: Sequence[NDArray[np.integer[Any]]], time_ns: NDArray[np.int64]
    ) -> None:
        """Count things at times of the recording's clock."""
        if not len(ts_ns):
            return
        if self._origin_ns is None:
            self._origin_ns = int(ts_ns.min())
            self._oldest = -_SHIFT
        slot = (ts_ns - self._origin_ns) // self._slot_ns
        kept = slot >= self._oldest
        if not kept.all():
            slot, keys, time_ns = slot[kept], [key[kept] for key in keys], time_ns[kept]
        if len(slot):
            self._parts.append(Counts.of((slot + _SHIFT, np.zeros(len(slot), np.int64), *keys), time_ns))
            if len(self._parts) > _MAX_PARTS or sum(map(len, self._parts)) > _MAX_ROWS:
                self._merge()

    def forget(self, to_ns: int) -> None:
        """Forget what no window that ends at this time or later holds."""
        if self._origin_ns is None:
            return
        oldest = self._first_slot(to_ns)
        if oldest > self._oldest:
            self._oldest = oldest
            if len(self._parts) > 1:
                self._merge()
            else:
                self._drop()

    def within(self, end_ns: int) -> tuple[Counts, int]:
        """Return what the window that ends with this time holds, without slots, and where the window begins, ns."""
        if self._origin_ns is None:
            return Counts.none(self._columns - 1), end_ns
        self._merge()
        first = max(self._first_slot(end_ns), self._oldest)
        last = (end_ns - self._origin_ns) // self._slot_ns
        (rows,) = self._parts or [Counts.none(self._columns)]
        slot = rows.keys[_SLOT] - _SHIFT
        held = rows.where((slot >= first) & (slot <= last)).by(range(1, self._columns))
        return _with_others(held, 0, self._keys_kept), self._origin_ns + first * self._slot_ns

    def next_after(self, ts_ns: int) -> int | None:
        """Return a time before which nothing is told behind `ts_ns`; None: nothing is at all."""
        if self._origin_ns is None:
            return None
        self._merge()
        since = (ts_ns - self._origin_ns) // self._slot_ns + _SHIFT
        slots = [part.keys[_SLOT][part.keys[_SLOT] >= since] for part in self._parts]
        return next((self._origin_ns + (int(s.min()) - _SHIFT) * self._slot_ns for s in slots if len(s)), None)

    def _first_slot(self, end_ns: int) -> int:
        """Return the first slot that lies in the window as a whole."""
        assert self._origin_ns is not None  # noqa: S101 - the callers ask
        return -((self._origin_ns - (end_ns - self.last_ns)) // self._slot_ns)

    def _merge(self) -> None:
        if len(self._parts) > 1:
            self._parts = [Counts.together(self._parts).by(range(self._columns))]
        self._drop()
        if self._parts and len(self._parts[0]) > _MAX_ROWS // 2:
            self._parts = [_with_others(self._parts[0], 1, self._keys_kept).by(range(self._columns))]
        if self._parts and len(self._parts[0]) > _MAX_ROWS // 2:
            slots = np.sort(self._parts[0].keys[_SLOT])
            self._oldest = int(slots[len(slots) // 2]) - _SHIFT + 1
            self._drop()

    def _drop(self) -> None:
        rows = self._parts
        if rows and len(rows[0]) and int(rows[0].keys[_SLOT].min()) - _SHIFT < self._oldest:
            self._parts = [rows[0].where(rows[0].keys[_SLOT] - _SHIFT >= self._oldest)]


def _with_others(rows: Counts, before: int, kept: int) -> Counts:
    """Return rows whose rarest keys are one; `before`: the place of the column that says so."""
    idle, bucket = before + 1, len(rows.keys) - 1
    named = list(range(before, bucket))
    keys = rows.by(named)
    if len(keys) <= kept:
        return rows
    rarest = np.argsort(-keys.n, kind="stable")[kept:]
    chosen = np.zeros(len(keys), np.bool_)
    chosen[rarest] = True
    # Rows and keys are sorted alike: each row's key is found by where it would stand.
    other = chosen[_places(rows, keys, named)]
    columns = [np.where(other, 0, key) if idle < at < bucket else key for at, key in enumerate(rows.keys)]
    columns[before] = np.where(other, 1, columns[before])
    return Counts(tuple(columns), rows.n, rows.total_ns, rows.least_ns, rows.most_ns).by(range(len(columns)))


def _places(rows: Counts, keys: Counts, named: list[int]) -> NDArray[np.int64]:
    """Return for each row the place of its key among `keys`."""
    both = np.concatenate([np.stack(keys.keys), np.stack([rows.keys[at] for at in named])], axis=1)
    _, place = np.unique(both, axis=1, return_inverse=True)
    of_keys, of_rows = place[: len(keys)], place[len(keys) :]
    at = np.zeros(len(keys), np.int64)
    at[of_keys] = np.arange(len(keys))
    found: NDArray[np.int64] = at[of_rows]
    return found
