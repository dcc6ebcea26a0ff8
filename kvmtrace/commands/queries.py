"""`kvmtrace queries`: lists the queries that `kvmtrace query` runs."""

from kvmtrace.commands.options import ForceOption, FormatOption, OutputOption
from kvmtrace.commands.output import write_output
from kvmtrace.report.tables import TableFormat, render


def queries(
    table_format: FormatOption = TableFormat.TEXT, output: OutputOption = None, force: ForceOption = False
) -> None:
    """List the queries, their parameters and what they are for."""
    from kvmtrace.report.query_list import listed

    write_output(render(listed(), table_format), output, force=force)
