"""The operators of C in an expression: casts, unary, binary, and the conditional."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmtrace.tracepoints import c_integers
from kvmtrace.tracepoints.c_integers import CInteger
from kvmtrace.tracepoints.expressions import Expression, Result, Values, holds, integer_of, is_true

if TYPE_CHECKING:
    from kvmtrace.tracepoints.c_types import CType


@dataclass(frozen=True)
class Cast(Expression):
    """A cast; `target` is the integer type, None: a pointer or a type whose width is not known: the value stays."""

    target: CType | None
    operand: Expression

    def children(self) -> tuple[Expression, ...]:
        """Return the operand."""
        return (self.operand,)

    def result(self, values: Values) -> Result:
        """Return the converted operand."""
        if self.target is None:
            return self.operand.result(values)
        value = integer_of(self.operand, values).value
        return CInteger.wrapped(value, 8 * self.target.size, signed=self.target.signed)


@dataclass(frozen=True)
class Unary(Expression):
    """One of ! ~ - + and its operand."""

    symbol: str
    operand: Expression

    def children(self) -> tuple[Expression, ...]:
        """Return the operand."""
        return (self.operand,)

    def result(self, values: Values) -> Result:
        """Apply the operator."""
        if self.symbol == "!":
            return c_integers.truth(not is_true(self.operand, values))
        return c_integers.unary(self.symbol, integer_of(self.operand, values))


@dataclass(frozen=True)
class Binary(Expression):
    """A binary operator and its operands."""

    symbol: str
    left: Expression
    right: Expression

    def children(self) -> tuple[Expression, ...]:
        """Return both operands."""
        return (self.left, self.right)

    def result(self, values: Values) -> Result:
        """Apply the operator; && and || leave their right side alone where C does."""
        if self.symbol == "&&":
            return c_integers.truth(is_true(self.left, values) and is_true(self.right, values))
        if self.symbol == "||":
            return c_integers.truth(is_true(self.left, values) or is_true(self.right, values))
        return c_integers.binary(self.symbol, integer_of(self.left, values), integer_of(self.right, values))


@dataclass(frozen=True)
class Conditional(Expression):
    """`c ? x : d ? y : … : z`, flat, since such chains grow long; a choice of None is that of `c ?: z`: c itself."""

    branches: tuple[tuple[Expression, Expression | None], ...]
    otherwise: Expression

    def children(self) -> tuple[Expression, ...]:
        """Return conditions and choices in the order of the text."""
        parts = [part for branch in self.branches for part in branch if part is not None]
        return (*parts, self.otherwise)

    def chosen(self, values: Values) -> Expression:
        """Return the part that gives the result."""
        for condition, choice in self.branches:
            if is_true(condition, values):
                return condition if choice is None else choice
        return self.otherwise

    def result(self, values: Values) -> Result:
        """Return the result of the chosen part, each condition evaluated once: `?:` nested in itself stays linear."""
        for condition, choice in self.branches:
            truth = condition.result(values)
            if holds(truth):
                return truth if choice is None else choice.result(values)
        return self.otherwise.result(values)

    def symbol_key(self, values: Values) -> int | None:
        """Return the key that the chosen part looks up."""
        return self.chosen(values).symbol_key(values)
