"""An input → runs in the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import blake3
import numpy as np
import pyarrow as pa

from kvmtrace import __version__, arch, schema
from kvmtrace.errors import StoreError
from kvmtrace.exits.buckets import LatencyBuckets
from kvmtrace.exits.builder import ClosedBy, ExitBuilder, Exits
from kvmtrace.exits.table import ExitTable
from kvmtrace.formats import detect
from kvmtrace.formats.source import Source, open_source
from kvmtrace.recording import CounterSet, EventBlock, Facts, Loss, Note, Recording
from kvmtrace.store import manifest as stored
from kvmtrace.store.catalogue import Catalogue
from kvmtrace.store.label import Label, read_label, write_label
from kvmtrace.store.writer import RunWriter
from kvmtrace.tracepoints import field_symbols

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

Progress = Callable[[int, int], None]
"""Told the bytes read and the bytes in all."""

_RUN_ID_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of one run of an input."""

    manifest: stored.Manifest
    was_there: bool  # the same content was ingested before


def ingest(
    path: str, store: Path, label: Label, *, refresh: bool = False, progress: Progress | None = None
) -> list[Ingested]:
    """Read the input at `path` ("-": standard input) into `store`, and return its runs.

    `refresh`: take it in again where it is there, and in place of the run that an older version made of it.
    InputError: not readable. StoreError: the store cannot be written; nothing is left behind then.
    """
    with open_source(path) as source:
        found = detect.read(source)
        if isinstance(found, list):
            digest = source.digest()
            return [
                _store_counters(counters, source, digest, number, store, label, refresh=refresh)
                for number, counters in enumerate(found, 1 if len(found) > 1 else 0)
            ]
        return [_store_recording(found, source, store, label, refresh=refresh, progress=progress)]


def _store_recording(
    recording: Recording, source: Source, store: Path, label: Label, *, refresh: bool, progress: Progress | None
) -> Ingested:
    with RunWriter(store) as writer:
        intake = _Intake(recording, writer)
        for block in recording.blocks():
            intake.take(block)
            if progress is not None:
                progress(source.position, source.size)
        intake.finish()
        tables = writer.close_tables()
        digest = source.digest()
        manifest = intake.manifest(_source(source, recording.facts, digest), tables)
        return _finish(writer, manifest, store, label, refresh=refresh)


