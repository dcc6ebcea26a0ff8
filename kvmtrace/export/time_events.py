"""Reads the events that tell where the time inside exits went: of the VMM, halts and the scheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.arch import roles_among
from kvmtrace.arch.base import Role
from kvmtrace.exits.facets import NOT_KNOWN, Inside
from kvmtrace.export.exit_blocks import column
from kvmtrace.store.manifest import events_table
from kvmtrace.store.views import quoted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kvmtrace.arch.base import EventRole
    from kvmtrace.export.exit_blocks import ChosenExits, ExitBlock
    from kvmtrace.store.manifest import Manifest

_AT_ONE_TIME = (
    Role.RUNNING,
    Role.USER_LEAVE,
    Role.USER_RETURN,
    Role.USERSPACE,
    Role.POLL_LIMIT,
    Role.SLEEP,
    Role.WAKE,
    Role.BLOCKED,
    Role.POLLED,
    Role.PREEMPTED,
)
"""The roles that tell of times, in the order that events of one time have: the store does not keep it."""
_NO_EXIT = -1
_LOOKED_AHEAD_NS = 10**9
"""How far behind an exit without a latency its events are looked for; parts that end later are placed by convention."""


class TimeEvents:
    """The events of one run that tell where the time inside exits went."""

    def __init__(self, chosen: ChosenExits, manifest: Manifest) -> None:
        self._chosen = chosen
        self._sql = " UNION ALL ".join(_selects(chosen, manifest))
        self._limits: dict[int, int] = {}  # newest limit of polling, by thread
        if self._sql and any(line.tid is not None for line in chosen.timelines.all):
            self._limits = self._limits_before(chosen.from_ns)

    def inside(self, block: ExitBlock) -> Inside | None:
        """Return the events inside the exits of a block, by exit and time; None: none can be."""
        if not self._sql:
            return None
        start = block.numbers["exit_ts_ns"]
        end = start + np.where(block.known["latency_ns"], block.numbers["latency_ns"], _LOOKED_AHEAD_NS)
        parameters = {"run_id": self._chosen.run_id, "from_ns": int(start.min()), "to_ns": int(end.max())}
        found, _ = self._chosen.connection.arrow(self._sql, parameters)
        numbers = {name: column(found, name)[0] for name in ("tid", "ts_ns", "role", "value")}
        exit_id, has_exit = column(found, "exit_id")
        ranks = _ranks(np.where(has_exit, exit_id, _NO_EXIT), block.numbers["exit_id"])
        running = numbers["role"] == Role.RUNNING
        ranks[running] = _ranks_at(numbers["tid"][running], numbers["ts_ns"][running], block, end)
        rows = np.flatnonzero(ranks != _NO_EXIT)
        place = np.zeros(int(max(Role)) + 1, np.int64)
        place[list(_AT_ONE_TIME)] = np.arange(len(_AT_ONE_TIME))
        rows = rows[np.lexsort((place[numbers["role"][rows]], numbers["ts_ns"][rows], ranks[rows]))]
        rank, role = ranks[rows], numbers["role"][rows].astype(np.uint8)
        value = numbers["value"][rows].astype(np.uint64)
        limits = self._limits_of(block, rank, role, value)
        return Inside(rank, role, value, numbers["ts_ns"][rows] - start[rank], limits)

    def _limits_of(
        self, block: ExitBlock, rank: NDArray[np.int64], role: NDArray[np.uint8], value: NDArray[np.uint64]
    ) -> NDArray[np.int64]:
        """Return for each event the newest limit that an earlier exit of its thread told."""
        limits = np.full(len(rank), NOT_KNOWN, np.int64)
        tid = block.numbers["tid"]
        told = np.flatnonzero(role == Role.POLL_LIMIT)
        told = told[np.argsort(block.numbers["exit_ts_ns"][rank[told]], kind="stable")]
        asked = np.flatnonzero(role == Role.BLOCKED)
        for thread in np.unique(tid[rank[asked]]).tolist():
            mine = told[tid[rank[told]] == thread]
            wanted = asked[tid[rank[asked]] == thread]
            times = block.numbers["exit_ts_ns"]
            before = np.searchsorted(times[rank[mine]], times[rank[wanted]], side="left") - 1
            values = np.append(value[mine].view(np.int64), self._limits.get(thread, NOT_KNOWN))
            limits[wanted] = values[before]  # -1, none before, is the last
        newest = {int(tid[rank[row]]): int(value[row]) for row in _last_of_each(tid[rank[told]], told).tolist()}
        self._limits.update(newest)
        return limits

    def _limits_before(self, ts_ns: int) -> dict[int, int]:
        """Return the newest limit of each thread's polling before a time."""
        sql = (
            f"SELECT tid, arg_max(value, ts_ns) FROM ({self._sql}) "  # noqa: S608 - our own words
            f"WHERE role = {int(Role.POLL_LIMIT)} AND tid IS NOT NULL AND ts_ns < $to_ns GROUP BY tid"
        )
        parameters = {"run_id": self._chosen.run_id, "from_ns": self._chosen.started_ns, "to_ns": ts_ns}
        return dict(self._chosen.connection.query(sql, parameters).rows)


