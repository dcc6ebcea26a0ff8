"""Text of an event as its own print fmt prints it, to compare decoded fields with what perf says.

A plain, slow reference: printf(3) over the evaluated arguments (kvmtrace/tracepoints/printing.py).

`render` prints what the kernel prints. `render_as_perf` prints what libtraceevent 1.7 prints where it differs: it reads
integers of less than 8 bytes without their sign, so an errno of -4 is not below 0, and an s8 of -1 prints as 255.
Other faults of it are not followed: it cannot parse kvm_inj_exception nor kvm_sys_access ("[FAILED TO PARSE]"), prints
%c as ">c<", takes all negative keys of __print_symbolic for -1, and prints __print_array as decimals with blanks.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from kvmtrace.tracepoints import EventFormat, PrintFormat
from kvmtrace.tracepoints.printing import printed

if TYPE_CHECKING:
    from kvmtrace.tracepoints import Values

LONG_SIZE = 8


def render(event_format: EventFormat, values: Values) -> str:
    """Return the text of one event. EvaluationError: an argument that cannot be computed from the fields."""
    return printed(_parsed(event_format), values)


def render_as_perf(event_format: EventFormat, values: Values) -> str:
    """Return the text of one event as perf script prints it. EvaluationError: as in `render`."""
    read = dict(values)
    for field in event_format.fields:
        value = read.get(field.name)
        if isinstance(value, int) and field.size < LONG_SIZE:
            read[field.name] = value & ((1 << 8 * field.size) - 1)
    return printed(_parsed_without_widths(event_format.print_fmt), read)


@lru_cache(maxsize=1024)
def _parsed(event_format: EventFormat) -> PrintFormat:
    return PrintFormat.of(event_format)


@lru_cache(maxsize=1024)
def _parsed_without_widths(print_fmt: str) -> PrintFormat:
    return PrintFormat.parse(print_fmt)
