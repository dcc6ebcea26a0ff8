"""The container of a trace.dat, versions 6 and 7: what stands around the pages of ring buffers.

Layout: Documentation/trace-cmd/trace-cmd.dat.v6.5.txt and trace-cmd.dat.v7.5.txt of trace-cmd. The pages of a CPU
may be a file: they are copied piece by piece.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass, field
from os import SEEK_END
from typing import TYPE_CHECKING

import zstandard

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import IO, BinaryIO

MAGIC = b"\x17\x08\x44tracing"
DATE, CPUSTAT, BUFFER, TRACECLOCK, UNAME, OFFSET, CPUCOUNT, VERSION = 1, 2, 3, 4, 5, 7, 8, 9
TRACEID, TIME_SHIFT, GUEST, TSC2NSEC = 11, 12, 13, 14
HEADER_INFO, FTRACE_EVENTS, EVENT_FORMATS, KALLSYMS, PRINTK, CMDLINES, BUFFER_TEXT = 16, 17, 18, 19, 20, 21, 22
INTERPOLATE = 1  # a flag of TIME_SHIFT
CHUNK_PAGES = 3
VERSION_6 = 6
PIECE_BYTES = 1 << 20


class FilePages:
    """Pages that were written to a file, which are read piece by piece."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._size = file.seek(0, SEEK_END)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        first, behind, _ = part.indices(self._size)
        self._file.seek(first)
        return self._file.read(behind - first)


Pages = bytes | FilePages
"""The pages of a CPU behind each other."""


@dataclass(slots=True)
class BufferContent:
    """A ring buffer: the pages of each CPU, behind each other. `text`: that of a latency tracer instead."""

    cpus: Mapping[int, Pages]
    name: str = ""
    clock: str = "local"
    page_bytes: int = 4096
    text: str | None = None


