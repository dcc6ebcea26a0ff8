"""A model's variant → runs in the store, through the same ingest as a recording."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import blake3

from kvmtrace import resources
from kvmtrace.errors import UsageError
from kvmtrace.ingesting import Order, store_contents
from kvmtrace.recording import TableSet
from kvmtrace.store.label import Label
from kvmtrace.synth.engine import Run
from kvmtrace.version import __version__

if TYPE_CHECKING:
    from kvmtrace.ingesting import Ingested
    from kvmtrace.synth.model_file import Model

SHORTEST_S, LONGEST_S = 1e-6, 1e6
"""How long a recording of a model may be, in seconds."""


def run_of(
    model: Model, variant: str, *, seed: int = 1, seconds: float | None = None, events: int | None = None
) -> Run:
    """Return a run of a variant; `seconds` None: as the model says. UsageError: no such variant, or no such length."""
    setting = model.setting(variant)
    length = setting.workload.seconds if seconds is None else seconds
    if not SHORTEST_S <= length <= LONGEST_S:
        raise UsageError(f"seconds: expected {SHORTEST_S:g} to {LONGEST_S:g}, found {length!r}")
    if events is not None and events < 1:
        raise UsageError(f"events: expected a number from 1 on, found {events!r}")
    file = "" if model.path.is_relative_to(resources.folder("generators")) else str(model.path)
    return Run(model.name, variant, setting, seed, float(length), events, file)


@dataclass(frozen=True, slots=True)
class ModelOrigin:
    """A run of a model, as where stored runs come from (ingest.Origin)."""

    model: Model
    run: Run
    jobs: int = 2
    part: str = ""  # what tells what else comes of the run from its recording

    @property
    def path(self) -> str:
        """How the user named it."""
        return f"{self.run.model} {self.run.variant}"

    @property
    def name(self) -> str:
        """Its name in the store."""
        return f"{self.run.model}-{self.run.variant}-seed{self.run.seed}{self.part}"

    @property
    def size(self) -> int:
        """Bytes of the model's file."""
        return len(self.model.text.encode())

    @property
    def progress(self) -> int:
        """All of the file: how far a model got is not known in bytes of it."""
        return self.size

    def digest(self) -> str:
        """Return what tells this run from any other: the model, its options, and the version that runs it."""
        parts = (self.model.text, self.run.command, self.part, __version__)
        return f"blake3:{blake3.blake3(chr(0).join(parts).encode()).hexdigest()}"


def store_run(model: Model, run: Run, order: Order, *, jobs: int = 2) -> list[Ingested]:
    """Make a run of a model and store what it is made of: a recording, and what its guest or perf would print.

    Tables beside a recording are runs of their own; their names, and a label, end in what they are (-benchmarks).
    """
    contents = model.engine.contents(run)
    alone = len(contents) == 1
    stored: list[Ingested] = []
    for content in contents:
        part = f"-{content.table}" if isinstance(content, TableSet) and not alone else ""
        label = order.label.label
        named = replace(order, label=Label(label and label + part, order.label.tags))
        stored += store_contents([content], ModelOrigin(model, run, jobs, part), named)
    return stored
