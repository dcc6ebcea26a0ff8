"""What a recording lacks: events that were lost, or that never came. Why, and what to change, in one line each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmtrace.recorder.purposes import Purpose

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvmtrace.recorder.host_files import HostFiles
    from kvmtrace.recorder.plan import Plan
    from kvmtrace.recorder.vms import Vm
    from kvmtrace.store.manifest import Lost, Manifest

NO_ROOM = (
    "there was no room for temporary files: perf had to wait until it was read, and lost events meanwhile; name a "
    "folder with more room in $TMPDIR"
)
_LISTED = 8
_MIB = 1 << 20
_MOST_MIB = 1024  # that --buffer takes
_EXIT_EVENTS = frozenset({"kvm_exit", "kvm_guest_exit", "kvm_s390_sie_exit"})


def shortfalls(manifest: Manifest, plan: Plan, vms: Sequence[Vm], files: HostFiles) -> Iterator[str]:
    """Yield what is missing in a run that was recorded by `plan` while `vms` were seen."""
    if manifest.lost:
        yield _lost(manifest, plan)
    fired = {t.event: t.samples for t in manifest.tracepoints if t.samples}
    if not fired:
        yield f"nothing was recorded, {_why_nothing(plan, vms, files)}"
    elif manifest.exits.get("rows") == 0 and any(event.startswith("kvm") for event in fired):
        most = max(fired, key=lambda event: fired[event])
        yield f"no exit was recorded, though {most} fired: this kernel's back end of KVM may not tell exits"


def _lost(manifest: Manifest, plan: Plan) -> str:
    """Say how many events were lost, where and when, as the teller of most says."""
    by_teller: dict[str, list[Lost]] = {}
    for lost in manifest.lost:
        by_teller.setdefault(lost.said_by, []).append(lost)
    teller, rows = max(by_teller.items(), key=lambda item: sum(lost.events for lost in item[1]))
    events = sum(lost.events for lost in rows)
    stored = sum(t.samples for t in manifest.tracepoints)
    count = (
        f"{events:,} events" if events else f"an unknown number of events, {sum(lost.records for lost in rows):,} times"
    )
    share = f" ({events / (events + stored):.1%} of all)" if events else ""
    remedies = " or ".join(_remedies(plan))
    return f"lost {count}{share}{_on_cpus(rows)}{_when(rows, manifest)}, as {teller} says; which ones is not told" + (
        f". Try {remedies}" if remedies else ""
    )


def _on_cpus(rows: Sequence[Lost]) -> str:
    cpus = sorted({lost.cpu for lost in rows if lost.cpu is not None})
    if not cpus:
        return ""
    more = f" and {len(cpus) - _LISTED} more" if len(cpus) > _LISTED else ""
    return f" on {'CPU' if len(cpus) == 1 else 'CPUs'} {', '.join(map(str, cpus[:_LISTED]))}{more}"


def _when(rows: Sequence[Lost], manifest: Manifest) -> str:
    firsts = [lost.first_ts_ns for lost in rows if lost.first_ts_ns is not None]
    lasts = [lost.last_ts_ns for lost in rows if lost.last_ts_ns is not None]
    start = manifest.first_ts_ns
    if start is None or not firsts or not lasts:
        return ""
    first, last = ((at - start) / 1e9 for at in (min(firsts), max(lasts)))
    return f" at {first:.3f} s" if f"{first:.3f}" == f"{last:.3f}" else f" from {first:.3f} to {last:.3f} s"


def _remedies(plan: Plan) -> Iterator[str]:
    mib = min(plan.buffer_bytes * 4 // _MIB or 1, _MOST_MIB)
    if mib << 20 > plan.buffer_bytes:
        yield f"--buffer {mib} (MiB for each CPU, now {plan.buffer_bytes / _MIB:g})"
    if plan.purpose is not Purpose.EXITS:
        yield "fewer events (--for exits)"
    if not plan.pids:
        yield "one VM alone (--vm PID)"


def _why_nothing(plan: Plan, vms: Sequence[Vm], files: HostFiles) -> str:
    if not files.path("dev/kvm").exists():
        return "and this machine has no /dev/kvm: it runs no VM"
    if not vms:
        return "and no VM was seen meanwhile, as far as this user can see"
    titles = ", ".join(vm.title for vm in vms[:_LISTED])
    whose = "it" if plan.pids else "they"
    return f"though VM {titles} ran: {whose} may have been idle, or this kernel's back end of KVM tells nothing"
