"""The sentences of a report: what was lost, sampled, not recorded, and what the columns mean. Plain text."""

from __future__ import annotations

from itertools import chain, groupby
from typing import TYPE_CHECKING

from kvmtrace.exit_keys import By
from kvmtrace.report.given import KINDS, given_footnotes
from kvmtrace.report.readable import count
from kvmtrace.report.split import split_footnotes
from kvmtrace.unseen import unseen

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kvmtrace.report.summary import ExitTable, Summary
    from kvmtrace.store.manifest import Lost, Manifest

_BOUNDARIES = {
    "ppc": (("kvm_hv", "kvm_guest_exit"), ("kvm_hv", "kvm_guest_enter")),
    "s390": (("kvm", "kvm_s390_sie_exit"), ("kvm", "kvm_s390_sie_enter")),
    "loongarch": (("kvm", "kvm_exit"), ("kvm", "kvm_enter")),
}
"""Exit and entry by the beginning of the host's architecture, where they are not kvm_exit and kvm_entry."""
_USUAL_BOUNDARIES = ("kvm", "kvm_exit"), ("kvm", "kvm_entry")
USERSPACE_EXIT = ("kvm", "kvm_userspace_exit")

_LISTED = 6
_WITHOUT_ENTRY = {
    "closed_by_next_exit": "followed by the next exit of the vCPU without an entry between",
    "closed_by_end": "open at the end of the recording",
}


def warnings(summary: Summary) -> list[str]:
    """Say what makes the figures doubtful: one sentence each, none for a sound recording."""
    manifest = summary.manifest
    return [
        *_lacking(summary),
        *_losses(manifest.lost),
        *unseen(manifest),
        *_sampled(manifest),
        *_trouble(manifest),
    ]


def footnotes(summary: Summary) -> list[str]:
    """Say what the figures of the run's table are of, and what they are not of: one sentence each."""
    table, manifest = summary.exits, summary.manifest
    if manifest.kind == "counters":
        return _of_counters(summary)
    if manifest.kind in KINDS:
        return given_footnotes(manifest.kind, summary.given)
    if table is None:
        never_fired = "0: enabled, and never fired. " if manifest.tells_enabled else ""
        listed_all = f"{never_fired}What is not listed {_not_listed(manifest)}."
        return [listed_all] if manifest.tracepoints else []
    return [
        *_meaning(table),
        *_idle(table),
        *_outside_latency(table, manifest),
        *split_footnotes(table),
        *_userspace(table, manifest),
        *_merged(table),
    ]


def _of_counters(summary: Summary) -> list[str]:
    repeats = {counter.repeats for counter in summary.counters if counter.repeats}
    sentences = {
        f"Values are means of {listed([str(n) for n in sorted(repeats)])} repeats; ± SE %: standard error of the mean, "
        "in % of it.": bool(repeats),
        "Values are sums over the intervals.": any(c.source_rows > 1 for c in summary.counters),
        "Where some intervals were not counted, rates are of the others.": any(
            c.counted_ns and c.counted_rows < c.source_rows for c in summary.counters
        ),
        "ran %: part of the time that the counter ran; perf scales what it counted to the whole time.": any(
            c.running_share is not None for c in summary.counters
        ),
    }
    return [sentence for sentence, holds in sentences.items() if holds]


def listed(items: Sequence[str], limit: int = _LISTED) -> str:
    """Return "a, b and c", or the first few "and 7 more"."""
    if len(items) > limit + 1:
        return f"{', '.join(items[:limit])} and {len(items) - limit} more"
    return " and ".join(filter(None, [", ".join(items[:-1]), *items[-1:]]))


def of(n: int, noun: str) -> str:
    """Return "1 record", "2 records"."""
    return f"{count(n)} {noun}{'' if n == 1 else 's'}"


def lost_told(lost: Sequence[Lost]) -> str | None:
    """Say how many events were lost, by teller: two tellers may tell of the same events, so they are never added."""
    tellers = [
        _teller(said_by, list(rows))
        for said_by, rows in groupby(sorted(lost, key=lambda row: row.said_by), key=lambda row: row.said_by)
    ]
    if len(tellers) > 1:
        return f"{listed(tellers)}: perhaps the same events told twice, so not added up"
    return tellers[0] if tellers else None


def _lacking(summary: Summary) -> Iterable[str]:
    manifest, table = summary.manifest, summary.exits
    if table is None:
        return [_no_exits(manifest)] if manifest.kind == "recording" else []
    _, entry = _boundaries(manifest)
    if any(section.total.timed for section in table.sections) or manifest.tracepoint(*entry):
        return []
    return [f"No latencies: {':'.join(entry)} was not recorded (it {_not_listed(manifest)})."]


def _not_listed(manifest: Manifest) -> str:
    """Say what is known of a tracepoint that the recording does not list."""
    return "was not enabled" if manifest.tells_enabled else "never fired, or was not enabled"


