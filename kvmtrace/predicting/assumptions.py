"""What a prediction takes for granted, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvmtrace.predicting.plan import clock_hz
from kvmtrace.predicting.requirements import not_recorded
from kvmtrace.predicting.result import Assumption

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvmtrace.predicting.plan import Plan, Planned
    from kvmtrace.store.manifest import Manifest

SWITCHES = "sched:sched_switch"


def of(manifest: Manifest, plan: Plan, used: set[str], rows: Sequence[dict[str, Any]]) -> Iterator[Assumption]:
    """Yield the assumptions behind the changes that found exits; `rows`: sums by change, reason and vCPU."""
    found = {row["change"] for row in rows if row["change"] is not None}
    changes = [each for number, each in enumerate(plan.changes) if number in found]
    if not changes:
        return
    yield Assumption("the guest", "does the same work in the same time, and is interrupted as often")
    for each in changes:
        about = f"{each.place.model.name}, {each.change.name}"
        yield Assumption(about, " ".join(each.change.because.split()))
        if stays := _of_stays(each):
            yield Assumption(about, stays)
    for model in {each.place.model.name: each.place.model for each in changes if _has_cycles(each)}.values():
        hz = clock_hz(model) / 1e9
        yield Assumption(model.name, f"cycles are those of its source's machine, at {hz:g} GHz, also on this one")
    if not_recorded(manifest, [SWITCHES]):
        yield Assumption("preemption", f"no exit of these lost its CPU meanwhile: {SWITCHES} was not recorded")
    priced, matching = (sum(row[name] for row in rows) for name in ("priced", "matching"))
    if priced < matching:
        others = "the others are idle, doubtful or have no latency"
        yield Assumption("times", f"are of {priced:,.0f} of {matching:,.0f} matching exits: {others}")
    if unclear := sum(row["unclear"] for row in rows):
        yield Assumption("left out", f"{unclear:,.0f} exits of which was not recorded whether they match")
    if len(used) > 1:
        yield Assumption("order", "an exit is counted for one change: what removes exits first, then as --model says")


def _of_stays(each: Planned) -> str | None:
    if each.stays is None:
        return f"how many stay is not known ({each.stays_unknown}): only upper bounds are told"
    if isinstance(each.stays, float) and each.stays > 0:
        return f"{each.stays:.1%} of the matching exits stay as they are"
    return None


def _has_cycles(each: Planned) -> bool:
    change = each.change
    costs = (change.cost, change.saves, change.outside_before, change.outside_after)
    return any(cost is not None and cost.unit == "cycles" for cost in costs)
