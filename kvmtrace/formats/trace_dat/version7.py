"""trace.dat version 7: sections that options point at, each of which may be compressed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmtrace.errors import InputError
from kvmtrace.formats.trace_dat.abi import (
    MAX_CPUS,
    MAX_OPTION_BYTES,
    MAX_OPTION_SECTIONS,
    MAX_OPTIONS,
    MAX_SECTION_BYTES,
    SECTION_COMPRESSED,
    SECTION_HEADER_BYTES,
    Option,
)
from kvmtrace.formats.trace_dat.container import Buffer, CpuData, OptionData, thread_names
from kvmtrace.formats.trace_dat.packing import ALGORITHMS, PackingError, unpack
from kvmtrace.formats.trace_dat.version6 import read_event_formats, read_ftrace_formats, read_header_info
from kvmtrace.formats.tracing_data import Cursor, TracingDataError
from kvmtrace.recording import Note

if TYPE_CHECKING:
    from kvmtrace.formats.source import Source
    from kvmtrace.formats.trace_dat.container import TraceFile

_DONE_BYTES = 8
_READ_SECTIONS = {Option.HEADER_INFO, Option.FTRACE_EVENTS, Option.EVENT_FORMATS, Option.CMDLINES}
_UNREAD_SECTIONS = {
    Option.KALLSYMS: "kallsyms",
    Option.PRINTK: "printk formats",
    Option.BTF_FILE: "BTF",
    Option.MODULES_FILE: "modules",
}


def read_version7(source: Source, cursor: Cursor, file: TraceFile) -> None:
    """Read all but the pages, from behind the page size. InputError: there are no options that could be read."""
    file.compression = cursor.string("name of the compression")
    cursor.string("version of the compression")
    if file.compression not in ALGORITHMS:
        raise InputError(
            source.path,
            f"expected a file that is compressed with one of {', '.join(ALGORITHMS)}, found {file.compression[:40]!r}",
            where=cursor.at,
            hint="trace-cmd convert --compression none -i OLD -o NEW",
        )
    sections = _Sections(source, file)
    sections.read_options(cursor.number(8, "place of the options"))
    if not file.options:
        why = f": {file.notes[0].what}" if file.notes else ""
        raise InputError(source.path, f"expected options, found none{why}", hint="the file is damaged or cut off")
    for option in list(file.options):
        sections.follow(option)


class _Sections:
    """The sections of one file; a damaged one is noted and costs itself only."""

    def __init__(self, source: Source, file: TraceFile) -> None:
        self._source = source
        self._file = file
        self._followed: set[int] = set()
        self._room = MAX_SECTION_BYTES  # for all sections together: forged ones may share their bytes

    def _note(self, offset: int, what: str) -> None:
        self._file.notes.append(Note(f"offset {offset}", what))

    def _header(self, offset: int, expected: int) -> tuple[bool, int]:
        """Return whether the section is compressed, and the bytes that follow. TracingDataError: there is none."""
        cursor = Cursor(self._source.read_at, self._source.size, start=offset, order=self._file.order)
        found = cursor.number(2, "section")
        if found != expected:
            raise TracingDataError(f"expected section {expected} at byte {offset}, found {found}", offset)
        flags = cursor.number(2, "flags of a section")
        cursor.number(4, "description of a section")
        size = cursor.number(8, "size of a section")
        return bool(flags & SECTION_COMPRESSED), size

    def _content(self, offset: int, expected: int) -> bytes:
        """Return the unpacked bytes of a section. TracingDataError: it is damaged."""
        compressed, size = self._header(offset, expected)
        start = offset + SECTION_HEADER_BYTES
        if size > min(self._room, self._source.size - start):
            raise TracingDataError(f"expected {size} bytes of section {expected} at byte {start}, found fewer", start)
        raw = self._source.read_at(start, size)
        if compressed:
            raw = self._unpacked(raw, start)
        self._room -= len(raw)
        return raw

    def _unpacked(self, raw: bytes, start: int) -> bytes:
        header = Cursor.over(raw, self._file.order)
        packed, size = header.number(4, "size of packed data"), header.number(4, "size of unpacked data")
        if size > self._room or self._file.compression == "none":
            raise TracingDataError(f"expected a packed section at byte {start}, found {size} bytes unpacked", start)
        if not self._source.allowance.take(size):
            raise self._source.allowance.exceeded(self._source.path, self._file.compression)
        try:
            return unpack(header.take(packed, "packed data"), size, self._file.compression)
        except PackingError as error:
            raise TracingDataError(str(error), start) from None

    def read_options(self, offset: int) -> None:
        """Read the options of all sections, each of which says where the next one is."""
        for _ in range(MAX_OPTION_SECTIONS):
            if offset == 0:
                return
            if offset in self._followed:
                self._note(offset, "expected further options, found some that are read already")
                return
            self._followed.add(offset)
            try:
                cursor = Cursor.over(self._content(offset, Option.DONE), self._file.order)
                offset = self._read_section_of_options(cursor, offset)
            except TracingDataError as error:
                self._note(offset, f"options: {error}")
                return
        self._note(offset, f"expected at most {MAX_OPTION_SECTIONS} sections of options, found more")

    def _read_section_of_options(self, cursor: Cursor, offset: int) -> int:
        """Read one section's options and return the place of the next section, 0: there is none."""
        options = self._file.options
        while len(options) < MAX_OPTIONS:
            option, size = cursor.number(2, "option"), cursor.number(4, "size of an option")
            if option == Option.DONE:
                return cursor.number(_DONE_BYTES, "place of the next options") if size >= _DONE_BYTES else 0
            if size > MAX_OPTION_BYTES:
                raise TracingDataError(f"expected an option, found one of {size} bytes", cursor.at)
            place = offset + SECTION_HEADER_BYTES + cursor.at
            options.append(OptionData(option, cursor.take(size, f"option {option}"), place))
        raise TracingDataError(f"expected at most {MAX_OPTIONS} options, found more", cursor.at)

    def follow(self, option: OptionData) -> None:
        """Read the section that an option points at."""
        try:
            if option.id in (Option.BUFFER, Option.BUFFER_TEXT):
                self._file.buffers.append(self._buffer(option))
            elif option.id in _READ_SECTIONS:
                offset = Cursor.over(option.data, self._file.order).number(8, "place of a section")
                self._read_section(option.id, offset)
            elif option.id in _UNREAD_SECTIONS:
                offset = Cursor.over(option.data, self._file.order).number(8, "place of a section")
                _, size = self._header(offset, option.id)
                self._file.unread[_UNREAD_SECTIONS[Option(option.id)]] = size
            elif option.id == Option.CPUCOUNT:
                self._file.cpus = Cursor.over(option.data, self._file.order).number(4, "number of CPUs")
        except TracingDataError as error:
            name = Option(option.id).name
            self._note(option.offset, f"what option {name} points at cannot be read: {error}")

    def _read_section(self, section: int, offset: int) -> None:
        cursor = Cursor.over(self._content(offset, section), self._file.order)
        if section == Option.HEADER_INFO:
            read_header_info(cursor, self._file)
        elif section == Option.FTRACE_EVENTS:
            read_ftrace_formats(cursor, self._file)
        elif section == Option.EVENT_FORMATS:
            read_event_formats(cursor, self._file)
        else:
            self._file.threads |= thread_names(cursor.text("saved command lines"))

    def _buffer(self, option: OptionData) -> Buffer:
        inside = Cursor.over(option.data, self._file.order)
        offset = inside.number(8, "place of a buffer")
        name, clock = inside.string("name of a buffer"), inside.string("clock of a buffer")
        buffer = Buffer(name, clock or None, self._file.page_bytes, latency=option.id == Option.BUFFER_TEXT)
        if buffer.latency:
            return buffer
        buffer.page_bytes = inside.number(4, "page size of a buffer")
        cpus = inside.number(4, "number of CPUs of a buffer")
        if cpus > MAX_CPUS:
            raise TracingDataError(f"expected at most {MAX_CPUS} CPUs in a buffer, found {cpus}", option.offset)
        for _ in range(cpus):
            cpu = inside.number(4, "CPU")
            place, size = inside.number(8, "place of a CPU's pages"), inside.number(8, "size of a CPU's pages")
            if cpu < MAX_CPUS:
                buffer.cpus.append(CpuData(cpu, place, size))
            else:
                self._note(
                    option.offset, f"expected a CPU below {MAX_CPUS}, found {cpu}: its {size} bytes are not read"
                )
        buffer.compressed, _ = self._header(offset, Option.BUFFER)
        return buffer