def _boundaries(manifest: Manifest) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return the tracepoints of exits and entries, as system and name."""
    arch = str(manifest.host.get("arch", ""))
    of_arch = (pair for start, pair in _BOUNDARIES.items() if arch.startswith(start))
    recorded = (pair for pair in _BOUNDARIES.values() if all(manifest.tracepoint(*each) for each in pair))
    return next(chain(of_arch, recorded), _USUAL_BOUNDARIES)


def _no_exits(manifest: Manifest) -> str:
    exit_event, _ = _boundaries(manifest)
    tracepoint = manifest.tracepoint(*exit_event)
    name = ":".join(exit_event)
    if manifest.unpaired is not None:
        return f"No exits: {manifest.unpaired}; all events are stored."
    if not manifest.tracepoints:
        return "No exits: the recording does not tell which tracepoints were enabled."
    if tracepoint is None:
        return f"No exits: {name} was not recorded (it {_not_listed(manifest)})."
    if tracepoint.samples:
        return f"No exits: none of the {count(tracepoint.samples)} events of {name} could be read."
    return f"No exits: {name} was enabled and never fired."


def _losses(lost: Sequence[Lost]) -> Iterable[str]:
    told = lost_told(lost)
    if told:
        yield f"Lost events: {told}."
    if any(row.first_ts_ns is None for row in lost):
        yield "When some of them were lost is not recorded, so no exit is marked suspect for these."


def _teller(said_by: str, rows: list[Lost]) -> str:
    cpus = sorted({row.cpu for row in rows if row.cpu is not None})
    where = f"CPU {listed([str(cpu) for cpu in cpus])}" if cpus else "CPU not recorded"
    return f"{count(sum(r.events for r in rows))} ({said_by}, {of(sum(r.records for r in rows), 'record')}, {where})"


def _sampled(manifest: Manifest) -> Iterable[str]:
    sampled = [t for t in manifest.tracepoints if t.period != 1]
    if not sampled:
        return
    names = [f"{t.system}:{t.event} (1 in {count(t.period) if t.period else 'a varying number'})" for t in sampled]
    yield (
        f"Sampled, not recorded whole: {listed(names)}: counts are of samples, and an exit and its entry are rarely "
        "both there, so latencies are unreliable."
    )


def _trouble(manifest: Manifest) -> Iterable[str]:
    notes = len(manifest.notes) + manifest.notes_dropped
    if notes:
        first = f"; the first at {manifest.notes[0].where}: {manifest.notes[0].what}" if manifest.notes else ""
        yield f"Trouble in the source: {of(notes, 'note')}{first}."
    if any(manifest.not_stored.values()):
        reasons = [f"{count(n)} ({what})" for what, n in manifest.not_stored.items() if n]
        yield f"Events of the source that are not stored: {listed(reasons)}."


def _meaning(table: ExitTable) -> Iterable[str]:
    yield "time: out of the guest, from an exit to the next entry of its vCPU."
    yield "± SE %: standard error of the mean, in % of avg."
    precision = "exact" if table.exact else "within 1% (--exact: exact)"
    yield f"p50 … p99.9: the latency of rank ceil(p n) of n, {precision}."


def _idle(table: ExitTable) -> Iterable[str]:
    if table.with_idle:
        yield "Idle exits (the guest waited) are counted with the others."
    elif any(section.idle for section in table.sections):
        yield "Idle exits (the guest waited: no cost) are apart, outside shares and totals; --with-idle counts them in."


def _outside_latency(table: ExitTable, manifest: Manifest) -> Iterable[str]:
    suspect = sum(section.total.suspect for section in table.sections)
    if suspect:
        yield f"{count(suspect)} suspect: events may be missing inside; counted, but outside latency figures."
    no_latency = sum(section.total.no_latency for section in table.sections)
    if no_latency:
        why = {text: manifest.exits.get(name, 0) for name, text in _WITHOUT_ENTRY.items()}
        # Some of these may be suspect: then the counts say nothing of those that are not.
        told = sum(why.values()) == no_latency
        of_them = f" ({listed([f'{count(n)} {text}' for text, n in why.items() if n])})" if told else ""
        yield f"{count(no_latency)} without a latency: counted, but outside latency figures{of_them}."


def _userspace(table: ExitTable, manifest: Manifest) -> Iterable[str]:
    if all(section.total.userspace is None for section in table.sections):
        why = "" if manifest.tracepoint(*USERSPACE_EXIT) else f" ({':'.join(USERSPACE_EXIT)} {_not_listed(manifest)})"
        yield f"Exits to userspace: not recorded{why}."


def _merged(table: ExitTable) -> Iterable[str]:
    groups = [group for section in table.sections for group in section.groups]
    if any(group.key and group.key.detail_capped for group in groups):
        yield "Other details were too many to keep apart in the summary of the run: --exact reads every exit."
    if By.VCPU in table.by and By.VM not in table.by and any(group.several_vms for group in groups):
        yield "vCPUs of the same number of several VMs are counted together: --by vm keeps them apart."
