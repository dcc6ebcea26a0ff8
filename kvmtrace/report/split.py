"""The table that says where the time out of the guest went."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvmtrace.report import readable
from kvmtrace.report.blocks import Column, Table, number, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kvmtrace.report.summary import ExitTable, Row

_SHARES = {
    "kernel %": "kernel_share",
    "userspace %": "userspace_share",
    "blocked %": "blocked_share",
    "polled %": "polled_share",
    "preempted %": "preempted_share",
    "unclear %": "unclear_share",
    "in hcalls %": "hcall_share",
}
"""Heading and column; the last one is no part of its own."""
_RECORDED_BY = {
    "userspace_ns": ("time in userspace", "kvm_userspace_exit"),
    "blocked_ns": ("halts", "kvm_vcpu_wakeup"),
    "preempted_ns": ("preemption", "sched_switch"),
}


def split_table(title: str, names: Sequence[Column], rows: Sequence[Row]) -> Table | None:
    """Return the table of a section, whose last row is its total; None where nothing of it was recorded."""
    total = rows[-1]
    told = {heading: column for heading, column in _SHARES.items() if total[column] is not None}
    if not told.keys() - {"kernel %", "unclear %"}:
        return None
    if not total["unclear_share"]:
        del told["unclear %"]
    shares = [number(heading, column, readable.percent) for heading, column in told.items()]
    shown = table(title, [*names, number("time µs", "out_of_guest_ns", readable.microseconds), *shares], rows, names=1)
    return replace(shown, names=len(names), rows=(*shown.rows[:-1], ("total", *shown.rows[-1][1:])), totals=1)


def split_footnotes(exits: ExitTable) -> Iterable[str]:
    """Say what the parts are, and which of them the recording does not tell."""
    totals = [section.total for section in exits.sections if section.total.timed]
    if not any(getattr(total, name) is not None for total in totals for name in _RECORDED_BY):
        return
    yield "userspace %, blocked %, …: parts of the time out of the guest; kernel % is the rest of it."
    missing = [
        f"{what} ({event})"
        for name, (what, event) in _RECORDED_BY.items()
        if all(getattr(total, name) is None for total in totals)
    ]
    if missing:
        yield f"unclear %: in the kernel, or in what was not recorded: {', '.join(missing)}."
    if any(total.hcall_ns is not None for total in totals):
        yield "in hcalls %: between kvm_hcall_enter and kvm_hcall_exit; it lies in the other parts."
