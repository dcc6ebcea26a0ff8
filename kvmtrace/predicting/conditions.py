"""Conditions of a model's file: an SQL expression over one exit and its own events, parsed before it is put anywhere.

The text of a user's file never becomes part of a statement. DuckDB parses it; the tree is looked through (one
expression of comparisons, arithmetic and a few functions); each name in it must be a column that is offered here; and
what goes into the statement is the expression as DuckDB prints that tree.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from kvmtrace import schema
from kvmtrace.errors import KvmtraceError, UsageError
from kvmtrace.store.guard import nodes
from kvmtrace.store.views import quoted

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from kvmtrace.store.connection import StoreConnection

EXIT = "whatif_exit"
"""What the statement calls the exit whose columns a condition speaks of."""
INTERRUPTS_OF = "whatif_interrupts"
"""What it calls the interrupts of that exit, of queries/whatif/interrupts.sql."""
INTERRUPTS = frozenset({"interrupt_pending", "interrupt_nested", "interrupt_level", "interrupt_accepted"})
"""Columns of them."""
COLUMNS = frozenset(column.name for column in schema.TABLES["exits"].columns) | INTERRUPTS
"""What a condition can say of an exit without naming an event."""
COUNT = "n"
"""Of an event's fields: how many of it fired in the exit."""

_CLASSES = frozenset(
    {"BETWEEN", "CASE", "CAST", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "CONSTANT", "FUNCTION", "OPERATOR", "TYPE"}
)
_FUNCTIONS = frozenset(
    {"+", "-", "*", "/", "//", "%", "&", "|", "<<", ">>", "~", "~~", "!~~", "~~*", "!~~*", "xor"}
    | {"abs", "ceil", "contains", "ends_with", "floor", "greatest", "least", "length", "lower", "regexp_matches"}
    | {"round", "starts_with", "upper"}
)
_QUOTED_OR_HEX = re.compile(r"""'[^']*'|"[^"]*"|--[^\n]*|(?<![\w.])(?P<hex>0[xX][0-9a-fA-F]+)""")


class ConditionError(KvmtraceError):
    """A condition cannot be used; whoever knows the file says where it stands."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition as it goes into a statement, and what it reads."""

    sql: str
    columns: frozenset[str]  # of the exit
    fields: frozenset[tuple[str, str]]  # of events: tracepoint's name and field


def parsed(connection: StoreConnection, text: str, events: Collection[str]) -> Condition:
    """Return the condition in `text`, which may speak of `events` (names without their system).

    ConditionError: it is no condition, or speaks of what is not offered.
    """
    for found in _QUOTED_OR_HEX.finditer(text):
        if number := found["hex"]:
            raise ConditionError(f"SQL has no hexadecimal numbers: {number} is {int(number, 16)}")
    statement = _tree(connection, f"SELECT\n{text}\n")
    node = statement["statements"][0]["node"]
    plain = _tree(connection, "SELECT 1")["statements"][0]["node"]
    expressions = node.pop("select_list", [])
    plain.pop("select_list")
    if len(expressions) != 1 or expressions[0].get("alias") or node != plain:
        raise ConditionError("expected one condition of an exit, found more than an expression")
    columns: set[str] = set()
    fields: set[tuple[str, str]] = set()
    for part in nodes(expressions[0]):
        _check(part)
        if part.get("class") == "COLUMN_REF":
            _place(part, events, columns, fields)
    counted = _with_counts(connection, expressions[0])
    node["select_list"] = [counted]
    sql = _printed(connection, statement)
    return Condition(sql.removeprefix("SELECT "), frozenset(columns), frozenset(fields))


def check_truth(connection: StoreConnection, condition: Condition) -> None:
    """Check that a condition, and what it joins, says true or false: any number would pass for one of them.

    ConditionError: it gives something else, or does not fit the types of the store.
    """
    events: dict[str, list[str]] = {}
    for event, column in sorted(condition.fields):
        events.setdefault(event, []).append("0::BIGINT AS n" if column == COUNT else quoted(column))
    interrupts = ", ".join(f"NULL::BOOLEAN AS {name}" for name in sorted(INTERRUPTS))
    nothing_of = [f"(FROM exits LIMIT 0) AS {EXIT}", f"(SELECT {interrupts}) AS {INTERRUPTS_OF}"]
    nothing_of += [
        f"(SELECT {', '.join(columns)} FROM {quoted(event)} LIMIT 0) AS {quoted(event)}"  # noqa: S608 - quoted names
        for event, columns in events.items()
    ]
    statement = _tree(connection, f"SELECT {condition.sql} FROM {', '.join(nothing_of)}")  # noqa: S608 - as DuckDB printed it
    node = statement["statements"][0]["node"]
    node["select_list"] += [part for whole in nodes(node["select_list"]) for part in _truths(whole)]
    try:
        types = connection.query(_printed(connection, statement)).types
    except UsageError as error:
        raise ConditionError(error.message, hint=error.hint) from None
    if others := [type_ for type_ in types if type_ != "BOOLEAN"]:
        raise ConditionError(f"expected what is true or false of an exit, found a {others[0]}")


