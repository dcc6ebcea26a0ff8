"""C arithmetic on integers of a width and a signedness: promotion, conversion, wrapping.

What C leaves undefined is an EvaluationError where a result would be a guess (division by zero, a shift by more than
the width), and wraps where every compiler of the kernel wraps (-fno-strict-overflow).
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmtrace.tracepoints.errors import EvaluationError

if TYPE_CHECKING:
    from collections.abc import Callable

INT_BITS = 32
LONG_BITS = 64


@dataclass(frozen=True, slots=True)
class CInteger:
    """A value of an integer type; `value` lies in the type's range."""

    value: int
    bits: int
    signed: bool

    @classmethod
    def wrapped(cls, value: int, bits: int, *, signed: bool) -> CInteger:
        """Return the value modulo 2**bits, read in the given signedness."""
        value &= (1 << bits) - 1
        if signed and value >> (bits - 1):
            value -= 1 << bits
        return cls(value, bits, signed)

    @classmethod
    def of_unknown_width(cls, value: int) -> CInteger:
        """Return a 64-bit integer; unsigned only where the value asks for it."""
        return cls.wrapped(value, LONG_BITS, signed=value < 1 << (LONG_BITS - 1))

    def pattern(self) -> int:
        """Return the value as a 64-bit unsigned long, sign-extended: what the kernel's lookups compare."""
        return self.value & ((1 << LONG_BITS) - 1)

    def promoted(self) -> CInteger:
        """Return the value after C's integer promotion."""
        return self if self.bits >= INT_BITS else CInteger(self.value, INT_BITS, signed=True)


def truth(condition: object) -> CInteger:
    """Return C's result of a comparison: the int 1 or 0."""
    return CInteger(int(bool(condition)), INT_BITS, signed=True)


def _divided(left: int, right: int) -> int:
    if not right:
        raise EvaluationError("division by zero")
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def _remainder(left: int, right: int) -> int:
    return left - right * _divided(left, right)


_ARITHMETIC: dict[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _divided,
    "%": _remainder,
    "&": operator.and_,
    "|": operator.or_,
    "^": operator.xor,
}
_COMPARISON: dict[str, Callable[[int, int], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def binary(symbol: str, left: CInteger, right: CInteger) -> CInteger:
    """Apply a binary operator (not && and ||, which need not evaluate their right side)."""
    left, right = left.promoted(), right.promoted()
    if symbol in ("<<", ">>"):
        return _shifted(symbol, left, right.value)
    bits = max(left.bits, right.bits)
    signed = all(side.signed for side in (left, right) if side.bits == bits)
    first = CInteger.wrapped(left.value, bits, signed=signed)
    second = CInteger.wrapped(right.value, bits, signed=signed)
    if symbol in _COMPARISON:
        return truth(_COMPARISON[symbol](first.value, second.value))
    return CInteger.wrapped(_ARITHMETIC[symbol](first.value, second.value), bits, signed=signed)


def _shifted(symbol: str, left: CInteger, count: int) -> CInteger:
    if not 0 <= count < left.bits:
        raise EvaluationError(f"shift of a {left.bits}-bit integer by {count}")
    value = left.value << count if symbol == "<<" else left.value >> count
    return CInteger.wrapped(value, left.bits, signed=left.signed)


def unary(symbol: str, operand: CInteger) -> CInteger:
    """Apply one of the unary operators ! ~ - +."""
    if symbol == "!":
        return truth(not operand.value)
    operand = operand.promoted()
    value = {"~": ~operand.value, "-": -operand.value, "+": operand.value}[symbol]
    return CInteger.wrapped(value, operand.bits, signed=operand.signed)
