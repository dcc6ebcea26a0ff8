"""A terminal for `kvmtrace watch`: a child whose controlling terminal is a pty, and whose standard input is a pipe."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import sys
import termios
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

ROOT = __file__.rsplit("/", 2)[0]
_PATIENCE_S = 20.0


_JOBS = """
import os, signal, subprocess, sys
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
terminal = os.open("/dev/tty", os.O_RDWR)
job = subprocess.Popen(sys.argv[1:], process_group=0)
os.tcsetpgrp(terminal, job.pid)
while True:
    status = os.waitpid(job.pid, os.WUNTRACED)[1]
    os.tcsetpgrp(terminal, os.getpgrp())
    if not os.WIFSTOPPED(status):
        sys.exit(os.waitstatus_to_exitcode(status))
    os.write(terminal, b"[stopped]")
    os.read(terminal, 1)
    os.tcsetpgrp(terminal, job.pid)
    os.killpg(job.pid, signal.SIGCONT)
"""
"""What a shell does for its jobs: says that one is stopped, and has it go on where a line comes."""


class Terminal:
    """Runs kvmtrace with arguments; what it shows is read until something is seen."""

    def __init__(
        self, folder: Path, *arguments: str, columns: int = 100, environment: dict[str, str] | None = None
    ) -> None:
        self.screen = ""
        given, self._feed = os.pipe()
        self._pid, self._pty = pty.fork()
        if self._pid == 0:  # the child: nothing may come back from here
            os.dup2(given, 0)
            os.close(self._feed)
            os.chdir(folder)
            size = struct.pack("HHHH", 24, columns, 0, 0)
            fcntl.ioctl(1, termios.TIOCSWINSZ, size)
            os.execvpe(  # noqa: S606 - this very program
                sys.executable,
                [sys.executable, "-c", _JOBS, sys.executable, "-m", "kvmtrace", *arguments],
                {
                    "PATH": os.environ["PATH"],
                    "PYTHONPATH": ROOT,
                    "TERM": "xterm",
                    "LANG": "C.UTF-8",
                    **(environment or {}),
                },
            )
        os.close(given)
        self.before = termios.tcgetattr(self._pty)

    def feed(self, piece: bytes) -> None:
        """Write to the program's standard input, as far as it reads it."""
        view = memoryview(piece)
        with suppress(BrokenPipeError):
            while view:
                view = view[os.write(self._feed, view[: 1 << 15]) :]

    def end_input(self) -> None:
        os.close(self._feed)
        self._feed = -1

    def press(self, keys: str) -> None:
        os.write(self._pty, keys.encode())

    def wait_for(self, text: str) -> str:
        """Read what is shown until it holds `text`, and return what came; AssertionError: it never does."""
        came = ""
        until = time.monotonic() + _PATIENCE_S
        while text not in came:
            piece = self._read()
            late = time.monotonic() > until
            assert piece is not None, f"expected {text!r} on the screen, found the end of {came[-2000:]!r}"
            assert not late, f"expected {text!r} on the screen, found {came[-2000:]!r}"
            came += piece
        return came

    def ended(self) -> int:
        """Read to the end and return the exit code."""
        while self._read() is not None:
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])

    def settings(self) -> list[object]:
        """Return what the terminal is set to now."""
        return termios.tcgetattr(self._pty)

    def close(self) -> None:
        if self._feed >= 0:
            os.close(self._feed)
        os.close(self._pty)

    def _read(self) -> str | None:
        if not select.select([self._pty], [], [], _PATIENCE_S)[0]:
            return None
        try:
            piece = os.read(self._pty, 1 << 16).decode(errors="replace")
        except OSError:  # the other end is closed
            return None
        self.screen += piece
        return piece or None
