"""perf, started for a watch alone: told to write what it has every moment, and to end with the command or the user."""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

from kvmtrace.errors import KvmtraceError, UsageError
from kvmtrace.formats.spool import Spool
from kvmtrace.recorder.perf import PERF, PerfOnPipe
from kvmtrace.recorder.program import RecorderError
from kvmtrace.recorder.shortfall import NO_ROOM, shortfalls
from kvmtrace.recorder.witness import Witness

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from kvmtrace.recorder.host_files import HostFiles
    from kvmtrace.recorder.plan import Plan
    from kvmtrace.store.label import Label
    from kvmtrace.store.manifest import Manifest

_FLUSH_EVERY_S = 0.25
_NAME = "watch"


class OwnPerf:
    """perf at work for one watch. Use it as a context manager; perf and the command have ended when it is left.

    Its `output` must be read from the beginning: perf says what it records there before it starts to.
    """

    def __init__(self, plan: Plan, files: HostFiles, command: Sequence[str], *, keep_output: bool) -> None:
        """`keep_output`: what the command writes is kept until the end, as the terminal shows something else."""
        self.name = " ".join([_NAME, *(Path(word).name for word in command[:1])])
        self.exit_code: int | None = None  # of the command; None: there was none, or it was ended here
        self._plan = plan
        self._command = command
        self._keep_output = keep_output
        self._files = files
        self._witness = Witness(files, {"purpose": plan.purpose, "command": shlex.join(command) or None})
        self._enabled_ns: int | None = None  # None: it ended itself
        self._code = 0  # of perf
        self._over = threading.Event()
        self._trouble: KvmtraceError | None = None
        self._thread = threading.Thread(target=self._run, name="kvmtrace-watch-perf", daemon=True)
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self._perf = self._open.enter_context(PerfOnPipe(self._plan))
        self._spool = self._open.enter_context(Spool(self._perf.output))
        self.output: IO[bytes] = self._spool.output
        kept = self._open.enter_context(tempfile.TemporaryFile()) if self._keep_output else None
        self._kept = kept
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        if self._kept is not None:
            self._kept.seek(0)
            sys.stderr.write(self._kept.read().decode(errors="backslashreplace"))
        self._open.close()

    def stop(self) -> None:
        """Have perf write the rest and end."""
        self._over.set()

    def wait(self) -> None:
        """Wait until perf was told to end, or ended."""
        self._thread.join()

    def check(self) -> None:
        """Raise what went wrong: perf did not record, or the command could not be started."""
        if self._trouble is not None:
            raise self._trouble

    def check_began(self) -> None:
        """Raise what went wrong where nothing can be read: as `check`, or perf failed before it wrote anything."""
        self.check()
        if self._code:
            raise RecorderError(PERF, self._perf.said, self._code)

    def beside(self, manifest: Manifest, label: Label) -> tuple[Manifest, Label]:
        """Add to the manifest what was seen of the host meanwhile."""
        self._witness.look()
        return self._witness.tell(manifest, self._enabled_ns), label

    def shortfalls(self, manifest: Manifest) -> Iterator[str]:
        """Yield what is missing in the run of it, as `kvmtrace record` says it."""
        if self._code:
            yield f"the recorder failed: exit code {self._code} {self._perf.said.strip()}"
        if self._spool.was_full:
            yield NO_ROOM
        yield from shortfalls(manifest, self._plan, self._witness.vms, self._files)

    def _run(self) -> None:
        try:
            self._perf.enable()
            enabled_at_ns = time.monotonic_ns()
            self._witness.look()
            self._keep_on()
            if not self._perf.has_ended():
                self._enabled_ns = time.monotonic_ns() - enabled_at_ns
        except KvmtraceError as error:
            self._trouble = error
        self._perf.stop()
        self._code = self._perf.wait()

    def _keep_on(self) -> None:
        command = self._started() if self._command else None
        try:
            while not self._over.wait(_FLUSH_EVERY_S) and not self._perf.has_ended():
                self._perf.flush()
                if command is not None and command.poll() is not None:
                    self.exit_code = command.returncode
                    return
        finally:
            if command is not None and command.poll() is None:
                command.terminate()
                command.wait()

    def _started(self) -> subprocess.Popen[bytes]:
        """Start the command. UsageError: it cannot be started."""
        to = sys.stderr.fileno() if self._kept is None else self._kept.fileno()
        try:
            return subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=to, stderr=to)  # noqa: S603 - a list
        except OSError as error:
            raise UsageError(f"{self._command[0]}: cannot be started: {error.strerror}") from None
