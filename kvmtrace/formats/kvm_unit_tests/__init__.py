"""What kvm-unit-tests print → `recording.TableSet`s of `schema.BENCHMARKS`.

    enabling apic
    paging enabled
    cpuid 1251
    vmcall 1302
    PASS: apic existence
    SUMMARY: 1 tests
    PASS vmexit_cpuid (1 tests)

A text may be a console, a log of run_tests.sh, its own lines, or a mail that quotes some of them. Facts are from the
tests' sources: x86/vmexit.c, x86/tscdeadline_latency.c, arm/micro-bench.c, s390x/exittime.c, lib/report.c,
run_tests.sh. A figure counts where its place is known; what looks like one elsewhere is a note.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kvmtrace.errors import InputError
from kvmtrace.formats.format import TableFormat
from kvmtrace.formats.kvm_unit_tests.rows import benchmark_table
from kvmtrace.formats.kvm_unit_tests.sections import Finder, Section
from kvmtrace.formats.text_lines import clean_lines, has_line, tell_apart, told
from kvmtrace.recording import Facts, Note, TableSet

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FORMAT"]

NAME = "kvm-unit-tests"

# One of these, or figures of vmexit, is in every text that can be read; few are in a recording of events.
_SIGNS = (
    *("SUMMARY: ", "EXIT: STATUS=", "TESTNAME=", ".flat", "enabling apic", "paging enabled", " tests", "(timeout; "),
    *("(terminated on SIG", "TAP version 13", "PASS ", "FAIL ", "SKIP ", "[0m ", "total ns", "exittime: ", "breakmax="),
    *("tsc deadline timer", ":pci-"),
)
_FIGURE = re.compile(
    r"\n[ \t>|]*(?:(?:ipi|eoi)[ \t]+)?[\w:-]+[ \t]+(?:-?[0-9]+|\(skipped\))(?:[ \t]+-?[0-9]+)*[ \t\r]*$",
    re.MULTILINE | re.ASCII,
)


def recognises(text: str) -> bool:
    """Tell whether a text holds something that only kvm-unit-tests print, and a row with it."""
    if not any(sign in text for sign in _SIGNS) and not has_line(_FIGURE, text):
        return False
    finder = _find(clean_lines(text)[0])
    return finder.certain and any(section.rows for section in finder.sections)


def read(text: str, file: str) -> list[TableSet]:
    """Read every table of `text`, in order; a figure that comes again begins the next table.

    InputError: there is no figure and no verdict, or nothing tells that they are those of kvm-unit-tests.
    """
    lines, notes = clean_lines(text)
    finder = _find(lines)
    tables = _tables(finder.sections)
    if not finder.certain or not tables:
        raise InputError(
            file,
            f"expected figures or verdicts of kvm-unit-tests, found {_found(tables)}",
            hint="give the whole output of the test or of run_tests.sh, from its first line",
        )
    parts = tell_apart([(table[0].label or "").rstrip(":") for table in tables], "table")
    notes += finder.notes
    for row in (row for table in tables for section in table for row in section.rows):
        if row.clock == "TSC" and row.value is not None and row.value < 0:
            notes.append(Note(f"line {row.line}", f"{row.name}: a negative figure, which the test cut to 32 bits"))
    return [
        _table_set(table, part, finder.build, notes if table is tables[-1] else [])
        for table, part in zip(tables, parts, strict=True)
    ]


FORMAT = TableFormat(
    name=NAME,
    what="figures and verdicts of kvm-unit-tests (vmexit, micro-bench, run_tests.sh)",
    example="./x86/run x86/vmexit.flat > vmexit.txt",
    recognises=recognises,
    read=read,
)


def _find(lines: Sequence[str]) -> Finder:
    finder = Finder()
    for line, text in enumerate(lines, start=1):
        finder.take(line, text)
    finder.end()
    return finder


def _tables(sections: Sequence[Section]) -> list[list[Section]]:
    """Put sections together until one measures again what stands in the table."""
    tables: list[list[Section]] = []
    measured: set[tuple[str | None, str, str | None]] = set()
    for section in sections:
        if not section.rows:
            continue
        if not tables or measured & section.measured or section.is_column or tables[-1][0].is_column:
            tables.append([])
            measured = set()
        tables[-1].append(section)
        measured |= section.measured
    return tables


def _table_set(table: Sequence[Section], part: str | None, build: str | None, notes: Sequence[Note]) -> TableSet:
    rows = sorted((row for section in table for row in section.rows), key=lambda row: row.line)
    commands = [section.command.text for section in table if section.command]
    tool = {"version": build} if build else {}
    if len(commands) == 1:
        tool["cmdline"] = commands[0]
    return TableSet(
        facts=Facts(format=NAME, tool=tool, part=part),
        table="benchmarks",
        rows=benchmark_table(rows, NAME),
        notes=told(notes),
    )


def _found(tables: Sequence[Sequence[Section]]) -> str:
    rows = sum(len(section.rows) for table in tables for section in table)
    return f"{rows} lines that other programs print too" if rows else "none"
