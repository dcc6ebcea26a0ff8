"""Reads a term that a user wrote: `kvm_exit / kvm_inj_virq`, `p99("MSR_WRITE")`, `exits() - exits("IO_INSTRUCTION")`.

The grammar is that of Python's expressions, of which only numbers, + - * /, names and calls of the functions below are
taken; nothing is ever evaluated as Python. A name is an event, with its system or without (`kvm_exit`, `"kvm:kvm_exit"`
in quotes), or one of `seconds`, `guest_seconds`, `vcpus`, `work`.
"""

from __future__ import annotations

import ast
import math
from difflib import get_close_matches
from typing import TYPE_CHECKING

from kvmtrace.comparing import terms
from kvmtrace.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvmtrace.comparing.run_data import Where
    from kvmtrace.comparing.terms import Term

NOT_IDLE: Where = (("idle", False),)
"""Idle exits are waiting, not cost: their time is in no sum of times."""

_NAMES: dict[str, Term] = {
    "seconds": terms.Seconds(),
    "guest_seconds": terms.over(terms.Exits("guest_ns"), terms.Number(1e9)),
    "vcpus": terms.Vcpus(),
    "work": terms.Work(),
}


def _exits(where: Where) -> Term:
    return terms.Exits("n", where)


def _time_ns(where: Where) -> Term:
    return terms.Exits("sum_ns", where or NOT_IDLE)


def _mean_ns(where: Where) -> Term:
    return terms.over(_time_ns(where), terms.Exits("timed", where or NOT_IDLE))


def _percentile_ns(share: float) -> Callable[[Where], Term]:
    return lambda where: terms.Percentile(share, where or NOT_IDLE)


def _exits_to_userspace(where: Where) -> Term:
    return terms.Exits("userspace", where)


_FUNCTIONS: dict[str, Callable[[Where], Term]] = {
    "exits": _exits,
    "exits_to_userspace": _exits_to_userspace,
    "time_ns": _time_ns,
    "mean_ns": _mean_ns,
    "p50_ns": _percentile_ns(0.5),
    "p90_ns": _percentile_ns(0.9),
    "p99_ns": _percentile_ns(0.99),
    "p999_ns": _percentile_ns(0.999),
}
_ARGUMENTS = ("reason", "detail_name")
_OPERATORS: dict[type[ast.operator], str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
_LONGEST = 1000
_DEEPEST = 60


class Expression:
    """A term as it was written, and what must be read to know it."""

    def __init__(self, text: str) -> None:
        """UsageError: it cannot be read."""
        self.text = text
        self.events: set[str] = set()
        self.reasons: set[str] = set()
        self.figures: set[str] = set()
        self.needs_details = False
        self.needs_latency = False
        self.needs_guest_time = False
        self.term = self._of(parsed(text))

    def _of(self, node: ast.expr) -> Term:
        match node:
            case ast.Constant(value=bool()):
                raise self._wrong("expected a number, an event or a function", node)
            case ast.Constant(value=int() | float() as number):
                return terms.Number(finite(number, self.text))
            case ast.Constant(value=str() as name):
                return self._event(name)
            case ast.Name(id=name):
                self.needs_guest_time |= name == "guest_seconds"
                return _NAMES[name] if name in _NAMES else self._event(name)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return terms.Operation(_OPERATORS[type(op)], self._of(left), self._of(right))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return terms.Operation("-", terms.Number(0), self._of(operand))
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                return self._call(name, arguments, node)
        raise self._wrong("expected numbers, + - * /, names of events and functions", node)

    def _event(self, name: str) -> Term:
        self.events.add(name)
        return terms.Events(name)

    def _call(self, name: str, arguments: list[ast.expr], node: ast.expr) -> Term:
        if name == "value":
            (figure,) = self._text(arguments, node, 1, 1)
            self.figures.add(figure)
            return terms.Figure(figure)
        if name not in _FUNCTIONS:
            known = [*_FUNCTIONS, "value"]
            near = get_close_matches(name, known, n=1)
            raise UsageError(
                f"{self.text!r}: there is no function {name}",
                hint=f"did you mean {near[0]}()?" if near else f"functions: {', '.join(known)}",
            )
        texts = self._text(arguments, node, 0, len(_ARGUMENTS))
        self.reasons.update(texts[:1])
        self.needs_details |= len(texts) > 1
        self.needs_latency |= name.startswith("p")
        return _FUNCTIONS[name](tuple(zip(_ARGUMENTS, texts, strict=False)))

    def _text(self, arguments: list[ast.expr], node: ast.expr, least: int, most: int) -> list[str]:
        texts = [a.value for a in arguments if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        if len(texts) != len(arguments) or not least <= len(texts) <= most:
            expected = 'a reason and a detail in quotes: exits("MSR_WRITE", "IA32_TSC_DEADLINE")'
            raise self._wrong(f"expected at most {expected}", node)
        return texts

    def _wrong(self, expected: str, node: ast.expr) -> UsageError:
        return UsageError(f"{self.text!r}: {expected}, found {ast.unparse(node)!r}")


def parsed(text: str) -> ast.expr:
    """Return the syntax tree of an expression. UsageError: it has none, or one that is too deep."""
    try:
        if len(text) > _LONGEST:
            raise UsageError(f"expected an expression of at most {_LONGEST} characters, found {len(text)}")
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        what = error.msg if isinstance(error, SyntaxError) else str(error) or type(error).__name__
        raise UsageError(f"{text!r} is no expression: {what}") from None
    level: list[ast.AST] = [tree]
    for _ in range(_DEEPEST):
        level = [below for node in level for below in ast.iter_child_nodes(node)]
    if level:
        raise UsageError(f"{text!r}: expected an expression of at most {_DEEPEST} levels, found a deeper one")
    return tree


def finite(number: float, text: str) -> float:
    """Return a number as written. UsageError: it is too large."""
    try:
        found = float(number)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise UsageError(f"{text!r}: expected a finite number, found one beyond 1e308")
    return found
