"""Which format an input is of: told by its content, never by its name."""

from __future__ import annotations

from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from dataclasses import replace
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, cast

from kvmtrace.errors import InputError, UnknownFormatError, UsageError
from kvmtrace.formats.format import Format, RecordingFormat, TableFormat
from kvmtrace.formats.text_lines import cut_lines
from kvmtrace.recording import Note, TableSet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmtrace.formats.source import Source
    from kvmtrace.recording import Content

_WHOLE_BYTES = 1 << 22
"""An input up to this size is looked through as a whole; of a larger one the first 64 KiB."""
_MAX_TABLE_BYTES = 1 << 26
"""Tables of figures are small: a larger text is looked at for events only."""
_SHOWN = 40
_HINT = "`kvmtrace formats` lists what is read; --format NAME names one"
_TOO_LARGE = f"tables are looked for in texts of up to {_MAX_TABLE_BYTES >> 20} MiB: give the part that holds them"
_CONVERT = "convert it: iconv -f UTF-16 -t UTF-8 FILE > CONVERTED"


@cache
def recording_formats() -> tuple[RecordingFormat, ...]:
    """Return the formats of events. Of two that an input may be of, the first one counts."""
    from kvmtrace.formats import event_text, perf_file, trace_dat  # noqa: PLC0415 - only where something is read

    text = (event_text.FTRACE, event_text.TRACE_CMD_REPORT, event_text.PERF_SCRIPT)
    return (perf_file.FORMAT, trace_dat.FORMAT, *text)


@cache
def table_formats() -> tuple[TableFormat, ...]:
    """Return the formats of tables in a text, which may hold several."""
    from kvmtrace.formats import (  # noqa: PLC0415 - only where a text is read
        cycle_list,
        kvm_debugfs,
        kvm_stat,
        kvm_unit_tests,
        perf_kvm_stat,
        perf_stat,
    )

    return (
        perf_stat.FORMAT,
        perf_kvm_stat.FORMAT,
        kvm_unit_tests.FORMAT,
        cycle_list.FORMAT,
        kvm_stat.FORMAT,
        kvm_debugfs.FORMAT,
    )


def formats() -> tuple[Format, ...]:
    """Return every format that is read."""
    return (*recording_formats(), *table_formats())


def as_it_comes(first: bytes) -> bool:
    """Tell by its first 16 bytes whether an input is read once, from front to back: a pipe need not be copied then."""
    return any(format_.as_it_comes(first) for format_ in recording_formats())


def read(source: Source, name: str | None = None) -> list[Content]:
    """Return what an input holds, at least one thing: recordings first, then tables in the order of their lines.

    `name`: the format that it must be of. UsageError: there is no format of that name. UnknownFormatError: none of
    the formats fits. InputError: one fits, and the input is damaged.
    """
    if name is not None:
        return _read_as(_named(name), source)
    head = source.read_at(0, _WHOLE_BYTES) if source.size <= _WHOLE_BYTES else source.head()
    unmarked = head.removeprefix(BOM_UTF8)
    events = next((format_ for format_ in recording_formats() if format_.recognises(unmarked)), None)
    recordings, failures = _recordings(events, source) if events else ([], [])
    # Beside many events no table is looked for: that would take longer than reading them.
    look = not recordings or (events is not None and events.is_text and len(head) == source.size)
    tables, of_tables = _tables(_text(source, head) if look else "", source.path)
    failures += of_tables
    contents = [*recordings, *tables]
    if not contents:
        raise failures[0] if failures else _unknown(source, head)
    return [_noted(contents[0], failures), *contents[1:]]


def _named(name: str) -> Format:
    found = next((format_ for format_ in formats() if format_.name == name), None)
    if found is None:
        names = [format_.name for format_ in formats()]
        near = get_close_matches(name, names) or names
        raise UsageError(f"there is no format {name!r}", hint="known: " + ", ".join(near))
    return found


def _read_as(named: Format, source: Source) -> list[Content]:
    if isinstance(named, RecordingFormat):
        return list(named.read(source))
    if source.size > _MAX_TABLE_BYTES:
        raise InputError(
            source.path, f"expected at most {_MAX_TABLE_BYTES:,} bytes of {named.name}, found {source.size:,}"
        )
    text = _decoded(source.read_at(0, _MAX_TABLE_BYTES))
    return list(cast("TableFormat", named).read(text, source.path))


def _text(source: Source, head: bytes) -> str:
    """Return the whole source where it may be a text with tables, else nothing."""
    if b"\0" in head[:_SHOWN] or source.size > _MAX_TABLE_BYTES:
        return ""
    return _decoded(source.read_at(0, _MAX_TABLE_BYTES))


def _decoded(content: bytes) -> str:
    """Decode as UTF-8, with a mark or without; other bytes become lone surrogates: readers take them for Latin-1."""
    return cut_lines(content.decode("utf-8", "surrogateescape").removeprefix("\ufeff"))


def _recordings(format_: RecordingFormat, source: Source) -> tuple[list[Content], list[InputError]]:
    """Return the recordings of a source, or why a text of events cannot be read: tables may stand in it all the same.

    InputError: it is no text, and damaged.
    """
    try:
        return list(format_.read(source)), []
    except InputError as error:
        if not format_.is_text:
            raise
        return [], [error]


def _tables(text: str, path: str) -> tuple[list[TableSet], list[InputError]]:
    """Return the tables that a text holds, and why those of a format that fits cannot be read."""
    found: list[TableSet] = []
    failures: list[InputError] = []
    for format_ in table_formats() if text else ():
        if not format_.recognises(text):
            continue
        try:
            found += format_.read(text, path)
        except InputError as error:
            failures.append(error)
    return sorted(found, key=_first_line), failures


def _first_line(table: TableSet) -> int:
    lines = table.rows.column("line").to_pylist()
    return min((line for line in lines if line is not None), default=0)


def _noted(content: Content, failures: Sequence[InputError]) -> Content:
    """Return what was read, with notes on what else is in its source and cannot be."""
    notes = [Note("source", f"{error.message} ({error.hint})" if error.hint else error.message) for error in failures]
    if isinstance(content, TableSet):
        return replace(content, notes=(*content.notes, *notes))
    for note in notes:
        content.notes.add(note)
    return content


def _unknown(source: Source, head: bytes) -> UnknownFormatError:
    path, hint = source.path, _HINT
    if not head:
        return UnknownFormatError(path, "expected figures of KVM, found an empty file")
    if head.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        return UnknownFormatError(path, "expected text in UTF-8, found text in UTF-16", hint=_CONVERT)
    if b"\0" in head[:_SHOWN]:
        found = "other bytes: " + head[:8].hex(" ")
    else:
        beginning = " ".join(_decoded(head[:512]).split())[:_SHOWN]
        found = f"a text that begins {beginning!r}" if beginning else "nothing but blanks"
        hint = _TOO_LARGE if source.size > _MAX_TABLE_BYTES else hint
    return UnknownFormatError(path, f"expected figures of KVM in a format that is known, found {found}", hint=hint)