@dataclass(slots=True)
class TraceDat:
    """A trace.dat that is to be written; `formats` are the format texts by system."""

    formats: Mapping[str, list[str]]
    buffers: list[BufferContent]
    order: str = "<"
    version: int = 7
    compression: str = "none"
    long_bytes: int = 8
    commit_bytes: int = 8
    page_bytes: int = 4096
    threads: Mapping[int, str] = field(default_factory=dict)
    options: list[tuple[int, bytes]] = field(default_factory=list)
    with_clock: bool = True
    clocks: bytes | None = None  # what tracefs' trace_clock says; None: the clock of the top buffer, and others
    header_page: str | None = None
    header_event: str = "# compressed entry header\n\ttype_len    :    5 bits\n\ttime_delta  :   27 bits\n"

    def content(self) -> bytes:
        """Return the bytes of the file."""
        output = io.BytesIO()
        self.write(output)
        return output.getvalue()

    def write(self, output: BinaryIO) -> None:
        """Write the file; `output` can be read from its place of any byte: it is sought in."""
        if self.version == VERSION_6:
            for content in self._version6():
                output.writelines(_pieces(content))
        else:
            _Sections(self, output).write()

    def pack(self, layout: str, *values: int) -> bytes:
        """Return numbers in the file's byte order."""
        return struct.pack(self.order + layout, *values)

    def initial(self, version: str | None = None) -> bytes:
        """Return what all versions begin with."""
        numbers = self.pack("BBI", self.order == ">", self.long_bytes, self.page_bytes)
        return MAGIC + (version or str(self.version)).encode() + b"\0" + numbers

    def tracing_data(self, version: str | None = None) -> bytes:
        """Return what a file of version 6 begins with, and perf's HEADER_TRACING_DATA is: the formats of all events."""
        head = self.initial(version) + self.header_info() + self.ftrace_formats() + self.event_formats()
        return head + self.symbols() + self.symbols() + self.saved_threads()

    def header_info(self) -> bytes:
        """Return header_page and header_event."""
        text = self.header_page
        if text is None:
            data = 8 + self.commit_bytes
            text = (
                "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n"
                f"\tfield: local_t commit;\toffset:8;\tsize:{self.commit_bytes};\tsigned:1;\n"
                "\tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;\n"
                f"\tfield: char data;\toffset:{data};\tsize:{self.buffers[0].page_bytes - data};\tsigned:1;\n"
            )
        return b"header_page\0" + self._text(text) + b"header_event\0" + self._text(self.header_event)

    def _text(self, text: str) -> bytes:
        return self.pack("Q", len(text.encode())) + text.encode()

    def ftrace_formats(self) -> bytes:
        """Return the formats of the system ftrace."""
        texts = self.formats.get("ftrace", [])
        return self.pack("I", len(texts)) + b"".join(map(self._text, texts))

    def event_formats(self) -> bytes:
        """Return the formats of all other systems."""
        systems = {system: texts for system, texts in self.formats.items() if system != "ftrace"}
        parts = [self.pack("I", len(systems))]
        for system, texts in systems.items():
            parts += [system.encode() + b"\0" + self.pack("I", len(texts)), *map(self._text, texts)]
        return b"".join(parts)

    def symbols(self) -> bytes:
        """Return an empty kallsyms or printk part."""
        return self.pack("I", 0)

    def saved_threads(self) -> bytes:
        """Return the names of the threads."""
        return self._text("".join(f"{tid} {name}\n" for tid, name in self.threads.items()))

    def all_options(self) -> Iterable[tuple[int, bytes]]:
        """Return the options, the clock of the top buffer among them."""
        yield from self.options
        if self.with_clock:
            default = f"[{self.buffers[0].clock}] global other\0".encode()
            yield TRACECLOCK, default if self.clocks is None else self.clocks

    def option(self, number: int, data: bytes) -> bytes:
        """Return one option."""
        return self.pack("HI", number, len(data)) + data

    def _version6(self) -> Iterator[Pages]:
        cpus = 1 + max((cpu for buffer in self.buffers for cpu in buffer.cpus), default=0)
        head = self.tracing_data() + self.pack("I", cpus)
        options = b"".join(self.option(*option) for option in self.all_options())
        names = [buffer.name.encode() + b"\0" for buffer in self.buffers[1:]]
        room = sum(len(self.option(BUFFER, bytes(8) + name)) for name in names)
        at = len(head) + 10 + len(options) + room + 2
        tables: list[list[Pages]] = []
        places = []
        for buffer in self.buffers:
            places.append(at)
            table = self._table6(buffer, cpus, at)
            tables.append(table)
            at += sum(map(len, table))
        told = zip(places[1:], names, strict=True)
        options += b"".join(self.option(BUFFER, self.pack("Q", place) + name) for place, name in told)
        yield head + b"options  \0" + options + bytes(2)
        for table in tables:
            yield from table

    def _table6(self, buffer: BufferContent, cpus: int, at: int) -> list[Pages]:
        """Return the table of a buffer that stands at `at`, and behind it the pages of its CPUs."""
        if buffer.text is not None:
            return [b"latency  \0" + buffer.text.encode()]
        told = f"[{buffer.clock}]\0".encode() if self.clocks is None else self.clocks
        clock = told if self.with_clock else b""
        behind = self.pack("Q", len(clock)) + clock if clock else b""
        start = at + 10 + 16 * cpus + len(behind)
        start += -start % buffer.page_bytes
        table, data = [], 0
        for cpu in range(cpus):
            size = len(buffer.cpus.get(cpu, b""))
            table.append(self.pack("QQ", start + data if size else 0, size))
            data += size
        head = b"flyrecord\0" + b"".join(table) + behind
        return [head.ljust(start - at, b"\0"), *(buffer.cpus[cpu] for cpu in sorted(buffer.cpus))]


