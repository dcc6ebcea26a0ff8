"""The one pass over the exits of a run: which change takes each, and the sums that figures are made of.

An exit belongs to the first change whose condition it meets and that does not let it stay; where there is none, to the
first whose condition it meets. So nothing is counted twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmtrace import queries
from kvmtrace.predicting.conditions import COUNT, EXIT, INTERRUPTS, INTERRUPTS_OF, Condition
from kvmtrace.predicting.plan import clock_hz, nanoseconds
from kvmtrace.store.views import quoted
from kvmtrace.time_blocks import BLOCK, span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmtrace.predicting.plan import Planned
    from kvmtrace.store.connection import Result, StoreConnection
    from kvmtrace.store.manifest import Manifest
    from kvmtrace.synth.model import Cost

SUMS = (
    "exits",
    "timed",
    "out_ns",
    "matching",
    "matching_timed",
    "matching_ns",
    "priced",
    "unclear",
    "stays",
    "gone",
    "saved_ns",
    "outside_ns",
    "most_gone",
    "most_saved_ns",
    "most_outside_ns",
)
"""Sums over exits: `priced` are matching ones of which a change tells the time; those called `most_` are as if none of
the matching ones stayed, and what is left of them cost nothing."""

_INTERRUPTS_QUERY = "whatif/interrupts"


def sums(connection: StoreConnection, manifest: Manifest, changes: Sequence[Planned], blocks: int) -> Result:
    """Return sums by block of time, and by change, reason and vCPU.

    Columns: block (null: of the whole run), change (its number in `changes`; null: none takes the exit), reason, vm_id,
    vcpu, and `SUMS`. UsageError: a condition does not fit the types of the recording.
    """
    used = [condition for planned in changes for condition in planned.uses]
    parameters: dict[str, object] = {"run_id": manifest.run_id, **span(manifest, blocks)}
    tables, joins = _events(changes)
    fields: dict[str, dict[str, str]] = {}
    if any(condition.columns & INTERRUPTS for condition in used):
        query = queries.load(_INTERRUPTS_QUERY)
        tables.append(f"{INTERRUPTS_OF} AS (\n{query.sql}\n)")
        joins.append(f"LEFT JOIN {INTERRUPTS_OF} ON {EXIT}.exit_id = {INTERRUPTS_OF}.exit_id")
        fields = query.fields
    sql = _STATEMENT.format(
        block=BLOCK.format(ts="whatif_exit.exit_ts_ns"),
        tables="".join(f"{table},\n" for table in tables),
        joins="\n".join(joins),
        answers="".join(_answers(number, planned) for number, planned in enumerate(changes)),
        taken=_first(changes, "{match} AND {stay} < 1"),
        met=_first(changes, "{match}"),
        unclear=" OR ".join(f"match_{n} IS NULL" for n in range(len(changes))) or "FALSE",
        share=_by_change([f"stay_{n}" for n in range(len(changes))]),
        less=_by_change([_less(planned) for planned in changes]),
        after=_by_change([_after(number, planned, parameters) for number, planned in enumerate(changes)]),
        outside=_by_change([_outside(number, planned, parameters) for number, planned in enumerate(changes)]),
        before=_by_change([_before(number, planned, parameters) for number, planned in enumerate(changes)]),
        adds=_by_change([str(planned.change.action == "add").upper() for planned in changes], "FALSE"),
    )
    return connection.query(sql, parameters, fields=fields)


_STATEMENT = """
WITH
{tables}whatif_met AS (
    SELECT
        {block} AS block,
        whatif_exit.reason,
        whatif_exit.vm_id,
        whatif_exit.vcpu,
        CASE WHEN NOT whatif_exit.suspect AND NOT whatif_exit.idle
            THEN whatif_exit.latency_ns::DOUBLE END AS out_ns,
        {answers}
        coalesce(whatif_exit.preempted_ns, 0)::DOUBLE AS preempted_ns
    FROM (SELECT * FROM exits WHERE run_id = $run_id) AS whatif_exit
    {joins}
),

whatif_taken AS (
    SELECT *, coalesce({taken}, {met}) AS change, {unclear} AS unclear,
        CASE WHEN out_ns IS NOT NULL THEN greatest(out_ns - preempted_ns, 0) END AS own_ns
    FROM whatif_met
),

whatif_changed AS (
    SELECT *, {share} AS share, {less} AS less, {after} AS after_ns, {outside} AS outside_ns,
        {before} AS before_ns, {adds} AS adds
    FROM whatif_taken
)

