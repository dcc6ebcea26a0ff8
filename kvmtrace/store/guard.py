"""Says what a statement would do before it runs: one SELECT passes, and nothing that writes or reads other files.

DuckDB's settings keep SQL out of other folders, but they do not protect the store itself, and the kind of a statement
does not tell either: `WITH a AS (COPY … TO 'file') FROM a` is a SELECT. So the parsed statement is looked through.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import duckdb

from kvmtrace.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

_ALLOWED = "SQL reads the store: one SELECT, DESCRIBE, SUMMARIZE or SHOW, or EXPLAIN of one"
_QUERY_NODES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
_TABLE_FUNCTIONS = frozenset({"generate_series", "json_each", "json_tree", "range", "repeat", "repeat_row", "unnest"})
_SYSTEM_SCHEMA = "information_schema"


@dataclass(slots=True)
class Statement:
    """A statement that may run."""

    sql: str
    parsed: duckdb.Statement
    explained: bool = False
    ordered: bool = False  # the outermost SELECT has an ORDER BY
    lists_tables: bool = False  # SHOW TABLES, information_schema
    tables: set[str] = field(default_factory=set)  # that it names, as it writes them
    own_tables: set[str] = field(default_factory=set)  # that it defines itself (WITH)

    @property
    def parameters(self) -> set[str]:
        """Names of its `$name` parameters."""
        return set(self.parsed.named_parameters)


def checked(connection: duckdb.DuckDBPyConnection, sql: str) -> Statement:
    """Return the only statement of `sql`. UsageError: it is not one, or it may not run."""
    parsed = _only_statement(sql)
    if parsed.type == duckdb.StatementType.EXPLAIN:
        statement = checked(connection, _explained(sql))
        statement.explained = True
        # What runs is put together from what was checked.
        statement.parsed = _only_statement(("EXPLAIN ANALYZE " if _analyzes(sql) else "EXPLAIN ") + statement.sql)
        return statement
    if parsed.type != duckdb.StatementType.SELECT:
        raise _refused(_kind(parsed))
    statement = Statement(sql, parsed)
    for node in nodes(_syntax_tree(connection, sql)):
        _look_at(node, statement)
    return statement


def _only_statement(sql: str) -> duckdb.Statement:
    try:
        sql.encode()
        statements = duckdb.extract_statements(sql)
    except UnicodeEncodeError as error:
        raise UsageError(f"SQL: expected characters of Unicode, found {sql[error.start]!r}") from None
    except duckdb.Error as error:
        raise sql_error(error) from None
    if len(statements) != 1:
        raise UsageError(f"expected one SQL statement, found {len(statements) or 'none'}", hint=_ALLOWED)
    return statements[0]


def _kind(parsed: duckdb.Statement) -> str:
    if parsed.type == duckdb.StatementType.MULTI:
        return "PIVOT without IN (…)"
    return str(parsed.type.name).replace("_", " ")


def _refused(what: str) -> UsageError:
    return UsageError(f"{what} is refused", hint=_ALLOWED)


def _words(sql: str) -> list[int]:
    """Return the byte offsets of the statement's tokens, without comments."""
    return [offset for offset, kind in duckdb.tokenize(sql) if kind != duckdb.token_type.comment]


def _analyzes(sql: str) -> bool:
    second = sql.encode()[_words(sql)[1] :]
    return second[:7].upper() == b"ANALYZE"


def _explained(sql: str) -> str:
    """Return what an EXPLAIN explains."""
    words = _words(sql)
    return sql.encode()[words[2 if _analyzes(sql) else 1] :].decode()


def _syntax_tree(connection: duckdb.DuckDBPyConnection, sql: str) -> dict[str, Any]:
    # To its end: DuckDB refuses another statement beside one that is not fetched whole.
    rows = connection.execute("SELECT json_serialize_sql($sql)", {"sql": sql}).fetchall()
    try:
        tree: dict[str, Any] = json.loads(rows[0][0]) if rows else {"error": True}
    except RecursionError:
        raise UsageError("the SQL statement is nested too deeply to be checked") from None
    if tree["error"]:
        raise _refused("a statement that cannot be looked through")
    return tree


def nodes(tree: object) -> Iterator[dict[str, Any]]:
    """Return every object of a syntax tree as JSON has it."""
    waiting: list[Any] = [tree]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def _look_at(node: dict[str, Any], statement: Statement) -> None:
    kind = node.get("type")
    if isinstance(kind, str) and kind.endswith("_NODE") and kind not in _QUERY_NODES:
        raise _refused(kind.removesuffix("_NODE").removesuffix("_QUERY"))
    if kind == "BASE_TABLE":
        _look_at_table(node, statement)
    elif kind == "TABLE_FUNCTION":
        function = node["function"]["function_name"].lower()
        if function not in _TABLE_FUNCTIONS:
            raise _refused(f"the table function {function}")
    elif kind == "SHOW_REF" and node["query"] is None:
        if node["show_type"] == "SHOW":
            statement.tables.add(node["table_name"].strip('"'))
        else:
            statement.lists_tables = True
    if "cte_map" in node:
        statement.own_tables.update(entry["key"] for entry in node["cte_map"]["map"])
    if "statements" in node:
        modifiers = node["statements"][0]["node"]["modifiers"]
        statement.ordered = any(modifier["type"] == "ORDER_MODIFIER" for modifier in modifiers)


def _look_at_table(node: dict[str, Any], statement: Statement) -> None:
    schema, table = node["schema_name"].lower(), node["table_name"]
    if schema == _SYSTEM_SCHEMA:
        statement.lists_tables = True
    elif schema in {"", "main"}:
        statement.tables.add(table)
    else:
        raise UsageError(f"no schema {schema!r} in the store", hint="tables of the store are in no schema")


def sql_error(error: duckdb.Error) -> UsageError:
    """Return what DuckDB says of a statement as one line, with the place in the statement as the hint."""
    text, _, place = str(error).partition("\n\n")
    line, _, advice = text.partition("\n")
    line = line.removeprefix("Invalid Input Error: ")
    place = place.partition("\n")[0]
    return UsageError(line, hint="; ".join(part for part in (advice.replace("\n", "; "), place) if part) or None)
