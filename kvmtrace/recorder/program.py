"""A program that records, perf or trace-cmd, while it is at work."""

from __future__ import annotations

import signal
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from kvmtrace.errors import RecordingError

if TYPE_CHECKING:
    import subprocess


class RecorderError(RecordingError):
    """The program that records did not start, or ended before it was told to; `said` is what it wrote."""

    def __init__(self, program: str, said: str, code: int | None) -> None:
        self.said = said
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        told = f": {' '.join(lines[:4])}" if lines else ""
        ended = f" (exit code {code})" if code is not None else ""
        is_old = "unknown option" in said and ("control" in said or "delay" in said)
        hint = "perf 5.9 or newer is needed; --with trace-cmd does without" if is_old else None
        super().__init__(f"{program} does not record{ended}{told}", hint=hint)


class Program(ABC):
    """A child process that records until it is told to stop."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._told_to_stop = False

    @abstractmethod
    def enable(self) -> None:
        """Return when it records. RecorderError: it ended instead."""

    def stop(self) -> None:
        """Have it write what it has, and end."""
        if not self._told_to_stop:
            self._told_to_stop = True
            self._process.send_signal(signal.SIGINT)

    def has_ended(self) -> bool:
        """Tell whether it has ended, told to or not."""
        return self._process.poll() is not None
