"""The exits of one recording in two forms: what must be the same, what may be rounded, and what a form cannot tell."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc
from ingested import read_table

from kvmtrace import schema
from kvmtrace.formats.source import ReadOptions
from kvmtrace.ingesting import ingest
from kvmtrace.store.label import Label

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    import pyarrow as pa

    from kvmtrace.store.manifest import Manifest

TIMES = ("exit_ts_ns", "entry_ts_ns")
"""As fine as the form's times, and computed here from the finer form's."""
SPANS = ("latency_ns", "guest_ns")
"""Differences of two times: within one unit of the coarser form's times."""
SUMS = ("userspace_ns", "blocked_ns", "polled_ns", "preempted_ns", "hcall_ns")
"""Sums of spans, at most two of them in these recordings: within two units."""
IN_ITS_FILE = ("exit_id",)
"""An ordinal in the file: a text is in the order of time, a binary file by CPU. Only forms in one order agree in it."""
BY_NAME = ("vm_id",)
"""The VMM's process where the form tells it, else a name of ours, under which each vCPU is still one thread.

VMs that never run vCPUs of one number at the same time are not told apart then, and may change places.
"""
EXACT = tuple(
    column
    for column in schema.EXITS.names()
    if column not in {*TIMES, *SPANS, *SUMS, *IN_ITS_FILE, *BY_NAME}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Untold:
    """What a form cannot tell: where the other form has one of `values` in a column, this one has `instead`."""

    column: str
    values: Collection[Any]
    why: str
    instead: Any = None


@dataclass(frozen=True, slots=True)
class Form:
    """What a form carries of an exits table."""

    unit_ns: int = 1  # of its times
    rounded: bool = False  # its times are rounded; else what is below the unit is cut off
    processes: bool = False  # it tells the process of each thread
    same_order: bool = False  # its events stand in the order of the other form
    untold: tuple[Untold, ...] = ()

    def time(self, ns: int | None) -> int | None:
        """Return a time as this form prints it."""
        half = self.unit_ns // 2 if self.rounded else 0
        return None if ns is None else (ns + half) // self.unit_ns * self.unit_ns


@dataclass(slots=True)
class Forms:
    """Inputs in a store, each of which is ingested once."""

    store: Path
    _runs: dict[tuple[Path, int | None], list[Manifest]] = field(default_factory=dict)

    def manifests(self, path: Path, clock_hz: int | None = None) -> list[Manifest]:
        """Return the manifests of an input's runs."""
        key = (path, clock_hz)
        if key not in self._runs:
            runs = ingest(str(path), self.store, Label(), options=ReadOptions(clock_hz=clock_hz, jobs=1))
            self._runs[key] = [run.manifest for run in runs]
        return self._runs[key]

    def table(self, path: Path, name: str, clock_hz: int | None = None) -> pa.Table:
        """Return a table of an input that is one run. KeyError: it has none of that name."""
        (manifest,) = self.manifests(path, clock_hz)
        return read_table(self.store, manifest, name)

    def exits(self, path: Path, clock_hz: int | None = None) -> pa.Table:
        """Return the exits of an input that is one run, thread after thread in the order of time."""
        return sorted_exits(self.table(path, "exits", clock_hz))


def sorted_exits(exits: pa.Table) -> pa.Table:
    """Sort exits by thread and time; those of one time stay in the order of their file."""
    return exits.sort_by([(column, "ascending") for column in ("tid", "exit_ts_ns", "exit_id")])


def differences(fine: pa.Table, coarse: pa.Table, form: Form) -> list[str]:
    """Compare the sorted exits of a recording with those of another form of it; return what is not as it must be."""
    if fine.num_rows != coarse.num_rows:
        return [f"{fine.num_rows} exits are {coarse.num_rows}"]
    assert fine.num_rows > 0
    assert set(fine.column_names) == set(coarse.column_names) == set(schema.EXITS.names())
    unequal: list[str] = []
    for column in (*EXACT, *TIMES, *SPANS, *SUMS):
        if _agree(column, fine[column], coarse[column], form) and not any(column == one.column for one in form.untold):
            continue
        unequal += _unlike(column, fine[column].to_pylist(), coarse[column].to_pylist(), form)
    return [*unequal, *_vms(fine, coarse, form), *_order(fine, coarse, form)]


def _agree(column: str, fine: pa.ChunkedArray, coarse: pa.ChunkedArray, form: Form) -> bool:
    """Tell whether `_is_same` is true of every row: of whole columns it is quick to say."""
    if form.unit_ns == 1 or column in EXACT:
        return bool(fine.equals(coarse))
    if column in TIMES:
        half = form.unit_ns // 2 if form.rounded else 0
        expected = pc.multiply(pc.divide(pc.add(fine, half), form.unit_ns), form.unit_ns)
        return bool(expected.equals(coarse))
    within = form.unit_ns * (1 if column in SPANS else 2)
    far = pc.greater(pc.abs(pc.subtract(coarse, fine)), within)
    return bool(fine.is_null().equals(coarse.is_null())) and not pc.any(far).as_py()


def _unlike(column: str, fine: list[Any], coarse: list[Any], form: Form) -> Iterable[str]:
    untold = [one for one in form.untold if one.column == column]
    used: set[int] = set()
    wrong = []
    for row, (told, found) in enumerate(zip(fine, coarse, strict=True)):
        if _is_same(column, told, found, form):
            continue
        excuse = next((n for n, one in enumerate(untold) if told in one.values and found == one.instead), None)
        if excuse is None:
            wrong.append((row, told, found))
        else:
            used.add(excuse)
    if wrong:
        yield f"{column}: {len(wrong)} of {len(fine)} differ, first (row, expected, found): {wrong[:3]}"
    yield from (f"{column}: it does tell: not {one.why}" for n, one in enumerate(untold) if n not in used)


def _is_same(column: str, told: Any, found: Any, form: Form) -> bool:  # noqa: ANN401 - what Arrow holds
    if told is None or found is None:
        return told is found
    if column in TIMES:
        return bool(found == form.time(told))
    if form.unit_ns > 1 and column in SPANS + SUMS:
        return bool(abs(found - told) <= form.unit_ns * (1 if column in SPANS else 2))
    return bool(found == told)


def _vms(fine: pa.Table, coarse: pa.Table, form: Form) -> list[str]:
    if form.processes:
        return ["vm_id"] * (fine["vm_id"] != coarse["vm_id"])
    pairs = set(zip(*(coarse[column].to_pylist() for column in ("vm_id", "vcpu", "tid")), strict=True))
    threads = {(vm, vcpu) for vm, vcpu, _ in pairs}
    unnamed = [vm for vm, vcpu, _ in pairs if vm is None and vcpu is not None]
    return [f"vm_id: {pairs}"] * (len(threads) < len(pairs) or bool(unnamed))


def _order(fine: pa.Table, coarse: pa.Table, form: Form) -> list[str]:
    if form.same_order:
        return ["exit_id"] * (fine["exit_id"] != coarse["exit_id"])
    times = coarse.sort_by("exit_id")["exit_ts_ns"].to_pylist()
    return ["exit_id: not in the order of time"] * any(a > b for a, b in itertools.pairwise(times))
