"""The human table of `perf stat` → `recording.CounterSet`, one for each table of the text.

     Performance counter stats for 'sleep 1' (5 runs):

                47,357      kvm:kvm_entry        #  9.1 K/sec     ( +-  0.86% )  (75.00%)

               1.00210 +- 0.00012 seconds time elapsed  ( +-  0.01% )

Rows are `[scope] value [unit] event [# metric] [( +- error )] [(share of the time that it ran)]`, as
tools/perf/util/stat-display.c prints them; metrics are derived figures and are not kept. The table may stand in a
mail: quoted, without its indentation, prose and the output of the workload around and inside it. What looks like a
row and cannot be read for certain is a note, never a guess. Intervals (-I), CSV (-x) and JSON (-j) are not read.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from kvmtrace import schema
from kvmtrace.errors import InputError
from kvmtrace.formats.perf_stat.grouping import decimal_mark
from kvmtrace.formats.perf_stat.rows import Row, UnreadableRowError, looks_like_row, read_row
from kvmtrace.formats.perf_stat.tables import HEADING, StatTable, find_tables, other_form
from kvmtrace.recording import CounterSet, Facts, Note

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["decode", "other_form", "read", "recognises"]

FORMAT = "perf stat"
_HEAD_BYTES = 1 << 16
_SHOWN = 80  # characters of a line that a message quotes


def recognises(head: bytes) -> bool:
    """Tell whether the first 64 KiB of a source hold the heading of a table."""
    return HEADING.encode() in head[:_HEAD_BYTES]


def decode(content: bytes) -> str:
    """Decode a source as UTF-8. Other bytes stay as lone surrogates, which `read` takes for Latin-1 and notes."""
    return content.decode("utf-8", "surrogateescape")


def read(text: str, file: str) -> list[CounterSet]:
    """Read every table of `text`, in order; `counters` has the columns of `schema.COUNTERS`.

    A table without a readable row is left out and noted. `file` names the source in errors.
    InputError: there is no table, or none with a readable row.
    """
    tables, notes = find_tables(text)
    if not tables:
        raise InputError(
            file,
            f"expected a line `{HEADING} …:`, found {other_form(text) or 'no such line'}",
            hint="give the table that `perf stat -e 'kvm:*'` prints, with its heading; -I, -x and -j are not read",
        )
    sets: list[CounterSet] = []
    for table, part in zip(tables, _parts(tables), strict=True):
        rows, troubles = _read_rows(table)
        notes += [*table.notes, *troubles]
        if rows:
            sets.append(_counter_set(table, rows, part, notes))
            notes = []
        else:
            notes.append(Note(f"line {table.line}", "a table without a readable counter row: left out"))
    if not sets:
        raise _no_rows(tables[0], file)
    sets[-1] = replace(sets[-1], notes=(*sets[-1].notes, *notes))
    return sets if len(sets) > 1 else [replace(sets[0], part=None)]


def _read_rows(table: StatTable) -> tuple[list[Row], list[Note]]:
    rows: list[Row] = []
    notes: list[Note] = []
    mark = decimal_mark([table.footer, *(text for _, text in table.lines)])
    for line, text in table.lines:
        try:
            row = read_row(text, line, mark)
        except UnreadableRowError as error:
            if looks_like_row(text):
                notes.append(Note(f"line {line}", f"looks like a counter and is not read ({error}): {_shown(text)}"))
            continue
        rows.append(row)
        notes += [Note(f"line {line}", doubt) for doubt in row.doubts]
    return rows, notes


def _counter_set(table: StatTable, rows: Sequence[Row], part: str, notes: Sequence[Note]) -> CounterSet:
    import pyarrow as pa  # noqa: PLC0415 - heavy, and recognising a format needs none of it

    left_out = ["metrics"] if any(row.has_metric for row in rows) else []
    names = schema.COUNTERS.names()
    cells = [{**dict.fromkeys(names), **asdict(row), "repeats": table.repeats} for row in rows]
    return CounterSet(
        facts=Facts(format=FORMAT, tool={"target": table.target}, start=table.start, left_out=left_out),
        counters=pa.Table.from_pylist(cells, schema=schema.COUNTERS.arrow_schema()),
        elapsed_ns=table.elapsed_ns,
        enabled_ns=None,  # this form does not tell it
        part=part,
        notes=tuple(notes),
    )


def _parts(tables: Sequence[StatTable]) -> list[str]:
    """Name each table by its heading and the label above it, and by its ordinal where that is not enough."""
    titles = [f"{table.label} {table.target}" if table.label else table.target for table in tables]
    uses = Counter(titles)
    return [title if uses[title] == 1 else f"{title}, table {n}" for n, title in enumerate(titles, start=1)]


def _no_rows(table: StatTable, file: str) -> InputError:
    first = next((text for _, text in table.lines if text.strip()), None)
    return InputError(
        file,
        "expected counter rows such as `1,234 kvm:kvm_exit` below this heading, "
        f"found {'nothing' if first is None else _shown(first)}",
        where=table.line,
        hint="give the whole table, from its heading to the time elapsed",
    )


def _shown(text: str) -> str:
    """Quote the start of a line, control characters escaped."""
    text = text.strip()
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")
