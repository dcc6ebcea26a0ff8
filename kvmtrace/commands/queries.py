"""`kvmtrace queries`: lists the queries that `kvmtrace query` runs."""

from kvmtrace.commands.options import ForceOption, FormatOption, OutputOption
from kvmtrace.commands.output import write_output
from kvmtrace.query_file import Parameter
from kvmtrace.report.tables import TableFormat, render


def queries(
    table_format: FormatOption = TableFormat.TEXT, output: OutputOption = None, force: ForceOption = False
) -> None:
    """List the queries, their parameters and what they are for."""
    from kvmtrace import queries as library
    from kvmtrace.store.connection import Result

    rows = [
        (query.name, ", ".join(map(_described, query.parameters)), ", ".join(query.requires), query.purpose)
        for query in library.catalogue()
    ]
    result = Result(["query", "parameters", "requires", "purpose"], ["VARCHAR"] * 4, rows)
    write_output(render(result, table_format), output, force=force)


def _described(parameter: Parameter) -> str:
    return parameter.name if parameter.default is None else f"{parameter.name}={parameter.default}"
