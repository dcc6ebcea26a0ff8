"""One recording, from its start to its run in the store, with the command that it is of.

The order is: the recorder records; the command is started; it ends, or somebody asks to stop; the recorder is told to
end. So the command is recorded from its first instruction to its last. It is this process's child, has its standard
input, output and error, and its process group: Ctrl-C reaches it as if nothing recorded.
"""

from __future__ import annotations

import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kvmtrace.errors import InputError, RecordingError, UsageError
from kvmtrace.formats import detect
from kvmtrace.formats.opening import open_input
from kvmtrace.formats.source import ReadOptions, open_source
from kvmtrace.formats.spool import Spool
from kvmtrace.ingesting import Order, store_contents
from kvmtrace.recorder.perf import PERF, PerfOnPipe
from kvmtrace.recorder.program import RecorderError
from kvmtrace.recorder.trace_cmd import TraceCmdToFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

    from kvmtrace.ingesting import Ingested
    from kvmtrace.recorder.host_files import HostFiles
    from kvmtrace.recorder.plan import Plan
    from kvmtrace.recorder.program import Program
    from kvmtrace.store.label import Label
    from kvmtrace.store.manifest import Manifest

_FIRST_LOOK_S = 0.05
_SOURCE_NAME = "record"
Look = Callable[[], None]
"""Called now and then while something is recorded: less and less often."""
Complete = Callable[["Manifest", "Label", "Ended"], tuple["Manifest", "Label"]]
"""Adds to the manifest and label of a run what is known at its end."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a recording ended."""

    exit_code: int | None = None  # of the command, as a shell tells it (128 + a signal's number); None: there was none
    interrupted: bool = False
    enabled_ns: int | None = None  # from when the recorder recorded to when it was told to end; None: it ended itself


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recording that is in the store."""

    run: Ingested
    ended: Ended
    ended_early: bool = False  # the recorder ended before it was told to: of a VM's processes, with the VM
    trouble: str | None = None  # what the recorder said where it failed
    was_full: bool = False  # there was no room for what had not been decoded: the recorder had to wait


class Stop:
    """Ctrl-C and SIGTERM while something is recorded: the first ends it, the second kills a command that goes on."""

    def __init__(self) -> None:
        self.asked = False
        self._over = threading.Event()
        self._command: subprocess.Popen[bytes] | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals while the context lasts."""
        before = {number: signal.signal(number, self._take) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def wait_for(self, command: subprocess.Popen[bytes] | None, look: Look) -> None:
        """Return when the command has ended or somebody asks to stop, and look round meanwhile."""
        self._command = command
        if command is not None:
            threading.Thread(target=self._wait, args=(command,), name="kvmtrace-command", daemon=True).start()
        pause = _FIRST_LOOK_S
        while not self._over.wait(pause):
            look()
            pause *= 2
        if not self.asked:
            self._over.clear()

    def nothing_comes(self) -> None:
        """End a recording without a command: its recorder has ended."""
        if self._command is None:
            self._over.set()

    def _wait(self, command: subprocess.Popen[bytes]) -> None:
        command.wait()
        self._over.set()

    def _take(self, _number: int, _frame: FrameType | None) -> None:
        if self.asked and self._command is not None:
            self._command.kill()
        self.asked = True
        self._over.set()


@dataclass(frozen=True, slots=True)
class Session:
    """What the recordings of a series have in common."""

    plan: Plan
    store: Path
    files: HostFiles
    with_trace_cmd: bool = False

    def record(self, command: Sequence[str], label: Label, stop: Stop, look: Look, complete: Complete) -> Recorded:
        """Record a command, or until somebody stops it where there is none, and store the run.

        RecordingError: nothing can be recorded. UsageError: the command cannot be started. StoreError: as of ingest.
        """
        name = " ".join(filter(None, (_SOURCE_NAME, Path(command[0]).name if command else None)))
        watched = _Watched(command, stop, look)

        def beside(manifest: Manifest, label: Label) -> tuple[Manifest, Label]:
            watched.output_ended()
            return complete(manifest, label, watched.ended())

        order = Order(self.store, label, beside=beside)
        run, code, said, was_full = (self._into_file if self.with_trace_cmd else self._on_the_fly)(name, order, watched)
        trouble = f"exit code {code} {said.strip()}".strip() if code else None
        return Recorded(run, watched.ended(), watched.recorder_ended_early, trouble, was_full)

    def _on_the_fly(self, name: str, order: Order, watched: _Watched) -> tuple[Ingested, int, str, bool]:
        one_job = ReadOptions(jobs=1)  # what decodes takes CPU time from what is recorded
        with PerfOnPipe(self.plan) as perf, Spool(perf.output) as spool:
            try:
                with watched.under(perf), open_input(name, one_job, stream=spool.output) as source:
                    (run,) = store_contents(detect.read(source), source, order)
            except InputError:
                if code := perf.wait():
                    raise RecorderError(PERF, perf.said, code) from None
                raise
            return run, perf.wait(), perf.said, spool.was_full

    def _into_file(self, name: str, order: Order, watched: _Watched) -> tuple[Ingested, int, str, bool]:
        with tempfile.TemporaryDirectory(prefix="kvmtrace-") as folder:
            file = Path(folder) / "trace.dat"
            with TraceCmdToFile(self.plan, file, self.files) as trace_cmd:
                with watched.under(trace_cmd):
                    watched.ended()
                code = trace_cmd.wait()
            if not file.exists():
                raise RecordingError(f"trace-cmd left no file (exit code {code}): {trace_cmd.said.strip()}")
            with open_source(str(file)) as source:
                source.name = name
                run = store_contents(detect.read(source), source, order)[0]
            return run, code, trace_cmd.said, False


class _Watched:
    """The command of a recording, and a thread that ends the recording with it."""

    def __init__(self, command: Sequence[str], stop: Stop, look: Look) -> None:
        self._command = command
        self._stop = stop
        self._look = look
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._is_over = False
        self._enabled_at_ns = 0
        self._enabled_ns: int | None = None
        self.recorder_ended_early = False

    @contextmanager
    def under(self, recorder: Program) -> Iterator[None]:
        """Have the recorder record, start the command, and end the one with the other."""
        try:
            recorder.enable()
            self._enabled_at_ns = time.monotonic_ns()
            self._look()
            self._process = _started(self._command) if self._command else None
            self._thread = threading.Thread(target=self._end, args=(recorder,), name="kvmtrace-recording", daemon=True)
            self._thread.start()
            yield
        finally:
            recorder.stop()
            if self._process is not None and self._process.poll() is None and not self._is_over:
                self._process.terminate()  # something went wrong here: nobody else would end it

    def output_ended(self) -> None:
        """Take note that nothing comes any more: where nobody told the recorder to end, it did so by itself."""
        self.recorder_ended_early |= not self._is_over
        self._stop.nothing_comes()

    def ended(self) -> Ended:
        """Wait until the recording has ended, and say how."""
        if self._thread is not None:
            self._thread.join()
        code = None if self._process is None else self._process.wait()
        enabled_ns = None if self.recorder_ended_early else self._enabled_ns
        return Ended(128 - code if code is not None and code < 0 else code, self._stop.asked, enabled_ns)

    def _end(self, recorder: Program) -> None:
        self._stop.wait_for(self._process, self._look)
        self._look()
        self._is_over = True
        self.recorder_ended_early |= recorder.has_ended()
        self._enabled_ns = time.monotonic_ns() - self._enabled_at_ns
        recorder.stop()
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()  # as perf does with the command of a recording that is interrupted


def _started(command: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start a command with the standard streams of this process. UsageError: it cannot be started."""
    try:
        return subprocess.Popen(command)  # noqa: S603 - a list: no shell reads it
    except OSError as error:
        raise UsageError(f"{command[0]}: cannot be started: {error.strerror}") from None
