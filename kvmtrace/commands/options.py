"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

from kvmtrace.errors import UsageError
from kvmtrace.report.tables import ReportFormat, TableFormat
from kvmtrace.store.manifest import DEFAULT_FOLDER, FOLDER_VARIABLE

DEFAULT_STORE = Path(DEFAULT_FOLDER)

StoreOption = Annotated[
    Path, typer.Option("--store", metavar="DIR", envvar=FOLDER_VARIABLE, help="Folder of the store.")
]
FormatOption = Annotated[TableFormat, typer.Option("--format", help="How the table is written.")]
ReportFormatOption = Annotated[ReportFormat, typer.Option("--format", help="How the report is written.")]
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to FILE, not to standard output.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite FILE.")]
BufferOption = Annotated[
    int | None,
    typer.Option("--buffer", metavar="MIB", min=1, max=1024, help="Room for events on each CPU, a power of two."),
]
TagOption = Annotated[list[str] | None, typer.Option("--tag", metavar="K=V", help="Tag of the run; repeatable.")]


def pairs(texts: list[str] | None, option: str) -> dict[str, str]:
    """Return the key=value pairs of a repeatable option. UsageError: one is not such a pair, or a key comes twice."""
    found: dict[str, str] = {}
    for text in texts or []:
        key, equals, value = text.partition("=")
        if not key or not equals or key in found:
            raise UsageError(f"{option}: expected KEY=VALUE with each key once, found {text!r}")
        found[key] = value
    return found
