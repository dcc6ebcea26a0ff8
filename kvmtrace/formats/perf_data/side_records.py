"""Records that are no samples: thread names, losses, and the metadata of a pipe."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from kvmtrace.formats.perf_data.abi import RECORD_HEADER_SIZE, RecordType
from kvmtrace.formats.perf_data.attributes import Attribute, AttributeTable, parse_attribute

_COMM_TEXT = RECORD_HEADER_SIZE + 8


@dataclass(frozen=True, slots=True)
class LossRecord:
    """What a LOST or LOST_SAMPLES record says; None where its trailer does not say it."""

    events: int
    cpu: int | None
    ts_ns: int | None


def record_name(kind: int) -> str:
    """Return the name of a record type."""
    try:
        return RecordType(kind).name
    except ValueError:
        return f"type {kind}"


def thread_name(record: bytes, order: str) -> tuple[int, int, str] | None:
    """Return pid, tid and name of a COMM record; None where it is cut off."""
    if len(record) < _COMM_TEXT:
        return None
    pid, tid = struct.unpack_from(order + "ii", record, RECORD_HEADER_SIZE)
    return pid, tid, record[_COMM_TEXT:].split(b"\0", 1)[0].decode(errors="backslashreplace")


def loss(kind: int, record: bytes, order: str, attributes: AttributeTable) -> LossRecord | None:
    """Read a LOST {u64 id, u64 lost} or LOST_SAMPLES {u64 lost} record; None where it is cut off."""
    count_at = RECORD_HEADER_SIZE + (8 if kind == RecordType.LOST else 0)
    if len(record) < count_at + 8:
        return None
    (events,) = struct.unpack_from(order + "Q", record, count_at)
    cpu, ts_ns = _trailer(record, count_at + 8, order, attributes)
    return LossRecord(events, cpu, ts_ns)


def _trailer(record: bytes, body_end: int, order: str, attributes: AttributeTable) -> tuple[int | None, int | None]:
    """Return CPU and time of the sample_id trailer."""
    attr = next((a for a in attributes.attributes if a.sample_id_all), None)
    if attr is None:
        return None, None
    back = attr.layout.trailer_words
    if len(record) - 8 * max(back.values(), default=0) < body_end:
        return None, None
    cpu = ts_ns = None
    if "cpu" in back:
        (cpu,) = struct.unpack_from(order + "i", record, len(record) - 8 * back["cpu"])
    if "time" in back:
        (ts_ns,) = struct.unpack_from(order + "q", record, len(record) - 8 * back["time"])
    return cpu, ts_ns


def header_attribute(record: bytes, order: str, file: str, offset: int) -> Attribute | None:
    """Read an ATTR record {perf_event_attr, u64 ids[]} of a pipe; None where it is cut off."""
    if len(record) < RECORD_HEADER_SIZE + 8:
        return None
    (attr_size,) = struct.unpack_from(order + "I", record, RECORD_HEADER_SIZE + 4)
    body = record[RECORD_HEADER_SIZE:]
    if attr_size > len(body):
        return None
    id_count = (len(body) - attr_size) // 8
    ids = struct.unpack_from(order + f"{id_count}Q", body, attr_size)
    return parse_attribute(body[:attr_size], ids, order, file, offset)


def feature(record: bytes, order: str) -> tuple[int, bytes] | None:
    """Read a FEATURE record {u64 feature, data} of a pipe; None where it is cut off."""
    if len(record) < RECORD_HEADER_SIZE + 8:
        return None
    (number,) = struct.unpack_from(order + "Q", record, RECORD_HEADER_SIZE)
    return number, record[RECORD_HEADER_SIZE + 8 :]
