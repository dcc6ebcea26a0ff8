"""What `perf stat` prints, in every form → `recording.TableSet`, one for each output in the text.

     Performance counter stats for 'sleep 1' (5 runs):

                47,357      kvm:kvm_entry        #  9.1 K/sec     ( +-  0.86% )  (75.00%)

               1.00210 +- 0.00012 seconds time elapsed  ( +-  0.01% )

    rows.py, grouping.py   a row of such a table: [scope] value [unit] event [# metric] [( +- error )] [(share)]
    separated.py           a line of -x SEP
    json_lines.py          a line of -j
    tables.py, mail.py     where they stand in a text; intervals (-I) have a time before each row
    counters.py            what all of them come to
    recorded.py, stat_records.py   the perf.data of `perf stat record`

tools/perf/util/stat-display.c prints them. Metrics are derived figures and are not kept. The text may be a mail:
quoted, without its indentation, prose and the output of the workload around and inside it. What looks like a counter
and cannot be read for certain is a note, never a guess.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from kvmtrace.errors import InputError
from kvmtrace.formats.format import TableFormat
from kvmtrace.formats.perf_stat.counters import (
    WRAPPED,
    Row,
    counters_table,
    left_out,
    not_read,
    times,
)
from kvmtrace.formats.perf_stat.grouping import decimal_mark
from kvmtrace.formats.perf_stat.recognising import recognises
from kvmtrace.formats.perf_stat.rows import UnreadableRowError, looks_like_row, read_row
from kvmtrace.formats.perf_stat.tables import (
    HEADING,
    Form,
    StatTable,
    find_tables,
    has_rows_without_heading,
    split_interval,
)
from kvmtrace.formats.text_lines import shown
from kvmtrace.recording import Facts, Note, Notes, TableSet

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FORMAT", "read", "recognises"]


def read(text: str, file: str) -> list[TableSet]:
    """Read every output of `text`, in order; rows have the columns of `schema.COUNTERS`.

    An output without a readable row is left out and noted. `file` names the source in errors.
    InputError: there is no output, or none with a readable row.
    """
    tables, stray = find_tables(text)
    if not tables:
        raise InputError(
            file,
            f"expected a line `{HEADING} …:`, or intervals, CSV or JSON of `perf stat`, found "
            + ("counters without a heading" if has_rows_without_heading(text) else "no such line"),
            hint="give all that `perf stat -e 'kvm:*'` prints, a table with its heading",
        )
    sets: list[TableSet] = []
    notes = Notes()
    for table, part in zip(tables, _parts(tables), strict=True):
        rows = _read_rows(table, notes)
        if rows:
            sets.append(_counter_set(table, rows, part, notes))
            notes = Notes()
        else:
            notes.add(Note(f"line {table.line}", "a table without a readable counter row: left out"))
    if not sets:
        raise _no_rows(tables[0], file)
    for note in stray:
        notes.add(note)
    sets[-1] = replace(sets[-1], notes=(*sets[-1].notes, *notes.told()))
    if len(sets) == 1:
        sets[0].facts.part = None
    return sets


FORMAT = TableFormat(
    name="perf-stat",
    what="counters that perf stat printed: its table, intervals, CSV or JSON",
    example="perf stat -e 'kvm:*' -a -o stat.txt sleep 10",
    recognises=recognises,
    read=read,
)


def _read_rows(table: StatTable, notes: Notes) -> list[Row]:
    rows = table.rows or _read_lines(table, notes)
    for note in table.notes:
        notes.add(note)
    kept = []
    for row in rows:
        if row.interval_end_ns is not None and row.value is not None and row.value >= WRAPPED:
            what = f"{row.event} {row.value:.0f}: above 2^63, a difference that wrapped and no count: left out"
            notes.add(Note(f"line {row.line}", what, events=1))
            continue
        kept.append(row)
        for doubt in row.doubts:
            notes.add(Note(f"line {row.line}", doubt))
    return kept


def _read_lines(table: StatTable, notes: Notes) -> list[Row]:
    """Read the rows of a table or of intervals, whose numbers are of one locale."""
    rows: list[Row] = []
    mark = decimal_mark([table.footer, *(text for _, text in table.lines)])
    for line, text in table.lines:
        interval = split_interval(text) if table.form is Form.INTERVALS else None
        end_ns, body = interval or (None, text)
        try:
            rows.append(read_row(body, line, mark, end_ns))
        except UnreadableRowError as error:
            if interval or looks_like_row(text):
                notes.add(not_read(line, error, text))
    return rows


def _counter_set(table: StatTable, rows: Sequence[Row], part: str, notes: Notes) -> TableSet:
    elapsed_ns, enabled_ns = (table.elapsed_ns, None) if table.form is Form.TABLE else times(rows)
    if table.form is not Form.TABLE and elapsed_ns is None and enabled_ns is None:
        what = "how long it counted is not told (run times are sums over CPUs or threads): no rates per second"
        notes.add(Note(f"line {table.line}", what))
    tool = {"target": table.target} if table.form is Form.TABLE else {}
    kept_out = list(dict.fromkeys([*left_out(rows), *table.left_out]))
    return TableSet(
        facts=Facts(format=FORMAT.name, tool=tool, start=table.start, left_out=kept_out, part=part),
        table="counters",
        rows=counters_table(rows, table.repeats),
        elapsed_ns=elapsed_ns,
        enabled_ns=enabled_ns,
        notes=tuple(notes.told()),
    )


def _parts(tables: Sequence[StatTable]) -> list[str]:
    """Name each output by its heading and the label above it, and by its ordinal where that is not enough."""
    titles = [f"{table.label} {table.target}" if table.label else table.target for table in tables]
    uses = Counter(titles)
    return [title if uses[title] == 1 else f"{title}, table {n}" for n, title in enumerate(titles, start=1)]


def _no_rows(table: StatTable, file: str) -> InputError:
    first = next((text for _, text in table.lines if text.strip()), None)
    return InputError(
        file,
        "expected counter rows such as `1,234 kvm:kvm_exit` below this heading, "
        f"found {'nothing' if first is None else shown(first)}",
        where=table.line,
        hint="give the whole table, from its heading to the time elapsed",
    )
