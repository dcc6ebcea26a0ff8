"""What each format of a report writes: the bytes are the contract, and the formats agree cell for cell."""

from __future__ import annotations

import csv
import html
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import report_samples as samples

from kvmtrace.errors import UsageError
from kvmtrace.exit_keys import By, Key
from kvmtrace.report import machine, markdown, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvmtrace.report.summary import Summary

GOLDEN = Path(__file__).parent / "golden" / "report"
FORMATS: dict[str, Callable[[list[Summary]], str]] = {
    "txt": text.render,
    "md": markdown.render,
    "csv": machine.to_csv,
    "json": machine.to_json,
}
REPORTS = {
    "exits": [samples.exits()],
    "details": [samples.exits(By.VM, By.DETAIL)],
    "with_idle": [samples.exits(with_idle=True)],
    "split": [samples.exits(rows=samples.SPLIT_ROWS)],
    "no_exits": [samples.no_exits()],
    "counters": [samples.counters()],
    "exit_summaries": [samples.given("exit_summaries", samples.SUMMARIES)],
    "benchmarks": [samples.given("benchmarks", samples.BENCHMARKS)],
    "two_runs": [samples.exits(), samples.exits(run_id="b541b14193e6bc04", lost=())],
}


@pytest.mark.parametrize("extension", FORMATS)
@pytest.mark.parametrize("name", REPORTS)
def test_each_format_writes_the_bytes_of_its_golden_file(name: str, extension: str) -> None:
    golden = GOLDEN / f"{name}.{extension}"
    assert FORMATS[extension](REPORTS[name]).encode() == golden.read_bytes()


def test_a_table_without_rows_is_reported_as_such() -> None:
    empty = samples.given("exit_summaries", ())
    assert "recorded  0 rows" in text.render([empty])
    assert "The table has no rows" in text.render([empty])
    assert json.loads(machine.to_json([empty]))[0]["exit_summaries"] == []
    assert machine.to_csv([empty]) == "run_id\n"


def test_csv_and_json_have_the_same_rows() -> None:
    for by in ((By.REASON,), (By.REASON, By.DETAIL, By.CPU)):
        summary = samples.exits(*by)
        [report] = json.loads(machine.to_json([summary]))
        in_csv = list(csv.DictReader(io.StringIO(machine.to_csv([summary]))))
        assert [{name: _csv(value) for name, value in row.items()} for row in report["exits"]] == [
            {name: cell for name, cell in row.items() if name != "run_id"} for row in in_csv
        ]


def _csv(value: object) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


SHOWN: dict[str, tuple[str, Callable[[Any], str]]] = {
    "exits": ("exits", "{:,}".format),
    "exits %": ("exits_share", lambda share: f"{share * 100:.2f}"),
    "exits/s": ("rate_per_s", "{:,.2f}".format),
    "time µs": ("out_of_guest_ns", lambda ns: f"{ns / 1000:,.2f}"),
    "time %": ("out_of_guest_share", lambda share: f"{share * 100:.2f}"),
    "userspace": ("userspace_exits", "{:,}".format),
    "suspect": ("suspect_exits", "{:,}".format),
    "no latency": ("no_latency_exits", "{:,}".format),
    "min µs": ("min_ns", lambda ns: f"{ns / 1000:,.2f}"),
    "avg µs": ("avg_ns", lambda ns: f"{ns / 1000:,.2f}"),
    "± SE %": ("stderr_share", lambda share: f"{share * 100:.2f}"),
    "p50 µs": ("p50_ns", lambda ns: f"{ns / 1000:,.2f}"),
    "p90 µs": ("p90_ns", lambda ns: f"{ns / 1000:,.2f}"),
    "p99 µs": ("p99_ns", lambda ns: f"{ns / 1000:,.2f}"),
    "p99.9 µs": ("p99_9_ns", lambda ns: f"{ns / 1000:,.2f}"),
    "max µs": ("max_ns", lambda ns: f"{ns / 1000:,.2f}"),
}


def test_text_and_markdown_show_every_row_of_the_json_in_their_own_units() -> None:
    summary = samples.exits()
    [report] = json.loads(machine.to_json([summary]))
    in_text = _table_rows(text.render([summary]).splitlines(), lambda line: _fields(line, "  "))
    in_markdown = _table_rows(
        html.unescape(markdown.render([summary])).splitlines(),
        lambda line: _fields(line.strip("|"), "|") if "|" in line else [],
    )
    assert in_text == in_markdown
    assert len(in_text) == len(report["exits"])
    for shown, exact in zip(in_text, report["exits"], strict=True):
        assert shown.pop("reason") == (exact["reason"] or "total")
        for heading, cell in shown.items():
            name, as_shown = SHOWN[heading]
            assert cell == ("-" if exact[name] is None else as_shown(exact[name])), heading


def _fields(line: str, separator: str) -> list[str]:
    return [field.strip() for field in line.split(separator) if field.strip()]


def _table_rows(lines: list[str], fields: Callable[[str], list[str]]) -> list[dict[str, str]]:
    """Return the rows below each heading that begins with `reason`."""
    rows, headings = [], []
    for cells in map(fields, lines):
        if cells[:1] == ["reason"]:
            headings = cells
        elif headings and len(cells) == len(headings) and not set(cells[-1]) <= set("-:"):
            rows.append(dict(zip(headings, cells, strict=True)))
        elif not cells:
            headings = []
    return rows


def test_a_narrow_terminal_gets_a_table_in_two_parts_with_the_names_in_both() -> None:
    wide = text.render([samples.exits()])
    narrow = text.render([samples.exits()], terminal_width=100)
    assert max(map(len, wide.splitlines())) > 100
    assert sum(line.startswith("reason") for line in wide.splitlines()) == 2
    tables = [line for line in narrow.splitlines() if line.startswith(("reason", "msr", "npf", "hlt", "total"))]
    assert sum(line.startswith("reason") for line in tables) == 4
    assert max(map(len, tables)) <= 100


def test_a_terminal_without_unicode_gets_ascii_in_columns_that_still_line_up() -> None:
    shown = text.render([samples.exits()], unicode=False)
    assert shown.isascii()
    assert "+- SE %" in shown
    assert "#####" in shown
    heading, rule, *rows = [line for line in shown.splitlines() if line.startswith(("reason", "-----", "msr", "total"))]
    assert {len(line) for line in (heading, rule, *rows[:1])} == {len(heading)}


def test_control_characters_of_a_recording_do_not_reach_the_terminal() -> None:
    summary = samples.exits(
        rows=[samples.bucket_row(Key("msr\x1b[2J\u202e"), [1000])],
        host={"hostname": "rig\x07"},
        tool={"cmdline": "perf\nrecord"},
    )
    for render in (text.render, markdown.render):
        shown = render([summary])
        assert "\\x1b[2J\\u202e" in shown.replace("\\\\", "\\").replace("\\[", "[")
        assert all(c.isprintable() or c == "\n" for c in shown)


def test_markdown_shows_names_literally() -> None:
    summary = samples.exits(rows=[samples.bucket_row(Key("<b>|*`"), [1000])])
    assert "&lt;b&gt;\\|\\*\\`" in markdown.render([summary])


def test_runs_of_different_kinds_do_not_fit_into_one_csv_table() -> None:
    with pytest.raises(UsageError, match="reports of counters and of exits"):
        machine.to_csv([samples.exits(), samples.counters()])
    assert [
        sorted({"exits", "counters"} & report.keys())
        for report in json.loads(machine.to_json([samples.exits(), samples.counters()]))
    ] == [["exits"], ["counters"]]