SELECT
    block,
    change,
    reason,
    vm_id,
    vcpu,
    count(*)::DOUBLE AS exits,
    count(out_ns)::DOUBLE AS timed,
    coalesce(sum(out_ns), 0) AS out_ns,
    count(change)::DOUBLE AS matching,
    count(out_ns) FILTER (change IS NOT NULL)::DOUBLE AS matching_timed,
    coalesce(sum(out_ns) FILTER (change IS NOT NULL), 0) AS matching_ns,
    count(*) FILTER (change IS NOT NULL AND (adds OR own_ns IS NOT NULL))::DOUBLE AS priced,
    count(*) FILTER (change IS NULL AND unclear)::DOUBLE AS unclear,
    sum(share) AS stays,
    sum((1 - share) * less) AS gone,
    sum((1 - share) * (CASE WHEN adds THEN 0 ELSE own_ns END - after_ns)) AS saved_ns,
    sum((1 - share) * outside_ns) AS outside_ns,
    coalesce(sum(greatest(less, 0)), 0) AS most_gone,
    coalesce(sum(own_ns) FILTER (change IS NOT NULL AND NOT adds), 0) AS most_saved_ns,
    coalesce(sum(before_ns), 0) AS most_outside_ns
FROM whatif_changed
GROUP BY GROUPING SETS ((block), (change, reason, vm_id, vcpu))
ORDER BY ALL
"""


def _events(changes: Sequence[Planned]) -> tuple[list[str], list[str]]:
    """Return a table of one row an exit for each event that conditions speak of, and their joins."""
    wanted: dict[str, set[str]] = {}
    for planned in changes:
        for condition in planned.uses:
            for event, column in condition.fields:
                wanted.setdefault(event, set()).add(column)
    tables, joins = [], []
    for event, columns in sorted(wanted.items()):
        firsts = "".join(f", arg_min({quoted(c)}, ts_ns) AS {quoted(c)}" for c in sorted(columns - {COUNT}))
        name = quoted(event)
        tables.append(
            f"{quoted('whatif_' + event)} AS (\n    SELECT exit_id AS whatif_exit_id, count(*) AS {COUNT}{firsts}\n"  # noqa: S608 - quoted names
            f"    FROM {name}\n    WHERE run_id = $run_id AND exit_id IS NOT NULL\n    GROUP BY exit_id\n)"
        )
        joins.append(f"LEFT JOIN {quoted('whatif_' + event)} AS {name} ON {EXIT}.exit_id = {name}.whatif_exit_id")
    return tables, joins


def _answers(number: int, planned: Planned) -> str:
    """Return the columns that say whether a change's conditions hold: match_N, and stay_N from 0 to 1 or null."""
    match = f"({planned.where.sql})"
    stays = planned.stays
    if isinstance(stays, Condition):
        # Which of them stay is not known of every exit (the first ones): those are as the others are.
        known = f"({stays.sql})::DOUBLE"
        stay = f"coalesce({known}, avg({known}) FILTER ({match}) OVER ())"
    else:
        stay = "NULL::DOUBLE" if stays is None else f"{stays!r}::DOUBLE"
    return f"{match} AS match_{number},\n        {stay} AS stay_{number},\n        "


def _first(changes: Sequence[Planned], form: str) -> str:
    cases = [
        f"WHEN {form.format(match=f'match_{n}', stay=f'coalesce(stay_{n}, 0)')} THEN {n}" for n in range(len(changes))
    ]
    return f"CASE {' '.join(cases)} END" if cases else "NULL::INTEGER"


def _by_change(values: Sequence[str], otherwise: str = "NULL::DOUBLE") -> str:
    cases = " ".join(f"WHEN {number} THEN {value}" for number, value in enumerate(values))
    return f"CASE change {cases} ELSE {otherwise} END" if cases else otherwise


def _less(planned: Planned) -> str:
    return {"remove": "1", "add": "-1"}.get(planned.change.action, "0") + "::DOUBLE"


def _after(number: int, planned: Planned, parameters: dict[str, object]) -> str:
    """Return the time of an exit with the change, in ns."""
    change = planned.change
    key = f"after_{number}"
    if change.action == "remove":
        return "0::DOUBLE"
    if change.factor is not None:
        parameters[key] = float(change.factor)
        return f"own_ns * ${key}"
    if change.saves is not None:
        parameters[key] = _ns(change.saves, planned)
        return f"greatest(own_ns - ${key}, 0)"
    parameters[key] = _ns(change.cost, planned)
    return f"${key}"


def _outside(number: int, planned: Planned, parameters: dict[str, object]) -> str:
    """Return what a change saves outside of the recorded time, in ns an exit."""
    change = planned.change
    if change.outside_before is None and change.outside_after is None:
        return "NULL::DOUBLE"
    key = f"outside_{number}"
    parameters[key] = _ns(change.outside_before, planned) - _ns(change.outside_after, planned)
    return f"${key}::DOUBLE"


def _before(number: int, planned: Planned, parameters: dict[str, object]) -> str:
    """Return what an exit costs outside of the recorded time without the change, in ns: no change saves more of it."""
    if planned.change.outside_before is None:
        return "NULL::DOUBLE"
    key = f"before_{number}"
    parameters[key] = _ns(planned.change.outside_before, planned)
    return f"${key}::DOUBLE"


def _ns(cost: Cost | None, planned: Planned) -> float:
    return 0.0 if cost is None else nanoseconds(cost, clock_hz(planned.place.model))
