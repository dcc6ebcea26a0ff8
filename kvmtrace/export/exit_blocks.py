"""Reads the exits of a run in blocks of time, as columns of numbers."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from kvmtrace.errors import UsageError
from kvmtrace.export.timelines import Timelines, read_timelines

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from numpy.typing import NDArray

    from kvmtrace.export.window import Window
    from kvmtrace.store.connection import StoreConnection
    from kvmtrace.store.manifest import Manifest

PARTS = ("preempted_ns", "blocked_ns", "polled_ns", "userspace_ns")
"""The parts of an exit. Where what events tell of two overlaps, the earlier in this list has it."""
BLOCK_EXITS = 1 << 16
_SLOTS = 1 << 12  # of the window, of which blocks are made
_TEXTS = ("reason", "detail_kind", "detail_name", "closed_by")
_NUMBERS = ("exit_id", "tid", "exit_ts_ns", "latency_ns", "guest_ns", "reason_code", "detail", *PARTS)
_FLAGS = ("idle", "suspect", "eoi")
_ORDER = "tid, vcpu, vm_id, exit_ts_ns, exit_id"


@dataclass(frozen=True, slots=True)
class Texts:
    """A column of texts: for each row an index of `values`, -1 where it is null."""

    index: NDArray[np.int64]
    values: list[str]


@dataclass(frozen=True, slots=True)
class ExitBlock:
    """n exits by timeline and time. A number that is null is 0, and False in `known`."""

    timeline: NDArray[np.int64]  # index into Timelines
    numbers: dict[str, NDArray[Any]]
    known: dict[str, NDArray[np.bool_]]
    texts: dict[str, Texts]

    def __len__(self) -> int:
        return len(self.timeline)


@dataclass(frozen=True, slots=True)
class ChosenExits:
    """The exits of a run that begin in a stretch of time, on chosen vCPUs."""

    connection: StoreConnection
    run_id: str
    from_ns: int  # on the recording's clock
    to_ns: int  # the first time that is not in it
    timelines: Timelines
    started_ns: int  # when the recording began

    def parameters(self) -> dict[str, object]:
        """Return the values of `condition`."""
        return {"run_id": self.run_id, "from_ns": self.from_ns, "to_ns": self.to_ns, **self.timelines.parameters}

    @property
    def condition(self) -> str:
        """What of the table exits is chosen, in SQL."""
        return f"run_id = $run_id AND exit_ts_ns >= $from_ns AND exit_ts_ns < $to_ns {self.timelines.condition}"

    def spans(self) -> list[tuple[int, int]]:
        """Return stretches of time that are the whole together, of some `BLOCK_EXITS` each."""
        width = (self.to_ns - self.from_ns) // _SLOTS + 1
        sql = (
            f"SELECT (exit_ts_ns - $from_ns) // $width AS slot, count(*) AS n FROM exits WHERE {self.condition} "  # noqa: S608 - our own words
            "GROUP BY slot ORDER BY slot"
        )
        counts = self.connection.columns(sql, {**self.parameters(), "width": width}).arrays
        total = np.cumsum(np.ma.getdata(counts["n"]))
        last = np.flatnonzero(np.diff(total // BLOCK_EXITS, append=-1))  # of a block
        cuts = self.from_ns + (np.ma.getdata(counts["slot"])[last].astype(np.int64) + 1) * width
        bounds = [self.from_ns, *cuts[:-1].tolist(), self.to_ns]
        return list(pairwise(bounds))

    def blocks(self) -> Iterator[tuple[tuple[int, int], ExitBlock]]:
        """Yield each stretch of time and its exits."""
        columns = ", ".join(dict.fromkeys(("vm_id", "vcpu", *_NUMBERS, *_TEXTS, *_FLAGS)))
        sql = f"SELECT {columns} FROM exits WHERE {self.condition} ORDER BY {_ORDER}"  # noqa: S608 - our own words
        for start, end in self.spans():
            found, _ = self.connection.arrow(sql, {**self.parameters(), "from_ns": start, "to_ns": end})
            yield (start, end), _block(found, self.timelines)


def choose(connection: StoreConnection, manifest: Manifest, window: Window) -> ChosenExits:
    """Find the exits of a run that a window means. UsageError: there are none."""
    if manifest.unpaired is not None or not manifest.exits.get("rows"):
        why = manifest.unpaired or f"a run of {manifest.kind}" if manifest.kind != "recording" else manifest.unpaired
        raise UsageError(
            f"run {manifest.run_id} has no exits{f': {why}' if why else ''}",
            hint="a time-line shows exits; --format duckdb, parquet, csv and arrow write what else a run holds",
        )
    sql = "SELECT min(exit_ts_ns), max(exit_ts_ns) FROM exits WHERE run_id = $run_id"
    ((first, last),) = connection.query(sql, {"run_id": manifest.run_id}).rows
    started = first if manifest.first_ts_ns is None else min(manifest.first_ts_ns, first)
    ended = last if manifest.last_ts_ns is None else max(manifest.last_ts_ns, last)
    from_ns = started + (window.from_ns or 0)
    to_ns = ended + 1 if window.to_ns is None else min(started + window.to_ns, ended + 1)
    timelines = read_timelines(connection, manifest.run_id, from_ns, to_ns, window.vcpus)
    if not timelines.all:
        length = (ended - started) / 1e9
        raise UsageError(
            "no exit lies in the window", hint=f"the recording is {length:.6f} s long; --from and --to count from 0"
        )
    return ChosenExits(connection, manifest.run_id, from_ns, to_ns, timelines, started)


def column(table: pa.Table, name: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return a column of numbers, 0 where it is null, and where it is not."""
    import pyarrow.compute as pc  # noqa: PLC0415 - slow to load

    values = table.column(name).combine_chunks()
    known = pc.is_valid(values).to_numpy(zero_copy_only=False)
    if values.null_count:
        values = pc.fill_null(values, values.type.to_pandas_dtype()(0))
    return values.to_numpy(zero_copy_only=False), known


def texts(table: pa.Table, name: str) -> Texts:
    """Return a column of texts."""
    import pyarrow.compute as pc  # noqa: PLC0415 - slow to load

    encoded = table.column(name).combine_chunks().dictionary_encode()
    index = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return Texts(index, encoded.dictionary.to_pylist())


def _block(found: pa.Table, timelines: Timelines) -> ExitBlock:
    read = {name: column(found, name) for name in (*_NUMBERS, *_FLAGS, "vcpu")}
    numbers = {name: values for name, (values, _) in read.items()}
    known = {name: valid for name, (_, valid) in read.items()}
    vm = texts(found, "vm_id")
    # Rows of one timeline follow each other.
    keys = (numbers["tid"], np.where(known["vcpu"], numbers["vcpu"], -1), vm.index)
    starts = np.flatnonzero(np.any([np.diff(key, prepend=-2) != 0 for key in keys], axis=0))
    which = [
        timelines.index(
            vm.values[vm.index[row]] if vm.index[row] >= 0 else None,
            int(numbers["vcpu"][row]) if known["vcpu"][row] else None,
            int(numbers["tid"][row]) if known["tid"][row] else None,
        )
        for row in starts.tolist()
    ]
    lengths = np.diff(starts, append=found.num_rows)
    timeline = np.repeat(np.array(which, np.int64), lengths)
    return ExitBlock(timeline, numbers, known, {name: texts(found, name) for name in _TEXTS})
