"""Which exits the change of the whole is made of: steps by reason and detail that add up to it.

For one key the time out of the guest changes from n0 m0 to n1 m1 (n exits per denominator, m their mean): (n1 - n0) m0
of it because they are more or fewer, n1 (m1 - m0) because each takes longer or less; the two add up exactly. A detail
(an MSR, port, address, hypercall) that one reason loses and another gains has moved, as far as both go.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from kvmtrace.comparing.run_data import NotRecordedError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvmtrace.comparing.run_data import KeyedExits
    from kvmtrace.comparing.sides import Side
    from kvmtrace.comparing.terms import Term
    from kvmtrace.exit_keys import Key


_AS_MANY_NAMELESS = 0.01
"""Difference of the parts without a detail, up to which both sides tell details alike."""


class Change(StrEnum):
    """How exits of a key changed."""

    FEWER = "fewer"
    MORE = "more"
    CHEAPER = "cheaper"
    DEARER = "dearer"
    MOVED = "moved"
    NEW = "new"
    GONE = "gone"
    UNKNOWN = "not attributed"


class Cause(NamedTuple):
    """What exits have in common that a step is about."""

    reason: str | None
    detail_kind: str | None = None
    detail: int | None = None
    detail_name: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """A part of the change, per denominator. `exits` counts idle ones, `time_ns` does not unless they are asked for."""

    cause: Cause | None  # None: what cannot be attributed
    change: Change
    exits: float
    time_ns: float
    moved_to: str | None = None  # reason


@dataclass(frozen=True, slots=True)
class Waterfall:
    """The whole before and after, per denominator, and the steps between; largest first."""

    base_exits: float
    new_exits: float
    base_time_ns: float
    new_time_ns: float
    steps: tuple[Step, ...]


class _Sums(NamedTuple):
    exits: float = 0.0
    timed: float = 0.0
    time_ns: float = 0.0

    @property
    def mean_ns(self) -> float:
        return self.time_ns / self.timed if self.timed else 0.0


def waterfall(base: Side, new: Side, per: Term, *, with_idle: bool) -> Waterfall:
    """Return the steps from one side to the other. NotRecordedError: exits or `per` are not recorded on a side."""
    before, after = (_by_cause(side, per, with_idle=with_idle) for side in (base, new))
    capped = [_capped(side) for side in (base, new)]
    before, after = _alike(_kept_apart(before, after, capped[1]), _kept_apart(after, before, capped[0]))
    unknown = _subtracted(after.pop(None, _Sums()), before.pop(None, _Sums()))
    causes = dict.fromkeys([*before, *after])
    steps = [step for cause in causes if cause for step in _steps(cause, before.get(cause), after.get(cause))]
    steps = _with_moves(steps)
    if unknown.exits or unknown.time_ns:
        steps.append(Step(None, Change.UNKNOWN, unknown.exits, unknown.time_ns))
    totals = [_total(side, per, with_idle=with_idle) for side in (base, new)]
    steps.sort(key=lambda step: (-abs(step.time_ns), -abs(step.exits), str(step.cause), step.change))
    return Waterfall(totals[0].exits, totals[1].exits, totals[0].time_ns, totals[1].time_ns, tuple(steps))


def _total(side: Side, per: Term, *, with_idle: bool) -> _Sums:
    sums = _by_cause(side, per, with_idle=with_idle).values()
    return _Sums(*(sum(column) for column in zip(*sums, strict=True))) if sums else _Sums()


def _by_cause(side: Side, per: Term, *, with_idle: bool) -> dict[Cause | None, _Sums]:
    """Return the mean of the runs' sums per denominator; of None those that no cause is known of."""
    sums: dict[Cause | None, _Sums] = defaultdict(_Sums)
    for run in side.runs:
        if run.keyed is None:
            raise NotRecordedError("exits")
        if run.keyed and not any(each.exits.timed.any() for each in run.keyed):
            raise NotRecordedError("the latency of exits")
        share = float(per.value(run, run.whole)[0]) * len(side.runs)
        if not share > 0:
            raise NotRecordedError("what is divided by")
        for each in run.keyed:
            cause = _cause(each.key)
            old, own = sums[cause], _sums(each, with_idle=with_idle)
            sums[cause] = _Sums(*(a + b / share for a, b in zip(old, own, strict=True)))
    return dict(sums)


_ByCause = dict["Cause | None", _Sums]


def _alike(before: _ByCause, after: _ByCause) -> tuple[_ByCause, _ByCause]:
    """Return the sums with the details of a reason left out where more exits lack one on one side than on the other.

    Their details are not recorded there (an MSR that a fast path handles before the exit's event): told apart, what
    one side names would seem gone, and what the other does not name new.
    """
    shares = [_nameless_shares(side) for side in (before, after)]
    reasons = shares[0].keys() | shares[1].keys()
    merged = {each for each in reasons if abs(shares[0].get(each, 0) - shares[1].get(each, 0)) > _AS_MANY_NAMELESS}
    merged -= {each for each in reasons if all(side.get(each, 1) == 1 for side in shares)}
    return _merged(before, merged), _merged(after, merged)


