"""What a report says of how a run was recorded: for how long, by which clock, beside which others. Plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmtrace.report.readable import duration, seconds
from kvmtrace.report.wording import listed

if TYPE_CHECKING:
    from kvmtrace.report.summary import RateTime
    from kvmtrace.store.manifest import Manifest


def time_told(manifest: Manifest, rate_time: RateTime | None) -> str:
    """Say how long was recorded, and which time rates are per second of."""
    parts = []
    if manifest.enabled_ns is not None:
        parts.append(("enabled", f"{seconds(manifest.enabled_ns)} enabled"))
    if manifest.elapsed_ns is not None:
        between = "elapsed" if manifest.kind != "recording" else "between the first and the last event"
        parts.append(("elapsed", f"{seconds(manifest.elapsed_ns)} {between}"))
    if rate_time and rate_time.which == "intervals":
        parts.append(("intervals", f"{seconds(rate_time.ns)} until the end of the last interval"))
    if not parts:
        return "not recorded, so no rates"
    used = rate_time.which if rate_time else None
    told = [f"{text} (rates are per second of it)" if which == used else text for which, text in parts]
    return ", ".join(told) + ("" if rate_time else ", so no rates")


def clock_told(manifest: Manifest) -> str | None:
    """Say which clock times are of, and how coarse they are where that is no ns; None: nothing is told."""
    if manifest.time_step_ns == 1:
        return manifest.clock
    return f"{manifest.clock or 'not recorded'}, in steps of {duration(manifest.time_step_ns)}"


_SETTINGS = ("governor", "turbo", "smt", "clocksource", "transparent_hugepage", "kvm.halt_poll_ns")
_VMS_LISTED = 4


def settings_told(manifest: Manifest) -> str | None:
    """Say what the host was set to, of what moves exits and their cost most often; None: it was not recorded."""
    known = manifest.environment
    told = [f"{name.rpartition('.')[2]} {known[name]}" for name in _SETTINGS if known.get(name)]
    states = [(state or "").lower() for name, state in known.items() if name.startswith("vulnerability.")]
    if states:
        still_open = sum("vulnerable" in state for state in states)
        told.append(f"{still_open or 'no'} CPU {'vulnerability' if still_open == 1 else 'vulnerabilities'} left open")
    if told:
        told.append("all of it: kvmtrace sql 'FROM environment'")
    return ", ".join(told) or None


def vms_told(manifest: Manifest) -> str | None:
    """Say which VMs were seen meanwhile, and where their vCPUs may run; None: none, or nobody looked."""
    told = []
    for vm in manifest.vms[:_VMS_LISTED]:
        places = {vcpu.cpus_allowed for vcpu in vm.vcpus} - {None}
        vcpus = f"{len(vm.vcpus)} vCPUs" if len(vm.vcpus) > 1 else "1 vCPU" if vm.vcpus else "vCPUs not known"
        where = f" on CPUs {next(iter(places))}" if len(places) == 1 else " on CPUs of their own" if places else ""
        told.append(f"{vm.name or 'without a name'} (process {vm.pid}, {vm.vmm or 'VMM not known'}, {vcpus}{where})")
    more = len(manifest.vms) - _VMS_LISTED
    return "; ".join(told) + (f" and {more} more" if more > 0 else "") or None


def session_told(manifest: Manifest) -> str | None:
    """Say which recordings of guests or of the host were made at the same time, by their trace ids; None: none."""
    session = manifest.session
    if not manifest.peers:
        return None
    guests = [f"{guest['name']} {guest['trace_id']}" for guest in session.get("guests", [])]
    parts = {
        "trace": session.get("trace_id"),
        "guests": listed(guests),
        "host": session.get("peer_trace_id"),
    }
    return "; ".join(f"{name} {told}" for name, told in parts.items() if told)