class _Intake:
    """Takes the blocks of one recording to its tables."""

    def __init__(self, recording: Recording, writer: RunWriter) -> None:
        self._facts = recording.facts
        self._notes = recording.notes
        self._writer = writer
        self._rows = np.zeros(len(self._facts.events), np.int64)
        self._lost = _LostCount()
        self._event_schemas: dict[int, pa.Schema] = {}
        self._first_ts: int | None = None
        self._last_ts: int | None = None
        architecture = arch.for_recording(self._facts) if self._facts.has_times else None
        self._builder = None
        if architecture is not None:
            self._builder = ExitBuilder(self._facts, architecture)
            self._table = ExitTable(self._facts, architecture, self._builder)
            self._buckets = LatencyBuckets(architecture, self._builder)

    def take(self, block: EventBlock) -> None:
        """Store what is certain with this block."""
        self._lost.add(block.losses)
        if len(block.ts_ns):
            first, last = int(block.ts_ns.min()), int(block.ts_ns.max())
            self._first_ts = first if self._first_ts is None else min(first, self._first_ts)
            self._last_ts = last if self._last_ts is None else max(last, self._last_ts)
            self._rows += np.bincount(block.kind, minlength=len(self._rows))
        if self._builder is None:
            nothing = np.full(len(block.ts_ns), -1)
            self._writer.submit(lambda: self._write_events(block, nothing, nothing.astype(np.int32)))
            return
        for settled in self._builder.add(block):
            self._write(settled)

    def finish(self) -> None:
        """Store the rest, and the small tables."""
        if self._builder is not None:
            for settled in self._builder.finish():
                self._write(settled)
            self._writer.submit(self._write_buckets)
        self._writer.submit(self._write_small_tables)

    def _write(self, settled: Exits | object) -> None:
        if isinstance(settled, Exits):
            self._writer.submit(lambda: self._write_exits(settled))
        else:
            self._writer.submit(lambda: self._write_events(settled.block, settled.exit_id, settled.vcpu))  # type: ignore[attr-defined]

    def _write_exits(self, exits: Exits) -> None:
        self._writer.add("exits", self._table.table(exits))
        self._buckets.add(exits)

    def _write_buckets(self) -> None:
        self._writer.write_small("latency_buckets", self._buckets.table())

    def _write_events(self, block: EventBlock, exit_id: NDArray[np.int64], vcpu: NDArray[np.int32]) -> None:
        for kind, fields in block.fields.items():
            rows = block.rows[kind]
            common = (block.ts_ns[rows], *(_known(c[rows]) for c in (block.cpu, block.tid, vcpu, exit_id)))
            own = fields.arrow()
            event = self._facts.events[kind]
            table = pa.Table.from_arrays([*common, *own.values()], schema=self._event_schema(kind, own))
            self._writer.add(stored.events_table(event.system, event.name), table)

    def _event_schema(self, kind: int, own: dict[str, pa.Array]) -> pa.Schema:
        """Return the schema of a tracepoint's table; its own fields are in every event."""
        if kind not in self._event_schemas:
            common = [pa.field(c.name, pa.type_for_alias(c.type), nullable=c.nullable) for c in schema.EVENT_COLUMNS]
            fields = [pa.field(name, c.type, nullable=bool(pa.types.is_nested(c.type))) for name, c in own.items()]
            self._event_schemas[kind] = pa.schema([*common, *fields])
        return self._event_schemas[kind]

    def _write_small_tables(self) -> None:
        isa_codes = self._builder.reasons.isa_codes if self._builder is not None else set()
        known = {"isa": isa_codes.pop()} if len(isa_codes) == 1 else {}
        names = [
            (event.system, event.name, name, value, text)
            for event in self._facts.events
            for name, symbols in field_symbols(event.format, known).items()
            for value, text in symbols.items()
            if -(1 << 63) <= value < 1 << 63
        ]
        if names:
            columns = [pa.array(column) for column in zip(*names, strict=True)]
            self._writer.write_small("symbols", pa.table(columns, schema=schema.SYMBOLS.arrow_schema()))
        threads = sorted((pid, tid, name) for (pid, tid), name in self._facts.threads.items())
        if threads:
            columns = [pa.array(column) for column in zip(*threads, strict=True)]
            table = pa.table(dict(zip(schema.THREADS.names(), columns, strict=True)))
            self._writer.write_small("threads", table.cast(schema.THREADS.arrow_schema()))

    def manifest(self, source: stored.Source, tables: dict[str, stored.TableInfo]) -> stored.Manifest:
        """Return what is known of the run, once all blocks are read."""
        facts, notes = self._facts, self._notes
        span = None if self._first_ts is None or self._last_ts is None else self._last_ts - self._first_ts
        tracepoints = [
            stored.Tracepoint(k.system, k.name, facts.samples.get(i, int(self._rows[i])), int(self._rows[i]), k.period)
            for i, k in enumerate(facts.events)
        ]
        return stored.Manifest(
            run_id=_run_id(source.digest, None),
            kind="recording",
            source=source,
            ingested_at=_now(),
            kvmtrace_version=__version__,
            host=facts.host,
            tool=facts.tool,
            clock=facts.clock if facts.has_times else None,
            start=facts.start,
            first_ts_ns=self._first_ts,
            last_ts_ns=self._last_ts,
            elapsed_ns=span if facts.has_times else None,
            tracepoints=tuple(tracepoints),
            tables=tables,
            exits=self._exit_counts(),
            lost=self._lost.lost(),
            notes=tuple(_stored_note(note) for note in [*notes.kept, *self._own_notes()]),
            notes_dropped=notes.dropped,
            records=facts.records,
            not_stored=facts.not_stored,
            left_out=tuple(facts.left_out),
            identity=self._identity(),
        )

    def _exit_counts(self) -> dict[str, int]:
        if self._builder is None:
            return {}
        tally = self._builder.tally
        closed = {f"closed_by_{c.name.lower()}": int(tally.closed_by[c]) for c in ClosedBy}
        counts = {"rows": tally.exits, **closed, "suspect": tally.suspect}
        return {**counts, "entries_without_exit": tally.entries_without_exit, "late_events": tally.late_events}

    def _own_notes(self) -> list[Note]:
        if not self._facts.has_times:
            return [Note("header", "the samples have no time stamps (perf record -T adds them): no exits were paired")]
        if self._builder is None and any(k.name == "kvm_exit" for k in self._facts.events):
            machine = self._facts.host.get("arch", "this machine")
            return [Note("header", f"exits of {machine} are not paired by this version; all events are stored")]
        if self._builder is not None and (late := self._builder.tally.late_events):
            return [Note("records", f"{late} events came too late to be put in order: exits around them may be wrong")]
        return []

    def _identity(self) -> tuple[str, ...]:
        if self._builder is None:
            return ()
        rules = [
            "vm_id: process id that perf recorded",
            "vcpu: field vcpu_id of the event, else of the thread's newest kvm_entry",
            "pairs: exit and next entry of one thread",
        ]
        rules.extend(
            f"process {pid} ran a vCPU of one number on two threads at a time: inferred to be several VMs (#2, …)"
            for pid in sorted(self._builder.vms.split)
        )
        return tuple(rules)


