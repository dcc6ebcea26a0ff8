"""Writes the records of an existing perf.data again, in another form: `rewrite(source, target, "pipe")`.

The source must be a finished little-endian file (not a stream) without compressed records. The events, their order
and every feature section stay as they are, save that a stream has no place for some of the sections (build ids).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kvmtrace.writers.perf_data_file import (
    FEATURE_BITS,
    FIRST_USER_TYPE,
    HEADER_BYTES,
    MAGIC,
    SECTION,
    Attr,
    Form,
    PerfDataWriter,
    RecordType,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COMPRESSED_TYPES = frozenset({RecordType.COMPRESSED, RecordType.COMPRESSED2})


def rewrite(source: Path, target: Path, form: Form | str) -> None:
    """Write the records of `source` to `target` in `form`. ValueError: not a file that can be rewritten."""
    content = source.read_bytes()
    attrs = read_attrs(content)
    features = read_features(content)
    with PerfDataWriter(target, form, attrs=attrs, features=features) as writer:
        for record_type, records in read_records(content):
            if record_type in COMPRESSED_TYPES:
                raise ValueError(f"{source}: has compressed records, which are not unpacked here")
            if record_type < FIRST_USER_TYPE:
                writer.write(records)
            else:
                writer.write_user(records)


def read_attrs(content: bytes) -> list[Attr]:
    """Return the attrs of a file. ValueError: not a finished little-endian file."""
    if content[:8] != MAGIC or struct.unpack_from("<Q", content, 8) != (HEADER_BYTES,):
        raise ValueError("expected a little-endian perf.data file of version 2")
    (entry_bytes,) = struct.unpack_from("<Q", content, 16)
    offset, size = SECTION.unpack_from(content, 24)
    attrs = []
    for entry in range(offset, offset + size, entry_bytes):
        ids_at = entry + entry_bytes - SECTION.size
        ids_offset, ids_bytes = SECTION.unpack_from(content, ids_at)
        attrs.append(Attr(content[entry:ids_at], struct.unpack_from(f"<{ids_bytes // 8}Q", content, ids_offset)))
    return attrs


def read_features(content: bytes) -> dict[int, bytes]:
    """Return the content of each feature section of a file, by its bit."""
    bits = int.from_bytes(content[72:HEADER_BYTES], "little")
    table = sum(SECTION.unpack_from(content, 40))  # right after the data
    features = {}
    for bit in (bit for bit in range(FEATURE_BITS) if bits >> bit & 1):
        offset, size = SECTION.unpack_from(content, table)
        features[bit] = content[offset : offset + size]
        table += SECTION.size
    return features


def read_records(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the type and the bytes of each record of a file, AUX data with the record they follow."""
    position, size = SECTION.unpack_from(content, 40)
    end = position + size
    while position < end:
        record_type, _, record_bytes = struct.unpack_from("<IHH", content, position)
        if record_bytes < 8 or position + record_bytes > end:
            raise ValueError(f"offset {position}: expected a record, found size {record_bytes}")
        if record_type == RecordType.AUXTRACE:
            record_bytes += struct.unpack_from("<Q", content, position + 8)[0]
        yield record_type, content[position : position + record_bytes]
        position += record_bytes
