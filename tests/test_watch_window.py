"""The window of `kvmtrace watch` against exact figures, and against the report of the same exits."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmtrace.exit_keys import By, Key
from kvmtrace.exits.buckets import bucket_of
from kvmtrace.ingesting import ingest
from kvmtrace.report.reading import Choice, read_summary
from kvmtrace.store.connection import StoreConnection
from kvmtrace.store.label import Label
from kvmtrace.watch.onlooker import Onlooker, slot_ns
from kvmtrace.watch.snapshot import Group, groups_of
from kvmtrace.watch.window import Window

RECORDINGS = Path(__file__).parent / "data/recordings"
S = 1_000_000_000
LAST_NS, SLOT_NS = 5 * S, S // 4


def window_of(ts_ns: list[int], reasons: list[int], latency_ns: list[int], *, keys_kept: int = 256) -> Window:
    window = Window(LAST_NS, SLOT_NS, 3, keys_kept=keys_kept)
    add(window, ts_ns, reasons, latency_ns)
    return window


def add(window: Window, ts_ns: list[int], reasons: list[int], latency_ns: list[int]) -> None:
    latency = np.array(latency_ns, np.int64)
    keys = (np.zeros(len(latency), np.int64), np.array(reasons, np.int64), bucket_of(latency))
    window.add(np.array(ts_ns, np.int64), keys, latency)


def groups_at(window: Window, end_ns: int) -> tuple[Group, ...]:
    rows, _ = window.within(end_ns)
    return groups_of(rows, lambda codes: Key(cpu=codes[0]))


EXIT = st.tuples(st.integers(0, 20 * S), st.integers(0, 3), st.integers(0, 10**11))


@given(st.lists(EXIT, min_size=1, max_size=200), st.integers(5 * S, 20 * S))
def test_percentiles_of_a_window_are_within_one_percent_of_the_exact_ones(
    exits: list[tuple[int, int, int]], end_ns: int
) -> None:
    window = window_of(*(list(column) for column in zip(*sorted(exits), strict=True)))
    _, begins_ns = window.within(end_ns)
    assert end_ns - LAST_NS <= begins_ns <= end_ns - LAST_NS + SLOT_NS or begins_ns <= min(e[0] for e in exits)
    origin = min(exit_[0] for exit_ in exits)
    last_slot = (end_ns - origin) // SLOT_NS
    held = [e for e in exits if begins_ns <= e[0] and (e[0] - origin) // SLOT_NS <= last_slot]
    found = {group.key.cpu: group for group in groups_at(window, end_ns) if group.key}
    assert set(found) == {reason for _, reason, _ in held}
    for reason, group in found.items():
        exact = sorted(latency for _, of, latency in held if of == reason)
        assert (group.exits, group.timed, group.out_of_guest_ns) == (len(exact), len(exact), sum(exact))
        assert group.max_ns == exact[-1]
        for figure, share in ((group.p50_ns, 0.5), (group.p99_ns, 0.99)):
            assert figure == pytest.approx(exact[math.ceil(share * len(exact)) - 1], rel=0.01, abs=1)


def test_what_is_over_is_forgotten() -> None:
    window = window_of([0, S, 9 * S], [1, 1, 1], [10, 20, 30])
    window.forget(9 * S)
    (group,) = groups_at(window, 9 * S)
    assert (group.exits, group.max_ns) == (1, 30)
    add(window, [2 * S], [1], [40])  # too late for any window to come
    assert groups_at(window, 9 * S)[0].exits == 1


def test_a_long_recording_takes_no_more_rows_than_a_short_one() -> None:
    window = Window(LAST_NS, SLOT_NS, 3)
    rows = []
    for second in range(200):
        add(window, [second * S + place for place in range(50)], [0] * 50, list(range(1000, 1050)))
        window.forget(second * S)
        rows.append(sum(map(len, window._parts)))
    assert max(rows[100:]) <= max(rows[:100])


def test_rare_keys_beyond_the_limit_are_one_and_none_is_lost() -> None:
    reasons = [0] * 50 + [1] * 40 + list(range(2, 12))
    groups = groups_at(window_of([S] * 100, reasons, [1000] * 100, keys_kept=2), S)
    assert [(group.key.cpu if group.key else "other", group.exits) for group in groups] == [
        (0, 50),
        (1, 40),
        ("other", 10),
    ]


def test_slots_make_up_the_window_and_the_interval() -> None:
    for last, interval in ((5 * S, S), (5 * S, 2 * S), (S, 3 * S), (S // 2, S // 10), (3600 * S, S // 20)):
        slot = slot_ns(last, interval)
        assert slot * 20 <= last
        assert last // slot <= 1001
    assert LAST_NS % slot_ns(5 * S, 2 * S) == 0


@pytest.mark.parametrize("by", [(By.REASON,), (By.DETAIL,), (By.VM, By.VCPU), (By.REASON, By.DETAIL, By.CPU)])
@pytest.mark.parametrize("name", ["pveoi-idletick-xapic-off", "lossy"])
def test_a_window_over_all_of_a_recording_is_its_report(name: str, by: tuple[By, ...], tmp_path: Path) -> None:
    onlooker = Onlooker(by, 1000 * S, S)
    (run,) = ingest(str(RECORDINGS / f"{name}.perf.data.zst"), tmp_path, Label(), listener=onlooker)
    with StoreConnection(tmp_path) as connection:
        reported = read_summary(connection, run.manifest, Label(), Choice(by)).exits
    assert reported is not None
    expected = {(g.idle, g.key): g for section in reported.sections for g in section.groups}
    snapshot = onlooker.snapshot()
    assert snapshot.covered_ns == run.manifest.elapsed_ns
    assert {(g.idle, g.key) for g in snapshot.groups} == set(expected)
    for group in snapshot.groups:
        report = expected[group.idle, group.key]
        for figure in ("exits", "timed", "out_of_guest_ns", "p50_ns", "p99_ns", "max_ns"):
            assert getattr(group, figure) == getattr(report, figure), (group.key, figure)
    lost = sum(each.events for each in run.manifest.lost)
    assert onlooker.totals.lost_events == lost
    assert (lost > 0) == (name == "lossy")
