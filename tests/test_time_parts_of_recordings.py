"""Where the time of every exit of real recordings went, against a walk through its events, one exit at a time."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import pytest
from perf_oracle import SHARED, bundled

if TYPE_CHECKING:
    from pathlib import Path

    from ingested import IngestedRecordings

CAPTURES = SHARED / "captures" / "x86-svm"
RECORDINGS = {
    **{path.parent.name: path for path in (CAPTURES / name / "perf.data" for name in ("mixed-sched-irq", "multi-vm"))},
    **{recorded.name: recorded.path for recorded in bundled() if recorded.name != "sparse"},
}
"""All but the sampled one, whose exits are all suspect."""
PARTS = ("userspace_ns", "blocked_ns", "polled_ns", "preempted_ns")


class Event(NamedTuple):
    """What one event says of its thread."""

    ts_ns: int
    order: int  # of events of one time: as their tables say
    says: str
    value: int = 0


class Stretch(NamedTuple):
    """Part of an exit: where several overlap, the first in `PRIORITY` has it."""

    part: str
    start_ns: int
    end_ns: int


PRIORITY = ("preempted_ns", "blocked_ns", "polled_ns", "userspace_ns")


def thread_events(ingested: IngestedRecordings, path: Path) -> dict[int, list[Event]]:
    """Return the events of each thread that say where its time goes, in the order of time."""
    tables = ingested.manifest(path).tables
    events: dict[int, list[Event]] = defaultdict(list)

    def rows(name: str) -> list[dict[str, int]]:
        return ingested.table(path, name).to_pylist() if name in tables else []

    for row in rows("events/kvm/kvm_fpu"):
        events[row["tid"]].append(Event(row["ts_ns"], 1, "return" if row["load"] else "leave"))
    for row in rows("events/kvm/kvm_userspace_exit"):
        events[row["tid"]].append(Event(row["ts_ns"], 2, "userspace"))
    for row in rows("events/kvm/kvm_halt_poll_ns"):
        events[row["tid"]].append(Event(row["ts_ns"], 3, "limit", row["new"]))
    for row in rows("events/kvm/kvm_vcpu_wakeup"):
        events[row["tid"]].append(Event(row["ts_ns"], 4, "slept" if row["waited"] else "polled", row["ns"]))
    for row in rows("events/sched/sched_switch"):
        if row["prev_state"] & 0xFF == 0:
            events[row["tid"]].append(Event(row["ts_ns"], 5, "lost the CPU"))
        events[row["next_pid"]].append(Event(row["ts_ns"], 0, "has a CPU"))
    return {tid: sorted(of_thread) for tid, of_thread in events.items()}


def stretches(start_ns: int, end_ns: int, inside: list[Event], limit_ns: int | None) -> list[Stretch]:
    """Return the parts of an exit from start to end, by walking through its events."""
    found = []
    left = lost = gone = None  # times of: leaving the kernel, losing the CPU, an exit to the VMM
    for event in inside:
        if event.says == "leave":
            left = event.ts_ns
        elif event.says == "return" and left is not None:
            found.append(Stretch("userspace_ns", left, event.ts_ns))
            left = gone = None
        elif event.says == "userspace":
            gone = event.ts_ns
        elif event.says in ("slept", "polled"):
            began = max(event.ts_ns - event.value, start_ns)
            until = min(began + (limit_ns or 0), event.ts_ns) if event.says == "slept" else event.ts_ns
            found += [Stretch("polled_ns", began, until), Stretch("blocked_ns", until, event.ts_ns)]
        elif event.says == "lost the CPU":
            lost = event.ts_ns
        elif event.says == "has a CPU" and lost is not None:
            found.append(Stretch("preempted_ns", lost, event.ts_ns))
            lost = None
    if gone is not None and left is None:
        found.append(Stretch("userspace_ns", gone, end_ns))
    return found


def measured(found: list[Stretch]) -> dict[str, int]:
    """Return how long each part was, every nanosecond counted once."""
    times = dict.fromkeys(PARTS, 0)
    cuts = sorted({time for stretch in found for time in (stretch.start_ns, stretch.end_ns)})
    for start, end in pairwise(cuts):
        covering = {stretch.part for stretch in found if stretch.start_ns <= start and end <= stretch.end_ns}
        part = next((part for part in PRIORITY if part in covering), None)
        if part is not None:
            times[part] += end - start
    return times


@pytest.mark.parametrize("name", RECORDINGS)
def test_every_exit_is_divided_as_its_events_say_and_the_kernel_has_the_rest(
    ingested: IngestedRecordings, name: str
) -> None:
    path = RECORDINGS[name]
    if not path.exists():
        pytest.skip(f"no {name} beside the project")
    events = thread_events(ingested, path)
    exits = sorted(ingested.table(path, "exits").to_pylist(), key=lambda row: (row["tid"], row["exit_ts_ns"]))
    checked = 0
    limits: dict[int, int] = {}
    places: dict[int, int] = defaultdict(int)
    for row in exits:
        tid, start, end = row["tid"], row["exit_ts_ns"], row["entry_ts_ns"]
        of_thread, place = events.get(tid, []), places[tid]
        while place < len(of_thread) and of_thread[place].ts_ns <= start:
            if of_thread[place].says == "limit":
                limits[tid] = of_thread[place].value
            place += 1
        stop = place
        while end is not None and stop < len(of_thread) and of_thread[stop].ts_ns < end:
            stop += 1
        places[tid] = place
        if end is None or row["suspect"]:
            continue
        inside = of_thread[place:stop]
        expected = measured(stretches(start, end, inside, limits.get(tid)))
        unknown = {"polled_ns"} if tid not in limits and any(e.says == "slept" for e in inside) else set()
        told = {part for part in PARTS if row[part] is not None}
        assert told | unknown >= {part for part in PARTS if expected[part]}, (row, inside)
        assert {part: row[part] for part in told} == {part: expected[part] for part in told}, (row, inside)
        assert row["latency_ns"] - sum(row[part] or 0 for part in PARTS) >= 0, row
        checked += 1
    assert checked > 0
