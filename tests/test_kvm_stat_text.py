from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from test_kvm_unit_tests_damage import survives_as

from kvmtrace.errors import InputError
from kvmtrace.formats.kvm_stat import FORMAT

if TYPE_CHECKING:
    from kvmtrace.recording import TableSet

DATA = Path(__file__).parent / "data" / "kvm-stat"
COLUMNS = f" {'Event':40} {'Total':>10}{'%Total':>7} {'CurAvg/s':>8}\n"
TITLE = "kvm statistics - summary\n\n"


def survives(content: bytes) -> None:
    survives_as(FORMAT, content)


def read(text: str) -> list[TableSet]:
    assert FORMAT.recognises(text)
    return list(FORMAT.read(text, "kvm_stat.txt"))


def rows(text: str) -> list[dict[str, Any]]:
    """Read a text of one table, without notes."""
    [table] = read(text)
    assert table.notes == ()
    found: list[dict[str, Any]] = table.rows.to_pylist()
    return found


def once(*counters: tuple[str, int, int], width: int = 42) -> str:
    """Return what `kvm_stat -1` prints."""
    return "".join(f"{name:<{width}}{total:10d}{delta:10d}\n" for name, total, delta in counters)


def row_of_screen(name: str, total: int, share: float, rate: int) -> str:
    return f" {name:<40} {total:10d}{share:7.1f} {rate:>8}\n"


def test_totals_and_rates_of_one_second() -> None:
    found = rows((DATA / "once.txt").read_text())
    assert [(row["event"], row["part"], row["value"], row["rate_per_s"]) for row in found] == [
        ("kvm_ack_irq", None, 5, 1),
        ("kvm_entry", None, 477754, 3690),
        ("kvm_exit", None, 477742, 3690),
        ("kvm_exit", "WFx", 1000, 22),
        ("vcpu_match_mmio", None, 0, 0),
    ]
    assert {(row["system"], row["state"], row["unit"], row["scope"]) for row in found} == {
        ("kvm", "counted", None, None)
    }


def test_a_table_of_old_and_of_debugfs_is_read() -> None:
    found = rows(once(("exits", 7, 2), ("halt_exits", 5, 1), ("tlb_flush", 0, 0), width=22))
    assert [(row["event"], row["system"], row["value"]) for row in found] == [
        ("exits", None, 7),
        ("halt_exits", None, 5),
        ("tlb_flush", None, 0),
    ]


def test_figures_that_touch_are_told_apart_by_their_columns() -> None:
    [first, _] = rows(once(("kvm_entry", 9876543210, 1234567890), ("kvm_exit", 1, 1)))
    assert (first["value"], first["rate_per_s"]) == (9876543210, 1234567890)


def test_a_table_of_two_runs_is_not_taken_for_totals_and_rates() -> None:
    text = "event     before   after\nkvm_entry   47357   28354\nkvm_exit    49849   29595\n"
    assert not FORMAT.recognises(text)
    assert len(rows(text.replace("event     before   after", "# kvm_stat -1"))) == 2


def test_two_tables_are_told_apart() -> None:
    table = once(("kvm_entry", 1, 1), ("kvm_exit", 2, 2))
    first, second = read(table + table)
    assert [first.facts.part, second.facts.part] == ["table of line 1", "table of line 3"]


def test_the_screen_has_children_rates_and_a_total() -> None:
    [table] = read((DATA / "screen.txt").read_text())
    found = table.rows.to_pylist()
    assert [(row["event"], row["part"], row["value"], row["rate_per_s"]) for row in found] == [
        ("kvm_exit", None, 238130, 4419),
        ("kvm_exit", "UNKNOWN", 124281, 2374),
        ("kvm_exit", "WFx", 112549, 2028),
        ("kvm_entry", None, 238130, 4419),
        ("vgic_update_irq_pending", None, 227856, 4362),
        ("kvm_set_irq", None, 4, 0),
    ]
    assert table.facts.tool == {"total": "2886258", "total_per_s": "53903"}
    assert table.facts.left_out == ["%Total"]
    assert table.notes == ()


def test_the_screen_of_one_guest_has_it_as_scope() -> None:
    text = "kvm statistics - pid 77 (web)\n                 regex filter: exit\n" + COLUMNS
    [table] = read(text + row_of_screen("kvm_exit", 5, 100.0, 1))
    assert table.facts.tool == {"pid": "77", "guest": "web", "filter": "exit"}
    assert table.rows.column("scope").to_pylist() == ["pid 77"]


def test_the_screen_of_old_has_no_shares() -> None:
    text = (
        f"{TITLE} Event                                  Total Current\n exits                    705683003    4037  \n"
    )
    [row] = rows(text)
    assert (row["event"], row["system"], row["value"], row["rate_per_s"]) == ("exits", None, 705683003, 4037)


