"""A plan → the arguments of perf, and perf at work: what it records comes out of a pipe.

perf starts with its events disabled (`--delay=-1`) and is told over two pipes to enable them (`--control=fd:…`,
perf 5.9), so that it is known to record before a command begins. The command is not perf's child: what perf writes to
a pipe is its standard output, which its child would lose.
"""

from __future__ import annotations

import os
import select
import shlex
import signal
import subprocess
import threading
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Self, cast

from kvmtrace.recorder.program import Program, RecorderError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from kvmtrace.recorder.plan import Plan

PERF = "perf"
_KIB = 1 << 10
_SAID_BYTES = 1 << 14  # of what perf says on standard error


def perf_arguments(
    plan: Plan, *, output: str = "-", control: Sequence[int] = (), command: Sequence[str] = ()
) -> list[str]:
    """Return the program and arguments that record `plan` into `output` ("-": its standard output).

    `control`: the descriptors of its ends of two pipes, commands and answers; events are disabled until told so.
    `command`: what perf itself is to run.
    """
    arguments = [PERF, "record"]
    for event in plan.events:
        arguments += ["-e", event.name]
        if event.filter is not None:
            arguments += ["--filter", event.filter]
    arguments += ["-p", ",".join(map(str, plan.pids))] if plan.pids else ["-a"]
    arguments += ["-m", f"{plan.buffer_bytes // _KIB}K", "-B", "-N", "-o", output]  # binaries are of no use to us
    if control:
        arguments += ["--delay=-1", f"--control=fd:{','.join(map(str, control))}"]
    return arguments + (["--", *command] if command else [])


def shell_line(arguments: Sequence[str]) -> str:
    """Return arguments as a line that a shell takes for the same."""
    return shlex.join(arguments)


class PerfOnPipe(Program):
    """perf at work. Its recording comes out of `output`; nobody else may read that.

    Use it as a context manager: perf has ended when it is left. RecorderError: perf does not record.
    """

    def __init__(self, plan: Plan) -> None:
        """Start perf with its events disabled. FileNotFoundError: there is no perf."""
        commands, self._commands = os.pipe()
        self._answers, answers = os.pipe()
        self.arguments = perf_arguments(plan, control=(commands, answers))
        try:
            process = subprocess.Popen(  # noqa: S603 - a list: no shell reads it
                self.arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(commands, answers),
                process_group=0,  # Ctrl-C is ours to pass on, when all is read
            )
        except OSError:
            os.close(self._commands)
            os.close(self._answers)
            raise
        finally:
            os.close(commands)
            os.close(answers)
        super().__init__(process)
        self.output = cast("IO[bytes]", self._process.stdout)
        self._asked_to_flush = False
        self._said = bytearray()
        self._listening = threading.Thread(target=self._listen, name="kvmtrace-perf-says", daemon=True)
        self._listening.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self.output.close()  # one who waits to write ends
        self._process.wait()
        self._listening.join()
        os.close(self._commands)
        os.close(self._answers)

    @property
    def said(self) -> str:
        """What perf wrote on standard error so far."""
        return self._said.decode("utf-8", "backslashreplace")

    def enable(self) -> None:
        """Let perf record, and return when it does. RecorderError: it ended instead. Somebody must read `output`."""
        self._tell(b"enable\n")

    def flush(self) -> None:
        """Ask perf to write what it has recorded so far: it waits for half a buffer otherwise.

        Nobody waits for it: before perf 5.11 it does not answer, and is asked once.
        """
        if self._asked_to_flush:
            if not select.select([self._answers], [], [], 0)[0]:
                return
            os.read(self._answers, 64)
        self._asked_to_flush = True
        with suppress(BrokenPipeError):  # it has ended
            os.write(self._commands, b"ping\n")

    def wait(self) -> int:
        """Wait until perf has ended, and return its exit code; that of a perf told to stop is 0."""
        code = self._process.wait()
        self._listening.join()
        return 0 if code == -signal.SIGINT else code

    def _tell(self, command: bytes) -> None:
        with suppress(BrokenPipeError):
            os.write(self._commands, command)
            if os.read(self._answers, 64):
                return
        code = self._process.wait()
        self._listening.join()
        raise RecorderError(PERF, self.said, code)

    def _listen(self) -> None:
        with cast("IO[bytes]", self._process.stderr) as stream:
            while piece := stream.read1(4096):  # type: ignore[attr-defined]
                self._said += piece[: max(_SAID_BYTES - len(self._said), 0)]
