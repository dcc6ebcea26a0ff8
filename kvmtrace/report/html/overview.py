"""A run in plain words: what was recorded, which exits took most, what a guest felt of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmtrace.report import readable
from kvmtrace.report.html.charts import name_of
from kvmtrace.report.wording import USERSPACE_EXIT, listed, of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvmtrace.report.html.run_figures import VcpuCount
    from kvmtrace.report.summary import ExitGroup, ExitTable, Section, Summary

_NAMED = 3


def sentences(summary: Summary, exits: ExitTable, by_vcpu: Sequence[VcpuCount]) -> Iterator[str]:
    """Yield what a reader should know of a run's exits first, a sentence or two each."""
    cost = next((section for section in exits.sections if not section.idle), None)
    idle = next((section for section in exits.sections if section.idle), None)
    yield _how_many(summary, exits, cost, idle, by_vcpu)
    if cost is not None and cost.total.out_of_guest_ns:
        yield _where_most(summary, cost, by_vcpu)
        yield _how_long(cost.total)
    if injected := summary.injected_interrupts:
        yield _per_interrupt(exits, injected)
    if cost is not None:
        yield _userspace(cost.total)
    if idle is not None:
        yield _idle(idle.total)
    if not summary.manifest.lost:  # a warning says what was
        yield "Nothing was lost, as far as the recording tells."


def _how_many(
    summary: Summary, exits: ExitTable, cost: Section | None, idle: Section | None, by_vcpu: Sequence[VcpuCount]
) -> str:
    n = cost.total.exits if cost else 0
    rate_time = summary.rate_time
    rate = f", {readable.fixed(rate_time.per_second(n))} a second" if rate_time else " (no rates: no time is recorded)"
    vcpus = _vcpus(by_vcpu)
    where = f" of {of(len(vcpus), 'vCPU')}" if vcpus else ""
    time = f" in {readable.duration(rate_time.ns)}" if rate_time else ""
    apart = f"; {of(idle.total.exits, 'idle exit')} beside them" if idle else ""
    too = ", idle ones too" if exits.with_idle else ""
    return f"{of(n, 'exit')}{too}{where}{time}{rate}{apart}."


def _where_most(summary: Summary, cost: Section, by_vcpu: Sequence[VcpuCount]) -> str:
    total_ns = cost.total.out_of_guest_ns or 1
    first, *others = [group for group in cost.groups if group.out_of_guest_ns][:_NAMED]

    def share(group: ExitGroup) -> str:
        return f"{readable.percent((group.out_of_guest_ns or 0) / total_ns)}%"

    then = f", then {listed([f'{_name(group)} ({share(group)})' for group in others])}" if others else ""
    return (
        f"They kept the guest out for {readable.duration(total_ns)} in all{_of_vcpu_time(summary, total_ns, by_vcpu)}. "
        f"The largest part was {_name(first)}: {readable.duration(first.out_of_guest_ns or 0)} ({share(first)}) "
        f"in {of(first.exits, 'exit')}{then}."
    )


def _of_vcpu_time(summary: Summary, total_ns: int, by_vcpu: Sequence[VcpuCount]) -> str:
    """Say which part of the time of all vCPUs that is, where nothing is missing from either."""
    vcpus = _vcpus(by_vcpu)
    rate_time = summary.rate_time
    if rate_time is None or summary.manifest.lost or not vcpus or any(each.vcpu is None for each in by_vcpu):
        return ""
    return f", {readable.percent(total_ns / (rate_time.ns * len(vcpus)))}% of the time of its {of(len(vcpus), 'vCPU')}"


def _vcpus(by_vcpu: Sequence[VcpuCount]) -> set[tuple[str | None, int | None]]:
    return {(each.vm_id, each.vcpu) for each in by_vcpu if each.vcpu is not None}


def _name(group: ExitGroup) -> str:
    return name_of(group.key.reason if group.key else None)


def _how_long(total: ExitGroup) -> str:
    if total.p50_ns is None or total.p99_ns is None or total.max_ns is None:
        return "How long they took is not recorded."
    return (
        f"Half of them took at most {readable.duration(total.p50_ns)}, 99% at most {readable.duration(total.p99_ns)}, "
        f"the slowest {readable.duration(total.max_ns)}."
    )


def _per_interrupt(exits: ExitTable, injected: int) -> str:
    groups = [group for section in exits.sections for group in section.groups]
    most = sorted(groups, key=lambda group: -group.exits)[:_NAMED]
    parts = listed([f"{readable.fixed(group.exits / injected)} {_name(group)}" for group in most])
    return (
        f"{readable.fixed(exits.exits / injected)} exits per injected interrupt, idle ones too "
        f"({readable.count(injected)} kvm_inj_virq): {parts}."
    )


def _userspace(total: ExitGroup) -> str:
    if total.userspace is None:
        return f"Which exits went to userspace is not recorded ({':'.join(USERSPACE_EXIT)})."
    return (
        f"{of(total.userspace, 'exit')} ({readable.percent(total.userspace / max(total.exits, 1))}%) went to userspace."
    )


def _idle(total: ExitGroup) -> str:
    time = f", {readable.duration(total.out_of_guest_ns)} in all" if total.out_of_guest_ns else ""
    return f"In {of(total.exits, 'idle exit')} the guest waited{time}: no cost, and outside shares and totals."