def _truths(part: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return those parts of a part of a tree that DuckDB takes for true or false."""
    if part.get("class") == "CONJUNCTION" or part.get("type") == "OPERATOR_NOT":
        return list(part["children"])
    return [check["when_expr"] for check in part.get("case_checks", ())]


def _printed(connection: StoreConnection, statement: Mapping[str, Any]) -> str:
    found = connection.query("SELECT json_deserialize_sql($tree::JSON)", {"tree": json.dumps(statement)})
    return str(found.rows[0][0])


def _tree(connection: StoreConnection, sql: str) -> dict[str, Any]:
    """Return the syntax tree of `sql`, which is a value here and does not run."""
    try:
        text = connection.query("SELECT json_serialize_sql($sql)", {"sql": sql}).rows[0][0]
        tree: dict[str, Any] = json.loads(text)
    except RecursionError:
        raise ConditionError("the condition is nested too deeply") from None
    except KvmtraceError as error:
        raise ConditionError(error.message) from None
    if tree["error"] or len(tree["statements"]) != 1:
        said = " ".join(str(tree.get("error_message", "not one statement")).split())
        raise ConditionError(f"expected a condition in SQL: {said}")
    _without_places(tree)
    return tree


def _without_places(tree: dict[str, Any]) -> None:
    """Forget where in the text each part stood: equal trees are equal then."""
    for part in nodes(tree):
        part.pop("query_location", None)
        part.pop("query_location_length", None)


def _check(part: Mapping[str, Any]) -> None:
    kind = part.get("class")
    if kind is not None and kind not in _CLASSES:
        raise ConditionError(f"a condition has no {str(kind).lower().replace('_', ' ')}: it speaks of one exit")
    if kind == "FUNCTION" and part["function_name"] not in _FUNCTIONS:
        near = get_close_matches(part["function_name"], _FUNCTIONS, n=1)
        hint = f"nearest: {near[0]}" if near else "known: " + ", ".join(sorted(f for f in _FUNCTIONS if f.isalpha()))
        raise ConditionError(f"a condition has no function {part['function_name']}", hint=hint)


def _place(part: dict[str, Any], events: Collection[str], columns: set[str], fields: set[tuple[str, str]]) -> None:
    """Say whose column a name is. ConditionError: nobody's."""
    names = [str(name) for name in part["column_names"]]
    if len(names) == 1:
        name = names[0].lower()
        if name not in COLUMNS:
            near = get_close_matches(name, COLUMNS, n=1)
            raise ConditionError(
                f"an exit has no column {names[0]!r}",
                hint=f"nearest: {near[0]}" if near else "docs/store.md lists the columns of exits",
            )
        columns.add(name)
        part["column_names"] = [INTERRUPTS_OF if name in INTERRUPTS else EXIT, name]
    elif len(names) == 2 and names[0] in events:  # noqa: PLR2004 - event and field
        fields.add((names[0], names[1]))
    else:
        near = get_close_matches(names[0], events, n=1)
        raise ConditionError(
            f"{'.'.join(names)}: expected a column of the exit, or FIELD of an event that stands in needs",
            hint=f"nearest: {near[0]}" if near else "needs: " + (", ".join(sorted(events)) or "none"),
        )


def _with_counts(connection: StoreConnection, expression: dict[str, Any]) -> dict[str, Any]:
    """Return the expression in which no event counts as 0, not as null."""
    template = _tree(connection, f"SELECT coalesce(e.{COUNT}, 0)")["statements"][0]["node"]["select_list"][0]

    def counted(value: Any) -> Any:  # noqa: ANN401 - any part of a tree
        if isinstance(value, list):
            return [counted(part) for part in value]
        if not isinstance(value, dict):
            return value
        names = value.get("column_names")
        if value.get("class") == "COLUMN_REF" and names and names[0] not in {EXIT, INTERRUPTS_OF} and names[1] == COUNT:
            copy = json.loads(json.dumps(template))
            (reference,) = (part for part in nodes(copy) if part.get("class") == "COLUMN_REF")
            reference["column_names"] = names
            return {**copy, "alias": ""}
        return {key: counted(part) for key, part in value.items()}

    result: dict[str, Any] = counted(expression)
    return result
