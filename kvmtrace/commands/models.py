"""`kvmtrace models`: lists the models, shows one, and holds it to its published figures."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kvmtrace.commands.options import ForceOption, FormatOption, OutputOption
from kvmtrace.commands.output import check_output, write_output
from kvmtrace.errors import CheckFailedError, UsageError
from kvmtrace.report.tables import TableFormat, render

if TYPE_CHECKING:
    from kvmtrace.store.connection import Result
    from kvmtrace.synth.model_file import Model


def models(
    name: Annotated[str, typer.Argument(help="Model to show, or a file of yours that ends in .toml.")] = "",
    check: Annotated[bool, typer.Option("--check", help="Run the model and compare it with its source.")] = False,
    seeds: Annotated[int, typer.Option("--seeds", metavar="N", min=1, help="Seeds that --check runs: 1 to N.")] = 1,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --check: draw published beside modelled (.png, .svg).")
    ] = None,
    table_format: FormatOption = TableFormat.TEXT,
    output: OutputOption = None,
    force: ForceOption = False,
) -> None:
    """List the models, or show one: its source, variants, figures and tolerances, and what is assumed.

    As CSV, a model is the table of its figures.
    """
    from kvmtrace import model_check
    from kvmtrace.report import models as words
    from kvmtrace.synth import model_file

    check_output(output, force=force)
    check_output(plot, force=force)
    if plot is not None and not check:
        raise UsageError("--plot needs --check: it draws what the model gives")
    if check and not name:
        raise UsageError("--check needs the name of a model", hint="`kvmtrace models` lists them")
    if not name:
        write_output(_listed(table_format), output, force=force)
        return
    model = model_file.find(name)
    if check and not model.header.published:
        raise UsageError(f"{model.name} has no [[published]] figures that --check could hold it to")
    checked = model_check.check(model, range(1, seeds + 1)) if check else []
    figures = model_check.table(model, checked) if check else words.figure_table(model)
    if plot is not None:
        from kvmtrace.report import model_figure

        model_figure.save(f"{model.name}, {words.seeds_in_words(seeds)}", figures, plot, force=force)
    write_output(_shown(model, figures, table_format), output, force=force)
    failed = [each.figure.name for each in checked if each.fails]
    if failed:
        raise CheckFailedError(f"{model.name} is not within the tolerance: {', '.join(failed)}")


def _listed(table_format: TableFormat) -> str:
    from kvmtrace.report import models as words
    from kvmtrace.synth import model_file

    return render(words.listed(map(model_file.find, model_file.names())), table_format)


def _shown(model: "Model", figures: "Result", table_format: TableFormat) -> str:
    from kvmtrace.report import models as words

    match table_format:
        case TableFormat.CSV:
            return render(figures, table_format)
        case TableFormat.JSON:
            return words.as_json(model, figures)
        case TableFormat.MARKDOWN:
            return words.as_markdown(words.described(model, figures))
        case TableFormat.TEXT:
            return words.as_text(words.described(model, figures))
