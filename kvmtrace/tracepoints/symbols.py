"""Names that an event's print fmt gives to the values of its fields."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmtrace.tracepoints.c_integers import LONG_BITS
from kvmtrace.tracepoints.errors import EvaluationError, FormatError
from kvmtrace.tracepoints.expressions import Expression, integer_of
from kvmtrace.tracepoints.field_access import FieldReference
from kvmtrace.tracepoints.fields import EventFormat, Field, FieldShape
from kvmtrace.tracepoints.lookups import SymbolTable
from kvmtrace.tracepoints.operators import Binary, Cast, Conditional
from kvmtrace.tracepoints.print_format import PrintFormat

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_EVERY_BIT = (1 << LONG_BITS) - 1
_LOW_32 = (1 << 32) - 1
_NAMED_SHAPES = (FieldShape.INTEGER, FieldShape.BOOL)


def field_symbols(event_format: EventFormat, known: Mapping[str, int] | None = None) -> dict[str, dict[int, str]]:
    """Return the names that __print_symbolic gives to plain values of the event's own integer fields.

    A table counts for a field that it looks up as it is, cast, or under a mask (then the values that the mask leaves
    alone). Of several tables of one field the first of the text counts: kvm_exit has one for VMX and then one for SVM,
    so say which with `known`, the values of fields that are the same in the whole recording ({"isa": 2}).
    A print fmt that is not understood names nothing.
    """
    try:
        arguments = PrintFormat.of(event_format).arguments
    except FormatError:
        return {}
    fields = {field.name: field for field in event_format.own_fields if field.shape in _NAMED_SHAPES}
    named: dict[str, dict[int, str]] = {}
    for argument in arguments:
        for table in _tables(argument, known or {}):
            for name, mask in _plain_fields(table.operand):
                symbols = _names(table, mask, fields[name]) if name in fields else {}
                if symbols:
                    named.setdefault(name, symbols)
    return named


def _tables(expression: Expression, known: Mapping[str, int]) -> Iterator[SymbolTable]:
    """Yield the tables of an expression in order, without those that the known values leave out."""
    waiting = [expression]
    while waiting:
        part = waiting.pop()
        if isinstance(part, SymbolTable):
            yield part
        waiting.extend(reversed(_reachable(part, known)))


def _reachable(part: Expression, known: Mapping[str, int]) -> tuple[Expression, ...]:
    if isinstance(part, Conditional):
        try:
            return (part.chosen(known),)
        except EvaluationError:
            return part.children()
    return part.children()


def _plain_fields(operand: Expression) -> Iterator[tuple[str, int]]:
    """Yield (field, mask of the bits looked up) for each field that the operand may be."""
    if isinstance(operand, FieldReference):
        yield operand.name, _EVERY_BIT
    elif isinstance(operand, Cast):
        bits = _EVERY_BIT if operand.target is None else (1 << 8 * operand.target.size) - 1
        yield from ((name, mask & bits) for name, mask in _plain_fields(operand.operand))
    elif isinstance(operand, Conditional):
        for choice in (*(choice for _, choice in operand.branches if choice is not None), operand.otherwise):
            yield from _plain_fields(choice)
    elif isinstance(operand, Binary) and operand.symbol == "&":
        yield from _masked_fields(operand)


def _masked_fields(operand: Binary) -> Iterator[tuple[str, int]]:
    for side, other in ((operand.left, operand.right), (operand.right, operand.left)):
        try:
            bits = integer_of(other, {}).pattern()
        except EvaluationError:
            continue
        yield from ((name, mask & bits) for name, mask in _plain_fields(side))


def _names(table: SymbolTable, mask: int, field: Field) -> dict[int, str]:
    symbols: dict[int, str] = {}
    for pattern, name in table.symbols:
        value = _field_value(pattern, field)
        if value is not None and pattern & mask == pattern:
            symbols.setdefault(value, name)
    return symbols


def _field_value(pattern: int, field: Field) -> int | None:
    """Return the field's value that an entry of a table is for; None: the field cannot hold it."""
    bits = 8 * field.size
    lowest = -(1 << (bits - 1)) if field.signed else 0
    candidates = [pattern, pattern - (1 << LONG_BITS)]
    if bits == 32 and pattern >> 32 == _LOW_32:  # noqa: PLR2004 - as SymbolTable compares 4 bytes
        candidates.append(pattern & _LOW_32)
    return next((value for value in candidates if lowest <= value < lowest + (1 << bits)), None)
