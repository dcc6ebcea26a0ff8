"""Contents of the feature sections of perf.data: what a recording says of its machine, its tool and its events.

Layouts: tools/perf/util/header.c and trace-event-info.c of the Linux source. `order`: as in perf_data_writer.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from benchmarks.perf_data_writer import Attr


def string_feature(text: str, order: str = "<") -> bytes:
    """Return a string as features hold it: u32 length, then the text padded with NUL to a multiple of 64."""
    raw = text.encode() + b"\0"
    raw += bytes(-len(raw) % 64)
    return struct.pack(f"{order}I", len(raw)) + raw


def cmdline_feature(arguments: Sequence[str], order: str = "<") -> bytes:
    """Return HEADER_CMDLINE."""
    strings = [string_feature(argument, order) for argument in arguments]
    return struct.pack(f"{order}I", len(arguments)) + b"".join(strings)


def event_desc_feature(events: Sequence[tuple[str, Attr]], order: str = "<") -> bytes:
    """Return HEADER_EVENT_DESC: the attr, name and ids of each event."""
    parts = [struct.pack(f"{order}II", len(events), len(events[0][1].raw))]
    for name, attr in events:
        ids = struct.pack(f"{order}{len(attr.ids)}Q", *attr.ids)
        parts += [attr.raw, struct.pack(f"{order}I", len(attr.ids)), string_feature(name, order), ids]
    return b"".join(parts)


def tracing_data(
    formats: Mapping[str, Iterable[str]],
    *,
    header_page: str,
    header_event: str,
    version: str = "0.6",
    command_lines: str = "",
    order: str = "<",
) -> bytes:
    """Return HEADER_TRACING_DATA of a 64-bit machine; `formats` are the format texts by system.

    A trace.dat of `version` 6 begins with the same; `command_lines` are the names of its threads: `pid name` lines.
    """
    parts = [b"\x17\x08\x44tracing", version.encode() + b"\0", struct.pack(f"{order}BBI", order == ">", 8, 4096)]
    for name, text in (("header_page", header_page), ("header_event", header_event)):
        parts += [name.encode() + b"\0", _counted(text, order)]
    parts.append(struct.pack(f"{order}I", 0))  # formats of the ftrace system
    parts.append(struct.pack(f"{order}I", len(formats)))
    for system, texts in formats.items():
        counted = [_counted(text, order) for text in texts]
        parts += [system.encode() + b"\0", struct.pack(f"{order}I", len(counted)), *counted]
    parts.append(struct.pack(f"{order}II", 0, 0))  # kallsyms, printk formats
    parts.append(_counted(command_lines, order))
    return b"".join(parts)


def _counted(text: str, order: str) -> bytes:
    raw = text.encode()
    return struct.pack(f"{order}Q", len(raw)) + raw
