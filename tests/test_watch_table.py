"""What `kvmtrace watch` makes of a snapshot, and of keys."""

from __future__ import annotations

import pytest

from kvmtrace.exit_keys import By, Key
from kvmtrace.watch.keyboard import keys_of
from kvmtrace.watch.onlooker import Totals
from kvmtrace.watch.snapshot import Group, Snapshot
from kvmtrace.watch.table import Sort, View, headline, table

S = 1_000_000_000
GROUPS = (
    Group(
        Key(reason="npf"), idle=False, exits=10, timed=10, out_of_guest_ns=9000, p50_ns=900, p99_ns=1000, max_ns=1000
    ),
    Group(Key(reason="io"), idle=False, exits=30, timed=30, out_of_guest_ns=3000, p50_ns=100, p99_ns=2000, max_ns=2500),
    Group(Key(reason="msr"), idle=False, exits=5, timed=0, out_of_guest_ns=None, p50_ns=None, p99_ns=None, max_ns=None),
    Group(
        Key(reason="hlt"),
        idle=True,
        exits=99,
        timed=99,
        out_of_guest_ns=10**9,
        p50_ns=10**6,
        p99_ns=10**7,
        max_ns=10**8,
    ),
)
SNAPSHOT = Snapshot(0, 2 * S, GROUPS, (), (), has_exits=True, lost_events=0)


def equal_exits(key: Key | None, n: int = 1) -> Group:
    return Group(key, idle=False, exits=n, timed=n, out_of_guest_ns=10 * n, p50_ns=10, p99_ns=10, max_ns=10)


def names(view: View, **room: int) -> list[str]:
    return [row[0] for row in table(SNAPSHOT, view, **room).rows]


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        (Sort.NAME, ["io", "msr", "npf"]),
        (Sort.COUNT, ["io", "npf", "msr"]),
        (Sort.TIME, ["npf", "io", "msr"]),
        (Sort.P50, ["npf", "io", "msr"]),
        (Sort.P99, ["io", "npf", "msr"]),
        (Sort.MAX, ["io", "npf", "msr"]),
    ],
)
def test_rows_are_sorted_as_asked_for_and_idle_ones_stay_apart(sort: Sort, expected: list[str]) -> None:
    assert names(View(sort=sort)) == [*expected, "hlt (idle)"]


def test_the_same_key_again_turns_the_order_round_and_what_has_no_figure_stays_last() -> None:
    view = View().sorted_by(Sort.P99)
    assert names(view.sorted_by(Sort.P99)) == ["npf", "io", "msr", "hlt (idle)"]
    assert not view.sorted_by(Sort.COUNT).reverse


def test_arrows_go_round_the_columns() -> None:
    view = View(sort=Sort.NAME)
    assert view.moved(1).sort is Sort.COUNT
    assert view.moved(-1).sort is Sort.MAX


def test_rates_are_of_the_time_that_the_window_covers_and_times_are_in_microseconds() -> None:
    shown = table(SNAPSHOT, View())
    rows = {row[0]: dict(zip(shown.headings, row, strict=True)) for row in shown.rows}
    assert rows["io"]["exits/s"] == "15.0"
    assert rows["io"]["time %"] == "25.00"
    assert rows["npf"]["p50 µs"] == "0.90"
    assert rows["hlt (idle)"]["time %"] == "-"
    assert (rows["msr"]["p50 µs"], rows["msr"]["untimed"]) == ("-", "5")


@pytest.mark.parametrize("width", [20, 30, 40, 60])
def test_a_narrow_table_keeps_what_matters_and_fits(width: int) -> None:
    shown = table(SNAPSHOT, View(), width=width)
    assert {"reason", "exits/s", "p99 µs"} <= set(shown.headings)
    if width >= 40:
        assert "p50 µs" in shown.headings
        widths = [max(map(len, column)) for column in zip(shown.headings, *shown.rows, strict=True)]
        assert sum(widths) + 2 * (len(widths) - 1) <= width


def test_rows_that_there_is_no_room_for_are_counted() -> None:
    assert names(View(), rows=3) == ["npf", "io", "(2 more)"]


def test_control_characters_of_a_recording_do_not_reach_the_terminal() -> None:
    group = equal_exits(Key(reason="\x1b[2J<b>"))
    shown = table(Snapshot(0, S, (group,), (), (), has_exits=True, lost_events=0), View())
    assert shown.rows[0][0] == "\\x1b[2J<b>"


def test_what_was_not_recorded_and_what_was_too_much_are_said() -> None:
    other, unknown = equal_exits(None, 7), equal_exits(Key())
    shown = table(Snapshot(0, S, (other, unknown), (), (), has_exits=True, lost_events=0), View((By.VCPU,)))
    assert [row[0] for row in shown.rows] == ["(other)", "(not recorded)"]


def test_losses_stand_above_the_figures() -> None:
    snapshot = Snapshot(0, S, GROUPS, (), (), has_exits=True, lost_events=3)
    assert "lost 3 events, 8 in all: figures are too low" in headline(snapshot, Totals(lost_events=8))
    assert "nothing lost" in headline(SNAPSHOT, Totals())


def test_without_exits_tracepoints_are_shown() -> None:
    snapshot = Snapshot(0, 2 * S, (), (), (("kvm:kvm_pio", 4), ("kvm:kvm_fpu", 8)), has_exits=False, lost_events=0)
    assert table(snapshot, View()).rows == (("kvm:kvm_fpu", "4.0"), ("kvm:kvm_pio", "2.0"))
    assert table(snapshot, View(sort=Sort.NAME)).rows[0][0] == "kvm:kvm_fpu"


def test_keys_are_told_from_what_a_terminal_sends() -> None:
    assert keys_of(b"q") == ["q"]
    assert keys_of(b"c\x1b[Ct\x1bOD") == ["c", "right", "t", "left"]
    assert keys_of(b"5\x1b[15~q") == ["5"]  # F5, whose end is not looked for
