"""The timelines of a run: one for each vCPU and thread that ran it. Exits of one follow each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kvmtrace.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmtrace.export.window import ChosenVcpu
    from kvmtrace.store.connection import StoreConnection

_LISTED = 8
_RUN = "SELECT DISTINCT vm_id, vcpu FROM exits WHERE run_id = $run_id ORDER BY vm_id, vcpu"
_READ = """
SELECT vm_id, vcpu, tid, count(*) AS exits, min(exit_ts_ns) AS first_ns
FROM exits
WHERE run_id = $run_id AND exit_ts_ns >= $from_ns AND exit_ts_ns < $to_ns
GROUP BY vm_id, vcpu, tid
ORDER BY vm_id NULLS LAST, vcpu NULLS LAST, first_ns, tid
"""
_NAMES = "SELECT tid, any_value(pid), any_value(name) FROM threads WHERE run_id = $run_id GROUP BY tid"


@dataclass(frozen=True, slots=True)
class Timeline:
    """One thread while it ran one vCPU; None is: not recorded."""

    vm_id: str | None
    vcpu: int | None
    tid: int | None
    exits: int
    pid: int | None = None
    thread_name: str | None = None


@dataclass(frozen=True, slots=True)
class Timelines:
    """The timelines that were chosen, by VM and vCPU, and the SQL that tells their exits from others."""

    all: tuple[Timeline, ...]
    process_names: dict[int, str]
    condition: str = ""
    parameters: dict[str, object] = field(default_factory=dict)
    _index: dict[tuple[str | None, int | None, int | None], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._index.update({(line.vm_id, line.vcpu, line.tid): n for n, line in enumerate(self.all)})

    def index(self, vm_id: str | None, vcpu: int | None, tid: int | None) -> int:
        """Return which timeline an exit is on."""
        return self._index[vm_id, vcpu, tid]


def read_timelines(
    connection: StoreConnection, run_id: str, from_ns: int, to_ns: int, wanted: Sequence[ChosenVcpu]
) -> Timelines:
    """Find the timelines with exits in a stretch of time. UsageError: a vCPU that was asked for is not in the run."""
    condition, parameters = "", {}
    if wanted:
        chosen = _chosen(connection, run_id, wanted)
        parameters = {f"vm_{n}": vm_id for n, (vm_id, _) in enumerate(chosen)}
        tests = (f"(vcpu = {vcpu:d} AND vm_id IS NOT DISTINCT FROM $vm_{n})" for n, (_, vcpu) in enumerate(chosen))
        condition = f"AND ({' OR '.join(tests)})"
    sql = _READ.replace("GROUP BY", f"{condition} GROUP BY")
    rows = connection.query(sql, {"run_id": run_id, "from_ns": from_ns, "to_ns": to_ns, **parameters}).rows
    named = connection.query(_NAMES, {"run_id": run_id}).rows
    threads = {tid: (pid, name) for tid, pid, name in named}
    lines = tuple(
        Timeline(vm_id, vcpu, tid, exits, *threads.get(tid, (None, None))) for vm_id, vcpu, tid, exits, _ in rows
    )
    processes = {pid: name for tid, pid, name in named if tid == pid and name}
    return Timelines(lines, processes, condition, dict(parameters))


def _chosen(connection: StoreConnection, run_id: str, wanted: Sequence[ChosenVcpu]) -> list[tuple[str | None, int]]:
    """Return VM and number of the vCPUs that were asked for."""
    there = [(vm_id, vcpu) for vm_id, vcpu in connection.query(_RUN, {"run_id": run_id}).rows if vcpu is not None]
    found: dict[tuple[str | None, int], None] = {}
    for one in wanted:
        matching = [pair for pair in there if pair[1] == one.vcpu and one.vm_id in (None, pair[0])]
        if not matching:
            name = f"{one.vcpu}" if one.vm_id is None else f"{one.vm_id}:{one.vcpu}"
            known = [f"{vm_id}:{vcpu}" for vm_id, vcpu in there]
            more = f" and {len(known) - _LISTED} more" if len(known) > _LISTED else ""
            raise UsageError(
                f"--vcpu: run {run_id} has no vCPU {name}", hint=f"it has {', '.join(known[:_LISTED])}{more}"
            )
        found.update(dict.fromkeys(matching))
    return list(found)
