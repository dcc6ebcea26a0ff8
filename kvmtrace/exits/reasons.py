"""Recorded reasons as small codes, and what each means."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kvmtrace.arch import Architecture
    from kvmtrace.arch.base import Reason
    from kvmtrace.recording import EventKind, Fields

_NO_ISA = 0xFFFFFFFF
_TABLE_SIZE = 1 << 12


class Reasons:
    """Codes 0, 1, … of the reasons of a recording, in the order of their first exit."""

    def __init__(self, architecture: Architecture) -> None:
        self._architecture = architecture
        self._keys = np.zeros(0, np.uint64)  # sorted
        self._codes = np.zeros(0, np.int32)
        self._table = np.zeros(0, np.int32)  # codes by distance from the first key, -1: none
        self.meanings: list[Reason] = []
        self.idle = np.zeros(0, np.bool_)
        self.reenters = np.zeros(0, np.bool_)

    @property
    def isa_codes(self) -> set[int]:
        """Return the isa codes of the exits so far."""
        return {int(key) >> 32 for key in self._keys.tolist()} - {_NO_ISA}

    def codes(self, kind: EventKind, fields: Fields) -> NDArray[np.int32]:
        """Return the code of each exit's reason."""
        isa_field, reason_field = self._architecture.reason_fields(kind)
        keys = fields.column(reason_field).astype(np.int64).view(np.uint64) & np.uint64(0xFFFFFFFF)
        isa = np.uint64(_NO_ISA) if isa_field is None else fields.column(isa_field).astype(np.uint64)
        keys |= isa << np.uint64(32)
        if (quick := self._quick_codes(keys)) is not None:
            return quick
        if (unknown := self._unknown(keys)).any():
            for key in np.unique(keys[unknown]).tolist():
                self._learn(kind, key)
        return self._codes[np.searchsorted(self._keys, keys)]

    def _quick_codes(self, keys: NDArray[np.uint64]) -> NDArray[np.int32] | None:
        """Return the codes by a table of the usual reasons' codes; None where that does not hold all."""
        if not len(self._keys) or not len(keys):
            return None
        place = keys - self._keys[0]
        if int(place.max()) >= _TABLE_SIZE:
            return None
        codes = self._table[place.view(np.int64)]
        return codes if int(codes.min()) >= 0 else None

    def _unknown(self, keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
        if not len(self._keys):
            return np.ones(len(keys), np.bool_)
        place = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return np.not_equal(self._keys[place], keys)

    def _learn(self, kind: EventKind, key: int) -> None:
        isa = None if key >> 32 == _NO_ISA else key >> 32
        meaning = self._architecture.reason(kind, isa, key & 0xFFFFFFFF)
        place = int(np.searchsorted(self._keys, np.uint64(key)))
        self._keys = np.insert(self._keys, place, np.uint64(key))
        self._codes = np.insert(self._codes, place, len(self.meanings))
        near = self._keys - self._keys[0] < _TABLE_SIZE
        self._table = np.full(_TABLE_SIZE, -1, np.int32)
        self._table[(self._keys[near] - self._keys[0]).view(np.int64)] = self._codes[near]
        self.meanings.append(meaning)
        self.idle = np.append(self.idle, meaning.idle)
        self.reenters = np.append(self.reenters, self._architecture.reenters_without_entry(meaning))
