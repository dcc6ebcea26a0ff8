"""`kvmtrace record`: records KVM's events while a command runs, into the store."""

from __future__ import annotations

import os
import shlex
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from kvmtrace.commands.options import DEFAULT_STORE, BufferOption, StoreOption, TagOption, pairs
from kvmtrace.commands.output import can_write, say, terminal_width, warn, write_output
from kvmtrace.commands.stored import tell
from kvmtrace.errors import CheckFailedError, UsageError
from kvmtrace.recorder.purposes import Purpose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmtrace.comparing.denominators import Denominator
    from kvmtrace.recorder.host_files import HostFiles
    from kvmtrace.recorder.plan import Plan
    from kvmtrace.recorder.series import Commanded, Done, Series
    from kvmtrace.store.catalogue import Catalogue

CONTEXT = {"allow_interspersed_args": False}
"""Of the command line: what stands behind the first word that is no option belongs to COMMAND."""
_PER = "run"
"""A program that is run twice does its work twice, however long that takes."""


class Program(StrEnum):
    """What records."""

    PERF = "perf"
    TRACE_CMD = "trace-cmd"


def record(
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="COMMAND", help="What to record, run as it is; none: until Ctrl-C."),
    ] = None,
    label: Annotated[
        str | None, typer.Option("--label", help="Name for the run; of several, what their names begin with.")
    ] = None,
    tag: TagOption = None,
    repeat: Annotated[int, typer.Option("--repeat", metavar="N", min=1, help="Record N times.")] = 1,
    vm: Annotated[
        str | None, typer.Option("--vm", metavar="PID", help="Record one VM alone: its VMM's process, or its name.")
    ] = None,
    purpose: Annotated[Purpose, typer.Option("--for", help="What the recording is for.")] = Purpose.EXITS,
    program: Annotated[Program, typer.Option("--with", help="What records.")] = Program.PERF,
    buffer: BufferOption = None,
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="LABEL",
            help="Behind COMMAND: `--against LABEL -- COMMAND_B` records both in turn and compares them.",
        ),
    ] = None,
    per: Annotated[
        str, typer.Option("--per", metavar="WHAT", help="What the comparison divides by, as in `kvmtrace compare`.")
    ] = _PER,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be run, as a line for a shell, and do nothing.")
    ] = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Record KVM's events while COMMAND runs, and store the run with the settings of the host."""
    from kvmtrace.comparing.denominators import denominator
    from kvmtrace.recorder.host_files import HostFiles
    from kvmtrace.recorder.series import Series, commanded, lacks_dashes
    from kvmtrace.recorder.session import Session
    from kvmtrace.store.label import Label
    from kvmtrace.store.writer import check_writable

    if against is not None:
        form = "kvmtrace record --label before -- COMMAND --against after -- COMMAND_B"
        raise UsageError("--against stands behind the command that it is against", hint=form)
    compared_per = denominator(per)
    sides = commanded(command or [], label, repeat)
    tags = pairs(tag, "--tag")
    for side in sides:
        Label(side.label, tags).check()
    if lacks_dashes(command or []):
        say(f"--against is a word of {sides[0].words[0]} here; as ours it is: --against LABEL -- COMMAND_B")
    files = HostFiles()
    planned = _planned(purpose, program, vm, files).with_buffer(buffer)
    if dry_run:
        _print(planned, program, sides)
        return
    _check_rights(program, files)
    check_writable(store)
    facts = {"purpose": purpose, "recorder": _version(program)}
    session = Session(planned, store, files, program is Program.TRACE_CMD)
    outcome = _Outcome(planned, sides, ("--per", per))
    outcome.of(Series(session, sides, repeat, tags, facts), compared_per)


def _planned(purpose: Purpose, program: Program, vm: str | None, files: HostFiles) -> Plan:
    """Return what is recorded. RecordingError: no tracepoints can be seen. UsageError: there is no such VM."""
    from kvmtrace.recorder.plan import plan
    from kvmtrace.recorder.rights import check_program, check_tracepoints, find_vm

    check_program(program)
    check_tracepoints(files)
    return plan(purpose, os.uname().machine, files, None if vm is None else find_vm(vm, files))


def _check_rights(program: Program, files: HostFiles) -> None:
    from kvmtrace.recorder import rights

    if program is Program.PERF:
        rights.check_perf_rights(files)
    else:
        rights.check_tracefs_rights(files)


def _print(planned: Plan, program: Program, sides: Sequence[Commanded]) -> None:
    """Print what records each command, with the command as the recorder's own child."""
    from kvmtrace.recorder.perf import perf_arguments, shell_line
    from kvmtrace.recorder.trace_cmd import trace_cmd_arguments

    for side in sides:
        arguments = (
            perf_arguments(planned, output="perf.data", command=side.words)
            if program is Program.PERF
            else trace_cmd_arguments(planned, "trace.dat", side.words)
        )
        sys.stdout.write(shell_line(arguments) + "\n")


