"""The file header and the feature sections: what a perf.data says of its recording (tools/perf/util/header.c)."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kvmtrace.errors import InputError
from kvmtrace.formats.perf_data.abi import (
    CLOCK_NAMES,
    FEATURE_BITS,
    FILE_HEADER_SIZE,
    MAGIC_SWAPPED,
    MAGIC_V1,
    MAX_ATTRIBUTES,
    PIPE_HEADER_SIZE,
    Feature,
)
from kvmtrace.formats.perf_data.attributes import Attribute, parse_attribute
from kvmtrace.recording import Facts, Note

if TYPE_CHECKING:
    from kvmtrace.formats.source import Source

_MAX_SECTION = 1 << 28
_SECTION = 16  # struct perf_file_section: u64 offset, u64 size
_NS = 1_000_000_000


@dataclass(slots=True)
class FileHeader:
    """What comes before the records, and the sections behind them."""

    order: str  # "<" or ">": byte order of the recording
    pipe: bool
    data_start: int
    data_end: int
    attributes: list[Attribute] = field(default_factory=list)
    features: dict[int, bytes] = field(default_factory=dict)
    feature_offsets: dict[int, int] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)


def read_file_header(source: Source) -> FileHeader:
    """Read header, attributes and features of a perf.data. InputError: it is none, or its header is damaged."""
    head = source.read_at(0, FILE_HEADER_SIZE)
    if len(head) < PIPE_HEADER_SIZE:
        raise InputError(source.path, f"expected a perf.data header of {PIPE_HEADER_SIZE} bytes, found {len(head)}")
    if head.startswith(MAGIC_V1):
        raise InputError(
            source.path,
            "expected perf.data of version 2 (PERFILE2), found version 1 (PERFFILE), which perf wrote before 2010",
            where=0,
            hint="convert it with a perf of its time: perf inject -i OLD -o NEW",
        )
    order = ">" if head.startswith(MAGIC_SWAPPED) else "<"
    (size,) = struct.unpack_from(order + "Q", head, 8)
    if size == PIPE_HEADER_SIZE:
        return FileHeader(order, pipe=True, data_start=PIPE_HEADER_SIZE, data_end=source.size)
    if size != FILE_HEADER_SIZE or len(head) < FILE_HEADER_SIZE:
        raise InputError(
            source.path,
            f"expected a header of {FILE_HEADER_SIZE} or {PIPE_HEADER_SIZE} bytes, found {size} of {source.size}",
            where=8,
            hint="the file is damaged or cut off",
        )
    return _read_file_mode(source, head, order)


def _read_file_mode(source: Source, head: bytes, order: str) -> FileHeader:
    attr_size, attrs_at, attrs_size, data_at, data_size = struct.unpack_from(order + "5Q", head, 16)
    header = FileHeader(order, pipe=False, data_start=data_at, data_end=min(data_at + data_size, source.size))
    if data_at > source.size:
        raise InputError(
            source.path, f"expected records at byte {data_at}, found the end of the file at {source.size}", where=40
        )
    header.attributes = _read_attributes(source, order, attr_size, attrs_at, attrs_size)
    if data_size == 0:
        header.data_end = source.size
        header.notes.append(Note("offset 48", "perf record did not finish this file: read to its end"))
        return header
    if data_at + data_size > source.size:
        missing = data_at + data_size - source.size
        header.notes.append(Note(f"offset {source.size}", f"the file ends {missing} bytes before its records do"))
        return header
    _read_features(source, header, struct.unpack_from(order + "4Q", head, 72), data_at + data_size)
    return header


def _read_attributes(source: Source, order: str, attr_size: int, at: int, size: int) -> list[Attribute]:
    if attr_size <= _SECTION or size // max(attr_size, 1) > MAX_ATTRIBUTES or at + size > source.size:
        raise InputError(
            source.path, f"expected event attributes at byte {at}, found {size} bytes of {attr_size} each", where=16
        )
    attributes = []
    ids_in_all = 0  # sections that share their bytes would make of one file's ids many
    for offset in range(at, at + size - attr_size + 1, attr_size):
        raw = source.read_at(offset, attr_size)
        ids_at, ids_size = struct.unpack_from(order + "QQ", raw, attr_size - _SECTION)
        ids_in_all += ids_size
        if ids_at + ids_size > source.size or ids_in_all > min(source.size, _MAX_SECTION):
            raise InputError(
                source.path, f"expected event ids within the file, found {ids_size} bytes at {ids_at}", where=offset
            )
        ids = struct.unpack(order + f"{ids_size // 8}Q", source.read_at(ids_at, ids_size // 8 * 8))
        attributes.append(parse_attribute(raw[: attr_size - _SECTION], ids, order, source.path, offset))
    return attributes


def _read_features(source: Source, header: FileHeader, words: tuple[int, ...], table_at: int) -> None:
    set_bits = [bit for bit in range(FEATURE_BITS) if words[bit // 64] >> (bit % 64) & 1]
    room = min(source.size, _MAX_SECTION)  # for all sections together: they do not share their bytes
    for place, bit in enumerate(set_bits):
        raw = source.read_at(table_at + place * _SECTION, _SECTION)
        if len(raw) < _SECTION:
            header.notes.append(Note(f"offset {source.size}", "the table of feature sections is cut off"))
            return
        offset, size = struct.unpack(header.order + "QQ", raw)
        content = source.read_at(offset, min(size, room))
        if len(content) < size:
            what = f"expected {size} bytes of feature section {bit}, found {len(content)}"
            header.notes.append(Note(f"offset {table_at + place * _SECTION}", what))
        room -= len(content)
        header.features[bit] = content
        header.feature_offsets[bit] = offset


def describe(facts: Facts, features: dict[int, bytes], order: str) -> None:
    """Add what the feature sections say to `facts`; a damaged section is left out."""
    texts = {
        Feature.HOSTNAME: (facts.host, "hostname"),
        Feature.OSRELEASE: (facts.host, "kernel"),
        Feature.ARCH: (facts.host, "arch"),
        Feature.CPUDESC: (facts.host, "cpu"),
        Feature.CPUID: (facts.host, "cpuid"),
        Feature.VERSION: (facts.tool, "version"),
    }
    for feature, (target, name) in texts.items():
        text, _ = _string(features.get(feature, b""), 0, order)
        if text:
            target[name] = text  # type: ignore[index]
    if len(raw := features.get(Feature.NRCPUS, b"")) >= 8:  # noqa: PLR2004 - two u32
        facts.host["cpus_present"], facts.host["cpus_online"] = struct.unpack_from(order + "II", raw)
    if len(raw := features.get(Feature.TOTAL_MEM, b"")) >= 8:  # noqa: PLR2004 - a u64
        facts.host["memory_kib"] = struct.unpack_from(order + "Q", raw)[0]
    if command := _command_line(features.get(Feature.CMDLINE, b""), order):
        facts.tool["cmdline"] = command


def start_time(features: dict[int, bytes], order: str, first_ts_ns: int) -> str | None:
    """Return the wall clock time of `first_ts_ns` where CLOCK_DATA relates the clocks, ISO 8601."""
    raw = features.get(Feature.CLOCK_DATA, b"")
    if len(raw) < 24:  # noqa: PLR2004 - u32 version, u32 clock id, u64 wall clock, u64 the clock at that moment
        return None
    wall_ns, clock_ns = struct.unpack_from(order + "QQ", raw, 8)
    start_ns = wall_ns + first_ts_ns - clock_ns
    try:
        return datetime.fromtimestamp(start_ns / _NS, UTC).isoformat()
    except (OverflowError, ValueError, OSError):
        return None


def clock_name(attributes: list[Attribute]) -> str:
    """Return the name of the clock that the time stamps are of."""
    ids = {attr.clock_id for attr in attributes if attr.clock_id is not None}
    if not ids:
        return "perf clock"
    return ", ".join(CLOCK_NAMES.get(clock_id, f"clock {clock_id}") for clock_id in sorted(ids))


def event_names(raw: bytes, order: str) -> list[str]:
    """Return the names of EVENT_DESC, in the order of the attributes; short where the section is damaged."""
    names: list[str] = []
    try:
        count, attr_size = struct.unpack_from(order + "II", raw)
        at = 8
        for _ in range(min(count, MAX_ATTRIBUTES)):
            (id_count,) = struct.unpack_from(order + "I", raw, at + attr_size)
            name, at = _string(raw, at + attr_size + 4, order)
            names.append(name)
            at += 8 * id_count
    except struct.error:
        pass  # what was read until here stands
    return names


def _string(raw: bytes, at: int, order: str) -> tuple[str, int]:
    """Return a do_write_string text and the place behind it; "" where it is cut off."""
    if at + 4 > len(raw):
        return "", len(raw)
    (length,) = struct.unpack_from(order + "I", raw, at)
    text = raw[at + 4 : at + 4 + length].split(b"\0", 1)[0]
    return text.decode(errors="backslashreplace"), at + 4 + length


def _command_line(raw: bytes, order: str) -> str:
    if len(raw) < 4:  # noqa: PLR2004 - a u32
        return ""
    (count,) = struct.unpack_from(order + "I", raw)
    words: list[str] = []
    at = 4
    while len(words) < count and at < len(raw):
        word, at = _string(raw, at, order)
        words.append(word)
    return " ".join(words)
