"""Lays a page out as one HTML file that stands alone: it asks no network for anything, and says so to the browser."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
import markupsafe

from kvmtrace.report.html import scripts
from kvmtrace.report.html.parts import Chart, DataTable, Facts, Fold, Text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvmtrace.report.html.parts import Page, Part, Section

_FOLDER = Path(__file__).parent
_LONGEST_WORD = 20  # of a name, which columns are as wide as; a longer one is broken
_SIGN = re.compile(r"(?<=[_/:,.=-])(?=[^\W_])")  # between a sign and a letter or digit
_KINDS = {Text: "text", Facts: "facts", DataTable: "table", Chart: "chart", Fold: "fold"}


def render(page: Page) -> str:
    """Return the HTML of `page`. Every text of it is escaped; only the scripts written here run.

    The scripts of libraries are in it where something needs them: DataTables for tables, Vega for charts.
    """
    parts = list(_all_parts(page.sections))
    before = [scripts.own(_FOLDER / "theme.js")]
    behind = [
        *([scripts.data_tables()] if any(isinstance(part, DataTable) for part in parts) else []),
        *([scripts.vega()] if any(isinstance(part, Chart) for part in parts) else []),
        scripts.own(_FOLDER / "page.js"),
    ]
    return _template().render(
        page=page,
        style=(_FOLDER / "page.css").read_text(encoding="utf-8"),
        scripts_before=before,
        scripts_behind=behind,
        policy=scripts.policy([*before, *behind]),
    )


def _all_parts(sections: Iterable[Section]) -> Iterable[Part]:
    for section in sections:
        yield from _opened(section.parts)
        yield from _all_parts(section.sections)


def _opened(parts: Iterable[Part]) -> Iterable[Part]:
    for part in parts:
        yield part
        if isinstance(part, Fold):
            yield from _opened(part.parts)
        if isinstance(part, Chart) and part.table is not None:
            yield part.table


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False, "ensure_ascii": True}
    environment.filters["kind"] = lambda part: _KINDS[type(part)]
    environment.filters["ordered"] = _ordered
    environment.filters["sortable"] = _sortable
    environment.filters["breakable"] = _breakable
    environment.tests["long"] = _is_long
    return environment.get_template("page.html.jinja")


def _ordered(table: DataTable) -> list[bool]:
    """Tell which columns are sorted by numbers: those of numbers, and names that say by what."""
    columns = range(len(table.headings))
    return [column >= table.names or any(row[column].order is not None for row in table.rows) for column in columns]


def _breakable(text: str) -> markupsafe.Markup:
    """Return a text, escaped, in which a long name may go on in the next line behind a sign, and not within a word."""
    if not _is_long(text):
        return markupsafe.escape(text)
    pieces = _SIGN.split(text)
    return markupsafe.Markup("<wbr>").join(pieces)  # escapes each


def _sortable(order: float | None) -> str:
    """Return a number as short as still sorts as it does among those that are shown."""
    if order is None:
        return ""
    return str(order) if isinstance(order, int) else f"{order:.9g}"


def _is_long(text: str) -> bool:
    return len(text) > _LONGEST_WORD and max(map(len, text.split()), default=0) > _LONGEST_WORD