def _selects(chosen: ChosenExits, manifest: Manifest) -> list[str]:
    """Return a SELECT of exit_id, tid, ts_ns, role and value for each role of each recorded event."""
    views = chosen.connection.views
    by_path = {view.path: view for view in views.all()}
    selects = []
    for key, roles in roles_among(set(_AT_ONE_TIME)).items():
        path = events_table(*key)
        if path not in by_path or path not in manifest.tables or not manifest.tables[path].rows:
            continue
        fields = set(manifest.tables[path].columns)
        name = by_path[path].name
        selects += [_select(name, role) for role in roles if role.fields <= fields]
    return selects


def _select(name: str, role: EventRole) -> str:
    told = str(int(role.role))
    if role.choice_field is not None:
        choice = f"({quoted(role.choice_field)}::BIGINT & {role.choice_mask})"
        cases = " ".join(f"WHEN {wanted} THEN {int(chosen)}" for wanted, chosen in role.choices.items())
        told = f"CASE {choice} {cases} ELSE {told} END"
    value = "0" if role.value_field is None else f"coalesce(try_cast({quoted(role.value_field)} AS UBIGINT), 0)"
    thread = "tid" if role.thread_field is None else quoted(role.thread_field)
    wanted = ", ".join(str(int(each)) for each in _AT_ONE_TIME)
    return (
        f"SELECT exit_id, {thread}::INTEGER AS tid, ts_ns, {told} AS role, {value}::UBIGINT AS value "  # noqa: S608 - names of our own
        f"FROM {quoted(name)} WHERE run_id = $run_id AND ts_ns >= $from_ns AND ts_ns <= $to_ns AND {told} IN ({wanted})"
    )


def _ranks(exit_id: NDArray[np.int64], of_block: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the place in the block of each exit_id, _NO_EXIT where it is not there."""
    order = np.argsort(of_block)
    place = np.minimum(np.searchsorted(of_block[order], exit_id), len(of_block) - 1)
    return np.where(of_block[order][place] == exit_id, order[place], _NO_EXIT)


def _ranks_at(
    tid: NDArray[np.int64], ts_ns: NDArray[np.int64], block: ExitBlock, end: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the place of the exit of each thread in which a time lies, _NO_EXIT: in none of the block."""
    ranks = np.full(len(tid), _NO_EXIT, np.int64)
    of_thread = block.numbers["tid"]
    for thread in np.unique(of_thread[np.isin(of_thread, tid)]).tolist():
        exits = np.flatnonzero(of_thread == thread)
        exits = exits[np.argsort(block.numbers["exit_ts_ns"][exits], kind="stable")]
        rows = np.flatnonzero(tid == thread)
        place = np.searchsorted(block.numbers["exit_ts_ns"][exits], ts_ns[rows], side="right") - 1
        inside = (place >= 0) & (ts_ns[rows] <= end[exits[place]])
        ranks[rows] = np.where(inside, exits[place], _NO_EXIT)
    return ranks


def _last_of_each(group: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the last row of each group."""
    _, first_from_behind = np.unique(group[::-1], return_index=True)
    return rows[len(rows) - 1 - first_from_behind]
