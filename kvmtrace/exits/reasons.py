"""Recorded reasons as small codes, what each means, and what the exit event itself says of exits with it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kvmtrace.arch import Architecture
    from kvmtrace.arch.base import ExitDetail, Reason
    from kvmtrace.recording import EventKind, Fields

_MASK32 = 0xFFFFFFFF
_NO_GROUP = _MASK32
_TABLE_SIZE = 1 << 12
_TABLES = 4  # groups that have a table: there are two


class Reasons:
    """Codes 0, 1, … of the reasons of a recording, in the order of their first exit."""

    def __init__(self, architecture: Architecture) -> None:
        self._architecture = architecture
        self._keys = np.zeros(0, np.uint64)  # sorted
        self._codes = np.zeros(0, np.int32)
        self._tables: dict[int, NDArray[np.int32]] = {}  # by group: codes of small reasons, -1: none
        self.meanings: list[Reason] = []
        self.idle = np.zeros(0, np.bool_)
        self.reenters = np.zeros(0, np.bool_)
        self.enters_nested = np.zeros(0, np.bool_)
        self.own_rule = np.zeros(0, np.int8)  # index into Architecture.details of what the exit event says, -1: nothing
        self._constant = np.zeros(0, np.uint64)
        self._parts: dict[str, _Part] = {}  # by field of the exit event
        self._idle_codes: dict[int, int] = {}  # code of a reason → that of the same reason of idle exits

    @property
    def groups(self) -> set[int]:
        """Return what the codes so far are codes of, as the architecture numbers it."""
        return {int(key) >> 32 for key in self._keys.tolist()} - {_NO_GROUP}

    def codes(self, kind: EventKind, fields: Fields) -> NDArray[np.int32]:
        """Return the code of each exit's reason."""
        told, reason = self._architecture.reason_keys(kind, fields)
        group = np.full(len(reason), _NO_GROUP, np.uint32) if told is None else told
        if (quick := self._usual_codes(group, reason)) is not None:
            return quick
        keys = group.astype(np.uint64) << np.uint64(32) | reason.astype(np.int64).view(np.uint64) & np.uint64(_MASK32)
        if (unknown := self._unknown(keys)).any():
            self._learn(kind, np.unique(keys[unknown]))
        return self._codes[np.searchsorted(self._keys, keys)]

    def own_details(self, fields: Fields, codes: NDArray[np.int32]) -> NDArray[np.uint64]:
        """Return what the exit events say of themselves; of a reason without an `own_rule` it means nothing."""
        detail = self._constant[codes]
        for name, part in self._parts.items():
            column = fields.column(name)
            words = column.astype(np.uint64) if column.dtype.kind == "u" else column.astype(np.int64).view(np.uint64)
            bits = words >> part.shift[codes] & part.mask[codes]
            detail |= bits << part.left_shift[codes] if part.left_shift.any() else bits
        return detail

    def of_idle_exits(self, codes: NDArray[np.int32], idle: NDArray[np.bool_]) -> NDArray[np.int32]:
        """Return the codes of exits' reasons, those of exits that are `idle` as codes of the same reason, idle."""
        waited = idle & ~self.idle[codes]
        if not waited.any():
            return codes
        known, place = np.unique(codes[waited], return_inverse=True)
        result = codes.copy()
        result[waited] = np.array([self._idle_code(code) for code in known.tolist()], np.int32)[place]
        return result

    def _idle_code(self, code: int) -> int:
        if code not in self._idle_codes:
            self._idle_codes[code] = len(self.meanings)
            self.meanings.append(replace(self.meanings[code], idle=True))
            self.idle = np.append(self.idle, [True])
            self.reenters = np.append(self.reenters, self.reenters[code])
            self.enters_nested = np.append(self.enters_nested, self.enters_nested[code])
            self._learn_details([None])  # what the exit event says was taken over by the code that it had
        return self._idle_codes[code]

    def _usual_codes(self, group: NDArray[Any], reason: NDArray[Any]) -> NDArray[np.int32] | None:
        """Return the codes by a table of small reasons of one group, which most blocks hold; None for another block."""
        if not len(reason) or int(reason.max()) >= _TABLE_SIZE or int(reason.min()) < 0:
            return None
        if int(group[0]) not in self._tables or not (group == group[0]).all():
            return None
        codes = self._tables[int(group[0])][reason]
        return codes if int(codes.min()) >= 0 else None

    def _unknown(self, keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
        if not len(self._keys):
            return np.ones(len(keys), np.bool_)
        place = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return np.not_equal(self._keys[place], keys)

    def _learn(self, kind: EventKind, keys: NDArray[np.uint64]) -> None:
        """Give codes to unknown keys. There may be as many as exits, where the recording is damaged."""
        architecture = self._architecture
        new = [architecture.reason(kind, _group_of(key), key & _MASK32) for key in keys.tolist()]
        codes = np.arange(len(self.meanings), len(self.meanings) + len(new), dtype=np.int32)
        places = np.searchsorted(self._keys, keys)
        self._keys = np.insert(self._keys, places, keys)
        self._codes = np.insert(self._codes, places, codes)
        self.meanings.extend(new)
        self.idle = np.append(self.idle, [meaning.idle for meaning in new])
        self.reenters = np.append(self.reenters, [architecture.reenters_without_entry(meaning) for meaning in new])
        self.enters_nested = np.append(self.enters_nested, [architecture.enters_nested_guest(m) for m in new])
        self._learn_details([architecture.exit_detail(kind, meaning) for meaning in new])
        for key, code in zip(keys.tolist(), codes.tolist(), strict=True):
            group, reason = key >> 32, key & _MASK32
            if reason < _TABLE_SIZE and (group in self._tables or len(self._tables) < _TABLES):
                self._tables.setdefault(group, np.full(_TABLE_SIZE, -1, np.int32))[reason] = code

    def _learn_details(self, details: list[ExitDetail | None]) -> None:
        """Take over what the exit event says of exits with the newest reasons."""
        first = len(self.own_rule)
        self.own_rule = np.append(self.own_rule, np.array([-1 if d is None else d.rule for d in details], np.int8))
        constants = [0 if d is None or d.constant is None else d.constant for d in details]
        self._constant = np.append(self._constant, np.array(constants, np.uint64))
        for code, detail in enumerate(details, first):
            if detail is not None and detail.constant is None:
                part = self._parts.setdefault(self._architecture.details[detail.rule].field, _Part())
                part.set(code, detail)
        for part in self._parts.values():
            part.reserve(len(self.own_rule))


class _Part:
    """Which bits of one field of the exit event are the detail of exits with each reason code; none: mask 0."""

    def __init__(self) -> None:
        self.shift = np.zeros(0, np.uint64)
        self.mask = np.zeros(0, np.uint64)
        self.left_shift = np.zeros(0, np.uint64)

    def set(self, code: int, detail: ExitDetail) -> None:
        self.reserve(code + 1)
        self.shift[code], self.mask[code], self.left_shift[code] = detail.shift, detail.mask, detail.left_shift

    def reserve(self, codes: int) -> None:
        missing = codes - len(self.mask)
        if missing > 0:
            self.shift = np.append(self.shift, np.zeros(missing, np.uint64))
            self.mask = np.append(self.mask, np.zeros(missing, np.uint64))
            self.left_shift = np.append(self.left_shift, np.zeros(missing, np.uint64))


def _group_of(key: int) -> int | None:
    return None if key >> 32 == _NO_GROUP else key >> 32
