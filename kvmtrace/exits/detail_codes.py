"""What exits were about, as small codes: the values of each kind of detail, of which only so many are told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kvmtrace.arch import Architecture
    from kvmtrace.arch.base import Reason
    from kvmtrace.exits.builder import Exits

_DETAILS_KEPT = 2048
"""Details of one kind that are kept apart; of faulting addresses there may be as many as exits."""


class Detail(NamedTuple):
    """A detail: its kind, value and name; `capped`: its values were too many."""

    kind: str | None
    value: int | None
    name: str | None
    capped: bool


class DetailCodes:
    """Codes of the details of one recording's exits."""

    def __init__(self, architecture: Architecture) -> None:
        self._architecture = architecture
        self._details = [_Details() for _ in architecture.details]

    def codes(self, exits: Exits) -> NDArray[np.int32]:
        """Return 0 for no detail, else a code of rule and detail; the last code of a rule is: too many."""
        rule, detail = exits.facets.detail_rule, exits.facets.detail
        codes = np.zeros(len(rule), np.int32)
        for number, known in enumerate(self._details):
            rows = np.flatnonzero(rule == number)
            if len(rows):
                codes[rows] = 1 + number * (_DETAILS_KEPT + 1) + known.codes(detail[rows])
        return codes

    def told(self, meaning: Reason, code: int) -> Detail:
        """Return what a code of a detail means with a reason."""
        if code == 0:
            return Detail(None, None, None, capped=False)
        rule, place = divmod(code - 1, _DETAILS_KEPT + 1)
        kind = self._architecture.detail_kind(self._architecture.details[rule], meaning)
        if place == _DETAILS_KEPT:
            return Detail(kind, None, None, capped=True)
        value = self._details[rule].values[place]
        return Detail(kind, value, self._architecture.detail_names(kind).get(value), capped=False)


class _Details:
    """Dense codes of the first so many values of one kind of detail."""

    def __init__(self) -> None:
        self._known = np.zeros(0, np.uint64)  # sorted
        self._codes = np.zeros(0, np.int32)
        self.values: list[int] = []  # by code

    def codes(self, detail: NDArray[np.uint64]) -> NDArray[np.int32]:
        """Return the code of each value, _DETAILS_KEPT for one beyond the first so many."""
        if len(self.values) < _DETAILS_KEPT:
            values, first = np.unique(detail, return_index=True)
            new = np.sort(first[~np.isin(values, self._known)])[: _DETAILS_KEPT - len(self.values)]  # first come
            codes = np.concatenate(
                [self._codes, np.arange(len(self.values), len(self.values) + len(new), dtype=np.int32)]
            )
            known = np.concatenate([self._known, detail[new]])
            self.values.extend(detail[new].tolist())
            order = np.argsort(known)
            self._known, self._codes = known[order], codes[order]
        place = np.minimum(np.searchsorted(self._known, detail), len(self._known) - 1)
        return np.where(self._known[place] == detail, self._codes[place], np.int32(_DETAILS_KEPT))
