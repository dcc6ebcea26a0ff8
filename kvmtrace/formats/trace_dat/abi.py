"""Numbers of trace.dat, versions 6 and 7 (trace-cmd's trace-cmd.dat.v6.5.txt and v7.5.txt), and what is believed."""

from __future__ import annotations

from enum import IntEnum, IntFlag

from kvmtrace.formats.tracing_data import MAGIC

VERSIONS = (6, 7)
SECTIONS_SINCE = 7
"""Version from which on a file is made of sections, and its data may be compressed."""

OPTIONS_TAG = b"options  \0"
FLYRECORD_TAG = b"flyrecord\0"
LATENCY_TAG = b"latency  \0"
TAG_BYTES = 10
SECTION_HEADER_BYTES = 16  # u16 id, u16 flags, u32 description, u64 size
SECTION_COMPRESSED = 1

MAX_CPUS = 1 << 16
MAX_OPTION_SECTIONS = 1 << 12
MAX_OPTIONS = 1 << 16
MAX_OPTION_BYTES = 1 << 24
MAX_SECTION_BYTES = 1 << 27  # unpacked; the format texts of a whole kernel are 6 MB
MAX_CHUNK_BYTES = 1 << 26  # unpacked; trace-cmd packs ten pages at a time
MAX_PAGE_BYTES = 1 << 23  # the largest sub-buffer: 128 pages of 64 KiB (kernel/trace/trace.c, buffer_subbuf_size_kb)

__all__ = ["MAGIC", "Option", "PageFlag"]


class Option(IntEnum):
    """Options, and in version 7 the sections of the same ids."""

    DONE = 0
    DATE = 1
    CPUSTAT = 2
    BUFFER = 3
    TRACECLOCK = 4
    UNAME = 5
    HOOK = 6
    OFFSET = 7
    CPUCOUNT = 8
    VERSION = 9
    PROCMAPS = 10
    TRACEID = 11
    TIME_SHIFT = 12
    GUEST = 13
    TSC2NSEC = 14
    STRINGS = 15
    HEADER_INFO = 16
    FTRACE_EVENTS = 17
    EVENT_FORMATS = 18
    KALLSYMS = 19
    PRINTK = 20
    CMDLINES = 21
    BUFFER_TEXT = 22
    BTF_FILE = 23
    LAST_BOOT_INFO = 24
    MODULES_FILE = 25


class PageFlag(IntFlag):
    """Bits of a page's commit field (kernel/trace/ring_buffer.c, libtraceevent kbuffer-parse.c)."""

    USED = (1 << 27) - 1
    MISSED_STORED = 1 << 30
    MISSED_EVENTS = 1 << 31


class EventType(IntEnum):
    """Values of type_len that are no data; 1 to 28 are the words of data, 0 says that a length stands before them."""

    DATA_MAX = 28
    PADDING = 29
    TIME_EXTEND = 30
    TIME_STAMP = 31
