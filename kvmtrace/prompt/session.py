"""The prompt: reads a statement, says what came of it, and goes on, until the user leaves."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from prompt_toolkit import PromptSession
from prompt_toolkit.application.current import get_app
from prompt_toolkit.filters import Condition
from prompt_toolkit.lexers import PygmentsLexer
from pygments.lexers.sql import SqlLexer

from kvmtrace.errors import KvmtraceError
from kvmtrace.prompt import backslash, history, pager, statements
from kvmtrace.prompt.completion import StoreCompleter
from kvmtrace.report.printable import printable
from kvmtrace.report.tables import TableFormat, render

if TYPE_CHECKING:
    from kvmtrace.api.store import Store

ROWS = 10_000
VALUES = 100_000
"""More of a result is not fetched: nobody pages through it, and to lay it out takes seconds."""

_PROMPT = "kvmtrace> "
_FURTHER = "     ...> "


def run(store: Store, table_format: TableFormat = TableFormat.TEXT) -> None:
    """Prompt for statements on the terminal until the user leaves."""
    runs = len(store.connection.catalogue.manifests())
    _say(f"{store.path}: {runs:,} {'run' if runs == 1 else 'runs'}. Statements end with ;  \\? for help, \\q to leave")
    session: PromptSession[str] = PromptSession(
        _PROMPT,
        prompt_continuation=_FURTHER,
        multiline=Condition(lambda: not statements.is_whole(get_app().current_buffer.text)),
        completer=StoreCompleter(store),
        history=history.opened(),
        lexer=PygmentsLexer(SqlLexer),
    )
    while True:
        try:
            text = session.prompt().strip()
        except KeyboardInterrupt:  # drops what is typed
            continue
        except EOFError:
            return
        try:
            if text:
                _answer(store, text, table_format)
        except backslash.LeavePrompt:
            return
        except KeyboardInterrupt:
            _say("interrupted")
        except KvmtraceError as error:
            _say(f"error: {error.message}")
            if error.hint:
                _say(f"hint: {error.hint}")


def _answer(store: Store, text: str, table_format: TableFormat) -> None:
    """Run what was typed and show it. KvmtraceError: it cannot be run. KeyboardInterrupt: the user stopped it."""
    command = statements.command(text)
    if command is not None:
        pager.show(render(backslash.answer(store, command, lambda chosen: _say(f"note: {chosen}")), table_format))
        return
    for statement in statements.each(text):
        result, more = store.connection.first(statement, ROWS, VALUES)
        shown = render(result, table_format)
        if table_format is TableFormat.TEXT:
            shown += f"({_count(len(result.rows), more=more)})\n"
        elif more:
            _say(f"note: {_count(len(result.rows), more=True)}")
        pager.show(shown)


def _count(rows: int, *, more: bool) -> str:
    if more:
        return f"the first {rows:,} rows; there are more: LIMIT, WHERE or an aggregate makes fewer of them"
    return f"{rows:,} {'row' if rows == 1 else 'rows'}"


def _say(text: str) -> None:
    sys.stderr.write(printable(text) + "\n")
    sys.stderr.flush()
