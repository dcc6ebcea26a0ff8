"""trace.dat of versions 6 and 7, written from their grammar (trace-cmd.dat.v6.5.txt, v7.5.txt): made-up recordings."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import zstandard

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAGIC = b"\x17\x08\x44tracing"
DATE, CPUSTAT, BUFFER, TRACECLOCK, UNAME, OFFSET, CPUCOUNT, VERSION = 1, 2, 3, 4, 5, 7, 8, 9
TRACEID, TIME_SHIFT, GUEST, TSC2NSEC = 11, 12, 13, 14
HEADER_INFO, FTRACE_EVENTS, EVENT_FORMATS, KALLSYMS, PRINTK, CMDLINES, BUFFER_TEXT = 16, 17, 18, 19, 20, 21, 22
INTERPOLATE = 1  # a flag of TIME_SHIFT
CHUNK_PAGES = 3


@dataclass(slots=True)
class BufferContent:
    """A ring buffer: the pages of each CPU, behind each other. `text`: that of a latency tracer instead."""

    cpus: dict[int, bytes]
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
    header_page: str | None = None
    header_event: str = "# compressed entry header\n\ttype_len    :    5 bits\n\ttime_delta  :   27 bits\n"

    def content(self) -> bytes:
        """Return the bytes of the file."""
        return self._version6() if self.version == 6 else _Sections(self).content()

    def pack(self, layout: str, *values: int) -> bytes:
        """Return numbers in the file's byte order."""
        return struct.pack(self.order + layout, *values)

    def initial(self) -> bytes:
        """Return what both versions begin with."""
        numbers = self.pack("BBI", self.order == ">", self.long_bytes, self.page_bytes)
        return MAGIC + str(self.version).encode() + b"\0" + numbers

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
            yield TRACECLOCK, f"[{self.buffers[0].clock}] global other\0".encode()

    def option(self, number: int, data: bytes) -> bytes:
        """Return one option."""
        return self.pack("HI", number, len(data)) + data

    def _version6(self) -> bytes:
        cpus = 1 + max((cpu for buffer in self.buffers for cpu in buffer.cpus), default=0)
        head = self.initial() + self.header_info() + self.ftrace_formats() + self.event_formats()
        head += self.symbols() + self.symbols() + self.saved_threads() + self.pack("I", cpus)
        options = b"".join(self.option(*option) for option in self.all_options())
        names = [buffer.name.encode() + b"\0" for buffer in self.buffers[1:]]
        room = sum(len(self.option(BUFFER, bytes(8) + name)) for name in names)
        at = len(head) + 10 + len(options) + room + 2
        tables, places = [], []
        for buffer in self.buffers:
            places.append(at)
            table = self._table6(buffer, cpus, at)
            tables.append(table)
            at += len(table)
        told = zip(places[1:], names, strict=True)
        options += b"".join(self.option(BUFFER, self.pack("Q", place) + name) for place, name in told)
        return head + b"options  \0" + options + bytes(2) + b"".join(tables)

    def _table6(self, buffer: BufferContent, cpus: int, at: int) -> bytes:
        if buffer.text is not None:
            return b"latency  \0" + buffer.text.encode()
        clock = f"[{buffer.clock}]".encode() + b"\0" if self.with_clock else b""
        behind = self.pack("Q", len(clock)) + clock if clock else b""
        start = at + 10 + 16 * cpus + len(behind)
        start += -start % buffer.page_bytes
        table, data = [], b""
        for cpu in range(cpus):
            content = buffer.cpus.get(cpu, b"")
            table.append(self.pack("QQ", start + len(data) if content else 0, len(content)))
            data += content
        head = b"flyrecord\0" + b"".join(table) + behind
        return head.ljust(start - at, b"\0") + data


class _Sections:
    """The sections of version 7."""

    def __init__(self, file: TraceDat) -> None:
        self._file = file
        start = file.initial() + file.compression.encode() + b"\0" + b"1.0\0"
        self._raw = bytearray(start + bytes(8))
        self._place_of_options = len(start)  # where the place of the next options is to be written

    def content(self) -> bytes:
        """Return the bytes of the file."""
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
        return bytes(self._raw)

    def _packed(self, content: bytes) -> bytes:
        packed = zlib.compress(content) if self._file.compression == "zlib" else zstandard.compress(content)
        return self._file.pack("II", len(packed), len(content)) + packed

    def _section(self, number: int, content: bytes, *, flags: int | None = None) -> int:
        file, at = self._file, len(self._raw)
        packs = file.compression != "none" and flags is None
        body = self._packed(content) if packs else content
        self._raw += file.pack("HHIQ", number, int(packs) if flags is None else flags, 0, len(body)) + body
        return at

    def _options(self, options: Iterable[tuple[int, bytes]]) -> None:
        file = self._file
        body = b"".join(file.option(*option) for option in options)
        at = self._section(0, body + file.option(0, bytes(8)), flags=0)
        self._raw[self._place_of_options : self._place_of_options + 8] = file.pack("Q", at)
        self._place_of_options = len(self._raw) - 8

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
            self._raw += bytes(-len(self._raw) % buffer.page_bytes)
            place = len(self._raw)
            data = self._chunks(content, buffer.page_bytes) if compressed else content
            self._raw += data
            table += file.pack("IQQ", cpu, place, len(data) - (4 if compressed else 0))
        return BUFFER, head + file.pack("II", buffer.page_bytes, len(buffer.cpus)) + table

    def _chunks(self, content: bytes, page_bytes: int) -> bytes:
        size = CHUNK_PAGES * page_bytes
        chunks = [self._packed(content[at : at + size]) for at in range(0, len(content), size)]
        return self._file.pack("I", len(chunks)) + b"".join(chunks)


def time_shift(
    flags: int, samples: list[tuple[int, int, int, int]], *, cpus: int = 1, fractions: bool = True
) -> tuple[int, bytes]:
    """Return a TIME_SHIFT option; a sample is time, offset, ratio and its fraction bits."""
    times, offsets, ratios, bits = zip(*samples, strict=True)
    one_cpu = struct.pack(f"<I{len(samples)}Q", len(samples), *times)
    one_cpu += struct.pack(f"<{len(samples)}q{len(samples)}Q", *offsets, *ratios)
    last = struct.pack(f"<{len(samples)}Q", *bits) if fractions else b""
    return TIME_SHIFT, struct.pack("<QII", 0xBEEF, flags, cpus) + one_cpu * cpus + last * cpus
