"""The events inside an exit → what the exit was about, and where its time went."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.arch.base import Role

if TYPE_CHECKING:
    from numpy.typing import NDArray

NO_DETAIL = -1


@dataclass(frozen=True, slots=True)
class Facets:
    """What the events inside n exits say; a time of -1 is: no such event."""

    detail_rule: NDArray[np.int8]  # index into Architecture.details, NO_DETAIL: none
    detail: NDArray[np.uint64]
    userspace: NDArray[np.bool_]
    userspace_ns: NDArray[np.int64]
    blocked_ns: NDArray[np.int64]
    polled_ns: NDArray[np.int64]
    preempted_ns: NDArray[np.int64]
    eoi: NDArray[np.bool_]
    nested: NDArray[np.bool_]

    @classmethod
    def nothing(cls, exits: int) -> Facets:
        """Return the facets of exits with no event inside: one value for all, which cannot be written to."""
        number, flag = np.broadcast_to(np.int64(0), exits), np.broadcast_to(np.False_, exits)
        return cls(
            detail_rule=np.broadcast_to(np.int8(NO_DETAIL), exits),
            detail=np.broadcast_to(np.uint64(0), exits),
            userspace=flag,
            userspace_ns=np.broadcast_to(np.int64(-1), exits),
            blocked_ns=number,
            polled_ns=number,
            preempted_ns=number,
            eoi=flag,
            nested=flag,
        )

    def writable(self) -> Facets:
        """Return a copy with arrays of its own."""
        return Facets(*(np.array(getattr(self, f.name)) for f in fields(self)))


def find_facets(
    rank: NDArray[np.int64],
    role: NDArray[np.uint8],
    value: NDArray[np.uint64],
    since_exit_ns: NDArray[np.int64],
    latency_ns: NDArray[np.int64],
) -> Facets:
    """Gather what events say of their exits.

    rank, role, value, since_exit_ns: one for each event that lies in an exit and says something, in the order of
    time; rank is the index of its exit. latency_ns: one for each exit, -1 where it has none.
    """
    facets = Facets.nothing(len(latency_ns)).writable()
    present = set(np.unique(role).tolist())
    _find_detail(facets, rank, role, value, present)
    for wanted, flags in ((Role.USERSPACE, facets.userspace), (Role.EOI, facets.eoi), (Role.NESTED, facets.nested)):
        if wanted in present:
            flags[rank[role == wanted]] = True
    for wanted, times in ((Role.BLOCKED, facets.blocked_ns), (Role.POLLED, facets.polled_ns)):
        if wanted in present:
            np.add.at(times, rank[role == wanted], value[role == wanted].view(np.int64))
    _find_userspace_time(facets, rank, role, since_exit_ns, latency_ns)
    if Role.PREEMPTED in present:
        _find_preempted_time(facets, rank, role, since_exit_ns)
    return facets


def _find_detail(
    facets: Facets, rank: NDArray[np.int64], role: NDArray[np.uint8], value: NDArray[np.uint64], present: set[int]
) -> None:
    # The last assignment stands, so the first event of an exit comes last, and the first rule behind all others.
    for wanted in sorted((r for r in present if r >= Role.DETAIL), reverse=True):
        rows = np.flatnonzero(role == wanted)[::-1]
        facets.detail_rule[rank[rows]] = wanted - Role.DETAIL
        facets.detail[rank[rows]] = value[rows]


def _find_userspace_time(
    facets: Facets,
    rank: NDArray[np.int64],
    role: NDArray[np.uint8],
    since_exit_ns: NDArray[np.int64],
    latency_ns: NDArray[np.int64],
) -> None:
    """Time between leaving the kernel and coming back, else from the userspace exit to the entry."""
    first = np.flatnonzero(role == Role.USERSPACE)[::-1]
    to_entry = np.zeros(len(latency_ns), np.int64)
    to_entry[rank[first]] = since_exit_ns[first]
    went = facets.userspace & (latency_ns >= 0)
    facets.userspace_ns[went] = latency_ns[went] - to_entry[went]

    leave, back = role == Role.USER_LEAVE, role == Role.USER_RETURN
    leaves = np.bincount(rank[leave], minlength=len(latency_ns))
    returns = np.bincount(rank[back], minlength=len(latency_ns))
    spent = np.zeros(len(latency_ns), np.int64)
    np.add.at(spent, rank[back], since_exit_ns[back])
    np.subtract.at(spent, rank[leave], since_exit_ns[leave])
    bounded = went & (leaves == returns) & (leaves > 0) & (spent >= 0)
    facets.userspace_ns[bounded] = spent[bounded]


def _find_preempted_time(
    facets: Facets, rank: NDArray[np.int64], role: NDArray[np.uint8], since_exit_ns: NDArray[np.int64]
) -> None:
    """Time from losing the CPU to the next time of having one; after a sleep there is no loss before it."""
    switches = np.flatnonzero((role == Role.PREEMPTED) | (role == Role.RUNNING))
    lost, back = switches[:-1], switches[1:]
    pairs = (rank[lost] == rank[back]) & (role[lost] == Role.PREEMPTED) & (role[back] == Role.RUNNING)
    waits = since_exit_ns[back[pairs]] - since_exit_ns[lost[pairs]]
    np.add.at(facets.preempted_ns, rank[lost[pairs]], waits)
