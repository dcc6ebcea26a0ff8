"""`kvmtrace check`: holds what changed between two sides to a file of budgets, for CI."""

import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kvmtrace.commands.options import ForceOption
from kvmtrace.commands.output import check_output, say, stop_writing, terminal_width, write_output
from kvmtrace.commands.stored import tell
from kvmtrace.errors import CheckFailedError, ExitCode, KvmtraceError, StoreError, UndecidedError, UsageError
from kvmtrace.store.manifest import FOLDER_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kvmtrace.budget.decisions import Checked
    from kvmtrace.ingesting import Ingested


def check(
    base: Annotated[
        list[str],
        typer.Argument(
            metavar="BASE...",
            help="Before: recordings, folders or archives of them, or runs of a store (KEY=VALUE: all).",
        ),
    ],
    against: Annotated[list[str], typer.Option("--against", metavar="NEW", help="After: the same; repeatable.")],
    budget: Annotated[Path, typer.Option("--budget", metavar="FILE", help="What is to be held to which limit (TOML).")],
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write a test for each budget as JUnit XML.")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", help="Append a summary, to $GITHUB_STEP_SUMMARY say.")
    ] = None,
    github: Annotated[bool, typer.Option("--github", help="Print annotations for GitHub, too.")] = False,
    store: Annotated[
        Path | None,
        typer.Option(
            "--store",
            metavar="DIR",
            envvar=FOLDER_VARIABLE,
            help="Folder of the store; without it recordings go into one that is removed in the end.",
        ),
    ] = None,
    force: ForceOption = False,
) -> None:
    """Hold what changed to budgets: exit 0 within, 1 over, 4 not decided by what was recorded, 3 bad input."""
    _check_outputs(junit, markdown, force=force)
    _check_apart({"--junit": junit, "--markdown": markdown}, [*base, *against], budget)
    start = time.monotonic()
    try:
        checked = _checked(base, against, budget, store)
    except KvmtraceError as error:
        if error.exit_code is ExitCode.BAD_INPUT:
            _tell_bad_input(error, budget, junit, markdown, github=github, force=force, start=start)
        raise
    try:
        _write(checked, junit, markdown, force=force, start=start)
    finally:  # where one of them cannot be written, the other still tells the result
        _print(checked, github=github)
    from kvmtrace.report import budget as words

    match checked.exit_code:
        case ExitCode.CHECK_FAILED:
            raise CheckFailedError(words.headline(checked))
        case ExitCode.UNDECIDED:
            hint = 'record more, or allow it: undecided = "pass" in the budget file'
            raise UndecidedError(words.headline(checked), hint=hint)


def _checked(base: "Sequence[str]", new: "Sequence[str]", budget: Path, store: Path | None) -> "Checked":
    from kvmtrace.api.actions import check as checked

    unreadable = partial(say, kind="warning")
    return checked(base, new, budget=budget, store=store, stored=_told, said=say, warn=unreadable).checked


def _told(run: "Ingested", file: str) -> None:
    tell(run, file)


def _write(checked: "Checked", junit: Path | None, markdown: Path | None, *, force: bool, start: float) -> None:
    """Write the files that are asked for. StoreError: one cannot be written."""
    from kvmtrace.report import budget as words

    if junit is not None:
        from kvmtrace.report import junit as xml

        write_output(xml.to_xml(checked, time.monotonic() - start), junit, force=force)
    if markdown is not None:
        from kvmtrace.report import markdown as layout

        _append(layout.lay_out(words.document(checked)), markdown)


def _print(checked: "Checked", *, github: bool) -> None:
    """Write the result to standard output. A reader who has seen enough does not change the exit code."""
    from kvmtrace.report import budget as words
    from kvmtrace.report import text

    width = terminal_width()
    try:
        sys.stdout.write(text.lay_out(words.document(checked), terminal_width=width))
        if github:
            sys.stdout.writelines(f"{line}\n" for line in words.github_commands(checked))
        sys.stdout.flush()
    except BrokenPipeError:
        stop_writing()


def _check_outputs(junit: Path | None, markdown: Path | None, *, force: bool) -> None:
    """UsageError: what is to be written cannot be, which is better known before the work than after it."""
    check_output(junit, force=force)
    for path, option in ((junit, "--junit"), (markdown, "--markdown")):
        if path is not None and not path.parent.is_dir():
            raise UsageError(f"{option} {path}: there is no folder {path.parent}")


def _check_apart(outputs: "Mapping[str, Path | None]", inputs: "Sequence[str]", budget: Path) -> None:
    """UsageError: a file to write is one to read, or the other to write."""
    from kvmtrace.artifacts import is_artifact

    taken = {os.path.realpath(name): name for name in inputs if is_artifact(name)}
    taken[os.path.realpath(budget)] = f"--budget {budget}"
    for option, path in outputs.items():
        if path is None or (path.exists() and not path.is_file()):  # a device or a pipe keeps nothing
            continue
        place = os.path.realpath(path)
        if place in taken:
            raise UsageError(f"{option} {path}: the same file as {taken[place]}")
        taken[place] = f"{option} {path}"


def _tell_bad_input(
    error: KvmtraceError,
    budget: Path,
    junit: Path | None,
    markdown: Path | None,
    *,
    github: bool,
    force: bool,
    start: float,
) -> None:
    """Say in each place where somebody looks for the result that there is none."""
    from kvmtrace.report import budget as words

    if junit is not None:
        from kvmtrace.report import junit as xml

        write_output(xml.of_bad_input(error.message, str(budget), time.monotonic() - start), junit, force=force)
    if markdown is not None:
        from kvmtrace.report import markdown as layout

        _append(layout.lay_out(words.of_bad_input(error.message, error.hint)), markdown)
    if github:
        sys.stdout.write(words.command("error", error.message, {"title": "kvmtrace check"}) + "\n")


def _append(text: str, path: Path) -> None:
    """Add text to a file that others write to as well. StoreError: it cannot be written."""
    try:
        with path.open("a", encoding="utf-8", newline="") as file:
            file.write(text + "\n")
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from None
