"""The blocks of a recording → its tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from kvmtrace import arch, schema
from kvmtrace.exits.buckets import LatencyBuckets
from kvmtrace.exits.builder import ExitBuilder, Exits
from kvmtrace.exits.table import ExitTable, known_or_null
from kvmtrace.ingesting.account import Seen
from kvmtrace.store.manifest import events_table
from kvmtrace.tracepoints import field_symbols

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kvmtrace.exits.reading import AttributedBlock
    from kvmtrace.ingesting.listening import Listener
    from kvmtrace.recording import EventBlock, Recording
    from kvmtrace.store.writer import RunWriter

_AT_ONCE = 1  # who looks on is told of what is certain, not of many exits at a time


class Intake:
    """Takes the blocks of one recording to its tables."""

    def __init__(self, recording: Recording, writer: RunWriter, listener: Listener | None = None) -> None:
        self._facts = recording.facts
        self._writer = writer
        self.seen = Seen(len(self._facts.events))
        self._event_schemas: dict[int, pa.Schema] = {}
        pairs = self._facts.has_times and self._facts.has_threads
        architecture = arch.for_recording(self._facts) if pairs else None
        self.builder: ExitBuilder | None = None
        if architecture is not None:
            drain = {} if listener is None else {"drain_rows": _AT_ONCE}
            self.builder = ExitBuilder(self._facts, architecture, **drain)
            self._table = ExitTable(architecture, self.builder)
            self._buckets = LatencyBuckets(architecture, self.builder)
        self._listener = listener
        if listener is not None:
            listener.begin(recording, self.builder)

    def take(self, block: EventBlock) -> None:
        """Store what is certain with this block."""
        self.seen.add(block)
        self._facts.threads.update(block.threads)
        if self._listener is not None:
            self._listener.block(block)
        self._take(block)
        if self._listener is not None:
            self._listener.reached(block.watermark_ns if self.builder is None else self.builder.settled_to_ns)

    def _take(self, block: EventBlock) -> None:
        if self.builder is None:
            nothing = np.full(len(block.ts_ns), -1)
            self._writer.submit(lambda: self._write_events(block, nothing, nothing.astype(np.int32)))
            return
        for settled in self.builder.add(block):
            self._write(settled)

    def finish(self) -> None:
        """Store the rest, and the small tables."""
        if self.builder is not None:
            for settled in self.builder.finish():
                self._write(settled)
            self._writer.submit(self._write_buckets)
        self._writer.submit(self._write_small_tables)
        if self._listener is not None:
            self._listener.end()

    def _write(self, settled: Exits | AttributedBlock) -> None:
        if isinstance(settled, Exits):
            exits = settled
            if self._listener is not None:
                self._listener.exits(exits)
            self._writer.submit(lambda: self._write_exits(exits))
        else:
            block = settled
            self._writer.submit(lambda: self._write_events(block.block, block.exit_id, block.vcpu))

    def _write_exits(self, exits: Exits) -> None:
        self._writer.add("exits", self._table.table(exits))
        self._buckets.add(exits)

    def _write_buckets(self) -> None:
        self._writer.write_small("latency_buckets", self._buckets.table())

    def _write_events(self, block: EventBlock, exit_id: NDArray[np.int64], vcpu: NDArray[np.int32]) -> None:
        for kind, fields in block.fields.items():
            rows = block.rows[kind]
            common = (block.ts_ns[rows], *(known_or_null(c[rows]) for c in (block.cpu, block.tid, vcpu, exit_id)))
            own = fields.arrow()
            event = self._facts.events[kind]
            table = pa.Table.from_arrays([*common, *own.values()], schema=self._event_schema(kind, own))
            self._writer.add(events_table(event.system, event.name), table)

    def _event_schema(self, kind: int, own: dict[str, pa.Array]) -> pa.Schema:
        """Return the schema of a tracepoint's table; its own fields are in every event."""
        if kind not in self._event_schemas:
            common = [pa.field(c.name, pa.type_for_alias(c.type), nullable=c.nullable) for c in schema.EVENT_COLUMNS]
            fields = [pa.field(name, c.type, nullable=bool(pa.types.is_nested(c.type))) for name, c in own.items()]
            self._event_schemas[kind] = pa.schema([*common, *fields])
        return self._event_schemas[kind]

    def _write_small_tables(self) -> None:
        groups = self.builder.reasons.groups if self.builder is not None else set()
        known = {"isa": groups.pop()} if len(groups) == 1 else {}
        names = [
            (event.system, event.name, name, value, text)
            for event in self._facts.events
            for name, symbols in field_symbols(event.format, known).items()
            for value, text in symbols.items()
            if -(1 << 63) <= value < 1 << 63
        ]
        if names:
            self._writer.write_small("symbols", _small_table(schema.SYMBOLS, names))
        threads = sorted((pid, tid, name) for (pid, tid), name in self._facts.threads.items())
        if threads:
            self._writer.write_small("threads", _small_table(schema.THREADS, threads))


def _small_table(described: schema.Table, rows: list[tuple[Any, ...]]) -> pa.Table:
    fields = described.arrow_schema()
    columns = [pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), fields, strict=True)]
    return pa.table(columns, schema=fields)
