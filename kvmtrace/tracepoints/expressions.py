"""The C expressions of a print fmt, as trees that can be evaluated with the field values of one event.

Trees come from untrusted text: their depth is bounded where a node is made, so walking one cannot exhaust the stack.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from kvmtrace.tracepoints.c_integers import CInteger
from kvmtrace.tracepoints.errors import EvaluationError, FormatError

Value: TypeAlias = int | bytes | str | Sequence[int] | None
"""A field's value: an integer with the field's own sign; text or bytes; the elements of an array; None: no value."""

Values: TypeAlias = Mapping[str, Value]
"""Values of one event's fields, by name."""

Result: TypeAlias = CInteger | bytes | str | Sequence[int]
"""What a part of an expression gives; all but integers are what C would have the address of."""

DEEPEST = 120
"""Levels that a tree may have; those of Linux 6.1's kvm events have 5, those of other subsystems up to 17."""


@dataclass(frozen=True)
class Expression(ABC):
    """An expression of a print fmt."""

    depth: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        depth = 1 + max((child.depth for child in self.children()), default=0)
        if depth > DEEPEST:
            raise FormatError(f"print fmt: an expression of more than {DEEPEST} levels")
        object.__setattr__(self, "depth", depth)

    def children(self) -> tuple[Expression, ...]:
        """Return the direct parts that are expressions themselves."""
        return ()

    @abstractmethod
    def result(self, values: Values) -> Result:
        """Evaluate, keeping the C type. EvaluationError: it has no value."""

    def evaluate(self, values: Values) -> int | str:
        """Evaluate with the field values of one event: an integer, or text up to its first NUL.

        EvaluationError: a field has no value, or the expression asks for what only the kernel knows.
        """
        result = self.result(values)
        if isinstance(result, CInteger):
            return result.value
        return text_of(result)

    def symbol_key(self, values: Values) -> int | None:
        """Return the value that the deciding __print_symbolic looks up; None: no such lookup decides the result.

        EvaluationError: as in `evaluate`, for the parts that lead to the lookup.
        """
        del values
        return None

    def fields(self) -> frozenset[str]:
        """Return the names of the fields that the expression reads."""
        return frozenset(name for part in self.walk() for name in part.own_fields())

    def own_fields(self) -> tuple[str, ...]:
        """Return the names of the fields that this part reads itself."""
        return ()

    def walk(self) -> list[Expression]:
        """Return the expression and all its parts, each before its own parts, in the order of the text."""
        found: list[Expression] = []
        waiting: list[Expression] = [self]
        while waiting:
            part = waiting.pop()
            found.append(part)
            waiting.extend(reversed(part.children()))
        return found


def text_of(result: Result) -> str:
    """Return what %s prints of a result; bytes that are not UTF-8 become backslash escapes."""
    if isinstance(result, str):
        return result
    if isinstance(result, bytes):
        return result.partition(b"\0")[0].decode("utf-8", "backslashreplace")
    raise EvaluationError("an integer or an array is no text")


def integer_of(expression: Expression, values: Values) -> CInteger:
    """Evaluate an expression that must give an integer."""
    result = expression.result(values)
    if not isinstance(result, CInteger):
        raise EvaluationError("text or an array where an integer is needed")
    return result


def is_true(expression: Expression, values: Values) -> bool:
    """Evaluate a condition; text and arrays are addresses that are never null."""
    return holds(expression.result(values))


def holds(result: Result) -> bool:
    """Tell whether C takes a result for true."""
    return bool(result.value) if isinstance(result, CInteger) else True


@dataclass(frozen=True)
class Constant(Expression):
    """A number, a character or a string of the text."""

    content: CInteger | str

    def result(self, values: Values) -> Result:
        """Return the constant."""
        del values
        return self.content


@dataclass(frozen=True)
class Unresolved(Expression):
    """What is understood and cannot be computed here: a kernel function, a name that the text does not resolve."""

    reason: str
    parts: tuple[Expression, ...] = ()

    def children(self) -> tuple[Expression, ...]:
        """Return the arguments."""
        return self.parts

    def result(self, values: Values) -> Result:
        """Raise EvaluationError with the reason."""
        del values
        raise EvaluationError(self.reason)
