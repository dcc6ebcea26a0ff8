"""A plan → the arguments of trace-cmd, and trace-cmd at work: it writes a file, which can be read when it has ended."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING, Self

from kvmtrace.errors import RecordingError
from kvmtrace.recorder.program import Program, RecorderError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from kvmtrace.recorder.host_files import HostFiles
    from kvmtrace.recorder.plan import Plan

TRACE_CMD = "trace-cmd"
_LOOKED_AT_EVERY_S = 0.01


def trace_cmd_arguments(plan: Plan, output: str, command: Sequence[str] = ()) -> list[str]:
    """Return the program and arguments that record `plan` into the file `output`; `command`: what it is to run."""
    arguments = [TRACE_CMD, "record"]
    for event in plan.events:
        arguments += ["-e", event.name.removesuffix(":*")]
        if event.filter is not None:
            arguments += ["-f", event.filter]
    for tid in plan.tids:
        arguments += ["-P", str(tid)]
    arguments += ["-c"] if plan.tids else []  # and threads that these start
    return [*arguments, "-b", str(plan.buffer_bytes >> 10), "-o", output, *command]


class TraceCmdToFile(Program):
    """trace-cmd at work. Use it as a context manager: it has ended when that is left."""

    def __init__(self, plan: Plan, file: Path, files: HostFiles) -> None:
        """Start trace-cmd. RecordingError: somebody else traces at present."""
        self._switches = [f"{files.tracefs()}/{place}" for place in ("tracing_on", *_switches(plan))]
        self._files = files
        if any(files.text(switch) not in ("0", "X") for switch in self._switches[1:]):
            raise RecordingError("somebody else traces these events at present", hint="trace-cmd reset ends that")
        self.arguments = trace_cmd_arguments(plan, str(file))
        # What it says goes to a file: a pipe that nobody empties would stop it.
        self._log = file.with_suffix(".log")
        with self._log.open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 - a list: no shell reads it
                self.arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0
            )
        super().__init__(process)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._process.wait()

    @property
    def said(self) -> str:
        """What trace-cmd wrote so far."""
        return self._log.read_text("utf-8", "backslashreplace")

    def enable(self) -> None:
        """Return when trace-cmd records: it switches tracing off, its events on, then tracing on.

        RecorderError: it ended instead.
        """
        while not all(self._files.text(switch) == "1" for switch in self._switches):
            code = self._process.poll()
            if code is not None:
                raise RecorderError(TRACE_CMD, self.said, code)
            time.sleep(_LOOKED_AT_EVERY_S)

    def wait(self) -> int:
        """Wait until trace-cmd has ended, and return its exit code."""
        return self._process.wait()


def _switches(plan: Plan) -> list[str]:
    places = (event.name.removesuffix(":*").replace(":", "/") for event in plan.events)
    return [f"events/{place}/enable" for place in places]
