"""Recorded reasons as small codes, and what each means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kvmtrace.arch import Architecture
    from kvmtrace.arch.base import Reason
    from kvmtrace.recording import EventKind, Fields

_MASK32 = 0xFFFFFFFF
_NO_ISA = _MASK32
_TABLE_SIZE = 1 << 12
_TABLES = 4  # isas that have a table: there are two


class Reasons:
    """Codes 0, 1, … of the reasons of a recording, in the order of their first exit."""

    def __init__(self, architecture: Architecture) -> None:
        self._architecture = architecture
        self._keys = np.zeros(0, np.uint64)  # sorted
        self._codes = np.zeros(0, np.int32)
        self._tables: dict[int, NDArray[np.int32]] = {}  # by isa: codes of small reasons, -1: none
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
        reason = fields.column(reason_field)
        isa = np.full(len(reason), _NO_ISA, np.uint32) if isa_field is None else fields.column(isa_field)
        if (quick := self._usual_codes(isa, reason)) is not None:
            return quick
        keys = isa.astype(np.uint64) << np.uint64(32) | reason.astype(np.int64).view(np.uint64) & np.uint64(_MASK32)
        if (unknown := self._unknown(keys)).any():
            self._learn(kind, np.unique(keys[unknown]))
        return self._codes[np.searchsorted(self._keys, keys)]

    def _usual_codes(self, isa: NDArray[Any], reason: NDArray[Any]) -> NDArray[np.int32] | None:
        """Return the codes by a table of small reasons of one isa, which most blocks hold; None for another block."""
        if not len(reason) or int(reason.max()) >= _TABLE_SIZE or int(reason.min()) < 0:
            return None
        if int(isa[0]) not in self._tables or not (isa == isa[0]).all():
            return None
        codes = self._tables[int(isa[0])][reason]
        return codes if int(codes.min()) >= 0 else None

    def _unknown(self, keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
        if not len(self._keys):
            return np.ones(len(keys), np.bool_)
        place = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return np.not_equal(self._keys[place], keys)

    def _learn(self, kind: EventKind, keys: NDArray[np.uint64]) -> None:
        """Give codes to unknown keys. There may be as many as exits, where the recording is damaged."""
        new = [self._architecture.reason(kind, _isa_of(key), key & _MASK32) for key in keys.tolist()]
        codes = np.arange(len(self.meanings), len(self.meanings) + len(new), dtype=np.int32)
        places = np.searchsorted(self._keys, keys)
        self._keys = np.insert(self._keys, places, keys)
        self._codes = np.insert(self._codes, places, codes)
        self.meanings.extend(new)
        self.idle = np.append(self.idle, [meaning.idle for meaning in new])
        reenters = [self._architecture.reenters_without_entry(meaning) for meaning in new]
        self.reenters = np.append(self.reenters, reenters)
        for key, code in zip(keys.tolist(), codes.tolist(), strict=True):
            isa, reason = key >> 32, key & _MASK32
            if reason < _TABLE_SIZE and (isa in self._tables or len(self._tables) < _TABLES):
                self._tables.setdefault(isa, np.full(_TABLE_SIZE, -1, np.int32))[reason] = code


def _isa_of(key: int) -> int | None:
    return None if key >> 32 == _NO_ISA else key >> 32
