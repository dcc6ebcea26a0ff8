"""Bytes of what the kernel puts into a recording of tracepoints: attrs, samples, sample ids, raw event fields.

Layouts: include/uapi/linux/perf_event.h and, for the fields, the event's own tracefs format text. `order`: as in
perf_data_file.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntFlag
from typing import TYPE_CHECKING, Literal

from kvmtrace.tracepoints import EventFormat, Field, FieldShape
from kvmtrace.writers.perf_data_file import RecordType, record

if TYPE_CHECKING:
    from collections.abc import Mapping

FieldValue = int | str | bytes | Sequence[int]

ATTR_BYTES = 128  # PERF_ATTR_SIZE_VER7
TRACEPOINT = 2  # PERF_TYPE_TRACEPOINT
READ_FORMAT_ID = 4
# disabled, inherit, sample_id_all, exclude_guest: what perf record sets for `-e kvm:* -a`
ATTR_FLAGS = 1 << 0 | 1 << 1 | 1 << 18 | 1 << 20
CPUMODE_KERNEL = 1

DYNAMIC_SHAPES = frozenset(
    {
        FieldShape.DATA_LOC_STRING,
        FieldShape.DATA_LOC_ARRAY,
        FieldShape.REL_LOC_STRING,
        FieldShape.REL_LOC_ARRAY,
    },
)
RELATIVE_SHAPES = frozenset({FieldShape.REL_LOC_STRING, FieldShape.REL_LOC_ARRAY})
STRING_SHAPES = frozenset({FieldShape.DATA_LOC_STRING, FieldShape.REL_LOC_STRING, FieldShape.TAIL_STRING})


class SampleType(IntFlag):
    """enum perf_event_sample_format."""

    IP = 1 << 0
    TID = 1 << 1
    TIME = 1 << 2
    ADDR = 1 << 3
    READ = 1 << 4
    CALLCHAIN = 1 << 5
    ID = 1 << 6
    CPU = 1 << 7
    PERIOD = 1 << 8
    STREAM_ID = 1 << 9
    RAW = 1 << 10
    BRANCH_STACK = 1 << 11
    REGS_USER = 1 << 12
    STACK_USER = 1 << 13
    WEIGHT = 1 << 14
    DATA_SRC = 1 << 15
    IDENTIFIER = 1 << 16
    TRANSACTION = 1 << 17
    REGS_INTR = 1 << 18
    PHYS_ADDR = 1 << 19
    AUX = 1 << 20
    CGROUP = 1 << 21
    DATA_PAGE_SIZE = 1 << 22
    CODE_PAGE_SIZE = 1 << 23
    WEIGHT_STRUCT = 1 << 24


PERF_RECORD_DEFAULT = (
    SampleType.IP
    | SampleType.TID
    | SampleType.TIME
    | SampleType.CPU
    | SampleType.PERIOD
    | SampleType.RAW
    | SampleType.IDENTIFIER
)
"""What `perf record -e 'kvm:*' -a` asks for."""

# What follows RAW in a sample; each is written as eight zero bytes: nothing, of length 0.
AFTER_RAW = (
    SampleType.BRANCH_STACK,
    SampleType.REGS_USER,
    SampleType.STACK_USER,
    SampleType.WEIGHT | SampleType.WEIGHT_STRUCT,
    SampleType.DATA_SRC,
    SampleType.TRANSACTION,
    SampleType.REGS_INTR,
    SampleType.PHYS_ADDR,
    SampleType.CGROUP,
    SampleType.DATA_PAGE_SIZE,
    SampleType.CODE_PAGE_SIZE,
    SampleType.AUX,
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where and when a record was made: what samples and sample ids say of it."""

    ts_ns: int
    cpu: int
    pid: int
    tid: int
    sample_id: int


def tracepoint_attr(event_id: int, sample_type: SampleType, *, period: int = 1, order: str = "<") -> bytes:
    """Return a struct perf_event_attr of a tracepoint."""
    head = struct.pack(
        f"{order}IIQQQQQ",
        TRACEPOINT,
        ATTR_BYTES,
        event_id,
        period,
        sample_type,
        READ_FORMAT_ID,
        ATTR_FLAGS if order == "<" else _mirrored(ATTR_FLAGS),
    )
    return head.ljust(ATTR_BYTES, b"\0")


def _mirrored(flags: int) -> int:
    """Return a bit field as a big-endian compiler lays it out: from the highest bit down."""
    return int(f"{flags:064b}"[::-1], 2)


