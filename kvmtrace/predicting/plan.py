"""The changes that are applied to a recording, in the order in which they take an exit, as a statement needs them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from kvmtrace import schema
from kvmtrace.predicting import conditions
from kvmtrace.predicting.places import wrong
from kvmtrace.predicting.requirements import missing_in_words, not_recorded, scalar
from kvmtrace.store.manifest import events_table

if TYPE_CHECKING:
    from kvmtrace.predicting.conditions import Condition
    from kvmtrace.store.connection import StoreConnection
    from kvmtrace.store.manifest import Manifest
    from kvmtrace.synth.effect import Change
    from kvmtrace.synth.model import Cost
    from kvmtrace.synth.model_file import Model

_NS = {"ps": 1e-3, "ns": 1.0, "us": 1e3, "ms": 1e6}
_INTERRUPTS_NEED = ("kvm:kvm_eoi", "kvm:kvm_inj_virq", "kvm:kvm_apic_accept_irq")
_SELECT = re.compile(r"\s*(SELECT|WITH)\b", re.IGNORECASE)
_OUR_COLUMNS = frozenset(column.name for column in schema.EVENT_COLUMNS)


class Place(NamedTuple):
    """Where a change stands."""

    model: Model
    number: int


@dataclass(frozen=True, slots=True)
class Planned:
    """A change that can be applied."""

    place: Place
    change: Change
    where: Condition
    stays: Condition | float | None  # None: the recording does not tell which stay
    stays_unknown: str = ""  # why

    @property
    def uses(self) -> list[Condition]:
        """Its conditions."""
        return [self.where, *([self.stays] if isinstance(self.stays, conditions.Condition) else [])]


@dataclass(slots=True)
class Plan:
    """What is applied, in order; and what of the models cannot be, with the reason."""

    changes: list[Planned] = field(default_factory=list)
    left_out: list[tuple[Place, str]] = field(default_factory=list)

    def not_below_0(self) -> frozenset[str]:
        """Return the sums that cannot be below 0: no change makes an exit more, or one that takes longer."""
        changes = [each.change for each in self.changes]
        no_more = all(change.action != "add" for change in changes)
        no_longer = all(
            change.action == "remove" or change.saves is not None or (change.factor is not None and change.factor <= 1)
            for change in changes
        )
        return frozenset([name for name, holds in (("gone", no_more), ("saved_ns", no_longer)) if holds])


def planned(connection: StoreConnection, manifest: Manifest, models: list[Model]) -> Plan:
    """Return the changes of all models: what removes exits comes first, else in the order given.

    InputError: a condition of a model cannot be used.
    """
    plan = Plan()
    for model in models:
        for number, change in enumerate(model.header.effect.change):
            _plan_one(connection, manifest, Place(model, number), change, plan)
    plan.changes.sort(key=lambda each: each.change.action != "remove")
    return plan


def nanoseconds(cost: Cost, clock_hz: int) -> float:
    """Return the mean of a cost in ns; `clock_hz`: cycles in a second."""
    return cost.mean * (1e9 / clock_hz if cost.unit == "cycles" else _NS[cost.unit])


def clock_hz(model: Model) -> int:
    """Return the cycles in a second of the machine that a model's costs are of."""
    settings = model.settings
    variant = model.header.effect.base or next(iter(settings))
    return settings[variant].platform.clock_hz


def _plan_one(connection: StoreConnection, manifest: Manifest, place: Place, change: Change, plan: Plan) -> None:
    events = [name.split(":", 1)[1] for name in change.needs]
    where = _condition(connection, place, "where", change.where, events)
    stays, unknown = _stays(connection, manifest, place, change, events)
    if why := _missing(manifest, change, where):
        plan.left_out.append((place, why))
    else:
        _check_truth(connection, place, "where", where)
        if isinstance(stays, conditions.Condition):
            _check_truth(connection, place, "stays", stays)
        plan.changes.append(Planned(place, change, where, stays, unknown))


def _stays(
    connection: StoreConnection, manifest: Manifest, place: Place, change: Change, events: list[str]
) -> tuple[Condition | float | None, str]:
    if not isinstance(change.stays, str):
        return float(change.stays), ""
    if _SELECT.match(change.stays):
        key = ("effect", "change", str(place.number), "stays")
        value = scalar(connection, manifest, place.model, key, change.stays)
        if value is None:
            return None, "the recording does not tell how many stay"
        try:
            share = float(str(value))
        except ValueError:
            share = -1.0
        if not 0 <= share <= 1:
            raise wrong(place.model, key, f"expected a share of 0 to 1, found {value!r}")
        return share, ""
    condition = _condition(connection, place, "stays", change.stays, events)
    if why := _missing(manifest, change, condition):
        return None, why
    return condition, ""


def _condition(connection: StoreConnection, place: Place, key: str, text: str, events: list[str]) -> Condition:
    try:
        return conditions.parsed(connection, text, events)
    except conditions.ConditionError as error:
        raise wrong(place.model, ("effect", "change", str(place.number), key), error.message, error.hint) from None


def _check_truth(connection: StoreConnection, place: Place, key: str, condition: Condition) -> None:
    try:
        conditions.check_truth(connection, condition)
    except conditions.ConditionError as error:
        hint = error.hint or ("a share is a number without quotes, or a SELECT of one" if key == "stays" else None)
        raise wrong(place.model, ("effect", "change", str(place.number), key), error.message, hint) from None


def _missing(manifest: Manifest, change: Change, condition: Condition) -> str:
    """Return what a condition speaks of that the recording does not have, in words; empty: nothing."""
    needs = [*change.needs, *(_INTERRUPTS_NEED if condition.columns & conditions.INTERRUPTS else ())]
    missing = not_recorded(manifest, dict.fromkeys(needs))
    return missing_in_words(manifest, missing) if missing else "; ".join(_unknown_fields(manifest, change, condition))


def _unknown_fields(manifest: Manifest, change: Change, condition: Condition) -> list[str]:
    """Say which fields of events that fired the recording's kernel does not give."""
    paths = {name.split(":", 1)[1]: events_table(*name.split(":", 1)) for name in change.needs}
    unknown = []
    for event, column in sorted(condition.fields):
        table = manifest.tables.get(paths[event])
        if column != conditions.COUNT and table is not None and column not in table.columns:
            own = [name for name in table.columns if name not in _OUR_COLUMNS and not name.startswith("common_")]
            unknown.append(f"{event}.{column} not recorded: its fields are {', '.join(own) or 'none'}")
    return unknown
