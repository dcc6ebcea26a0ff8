"""The function-like names of a print fmt: which helper of the kernel each one stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmtrace.tracepoints.c_integers import CInteger
from kvmtrace.tracepoints.errors import EvaluationError, FormatError, quoted
from kvmtrace.tracepoints.expressions import Constant, Expression, Unresolved, integer_of
from kvmtrace.tracepoints.lookups import ArrayText, FlagTable, HexBytes, SymbolTable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SYMBOL_FUNCTIONS = frozenset({"__print_symbolic", "__print_symbolic64", "__print_symbolic_u64"})
FLAG_FUNCTIONS = frozenset({"__print_flags", "__print_flags64", "__print_flags_u64"})
TABLE_FUNCTIONS = SYMBOL_FUNCTIONS | FLAG_FUNCTIONS
FIELD_FUNCTIONS = frozenset(
    {"__get_str", "__get_rel_str", "__get_dynamic_array", "__get_rel_dynamic_array"},
)
LENGTH_FUNCTIONS = frozenset({"__get_dynamic_array_len", "__get_rel_dynamic_array_len"})

_ARRAY_FUNCTIONS: dict[str, tuple[int, Callable[..., Expression]]] = {
    "__print_hex": (2, lambda array, length: HexBytes(array, length, " ")),
    "__print_hex_str": (2, lambda array, length: HexBytes(array, length, "")),
    "__print_array": (3, ArrayText),
}


def call(name: str, arguments: Sequence[Expression], table: Sequence[tuple[Expression, str]]) -> Expression:
    """Return the expression of a call; a function that only the kernel has is `Unresolved`.

    FormatError: the wrong number of arguments for a helper of the kernel.
    """
    if name in SYMBOL_FUNCTIONS:
        (operand,) = _exactly(1, name, arguments)
        return SymbolTable(operand, _resolved(table))
    if name in FLAG_FUNCTIONS:
        operand, delimiter = _exactly(2, name, arguments)
        if not isinstance(delimiter, Constant) or isinstance(delimiter.content, CInteger):
            raise FormatError(f"print fmt: {name} needs a string between the flags")
        return FlagTable(operand, delimiter.content, _resolved(table))
    if name in _ARRAY_FUNCTIONS:
        wanted, make = _ARRAY_FUNCTIONS[name]
        return make(*_exactly(wanted, name, arguments))
    return Unresolved(f"only the kernel has the function {quoted(name)}", tuple(arguments))


def _exactly(wanted: int, name: str, arguments: Sequence[Expression]) -> Sequence[Expression]:
    if len(arguments) != wanted:
        raise FormatError(f"print fmt: {name} has {len(arguments)} arguments before its table, not {wanted}")
    return arguments


def _resolved(table: Sequence[tuple[Expression, str]]) -> tuple[tuple[int, str], ...]:
    """Return (64-bit pattern, name) of the entries whose key is a number."""
    entries = []
    for key, name in table:
        try:
            entries.append((integer_of(key, {}).pattern(), name))
        except EvaluationError:  # an enum's name that TRACE_DEFINE_ENUM did not resolve
            continue
    return tuple(entries)
