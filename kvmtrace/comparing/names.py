"""Whether what an expression names is there: a mistyped reason would be 0 on both sides, and pass for an answer."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from kvmtrace.comparing import terms
from kvmtrace.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from kvmtrace.comparing.expressions import Expression
    from kvmtrace.comparing.run_data import Where
    from kvmtrace.comparing.sides import Side
    from kvmtrace.comparing.terms import Term


def check_names(expression: Expression, base: Side, new: Side) -> None:
    """UsageError: an exit reason, detail, event or figure of an expression is in no run of either side.

    A reason that the recording's kernel knows may never have occurred: that is 0, and an answer.
    """
    runs = [run for side in (base, new) for run in side.runs]
    reasons = {str(each.key.reason) for run in runs for each in run.keyed or ()}
    reasons |= {name for run in runs for name in run.reasons}
    events = {name for run in runs for name in run.events}
    events |= {name for run in runs for t in run.manifest.tracepoints for name in (t.event, f"{t.system}:{t.event}")}
    figures = {name for run in runs for name in run.figures}
    _check("exit reason", expression.reasons, reasons, expression)
    _check("event", expression.events, events, expression)
    _check("figure", expression.figures, figures, expression)
    keys = {each.key for run in runs for each in run.keyed or ()}
    for where in _selections(expression.term):
        asked = dict(where)
        if "detail_name" in asked:
            same = {key for key in keys if key.reason == asked["reason"]}
            known = {str(key.detail_name) for key in same if key.detail_name}
            if asked["detail_name"] not in known and any(key.detail_capped for key in same):
                raise UsageError(
                    f"{expression.text!r}: {asked['detail_name']!r} is not among the details of most exits, which are "
                    f"kept apart; {asked['reason']} has more"
                )
            _check(f"detail of {asked['reason']}", {str(asked["detail_name"])}, known, expression)


def _check(kind: str, asked: set[str], known: Collection[str], expression: Expression) -> None:
    for name in sorted(asked.difference(known)):
        near = get_close_matches(name, known, n=3, cutoff=0.4)
        hint = f"nearest: {', '.join(near)}" if near else None
        raise UsageError(f"{expression.text!r}: no run of either side has the {kind} {name!r}", hint=hint)


def _selections(term: Term) -> Iterator[Where]:
    match term:
        case terms.Exits(_, where) | terms.Percentile(_, where):
            yield where
        case terms.Operation(_, left, right):
            yield from _selections(left)
            yield from _selections(right)
