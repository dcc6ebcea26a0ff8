"""How often comparisons of recordings call equal ones different, and find a change that is there; at fixed seeds.

Equal are two stretches of one long recording, and two seeds of one model; every figure goes the whole way through the
store.
"""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from compare_samples import keyed
from compare_samples import run as made_run
from store_builder import add_run

from kvmtrace.comparing.comparison import compare
from kvmtrace.comparing.denominators import denominator
from kvmtrace.comparing.lines import Options
from kvmtrace.comparing.request import Request, sides
from kvmtrace.comparing.sides import Side
from kvmtrace.comparing.tables import Tables
from kvmtrace.generating import run_of, store_run
from kvmtrace.ingesting import Order
from kvmtrace.stats.verdicts import Verdict, verdict
from kvmtrace.store.connection import StoreConnection
from kvmtrace.store.manifest import events_table, run_folder
from kvmtrace.synth import model_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmtrace.comparing.lines import Line
    from kvmtrace.comparing.run_data import RunData
    from kvmtrace.store.manifest import Manifest

TRIALS = 200
MODEL = "pv-eoi"
VARIANT = "idletick-xapic-off"
SECOND = 10**9


class Calls(NamedTuple):
    """Of so many equal pairs, those of which the first figure, and any of all, was called different."""

    pairs: int
    primary: int
    any_figure: int
    undecided: int


@dataclass(slots=True)
class _Tally:
    pairs: int = 0
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, lines: Sequence[Line]) -> None:
        """Count a pair by its lines, the first figure's first; no change is too small to be called one here."""
        self.pairs += 1
        self.counts["primary"] += _different(lines[0].verdict)
        self.counts["any"] += any(_different(line.verdict) for line in lines)
        self.counts["undecided"] += lines[0].estimate.p is None

    @property
    def calls(self) -> Calls:
        """Return what was counted."""
        return Calls(self.pairs, self.counts["primary"], self.counts["any"], self.counts["undecided"])


def _different(said: Verdict) -> bool:
    return said in {Verdict.FELL, Verdict.ROSE, Verdict.SMALL, Verdict.NEW, Verdict.GONE}


OPTIONS = Options(minimum_effect=0.0)


def stretches(
    trials: int, *, per: str = "second", seconds: float = 1200.0, seed: int = 1, every_figure: bool = True
) -> Calls:
    """Compare random pairs of stretches of one recording, each 3 to 6 s of it, that do not overlap.

    The recording is long against them: pairs of a short one would have their stretches in common, and be right or
    wrong together.
    """
    choose = random.Random(seed)  # noqa: S311 - places in a recording
    tally = _Tally()
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole"
        manifest = _generated(whole, seed=seed, seconds=seconds)
        for number in range(trials):
            store = Path(folder) / f"pair{number}"
            length = choose.uniform(3.0, 6.0) / seconds
            first = choose.uniform(0, 1 - 2 * length)
            second = choose.uniform(first + length, 1 - length)
            names = [_cut(whole, manifest, store, name, start, length) for name, start in (("a", first), ("b", second))]
            tally.add(_compared(store, names[0], names[1], per, every_figure=every_figure))
    return tally.calls


def seeds(trials: int, *, per: str = "second", seconds: float = 2.0, every_figure: bool = True) -> Calls:
    """Compare pairs of runs of one model that differ in their seed alone."""
    tally = _Tally()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(trials):
            store = Path(folder) / f"pair{number}"
            runs = [_generated(store, seed=2 * number + n + 1, seconds=seconds).run_id for n in range(2)]
            tally.add(_compared(store, runs[0], runs[1], per, every_figure=every_figure))
    return tally.calls


def _generated(store: Path, *, seed: int, seconds: float) -> Manifest:
    model = model_file.find(MODEL)
    run = run_of(model, VARIANT, seed=seed, seconds=seconds)
    return store_run(model, run, Order(store), jobs=1)[0].manifest


def _cut(whole: Path, manifest: Manifest, store: Path, name: str, start: float, length: float) -> str:
    """Put a stretch of a run into another store, as a run of its own."""
    begin, end = manifest.first_ts_ns or 0, manifest.last_ts_ns or 0
    low, high = (round(begin + (end - begin) * place) for place in (start, start + length))
    folder = run_folder(whole, manifest.run_id)
    tables = {
        path: _between(folder / path, column, low, high)
        for path, column in (("exits", "exit_ts_ns"), (events_table("kvm", "kvm_inj_virq"), "ts_ns"))
    }
    tables["latency_buckets"] = pq.read_table(folder / "latency_buckets.parquet")  # they tell how many vCPUs there are
    facts = {"first_ts_ns": low, "last_ts_ns": high, "elapsed_ns": high - low, "enabled_ns": high - low}
    return add_run(store, name, tables, host=manifest.host, **facts).run_id


def _between(folder: Path, column: str, low: int, high: int) -> pa.Table:
    table = pq.read_table(folder)
    return table.filter(pc.and_(pc.greater_equal(table[column], low), pc.less(table[column], high)))


def _compared(store: Path, base: str, new: str, per: str, *, every_figure: bool = True) -> list[Line]:
    options = replace(OPTIONS, per=denominator(per))
    with StoreConnection(store) as connection:
        before, after = sides(connection, Request((base,), (new,), options), [])
    if not every_figure:
        first = next(Tables(before, after, options).headlines())
        return [replace(first, verdict=verdict(first.estimate, adjusted_p=None, minimum_effect=0.0))]
    found = compare(before, after, None, options)
    return [*found.headlines, *(line for section in found.sections for line in section.lines)]


class Found(NamedTuple):
    """Of so many trials, those that found the change of one reason, and those that called another one changed."""

    trials: int
    found: int
    wrong: int


REASONS = {
    "EXTERNAL_INTERRUPT": 4860, "MSR_WRITE": 3800, "EXCEPTION_NMI": 458, "CPUID": 344, "EPT_MISCONFIG": 208,
    "IO_INSTRUCTION": 111, "HLT": 900, "VMCALL": 60, "EPT_VIOLATION": 30, "MSR_READ": 22,
}  # fmt: skip
"""Exits a second by reason: the shares are those of a slide of KVM Forum 2020, made ten reasons."""


def power(trials: int, *, runs: int = 10, spread: float = 0.03, change: float = 0.9, seed: int = 1) -> Found:
    """Compare sides of `runs` runs each, whose rates differ from run to run by `spread`; one reason's falls by 10%."""
    draw = np.random.default_rng(seed)
    found = wrong = 0
    for _ in range(trials):
        both = [
            Side(name, tuple(_run(draw, spread, {"MSR_WRITE": factor}) for _ in range(runs)))
            for name, factor in (("base", 1.0), ("new", change))
        ]
        compared = compare(both[0], both[1], None, Options(minimum_effect=0.01))
        said = {line.key.reason: line.verdict for line in compared.sections[0].lines if line.key}
        found += said["MSR_WRITE"] is Verdict.FELL
        wrong += any(_different(verdict) for reason, verdict in said.items() if reason != "MSR_WRITE")
    return Found(trials, found, wrong)


def _run(draw: np.random.Generator, spread: float, factors: dict[str, float]) -> RunData:
    rates = {reason: rate * factors.get(reason, 1.0) for reason, rate in REASONS.items()}
    counts = {reason: round(draw.normal(rate, spread * rate) * 10) for reason, rate in rates.items()}
    exits = [keyed(reason, [n], 2000.0, idle=reason == "HLT") for reason, n in counts.items()]
    return made_run(*exits, seconds=10.0)
