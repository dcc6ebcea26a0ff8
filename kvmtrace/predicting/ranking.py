"""Every model beside the others on one run: which would save most time, and why the others are not told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmtrace.predicting.prediction import predict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvmtrace.predicting.result import Prediction, Refused
    from kvmtrace.store.connection import StoreConnection
    from kvmtrace.store.manifest import Manifest
    from kvmtrace.synth.model_file import Model


@dataclass(frozen=True, slots=True)
class Ranking:
    """Models by the time that each would save by itself, and those that are not told."""

    manifest: Manifest
    title: str  # what the run is called
    predictions: tuple[Prediction, ...]
    refused: tuple[Refused, ...]


def rank(connection: StoreConnection, manifest: Manifest, models: Iterable[Model]) -> Ranking:
    """Return what each model by itself would do to a run. Errors: as of `predict`."""
    each = [predict(connection, manifest, [model]) for model in models]
    told = [prediction for prediction in each if prediction.models]
    told.sort(key=lambda prediction: (-(prediction.total.net_ns or 0.0), prediction.models))
    title = connection.catalogue.label(manifest.run_id).label or manifest.source.title
    return Ranking(
        manifest, title, tuple(told), tuple(refused for prediction in each for refused in prediction.refused)
    )
