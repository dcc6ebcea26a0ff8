"""Reads injections and EOIs, and finds the timeline of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kvmtrace.export.exit_blocks import column
from kvmtrace.store.manifest import events_table
from kvmtrace.store.views import quoted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kvmtrace.export.exit_blocks import ChosenExits
    from kvmtrace.export.timelines import Timelines
    from kvmtrace.store.manifest import Manifest

INJECTION = "kvm_inj_virq"
INSTANTS = {
    INJECTION: ("injection", ("vector", "irq")),
    "kvm_inj_exception": ("injection", ("exception",)),
    "kvm_apicv_accept_irq": ("injection", ("vec",)),
    "kvm_eoi": ("eoi", ("vector",)),
    "kvm_pv_eoi": ("eoi", ("vector",)),
}
"""Events of the vCPU's own thread: their category, and the field that holds the vector, of which one is there."""
_NONE = -1


@dataclass(frozen=True, slots=True)
class Instants:
    """n events of one kind; `timeline` is -1 where the thread has none, `vector` where it is not recorded."""

    ts_ns: NDArray[np.int64]
    timeline: NDArray[np.int64]
    vector: NDArray[np.int64]

    def on_timelines(self) -> Instants:
        """Return those whose thread has a timeline."""
        rows = np.flatnonzero(self.timeline != _NONE)
        return Instants(self.ts_ns[rows], self.timeline[rows], self.vector[rows])


class InstantReader:
    """Reads the injections and EOIs of a run."""

    def __init__(self, chosen: ChosenExits, manifest: Manifest) -> None:
        self._chosen = chosen
        self._finder = _Finder(chosen.timelines)
        self._sql = {}
        views = {view.path: view.name for view in chosen.connection.views.all()}
        for event, (_, fields) in INSTANTS.items():
            path = events_table("kvm", event)
            if path in manifest.tables and manifest.tables[path].rows:
                vector = next((quoted(field) for field in fields if field in manifest.tables[path].columns), "NULL")
                self._sql[event] = (
                    f"SELECT ts_ns, tid, vcpu, try_cast({vector} AS BIGINT) AS vector FROM {quoted(views[path])} "  # noqa: S608 - names of our own
                    "WHERE run_id = $run_id AND ts_ns >= $from_ns AND ts_ns < $to_ns ORDER BY ts_ns, tid"
                )

    def read(self, event: str, span: tuple[int, int]) -> Instants | None:
        """Return the events of one kind in a stretch of time; None: it was not recorded."""
        if event not in self._sql:
            return None
        parameters = {"run_id": self._chosen.run_id, "from_ns": span[0], "to_ns": span[1]}
        found, _ = self._chosen.connection.arrow(self._sql[event], parameters)
        tid, vcpu, vector = (
            np.where(known, values, _NONE)
            for values, known in (column(found, name) for name in ("tid", "vcpu", "vector"))
        )
        return Instants(column(found, "ts_ns")[0], self._finder.find(tid, vcpu), vector)


class _Finder:
    """Finds the timeline of a thread, and of its vCPU where it ran several."""

    def __init__(self, timelines: Timelines) -> None:
        keys: dict[int, list[int]] = {}
        for place, line in enumerate(timelines.all):
            if line.tid is not None:
                keys.setdefault(line.tid, []).append(place)
        alone = {tid: places[0] for tid, places in keys.items() if len(places) == 1}
        self._of_thread = _table(alone)
        self._of_vcpu = _table(
            {
                _packed(tid, timelines.all[place].vcpu): place
                for tid, places in keys.items()
                for place in places
                if tid not in alone and timelines.all[place].vcpu is not None
            }
        )

    def find(self, tid: NDArray[Any], vcpu: NDArray[Any]) -> NDArray[np.int64]:
        """Return the timeline of each event, _NONE where it has none."""
        by_thread = _looked_up(self._of_thread, tid.astype(np.int64))
        by_vcpu = _looked_up(self._of_vcpu, (tid.astype(np.int64) << 32) + vcpu)
        return np.where(by_thread != _NONE, by_thread, by_vcpu)


def _packed(tid: int, vcpu: int | None) -> int:
    return (tid << 32) + (_NONE if vcpu is None else vcpu)


def _table(found: dict[int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    keys = np.array(sorted(found), np.int64)
    return keys, np.array([found[key] for key in keys.tolist()], np.int64)


def _looked_up(table: tuple[NDArray[np.int64], NDArray[np.int64]], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    keys, values = table
    if not len(keys):
        return np.full(len(wanted), _NONE, np.int64)
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, values[place], _NONE)
