"""Which tracepoint each event attribute is, and how its record is laid out: known before the first record is read."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.errors import InputError
from kvmtrace.formats.perf_data.abi import MAX_ATTRIBUTES, RECORD_HEADER_SIZE, TYPE_TRACEPOINT, Feature, RecordType
from kvmtrace.formats.perf_data.header import FileHeader, event_names
from kvmtrace.formats.perf_data.side_records import feature, header_attribute
from kvmtrace.formats.tracing_data import TracingData, TracingDataError, parse_tracing_data
from kvmtrace.recording import EventKind, Note, Notes
from kvmtrace.tracepoints.records import FieldLayout

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kvmtrace.formats.perf_data.attributes import Attribute
    from kvmtrace.formats.source import Source

_UNKNOWN = -1
_SIZE_BYTES = 4  # a raw record stands behind its own size
_WORD = 8
_MAX_TRACING_DATA = 1 << 26
_HARDWARE_NAMES = {0: "hardware", 1: "software", 3: "hardware cache", 4: "raw", 5: "breakpoint"}


@dataclass(slots=True)
class Metadata:
    """What the events of a recording are."""

    kinds: list[EventKind] = field(default_factory=list)
    layouts: list[FieldLayout] = field(default_factory=list)  # one for each kind
    kind_of_attribute: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))  # -1: not decoded
    undecoded: dict[str, list[int]] = field(default_factory=dict)  # what → indexes of attributes
    left_out: list[str] = field(default_factory=list)
    has_times: bool = True
    has_processes: bool = True

    def attributes_of_kind(self) -> list[NDArray[np.int64]]:
        """Return the indexes of the attributes of each kind."""
        return [np.flatnonzero(self.kind_of_attribute == kind) for kind in range(len(self.kinds))]


def read_metadata(source: Source, header: FileHeader, notes: Notes) -> Metadata:
    """Relate the attributes to tracepoints. A pipe's attributes and features are added to `header`."""
    tracing_raw = header.features.get(Feature.TRACING_DATA)
    if header.pipe:
        tracing_raw = _read_pipe(source, header)
    tracing = _tracing_data(tracing_raw, header.feature_offsets.get(Feature.TRACING_DATA, 0), notes)
    return _relate(header, tracing)


def _tracing_data(raw: bytes | None, offset: int, notes: Notes) -> TracingData | None:
    if raw is None:
        return None
    try:
        tracing = parse_tracing_data(raw)
    except TracingDataError as error:
        notes.add(Note(f"offset {offset}", f"tracing data: {error}"))
        return None
    for system, reason in tracing.unread:
        notes.add(Note(f"offset {offset}", f"tracing data: a format of {system}: {reason}"))
    if tracing.damage is not None:
        notes.add(Note(f"offset {offset}", f"tracing data: {tracing.damage}"))
    return tracing


def _relate(header: FileHeader, tracing: TracingData | None) -> Metadata:
    metadata = Metadata(kind_of_attribute=np.full(len(header.attributes), _UNKNOWN, np.int64))
    names = event_names(header.features.get(Feature.EVENT_DESC, b""), header.order)
    seen: set[int] = set()
    left_out: dict[str, None] = {}
    for index, attr in enumerate(header.attributes):
        name = names[index] if index < len(names) else None
        known = tracing.formats.get(attr.config) if tracing and attr.type == TYPE_TRACEPOINT else None
        if known is None or not attr.layout.has_raw:
            metadata.undecoded.setdefault(_why_undecoded(attr, name, tracing), []).append(index)
            continue
        system, event = known
        if attr.config in seen:  # two rows for one event would make two exits of one
            why = f"samples of {system}:{event.name}: enabled more than once, and the first one's samples are stored"
            metadata.undecoded.setdefault(why, []).append(index)
            continue
        seen.add(attr.config)
        metadata.kind_of_attribute[index] = len(metadata.kinds)
        metadata.kinds.append(EventKind(system, event.name, event, period=attr.period))
        metadata.layouts.append(FieldLayout(event, header.order, before=_SIZE_BYTES, unit=_WORD))
        metadata.has_times &= "time" in attr.layout.words
        metadata.has_processes &= "tid" in attr.layout.words
        left_out.update(dict.fromkeys(attr.layout.not_stored))
    metadata.left_out = list(left_out)
    return metadata


def _why_undecoded(attr: Attribute, name: str | None, tracing: TracingData | None) -> str:
    if attr.type != TYPE_TRACEPOINT:
        kind = _HARDWARE_NAMES.get(attr.type, f"type {attr.type}")
        return f"samples of {name or f'a {kind} event, config {attr.config:#x}'}: not a tracepoint"
    title = name or f"tracepoint {attr.config}"
    if tracing is None:
        return f"samples of {title}: the recording has no tracing data, which says how they are laid out"
    if attr.config not in tracing.formats:
        return f"samples of {title}: the tracing data has no format of it"
    return f"samples of {title}: recorded without their fields (perf record -R adds them)"


def _read_pipe(source: Source, header: FileHeader) -> bytes | None:
    """Collect the attributes, features and tracing data at the start of a pipe; return the tracing data."""
    at, tracing = header.data_start, None
    while (raw := source.read_at(at, RECORD_HEADER_SIZE)) and len(raw) == RECORD_HEADER_SIZE:
        kind, _, size = struct.unpack(header.order + "IHH", raw)
        if size < RECORD_HEADER_SIZE or kind in (RecordType.SAMPLE, RecordType.COMPRESSED, RecordType.COMPRESSED2):
            break
        if kind in (RecordType.ATTR, RecordType.FEATURE, RecordType.TRACING_DATA):
            record = source.read_at(at, size)
            if kind == RecordType.ATTR and (attr := header_attribute(record, header.order, source.path, at)):
                header.attributes.append(attr)
            elif kind == RecordType.FEATURE and (found := feature(record, header.order)):
                header.features[found[0]] = found[1]
            elif kind == RecordType.TRACING_DATA and len(record) >= RECORD_HEADER_SIZE + 4:
                (length,) = struct.unpack_from(header.order + "I", record, RECORD_HEADER_SIZE)
                header.feature_offsets[Feature.TRACING_DATA] = at + size
                tracing = source.read_at(at + size, min(length, _MAX_TRACING_DATA))
                at += -(-length // 8) * 8
        if len(header.attributes) > MAX_ATTRIBUTES:
            raise InputError(source.path, f"expected at most {MAX_ATTRIBUTES} events, found more", where=at)
        at += size
    return tracing
