"""`kvmtrace sql`: runs a statement of the user's own."""

import sys
from typing import Annotated

import typer

from kvmtrace.commands.options import DEFAULT_STORE, ForceOption, FormatOption, OutputOption, StoreOption
from kvmtrace.commands.output import check_output, write_output
from kvmtrace.commands.stored import opened
from kvmtrace.errors import UsageError
from kvmtrace.report.tables import TableFormat, render


def sql(
    query: Annotated[
        str | None,
        typer.Argument(help="One SELECT, DESCRIBE, SUMMARIZE, SHOW or EXPLAIN; else standard input, or a prompt."),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    table_format: FormatOption = TableFormat.TEXT,
    output: OutputOption = None,
    force: ForceOption = False,
) -> None:
    """Run SQL over the store.

    SQL can read the store and not change it. SHOW TABLES lists the tables. On a terminal, and without a query, it is
    a prompt.
    """
    check_output(output, force=force)
    if query is None and output is None and sys.stdin.isatty() and sys.stdout.isatty():
        from kvmtrace.prompt.session import run

        with opened(store) as store_at_hand:
            run(store_at_hand, table_format)
        return
    statement = _standard_input() if query is None else query
    with opened(store) as store_at_hand:
        write_output(render(store_at_hand.connection.query(statement), table_format), output, force=force)


def _standard_input() -> str:
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"standard input: expected SQL in UTF-8, found {error}") from None
