"""Runs programs in turn and keeps what was measured of each."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.inputs import ROOT
from benchmarks.measure import CommandFailedError, peak_memory_bytes, timed
from benchmarks.programs import stored_events
from benchmarks.results import Results

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.programs import Program


class Turns:
    """Runs `programs` on files of `samples` events; what they say goes to `folder`."""

    def __init__(self, programs: Sequence[Program], samples: int, folder: Path) -> None:
        self.results = Results()
        self._programs = programs
        self._samples = samples
        self._folder = folder

    def run(self, runs: int, slow_runs: int) -> Results:
        """Run all programs in turn, slow ones only in the first turns, then some once more to look at memory."""
        for turn in range(runs):
            for program in self._programs:
                if not program.slow or turn < slow_runs:
                    show_progress(f"run {turn + 1} of {runs}: {program.name}")
                    self._time(program)
        for program in self._programs:
            if program.with_memory:
                show_progress(f"memory: {program.name}")
                self._look_at_memory(program)
        show_progress("")
        return self.results

    def _time(self, program: Program) -> None:
        if program.name in self.results.failures:
            return
        self._make_room(program)
        try:
            timing = timed(program.command, self._output(program), folder=ROOT)
        except CommandFailedError as failure:
            self.results.failures[program.name] = str(failure)
            return
        self.results.timings.setdefault(program.name, []).append(timing)
        if program.store is not None:
            files = (path for path in program.store.rglob("*") if path.is_file())
            self.results.store_bytes[program.name] = sum(path.stat().st_size for path in files)

    def _look_at_memory(self, program: Program) -> None:
        """Measure a quarter of the events first, so that the store of all of them is there afterwards."""
        if program.name in self.results.failures:
            return
        commands = ((program.quarter, self.results.quarter_peak_bytes), (program.command, self.results.peak_bytes))
        try:
            for command, peaks in commands:
                if command is not None:
                    self._make_room(program)
                    peaks[program.name] = peak_memory_bytes(command, self._output(program), folder=ROOT)
            if program.store is not None:
                self._count_events(program)
        except CommandFailedError as failure:
            self.results.failures[program.name] = str(failure)

    def _count_events(self, program: Program) -> None:
        """Fail a program that is fast because it leaves events out. CommandFailedError: the store cannot be read."""
        output = self._folder / "stored-events.txt"
        timed(stored_events(program), output, folder=ROOT)
        stored = output.read_text().split()[-1]
        if stored != str(self._samples):
            self.results.failures[program.name] = f"expected {self._samples} events in the store, found {stored}"

    def _make_room(self, program: Program) -> None:
        if program.store is not None:
            shutil.rmtree(program.store, ignore_errors=True)

    def _output(self, program: Program) -> Path:
        return Path(os.devnull) if program.slow else self._folder / f"{program.name.replace(' ', '-')}.txt"


def show_progress(text: str) -> None:
    """Replace the line of progress, where somebody sees it."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
