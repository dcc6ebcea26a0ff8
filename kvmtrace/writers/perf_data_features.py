"""Contents of the feature sections of perf.data: what a recording says of its machine, its tool and its events.

Layouts: tools/perf/util/header.c and trace-event-info.c of the Linux source. `order`: as in perf_data_file.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kvmtrace.writers.trace_dat_file import TraceDat

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kvmtrace.writers.perf_data_file import Attr

VERSION = "0.6"
"""Of tracing data, as perf writes them."""


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
    formats: Mapping[str, Sequence[str]], *, header_page: str, header_event: str, order: str = "<"
) -> bytes:
    """Return HEADER_TRACING_DATA of a 64-bit machine; `formats` are the format texts by system."""
    texts = {system: list(own) for system, own in formats.items()}
    return TraceDat(texts, [], order, header_page=header_page, header_event=header_event).tracing_data(VERSION)
