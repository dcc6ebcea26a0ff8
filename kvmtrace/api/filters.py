"""Chooses exits by their values: what cannot be a value of a column is an error, and no empty table."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

import polars as pl

from kvmtrace.arch.reason_names import reason_names
from kvmtrace.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_TYPES: dict[str, tuple[type, str]] = {
    "reason": (str, "a text"),
    "vm_id": (str, "a text"),
    "vcpu": (int, "a whole number"),
    "detail": (int, "a whole number"),
    "idle": (bool, "True or False"),
    "suspect": (bool, "True or False"),
}
_LISTED = 12


def with_values(frame: pl.LazyFrame, asked: Mapping[str, object]) -> pl.LazyFrame:
    """Return the exits whose columns have the values: one, or one of several; None: any.

    UsageError: a value is of another type, or a reason that none of the exits has and no architecture knows.
    """
    chosen = frame
    for column, value in asked.items():
        if value is None:
            continue
        values = _values(column, value)
        if column == "reason":
            _check_reasons(frame, values)
        wanted = pl.Series(values, dtype=frame.collect_schema()[column]).implode()
        chosen = chosen.filter(pl.col(column).is_in(wanted))
    return chosen


def _values(column: str, given: object) -> list[object]:
    type_, what = _TYPES[column]
    several = hasattr(given, "__iter__") and not isinstance(given, str)
    values = list(given) if several else [given]  # type: ignore[call-overload]
    for value in values:
        if not isinstance(value, type_) or (type_ is int and isinstance(value, bool)):
            raise UsageError(f"{column}: expected {what}, or several, found {value!r}")
    low, high = (0, 1 << 64) if column == "detail" else (-(1 << 31), 1 << 31)
    return [value for value in values if not isinstance(value, int) or low <= value < high]


def _check_reasons(frame: pl.LazyFrame, reasons: Iterable[object]) -> None:
    """UsageError: the exits have no such reason, and none could. The exits are read only for a name we do not know."""
    unknown = [str(reason) for reason in reasons if reason not in reason_names()]
    if not unknown:
        return
    seen = frame.select(pl.col("reason").unique().drop_nulls().sort()).collect()["reason"].to_list()
    for reason in unknown:
        if reason not in seen:
            message = f"reason: none of the runs has seen {reason!r}, and no architecture knows it"
            raise UsageError(message, hint=_hint(reason, seen))


def _hint(reason: str, seen: list[str]) -> str:
    for names in (seen, sorted(reason_names())):
        known = {name.lower(): name for name in names}
        if near := get_close_matches(reason.lower(), known, n=3):
            return f"nearest: {', '.join(known[name] for name in near)}"
    more = f" and {len(seen) - _LISTED} more" if len(seen) > _LISTED else ""
    return f"seen: {', '.join(seen[:_LISTED])}{more}"
