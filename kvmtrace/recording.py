"""What every reader of a recording and every model gives: facts, and blocks of events in columns.

A reader yields `EventBlock`s in the order of its source. Everything after it (exits, store) sees only these.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from kvmtrace.tracepoints import EventFormat

NO_WATERMARK = -(1 << 63)
"""Watermark of a block after which any time may still come."""


@dataclass(frozen=True, slots=True)
class Note:
    """Trouble inside a recording that leaves the rest readable: where, what, and how many things it cost."""

    where: str  # "offset 1234", "line 7"
    what: str
    events: int = 0  # events of the source that are not in the store because of it


class Notes:
    """The notes of one source: the first few hundred whole, the rest counted."""

    LIMIT = 256

    def __init__(self) -> None:
        self.kept: list[Note] = []
        self.dropped = 0
        self.events = 0  # events that are not in the store, of all notes

    def add(self, note: Note) -> None:
        """Keep a note, or count it where there are too many."""
        self.events += note.events
        if len(self.kept) < self.LIMIT:
            self.kept.append(note)
        else:
            self.dropped += 1

    def told(self) -> list[Note]:
        """Return the notes that are kept, and one in place of the others, so that their events add up."""
        if not self.dropped:
            return self.kept
        events = self.events - sum(note.events for note in self.kept)
        return [*self.kept, Note("further on", f"{self.dropped} more notes, which are not kept", events)]


@dataclass(frozen=True, slots=True)
class Loss:
    """Events that the recorder says it lost.

    Pairs on `cpu` (None: any) that overlap (`after_ns`, `until_ns`] are suspect; both None: the time is not recorded.
    """

    said_by: str  # LOST, LOST_SAMPLES, …
    events: int
    cpu: int | None
    after_ns: int | None
    until_ns: int | None
    told: int = 1  # records that say so; 0: it is a part of one that was told before


@dataclass(frozen=True, slots=True)
class EventKind:
    """One tracepoint of a recording; its index in `Facts.events` is the `kind` of an event."""

    system: str
    name: str
    format: EventFormat
    period: int = 1  # of so many events one was sampled; 0: it varies from sample to sample


@dataclass(slots=True)
class Facts:
    """What a recording says of itself. None is: not recorded."""

    format: str
    events: list[EventKind] = field(default_factory=list)  # all of them, before the first block
    host: dict[str, str | int] = field(default_factory=dict)  # hostname, kernel, arch, cpu, cpuid, cpus_online, …
    tool: dict[str, str] = field(default_factory=dict)  # version, cmdline
    clock: str | None = None
    clock_hz: int | None = None  # ticks in a second of it as the user says, where the times come of that
    start: str | None = None  # wall clock, ISO 8601
    left_out: list[str] = field(default_factory=list)  # sample fields that are not stored (callchain, …)
    records: dict[str, int] = field(default_factory=dict)  # records of the source by type, all of them
    not_stored: dict[str, int] = field(default_factory=dict)  # what → samples of the source that have no row
    threads: dict[tuple[int, int], str] = field(default_factory=dict)  # (pid, tid) → name, before the first block
    samples: dict[int, int] = field(default_factory=dict)  # kind → samples in the source
    tells_enabled: bool = True  # events are all that were enabled, also those that never fired
    has_times: bool = True  # events have time stamps
    time_step_ns: int = 1  # they are whole multiples of it
    has_threads: bool = True  # events know their thread
    has_processes: bool = True  # events know the process of their thread
    part: str | None = None  # what tells this run from the others of its source
    vcpu_threads: dict[int, tuple[str, int]] = field(default_factory=dict)  # tid → (VM, vCPU), as the recorder says
    session: dict[str, Any] = field(default_factory=dict)  # trace ids of a session's host and guests, clock shifts


class Fields(Protocol):
    """The own fields of one kind's events in a block: rows in the order of the block."""

    def column(self, name: str) -> NDArray[Any]:
        """Return one integer field in native byte order. KeyError: no such field."""

    def arrow(self) -> dict[str, pa.Array]:
        """Return every field as it is stored: name → Arrow array."""


@dataclass(frozen=True, slots=True)
class EventBlock:
    """Events in the order of the source, n rows; times of one thread may go back within the watermark."""

    ts_ns: NDArray[np.int64]
    cpu: NDArray[np.int32]  # -1: not recorded
    pid: NDArray[np.int32]  # -1: not recorded
    tid: NDArray[np.int32]
    kind: NDArray[np.uint16]  # index into Facts.events
    rows: Mapping[int, NDArray[np.int64]]  # kind → its rows
    fields: Mapping[int, Fields]  # kind → its rows' own fields
    watermark_ns: int = NO_WATERMARK  # no later block has an event at or before this time
    losses: tuple[Loss, ...] = ()
    threads: Mapping[tuple[int, int], str] = field(default_factory=dict)  # (pid, tid) → name, told in this block


class Recording(Protocol):
    """A source of events."""

    facts: Facts
    notes: Notes  # grows while blocks are read

    def blocks(self) -> Iterator[EventBlock]:
        """Read the source once, from its start to its end; `facts` is complete afterwards.

        Blocks are read ahead, so what is told while they are read is told by them, not by `facts`.
        """


@dataclass(frozen=True, slots=True)
class TableSet:
    """A source of figures that somebody else worked out: the rows of one table, and what is known beside them."""

    facts: Facts
    table: str  # counters, exit_summaries, benchmarks: the name of its table in `schema.TABLES`
    rows: pa.Table  # in that table's columns
    elapsed_ns: int | None = None
    enabled_ns: int | None = None
    notes: tuple[Note, ...] = ()


Content = Recording | TableSet
"""What one run is made of; an input may hold several."""