def test_a_child_of_debugfs_is_an_event() -> None:
    text = TITLE + COLUMNS + row_of_screen("exit_instruction", 276, 100.0, 12)
    child = row_of_screen("  instruction_diag_44", 256, 92.8, 11)
    assert [(row["event"], row["part"]) for row in rows(text + child)] == [
        ("exit_instruction", None),
        ("instruction_diag_44", None),
    ]


def test_rows_without_their_heading_are_known_by_their_columns() -> None:
    found = rows(row_of_screen("kvm_exit", 477754, 8.4, 3691) + row_of_screen("  kvm_exit(WFx)", 413413, 86.5, 3228))
    assert [(row["event"], row["part"], row["value"]) for row in found] == [
        ("kvm_exit", None, 477754),
        ("kvm_exit", "WFx", 413413),
    ]
    assert not FORMAT.recognises("kvm_exit 477754 8.4 3691\n")


def test_a_stray_key_in_a_row_is_noted() -> None:
    text = (
        TITLE
        + COLUMNS
        + row_of_screen("kvm_entry", 3343, 7.6, 645)
        + " kvm_msr              G        2369    5.4   452\n"
    )
    [table] = read(text + row_of_screen("kvm_exit", 3343, 7.6, 645))
    assert table.rows.column("event").to_pylist() == ["kvm_entry", "kvm_exit"]
    assert [(note.where, "'kvm_msr " in note.what) for note in table.notes] == [("line 5", True)]


def test_the_total_ends_a_screen() -> None:
    total = f" {'Total':40} {5:10d}        {1:>8}\n"
    found = rows(TITLE + COLUMNS + row_of_screen("kvm_exit", 5, 100.0, 1) + total + " foo    5   6\n")
    assert [row["event"] for row in found] == ["kvm_exit"]


def test_text_below_a_screen_is_not_of_it() -> None:
    [table] = read(TITLE + COLUMNS + row_of_screen("kvm_exit", 5, 1.0, 1) + "That is all.\nfoo 5 6\n")
    assert table.rows.num_rows == 1
    assert table.notes == ()


def test_a_log_has_a_time_for_each_row() -> None:
    [table] = read((DATA / "log.txt").read_text())
    assert table.notes == ()
    found = table.rows.to_pylist()
    assert len(found) == 125
    assert (found[0]["event"], found[0]["value"], found[0]["logged_at"]) == ("kvm_ack_irq", 0, "2020-11-30T10:31:00")
    assert (found[123]["part"], found[123]["value"], found[123]["line"]) == ("HLT", 3, 27)
    assert {row["interval_end_ns"] for row in found} == {None}


def test_the_csv_of_a_log_holds_the_same() -> None:
    left_out = ["line"]
    [log], [csv] = (read((DATA / name).read_text()) for name in ("log.txt", "log.csv"))
    assert log.rows.drop_columns(left_out).equals(csv.rows.drop_columns(left_out))


def test_a_log_without_times_and_with_cut_names_is_read_and_noted() -> None:
    text = " kvm_ack_i kvm_age_p kvm_entry  kvm_exit\n         1         2         3         4 \n 5 6 7 8\n"
    [table] = read(text)
    assert table.rows.column("value").to_pylist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert set(table.rows.column("logged_at").to_pylist()) == {None}
    assert [(note.where, "cut to 9 characters" in note.what) for note in table.notes] == [("line 1", True)]


def test_a_row_of_another_length_is_noted() -> None:
    text = "kvm_entry kvm_exit \n2020-11-30 10:31:07         1         2\n2020-11-30 10:31:10         1\n"
    [table] = read(text)
    assert table.rows.num_rows == 2
    assert [(note.where, "expected 2 figures" in note.what) for note in table.notes] == [("line 3", True)]


def test_another_heading_begins_another_log() -> None:
    first, second = read("kvm_entry kvm_exit \n 1 2\nkvm_entry kvm_msr kvm_exit \n 3 4 5\n")
    assert [first.facts.part, second.facts.part] == ["log of line 2", "log of line 4"]
    assert second.rows.column("value").to_pylist() == [3, 4, 5]


def test_a_count_that_a_double_does_not_hold_is_noted() -> None:
    [table] = read("timestamp,kvm_exit\n2020-11-30 10:31:07,9007199254740993\n")
    assert "more than 2^53" in table.notes[0].what


@pytest.mark.parametrize(
    "text",
    [
        "",
        "kvm_exit\n5\n",
        "kvm_exit kvm_entry\nand so on\n",
        "timestamp,temperature\n2020-11-30 10:31:07,5\n",
        "kvm statistics - summary\n",
        "apples            5        6\npears            6        7\n",
        "the kvm_exit and kvm_entry events\n1 2 3\n",
        " 47,357      kvm:kvm_entry\n",
    ],
)
def test_the_like_of_others_is_refused(text: str) -> None:
    assert not FORMAT.recognises(text)
    with pytest.raises(InputError, match=r"kvm_stat.txt: expected rows of kvm_stat"):
        FORMAT.read(text, "kvm_stat.txt")
