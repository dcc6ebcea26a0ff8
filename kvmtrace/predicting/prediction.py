"""Applies the local effects of models to the exits of a run."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from kvmtrace.errors import UsageError
from kvmtrace.predicting import assumptions, intervals
from kvmtrace.predicting.places import wrong
from kvmtrace.predicting.plan import Plan, clock_hz, nanoseconds, planned
from kvmtrace.predicting.requirements import asked, not_recorded
from kvmtrace.predicting.result import ChangeResult, Effect, Measures, Prediction, Refused, VcpuResult, vcpu_count
from kvmtrace.predicting.statement import SUMS, sums
from kvmtrace.stats.blocks import blocks_for
from kvmtrace.time_blocks import event_blocks

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from kvmtrace.predicting.plan import Planned
    from kvmtrace.store.connection import Result, StoreConnection
    from kvmtrace.store.manifest import Manifest
    from kvmtrace.synth.model_file import Model

Row = dict[str, Any]
"""A row of `statement.sums` by the names of its columns."""

INJECTION = ("kvm", "kvm_inj_virq")


def predict(connection: StoreConnection, manifest: Manifest, models: Sequence[Model]) -> Prediction:
    """Return what `models`, in this order, would do to a run; an exit that one changed is not counted again.

    UsageError: the run has no exits, or two models have one name. InputError: a model's conditions cannot be used.
    """
    exits = _exits(manifest)
    _check_names(models)
    blocks = blocks_for(exits)
    applied, refused, cautions = _fitting(connection, manifest, models)
    plan = planned(connection, manifest, applied)
    refused += [Refused(place.model.name, why, _change(place.model, place.number)) for place, why in plan.left_out]
    # A pass over all exits takes minutes on the largest recordings: not for a model that changes none.
    rows = _rows(_sums(connection, manifest, plan, blocks)) if plan.changes else []
    groups = [row for row in rows if row["block"] is None]
    injections = _injections(connection, manifest, blocks) if plan.changes else None
    time_ns, time_is = manifest.rate_time or (None, "not recorded")
    vcpus = _vcpus(groups)
    total = _effect(groups)
    by_block = _by_block([row for row in rows if row["block"] is not None], blocks, total)
    series = intervals.Series(by_block, injections, time_ns, vcpu_count(vcpus), plan.not_below_0())
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
        exits,
        None if injections is None else round(injections.sum()),
        sum(row["out_ns"] for row in groups) if plan.changes else None,
        time_ns,
        time_is,
        vcpus,
        _changes(plan, taken),
        total,
        series.measures() if plan.changes else Measures(),
        blocks,
        (time_ns or 0) / blocks,
    )


def _check_names(models: Sequence[Model]) -> None:
    """Check that a name tells one model: figures and assumptions are told by it."""
    paths: dict[str, Model] = {}
    for model in models:
        if (other := paths.setdefault(model.name, model)) is not model:
            raise UsageError(
                f"two models are called {model.name!r}: {other.path} and {model.path}", hint="rename one of the files"
            )


def _exits(manifest: Manifest) -> int:
    """Return how many exits the run has. UsageError: none."""
    if manifest.kind != "recording":
        raise UsageError(
            f"run {manifest.run_id} has no exits: it is a run of {manifest.kind} ({manifest.source.title})",
            hint="whatif needs a recording of events: perf record, trace-cmd record",
        )
    stored = manifest.tables.get("exits")
    if stored is None or stored.rows == 0:
        raise UsageError(f"run {manifest.run_id} has no exits: {manifest.unpaired or 'none was recorded'}")
    return stored.rows


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


def _sums(connection: StoreConnection, manifest: Manifest, plan: Plan, blocks: int) -> Result:
    """Return the sums; where the statement fails, name the change that is to blame."""
    try:
        return sums(connection, manifest, plan.changes, blocks)
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


def _by_block(rows: Sequence[Row], blocks: int, total: Effect) -> dict[str, Any]:
    """Return each sum as (blocks,); NaN: its total is not told."""
    told = {"stays": total.stay, "gone": total.gone, "saved_ns": total.saved_ns}
    series = {name: np.zeros(blocks) for name in SUMS}
    for row in rows:
        for name in SUMS:
            series[name][row["block"]] = row[name] or 0.0
    return series | {name: np.full(blocks, np.nan) for name, value in told.items() if value is None}


def _injections(connection: StoreConnection, manifest: Manifest, blocks: int) -> NDArray[np.float64] | None:
    tracepoint = manifest.tracepoint(*INJECTION)
    if tracepoint is None or not_recorded(manifest, [":".join(INJECTION)]):
        return None
    return event_blocks(connection, manifest, tracepoint, blocks)


def _effect(rows: Sequence[Row]) -> Effect:
    taken = [row for row in rows if row["matching"]]

    def total(name: str, among: Sequence[Row]) -> float | None:
        values = [row[name] for row in among]
        return None if any(value is None for value in values) else float(sum(values))

    outside = [row for row in taken if row["outside_ns"] is not None]
    priced = [row for row in taken if row["priced"]]
    return Effect(
        round(sum(row["matching"] for row in taken)),
        total("stays", taken),
        total("gone", taken),
        total("saved_ns", priced),
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
