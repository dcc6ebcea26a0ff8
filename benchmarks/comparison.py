"""How fast two sides are compared: the runs that are compared, the program, and its targets."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from benchmarks.inputs import ROOT
from benchmarks.programs import KVMTRACE, Program
from benchmarks.results import elapsed, memory
from benchmarks.verdicts import Target

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.results import Results
    from benchmarks.verdicts import Judged

COMPARE = "kvmtrace compare, one run a side"
EVENTS_OF_AN_EXIT = 3
"""Of the model: an exit, its entry, and what it was about."""
_MODEL = "ipi-fastpath"
_SIDES = ("off", "on")
_TARGET_EVENTS = 20_000_000 * EVENTS_OF_AN_EXIT


def made_store(folder: Path, samples: int) -> Path:
    """Return a store with a run of so many events for each side; it is made once and kept."""
    store = folder / f"compared-{samples}"
    for side in _SIDES:
        limits = ("--events", str(samples), "--seconds", "1000000")
        made = (*KVMTRACE, "generate", _MODEL, "--variant", side, *limits, "--label", side, "--store", str(store))
        subprocess.run(made, cwd=ROOT, check=True, capture_output=True)
    return store


def comparison_program(store: Path) -> Program:
    """Return what compares the two runs of a store."""
    command = (*KVMTRACE, "compare", _SIDES[0], "--against", _SIDES[1], "--store", str(store))
    return Program(COMPARE, command, with_memory=True)


def judged_comparison(results: Results, samples: int) -> Judged:
    """Return the targets of a comparison with what was measured."""
    return [
        (Target(COMPARE, 15, "s/20 million exits a side"), elapsed(results, COMPARE, samples / _TARGET_EVENTS)),
        (Target(f"{COMPARE}: peak memory", 1500, "MB"), memory(results, COMPARE)),
    ]
