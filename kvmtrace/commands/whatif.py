"""`kvmtrace whatif`: what models would bring, applied to the exits of a recording."""

from typing import TYPE_CHECKING, Annotated

import typer

from kvmtrace.commands.options import DEFAULT_STORE, ForceOption, FormatOption, OutputOption, StoreOption
from kvmtrace.commands.output import can_write, check_output, say, write_output
from kvmtrace.commands.stored import opened
from kvmtrace.report.tables import TableFormat, render

if TYPE_CHECKING:
    from kvmtrace.api.whatif import WhatIfResult

_OWN_SIGNS = "µ±"


def whatif(
    run: Annotated[
        str | None, typer.Argument(metavar="RUN", help="Id or its beginning, label, or source; none: the latest run.")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", metavar="NAME", help="Model, or a .toml of yours; repeatable [default: rank them all]."
        ),
    ] = None,
    table_format: FormatOption = TableFormat.TEXT,
    output: OutputOption = None,
    force: ForceOption = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Say what an optimisation would bring: apply a model's effect to the exits of a recording."""
    from kvmtrace.synth import model_file

    check_output(output, force=force)
    for name in model or ():  # a mistyped one is said before the run
        model_file.find(name)
    with opened(store) as store_at_hand:
        if run is None:
            latest = store_at_hand.manifest()
            say(f"run {latest.run_id} ({latest.source.title}), the latest")
        written = _written(store_at_hand.whatif(run, model=model or None), table_format)
    if output is None and not can_write(_OWN_SIGNS):
        from kvmtrace.report.printable import ascii_only

        written = ascii_only(written)
    write_output(written, output, force=force)


def _written(found: "WhatIfResult", table_format: TableFormat) -> str:
    match table_format:
        case TableFormat.CSV:
            from kvmtrace.report import whatif_tables

            for each in found.refused:
                say(f"{each.model}: {each.why}")
            return render(whatif_tables.raw_changes(found.predictions), table_format)
        case TableFormat.JSON:
            return found.to_json()
        case TableFormat.MARKDOWN:
            return found.to_markdown()
        case TableFormat.TEXT:
            return found.to_text()
