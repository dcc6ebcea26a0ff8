"""Many exits and sequences → their events in columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from kvmtrace.synth.draws import Draws
    from kvmtrace.synth.exit_scripts import Kind, Scripts
    from kvmtrace.synth.machine import Thread

PS_OF_NS = 1_000


@dataclass(frozen=True, slots=True)
class Happened:
    """Exits and sequences that happened: n of them, in order of their beginning for each thread."""

    script: NDArray[np.int64]  # index in Scripts
    start_ps: NDArray[np.int64]
    span_ps: NDArray[np.int64]  # until the entry, or the sequence's end
    thread: NDArray[np.int64]  # index of the thread
    values: Mapping[str, NDArray[np.int64]]  # what the engine gives to "$name"
    cpu: NDArray[np.int64] | None = None  # None: the CPU that the thread is bound to
    wait_ps: NDArray[np.int64] | None = None  # part of the span between an exit's own event and the others (HLT)


@dataclass(frozen=True, slots=True)
class Piece:
    """Events, n of them; `rows` and `records` are those of each kind.

    Records are plain bytes: by field, numpy would copy them slowly, and without what lies between the fields.
    """

    ts_ns: NDArray[np.int64]
    cpu: NDArray[np.int32]
    pid: NDArray[np.int32]
    tid: NDArray[np.int32]
    kind: NDArray[np.uint16]
    rows: Mapping[int, NDArray[np.int64]]
    records: Mapping[int, NDArray[Any]]

    def part(self, kept: NDArray[np.bool]) -> Piece:
        """Return some of the events."""
        if kept.all():
            return self
        place = np.cumsum(kept) - 1
        rows, records = {}, {}
        for number, of_kind in self.rows.items():
            stays = kept[of_kind]
            rows[number] = place[of_kind[stays]]
            records[number] = self.records[number][stays]
        pid, tid, kind = self.pid[kept], self.tid[kept], self.kind[kept]
        return Piece(self.ts_ns[kept], self.cpu[kept], pid, tid, kind, rows, records)

    def before(self, end_ns: int) -> Piece:
        """Return the events before a time."""
        return self.part(self.ts_ns < end_ns)


class Emitter:
    """Makes the events of what happened. `draws` decide chances and choices of fields."""

    def __init__(self, scripts: Scripts, threads: Sequence[Thread], draws: Draws) -> None:
        self._scripts = scripts
        # A stream for each step and field: how much is made at once must not change what is drawn.
        self._streams: dict[tuple[str, int], Draws] = {}
        self._draws = draws
        self._pid = np.array([thread.pid for thread in threads], np.int32)
        self._tid = np.array([thread.tid for thread in threads], np.int32)
        self._cpu = np.array([thread.cpu for thread in threads], np.int32)
        self._vcpu = np.array([thread.vcpu for thread in threads], np.int64)
        self._at = scripts.step_column("at", "f8")
        self._kind = scripts.step_column("kind", "u2")
        self._row = scripts.step_column("row", "i8")
        self._chances = {index: step.chance for index, step in enumerate(scripts.steps) if step.chance < 1}
        self._templates = [_plain(kind) for kind in scripts.kinds]
        self._changing = {
            kind: [(number, step) for number, step in enumerate(scripts.steps) if step.kind == kind and step.changes]
            for kind in range(len(scripts.kinds))
        }

    def events(self, happened: Happened) -> Piece:
        """Return the events of what happened."""
        counts = self._scripts.count[happened.script]
        owner = np.repeat(np.arange(len(counts)), counts)
        ends = np.cumsum(counts)
        step = np.arange(len(owner)) - np.repeat(ends - counts - self._scripts.first[happened.script], counts)
        if self._chances:
            kept = self._fires(step)
            owner, step = owner[kept], step[kept]
        # A product of doubles is the same everywhere, and exact for the entry, where the share is 1.
        if happened.wait_ps is None:
            ts_ps = happened.start_ps[owner] + (happened.span_ps[owner] * self._at[step]).astype(np.int64)
        else:
            wait_ps = np.where(step > self._scripts.first[happened.script][owner], happened.wait_ps[owner], 0)
            active_ps = (happened.span_ps - happened.wait_ps)[owner]
            ts_ps = happened.start_ps[owner] + wait_ps + (active_ps * self._at[step]).astype(np.int64)
        thread = happened.thread[owner]
        cpu = self._cpu[thread] if happened.cpu is None else happened.cpu[owner].astype(np.int32)
        kind = self._kind[step]
        rows, records = {}, {}
        for number in np.unique(kind).tolist():
            rows[number] = np.flatnonzero(kind == number)
            of_kind = rows[number]
            records[number] = self._records(number, step[of_kind], owner[of_kind], thread[of_kind], happened)
        return Piece(ts_ps // PS_OF_NS, cpu, self._pid[thread], self._tid[thread], kind, rows, records)

    def _stream(self, name: str, step: int) -> Draws:
        if (name, step) not in self._streams:
            self._streams[name, step] = self._draws.own(name, step)
        return self._streams[name, step]

    def _fires(self, step: NDArray[np.int64]) -> NDArray[np.bool]:
        kept = np.ones(len(step), bool)
        for number, chance in self._chances.items():
            of_step = np.flatnonzero(step == number)
            kept[of_step] = self._stream("chance", number).happens(len(of_step), chance)
        return kept

    def _records(
        self,
        kind: int,
        step: NDArray[np.int64],
        owner: NDArray[np.int64],
        thread: NDArray[np.int64],
        happened: Happened,
    ) -> NDArray[Any]:
        template = self._templates[kind]
        plain: NDArray[Any] = template[self._row[step]]
        records = plain.view(self._scripts.kinds[kind].records)
        records["common_pid"] = self._tid[thread]
        vcpu_field = self._scripts.kinds[kind].vcpu_field
        if vcpu_field is not None:
            runs_vcpu = self._vcpu[thread] >= 0
            records[vcpu_field] = np.where(runs_vcpu, self._vcpu[thread], records[vcpu_field])
        for number, changing in self._changing[kind]:
            of_step = np.flatnonzero(step == number)
            for name, choice in changing.choices.items():
                chosen = self._stream(name, number).chosen(len(of_step), choice.weights or [1.0] * len(choice.choose))
                records[name][of_step] = np.array(choice.choose, records.dtype[name])[chosen]
            for name, given in changing.given.items():
                records[name][of_step] = happened.values[given][owner[of_step]]
        return plain


def _plain(kind: Kind) -> NDArray[Any]:
    return np.frombuffer(b"".join(row.tobytes() for row in kind.rows), f"V{kind.records.itemsize}")
