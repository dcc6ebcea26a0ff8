"""Damaged texts of benchmarks and counters: only rows, notes and one error come out.

The four formats of such texts share what damages them; their own test modules have their own texts.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvmtrace import schema
from kvmtrace.errors import InputError
from kvmtrace.formats import cycle_list, kvm_debugfs, kvm_stat, kvm_unit_tests
from kvmtrace.formats.text_lines import LONGEST
from kvmtrace.recording import Notes

if TYPE_CHECKING:
    from kvmtrace.formats.format import TableFormat

DATA = Path(__file__).parent / "data"
FORMATS = [kvm_unit_tests.FORMAT, cycle_list.FORMAT, kvm_stat.FORMAT, kvm_debugfs.FORMAT]
FILES = [path for each in FORMATS for path in sorted((DATA / each.name).iterdir()) if path.suffix != ".md"]
SMALL = 800  # bytes of a file that is cut at every one
HUGE = "9" * 5000
PIECES = [
    *(
        "\r\n",
        "\n\n",
        "\0",
        "\udcff",
        "\ud800",
        "\ufeff",
        "\x1b[31m",
        "> ",
        "=\n",
        "=3D",
        "\t",
        "\U0001d7d9",
        "\u0661",
        "\u22121",
    ),
    *(HUGE, "-1", "1e9", "0x10", "NaN", "1,234,567", "(", ")", ":" * 300, "x" * 5000, " " * 5000),
    *("PASS: ", "SUMMARY: 99999999999 tests\n", "TAP version 13\n", "1..5\n", "enabling apic\n", "cpuid 5\n"),
    *("name total ns avg ns\n", f"hvc {HUGE}.{HUGE} 1.1\n", "breakmax=0\n", "latency: -1\n", "before after\n"),
    *("* a - 5 cycles\n", "* b - 6 cycles (((\n", "c: 7 cycles\n", f"* d - {HUGE} cycles\n"),
    *("kvm statistics - summary\n", "Total 5 5\n", "timestamp,kvm_exit\n", "kvm_exit kvm_entry\n", "1 2\n"),
    *(
        "2020-13-45 99:99:99,1\n",
        "halt_wakeup 1\n",
        "halt_wait_hist 1 2 3\n",
        "x (peak, ns): [9999]=1 \n",
        "exits: 3\n",
    ),
    *("x (linear-histogram, ns, bucket size=999999999): [9999]=18446744073709551615 \n", "/sys/kernel/debug/kvm/a:1\n"),
]


def survives(content: bytes) -> None:
    """Read a damaged text as each of the formats. Anything but an InputError passes on, and is a bug."""
    for each in FORMATS:
        survives_as(each, content)


def survives_as(read_as: TableFormat, content: bytes) -> int:
    """Read a damaged text as one format and return its rows; a table of the wrong form is a bug."""
    text = content.decode("utf-8", "surrogateescape")
    recognised = read_as.recognises(text)
    try:
        sets = read_as.read(text, "given")
    except InputError:
        assert not recognised
        return 0
    assert len({table.facts.part for table in sets}) == len(sets)
    for table in sets:
        assert table.rows.schema == schema.TABLES[table.table].arrow_schema()
        table.rows.validate(full=True)
        assert table.rows.num_rows
        assert table.facts.format == read_as.name
        assert (table.facts.part is None) == (len(sets) == 1)
        assert len(table.notes) <= Notes.LIMIT + 1
        lines = table.rows.column("line").to_pylist()
        assert min(lines) >= 1
        assert max(lines) <= text.count("\n") + 1
        for words in [*(note.what for note in table.notes), *table.facts.tool.values(), table.facts.part or ""]:
            words.encode()  # no lone surrogates
    return sum(table.rows.num_rows for table in sets)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_text_may_end_anywhere(path: Path) -> None:
    content = path.read_bytes()
    read_as = next(each for each in FORMATS if each.name == path.parent.name)
    for end in range(0, len(content), 1 if len(content) < SMALL else 7):
        survives_as(read_as, content[:end])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_text_may_have_other_bits_and_other_line_ends(path: Path) -> None:
    content, rng = path.read_bytes(), random.Random(path.name)  # noqa: S311 - the same damage each time
    for _ in range(50):
        damaged = bytearray(content)
        for _ in range(rng.randint(1, 6)):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        survives(bytes(damaged))
    read_as = next(each for each in FORMATS if each.name == path.parent.name)
    whole = survives_as(read_as, content)
    assert whole
    for same in (content.replace(b"\n", b"\r\n"), b"> " + content.replace(b"\n", b"\n> "), content + b"\xff\n"):
        assert survives_as(read_as, same) == whole


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0",
        b"\n" * 5000,
        b"\xff" * 5000,
        b"a" * 1_000_000,
        b"1 " * 300_000,
        b"(" * 300_000,
        b"- " * 300_000,
        b"kvm_exit " * 90_000,
    ],
)
def test_next_to_nothing_is_refused(content: bytes) -> None:
    for each in FORMATS:
        assert survives_as(each, content) == 0


@pytest.mark.parametrize(
    "run", [" ", ":", "=", "\t", ">", "1", "1 ", "a", "a ", "a_a ", "(", "-", "/", ".", "kvm/", "1.", "kvm_stat -1 "]
)
@pytest.mark.parametrize("start", ["", "a", "a 5", "* a", "* 5 cycles", "kvm statistics", "$ ", "PASS: ", "hvc 1.1"])
def test_long_runs_take_no_time(run: str, start: str) -> None:
    line = (start + run * LONGEST)[: LONGEST - 10] + "!x cycle"
    survives(f"kvm statistics\nname total ns avg ns\n{line}\n".encode() * 2)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_texts_of_pieces_end_in_rows_and_notes_or_in_an_error(data: st.DataObject) -> None:
    lines = [line for path in FILES for line in path.read_text().splitlines(keepends=True)]
    pieces = data.draw(st.lists(st.sampled_from(PIECES) | st.sampled_from(lines) | st.text(max_size=20), max_size=25))
    survives("".join(pieces).encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_other_format_takes_a_text_for_its_own(path: Path) -> None:
    text = path.read_text()
    assert [each.name for each in FORMATS if each.recognises(text)] == [path.parent.name]


@pytest.mark.parametrize("each", FORMATS, ids=lambda each: each.name)
def test_many_notes_are_counted(each: TableFormat) -> None:
    text = next(path for path in FILES if path.parent.name == each.name).read_text()
    unreadable = {
        "kvm-unit-tests": "mov_dr 5 6\n",
        "cycle-list": "* x - 5-6 cycles\n",
        "kvm-stat": "2020-11-30 10:31:07,1\n",
        "kvm-debugfs": "/sys/kernel/debug/kvm/1-2/vgic-state: no\n",
    }[each.name]
    sets = each.read(text + unreadable * 500, "given")
    notes = sets[-1].notes
    assert len(notes) == Notes.LIMIT + 1
    assert "more notes" in notes[-1].what
