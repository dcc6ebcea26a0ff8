"""Contents of the feature sections of perf.data: what a recording says of its machine, its tool and its events.

Layouts: tools/perf/util/header.c and trace-event-info.c of the Linux source, little endian.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from benchmarks.perf_data_writer import Attr


def string_feature(text: str) -> bytes:
    """Return a string as features hold it: u32 length, then the text padded with NUL to a multiple of 64."""
    raw = text.encode() + b"\0"
    raw += bytes(-len(raw) % 64)
    return struct.pack("<I", len(raw)) + raw


def cmdline_feature(arguments: Sequence[str]) -> bytes:
    """Return HEADER_CMDLINE."""
    return struct.pack("<I", len(arguments)) + b"".join(map(string_feature, arguments))


def event_desc_feature(events: Sequence[tuple[str, Attr]]) -> bytes:
    """Return HEADER_EVENT_DESC: the attr, name and ids of each event."""
    parts = [struct.pack("<II", len(events), len(events[0][1].raw))]
    for name, attr in events:
        ids = struct.pack(f"<{len(attr.ids)}Q", *attr.ids)
        parts += [attr.raw, struct.pack("<I", len(attr.ids)), string_feature(name), ids]
    return b"".join(parts)


def tracing_data(formats: Mapping[str, Iterable[str]], *, header_page: str, header_event: str) -> bytes:
    """Return HEADER_TRACING_DATA, version 0.6, of an x86-64 machine; `formats` are the format texts by system."""
    parts = [b"\x17\x08\x44tracing", b"0.6\0", struct.pack("<BBI", 0, 8, 4096)]
    for name, text in (("header_page", header_page), ("header_event", header_event)):
        parts += [name.encode() + b"\0", _counted(text)]
    parts.append(struct.pack("<I", 0))  # formats of the ftrace system
    parts.append(struct.pack("<I", len(formats)))
    for system, texts in formats.items():
        counted = [_counted(text) for text in texts]
        parts += [system.encode() + b"\0", struct.pack("<I", len(counted)), *counted]
    parts.append(struct.pack("<IIQ", 0, 0, 0))  # kallsyms, printk formats, saved command lines
    return b"".join(parts)


def _counted(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw
