"""How fast models make recordings: programs and targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.programs import KVMTRACE, Program
from benchmarks.results import elapsed
from benchmarks.verdicts import Target, of_memory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.results import Results
    from benchmarks.verdicts import Judged

SCHEDULER = "kvmtrace generate, scheduler: 3 VMs of 80 vCPUs, 1 s"
_TEN_MILLION = 10_000_000
_ENDLESS_S = "1000000"
_STORED = "SELECT sum(rows)::BIGINT AS events FROM tracepoints"


@dataclass(frozen=True, slots=True)
class TimedModel:
    """A model's variant that stands for its engine."""

    engine: str
    model: str
    variant: str

    @property
    def name(self) -> str:
        """Name of the program."""
        return f"kvmtrace generate, {self.engine}"

    def command(self, events: int, store: Path) -> tuple[str, ...]:
        """Return the command that stores so many events of it."""
        limits = ("--events", str(events), "--seconds", _ENDLESS_S)
        return (*KVMTRACE, "generate", self.model, "--variant", self.variant, *limits, "--store", str(store))


TIMED = (
    TimedModel("operation-loop", "ipi-fastpath", "off"),
    TimedModel("interrupts", "pv-eoi", "off"),
)


def model_programs(samples: int, folder: Path) -> Iterator[Program]:
    """Yield what makes `samples` events of each engine; stores are made in `folder`."""
    for model in TIMED:
        store = folder / f"store-{model.engine}"
        quarter = model.command(samples // 4, store)
        command = model.command(samples, store)
        yield Program(model.name, command, store, with_memory=True, quarter=quarter, stored=_STORED)
    store = folder / "store-scheduler"
    scheduler = ("generate", "boost-preempted-vcpu", "--variant", "off-3vm", "--seconds", "1", "--store", str(store))
    yield Program(SCHEDULER, (*KVMTRACE, *scheduler), store, slow=True)


def judged_models(results: Results, samples: int) -> Judged:
    """Return each target of models with what was measured."""
    told: Judged = []
    for model in TIMED:
        target = Target(model.name, 30, "s/10 million")
        told.append((target, elapsed(results, model.name, samples / _TEN_MILLION)))
        told += of_memory(results, samples, model.name)
    return [*told, (Target(SCHEDULER, 120, "s"), elapsed(results, SCHEDULER))]
