"""What a metric is about: counts or times."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmtrace.comparing import terms

if TYPE_CHECKING:
    from kvmtrace.comparing.terms import Term

_OF_TIME = ("timed", "sum_ns", "guest_ns")


def is_time(term: Term) -> bool:
    """Tell whether a figure is a time, or what a benchmark gives; what it is divided by does not matter."""
    match term:
        case terms.Exits(column):
            return column in _OF_TIME
        case terms.Percentile() | terms.Figure():
            return True
        case terms.Operation("/", left, _):
            return is_time(left)
        case terms.Operation(_, left, right):
            return is_time(left) or is_time(right)
    return False


def asks(term: Term) -> bool:
    """Tell whether a recording is asked for anything."""
    match term:
        case terms.Number():
            return False
        case terms.Operation(_, left, right):
            return asks(left) or asks(right)
    return True
