"""Names in many texts → the numbers that they stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kvmtrace.formats.event_text.columns import dtype_of
from kvmtrace.formats.event_text.interning import MANY, Interner
from kvmtrace.formats.event_text.names import table
from kvmtrace.formats.event_text.templates import wrapped

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kvmtrace.formats.event_text.words import Places


class NameColumns:
    """The values of the names of one table."""

    def __init__(self, kind: str) -> None:
        self.table = table(kind)
        self._types = [dtype_of(kind) for kind in self.table.types]
        self._interner = Interner()
        self._resolve_from(0)

    def _resolve_from(self, first: int) -> None:
        """Find the values of the strings from code `first` on; the last row is that of -1."""
        if first == 0:
            self._known = np.zeros(1, np.bool_)
            self._values = [np.zeros(1, dtype) for dtype in self._types]
        resolved = [self.table.resolve(string.decode("latin-1")) for string in self._interner.strings[first:]]
        known = np.array([*(value is not None for value in resolved), False], np.bool_)
        self._known = np.concatenate([self._known[:-1], known])
        for place, kind in enumerate(self.table.types):
            new = [0 if value is None else wrapped(value[place], kind) for value in resolved]
            old = self._values[place]
            self._values[place] = np.concatenate([old[:-1], np.array([*new, 0], old.dtype)])

    def read(
        self, block: NDArray[np.uint8], starts: Places, lengths: Places
    ) -> tuple[NDArray[np.bool_], list[NDArray[Any]]]:
        """Return which names are known, and the value of each field."""
        if len(self._interner.strings) > MANY:
            self._interner.forget()
            self._resolve_from(0)
        codes = self._interner.codes(block, starts, lengths)
        if len(self._interner.strings) >= len(self._known):
            self._resolve_from(len(self._known) - 1)
        return self._known[codes], [values[codes] for values in self._values]
