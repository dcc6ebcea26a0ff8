"""`kvmtrace whatif`: what models would bring, applied to the exits of a recording."""

from typing import TYPE_CHECKING, Annotated

import typer

from kvmtrace.commands.options import DEFAULT_STORE, ForceOption, FormatOption, OutputOption, StoreOption
from kvmtrace.commands.output import can_write, check_output, say, warn, write_output
from kvmtrace.report.tables import TableFormat, render

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmtrace.report.models import Section
    from kvmtrace.whatif.result import Prediction, Refused

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
    from kvmtrace.store.connection import StoreConnection
    from kvmtrace.synth import model_file

    check_output(output, force=force)
    models = [model_file.find(name) for name in dict.fromkeys(model or model_file.names())]
    with StoreConnection(store) as connection:
        catalogue = connection.catalogue
        warn(catalogue.warnings)
        manifest = catalogue.latest() if run is None else catalogue.resolve(run)
        if run is None:
            say(f"run {manifest.run_id} ({manifest.source.title}), the latest")
        if model:
            from kvmtrace.report.whatif import predicted
            from kvmtrace.whatif.prediction import predict

            prediction = predict(connection, manifest, models)
            told = [prediction] if prediction.models else []
            written = _written(told, prediction.refused, predicted(prediction), table_format)
        else:
            from kvmtrace.report.whatif import ranked
            from kvmtrace.whatif.ranking import rank

            ranking = rank(connection, manifest, models)
            written = _written(ranking.predictions, ranking.refused, ranked(ranking), table_format)
    if output is None and not can_write(_OWN_SIGNS):
        from kvmtrace.report.printable import ascii_only

        written = ascii_only(written)
    write_output(written, output, force=force)


def _written(
    predictions: "Sequence[Prediction]",
    refused: "Sequence[Refused]",
    sections: "Sequence[Section]",
    table_format: TableFormat,
) -> str:
    from kvmtrace.report import whatif as words
    from kvmtrace.report import whatif_tables

    match table_format:
        case TableFormat.CSV:
            for each in refused:
                say(f"{each.model}: {each.why}")
            return render(whatif_tables.raw_changes(predictions), table_format)
        case TableFormat.JSON:
            return whatif_tables.to_json(predictions, refused)
        case TableFormat.MARKDOWN:
            return words.markdown(sections)
        case TableFormat.TEXT:
            return words.text(sections)
