"""The tables of `perf kvm stat report` and `perf kvm stat live` → `recording.TableSet`, one for each table.

    Analyze events for all VMs, all VCPUs:

                 VM-EXIT    Samples  Samples%     Time%    Min Time    Max Time         Avg time

                     msr       1766    30.65%     8.03%     17.93us  17225.86us    120.62us ( +-  18.15% )

    Total Samples:5761, Total events handled time:2651489.46us.

Every set of columns that perf has printed is read (layout.py), in a text with anything around it: perf prints the
table on stderr, with its warnings between the rows; mails quote and break it; slides put notes beside it. What looks
like a row and is none, and what contradicts itself, is a note, never a guess. Samples and times of MSRs that an
author wrote beside their row are rows of their own.

`facts.tool`: cmdline; total_samples, total_time_ns, lost_events, as the lines below the table say. A table of no
events (`Total Samples:0`) has no rows.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from kvmtrace.errors import InputError
from kvmtrace.formats.format import TableFormat
from kvmtrace.formats.perf_kvm_stat.kinds import event_kind
from kvmtrace.formats.perf_kvm_stat.summaries import table_set
from kvmtrace.formats.perf_kvm_stat.tables import find_tables
from kvmtrace.recording import Note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmtrace.formats.perf_kvm_stat.surroundings import Surroundings
    from kvmtrace.formats.perf_kvm_stat.tables import KvmStatTable
    from kvmtrace.recording import TableSet

__all__ = ["FORMAT"]

_SEEN = re.compile(r"Samples[ \t|\u00a0]+Samples?%|Analyze events for (?:all |pid|VCPU |dazed )")
_NOTHING_READ = "No trace sample to read"


def recognises(text: str) -> bool:
    """Tell whether a text holds the header or the heading of a table."""
    return bool(_SEEN.search(text))


def read(text: str, file: str) -> list[TableSet]:
    """Read every table of `text`, in order; `exit_summaries` has the columns of `schema.EXIT_SUMMARIES`.

    A table without a readable row is left out and noted, unless it says itself that it has none. `file` names the
    source in errors. InputError: there is no table, or none with a readable row.
    """
    tables, notes = find_tables(text)
    kept = []
    for table in tables:
        if table.rows or (table.totals and table.totals.samples == 0):
            kept.append(table)
        else:
            notes.add(Note(f"line {table.line}", "a table without a readable row: left out"))
            for note in table.notes.told():
                notes.add(note)
    if not kept:
        raise _nothing(tables, text, file)
    kinds = [event_kind(table) for table in kept]
    parts = _parts(kept, kinds) if len(kept) > 1 else [None]
    sets = [table_set(*each, FORMAT.name) for each in zip(kept, kinds, parts, strict=True)]
    sets[-1] = replace(sets[-1], notes=(*sets[-1].notes, *notes.told()))
    return sets


def _nothing(tables: Sequence[KvmStatTable], text: str, file: str) -> InputError:
    if not tables:
        found = f"perf's message `{_NOTHING_READ}`" if _NOTHING_READ in text else "no such line"
        return InputError(
            file,
            f"expected a header such as `VM-EXIT Samples Samples% Time% …`, found {found}",
            hint="give the table with its header; perf prints it on stderr (2>&1), so `> file` alone leaves it out",
        )
    return InputError(
        file,
        "expected rows such as `HLT 12 3.45% …`, or `Total Samples:0`, below this header, found neither",
        where=tables[0].line,
        hint="give the whole table, to the line that begins `Total Samples`",
    )


def _parts(tables: Sequence[KvmStatTable], kinds: Sequence[str]) -> list[str | None]:
    """Name each table by its label, events, scope and time, and by its ordinal where that is not enough."""
    titles = [_title(table.around, kind) for table, kind in zip(tables, kinds, strict=True)]
    uses = Counter(titles)
    return [title if uses[title] == 1 else f"{title}, table {n}" for n, title in enumerate(titles, start=1)]


def _title(around: Surroundings, event_kind: str) -> str:
    title = ", ".join(filter(None, (event_kind, around.scope, around.at)))
    return f"{around.label} {title}" if around.label else title


FORMAT = TableFormat(
    name="perf-kvm-stat",
    what="tables of perf kvm stat report and live",
    example="perf kvm stat record -a sleep 10; perf kvm stat report > vmexit.txt 2>&1",
    recognises=recognises,
    read=read,
)
