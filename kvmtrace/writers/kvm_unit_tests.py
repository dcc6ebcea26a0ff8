"""Benchmarks → what x86/vmexit.c of kvm-unit-tests prints: `name cycles`, below what it prints at its boot.

A figure is cut to a whole number of cycles, as the program's own division does.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from kvmtrace.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmtrace.recording import TableSet

TEST = "vmexit"
_BOOT = ("enabling apic", "paging enabled")
_NAME = re.compile(r"(?:(?:ipi|eoi) )?[A-Za-z][\w:-]{1,79}", re.ASCII)


def vmexit_lines(tables: TableSet) -> Iterator[str]:
    """Yield the lines of a table of benchmarks. UsageError: a row that vmexit does not print."""
    yield from _BOOT
    for row in tables.rows.to_pylist():
        name = row["name"]
        if row["test"] not in {None, TEST} or not _NAME.fullmatch(name):
            raise UsageError(f"expected rows of the test {TEST}, named by one word, found {name!r} of {row['test']!r}")
        indent = "  " if " " in name else ""
        yield f"{indent}{name} {_figure(row)}"


def _figure(row: dict[str, Any]) -> str:
    if row["state"] == "skip":
        return "(skipped)"
    if row["state"] != "measured" or row["value"] is None or row["unit"] != "cycles":
        raise UsageError(f"vmexit prints cycles: {row['name']} is {row['state']}, in {row['unit'] or 'no unit'}")
    return str(int(row["value"]))
