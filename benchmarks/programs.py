"""The programs that are timed, by the input that they read."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.inputs import Input
from benchmarks.verdicts import (
    HELP,
    INGEST,
    INGEST_ALONE,
    INGEST_FTRACE,
    INGEST_SCRIPT,
    INGEST_TRACE_DAT,
    PERF_KVM,
    PERF_SCRIPT,
    REPORT,
    TRACE_CMD,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

KVMTRACE = (sys.executable, "-m", "kvmtrace")
STORED = "SELECT (SELECT count(*) FROM kvm_exit) + (SELECT count(*) FROM kvm_entry) AS events"
INGESTS = {
    Input.PERF_DATA: INGEST,
    Input.TRACE_DAT: INGEST_TRACE_DAT,
    Input.PERF_SCRIPT: INGEST_SCRIPT,
    Input.FTRACE: INGEST_FTRACE,
}


@dataclass(frozen=True, slots=True)
class Program:
    """A command, and how it is looked at."""

    name: str
    command: tuple[str, ...]
    store: Path | None = None  # that it writes, and that is removed before each run
    slow: bool = False  # in the first turns only; prints every event, which nobody reads
    with_memory: bool = False
    quarter: tuple[str, ...] | None = None  # the same command on a quarter of the events: how memory grows
    stored: str = STORED  # SQL for the events that its store has


def programs(
    files: Mapping[Input, Path], quarters: Mapping[Input, Path], folder: Path, *, perf: bool, trace_cmd: bool
) -> Iterator[Program]:
    """Yield what is run on `files` in one turn; stores are made in `folder`."""
    yield Program(HELP, (*KVMTRACE, "--help"))
    for made, file in files.items():
        store = folder / f"store-{made}"
        ingest = (*KVMTRACE, "ingest", str(file), "--store", str(store))
        if made is Input.PERF_DATA:
            yield Program(INGEST_ALONE, (*ingest, "--jobs", "1"), store)
        quarter = (*KVMTRACE, "ingest", str(quarters[made]), "--store", str(store)) if made in quarters else None
        yield Program(INGESTS[made], ingest, store, with_memory=True, quarter=quarter)
        if made is Input.PERF_DATA:
            yield Program(REPORT, (*KVMTRACE, "report", "--store", str(store)), with_memory=True)
            if perf:
                yield Program(PERF_KVM, ("perf", "kvm", "-i", str(file), "stat", "report"), with_memory=True)
                yield Program(PERF_SCRIPT, ("perf", "script", "-i", str(file)), slow=True)
        elif made is Input.TRACE_DAT and trace_cmd:
            yield Program(TRACE_CMD, ("trace-cmd", "report", "-i", str(file)), slow=True)


def stored_events(program: Program) -> tuple[str, ...]:
    """Return the command that prints, as CSV, how many of the events a program's store has."""
    return (*KVMTRACE, "sql", program.stored, "--format", "csv", "--store", str(program.store))