def _nameless_shares(sums: _ByCause) -> dict[str | None, float]:
    """Return the part of the exits of each reason that has no detail."""
    every: dict[str | None, float] = defaultdict(float)
    nameless: dict[str | None, float] = defaultdict(float)
    for cause, own in sums.items():
        if cause is not None:
            every[cause.reason] += own.exits
            nameless[cause.reason] += own.exits * (cause.detail_kind is None)
    return {reason: nameless[reason] / exits for reason, exits in every.items() if exits}


def _merged(sums: _ByCause, reasons: set[str | None]) -> _ByCause:
    together: dict[Cause | None, _Sums] = defaultdict(_Sums)
    for cause, own in sums.items():
        kept = Cause(cause.reason) if cause and cause.reason in reasons else cause
        together[kept] = _Sums(*(a + b for a, b in zip(together[kept], own, strict=True)))
    return dict(together)


def _capped(side: Side) -> set[str | None]:
    """Return the reasons of which a side has details that were too many to keep apart."""
    return {each.key.reason for run in side.runs for each in run.keyed or () if each.key.detail_capped}


def _kept_apart(sums: _ByCause, other: _ByCause, capped: set[str | None]) -> _ByCause:
    """Return the sums, those of no known cause whose detail the other side may have without keeping it apart."""
    known: dict[Cause | None, _Sums] = defaultdict(_Sums)
    for cause, own in sums.items():
        unknown = cause is not None and cause not in other and cause.reason in capped and cause.detail_kind is not None
        kept = None if unknown else cause
        known[kept] = _Sums(*(a + b for a, b in zip(known[kept], own, strict=True)))
    return dict(known)


def _cause(key: Key) -> Cause | None:
    if key.reason is None or key.detail_capped:
        return None
    return Cause(key.reason, key.detail_kind, key.detail, key.detail_name)


def _sums(each: KeyedExits, *, with_idle: bool) -> _Sums:
    exits = each.exits
    timed = exits.timed & (with_idle or not each.idle)
    return _Sums(float(exits.n.sum()), float(exits.n[timed].sum()), float(exits.sum_ns[timed].sum()))


def _subtracted(left: _Sums, right: _Sums) -> _Sums:
    return _Sums(*(a - b for a, b in zip(left, right, strict=True)))


def _steps(cause: Cause, before: _Sums | None, after: _Sums | None) -> Iterable[Step]:
    if before is None or after is None:
        whole = _subtracted(after or _Sums(), before or _Sums())
        yield Step(cause, Change.NEW if before is None else Change.GONE, whole.exits, whole.time_ns)
        return
    count = after.exits - before.exits
    count_ns = (after.timed - before.timed) * before.mean_ns
    cost_ns = after.time_ns - before.time_ns - count_ns
    if count or count_ns:
        yield Step(cause, Change.MORE if count > 0 else Change.FEWER, count, count_ns)
    if cost_ns:
        yield Step(cause, Change.DEARER if cost_ns > 0 else Change.CHEAPER, 0.0, cost_ns)


def _with_moves(steps: list[Step]) -> list[Step]:
    """Tell moves of a detail from one reason to another: as many as both the one lost and the other gained."""
    by_detail: dict[tuple[str, int], list[Step]] = defaultdict(list)
    for step in steps:
        if step.cause and step.exits and step.cause.detail_kind and step.cause.detail is not None:
            by_detail[step.cause.detail_kind, step.cause.detail].append(step)
    for same in by_detail.values():
        lost, gained = (sorted((s for s in same if sign * s.exits > 0), key=_size) for sign in (-1, 1))
        if lost and gained:
            for step in (lost[-1], gained[-1]):
                steps.remove(step)
            steps += _moved(lost[-1], gained[-1])
    return steps


def _size(step: Step) -> float:
    return abs(step.exits)


def _moved(lost: Step, gained: Step) -> Iterable[Step]:
    moved = min(-lost.exits, gained.exits)
    share_lost, share_gained = moved / -lost.exits, moved / gained.exits
    moved_ns = lost.time_ns * share_lost + gained.time_ns * share_gained
    to = gained.cause.reason if gained.cause else None
    yield Step(lost.cause, Change.MOVED, 0.0, moved_ns, to)
    for step, share in ((lost, share_lost), (gained, share_gained)):
        if share < 1:
            yield Step(step.cause, step.change, step.exits * (1 - share), step.time_ns * (1 - share))
