"""`kvmtrace formats`: lists what `kvmtrace ingest` reads."""

from kvmtrace.commands.options import ForceOption, FormatOption, OutputOption
from kvmtrace.commands.output import write_output
from kvmtrace.report.tables import TableFormat, render


def formats(
    table_format: FormatOption = TableFormat.TEXT, output: OutputOption = None, force: ForceOption = False
) -> None:
    """List the formats that are read, with a command that makes a file of each."""
    from kvmtrace.formats import detect
    from kvmtrace.store.connection import Result

    rows = [(each.name, each.what, each.example) for each in detect.formats()]
    result = Result(["format", "what", "example"], ["VARCHAR"] * 3, rows)
    write_output(render(result, table_format), output, force=force)
