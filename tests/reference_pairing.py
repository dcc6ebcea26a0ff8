"""Pairing, done slowly: one event after the other, one thread after the other. And random time lines to try it on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import strategies as st

from benchmarks.recording_builder import format_text
from kvmtrace.recording import EventBlock, EventKind, Facts, Loss
from kvmtrace.tracepoints import parse_format

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from numpy.typing import NDArray

KINDS = ("kvm_exit", "kvm_entry", "kvm_msr", "kvm_userspace_exit", "kvm_eoi")
CPUS, THREADS = 3, 4
_FIRST_TID = 500
_MOST_EVENTS = 60


@dataclass(frozen=True, slots=True)
class Event:
    ts_ns: int
    kind: str
    thread: int
    cpu: int
    vcpu: int
    value: int  # of ecx


@dataclass(slots=True)
class Round:
    """What perf read between two FINISHED_ROUND: CPU after CPU, on a CPU by time."""

    events: list[Event] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)


@dataclass(slots=True)
class Exit:
    """One exit, as the reference works it out."""

    exit_id: int
    event: Event
    guest_ns: int | None
    closed_by: str = "end"
    entry: tuple[int, int] | None = None  # time and CPU of the entry that closed it
    detail: int | None = None
    userspace: bool = False
    suspect: bool = False


@dataclass(slots=True)
class Paired:
    """What the reference makes of a time line."""

    exits: list[Exit] = field(default_factory=list)
    exit_ids: list[int | None] = field(default_factory=list)  # of each event, in the order of the source
    entries_without_exit: int = 0


@st.composite
def timelines(draw: st.DrawFn) -> list[Round]:
    """Draw rounds of events: times never fall from round to round by more than perf's rule allows."""
    rounds, now, newest = [Round(), Round()], 0, [-1] * CPUS
    late = [0] * CPUS
    size = 3 * draw(st.integers(0, _MOST_EVENTS))  # three bytes an event are drawn much faster than eight choices
    raw = draw(st.binary(min_size=size, max_size=size))
    for what, where, special in zip(raw[::3], raw[1::3], raw[2::3], strict=False):
        now += what % 3  # equal times are usual
        kind = KINDS[what // 3 % len(KINDS)]
        thread, cpu = where % THREADS, where // THREADS % CPUS
        if where // (THREADS * CPUS) % 4 == 3:
            late[cpu] = 1  # the ring is read in the next round only
        target = rounds[-2 + late[cpu]]
        # A loss is told by the ring's next event. Where that comes two rounds later, pairs have gone out (doubts.py).
        settled = max((event.ts_ns for each in rounds[: -3 + late[cpu]] for event in each.events), default=-1)
        if special % 7 == 6 and newest[cpu] >= settled:
            target.losses.append(Loss("LOST", 1, cpu, newest[cpu], now))
        other_vcpu = special // 42 == 5
        target.events.append(Event(now, kind, thread, cpu, thread + other_vcpu, now))
        newest[cpu] = now
        if special // 7 % 6 == 5:
            rounds.append(Round())
            late = [0] * CPUS
            now += 1  # what is read late is not older than what was read before it
    for each in rounds:
        each.events.sort(key=lambda event: event.cpu)
    return rounds


def blocks(rounds: list[Round]) -> Iterator[EventBlock]:
    """Yield a block for each round, with the watermark that its FINISHED_ROUND gives."""
    newest = [-1]
    for each in rounds:
        yield _block(each, newest[-1])
        newest.append(max([newest[-1], *(event.ts_ns for event in each.events)]))


def facts() -> Facts:
    """Return the facts of a recording that enabled all of KINDS."""
    kinds = [EventKind("kvm", name, parse_format(format_text("kvm", name))) for name in KINDS]
    return Facts("perf.data", events=kinds, host={"arch": "x86_64", "kernel": "6.1.0"})


class _Fields:
    def __init__(self, events: list[Event]) -> None:
        self._events = events

    def column(self, name: str) -> NDArray[Any]:
        columns = {
            "vcpu_id": [event.vcpu for event in self._events],
            "ecx": [event.value for event in self._events],
            "exit_reason": [0x7C] * len(self._events),
            "isa": [2] * len(self._events),
        }
        return np.array(columns[name], np.uint32)

    def arrow(self) -> dict[str, pa.Array]:
        return {}


def _block(each: Round, watermark_ns: int) -> EventBlock:
    events = each.events
    kind = np.array([KINDS.index(event.kind) for event in events], np.uint16)
    present = sorted(set(kind.tolist()))
    return EventBlock(
        ts_ns=np.array([event.ts_ns for event in events], np.int64),
        cpu=np.array([event.cpu for event in events], np.int32),
        pid=np.full(len(events), 400, np.int32),
        tid=np.array([_FIRST_TID + event.thread for event in events], np.int32),
        kind=kind,
        rows={number: np.flatnonzero(kind == number) for number in present},
        fields={number: _Fields([e for e in events if e.kind == KINDS[number]]) for number in present},
        watermark_ns=watermark_ns,
        losses=tuple(each.losses),
    )


def pair_slowly(rounds: list[Round]) -> Paired:
    """Pair the events of all rounds, thread by thread."""
    source = [event for each in rounds for event in each.events]
    losses = [loss for each in rounds for loss in each.losses]
    paired = Paired(exit_ids=[None] * len(source))
    numbers = {place: n for n, place in enumerate(p for p, event in enumerate(source) if event.kind == "kvm_exit")}
    for thread in range(THREADS):
        places = [place for place, event in enumerate(source) if event.thread == thread]
        places.sort(key=lambda place: source[place].ts_ns)  # stable: equal times keep their order
        _pair_thread(places, source, numbers, losses, paired)
    paired.exits.sort(key=lambda each: each.exit_id)
    return paired


def _pair_thread(
    places: list[int], source: list[Event], numbers: dict[int, int], losses: list[Loss], paired: Paired
) -> None:
    before: Event | None = None  # the boundary before
    current: Exit | None = None
    for place in places:
        event = source[place]
        if event.kind in ("kvm_exit", "kvm_entry"):
            if current is not None:
                _close(current, event, losses)
            elif event.kind == "kvm_entry" and before is not None:
                paired.entries_without_exit += 1
            current = None
            if event.kind == "kvm_exit":
                current = Exit(numbers[place], event, _guest_ns(before, event, losses))
                paired.exits.append(current)
                paired.exit_ids[place] = current.exit_id
            before = event
        elif current is not None:
            paired.exit_ids[place] = current.exit_id
            if event.kind == "kvm_msr" and current.detail is None:
                current.detail = event.value
            current.userspace |= event.kind == "kvm_userspace_exit"
    if current is not None:
        current.suspect = any(loss.cpu == current.event.cpu and _ends(loss) > current.event.ts_ns for loss in losses)


def _close(current: Exit, event: Event, losses: list[Loss]) -> None:
    doubtful = _lost_between(current.event, event, losses)
    if event.kind == "kvm_entry" and event.vcpu == current.event.vcpu:
        current.closed_by, current.entry = "entry", (event.ts_ns, event.cpu)
    elif event.kind == "kvm_entry":
        current.closed_by = "hole"
    else:
        current.closed_by = "hole" if doubtful else "next_exit"
    current.suspect = doubtful or current.closed_by != "entry"


def _guest_ns(before: Event | None, event: Event, losses: list[Loss]) -> int | None:
    if before is None or before.kind != "kvm_entry" or before.vcpu != event.vcpu:
        return None
    return None if _lost_between(before, event, losses) else event.ts_ns - before.ts_ns


def _lost_between(first: Event, second: Event, losses: list[Loss]) -> bool:
    """Tell whether a loss on the CPU of one of the two overlaps the time between them."""
    return any(
        loss.cpu in (first.cpu, second.cpu) and _ends(loss) > first.ts_ns and _begins(loss) < second.ts_ns
        for loss in losses
    )


def _begins(loss: Loss) -> int:
    assert loss.after_ns is not None
    return loss.after_ns


def _ends(loss: Loss) -> int:
    assert loss.until_ns is not None
    return loss.until_ns
