from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from perf_oracle import SHARED
from test_kvm_unit_tests_damage import survives_as

from kvmtrace.errors import InputError
from kvmtrace.formats.cycle_list import FORMAT

if TYPE_CHECKING:
    from kvmtrace.recording import TableSet

POWER9 = [
    ("Upstream try_real_mode return", 509, None),
    ("Upstream virt NULL hcall", 9587, None),
    ("KVM Cify virt NULL hcall", 9333, None),
    ("KVM Cify+opt virt NULL hcall", 5754, "(167% faster than upstream, or 60% the cycles required)"),
]


def survives(content: bytes) -> None:
    survives_as(FORMAT, content)


def read(text: str) -> list[TableSet]:
    assert FORMAT.recognises(text)
    return list(FORMAT.read(text, "mail.txt"))


def rows(table: TableSet) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = table.rows.to_pylist()
    return found


def told(text: str) -> list[tuple[str, float, str | None]]:
    [table] = read(text)
    return [(row["name"], row["value"], row["message"]) for row in rows(table)]


def test_the_list_of_power9_is_read() -> None:
    text = (Path(__file__).parent / "data" / "cycle-list" / "power9-null-hcall.txt").read_text()
    assert told(text) == POWER9
    for row in rows(read(text)[0]):
        assert (row["unit"], row["state"], row["suite"], row["clock"]) == ("cycles", "measured", None, None)


def test_the_mail_it_is_from_gives_the_same_and_its_prose_nothing() -> None:
    seeds = sorted((SHARED / "seeds").glob("000_*"))
    if not seeds:
        pytest.skip(f"{SHARED} is not there")
    text = seeds[0].read_text()
    assert told(text) == POWER9
    [table] = read(text)
    assert table.notes == ()
    assert table.facts.part is None
    assert table.rows.column("line").to_pylist() == [25, 26, 27, 28]


def test_other_mails_have_no_list() -> None:
    for path in (SHARED / "seeds").glob("*.txt"):
        assert FORMAT.recognises(path.read_text(errors="replace")) == path.name.startswith("000_")


@pytest.mark.parametrize(
    ("line", "row"),
    [
        ("* a b - 5 cycles", ("a b", 5, None)),
        ("- foo: 1,234 cycles per call", ("foo", 1234, "per call")),
        ("\u2022 x = 5.5 TSC cycles, hot", ("x", 5.5, ", hot")),
        ("2) exit \u2014 77 cycles # cold", ("exit", 77, "# cold")),
        ("+ 77 cycles for an exit", ("for an exit", 77, None)),
        ("> > * NULL hcall\t-  509 cycles", ("NULL hcall", 509, None)),
        ("* one: two: 1 cycle", ("one: two", 1, None)),
    ],
)
def test_a_line_with_a_bullet_is_a_row(line: str, row: tuple[str, float, str | None]) -> None:
    assert told(f"text\n{line}\n") == [row]


@pytest.mark.parametrize(
    "text",
    [
        "This takes about 500 cycles to run.\n",
        "The total: 500 cycles\n",
        "* This takes about 500 cycles to run\n",
        "* It is slow. Sorry: 500 cycles\n",
        "* It is slow. Sorry: it took - 500 cycles of review\n",
        "- patch A might improve 100 cycles and\n",
        "a: 500 cycles\n\nb: 600 cycles\n",
        "* a - 500 seconds\n",
        "* a - 500 bicycles\n",
        "     1,234,567      cycles      #  1.2 GHz\n     7,654,321      instructions\n",
        "* - 5 cycles\n",
        "",
    ],
)
def test_prose_is_no_list(text: str) -> None:
    assert not FORMAT.recognises(text)
    with pytest.raises(InputError, match=r"mail.txt: expected a list"):
        FORMAT.read(text, "mail.txt")


def test_two_lines_without_bullets_vouch_for_each_other() -> None:
    assert told("a: 500 cycles\nb: 600 cycles\n") == [("a", 500, None), ("b", 600, None)]


def test_lists_with_text_between_are_tables_of_their_own() -> None:
    first, second, third = read("Before:\n* a - 5 cycles\nAfter:\n* a - 4 cycles\n\nand\n\n* a - 3 cycles\n")
    assert [table.facts.part for table in (first, second, third)] == ["Before", "After", "list 3"]
    assert [rows(table)[0]["value"] for table in (first, second, third)] == [5, 4, 3]


def test_two_lists_of_one_label_are_told_apart() -> None:
    first, second = read("Now:\n* a - 5 cycles\nNow:\n* a - 4 cycles\n")
    assert [first.facts.part, second.facts.part] == ["Now, list 1", "Now, list 2"]


def test_a_remark_goes_on_until_its_bracket_closes() -> None:
    assert told("* a - 5 cycles (b\n   c\n   d)\n* e - 6 cycles\n") == [("a", 5, "(b c d)"), ("e", 6, None)]
    assert told("* a - 5 cycles (b\n* e - 6 cycles\n") == [("a", 5, "(b"), ("e", 6, None)]


def test_a_line_of_a_list_that_cannot_be_read_is_noted() -> None:
    [table] = read("* a - 5 cycles\n* b - 500-600 cycles\n* c - 7 cycles\n")
    assert [row["name"] for row in rows(table)] == ["a", "c"]
    assert [(note.where, "not read" in note.what) for note in table.notes] == [("line 2", True)]


def test_a_figure_alone_beside_a_list_is_noted() -> None:
    [table] = read("* a - 5 cycles\n\nIn all\nthe total: 500 cycles\n")
    assert [(note.where, "without a bullet" in note.what) for note in table.notes] == [("line 4", True)]