def _version(program: Program) -> str | None:
    """Return what a program says of itself in its first line."""
    import subprocess

    option = "--version" if program is Program.PERF else "-v"
    said = subprocess.run([program, option], capture_output=True, text=True, check=False).stdout  # noqa: S603 - one of two names
    return next((line.strip() for line in said.splitlines() if line.strip()), None)


class _Outcome:
    """What became of a series, told while it goes on."""

    def __init__(self, planned: Plan, sides: Sequence[Commanded], per: tuple[str, ...]) -> None:
        """Begin; `per`: the words by which a comparison was asked for."""
        self._plan = planned
        self._sides = sides
        self._per = per
        self._done: list[Done] = []
        self._warned: set[str] = set()

    def of(self, series: Series, per: Denominator) -> None:
        """Make the recordings, tell of each, and compare the sides where there are two.

        CheckFailedError: a command failed. KeyboardInterrupt: somebody stopped it.
        """
        from kvmtrace.recorder.session import Stop

        for note in self._plan.notes:
            say(note)
        if series.session.with_trace_cmd:
            say("trace-cmd writes a file first: it is read once the recording has ended")
        if not self._sides[0].words:
            say("recording until Ctrl-C")
        for label in series.taken:
            say(f"a run has the label {label} already: tell them apart by their ids; record={label} means all")
        stop = Stop()
        for done in series.run(stop):
            self._done.append(done)
            self._tell(done, series)
        if stop.asked and self._sides[0].words:
            raise KeyboardInterrupt
        if len(self._sides) > 1:
            self._compare(series, per)
        failed = sum(done.failed for done in self._done)
        if failed:
            raise CheckFailedError(
                f"{failed} of {len(self._done)} commands failed: the runs are kept, with the tag exit_code"
            )

    def _tell(self, done: Done, series: Series) -> None:
        from kvmtrace.recorder.shortfall import NO_ROOM, shortfalls

        recorded, side = done.recorded, self._sides[done.side]
        tell(recorded.run, recorded.run.manifest.source.title)
        if done.failed:
            say(f"{side.words[0]} ended with exit code {recorded.ended.exit_code}", "warning")
        if recorded.ended_early:
            say("the VM ended first" if self._plan.pids else "the recorder ended before it was told to", "warning")
        if recorded.trouble:
            say(f"the recorder failed: {recorded.trouble}", "warning")
        if recorded.was_full:
            say(NO_ROOM, "warning")
        lacking = list(shortfalls(recorded.run.manifest, self._plan, done.vms, series.session.files))
        warn(text for text in lacking if text not in self._warned)
        self._warned.update(lacking)

    def _compare(self, series: Series, per: Denominator) -> None:
        """Compare all recordings of the one command with all of the other, but for those whose command failed."""
        from kvmtrace.comparing.lines import Options
        from kvmtrace.comparing.request import Request, answer
        from kvmtrace.recorder.series import TAG
        from kvmtrace.report import comparison as words
        from kvmtrace.report import text
        from kvmtrace.store.connection import StoreConnection

        base, new = (
            tuple(done.recorded.run.manifest.run_id for done in self._done if done.side == side and not done.failed)
            for side in (0, 1)
        )
        if not (base and new):
            say("nothing is compared: all runs of one command failed", "warning")
            return
        if any(done.failed for done in self._done):
            say("runs whose command failed are not compared", "warning")
        with StoreConnection(series.session.store) as connection:
            comparison = answer(connection, Request(base, new, Options(per=per)))
        unicode = can_write("µ±\N{MULTIPLICATION SIGN}")
        laid_out = text.lay_out(words.document(comparison), terminal_width=terminal_width(), unicode=unicode)
        write_output(laid_out, None, force=False)
        bases, news = (
            _named(run_ids, f"{TAG}={side.label}", connection.catalogue)
            for run_ids, side in zip((base, new), self._sides, strict=True)
        )
        against = [word for each in news for word in ("--against", each)]
        store = [] if series.session.store == DEFAULT_STORE else ["--store", str(series.session.store)]
        say(f"again: {shlex.join(['kvmtrace', 'compare', *bases, *against, *self._per, *store])}")


def _named(run_ids: Sequence[str], tag: str, catalogue: Catalogue) -> Sequence[str]:
    """Return what names these runs and no others: their tag, unless earlier recordings have it, too."""
    tagged = {manifest.run_id for manifest in catalogue.tagged(tag)}
    return [tag] if tagged == set(run_ids) else run_ids