@dataclass(slots=True)
class _LostCount:
    """Losses by teller and CPU."""

    counts: dict[tuple[str, int | None], list[Loss]] = field(default_factory=dict)

    def add(self, losses: tuple[Loss, ...]) -> None:
        for loss in losses:
            self.counts.setdefault((loss.said_by, loss.cpu), []).append(loss)

    def lost(self) -> tuple[stored.Lost, ...]:
        rows = []
        for (said_by, cpu), losses in self.counts.items():
            times = [loss.until_ns for loss in losses if loss.until_ns is not None]
            first, last = (min(times), max(times)) if times else (None, None)
            rows.append(stored.Lost(said_by, cpu, sum(loss.events for loss in losses), len(losses), first, last))
        return tuple(sorted(rows, key=lambda row: (row.said_by, -1 if row.cpu is None else row.cpu)))


def _store_counters(
    counters: CounterSet, source: Source, digest: str, number: int, store: Path, label: Label, *, refresh: bool
) -> Ingested:
    part = f"#{number}" if number else None
    origin = stored.Source(source.name, counters.facts.format, source.size, digest, part, counters.part)
    with RunWriter(store) as writer:
        writer.write_small("counters", counters.counters)
        manifest = stored.Manifest(
            run_id=_run_id(digest, part),
            kind="counters",
            source=origin,
            ingested_at=_now(),
            kvmtrace_version=__version__,
            host=counters.facts.host,
            tool=counters.facts.tool,
            start=counters.facts.start,
            elapsed_ns=counters.elapsed_ns,
            enabled_ns=counters.enabled_ns,
            tables=writer.close_tables(),
            notes=tuple(_stored_note(note) for note in counters.notes),
            left_out=tuple(counters.facts.left_out),
        )
        return _finish(writer, manifest, store, label, refresh=refresh)


def _finish(writer: RunWriter, manifest: stored.Manifest, store: Path, label: Label, *, refresh: bool) -> Ingested:
    folder = stored.run_folder(store, manifest.run_id)
    if not refresh:
        return _add(writer, manifest, folder, label)
    catalogue = Catalogue(store)
    older = [other.run_id for other in catalogue.manifests() if _is_older(other, manifest)]
    for run_id in (manifest.run_id, *older):
        label = _named(label, catalogue.label(run_id))
    was_there = not writer.finish(manifest, label, replace=True)
    for run_id in older:
        catalogue.remove(run_id)
    return Ingested(manifest, was_there)


def _add(writer: RunWriter, manifest: stored.Manifest, folder: Path, label: Label) -> Ingested:
    if writer.finish(manifest, label):
        return Ingested(manifest, was_there=False)
    try:
        there = stored.read_manifest(folder)
    except StoreError as error:
        raise StoreError(error.message, hint="--refresh puts the run in its place again") from None
    if label != Label():
        write_label(folder, _named(label, read_label(folder)))
    return Ingested(there, was_there=True)


def _is_older(other: stored.Manifest, manifest: stored.Manifest) -> bool:
    """Tell whether an older schema version made that run of the same part of the same content."""
    same = (other.source.digest, other.source.part) == (manifest.source.digest, manifest.source.part)
    return same and other.run_id != manifest.run_id


def _named(label: Label, before: Label) -> Label:
    """Return a new label, with what it does not say as it was before."""
    return Label(label.label or before.label, before.tags | label.tags)


def _source(source: Source, facts: Facts, digest: str) -> stored.Source:
    return stored.Source(source.name, facts.format, source.size, digest)


def _run_id(digest: str, part: str | None) -> str:
    """Return the id of a run: that of its content, part and schema version."""
    text = "\n".join([digest, part or "", schema.VERSION])
    return blake3.blake3(text.encode()).hexdigest()[:_RUN_ID_DIGITS]


def _stored_note(note: Note) -> stored.StoredNote:
    return stored.StoredNote(**asdict(note))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _known(values: NDArray[np.integer[Any]]) -> pa.Array:
    """Return numbers, null where they are negative."""
    unknown = values < 0
    return pa.array(values, mask=unknown) if unknown.any() else pa.array(values)
