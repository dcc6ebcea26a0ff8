r"""What a prompt does besides SQL: \d, \queries, \run and the others."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from kvmtrace import queries, schema
from kvmtrace.errors import UsageError
from kvmtrace.report.query_list import listed
from kvmtrace.store.connection import Result

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvmtrace.api.store import Store
    from kvmtrace.store.views import View

HELP = {
    "\\d": "the tables of the store",
    "\\d TABLE": "the columns of a table",
    "\\queries": "the queries of the library",
    "\\run NAME k=v …": "run a query of the library; without run_id of the latest run",
    "\\?": "this help",
    "\\q": "leave, as Ctrl-D, exit and quit do",
}
"""What each command does."""

_SQL_HELP = {
    "SELECT …;": "run statements, which end with ; and may have many lines",
    "Tab": "complete names of tables, columns and queries, and words of SQL",
    "Ctrl-C": "drop what is typed, or stop what runs",
}
_MANIFEST = "what the manifests of the runs say"


class LeavePrompt(Exception):  # noqa: N818 - no error
    """The user wants to go."""


def answer(store: Store, text: str, say: Callable[[str], None]) -> Result:
    """Return what a backslash command shows; `say` is told what was chosen for the user.

    UsageError: there is no such command, table, query or run. LeavePrompt: the prompt is to end.
    """
    try:
        name, *words = shlex.split(text[1:]) or [""]
    except ValueError as error:
        raise UsageError(f"{text}: {str(error).lower()}") from None
    match name, words:
        case "q", []:
            raise LeavePrompt
        case "?" | "h" | "help", []:
            return Result(["command", "what it does"], ["VARCHAR"] * 2, [*HELP.items(), *_SQL_HELP.items()])
        case "d", []:
            return _tables(store)
        case "d", [table]:
            return _columns(store, table)
        case "queries", []:
            return listed()
        case "run", [query, *given]:
            return _run(store, query, given, say)
    usage = [command for command in HELP if command.split()[0] == f"\\{name}"]
    if usage:
        raise UsageError(f"expected {' or '.join(usage)}, found {text}")
    raise UsageError(f"no command is called \\{name}", hint="\\? lists them")


def _tables(store: Store) -> Result:
    views = store.connection.views
    rows = [(view.name, len(views.columns(view)), _meaning(view)) for view in views.all()]
    return Result(["table", "columns", "what it is"], ["VARCHAR", "BIGINT", "VARCHAR"], rows)


def _meaning(view: View) -> str:
    if view.from_manifests:
        return _MANIFEST
    fixed = schema.TABLES.get(view.path)
    return fixed.meaning if fixed else "events of a tracepoint"


def _columns(store: Store, table: str) -> Result:
    connection = store.connection
    view = connection.views.find(table)
    if view is None:
        near = connection.views.near(table)
        raise UsageError(f"no table {table!r}", hint=f"nearest: {', '.join(near)}" if near else "\\d lists the tables")
    fixed = schema.TABLES.get(view.path)
    meanings = {column.name: column.meaning for column in (fixed.columns if fixed else schema.EVENT_COLUMNS)}
    rows = [(name, type_, meanings.get(name, "")) for name, type_ in connection.views.columns(view).items()]
    return Result(["column", "type", "meaning"], ["VARCHAR"] * 3, rows)


def _run(store: Store, name: str, given: list[str], say: Callable[[str], None]) -> Result:
    query = queries.load(name)
    parameters: dict[str, object] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or key in parameters:
            raise UsageError(f"expected NAME=VALUE with each name once, found {text!r}", hint="\\run NAME k=v …")
        parameters[key] = value
    binding = queries.bind(store.connection, query, parameters)
    for chosen in binding.chosen:
        say(chosen)
    return queries.execute(store.connection, query, binding)
