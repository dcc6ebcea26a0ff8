"""What models would bring on a run, as a result of the library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmtrace.api.options import Paths, several
from kvmtrace.api.shown import Shown
from kvmtrace.errors import UsageError
from kvmtrace.predicting.prediction import predict
from kvmtrace.predicting.ranking import rank
from kvmtrace.report import whatif as words
from kvmtrace.report import whatif_tables
from kvmtrace.report.blocks import Facts, Table
from kvmtrace.report.printable import printable
from kvmtrace.report.tables import cell_text
from kvmtrace.synth import model_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import polars as pl

    from kvmtrace.predicting.result import Prediction, Refused
    from kvmtrace.report.blocks import Block
    from kvmtrace.report.models import Section
    from kvmtrace.store.connection import StoreConnection
    from kvmtrace.store.manifest import Manifest


@dataclass(frozen=True, repr=False)
class WhatIfResult(Shown):
    """What `kvmtrace whatif` says: of models together one prediction, of all by themselves one for each that fits."""

    predictions: tuple[Prediction, ...]
    refused: tuple[Refused, ...]
    sections: tuple[Section, ...]

    def blocks(self) -> list[Block]:
        """Return what it says, in words."""
        return [block for section in self.sections for block in _blocks(section)]

    def to_text(self, width: int | None = None) -> str:  # noqa: ARG002 - it wraps where it always does
        """Return it as text, as `kvmtrace whatif` prints it."""
        return words.text(self.sections)

    def to_markdown(self) -> str:
        """Return it as GitHub-flavoured Markdown."""
        return words.markdown(self.sections)

    def figures(self) -> pl.DataFrame:
        """Return a row for each change of each model and each exit reason; times are in ns."""
        from kvmtrace.api import frames

        return frames.of_result(whatif_tables.raw_changes(self.predictions))

    def to_json(self) -> str:
        """Return predictions, and the models that are not told, as JSON."""
        return whatif_tables.to_json(self.predictions, self.refused)


def predicted(connection: StoreConnection, manifest: Manifest, model: Paths | Sequence[Paths] | None) -> WhatIfResult:
    """Apply models together, or each by itself where None are named. UsageError: no such model, or no exits."""
    names = model_file.names() if model is None else several(model)
    if not names:
        raise UsageError("model: expected a model or several, found none", hint="None is each that fits by itself")
    models = [model_file.find(name) for name in names]
    if model is None:
        ranking = rank(connection, manifest, models)
        return WhatIfResult(ranking.predictions, ranking.refused, tuple(words.ranked(ranking)))
    prediction = predict(connection, manifest, models)
    told = (prediction,) if prediction.models else ()
    return WhatIfResult(told, prediction.refused, tuple(words.predicted(prediction)))


def _blocks(section: Section) -> Iterator[Block]:
    if section.items or section.table is None:
        pairs = [(item.name, " ".join((item.text, *item.below))) for item in section.items]
        yield Facts(printable(section.title), tuple((printable(name), printable(text)) for name, text in pairs))
    if section.table is not None:
        rows = tuple(
            tuple("-" if cell is None else printable(cell_text(cell)) for cell in row) for row in section.table.rows
        )
        texts = sum(type_ == "VARCHAR" for type_ in section.table.types)
        yield Table(printable(section.title), tuple(section.table.names), rows, names=texts)
