"""What is known of a recording beside its tables → its manifest."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import blake3
import numpy as np

from kvmtrace import schema
from kvmtrace.exits.builder import ClosedBy
from kvmtrace.exits.identity import identity_rules
from kvmtrace.recording import Note
from kvmtrace.store import manifest as stored
from kvmtrace.version import __version__

if TYPE_CHECKING:
    from kvmtrace.exits.builder import ExitBuilder
    from kvmtrace.recording import EventBlock, Facts, Loss, Recording, TableSet

_RUN_ID_DIGITS = 16
_EXIT_EVENTS = frozenset({"kvm_exit", "kvm_guest_exit", "kvm_s390_sie_exit"})


class Seen:
    """What the blocks of a recording held: events by kind, the stretch of time, the losses."""

    def __init__(self, kinds: int) -> None:
        self.rows = np.zeros(kinds, np.int64)
        self.first_ts_ns: int | None = None
        self.last_ts_ns: int | None = None
        self._losses: dict[tuple[str, int | None], list[Loss]] = {}

    def add(self, block: EventBlock) -> None:
        """Count a block."""
        for loss in block.losses:
            self._losses.setdefault((loss.said_by, loss.cpu), []).append(loss)
        if len(block.ts_ns):
            first, last = int(block.ts_ns.min()), int(block.ts_ns.max())
            self.first_ts_ns = first if self.first_ts_ns is None else min(first, self.first_ts_ns)
            self.last_ts_ns = last if self.last_ts_ns is None else max(last, self.last_ts_ns)
            self.rows += np.bincount(block.kind, minlength=len(self.rows))

    def lost(self) -> tuple[stored.Lost, ...]:
        """Return the losses, added up by teller and CPU."""
        rows = []
        for (said_by, cpu), losses in self._losses.items():
            times = [loss.until_ns for loss in losses if loss.until_ns is not None]
            first, last = (min(times), max(times)) if times else (None, None)
            events, records = sum(loss.events for loss in losses), sum(loss.told for loss in losses)
            if events or records:
                rows.append(stored.Lost(said_by, cpu, events, records, first, last))
        return tuple(sorted(rows, key=lambda row: (row.said_by, -1 if row.cpu is None else row.cpu)))


def recording_manifest(
    recording: Recording,
    seen: Seen,
    builder: ExitBuilder | None,
    source: stored.Source,
    tables: dict[str, stored.TableInfo],
) -> stored.Manifest:
    """Return what is known of a run, once all blocks of its recording are read."""
    facts, notes = recording.facts, recording.notes
    span = None if seen.first_ts_ns is None or seen.last_ts_ns is None else seen.last_ts_ns - seen.first_ts_ns
    tracepoints = [
        stored.Tracepoint(k.system, k.name, facts.samples.get(i, int(seen.rows[i])), int(seen.rows[i]), k.period)
        for i, k in enumerate(facts.events)
    ]
    return stored.Manifest(
        run_id=run_id(source),
        kind="recording",
        source=source,
        ingested_at=now(),
        kvmtrace_version=__version__,
        schema_version=schema.VERSION,
        host=facts.host,
        tool=facts.tool,
        clock=facts.clock if facts.has_times else None,
        time_step_ns=facts.time_step_ns,
        start=facts.start,
        first_ts_ns=seen.first_ts_ns,
        last_ts_ns=seen.last_ts_ns,
        elapsed_ns=span if facts.has_times else None,
        tracepoints=tuple(tracepoints),
        tells_enabled=facts.tells_enabled,
        tables=tables,
        exits=_exit_counts(builder),
        unpaired=_unpaired(facts, builder),
        lost=seen.lost(),
        notes=tuple(stored_note(note) for note in [*notes.told(), *_late_notes(builder)]),
        notes_dropped=max(notes.dropped - 1, 0),  # one note stands for all of them
        records=facts.records,
        not_stored=facts.not_stored,
        left_out=tuple(facts.left_out),
        identity=() if builder is None else identity_rules(builder),
        session=facts.session,
    )


def table_manifest(figures: TableSet, source: stored.Source, tables: dict[str, stored.TableInfo]) -> stored.Manifest:
    """Return what is known of a run of figures that somebody else worked out."""
    facts = figures.facts
    return stored.Manifest(
        run_id=run_id(source),
        kind=figures.table,
        source=source,
        ingested_at=now(),
        kvmtrace_version=__version__,
        schema_version=schema.VERSION,
        host=facts.host,
        tool=facts.tool,
        start=facts.start,
        elapsed_ns=figures.elapsed_ns,
        enabled_ns=figures.enabled_ns,
        tables=tables,
        notes=tuple(stored_note(note) for note in figures.notes),
        not_stored=facts.not_stored,
        left_out=tuple(facts.left_out),
    )


def _exit_counts(builder: ExitBuilder | None) -> dict[str, int]:
    if builder is None:
        return {}
    tally = builder.tally
    closed = {f"closed_by_{c.name.lower()}": int(tally.closed_by[c]) for c in ClosedBy}
    counts = {"rows": tally.exits, **closed, "suspect": tally.suspect}
    return {**counts, "entries_without_exit": tally.entries_without_exit, "late_events": tally.late_events}


def _unpaired(facts: Facts, builder: ExitBuilder | None) -> str | None:
    """Return why exits were not paired, None where they were or where there is no event of KVM."""
    if builder is not None or not any(kind.system.startswith("kvm") for kind in facts.events):
        return None
    if not facts.has_times:
        return "the samples have no time stamps (perf record -T adds them), so exits are not paired"
    if not facts.has_threads:
        return "the events do not tell their thread (perf script -F +tid adds it), so exits are not paired"
    if not any(kind.name in _EXIT_EVENTS for kind in facts.events):
        return None
    arch = facts.host.get("arch", "this architecture")
    return f"exits of {arch} with these tracepoints are not paired by this version"


def _late_notes(builder: ExitBuilder | None) -> list[Note]:
    late = 0 if builder is None else builder.tally.late_events
    what = f"{late} events came too late to be put in order: exits around them may be wrong"
    return [Note("records", what)] if late else []


def run_id(source: stored.Source) -> str:
    """Return the id of a run: that of its content, of how it was read, and of the schema version."""
    text = "\n".join(["" if part is None else str(part) for part in (*source.identity, schema.VERSION)])
    return blake3.blake3(text.encode()).hexdigest()[:_RUN_ID_DIGITS]


def stored_note(note: Note) -> stored.StoredNote:
    """Return a reader's note as the manifest has it."""
    return stored.StoredNote(**asdict(note))


def now() -> str:
    """Return the time, as manifests tell it."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
