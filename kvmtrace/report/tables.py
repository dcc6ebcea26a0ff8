"""Writes the result of a statement as text, Markdown, CSV or JSON."""

from __future__ import annotations

import json
import math
from datetime import date, datetime, time
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from kvmtrace.report.printable import markdown, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmtrace.store.connection import Result

_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL")
_MISSING = "-"


class TableFormat(StrEnum):
    """How a table is written."""

    TEXT = "text"
    MARKDOWN = "markdown"
    CSV = "csv"
    JSON = "json"


class ReportFormat(StrEnum):
    """How a report is written: a table's formats, and a page of charts and tables."""

    TEXT = "text"
    MARKDOWN = "markdown"
    CSV = "csv"
    JSON = "json"
    HTML = "html"


def render(result: Result, table_format: TableFormat) -> str:
    """Return the table, with a newline after its last line.

    Values are exact in every format. Null is `-` in text and Markdown, nothing in CSV (an empty string is `""`), and
    null in JSON, where NaN and infinities are null as well. CSV is as RFC 4180 quotes it, with LF after each line.
    """
    match table_format:
        case TableFormat.JSON:
            return _json(result)
        case TableFormat.CSV:
            return _csv(result)
        case TableFormat.MARKDOWN:
            return _markdown(result)
        case TableFormat.TEXT:
            return _text(result)


def cell_text(value: object) -> str:
    """Return a value, not null, as text, exactly."""
    match value:
        case str():
            return value
        case bool():
            return str(value).lower()
        case bytes() | bytearray():
            return value.hex()
        case dict() | list() | tuple():
            return json.dumps(_plain(value))
        case datetime() | date() | time():
            return value.isoformat()
    return str(value)


def _text(result: Result) -> str:
    from tabulate import SEPARATING_LINE, tabulate  # noqa: PLC0415 - slow to load, and the command line reads this module

    rows = [[printable(cell) for cell in row] for row in _cells(result)]
    # The names are a row like the others: tabulate pads headers of its own by two.
    table = [[printable(name) for name in result.names], SEPARATING_LINE, *rows]
    text = tabulate(
        table, tablefmt="simple", disable_numparse=True, colalign=_alignment(result), preserve_whitespace=True
    )
    lines = [line.rstrip() for line in text.splitlines()]
    return "\n".join(lines[1:-1]) + "\n"  # without the rules above and below


def _markdown(result: Result) -> str:
    from tabulate import tabulate  # noqa: PLC0415

    rows = [[markdown(printable(cell)) for cell in row] for row in _cells(result)]
    headers = [markdown(printable(name)) for name in result.names]
    # tabulate takes alignments only where there is a row
    lines = tabulate(
        rows or [headers], headers=headers, tablefmt="pipe", disable_numparse=True, colalign=_alignment(result)
    ).splitlines()
    return "\n".join(lines if rows else lines[:-1]) + "\n"


def _cells(result: Result) -> list[list[str]]:
    return [[_MISSING if value is None else cell_text(value) for value in row] for row in result.rows]


def _alignment(result: Result) -> list[str]:
    return ["right" if _is_number(type_) else "left" for type_ in result.types]


def _is_number(type_: str) -> bool:
    return type_.removeprefix("U").startswith(_NUMBERS) and not type_.endswith("]")


def _csv(result: Result) -> str:
    # The csv module of Python 3.11 cannot tell null from an empty string, nor quotes a lone carriage return.
    def line(cells: Sequence[str | None]) -> str:
        return '""' if list(cells) == [None] else ",".join("" if cell is None else _csv_cell(cell) for cell in cells)

    rows = ([None if value is None else cell_text(value) for value in row] for row in result.rows)
    return "\n".join([line(result.names), *map(line, rows)]) + "\n"


def _csv_cell(text: str) -> str:
    if text and not any(c in text for c in '",\r\n'):
        return text
    return '"' + text.replace('"', '""') + '"'


def _json(result: Result) -> str:
    names = distinct(result.names)
    objects = [json.dumps(dict(zip(names, map(_plain, row), strict=True)), allow_nan=False) for row in result.rows]
    return "[" + ",\n ".join(objects) + "]\n"


def distinct(names: Sequence[str]) -> list[str]:
    """Return `names` with `_2`, `_3`, … after those that were there before: an object has each key once."""
    distinct: list[str] = []
    for name in names:
        key, n = name, 1
        while key in distinct:
            n += 1
            key = f"{name}_{n}"
        distinct.append(key)
    return distinct


def _plain(value: Any) -> Any:  # noqa: ANN401 - any value of DuckDB to any value of JSON
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case Decimal():
            near = float(value)
            return near if math.isfinite(near) and Decimal(str(near)) == value else str(value)
        case dict():
            return {key if isinstance(key, str) else cell_text(key): _plain(part) for key, part in value.items()}
        case list() | tuple():
            return [_plain(part) for part in value]
    return cell_text(value)
