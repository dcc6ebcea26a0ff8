"""What readers of tables are given of a text: lines of a bounded length, decoded as far as they can be."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from look_alikes import PERF_STAT

from kvmtrace.formats import detect, text_lines
from kvmtrace.formats.source import open_source

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kvmtrace.formats.format import TableFormat
    from kvmtrace.recording import TableSet

CUT = 4
LONGEST_CUT = 1 << 16


@settings(max_examples=200)
@given(st.text("ab\n\ré", max_size=60))
def test_a_line_is_cut_where_no_reader_looks_any_more(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_lines, "_CUT", CUT)
        cut = text_lines.cut_lines(text)
    assert cut == "".join(line[:CUT] for line in re.split("([\r\n])", text))


@pytest.mark.parametrize("flood", [b"a", b" ", b"\xff", "é".encode(), b"1,", b"> "])
@pytest.mark.parametrize("forced", [None, "perf-stat"])
def test_no_reader_is_given_a_line_of_megabytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flood: bytes, forced: str | None
) -> None:
    given_lines: list[int] = []

    def seen(format_: TableFormat) -> TableFormat:
        def recognises(text: str) -> bool:
            given_lines.append(max(map(len, text.split("\n"))))
            return format_.recognises(text)

        def read(text: str, file: str) -> Sequence[TableSet]:
            given_lines.append(max(map(len, text.split("\n"))))
            return format_.read(text, file)

        return replace(format_, recognises=recognises, read=read)

    stubs = tuple(map(seen, detect.table_formats()))
    monkeypatch.setattr(detect, "table_formats", lambda: stubs)
    path = tmp_path / "long"
    path.write_bytes(flood * (5 << 20) + b"\n" + PERF_STAT.encode())
    with open_source(str(path)) as source:
        (table,) = detect.read(source, forced)
    assert table.facts.format == "perf-stat"
    assert max(given_lines) == LONGEST_CUT


def test_what_is_not_utf_8_is_latin_1_and_what_is_lost_is_said() -> None:
    text, notes = text_lines.repair("a\nb \udce9\udcff \ud800\n\udce9 \ufffd")
    assert text == "a\nb éÿ \ufffd\né \ufffd"
    assert [(note.where, note.what.partition(",")[0]) for note in notes] == [
        ("line 2", "bytes that are not UTF-8"),
        ("line 2", "characters that were lost in decoding"),
    ]
