"""`kvmtrace runs`: lists, labels and removes runs."""

from pathlib import Path
from typing import Annotated

import typer

from kvmtrace.commands.options import (
    DEFAULT_STORE,
    ForceOption,
    FormatOption,
    OutputOption,
    StoreOption,
    TagOption,
    pairs,
)
from kvmtrace.commands.output import check_output, say, write_output
from kvmtrace.commands.stored import opened
from kvmtrace.report.tables import TableFormat, render

app = typer.Typer(help="List the runs of a store, label them, remove them.", rich_markup_mode=None)

OwnStoreOption = Annotated[
    Path | None, typer.Option("--store", metavar="DIR", help="Folder of the store.", show_default=False)
]

_LIST = """
SELECT
    run_id, label, source, part_label AS part, format, kernel, exits, elapsed_ns / 1e9 AS elapsed_s, lost_events,
    ingested_at
FROM runs
ORDER BY ingested_at, run_id
"""


@app.callback(invoke_without_command=True)
def runs(
    context: typer.Context,
    store: StoreOption = DEFAULT_STORE,
    table_format: FormatOption = TableFormat.TEXT,
    output: OutputOption = None,
    force: ForceOption = False,
) -> None:
    """List the runs of a store, the latest last; label and remove them."""
    if context.invoked_subcommand:
        context.obj = store
        return
    check_output(output, force=force)
    with opened(store) as store_at_hand:
        write_output(render(store_at_hand.connection.query(_LIST), table_format), output, force=force)


@app.command("rm")
def remove(
    context: typer.Context,
    run: Annotated[list[str], typer.Argument(help="Id or its beginning, label, or source.")],
    store: OwnStoreOption = None,
) -> None:
    """Remove runs from the store."""
    from kvmtrace.store.catalogue import Catalogue

    catalogue = Catalogue(store or context.obj)
    for run_id in dict.fromkeys([catalogue.find(text) for text in run]):
        catalogue.remove(run_id)
        say(f"run {run_id} is removed")


@app.command("label")
def label(
    context: typer.Context,
    run: Annotated[str, typer.Argument(help="Id or its beginning, label, or source.")],
    text: Annotated[str, typer.Argument(metavar="LABEL", help="New label; an empty one takes the label away.")],
    tag: TagOption = None,
    store: OwnStoreOption = None,
) -> None:
    """Give a run a label and tags; --tag K= takes a tag away."""
    from kvmtrace.store.catalogue import Catalogue
    from kvmtrace.store.label import Label

    catalogue = Catalogue(store or context.obj)
    run_id = catalogue.resolve(run).run_id
    tags = catalogue.label(run_id).tags | pairs(tag, "--tag")
    catalogue.set_label(run_id, Label(text or None, {key: value for key, value in tags.items() if value}))
