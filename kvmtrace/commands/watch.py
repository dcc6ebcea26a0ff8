"""`kvmtrace watch`: the last seconds of a recording while it is made, and its run in the store."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperCommand

from kvmtrace.commands.options import DEFAULT_STORE, BufferOption, StoreOption, TagOption, pairs
from kvmtrace.commands.output import can_write, say, warn
from kvmtrace.commands.stored import tell
from kvmtrace.errors import UsageError
from kvmtrace.exit_keys import By
from kvmtrace.recorder.purposes import Purpose

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from kvmtrace.watch.own_perf import OwnPerf
    from kvmtrace.watch.session import Watched

_OWN_SIGNS = "µ"
_LONGEST_S = 3600.0
_COMMAND = "kvmtrace.watch.command"


class WatchCommand(TyperCommand):
    """What stands behind `--` is a command to run, and no RECORDING."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override] # its own base
        """Take the command out of the arguments."""
        if "--" in args:
            place = args.index("--")
            ctx.meta[_COMMAND] = args[place + 1 :]
            args = args[:place]
        return super().parse_args(ctx, args)


def watch(
    context: typer.Context,
    recording: Annotated[
        str | None,
        typer.Argument(
            metavar="RECORDING | -- COMMAND",
            help="- is standard input: perf record … -o - | kvmtrace watch -. None: perf is started, until q, or until "
            "COMMAND has ended.",
        ),
    ] = None,
    by: Annotated[
        list[By] | None, typer.Option("--by", help="What exits are told apart by; repeatable. [default: reason]")
    ] = None,
    last: Annotated[float, typer.Option("--last", metavar="SECONDS", help="How far back the figures go.")] = 5.0,
    interval: Annotated[
        float,
        typer.Option("--interval", metavar="SECONDS", help="Where there is no terminal: how often a block is written."),
    ] = 1.0,
    vm: Annotated[
        str | None, typer.Option("--vm", metavar="PID", help="Record one VM alone: its VMM's process, or its name.")
    ] = None,
    purpose: Annotated[Purpose | None, typer.Option("--for", help="What perf is started for. [default: exits]")] = None,
    buffer: BufferOption = None,
    store: StoreOption = DEFAULT_STORE,
    label: Annotated[str | None, typer.Option("--label", help="Name for the run, instead of its id.")] = None,
    tag: TagOption = None,
) -> None:
    """Show exits per second and percentiles of the last seconds of a recording that is being made, and store it."""
    from contextlib import nullcontext

    from kvmtrace.formats.source import ReadOptions
    from kvmtrace.ingesting import DEFAULT_JOBS
    from kvmtrace.store.label import Label
    from kvmtrace.store.writer import check_writable
    from kvmtrace.watch.session import Wishes
    from kvmtrace.watch.session import watch as look_on
    from kvmtrace.watch.table import View

    command: list[str] = context.meta.get(_COMMAND, [])
    if recording is not None and (command or (vm, purpose, buffer) != (None, None, None)):
        raise UsageError(
            "--vm, --for, --buffer and a command are for a recording that is made now: give no RECORDING with them"
        )
    if _COMMAND in context.meta and not command:
        raise UsageError("expected a command behind --")
    view = View(tuple(dict.fromkeys(by or [By.REASON])))
    on_terminal = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    wishes = Wishes(view, _ns(last, "--last"), _ns(interval, "--interval"), on_terminal, can_write(_OWN_SIGNS))
    named = Label(label, pairs(tag, "--tag"))
    named.check()
    own: AbstractContextManager[OwnPerf | None] = nullcontext()
    if recording is None:
        check_writable(store)
        own = _perf(purpose or Purpose.EXITS, vm, buffer, command, keep_output=on_terminal)
    with own as perf:
        watched = look_on(recording or "-", store, named, wishes, ReadOptions(DEFAULT_JOBS), perf)
    _tell(watched, recording or "perf", None if perf is None else perf.exit_code, command)
    if perf is not None:
        warn(text for run in watched.runs for text in perf.shortfalls(run.manifest))


def _perf(
    purpose: Purpose, vm: str | None, buffer: int | None, command: Sequence[str], *, keep_output: bool
) -> OwnPerf:
    """Return perf, to be started. RecordingError: a right or the tracepoints are missing. UsageError: no such VM."""
    from shutil import which

    from kvmtrace.recorder import rights
    from kvmtrace.recorder.host_files import HostFiles
    from kvmtrace.recorder.plan import plan
    from kvmtrace.watch.own_perf import OwnPerf

    if command and which(command[0]) is None:
        raise UsageError(f"{command[0]}: there is no such program")
    files = HostFiles()
    rights.check_program("perf")
    rights.check_tracepoints(files)
    rights.check_perf_rights(files)
    planned = plan(purpose, os.uname().machine, files, None if vm is None else rights.find_vm(vm, files)).with_buffer(
        buffer
    )
    for note in planned.notes:
        say(note)
    return OwnPerf(planned, files, command, keep_output=keep_output)


def _tell(watched: Watched, recording: str, exit_code: int | None, command: Sequence[str]) -> None:
    if exit_code:
        say(f"{command[0]} ended with exit code {exit_code}", "warning")
    if watched.was_ended:
        say("ended by the user: what was read until then is stored")
    for run in watched.runs:
        tell(run, recording)


def _ns(seconds: float, option: str) -> int:
    """Return a time of the user as whole milliseconds, in ns. UsageError: there is no sense in it."""
    if not 0.05 <= seconds <= _LONGEST_S:  # noqa: PLR2004 - also false for NaN
        raise UsageError(f"{option}: expected 0.05 to {_LONGEST_S:.0f} seconds, found {seconds:g}")
    return round(seconds * 1e3) * 1_000_000
