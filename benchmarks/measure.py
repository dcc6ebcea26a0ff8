"""Runs a program to its end and says how long it took, or how much memory it and its children held at most."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SAMPLING_PERIOD_S = 0.02
KIB = 1024


class CommandFailedError(Exception):
    """A measured program did not exit with 0; says the last two lines that it wrote."""


@dataclass(frozen=True, slots=True)
class Timing:
    """One run: elapsed time, and processor time of the program and the children it waited for."""

    wall_s: float
    cpu_s: float


def timed(command: Sequence[str], output: Path, *, folder: Path) -> Timing:
    """Run `command` in `folder` with no input, everything it says going to `output`."""
    with output.open("wb") as sink:
        start = time.perf_counter()
        process = _start(command, sink.fileno(), folder)
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - start
    _check(process, status, command, output)
    return Timing(wall_s, usage.ru_utime + usage.ru_stime)


def peak_memory_bytes(command: Sequence[str], output: Path, *, folder: Path) -> int:
    """Run `command` as `timed` does and return the most memory that it and its children held together.

    That is the largest sum of their proportional set sizes, looked at every 20 ms, which slows the program down: not
    for a run that is timed. A shorter peak of one process counts with its resident size, which the kernel keeps.
    """
    highest = 0
    with output.open("wb") as sink:
        process = _start(command, sink.fileno(), folder)
        while (waited := os.wait4(process.pid, os.WNOHANG))[0] == 0:
            highest = max(highest, sum(map(_proportional_set_bytes, _family(process.pid))))
            time.sleep(SAMPLING_PERIOD_S)
    _, status, usage = waited
    _check(process, status, command, output)
    return max(highest, usage.ru_maxrss * KIB)


def _start(command: Sequence[str], sink: int, folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, cwd=folder)


def _check(process: subprocess.Popen[bytes], status: int, command: Sequence[str], output: Path) -> None:
    process.returncode = os.waitstatus_to_exitcode(status)  # Popen did not see the process end
    if process.returncode != 0:
        said = output.read_text(errors="replace").strip().splitlines()
        last_lines = "; ".join(said[-2:]) or "it said nothing"
        raise CommandFailedError(f"`{' '.join(command)}` gave exit code {process.returncode}: {last_lines}")


def _family(pid: int) -> Iterator[int]:
    """Yield `pid` and all that descend from it and still run."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            of_thread = children.read_text().split()
        except OSError:  # the thread ended meanwhile
            continue
        for child in of_thread:
            yield from _family(int(child))


def _proportional_set_bytes(pid: int) -> int:
    """Return the memory of a process, pages that several share divided among them; 0 when it ended meanwhile."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * KIB for line in lines if line.startswith("Pss:"))
