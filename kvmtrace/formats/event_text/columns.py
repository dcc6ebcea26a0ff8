"""Fields of the events of one kind in a block of text (recording.Fields)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kvmtrace.tracepoints.records import stored_name, strings

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa
    from numpy.typing import NDArray

    from kvmtrace.formats.event_text.words import Places


@dataclass(frozen=True, slots=True)
class Spans:
    """Texts, by where they stand in their block."""

    starts: Places
    lengths: Places

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, rows: Any) -> Spans:  # noqa: ANN401 - what numpy takes as an index
        return Spans(self.starts[rows], self.lengths[rows])


Column = np.ndarray | Spans
"""A field: numbers, or texts."""


class TextFields:
    """The columns of one kind; texts lie in `block`."""

    def __init__(self, block: NDArray[np.uint8], columns: Mapping[str, Column]) -> None:
        self._block = block
        self._columns = columns

    def column(self, name: str) -> NDArray[Any]:
        """Return one integer field. KeyError: no such field."""
        column = self._columns[name]
        if isinstance(column, Spans):
            raise KeyError(name)
        return column.view(np.uint8) if column.dtype == np.bool_ else column

    def arrow(self) -> dict[str, pa.Array]:
        """Return every field as it is stored: name → Arrow array."""
        import pyarrow as pa  # noqa: PLC0415 - heavy, and only for storing

        return {
            stored_name(name): _strings(self._block, column) if isinstance(column, Spans) else pa.array(column)
            for name, column in self._columns.items()
        }


def _strings(block: NDArray[np.uint8], spans: Spans) -> pa.Array:
    offsets = np.zeros(len(spans) + 1, np.int64)
    np.cumsum(spans.lengths, out=offsets[1:])
    places = np.repeat(spans.starts - offsets[:-1], spans.lengths) + np.arange(offsets[-1])
    return strings(block[places], offsets)


def dtype_of(kind: str) -> np.dtype[Any]:
    """Return the type of a column of numbers: bool, u8 … s64, x8 … x64."""
    return np.dtype("?" if kind == "bool" else f"{'i' if kind[0] == 's' else 'u'}{int(kind[1:]) // 8}")


def empty_columns(types: Mapping[str, str], rows: int) -> dict[str, Column]:
    """Return columns of fields by their types, to be filled in."""
    columns: dict[str, Column] = {}
    for name, kind in types.items():
        if kind == "text":
            columns[name] = Spans(np.zeros(rows, np.int64), np.zeros(rows, np.int64))
        else:
            columns[name] = np.zeros(rows, dtype_of(kind))
    return columns


def fill(columns: Mapping[str, Column], rows: Places, values: Mapping[str, Column]) -> None:
    """Put the values of some rows into columns."""
    for name, column in columns.items():
        value = values[name]
        if isinstance(column, Spans) and isinstance(value, Spans):
            column.starts[rows] = value.starts
            column.lengths[rows] = value.lengths
        elif not isinstance(column, Spans) and not isinstance(value, Spans):
            column[rows] = value
