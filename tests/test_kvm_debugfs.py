from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from perf_oracle import SHARED
from test_kvm_unit_tests_damage import survives_as

from kvmtrace.errors import InputError
from kvmtrace.formats.kvm_debugfs import FORMAT

if TYPE_CHECKING:
    from kvmtrace.recording import TableSet

DATA = Path(__file__).parent / "data" / "kvm-debugfs"
TURNS = 500
"""Of the loops of the guest in arm64-vm.txt."""


def survives(content: bytes) -> None:
    survives_as(FORMAT, content)


def read(text: str) -> list[TableSet]:
    assert FORMAT.recognises(text)
    return list(FORMAT.read(text, "kvm.txt"))


def rows(table: TableSet) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = table.rows.to_pylist()
    return found


def assert_holds_what_the_workload_did(text: str) -> None:
    """Compare with what the README of the capture says: N HVCs of two kinds, N WFIs, N reads and N writes of MMIO."""
    [table] = read(text)
    counted = {row["event"]: row["value"] for row in rows(table)}
    assert counted["hvc_exit_stat"] == 2 * TURNS
    assert counted["wfi_exit_stat"] == TURNS
    assert counted["mmio_exit_user"] == 2 * TURNS
    assert counted["exits"] == 648
    assert len(counted) == 20
    assert {row["scope"] for row in rows(table)} == {"328-4"}
    assert [(note.where, "vgic-state" in note.what) for note in table.notes] == [("line 19", True)]


def test_the_files_of_a_vm_are_counters() -> None:
    assert_holds_what_the_workload_did((DATA / "arm64-vm.txt").read_text())


@pytest.mark.parametrize(("name", "files"), [("arm64-global.txt", 20), ("ppc64-global.txt", 44)])
def test_the_files_of_all_vms_are_counters(name: str, files: int) -> None:
    text = (DATA / name).read_text()
    [table] = read(text)
    assert [f"{row['event']} {row['value']:.0f}" for row in rows(table)] == text.splitlines()
    assert len(rows(table)) == files
    assert {(row["scope"], row["system"], row["state"]) for row in rows(table)} == {(None, None, "counted")}
    assert {row["event"] for row in rows(table) if row["unit"] == "ns"} == {
        "halt_poll_fail_ns",
        "halt_poll_success_ns",
        "halt_wait_ns",
    }
    assert table.notes == ()


def test_the_captures_are_read() -> None:
    captures = sorted((SHARED / "captures").glob("*/*kvm-debugfs/*.txt"))
    if not captures:
        pytest.skip(f"{SHARED} is not there")
    dumps = [path for path in captures if path.name != "README.txt"]
    assert len(dumps) == 4
    for path in captures:
        text = path.read_text()
        assert FORMAT.recognises(text) == (path in dumps)
        if path.name.startswith("vm-"):
            assert_holds_what_the_workload_did(text)


def test_what_grep_prints_in_a_folder_has_its_scopes() -> None:
    text = "./exits:5\n./halt_wakeup:6\n77-12/vcpu0/lapic_timer_advance_ns:1000\n77-12/exits:9\n"
    text += "77-12/vcpu0/tsc-offset:-5\n"
    [table] = read(text)
    assert [(row["scope"], row["event"], row["value"], row["unit"]) for row in rows(table)] == [
        (None, "exits", 5, None),
        (None, "halt_wakeup", 6, None),
        ("77-12/vcpu0", "lapic_timer_advance_ns", 1000, "ns"),
        ("77-12", "exits", 9, None),
        ("77-12/vcpu0", "tsc-offset", -5, None),
    ]


def test_the_file_of_a_histogram_is_its_first_bucket() -> None:
    [table] = read("/sys/kernel/debug/kvm/halt_wait_hist:3\n")
    assert [(row["part"], row["value"], row["unit"]) for row in rows(table)] == [("[0, 1) ns", 3, None)]


def test_each_bucket_of_a_histogram_is_a_row() -> None:
    [table] = read("halt_wakeup 1\nhalt_exits 2\nhalt_wait_hist 0 4 7 1\n")
    assert [(row["part"], row["value"]) for row in rows(table)[2:]] == [
        ("[0, 1) ns", 0),
        ("[1, 2) ns", 4),
        ("[2, 4) ns", 7),
        ("[4, \u221e) ns", 1),
    ]


def test_what_qemu_says_of_types_and_units_is_kept() -> None:
    [table] = read((DATA / "qemu-info-stats.txt").read_text())
    assert [(row["event"], row["part"], row["value"], row["unit"]) for row in rows(table)] == [
        ("max_mmu_rmap_size", None, 0, None),
        ("pages_4k", None, 5, None),
        ("halt_poll_success_ns", None, 12, "ns"),
        ("halt_wait_hist", "[0, 1) ns", 0, None),
        ("halt_wait_hist", "[1, 2) ns", 4, None),
        ("halt_wait_hist", "[2, \u221e) ns", 7, None),
        ("guest_mode", None, 1, "boolean"),
        ("x", "[0, 500) ns", 1, None),
        ("x", "[500, \u221e) ns", 2, None),
    ]


def test_a_second_dump_is_a_table_of_its_own() -> None:
    dump = "exits {}\nhalt_exits 3\nhalt_wakeup 7\n"
    for between in ("", "\n", "== after 10 s ==\n"):
        first, second = read(dump.format(5) + between + dump.format(6))
        assert [rows(table)[0]["value"] for table in (first, second)] == [5, 6]
        assert first.facts.part == "dump of line 1"


def test_folders_apart_are_one_dump() -> None:
    block = "exits 5\nhalt_exits 3\nhalt_wakeup 7\n"
    [table] = read(f"{block}# of the VM:\n/sys/kernel/debug/kvm/1-2/exits: 3\n")
    assert [row["scope"] for row in rows(table)] == [None, None, None, "1-2"]


def test_a_value_that_a_double_does_not_hold_is_noted() -> None:
    [table] = read("/sys/kernel/debug/kvm/exits: 18446744073709551615\n")
    assert "more than 2^53" in table.notes[0].what


@pytest.mark.parametrize(
    "text",
    [
        "",
        "exits 5\nhalt_exits 3\n",  # two names may be chance
        "apples 5\npears 6\nplums 7\n",
        "exits: about 5\nhalt_exits: 3 a second\nhalt_wakeup: none\n",
        "/sys/module/kvm/parameters/halt_poll_ns:200000\n",
        "halt_wakeup 5 6\nhalt_exits 3 4\nexits 3 4\n",
        "MemTotal: 5\nMemFree: 6\nhalt_wakeup: 7\n",
    ],
)
def test_the_like_of_others_is_refused(text: str) -> None:
    assert not FORMAT.recognises(text)
    with pytest.raises(InputError, match=r"kvm.txt: expected names and values of KVM's statistics"):
        FORMAT.read(text, "kvm.txt")
