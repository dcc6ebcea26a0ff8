"""From what the user names to a comparison: finds the runs, reads what is needed of them, and no more."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING

from kvmtrace.comparing import comparison
from kvmtrace.comparing.denominators import INJECTION
from kvmtrace.comparing.lines import Options
from kvmtrace.comparing.reading import Plan, read_details, read_each, read_pair
from kvmtrace.comparing.sides import Side
from kvmtrace.comparing.tables import EXIT, PORT_IO, USERSPACE, wants_latency
from kvmtrace.errors import UsageError
from kvmtrace.exit_keys import By

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmtrace.comparing.claims import Claim
    from kvmtrace.comparing.comparison import Comparison
    from kvmtrace.comparing.expressions import Expression
    from kvmtrace.comparing.run_data import RunData
    from kvmtrace.store.connection import StoreConnection
    from kvmtrace.store.manifest import Manifest

_LISTED = 8


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be compared; each of `base` and `new` names a run, or by KEY=VALUE all runs with that tag."""

    base: tuple[str, ...]
    new: tuple[str, ...]
    options: Options = field(default_factory=Options)
    claims: tuple[Claim, ...] = ()


def answer(connection: StoreConnection, request: Request) -> Comparison:
    """Compare. UsageError: a run, event or reason that is not there. StoreError: a run cannot be read."""
    base, new = sides(connection, request, [each.expression for each in request.claims])
    beside = left_out(connection, request)
    detailed = None
    if all(run.keyed is not None for side in (base, new) for run in side.runs):
        plan = Plan(frozenset({By.REASON, By.DETAIL}), latency=False, guest_time=request.options.per.guest_time)
        whole = [tuple(read_details(connection, run, plan) for run in side.runs) for side in (base, new)]
        detailed = replace(base, runs=whole[0]), replace(new, runs=whole[1])
    found = comparison.compare(base, new, detailed, request.options, request.claims)
    return replace(found, warnings=(*beside, *found.warnings))


def sides(connection: StoreConnection, request: Request, expressions: Sequence[Expression]) -> tuple[Side, Side]:
    """Return the two sides with what the options and `expressions` need of them. Errors: as of `answer`."""
    base, new = _runs_compared(connection, request)
    per = request.options.per
    if per.event is not None and all(m.kind == "recording" for m in [*base, *new]):
        _check_event(per.event, [*base, *new])  # before anything is read of large recordings
    plan = _plan(request.options, expressions, [*base, *new])
    if len(base) == len(new) == 1:
        first, second = read_pair(connection, base[0], new[0], plan)
        runs: tuple[Sequence[RunData], Sequence[RunData]] = [first], [second]
    else:
        runs = read_each(connection, base, plan), read_each(connection, new, plan)
    if per.event is not None:
        _check_event(per.event, [*base, *new], [run for of_side in runs for run in of_side])
    work = per.work or (None, None)
    made = [
        Side(name, tuple(replace(run, work=done) for run in of_side))
        for name, of_side, done in zip(("base", "new"), runs, work, strict=True)
    ]
    return made[0], made[1]


def _plan(options: Options, expressions: Sequence[Expression], manifests: Sequence[Manifest]) -> Plan:
    events = {EXIT, INJECTION, PORT_IO, USERSPACE} | {name for each in expressions for name in each.events}
    if options.per.event is not None:
        events.add(options.per.event)
    # What somebody else counted may be any event, and where no exit is told the events are all that there is.
    if options.events or not all(m.kind == "recording" and m.exits.get("rows") for m in manifests):
        events |= {f"{t.system}:{t.event}" for m in manifests for t in m.tracepoints}
    by = {By.REASON, *options.by} | {By.DETAIL for each in expressions if each.needs_details}
    latency = wants_latency(options) or any(each.needs_latency for each in expressions)
    guest_time = options.per.guest_time or any(each.needs_guest_time for each in expressions)
    return Plan(frozenset(by), frozenset(events), latency, guest_time)


def _check_event(name: str, manifests: Sequence[Manifest], runs: Sequence[RunData] = ()) -> None:
    """UsageError: no recording has the event, and no counter of `runs` counts it."""
    known = {each for m in manifests for t in m.tracepoints for each in (t.event, f"{t.system}:{t.event}")}
    known |= {each for run in runs for each in run.events}
    if name not in known:
        near = get_close_matches(name, known, n=3, cutoff=0.4)
        raise UsageError(
            f"--per {name}: not recorded in any of the runs",
            hint=f"nearest: {', '.join(near)}" if near else "second, guest-second, vcpu, run, work=N/M, or an event",
        )


def left_out(connection: StoreConnection, request: Request) -> list[str]:
    """Say which runs of a tag are not compared. UsageError: as of `sides`."""
    taken = {m.run_id for side in _runs_compared(connection, request) for m in side}
    said = []
    for name in dict.fromkeys((*request.base, *request.new)):
        others = [m for m in connection.catalogue.tagged(name) if m.run_id not in taken]
        if others:
            listed = ", ".join(f"{m.run_id} ({m.kind.replace('_', ' ')})" for m in others[:_LISTED])
            more = f" and {len(others) - _LISTED} more" if len(others) > _LISTED else ""
            said.append(f"Of {name} recordings alone are compared; left out: {listed}{more}.")
    return said


def _runs_compared(connection: StoreConnection, request: Request) -> tuple[list[Manifest], list[Manifest]]:
    """Return the runs that names mean; where both sides have recordings, a tag means these alone."""
    both = _runs_named(connection, request.base), _runs_named(connection, request.new)
    if all(any(m.kind == "recording" for m in side) for side in both):
        return (
            _runs_named(connection, request.base, only="recording"),
            _runs_named(connection, request.new, only="recording"),
        )
    return both


def _runs_named(connection: StoreConnection, names: Sequence[str], only: str | None = None) -> list[Manifest]:
    """Return the runs, of a tag those of a kind, each once, in order. UsageError: a name means none, or several."""
    found: dict[str, Manifest] = {}
    for name in names:
        tagged = connection.catalogue.tagged(name)
        for manifest in tagged or [connection.catalogue.resolve(name)]:
            if not tagged or only in (None, manifest.kind):
                found[manifest.run_id] = manifest
    return list(found.values())
