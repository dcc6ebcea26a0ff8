"""The events inside an exit → what the exit was about, and where its time went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.arch.base import Role
from kvmtrace.exits.spans import Spans

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

NO_DETAIL = -1
NOT_KNOWN = -1
"""In a time: it cannot be told. In a limit: none was recorded."""
TIME_ROLES: Mapping[str, frozenset[int]] = {
    "userspace_ns": frozenset({Role.USERSPACE}),
    "blocked_ns": frozenset({Role.BLOCKED, Role.SLEEP}),
    "polled_ns": frozenset({Role.POLLED}),
    "preempted_ns": frozenset({Role.PREEMPTED}),
    "hcall_ns": frozenset({Role.HCALL_EXIT}),
}
"""The times of `Facets`, and the roles of which one must be recorded for it to be told."""


@dataclass(frozen=True, slots=True)
class Inside:
    """The m events that lie in exits and say something, by exit and time."""

    rank: NDArray[np.int64]  # index of the exit
    role: NDArray[np.uint8]  # arch.base.Role
    value: NDArray[np.uint64]
    since_ns: NDArray[np.int64]  # since the exit
    poll_limit_ns: NDArray[np.int64]  # of Role.BLOCKED: longest polling before that sleep, NOT_KNOWN: not recorded


@dataclass(frozen=True, slots=True)
class Facets:
    """What the events of n exits say. The times are parts of the latency that do not overlap, but for hcall_ns."""

    detail_rule: NDArray[np.int8]  # index into Architecture.details, NO_DETAIL: none
    detail: NDArray[np.uint64]
    userspace: NDArray[np.bool_]
    userspace_ns: NDArray[np.int64]
    blocked_ns: NDArray[np.int64]
    polled_ns: NDArray[np.int64]
    preempted_ns: NDArray[np.int64]
    hcall_ns: NDArray[np.int64]
    eoi: NDArray[np.bool_]
    nested: NDArray[np.bool_]
    reflected: NDArray[np.bool_]
    idle: NDArray[np.bool_]  # an event inside says so, whatever the reason

    @classmethod
    def of_exits_alone(cls, detail_rule: NDArray[np.int8], detail: NDArray[np.uint64]) -> Facets:
        """Return the facets of exits with no event inside: one value for all, which cannot be written to."""
        number, flag = np.broadcast_to(np.int64(0), len(detail)), np.broadcast_to(np.False_, len(detail))
        return cls(detail_rule, detail, flag, number, number, number, number, number, flag, flag, flag, flag)


def find_facets(
    inside: Inside, detail_rule: NDArray[np.int8], detail: NDArray[np.uint64], latency_ns: NDArray[np.int64]
) -> Facets:
    """Gather what events say of their exits.

    detail_rule, detail, latency_ns: one for each exit: what the exit event itself says, and -1 where it has no latency.
    """
    exits = len(latency_ns)
    detail_rule, detail = detail_rule.copy(), detail.copy()
    _find_detail(inside, detail_rule, detail)
    userspace = _flag(inside, Role.USERSPACE, exits)
    preempted = _spans(inside, Role.PREEMPTED, Role.RUNNING)
    preempted_ns = np.zeros(exits, np.int64)
    preempted.add_to(preempted_ns)
    blocked_ns, polled_ns = _halt_times(inside, preempted, exits)
    return Facets(
        detail_rule=detail_rule,
        detail=detail,
        userspace=userspace,
        userspace_ns=_userspace_time(inside, preempted, userspace, latency_ns),
        blocked_ns=blocked_ns,
        polled_ns=polled_ns,
        preempted_ns=preempted_ns,
        hcall_ns=_hcall_time(inside, exits),
        eoi=_flag(inside, Role.EOI, exits),
        nested=_flag(inside, Role.NESTED, exits),
        reflected=_flag(inside, Role.REFLECTED, exits),
        idle=_flag(inside, Role.IDLE, exits),
    )


def _flag(inside: Inside, role: Role, exits: int) -> NDArray[np.bool_]:
    flags = np.zeros(exits, np.bool_)
    flags[inside.rank[inside.role == role]] = True
    return flags


def _spans(inside: Inside, opens: Role, closes: Role) -> Spans:
    return Spans.between(inside.rank, inside.role, inside.since_ns, opens, closes)


def _find_detail(inside: Inside, detail_rule: NDArray[np.int8], detail: NDArray[np.uint64]) -> None:
    # The last assignment stands, so the first event of an exit comes last, and the first rule behind all others.
    present = np.unique(inside.role[inside.role >= Role.DETAIL]).tolist()
    for wanted in reversed(present):
        rows = np.flatnonzero(inside.role == wanted)[::-1]
        detail_rule[inside.rank[rows]] = wanted - Role.DETAIL
        detail[inside.rank[rows]] = inside.value[rows]


def _hcall_time(inside: Inside, exits: int) -> NDArray[np.int64]:
    """Return how long handlers ran: NOT_KNOWN where one began or ended in another exit, as H_ENTER_NESTED does."""
    times = np.zeros(exits, np.int64)
    spans = _spans(inside, Role.HCALL_ENTER, Role.HCALL_EXIT)
    spans.add_to(times)
    whole = np.bincount(spans.rank, minlength=exits)
    for role in (Role.HCALL_ENTER, Role.HCALL_EXIT):
        times[np.bincount(inside.rank[inside.role == role], minlength=exits) != whole] = NOT_KNOWN
    return times


@dataclass(frozen=True, slots=True)
class Halts:
    """The halts of n exits. Of a halt with a recorded sleep, polling is what `polled` has beside `sleeps`."""

    sleeps: Spans  # from going to sleep to waking, where the recording tells both
    blocked: Spans  # the sleep of the other halts
    polled: Spans
    slept: NDArray[np.bool_]  # for each exit: it has a recorded sleep
    unknown: NDArray[np.int64]  # exits with a halt of which is not known how much was polling


def find_halts(inside: Inside, exits: int) -> Halts:
    """Return where exits slept in halts and were polled for, preemption included.

    A halt that ends in sleep says how long it was, polling included. Where the recording tells when the sleep itself
    began, the rest was polling; else polling lasted as long as it may, where that limit was recorded.
    """
    sleeps = _spans(inside, Role.SLEEP, Role.WAKE)
    slept = np.zeros(exits, np.bool_)
    slept[sleeps.rank] = True
    halts = np.flatnonzero((inside.role == Role.BLOCKED) | (inside.role == Role.POLLED))
    rank, end, limit = inside.rank[halts], inside.since_ns[halts], inside.poll_limit_ns[halts]
    start = end - np.minimum(np.maximum(inside.value[halts].view(np.int64), 0), end)  # it is no longer than the exit
    waited = inside.role[halts] == Role.BLOCKED
    unknown = waited & (limit < 0) & ~slept[rank]
    asleep = np.where(waited, np.minimum(start + np.maximum(limit, 0), end), end)
    told = waited & ~slept[rank]
    polled = Spans(rank, start, np.where(slept[rank], end, asleep))
    return Halts(sleeps, Spans(rank, asleep, end).select(told), polled, slept, rank[unknown])


def _halt_times(inside: Inside, preempted: Spans, exits: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how long each exit slept in a halt, and how long it was polled for."""
    blocked_ns, polled_ns = np.zeros(exits, np.int64), np.zeros(exits, np.int64)
    halts = find_halts(inside, exits)
    np.add.at(blocked_ns, halts.sleeps.rank, halts.sleeps.less(preempted))
    if not len(halts.polled):
        return blocked_ns, polled_ns
    np.add.at(blocked_ns, halts.blocked.rank, halts.blocked.less(preempted))
    np.add.at(polled_ns, halts.polled.rank, halts.polled.less(preempted))
    polled_ns[halts.slept] = np.maximum(polled_ns[halts.slept] - blocked_ns[halts.slept], 0)
    polled_ns[halts.unknown] = NOT_KNOWN
    return blocked_ns, polled_ns