def sample(
    sample_type: SampleType,
    origin: Origin,
    raw: bytes,
    *,
    ip: int = 0,
    period: int = 1,
    callchain: Sequence[int] = (),
    misc: int = CPUMODE_KERNEL,
    order: str = "<",
) -> bytes:
    """Return a PERF_RECORD_SAMPLE in the order of perf_output_sample(); `raw` is padded as the kernel pads it."""
    raw += bytes(-(4 + len(raw)) % 8)
    parts = (
        (SampleType.IDENTIFIER, struct.pack(f"{order}Q", origin.sample_id)),
        (SampleType.IP, struct.pack(f"{order}Q", ip)),
        (SampleType.TID, struct.pack(f"{order}II", origin.pid, origin.tid)),
        (SampleType.TIME, struct.pack(f"{order}Q", origin.ts_ns)),
        (SampleType.ADDR, bytes(8)),
        (SampleType.ID, struct.pack(f"{order}Q", origin.sample_id)),
        (SampleType.STREAM_ID, struct.pack(f"{order}Q", origin.sample_id)),
        (SampleType.CPU, struct.pack(f"{order}II", origin.cpu, 0)),
        (SampleType.PERIOD, struct.pack(f"{order}Q", period)),
        # perf leaves a sample out whose count did not rise: it counts nanoseconds
        (SampleType.READ, struct.pack(f"{order}QQ", origin.ts_ns, origin.sample_id)),
        (SampleType.CALLCHAIN, struct.pack(f"{order}Q{len(callchain)}Q", len(callchain), *callchain)),
        (SampleType.RAW, struct.pack(f"{order}I", len(raw)) + raw),
        *((bit, bytes(8)) for bit in AFTER_RAW),
    )
    return record(RecordType.SAMPLE, b"".join(part for bit, part in parts if sample_type & bit), misc=misc, order=order)


def sample_id(sample_type: SampleType, origin: Origin, order: str = "<") -> bytes:
    """Return the struct sample_id that ends every record but a sample, where sample_id_all is set."""
    parts = (
        (SampleType.TID, struct.pack(f"{order}II", origin.pid, origin.tid)),
        (SampleType.TIME, struct.pack(f"{order}Q", origin.ts_ns)),
        (SampleType.ID, struct.pack(f"{order}Q", origin.sample_id)),
        (SampleType.STREAM_ID, struct.pack(f"{order}Q", origin.sample_id)),
        (SampleType.CPU, struct.pack(f"{order}II", origin.cpu, 0)),
        (SampleType.IDENTIFIER, struct.pack(f"{order}Q", origin.sample_id)),
    )
    return b"".join(part for bit, part in parts if sample_type & bit)


def pack_fields(event: EventFormat, values: Mapping[str, FieldValue], order: str = "<") -> bytes:
    """Return the event's bytes from common_type on; fields that `values` does not name are 0.

    KeyError: `values` names a field that the event has not. OverflowError, ValueError: a value that does not fit.
    """
    if unknown := values.keys() - {field.name for field in event.fields}:
        raise KeyError(f"{event.name} has no field {', '.join(sorted(unknown))}")
    fixed = bytearray(max(field.offset + field.size for field in event.fields))
    tail = b""
    for field in event.fields:
        value = values.get(field.name, b"" if field.shape in STRING_SHAPES | DYNAMIC_SHAPES else 0)
        if field.shape is FieldShape.TAIL_STRING:
            tail += _element_bytes(field, value, order)
        elif field.shape in DYNAMIC_SHAPES:
            content = _element_bytes(field, value, order)
            start = len(fixed) + len(tail)
            if field.shape in RELATIVE_SHAPES:
                start -= field.offset + field.size
            struct.pack_into(f"{order}I", fixed, field.offset, len(content) << 16 | start)
            tail += content
        else:
            content = _element_bytes(field, value, order)
            if len(content) > field.size:
                raise ValueError(f"{event.name}.{field.name}: {len(content)} bytes, room for {field.size}")
            fixed[field.offset : field.offset + len(content)] = content
    return bytes(fixed) + tail


def _element_bytes(field: Field, value: FieldValue, order: str) -> bytes:
    """Return `value` as the field's elements; text where the length is told by a NUL ends with one."""
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return value + b"\0" if field.shape in STRING_SHAPES else value
    numbers = (value,) if isinstance(value, int) else value
    byte_order: Literal["little", "big"] = "little" if order == "<" else "big"
    return b"".join(number.to_bytes(field.element_size, byte_order, signed=number < 0) for number in numbers)
