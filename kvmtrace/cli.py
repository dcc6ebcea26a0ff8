"""The `kvmtrace` program: its commands, and what it says and returns when they fail."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer
from typer.exceptions import TyperException

from kvmtrace.commands import (
    check,
    compare,
    export,
    formats,
    generate,
    ingest,
    models,
    queries,
    query,
    record,
    report,
    runs,
    sql,
    watch,
    whatif,
)
from kvmtrace.commands.output import stop_writing
from kvmtrace.errors import ExitCode, KvmtraceError
from kvmtrace.report.printable import printable
from kvmtrace.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

app = typer.Typer(
    name="kvmtrace",
    help="Answers from recordings of KVM events: which VM exits, how many, how long, what changed.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"kvmtrace {__version__}\n")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Take the options of the program itself."""


app.command("record", context_settings=record.CONTEXT)(record.record)
app.command("ingest")(ingest.ingest)
app.command("watch", cls=watch.WatchCommand)(watch.watch)
app.command("formats")(formats.formats)
app.command("generate")(generate.generate)
app.command("models")(models.models)
app.command("report")(report.report)
app.command("compare")(compare.compare)
app.command("check")(check.check)
app.command("whatif")(whatif.whatif)
app.command("export")(export.export)
app.command("queries")(queries.queries)
app.command("query")(query.query)
app.command("sql")(sql.sql)
app.add_typer(runs.app, name="runs")


def main() -> None:
    """Run the program with the arguments of this process, and end the process with its exit code."""
    for stream in (sys.stdout, sys.stderr):  # a terminal that cannot show a character is no reason to fail
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run the program and return its exit code; errors are one plain line each on standard error."""
    try:
        code = app(list(arguments), prog_name="kvmtrace", standalone_mode=False)
        sys.stdout.flush()
    except KvmtraceError as error:
        return _fail(error.message, error.hint, error.exit_code)
    except TyperException as error:
        return _fail_usage(error)
    except (KeyboardInterrupt, typer.Abort):
        code = ExitCode.INTERRUPTED
    except (BrokenPipeError, SystemExit):  # typer makes the one into the other
        stop_writing()
        return ExitCode.OK
    except OSError as error:  # standard output: what is ours to open has errors of its own
        return _fail(f"cannot be written: {error.strerror or error}", None, ExitCode.BAD_INPUT)
    if code == ExitCode.INTERRUPTED:  # some versions of typer return it, others raise
        return _fail("interrupted", None, ExitCode.INTERRUPTED)
    return code if isinstance(code, int) else ExitCode.OK


def _fail(message: str, hint: str | None, code: ExitCode) -> ExitCode:
    sys.stderr.write(f"kvmtrace: error: {printable(message)}\n")
    if hint:
        sys.stderr.write(f"hint: {printable(hint)}\n")
    return code


def _fail_usage(error: TyperException) -> ExitCode:
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        sys.stderr.write(error.format_message() + "\n")
        return ExitCode.USAGE
    path = context.command_path if context else "kvmtrace"
    message = " ".join(error.format_message().split()).replace(
        "Value error, ", ""
    )  # of the library that checks options
    return _fail(message[:1].lower() + message[1:].rstrip("."), f"{path} --help", ExitCode.USAGE)
