"""Holds a model to the figures that its source published: runs it, ingests what comes of it, and asks SQL.

Every variant is run once for a seed and a length, into a store of its own that is removed again, and all figures that
need it are measured there.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from kvmtrace.errors import InputError, KvmtraceError
from kvmtrace.generating import run_of, store_run
from kvmtrace.ingesting import Order
from kvmtrace.report.models import figure_table
from kvmtrace.store.connection import StoreConnection

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kvmtrace.store.connection import Result
    from kvmtrace.synth.header import Published
    from kvmtrace.synth.model_file import Model

_Key = tuple[str, float | None]
"""Variant, and seconds of its recording (None: as the model says)."""
_Measured = dict[tuple[_Key, str], float]
"""Statement on the runs of a variant → the number that it gave."""

COLUMNS = {
    "modelled": "DOUBLE",
    "lowest": "DOUBLE",
    "highest": "DOUBLE",
    "seeds": "BIGINT",
    "holds": "VARCHAR",
}
"""Columns of `Checked.cells`, with their DuckDB types."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A published figure, and what the model gives for it with each seed, in the unit of the figure."""

    figure: Published
    modelled: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return sum(self.modelled) / len(self.modelled)

    @property
    def holds(self) -> bool:
        """Every seed is within the tolerance."""
        return all(map(self.figure.holds, self.modelled))

    @property
    def fails(self) -> bool:
        """A seed is not within the tolerance, and the model does not say that it misses the figure."""
        return not self.holds and self.figure.missed is None

    @property
    def cells(self) -> tuple[float | int | str, ...]:
        """The values of `COLUMNS`: mean, lowest and highest of the seeds, how many, and whether all hold."""
        low, high = min(self.modelled), max(self.modelled)
        shown = (float(f"{value:.6g}") for value in (self.mean, low, high))
        return (*shown, len(self.modelled), "yes" if self.holds else "NO")


def check(model: Model, seeds: Iterable[int], *, jobs: int = 2) -> list[Checked]:
    """Return every published figure of a model, measured with each of the seeds.

    `seeds`: at least one. InputError: a statement of the model gives no number.
    """
    by_seed = [measured(model, seed, jobs=jobs) for seed in seeds]
    return [
        Checked(figure, tuple(compared(model, figure, of_seed) for of_seed in by_seed))
        for figure in model.header.published
    ]


def table(model: Model, checked: Iterable[Checked]) -> Result:
    """Return the model's table of figures, with what it gives for each."""
    return figure_table(model, COLUMNS, [each.cells for each in checked])


def measured(model: Model, seed: int, *, jobs: int = 2) -> _Measured:
    """Return what the statements of all figures give, on each variant that they need. Errors: as in `check`."""
    wanted: dict[_Key, list[Published]] = {}
    for figure in model.header.published:
        for key in _keys(figure):
            wanted.setdefault(key, []).append(figure)
    found: _Measured = {}
    for key, figures in wanted.items():
        variant, seconds = key
        with tempfile.TemporaryDirectory(prefix="kvmtrace-", ignore_cleanup_errors=True) as folder:
            store = Path(folder) / "store"
            store_run(model, run_of(model, variant, seed=seed, seconds=seconds), Order(store), jobs=jobs)
            with StoreConnection(store) as connection:
                for figure in figures:
                    found[key, figure.measure] = _number(model, figure, connection)
    return found


def compared(model: Model, figure: Published, of_seed: _Measured) -> float:
    """Return a figure of the model, of what was measured: compared with another variant where it is to be.

    ratio: the one to the other; gain: how much more the one is, in % of the other; difference: one less the other.
    InputError: the other is 0.
    """
    one, *others = (of_seed[key, figure.measure] for key in _keys(figure))
    if figure.compare is None:
        return one
    other = others[0]
    if figure.compare == "difference":
        return one - other
    if other == 0:
        raise _error(model, figure, f"expected a number to compare with, found 0 of {figure.against}")
    return one / other if figure.compare == "ratio" else (one / other - 1) * 100


def _keys(figure: Published) -> Iterator[_Key]:
    yield figure.variant, figure.seconds
    if figure.against is not None:
        yield figure.against, figure.seconds


def _number(model: Model, figure: Published, connection: StoreConnection) -> float:
    try:
        rows = connection.query(figure.measure).rows
    except KvmtraceError as error:
        raise _error(model, figure, error.message, error.hint) from None
    try:
        [[value]] = rows
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not isfinite(number):
        raise _error(model, figure, f"expected one number, found {str(rows)[:80]}")
    return number


def _error(model: Model, figure: Published, message: str, hint: str | None = None) -> InputError:
    return InputError(str(model.path), f"published figure {figure.name!r}: {message}", hint=hint)
