"""Texts that are written once, and the numbers that stand for them from there on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.export.perfetto_fields import INTERNED_IID, INTERNED_TEXT, Interned
from kvmtrace.export.protobuf_columns import message, number, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Names:
    """The texts of one sequence of packets."""

    def __init__(self) -> None:
        self._numbers: dict[Interned, dict[str, int]] = {kind: {} for kind in Interned}
        self._new: list[bytes] = []

    def number(self, kind: Interned, value: str) -> int:
        """Return the number of a text, which is new or not."""
        known = self._numbers[kind]
        if value not in known:
            known[value] = len(known) + 1
            entry = number(INTERNED_IID, known[value]) + text(INTERNED_TEXT, value)
            self._new.append(message(kind, entry))
        return known[value]

    def numbers(self, kind: Interned, values: Sequence[str], index: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return for each index the number of the text that it means."""
        used = np.unique(index)
        table = np.zeros(len(values), np.int64)
        table[used] = [self.number(kind, values[place]) for place in used.tolist()]
        return table[index]

    def take_new(self) -> bytes:
        """Return an InternedData of the texts that came since it was last asked for; empty: there are none."""
        encoded = b"".join(self._new)
        self._new.clear()
        return encoded
