"""Which events the rows of a table are: `event_kind` of `schema.EXIT_SUMMARIES`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kvmtrace.formats.perf_kvm_stat.keys import NOT_TOLD, is_port
from kvmtrace.formats.perf_kvm_stat.layout import ANY_KIND, KINDS
from kvmtrace.formats.perf_kvm_stat.names import UNKNOWN, is_reason
from kvmtrace.recording import Note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmtrace.formats.perf_kvm_stat.tables import KvmStatTable

_EVENT = re.compile(r"--event(?:=|[ \t]+)([a-z_]{1,32})")


def event_kind(table: KvmStatTable) -> str:
    """Tell what the rows are: by the header, their names, or the command above it; a note where none of them tells."""
    header = table.layout.names
    if header in KINDS:
        return KINDS[header]
    if header not in ANY_KIND:
        found = header.lower()
        table.notes.add(
            Note(f"line {table.line}", f"expected one of {', '.join(KINDS)} above the names, found {header!r}")
        )
        return found
    kind = _kind_of_names([row.name for row in table.rows])
    if kind is None and table.around.command:
        event = _EVENT.search(table.around.command)
        return event[1] if event else "vmexit"  # what perf reports without --event
    if kind is None:
        table.notes.add(Note(f"line {table.line}", "neither the header nor the rows tell which events these are"))
    return kind or NOT_TOLD


def _kind_of_names(names: Sequence[str]) -> str | None:
    if names and all(map(is_port, names)):
        return "ioport"
    return "vmexit" if any(is_reason(name) and name != UNKNOWN for name in names) else None
