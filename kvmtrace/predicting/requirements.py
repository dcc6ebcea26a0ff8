"""Whether an optimisation would do anything on a recording: what a model's [[effect.requires]] ask of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmtrace.errors import KvmtraceError, UsageError
from kvmtrace.predicting.places import wrong

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvmtrace.store.connection import StoreConnection
    from kvmtrace.store.manifest import Manifest
    from kvmtrace.synth.effect import Requirement
    from kvmtrace.synth.model_file import Model


@dataclass(frozen=True, slots=True)
class Answer:
    """What a recording says of a requirement; `holds` None: it cannot be told, and `why`."""

    requirement: Requirement
    holds: bool | None
    why: str = ""


def not_recorded(manifest: Manifest, events: Iterable[str]) -> list[str]:
    """Return those of `events` (system:event) that a recording does not have, or has only a sample of."""
    missing = []
    for name in events:
        tracepoint = manifest.tracepoint(*name.split(":", 1))
        if tracepoint is None or tracepoint.period != 1:
            missing.append(name)
    return missing


def missing_in_words(manifest: Manifest, events: Iterable[str]) -> str:
    """Return that `events` are missing, as far as the recording tells."""
    names = ", ".join(events)
    return f"{names} not recorded" if manifest.tells_enabled else f"{names} not recorded, or never fired"


def asked(connection: StoreConnection, manifest: Manifest, model: Model) -> list[Answer]:
    """Ask a recording what a model requires. InputError: a statement of the model does not say it."""
    return [
        _asked(connection, manifest, model, number, requirement)
        for number, requirement in enumerate(model.header.effect.requires)
    ]


def _asked(
    connection: StoreConnection, manifest: Manifest, model: Model, number: int, requirement: Requirement
) -> Answer:
    if missing := not_recorded(manifest, requirement.needs):
        return Answer(requirement, None, missing_in_words(manifest, missing))
    place = ("effect", "requires", str(number), "holds")
    value = scalar(connection, manifest, model, place, requirement.holds)
    if value is not None and not isinstance(value, bool):
        raise wrong(model, place, f"expected true, false or null, found {value!r}")
    return Answer(requirement, value, "" if value is not None else "the recording does not tell")


def scalar(
    connection: StoreConnection, manifest: Manifest, model: Model, place: tuple[str, ...], sql: str
) -> object | None:
    """Return the one value that a statement of a model gives for a run. InputError: it gives none, or cannot run."""
    try:
        parameters = connection.check(sql).parameters
        if parameters != {"run_id"}:
            raise UsageError("expected the run as $run_id, and no other parameter")
        rows = connection.query(sql, {"run_id": manifest.run_id}).rows
    except KvmtraceError as error:
        raise wrong(model, place, error.message, error.hint) from None
    if len(rows) != 1 or len(rows[0]) != 1:
        raise wrong(model, place, f"expected one value, found {len(rows)} rows")
    value: object | None = rows[0][0]
    return value
