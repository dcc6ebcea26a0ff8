"""The parts of an expression that read a field: its value, an element, the length of a dynamic array."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmtrace.tracepoints.c_integers import INT_BITS, CInteger
from kvmtrace.tracepoints.errors import EvaluationError, quoted
from kvmtrace.tracepoints.expressions import Expression, Result, Values, integer_of

if TYPE_CHECKING:
    from kvmtrace.tracepoints.c_types import CType


@dataclass(frozen=True)
class FieldReference(Expression):
    """A field's value: `REC->name`, or `__get_str(name)` and its like, which reach the same value.

    `element` is the type of the field or of its elements, and `size` the field's bytes; None: the format's fields were
    not given, so integers count as 64 bits wide.
    """

    name: str
    element: CType | None = None
    size: int | None = None

    def own_fields(self) -> tuple[str, ...]:
        """Return the field's name."""
        return (self.name,)

    def result(self, values: Values) -> Result:
        """Return the value given for the field."""
        value = values.get(self.name)
        if value is None:
            raise EvaluationError(f"field {quoted(self.name)} has no value")
        if isinstance(value, Sized):  # text, bytes, elements
            return value
        if self.element is None:
            return CInteger.of_unknown_width(int(value))
        return CInteger.wrapped(int(value), 8 * self.element.size, signed=self.element.signed)


@dataclass(frozen=True)
class Length(Expression):
    """`__get_dynamic_array_len(name)`: bytes of a dynamic array."""

    array: FieldReference

    def children(self) -> tuple[Expression, ...]:
        """Return the array."""
        return (self.array,)

    def result(self, values: Values) -> Result:
        """Return the length in bytes. EvaluationError: elements of a size that is not known."""
        value = self.array.result(values)
        if isinstance(value, CInteger):
            raise EvaluationError("the length of an integer")
        if isinstance(value, str):
            size = len(value.encode()) + 1  # a string is recorded with its NUL
        elif isinstance(value, bytes):
            size = len(value)
        elif self.array.element is None:
            raise EvaluationError("the length of an array whose elements are of unknown size")
        else:
            size = len(value) * self.array.element.size
        return CInteger.wrapped(size, INT_BITS, signed=True)


@dataclass(frozen=True)
class Element(Expression):
    """One element of an array: `REC->args[0]`, `*x`."""

    array: Expression
    index: Expression

    def children(self) -> tuple[Expression, ...]:
        """Return the array and the index."""
        return (self.array, self.index)

    def result(self, values: Values) -> Result:
        """Return the element. EvaluationError: outside the array, or bytes that hold elements of several bytes."""
        elements = self.array.result(values)
        if isinstance(elements, CInteger):
            raise EvaluationError("what an address points to is not recorded")
        if isinstance(elements, str):
            elements = elements.encode() + b"\0"
        element = self.array.element if isinstance(self.array, FieldReference) else None
        if element is not None and element.size > 1 and isinstance(elements, bytes):
            raise EvaluationError("bytes where the elements of an array are needed")
        index = integer_of(self.index, values).value
        if not 0 <= index < len(elements):
            raise EvaluationError(f"element {index} of an array of {len(elements)}")
        if element is None:
            return CInteger.of_unknown_width(elements[index])
        return CInteger.wrapped(elements[index], 8 * element.size, signed=element.signed)
