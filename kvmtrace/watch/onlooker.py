"""What ingest tells of a recording → the window, and the moments at which it is shown (ingest.Listener)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.exits.buckets import bucket_of
from kvmtrace.recording import NO_WATERMARK
from kvmtrace.watch.keys import ExitKeys
from kvmtrace.watch.snapshot import Snapshot, groups_of, totals_of
from kvmtrace.watch.window import Window

if TYPE_CHECKING:
    from kvmtrace.exit_keys import By
    from kvmtrace.exits.builder import ExitBuilder, Exits
    from kvmtrace.recording import EventBlock, EventKind, Recording

_FINENESS = (1, 2, 4, 5, 10, 20)
_SLOTS = 20  # in a window, at least
_EXIT_KEYS = ExitKeys.COLUMNS + 2  # with idle and bucket
_EVENT_KEYS = 3  # one value, tracepoint, one value
_ORDERS = "waits until no older event can come (perf record --no-buffering: sooner)"
Show = Callable[[Snapshot], None]


@dataclass(slots=True)
class Totals:
    """What a recording held as a whole, so far."""

    events: int = 0
    exits: int = 0
    idle_exits: int = 0
    lost_events: int = 0
    first_ts_ns: int | None = None
    last_ts_ns: int | None = None

    @property
    def elapsed_ns(self) -> int:
        """Time between the first and the last event."""
        return 0 if self.first_ts_ns is None or self.last_ts_ns is None else self.last_ts_ns - self.first_ts_ns


class Onlooker:
    """Keeps the last seconds of a recording while it is read; other threads may ask for them at any time."""

    def __init__(self, by: tuple[By, ...], last_ns: int, interval_ns: int) -> None:
        self.by = by
        self.last_ns = last_ns
        self.totals = Totals()
        self._interval_ns = interval_ns
        self._slot_ns = slot_ns(last_ns, interval_ns)
        self._show: Show | None = None
        self._lock = threading.RLock()
        self._builder: ExitBuilder | None = None
        self._keys: ExitKeys | None = None
        self._kinds: list[EventKind] = []
        self._begin_windows()

    def show_each(self, show: Show) -> None:
        """Have `show` called for each interval of the recording's clock that is over, in the thread that reads."""
        self._show = show

    @property
    def shown_to_end(self) -> bool:
        """Whether the last interval shown ends with the recording."""
        return self._shown_to_ns is not None and self._shown_to_ns >= (self.totals.last_ts_ns or 0)

    def _begin_windows(self) -> None:
        self.totals = Totals()
        self._exits = Window(self.last_ns, self._slot_ns, _EXIT_KEYS)
        self._events = Window(self.last_ns, self._slot_ns, _EVENT_KEYS)
        self._lost = Window(self.last_ns, self._slot_ns, 2)
        self._settled_ns = NO_WATERMARK
        self._shown_to_ns: int | None = None

    def begin(self, recording: Recording, builder: ExitBuilder | None) -> None:
        """Forget the recording before it."""
        with self._lock:
            self._begin_windows()
            self._kinds = recording.facts.events
            self._builder = builder
            self._keys = None if builder is None else ExitKeys(self.by, builder)

    def block(self, block: EventBlock) -> None:
        """Count events, and those that were lost."""
        with self._lock:
            for loss in block.losses:
                self.totals.lost_events += loss.events
                if loss.until_ns is not None:
                    nothing = np.zeros(1, np.int64)
                    self._lost.add(np.array([loss.until_ns]), (nothing, nothing), np.array([loss.events]))
            if not len(block.ts_ns):
                return
            self.totals.events += len(block.ts_ns)
            first, last = int(block.ts_ns.min()), int(block.ts_ns.max())
            told = self.totals
            told.first_ts_ns = first if told.first_ts_ns is None else min(first, told.first_ts_ns)
            told.last_ts_ns = last if told.last_ts_ns is None else max(last, told.last_ts_ns)
            if not told.exits and not told.idle_exits:
                nothing = np.zeros(len(block.ts_ns), np.int64)
                self._events.add(block.ts_ns, (nothing, block.kind, nothing), nothing)

    def exits(self, exits: Exits) -> None:
        """Count exits where they ended."""
        assert self._builder is not None and self._keys is not None  # noqa: S101, PT018 - they are its own
        with self._lock:
            idle = self._builder.reasons.idle[exits.reason]
            self.totals.idle_exits += int(idle.sum())
            self.totals.exits += len(exits) - int(idle.sum())
            latency = np.where(exits.suspect, -1, exits.latency_ns)
            ended = exits.exit_ts_ns + np.maximum(exits.latency_ns, 0)
            keys = (idle.astype(np.int64), *self._keys.columns(exits), bucket_of(latency))
            self._exits.add(ended, keys, np.maximum(latency, 0))

    def reached(self, ts_ns: int) -> None:
        """Show what is certain now, and forget what is over."""
        with self._lock:
            first, last = self.totals.first_ts_ns, self.totals.last_ts_ns
            if first is None or last is None or ts_ns < max(first, self._settled_ns):
                return
            self._settled_ns = min(ts_ns, last)
            self._show_intervals()
            for window in (self._exits, self._events, self._lost):
                window.forget(self._settled_ns)

    def _show_intervals(self) -> None:
        """Show each interval that is over; a stretch in which nothing happened is passed over."""
        first = self.totals.first_ts_ns
        if self._show is None or first is None:
            return
        if self._shown_to_ns is None:
            self._shown_to_ns = first
        while (ends := self._shown_to_ns + self._interval_ns) <= self._settled_ns:
            snapshot = self._snapshot(ends, ends - 1)
            self._shown_to_ns = ends
            if snapshot.groups or snapshot.events or snapshot.lost_events:
                self._show(snapshot)
            elif self._settled_ns - ends > self.last_ns + self._interval_ns:
                behind = (self._settled_ns - self.last_ns - ends) // self._interval_ns
                self._shown_to_ns += self._nothing_for(behind) * self._interval_ns

    def _nothing_for(self, intervals: int) -> int:
        """Return how many intervals from the one shown last on may be passed over, at most so many."""
        assert self._shown_to_ns is not None  # noqa: S101 - the caller set it
        nexts = [
            t for w in (self._exits, self._events, self._lost) if (t := w.next_after(self._shown_to_ns)) is not None
        ]
        if not nexts:
            return intervals
        return min(intervals, max(0, (min(nexts) - self._shown_to_ns) // self._interval_ns))

    def end(self) -> None:
        """Take all as certain."""
        with self._lock:
            if self.totals.last_ts_ns is not None:
                self._settled_ns = self.totals.last_ts_ns
                self._show_intervals()

    def snapshot(self) -> Snapshot:
        """Return the window that ends with what is certain now."""
        with self._lock:
            if self._settled_ns == NO_WATERMARK or self.totals.first_ts_ns is None:
                waits_for = "waits for the first events" if self.totals.first_ts_ns is None else _ORDERS
                return Snapshot(0, 0, (), (), (), has_exits=False, lost_events=0, waits_for=waits_for)
            return self._snapshot(self._settled_ns, self._settled_ns)

    def _snapshot(self, ends_ns: int, last_ts_ns: int) -> Snapshot:
        first = self.totals.first_ts_ns or 0
        exits, begins_ns = self._exits.within(last_ts_ns)
        lost, _ = self._lost.within(last_ts_ns)
        has_exits = bool(self.totals.exits or self.totals.idle_exits)
        events: tuple[tuple[str, int], ...] = ()
        if not has_exits:
            counts, begins_ns = self._events.within(last_ts_ns)
            events = tuple(
                (f"{self._kinds[kind].system}:{self._kinds[kind].name}", n)
                for kind, n in zip(counts.keys[2].tolist(), counts.n.tolist(), strict=True)
            )
        begins_ns = min(max(begins_ns, first), ends_ns)
        return Snapshot(
            begins_ns - first,
            ends_ns - first,
            () if self._keys is None else groups_of(exits, self._keys.key),
            totals_of(exits),
            events,
            has_exits,
            int(lost.total_ns.sum()),
        )


def slot_ns(last_ns: int, interval_ns: int) -> int:
    """Return how finely a window is cut: whole slots make up both, and there are some of them in a window."""
    both = int(np.gcd(last_ns, interval_ns))
    fine = next((n for n in _FINENESS if both // n * _SLOTS <= last_ns and both % n == 0), _FINENESS[-1])
    return max(both // fine, last_ns // 1000, 1)
