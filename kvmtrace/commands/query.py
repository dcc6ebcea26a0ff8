"""`kvmtrace query`: runs one of the queries in queries/, or a file like them."""

from typing import Annotated

import typer

from kvmtrace.commands.options import (
    DEFAULT_STORE,
    ForceOption,
    FormatOption,
    OutputOption,
    StoreOption,
    pairs,
)
from kvmtrace.commands.output import check_output, say, write_output
from kvmtrace.commands.stored import opened
from kvmtrace.report.tables import TableFormat, render


def query(
    name: Annotated[str, typer.Argument(help="Name of a query (`kvmtrace queries`), or a file that ends in .sql.")],
    parameter: Annotated[
        list[str] | None, typer.Option("-p", "--parameter", metavar="K=V", help="Value of a parameter; repeatable.")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    table_format: FormatOption = TableFormat.TEXT,
    output: OutputOption = None,
    force: ForceOption = False,
) -> None:
    """Run a query of the library.

    run_id is the latest run where it is not given.
    """
    from kvmtrace import queries

    check_output(output, force=force)
    loaded = queries.load(name)
    with opened(store) as store_at_hand:
        connection = store_at_hand.connection
        binding = queries.bind(connection, loaded, pairs(parameter, "-p"))
        for chosen in binding.chosen:
            say(chosen)
        write_output(render(queries.execute(connection, loaded, binding), table_format), output, force=force)