def _userspace_time(
    inside: Inside, preempted: Spans, userspace: NDArray[np.bool_], latency_ns: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return how long each exit was in the VMM: 0 where it did not go there, NOT_KNOWN where nothing ends it."""
    times = np.zeros(len(latency_ns), np.int64)
    if not userspace.any():
        return times
    for spans in find_userspace(inside, userspace, latency_ns):
        ends = spans.end >= spans.start
        np.add.at(times, spans.rank[ends], spans.select(ends).less(preempted))
        times[spans.rank[~ends]] = NOT_KNOWN
    return times


def find_userspace(inside: Inside, userspace: NDArray[np.bool_], latency_ns: NDArray[np.int64]) -> tuple[Spans, Spans]:
    """Return where exits were in the VMM, preemption included: as the thread left the kernel and came back; the rest.

    userspace: whether each exit went to the VMM. An end before the start is: there is none.
    """
    spans = _spans(inside, Role.USER_LEAVE, Role.USER_RETURN)
    leaves, returns, whole = (
        np.bincount(rank, minlength=len(latency_ns))
        for rank in (
            inside.rank[inside.role == Role.USER_LEAVE],
            inside.rank[inside.role == Role.USER_RETURN],
            spans.rank,
        )
    )
    bounded = userspace & (leaves == returns) & (whole == leaves) & (leaves > 0)
    rest = _until_return(inside, latency_ns)
    return spans.select(bounded[spans.rank]), rest.select(~bounded[rest.rank])


def _until_return(inside: Inside, latency_ns: NDArray[np.int64]) -> Spans:
    """Return the stretches from each way to the VMM to the first sign of the kernel, else to the entry.

    A halt is such a sign: it began in the kernel. An end before the start is: there is none.
    """
    halts = (inside.role == Role.BLOCKED) | (inside.role == Role.POLLED)
    marks = np.flatnonzero((inside.role == Role.USERSPACE) | (inside.role == Role.USER_RETURN) | halts)
    since = inside.since_ns[marks] - np.where(halts[marks], np.maximum(inside.value[marks].view(np.int64), 0), 0)
    rank = inside.rank[marks]
    goes = np.flatnonzero(inside.role[marks] == Role.USERSPACE)
    last = np.append(rank[1:] != rank[:-1], True)
    following = np.append(since[1:], NOT_KNOWN)
    end = np.where(last, latency_ns[rank], np.maximum(following, since))
    return Spans(rank[goes], since[goes], end[goes])
