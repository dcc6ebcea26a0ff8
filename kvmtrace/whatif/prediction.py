"""Applies the local effects of models to the exits of a run."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from kvmtrace import queries
from kvmtrace.errors import UsageError
from kvmtrace.whatif import assumptions, intervals
from kvmtrace.whatif.places import wrong
from kvmtrace.whatif.plan import Plan, clock_hz, nanoseconds, planned
from kvmtrace.whatif.requirements import asked, not_recorded
from kvmtrace.whatif.result import ChangeResult, Effect, Prediction, Refused, VcpuResult
from kvmtrace.whatif.statement import SUMS, sums

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kvmtrace.store.connection import Result, StoreConnection
    from kvmtrace.store.manifest import Manifest
    from kvmtrace.synth.model_file import Model
    from kvmtrace.whatif.plan import Planned

Row = dict[str, Any]
"""A row of `statement.sums` by the names of its columns."""

INJECTION = "kvm:kvm_inj_virq"
BLOCKS = 256
"""Blocks of time that a run is cut into for its intervals."""


def predict(connection: StoreConnection, manifest: Manifest, models: Sequence[Model]) -> Prediction:
    """Return what `models`, in this order, would do to a run; an exit that one changed is not counted again.

    UsageError: the run has no exits. InputError: a model's conditions cannot be used.
    """
    _check_exits(manifest)
    applied, refused, cautions = _fitting(connection, manifest, models)
    plan = planned(connection, manifest, applied)
    refused += [Refused(place.model.name, why, _change(place.model, place.number)) for place, why in plan.left_out]
    rows = _rows(_sums(connection, manifest, plan))
    blocks = [row for row in rows if row["block"] is not None]
    groups = [row for row in rows if row["block"] is None]
    injections = _injections(connection, manifest)
    time_ns, time_is = _time(manifest)
    vcpus = _vcpus(groups)
    by_block = _by_block(blocks)
    series = intervals.Series(by_block, injections, time_ns, len(vcpus))
    taken = [row for row in groups if row["change"] is not None]
    used = {plan.changes[row["change"]].place.model.name for row in taken}
    nothing = "no exit matches" if len(applied) == 1 else "no exit matches that another model does not change first"
    refused += [Refused(model.name, nothing) for model in applied if _matches_nothing(model, plan, used)]
    return Prediction(
        manifest,
        connection.catalogue.label(manifest.run_id).label or manifest.source.title,
        tuple(model.name for model in applied if model.name in used),
        tuple(refused),
        tuple(cautions),
        tuple(assumptions.of(manifest, plan, used, groups)),
        round(sum(row["exits"] for row in groups)),
        None if injections is None else round(injections.sum()),
        sum(row["out_ns"] for row in groups),
        time_ns,
        time_is,
        vcpus,
        _changes(plan, taken),
        _effect(groups),
        series.measures(),
        BLOCKS,
        (time_ns or 0) / BLOCKS,
    )


def _check_exits(manifest: Manifest) -> None:
    if manifest.kind != "recording":
        raise UsageError(
            f"run {manifest.run_id} has no exits: it is a run of {manifest.kind} ({manifest.source.title})",
            hint="whatif needs a recording of events: perf record, trace-cmd record",
        )
    stored = manifest.tables.get("exits")
    if stored is None or stored.rows == 0:
        raise UsageError(f"run {manifest.run_id} has no exits: {manifest.unpaired or 'none was recorded'}")


def _fitting(
    connection: StoreConnection, manifest: Manifest, models: Iterable[Model]
) -> tuple[list[Model], list[Refused], list[str]]:
    """Return the models that can be applied, the others with the reason, and what could not be told."""
    fitting: list[Model] = []
    refused: list[Refused] = []
    cautions: list[str] = []
    for model in models:
        effect = model.header.effect
        if effect.scope != "local" or not effect.change:
            why = f"its effect is {effect.scope}" if effect.scope != "local" else "the file has no [[effect.change]]"
            refused.append(
                Refused(model.name, f"not predictable from exits: {why}: {' '.join(effect.because.split())}")
            )
            continue
        answers = asked(connection, manifest, model)
        if failed := [answer.requirement for answer in answers if answer.holds is False]:
            whats = "; ".join(f"{each.what}{f' ({each.because})' if each.because else ''}" for each in failed)
            refused.append(Refused(model.name, f"does nothing here: it needs that {whats}"))
            continue
        fitting.append(model)
        cautions += [
            f"{model.name} needs that {answer.requirement.what}; whether it is so, nobody can tell: {answer.why}"
            for answer in answers
            if answer.holds is None
        ]
    return fitting, refused, cautions


def _sums(connection: StoreConnection, manifest: Manifest, plan: Plan) -> Result:
    """Return the sums; where the statement fails, name the change that is to blame."""
    try:
        return sums(connection, manifest, plan.changes, BLOCKS)
    except UsageError as error:
        for each in plan.changes:
            for key, alone in (("where", replace(each, stays=0.0)), ("stays", each)):
                try:
                    sums(connection, manifest, [alone], 1)
                except UsageError as own:
                    place = ("effect", "change", str(each.place.number), key)
                    raise wrong(each.place.model, place, own.message) from None
        raise error from None


def _rows(result: Result) -> list[Row]:
    return [dict(zip(result.names, row, strict=True)) for row in result.rows]


def _by_block(rows: Sequence[Row]) -> dict[str, Any]:
    """Return each sum as (BLOCKS,); NaN: not told."""
    series = {name: np.zeros(BLOCKS) for name in SUMS}
    for row in rows:
        for name in SUMS:
            value = row[name]
            series[name][row["block"]] = value if value is not None else np.nan if row["matching"] else 0.0
    return series


def _injections(connection: StoreConnection, manifest: Manifest) -> Any:  # noqa: ANN401 - an array, or none
    if not_recorded(manifest, [INJECTION]):
        return None
    found = queries.run(connection, queries.load("whatif/injections"), {"run_id": manifest.run_id, "blocks": BLOCKS})
    series = np.zeros(BLOCKS)
    for block, count in found.rows:
        series[block] = count
    return series


def _time(manifest: Manifest) -> tuple[int | None, str]:
    for ns, which in ((manifest.enabled_ns, "enabled"), (manifest.elapsed_ns, "elapsed")):
        if ns is not None and ns > 0:
            return ns, which
    return None, "not recorded"


def _effect(rows: Sequence[Row]) -> Effect:
    taken = [row for row in rows if row["matching"]]

    def total(name: str, among: Sequence[Row]) -> float | None:
        values = [row[name] for row in among]
        return None if any(value is None for value in values) else float(sum(values))

    outside = [row for row in taken if row["outside_ns"] is not None]
    timed = [row for row in taken if row["matching_timed"]]
    return Effect(
        round(sum(row["matching"] for row in taken)),
        total("stays", taken),
        total("gone", taken),
        total("saved_ns", timed),
        sum(row["outside_ns"] for row in outside) if outside else None,
        round(sum(row["most_gone"] for row in taken)),
        sum(row["most_saved_ns"] for row in taken),
        sum(row["most_outside_ns"] for row in taken),
    )


def _changes(plan: Plan, taken: Sequence[Row]) -> tuple[ChangeResult, ...]:
    kinds: dict[tuple[int, str | None], list[Row]] = defaultdict(list)
    for row in taken:
        kinds[row["change"], row["reason"]].append(row)
    results = []
    for (number, reason), rows in kinds.items():
        each = plan.changes[number]
        results.append(
            ChangeResult(
                each.place.model.name,
                each.change.name,
                each.change.action,
                each.change.to,
                reason,
                sum(row["matching_ns"] for row in rows),
                round(sum(row["matching_timed"] for row in rows)),
                _unseen(each),
                _effect(rows),
            )
        )
    return tuple(sorted(results, key=lambda each: -(each.effect.net_ns or 0)))


def _unseen(each: Planned) -> float | None:
    after = each.change.outside_after
    return None if after is None else nanoseconds(after, clock_hz(each.place.model))


def _vcpus(rows: Sequence[Row]) -> tuple[VcpuResult, ...]:
    own: dict[tuple[str | None, int | None], list[Row]] = defaultdict(list)
    for row in rows:
        own[row["vm_id"], row["vcpu"]].append(row)
    ordered = sorted(own, key=lambda key: (key[0] or "", -1 if key[1] is None else key[1]))
    return tuple(
        VcpuResult(vm_id, vcpu, sum(row["out_ns"] for row in own[vm_id, vcpu]), _effect(own[vm_id, vcpu]))
        for vm_id, vcpu in ordered
    )


def _change(model: Model, number: int) -> str:
    return model.header.effect.change[number].name


def _matches_nothing(model: Model, plan: Plan, used: set[str]) -> bool:
    """Tell whether a model has changes that could be looked for, and none of them was found."""
    return model.name not in used and any(each.place.model is model for each in plan.changes)
