"""Events of one kind → their texts, as their own print fmt prints them, over columns.

A number that is a field itself is printed by Python's own % for all rows at once. Any other argument (names, flags,
conditions, bytes) is printed once for each distinct set of values of the fields that it reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from kvmtrace.errors import UsageError
from kvmtrace.tracepoints import EvaluationError, FieldShape, FormatError, PrintFormat
from kvmtrace.tracepoints.field_access import FieldReference
from kvmtrace.tracepoints.printing import BITS, SIGNED, printed_argument
from kvmtrace.writers.events import field_column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from kvmtrace.recording import EventKind
    from kvmtrace.tracepoints import Conversion, Field, Values

KEPT_TEXTS = 1 << 16
"""Texts of one argument that are kept from block to block."""
_NUMBERS = frozenset("diuxX")
_PLAIN_FLAGS = frozenset("-0")
_INTEGERS = frozenset({FieldShape.INTEGER, FieldShape.BOOL, FieldShape.POINTER})


class EventPrinter:
    """Prints the events of one kind; `order` is the byte order of their machine."""

    def __init__(self, event: EventKind, order: str) -> None:
        """Compile the print fmt. UsageError: its grammar is not understood."""
        self._order = order
        self._name = f"{event.system}:{event.name}"
        self._fields = {field.name: field for field in event.format.fields}
        try:
            self._format = PrintFormat.of(event.format)
        except FormatError as error:
            raise UsageError(f"{self._name} cannot be printed: {error}") from error
        self._arguments: list[_Number | _Looked] = []
        template = ""
        for conversion in self._format.conversions:
            argument = self._argument(conversion)
            self._arguments.append(argument)
            template += conversion.literal.replace("%", "%%") + argument.conversion
        self._template = template + self._format.tail.replace("%", "%%")

    def _argument(self, conversion: Conversion) -> _Number | _Looked:
        expression = self._format.arguments[conversion.argument]
        field = self._fields.get(expression.name) if isinstance(expression, FieldReference) else None
        plain = conversion.precision is None and set(conversion.flags) <= _PLAIN_FLAGS and conversion.width != "*"
        if field and field.shape in _INTEGERS and plain and conversion.specifier in _NUMBERS:
            return _Number(conversion, field)
        return _Looked(self._format, conversion, self._fields)

    def texts(self, raw: NDArray[np.uint8]) -> list[str]:
        """Return the text of each raw event. UsageError: what its print fmt asks for is known to the kernel alone."""
        names = {name for argument in self._arguments for name in argument.names}
        columns = {name: field_column(raw, self._fields[name], self._order) for name in names}
        if not len(raw):
            return []
        if not self._arguments:
            return [self._template % ()] * len(raw)
        try:
            parts = [argument.column(columns, len(raw)) for argument in self._arguments]
        except EvaluationError as error:
            raise UsageError(f"{self._name} cannot be printed: {error}") from error
        return list(map(self._template.__mod__, zip(*parts, strict=True)))


class _Number:
    """A field that is printed as a number."""

    def __init__(self, conversion: Conversion, field: Field) -> None:
        self.names = (field.name,)
        self.conversion = f"%{conversion.flags}{conversion.width}{conversion.specifier}"
        bits = BITS[conversion.length]
        self._type = np.dtype(f"{'i' if conversion.specifier in SIGNED else 'u'}{bits // 8}")

    def column(self, columns: dict[str, NDArray[Any]], rows: int) -> list[int]:
        """Return the numbers, of the width and sign that the conversion takes them for."""
        del rows
        (name,) = self.names
        return cast("list[int]", columns[name].astype(self._type).tolist())


class _Looked:
    """An argument whose text is made once for each distinct set of values."""

    conversion = "%s"

    def __init__(self, print_format: PrintFormat, conversion: Conversion, fields: dict[str, Field]) -> None:
        self._print_format = print_format
        self._conversion = conversion
        stars = (conversion.width == "*") + (conversion.precision == "*")
        read = print_format.arguments[conversion.argument - stars : conversion.argument + 1]
        self.names = tuple(sorted({name for part in read for name in part.fields()} & fields.keys()))
        self._known: dict[tuple[Any, ...], str] = {}

    def column(self, columns: dict[str, NDArray[Any]], rows: int) -> Sequence[str]:
        """Return the text of each row. EvaluationError: it has none."""
        own = [columns[name] for name in self.names]
        if not own:
            return [self._text(())] * rows
        firsts, codes = _distinct(own)
        keys = zip(*(column[firsts].tolist() for column in own), strict=True)
        texts = np.array([self._text(_hashable(key)) for key in keys], object)
        return cast("list[str]", texts[codes].tolist())

    def _text(self, key: tuple[Any, ...]) -> str:
        text = self._known.get(key)
        if text is None:
            values: Values = dict(zip(self.names, key, strict=True))
            text = printed_argument(self._print_format, self._conversion, values)
            if len(self._known) >= KEPT_TEXTS:
                self._known.clear()
            self._known[key] = text
        return text


def _hashable(key: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(tuple(value) if isinstance(value, list) else value for value in key)


def _distinct(columns: Sequence[NDArray[Any]]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return a row of each distinct set of values, and which of the sets each row has."""
    codes: NDArray[np.intp] = np.zeros(len(columns[0]), np.intp)
    firsts = codes[:1]
    for column in columns:
        values, own = np.unique(_scalars(column), return_inverse=True)
        _, firsts, codes = np.unique(codes * len(values) + own, return_index=True, return_inverse=True)
    return firsts, codes


def _scalars(column: NDArray[Any]) -> NDArray[Any]:
    """Return the elements of each row as one value that sorts: hexadecimal digits of their bytes."""
    if column.ndim == 1:
        return column
    raw = np.ascontiguousarray(column).view(np.uint8).reshape(len(column), -1)
    digits = np.stack((raw >> 4, raw & 15), axis=2).reshape(len(column), -1) + np.uint8(ord("0"))
    return np.ascontiguousarray(digits).view(f"S{digits.shape[1]}")[:, 0]