class _Sections:
    """The sections of version 7."""

    def __init__(self, file: TraceDat, output: BinaryIO) -> None:
        self._file = file
        self._output = output
        start = file.initial() + file.compression.encode() + b"\0" + b"1.0\0"
        output.write(start + bytes(8))
        self._place_of_options = len(start)  # where the place of the next options is to be written

    def write(self) -> None:
        """Write all sections."""
        file = self._file
        parts = {
            HEADER_INFO: file.header_info(),
            FTRACE_EVENTS: file.ftrace_formats(),
            EVENT_FORMATS: file.event_formats(),
            KALLSYMS: file.symbols(),
            PRINTK: file.symbols(),
            CMDLINES: file.saved_threads(),
        }
        options = [(number, file.pack("Q", self._section(number, part))) for number, part in parts.items()]
        self._options([*options, *file.all_options()])
        for buffer in file.buffers:
            self._options([self._buffer(buffer)])

    def _packed(self, content: bytes) -> bytes:
        packed = zlib.compress(content) if self._file.compression == "zlib" else zstandard.compress(content)
        return self._file.pack("II", len(packed), len(content)) + packed

    def _section(self, number: int, content: bytes, *, flags: int | None = None) -> int:
        file, at = self._file, self._output.tell()
        packs = file.compression != "none" and flags is None
        body = self._packed(content) if packs else content
        self._output.write(file.pack("HHIQ", number, int(packs) if flags is None else flags, 0, len(body)) + body)
        return at

    def _options(self, options: Iterable[tuple[int, bytes]]) -> None:
        file = self._file
        body = b"".join(file.option(*option) for option in options)
        at = self._section(0, body + file.option(0, bytes(8)), flags=0)
        end = self._output.tell()
        self._output.seek(self._place_of_options)
        self._output.write(file.pack("Q", at))
        self._output.seek(end)
        self._place_of_options = end - 8

    def _buffer(self, buffer: BufferContent) -> tuple[int, bytes]:
        file, compressed = self._file, self._file.compression != "none"
        number = BUFFER if buffer.text is None else BUFFER_TEXT
        text = b"" if buffer.text is None else buffer.text.encode()
        at = self._section(number, text, flags=int(compressed))
        head = file.pack("Q", at) + buffer.name.encode() + b"\0" + buffer.clock.encode() + b"\0"
        if buffer.text is not None:
            return BUFFER_TEXT, head
        table = b""
        for cpu, content in buffer.cpus.items():
            self._output.write(bytes(-self._output.tell() % buffer.page_bytes))
            place = self._output.tell()
            self._output.writelines(self._chunks(content, buffer.page_bytes) if compressed else _pieces(content))
            size = self._output.tell() - place - (4 if compressed else 0)  # the number of chunks does not count
            table += file.pack("IQQ", cpu, place, size)
        return BUFFER, head + file.pack("II", buffer.page_bytes, len(buffer.cpus)) + table

    def _chunks(self, content: Pages, page_bytes: int) -> Iterable[bytes]:
        size = CHUNK_PAGES * page_bytes
        places = range(0, len(content), size)
        yield self._file.pack("I", len(places))
        for at in places:
            yield self._packed(content[at : at + size])


def _pieces(content: Pages) -> Iterator[bytes]:
    return (content[at : at + PIECE_BYTES] for at in range(0, len(content), PIECE_BYTES))


def time_shift(
    flags: int, samples: list[tuple[int, int, int, int]], *, cpus: int = 1, fractions: bool = True
) -> tuple[int, bytes]:
    """Return a TIME_SHIFT option; a sample is time, offset, ratio and its fraction bits."""
    times, offsets, ratios, bits = zip(*samples, strict=True)
    one_cpu = struct.pack(f"<I{len(samples)}Q", len(samples), *times)
    one_cpu += struct.pack(f"<{len(samples)}q{len(samples)}Q", *offsets, *ratios)
    last = struct.pack(f"<{len(samples)}Q", *bits) if fractions else b""
    return TIME_SHIFT, struct.pack("<QII", 0xBEEF, flags, cpus) + one_cpu * cpus + last * cpus
