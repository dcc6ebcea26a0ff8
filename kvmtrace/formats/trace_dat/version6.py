"""trace.dat version 6: one part behind the other, then options, then the table of the CPUs' pages."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kvmtrace.formats.trace_dat.abi import (
    FLYRECORD_TAG,
    LATENCY_TAG,
    MAX_CPUS,
    MAX_OPTIONS,
    OPTIONS_TAG,
    TAG_BYTES,
    Option,
)
from kvmtrace.formats.trace_dat.container import (
    Buffer,
    CpuData,
    OptionData,
    old_event_headers,
    page_header,
    thread_names,
)
from kvmtrace.formats.tracing_data import Cursor, TracingDataError, system_formats
from kvmtrace.recording import Note

if TYPE_CHECKING:
    from kvmtrace.formats.trace_dat.container import TraceFile

_MAX_CLOCKS = 4096  # bytes of the text that names the clocks


def read_version6(cursor: Cursor, file: TraceFile) -> None:
    """Read all but the pages, from behind the page size. TracingDataError: it is damaged."""
    read_header_info(cursor, file)
    read_ftrace_formats(cursor, file)
    read_event_formats(cursor, file)
    for what in ("kallsyms", "printk formats"):
        size = cursor.number(4, f"size of {what}")
        cursor.skip(size, what)
        file.unread[what] = size
    file.threads = thread_names(cursor.text("saved command lines"))
    file.cpus = _cpu_count(cursor)
    tag = cursor.take(TAG_BYTES, "tag")
    if tag == OPTIONS_TAG:
        _read_options(cursor, file)
        tag = cursor.take(TAG_BYTES, "tag")
    file.buffers.append(_read_buffer(cursor, tag, "", file.cpus, file))
    _read_instances(cursor, file)


def read_header_info(cursor: Cursor, file: TraceFile) -> None:
    """Read the texts that say how pages and events begin."""
    _expect(cursor, "header_page")
    file.page, note = page_header(cursor.text("header_page"), file.long_bytes)
    if note is not None:
        file.notes.append(note)
    _expect(cursor, "header_event")
    file.old_events = old_event_headers(cursor.text("header_event"))


def read_ftrace_formats(cursor: Cursor, file: TraceFile) -> None:
    """Read the formats of the system ftrace."""
    for _ in range(cursor.count("ftrace formats")):
        file.formats.add("ftrace", cursor.text("ftrace format"))


def read_event_formats(cursor: Cursor, file: TraceFile) -> None:
    """Read the formats of all other systems."""
    for system, text in system_formats(cursor):
        file.formats.add(system, text)


def _expect(cursor: Cursor, name: str) -> None:
    at = cursor.at
    if (found := cursor.string(name)) != name:
        raise TracingDataError(f"expected {name} at byte {at}, found {found[:40]!r}", at)


def _cpu_count(cursor: Cursor) -> int:
    cpus = cursor.number(4, "number of CPUs")
    if cpus > MAX_CPUS:
        raise TracingDataError(f"expected at most {MAX_CPUS} CPUs at byte {cursor.at - 4}, found {cpus}", cursor.at - 4)
    return cpus


def _read_options(cursor: Cursor, file: TraceFile) -> None:
    for _ in range(MAX_OPTIONS):
        option = cursor.number(2, "option")
        if option == Option.DONE:
            return
        size = cursor.number(4, "size of an option")
        offset = cursor.at
        file.options.append(OptionData(option, cursor.take(size, f"option {option}"), offset))
    raise TracingDataError(f"expected at most {MAX_OPTIONS} options, found more", cursor.at)


def _read_buffer(cursor: Cursor, tag: bytes, name: str, cpus: int, file: TraceFile) -> Buffer:
    """Read what stands behind the tag of a buffer: its table of CPUs, and the clocks where they were written."""
    buffer = Buffer(name, None, file.page_bytes)
    if tag == LATENCY_TAG:
        buffer.latency = True
        return buffer
    if tag != FLYRECORD_TAG:
        at = cursor.at - TAG_BYTES
        raise TracingDataError(f"expected flyrecord or latency at byte {at}, found {tag!r}", at)
    for cpu in range(cpus):
        offset, size = cursor.number(8, "place of a CPU's pages"), cursor.number(8, "size of a CPU's pages")
        buffer.cpus.append(CpuData(cpu, offset, size))
    if any(option.id == Option.TRACECLOCK for option in file.options):
        buffer.clock = _selected_clock(cursor)
    return buffer


def _selected_clock(cursor: Cursor) -> str | None:
    """Read the clock's text behind the table. None: it is not there (early trace-cmd wrote over it)."""
    start = cursor.at
    try:
        size = cursor.number(8, "size of the clock's text")
        if size <= _MAX_CLOCKS:
            return selected_clock(cursor.take(size, "clock"))
    except TracingDataError:
        pass
    cursor.at = start
    return None


def selected_clock(raw: bytes) -> str | None:
    """Return the clock in brackets: `[local] global counter …`."""
    text = raw.split(b"\0", 1)[0].decode(errors="backslashreplace")
    _, bracket, rest = text.partition("[")
    clock, closed, _ = rest.partition("]")
    return clock.strip() or None if bracket and closed else None


def _read_instances(cursor: Cursor, file: TraceFile) -> None:
    """Read the tables of the instances: a BUFFER option says where, a CPUCOUNT behind it how many CPUs there are."""
    options = file.options
    for place, option in enumerate(options):
        if option.id != Option.BUFFER:
            continue
        behind = options[place + 1] if place + 1 < len(options) else None
        cpus = file.cpus or 0
        if behind is not None and behind.id == Option.CPUCOUNT and len(behind.data) >= 4:  # noqa: PLR2004 - a u32
            cpus = min(*struct.unpack_from(file.order + "I", behind.data), MAX_CPUS)
        try:
            inside = Cursor.over(option.data, file.order)
            cursor.at = inside.number(8, "place of a buffer")
            name = inside.string("name of a buffer")
            file.buffers.append(_read_buffer(cursor, cursor.take(TAG_BYTES, "tag"), name, cpus, file))
        except TracingDataError as error:
            file.notes.append(Note(f"offset {option.offset}", f"a buffer that cannot be read: {error}"))
