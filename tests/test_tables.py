"""The bytes of each format are the contract."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import math
import re
import uuid
from decimal import Decimal
from pathlib import Path

import pytest

from kvmtrace.report.tables import TableFormat, cell_text, render
from kvmtrace.store.connection import Result

GOLDEN = Path(__file__).parent / "golden" / "tables"
EXTENSIONS = {TableFormat.TEXT: "txt", TableFormat.MARKDOWN: "md", TableFormat.CSV: "csv", TableFormat.JSON: "json"}

EVERYTHING = Result(
    ["name", "n", "share", "known", "parts"],
    ["VARCHAR", "UBIGINT", "DOUBLE", "BOOLEAN", "INTEGER[]"],
    [
        ("plain", 0, 0.1, True, [1, 2]),
        (None, None, None, None, None),
        ("", 2**64 - 1, math.nan, False, []),
        ('quote " comma , line\nreturn\r', 2**63 + 1, math.inf, True, [None]),
        ("\x1b[31mred\x9b\x7f\u202e", 1, 1e-300, False, None),
        ("a|b <b>*x*</b> `y` \\", 12, 123456789.123, False, None),
        ("é ", 3, -0.5, True, None),
    ],
)


@pytest.mark.parametrize("table_format", TableFormat)
def test_each_format_writes_the_bytes_of_its_golden_file(table_format: TableFormat) -> None:
    golden = GOLDEN / f"everything.{EXTENSIONS[table_format]}"
    assert render(EVERYTHING, table_format).encode() == golden.read_bytes()


@pytest.mark.parametrize("table_format", TableFormat)
def test_a_result_without_rows_still_names_its_columns_where_it_can(table_format: TableFormat) -> None:
    expected = {
        TableFormat.TEXT: "a  n_ns\n-  ----\n",
        TableFormat.MARKDOWN: "| a   |   n_ns |\n|:----|-------:|\n",
        TableFormat.CSV: "a,n_ns\n",
        TableFormat.JSON: "[]\n",
    }
    assert render(Result(["a", "n_ns"], ["VARCHAR", "BIGINT"], []), table_format) == expected[table_format]


def test_text_and_csv_agree_cell_for_cell() -> None:
    plain = Result(
        ["name", "n", "share", "known", "when", "amount", "raw", "map"],
        ["VARCHAR", "HUGEINT", "DOUBLE", "BOOLEAN", "TIMESTAMP", "DECIMAL(5,2)", "BLOB", "MAP(VARCHAR, INTEGER)"],
        [
            ("io", 2**70, 0.1 + 0.2, True, dt.datetime(2026, 1, 2, 3, 4, 5), Decimal("1.50"), b"\0\xff", {"a": 1}),  # noqa: DTZ001 - as TIMESTAMP has it
            ("npf", -1, 5e-324, False, None, Decimal(-3), b"a", {}),
            (None, None, None, None, None, None, None, None),
        ],
    )
    text = [re.split(r"\s{2,}", line.strip()) for line in render(plain, TableFormat.TEXT).splitlines()]
    comma = list(csv.reader(io.StringIO(render(plain, TableFormat.CSV))))
    assert [text[0], *text[2:]] == [[cell or "-" for cell in row] for row in comma]
    assert comma[1] == [
        "io", str(2**70), "0.30000000000000004", "true", "2026-01-02T03:04:05", "1.50", "00ff", '{"a": 1}',
    ]  # fmt: skip


def test_text_and_markdown_show_no_control_or_format_character() -> None:
    for table_format in (TableFormat.TEXT, TableFormat.MARKDOWN):
        shown = render(EVERYTHING, table_format)
        assert all(line.isprintable() for line in shown.splitlines())
        assert len(shown.splitlines()) == 2 + len(EVERYTHING.rows)


def test_a_markdown_cell_cannot_end_its_cell_nor_make_html() -> None:
    lines = render(EVERYTHING, TableFormat.MARKDOWN).splitlines()
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {len(EVERYTHING.names) + 1}
    assert "<b>" not in "".join(lines)


def test_csv_gives_back_every_text_and_tells_null_from_empty() -> None:
    written = render(EVERYTHING, TableFormat.CSV)
    rows = list(csv.reader(io.StringIO(written, newline="")))
    assert [row[0] for row in rows[1:]] == ["plain", "", *(row[0] for row in EVERYTHING.rows[2:])]
    assert ",,,," in written
    assert '\n"",18446744073709551615,' in written


def test_a_null_alone_in_a_csv_row_is_no_blank_line() -> None:
    assert render(Result(["a"], ["BIGINT"], [(None,), (1,)]), TableFormat.CSV) == 'a\n""\n1\n'


def test_json_gives_back_the_numbers_exactly_and_no_nan() -> None:
    objects = json.loads(render(EVERYTHING, TableFormat.JSON))
    assert [o["n"] for o in objects] == [row[1] for row in EVERYTHING.rows]
    assert [o["share"] for o in objects] == [0.1, None, None, None, 1e-300, 123456789.123, -0.5]
    assert objects[0]["parts"] == [1, 2]
    assert objects[1] == dict.fromkeys(EVERYTHING.names)


def test_json_keeps_columns_of_one_name_apart() -> None:
    result = Result(["a", "a", "a_2"], ["BIGINT"] * 3, [(1, 2, 3)])
    assert json.loads(render(result, TableFormat.JSON)) == [{"a": 1, "a_2": 2, "a_2_2": 3}]


@pytest.mark.parametrize(
    ("value", "in_json"),
    [
        (Decimal("1.5"), 1.5),
        (Decimal("12345678901234567890.123"), "12345678901234567890.123"),
        (dt.date(2026, 1, 2), "2026-01-02"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ({1: (2, None)}, {"1": [2, None]}),
        (b"\x01", "01"),
    ],
)
def test_json_of_other_values_is_exact_or_their_text(value: object, in_json: object) -> None:
    assert json.loads(render(Result(["a"], ["OTHER"], [(value,)]), TableFormat.JSON)) == [{"a": in_json}]


def test_numbers_are_right_aligned_by_their_type_and_not_by_their_looks() -> None:
    result = Result(["number", "text"], ["UINTEGER", "VARCHAR"], [(1, "1"), (100, "100")])
    assert render(result, TableFormat.TEXT).splitlines()[2:] == ["     1  1", "   100  100"]


def test_booleans_are_written_as_sql_writes_them() -> None:
    assert (cell_text(value=True), cell_text(value=False)) == ("true", "false")
