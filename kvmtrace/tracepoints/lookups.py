"""The kernel's print helpers: __print_symbolic, __print_flags, __print_hex, __print_array.

Their text is that of trace_print_symbols_seq, trace_print_flags_seq, trace_print_hex_seq and trace_print_array_seq of
kernel/trace/trace_output.c.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmtrace.tracepoints import c_integers
from kvmtrace.tracepoints.errors import EvaluationError
from kvmtrace.tracepoints.expressions import Expression, Values, integer_of
from kvmtrace.tracepoints.field_access import FieldReference

if TYPE_CHECKING:
    from kvmtrace.tracepoints.c_integers import CInteger
    from kvmtrace.tracepoints.expressions import Result

_LOW_32 = (1 << 32) - 1


@dataclass(frozen=True)
class SymbolTable(Expression):
    """`__print_symbolic(operand, {key, "name"}, …)`.

    `symbols` are (key as a 64-bit pattern, name), in the order of the text. Entries whose key is a name that the
    recording's kernel did not resolve are left out: they name nothing.
    """

    operand: Expression
    symbols: tuple[tuple[int, str], ...]

    def children(self) -> tuple[Expression, ...]:
        """Return the operand."""
        return (self.operand,)

    def result(self, values: Values) -> Result:
        """Return the name of the operand's value, or its hexadecimal number where it has none."""
        key = integer_of(self.operand, values)
        name = self._name(key)
        return f"0x{key.pattern():x}" if name is None else name

    def symbol_key(self, values: Values) -> int | None:
        """Return the value that is looked up."""
        return integer_of(self.operand, values).value

    def _name(self, key: CInteger) -> str | None:
        wanted = key.pattern()
        for pattern, name in self.symbols:
            if pattern == wanted:
                return name
        # The kernel compares unsigned longs, so it never finds its own entry -1 (SVM's invalid_guest_state) for an
        # unsigned int of 0xffffffff. The entry is what that value means: where nothing is equal, compare 4 bytes.
        if _is_4_bytes(self.operand, key):
            for pattern, name in self.symbols:
                if pattern & _LOW_32 == wanted & _LOW_32 and pattern >> 32 in (0, _LOW_32):
                    return name
        return None


def _is_4_bytes(operand: Expression, key: CInteger) -> bool:
    if isinstance(operand, FieldReference) and operand.element is None:
        return 0 <= key.value <= _LOW_32  # not bound to its format: the value tells
    return key.bits == c_integers.INT_BITS


@dataclass(frozen=True)
class FlagTable(Expression):
    """`__print_flags(operand, delimiter, {mask, "name"}, …)`; `flags` as `SymbolTable.symbols`."""

    operand: Expression
    delimiter: str
    flags: tuple[tuple[int, str], ...]

    def children(self) -> tuple[Expression, ...]:
        """Return the operand."""
        return (self.operand,)

    def result(self, values: Values) -> Result:
        """Return the names of the flags that are set, the rest as a hexadecimal number; nothing for 0."""
        operand = integer_of(self.operand, values)
        rest = operand.pattern()
        # A mask of 1 << 31 is a negative int; an unsigned int never has its upper bits, though bit 31 is meant.
        meant = _LOW_32 if _is_4_bytes(self.operand, operand) and not rest >> 32 else -1
        shown = []
        for pattern, name in self.flags:
            mask = pattern & meant
            if rest and rest & mask == mask:
                shown.append(name)
                rest &= ~mask
        if rest:
            shown.append(f"0x{rest:x}")
        return self.delimiter.join(shown)


@dataclass(frozen=True)
class HexBytes(Expression):
    """`__print_hex(array, length)`: "0f 01 d1"; `__print_hex_str` has no blanks."""

    array: Expression
    length: Expression
    separator: str

    def children(self) -> tuple[Expression, ...]:
        """Return the array and the length."""
        return (self.array, self.length)

    def result(self, values: Values) -> Result:
        """Return the bytes in hexadecimal."""
        elements = _elements(self.array, self.length, values)
        if not all(0 <= element <= 0xFF for element in elements):  # noqa: PLR2004 - a byte
            raise EvaluationError("elements of several bytes where bytes are needed")
        return bytes(elements).hex(self.separator) if self.separator else bytes(elements).hex()


@dataclass(frozen=True)
class ArrayText(Expression):
    """`__print_array(array, count, element size)`: "{0x1,0x2}"."""

    array: Expression
    count: Expression
    element_size: Expression

    def children(self) -> tuple[Expression, ...]:
        """Return the array, the count and the size."""
        return (self.array, self.count, self.element_size)

    def result(self, values: Values) -> Result:
        """Return the elements in hexadecimal. EvaluationError: bytes where elements have several bytes each."""
        size = integer_of(self.element_size, values).value
        if size not in (1, 2, 4, 8):
            raise EvaluationError(f"array elements of {size} bytes")
        elements = _elements(self.array, self.count, values)
        if size > 1 and isinstance(elements, bytes):
            raise EvaluationError("bytes where the elements of an array are needed")
        mask = (1 << 8 * size) - 1
        return "{" + ",".join(f"0x{element & mask:x}" for element in elements) + "}"


def _elements(array: Expression, count: Expression, values: Values) -> bytes | list[int]:
    """Return the first `count` elements of an array."""
    elements = array.result(values)
    wanted = integer_of(count, values).value
    if isinstance(elements, str):
        elements = elements.encode() + b"\0"
    if isinstance(elements, c_integers.CInteger):
        raise EvaluationError("what an address points to is not recorded")
    if not 0 <= wanted <= len(elements):
        raise EvaluationError(f"{wanted} elements of an array of {len(elements)}")
    return elements[:wanted] if isinstance(elements, bytes) else [int(element) for element in elements[:wanted]]
