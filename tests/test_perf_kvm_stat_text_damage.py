"""Damaged tables of `perf kvm stat`: only rows, notes and one error come out, and no row that was not there."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_perf_kvm_stat_text import HEADER, one, text_of

from kvmtrace import schema
from kvmtrace.errors import InputError
from kvmtrace.formats.perf_kvm_stat import FORMAT
from kvmtrace.recording import Notes

FILES = sorted((Path(__file__).parent / "data" / "perf-kvm-stat").glob("*.txt"))
WHOLE = [path.read_bytes() for path in FILES]
ROW = "HLT 1 100.00% 100.00% 1.00us 1.00us 1.00us ( +- 0.00% )"
LARGE = "9" * 5000
SMALL = 900  # bytes of a file that is cut at every one


def survives(content: bytes) -> None:
    """Read a damaged text. Anything but an InputError passes on, and is a bug; so is a table of the wrong form."""
    text = content.decode("utf-8", "surrogateescape")
    FORMAT.recognises(text)
    try:
        sets = FORMAT.read(text, "given")
    except InputError:
        return
    assert sets
    for table in sets:
        assert table.rows.schema == schema.EXIT_SUMMARIES.arrow_schema()
        table.rows.validate(full=True)
        assert len(table.notes) <= 2 * (Notes.LIMIT + 1)
        assert (table.facts.part is None) == (len(sets) == 1)
        for note in table.notes:
            note.what.encode()  # no lone surrogates
    assert len({table.facts.part for table in sets}) == len(sets)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_text_may_end_anywhere(path: Path) -> None:
    content = path.read_bytes()
    for end in range(0, len(content), 1 if len(content) < SMALL else 13):
        survives(content[:end])


@pytest.mark.parametrize(
    ("file", "rounded"),
    [
        ("x86-svm-vmexit.txt", False),
        ("slide-msr-write.txt", False),
        ("mail-riscv-quoted-printable.txt", True),  # perf's browser prints no totals, and cuts shares
    ],
)
def test_what_was_cut_off_is_noted_and_nothing_is_made_up(file: str, *, rounded: bool) -> None:
    text = text_of(file)
    whole = [tuple(row.values()) for row in one(text).rows.select(["line", "reason", "samples", "mean_ns"]).to_pylist()]
    for end in range(text.index("%") + 200, len(text.rstrip()), 2):
        try:
            table = one(text[:end])
        except InputError:
            continue
        for row in table.rows.select(["line", "reason", "samples", "mean_ns"]).to_pylist():
            last = row["line"] == table.rows["line"].to_pylist()[-1]
            assert tuple(row.values()) in whole or (last and table.notes)
        assert table.rows.num_rows >= len(whole) - rounded or table.notes


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_changed_bytes_are_survived(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(WHOLE)))
    for _ in range(data.draw(st.integers(1, 12))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    survives(bytes(content))


_PIECES = st.sampled_from(
    [
        *{line for content in WHOLE for line in content.splitlines()},
        *(b"", b"=", b"==", b"\0", b"\xff\xfe", b"\x1b[2J", b"\r", b"|" * 50, b">" * 50, b"Samples Samples%"),
        *(LARGE.encode(), b"9223372036854775808", b"100.00%", b"1.00us", b"( +-", b"nan% )", b"(+- -nan%)", b"1,234"),
        *(b"unknown kvm exit code:-1 on VMX", b"Lost events: 1", b"00:00:00.000000", b"MSR_WRITE:", b"'830'(x): 5"),
        *(b"Total Samples:99999999999999999999, Total events handled time:99999999999999999999.999999us.",),
        *(b"0xffffffffffffffff:R", b"Total Samples:0, Total events handled time:0.00us.", "\u0661\u0662%".encode()),
    ]
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(_PIECES, st.sampled_from([b"\n", b" ", b"", b"=\n", b"\r\n", b"\n> "])), max_size=30))
@example([(HEADER.encode(), b""), (ROW.encode(), b"\n"), (b"unknown kvm exit code:7 on VMX", b"\n")])
def test_pieces_in_any_order_are_survived(pieces: list[tuple[bytes, bytes]]) -> None:
    survives(b"".join(piece + end for piece, end in pieces))


@pytest.mark.parametrize(
    "row",
    [
        ROW.replace("1 ", f"{LARGE} ", 1),
        ROW.replace("1.00us", f"{LARGE}us"),
        ROW.replace("100.00%", f"{LARGE}%"),
        ROW.replace("1 ", "-1 ", 1),
        ROW.replace("1 ", "9223372036854775808 ", 1),
        ROW.replace("1 ", "\u0661 ", 1),  # a digit in another script
        ROW.replace("HLT", "HLT" * 3000),
        f"{ROW} " * 500,
        "0x" + "f" * 5000 + ":R" + ROW[3:],
    ],
)
def test_forged_figures_make_no_row(row: str) -> None:
    table = one(f"{HEADER}{ROW}\n{row}\n")
    assert table.rows.num_rows == 1
    assert any(note.where == "line 3" for note in table.notes)


@pytest.mark.parametrize(
    "piece",
    [
        "Analyze events for ",
        "perf kvm ",
        "perf kvm stat/",
        "Total Samples:",
        "unknown kvm exit code:",
        "1 VM 1, vcpu 1: ",
        "Samples Samples% ",
        "100.00% ",
        "1 ",
        "(+- ",
        "> ",
        "=\n",
        "\x1b[",
        "'6e0'(",
        f"{HEADER}{ROW}\n",
        "HLT:\n",
        "1 100.00%\n",
    ],
)
def test_long_and_many_lines_are_survived(piece: str) -> None:
    """Every one of these takes time that grows with its length only: in all, some tenths of a second."""
    survives((HEADER + f"{ROW}\n" + piece * (60_000 // len(piece))).encode())


def test_notes_are_bounded() -> None:
    table = one(f"{HEADER}{ROW}\n" + "1 2 3\n" * 5000)
    assert len(table.notes) <= 2 * (Notes.LIMIT + 1)
    assert any("more notes, which are not kept" in note.what for note in table.notes)
