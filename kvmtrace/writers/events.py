"""What writers of events take: a recording with the texts that its files must hold, and the raw bytes of its events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np

from kvmtrace.errors import UsageError
from kvmtrace.recording import Recording
from kvmtrace.tracepoints import FieldShape
from kvmtrace.tracepoints.records import DecodedFields

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from kvmtrace.recording import EventBlock, EventKind, Facts
    from kvmtrace.tracepoints import EventFormat, Field

BIG_ENDIAN = frozenset({"ppc64", "s390x"})
"""Machines (uname -m) that are no little-endian ones."""
COMM_BYTES = 15
"""Bytes of a thread's name: TASK_COMM_LEN less its NUL."""
_ALIGNED = 8  # no field of an event asks for more
_FIXED = frozenset(
    {FieldShape.INTEGER, FieldShape.BOOL, FieldShape.POINTER, FieldShape.CHAR_ARRAY, FieldShape.ARRAY}
)  # fmt: skip


class WritableRecording(Recording, Protocol):
    """Blocks in the order of time, each sorted by time, and what decoding takes away."""

    @property
    def format_texts(self) -> Mapping[int, str]:
        """Kind → the text of its tracefs `format`."""

    @property
    def header_texts(self) -> Mapping[str, str]:
        """The texts of tracefs' header_page and header_event."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine of a recording, as files tell it."""

    order: str  # its byte order: "<" or ">"
    cpus: int
    arch: str

    @classmethod
    def of(cls, facts: Facts) -> Self:
        """Read a recording's facts. UsageError: they do not say how many CPUs there are."""
        counts = [facts.host.get(name) for name in ("cpus_available", "cpus_online")]
        cpus = max((count for count in counts if isinstance(count, int)), default=0)
        if cpus < 1:
            raise UsageError("cannot be written: the recording does not say how many CPUs its host has")
        arch = str(facts.host.get("arch", ""))
        return cls(">" if arch in BIG_ENDIAN else "<", cpus, arch)


def texts_by_system(recording: WritableRecording) -> dict[str, list[str]]:
    """Return the format texts of all tracepoints by their system."""
    systems: dict[str, list[str]] = {}
    for kind, event in enumerate(recording.facts.events):
        systems.setdefault(event.system, []).append(recording.format_texts[kind])
    return systems


def struct_bytes(event: EventFormat) -> int:
    """Return the size of an event's C structure: its compiler aligns the end as its largest field."""
    end = max(field.offset + field.size for field in event.fields)
    aligned = max(min(field.element_size, _ALIGNED) for field in event.fields)
    return end + -end % aligned


def raw_events(block: EventBlock, kind: int, event: EventKind) -> NDArray[np.uint8]:
    """Return the raw bytes of one kind's events in a block, a row each, as long as their C structure.

    UsageError: fields whose length differs from event to event, or that were read from a text.
    """
    moving = [field.name for field in event.format.fields if field.shape not in _FIXED]
    fields = block.fields[kind]
    if moving or not isinstance(fields, DecodedFields):
        what = f"the length of {moving[0]} differs" if moving else "its raw bytes are not known"
        raise UsageError(f"{event.system}:{event.name} cannot be written: {what}")
    records = fields.records
    found = np.ascontiguousarray(records).view(np.uint8).reshape(len(records), records.dtype.itemsize)
    size = struct_bytes(event.format)
    raw = np.zeros((len(found), size), np.uint8)
    raw[:, : min(size, found.shape[1])] = found[:, :size]
    return raw


def field_column(raw: NDArray[np.uint8], field: Field, order: str) -> NDArray[Any]:
    """Return one field of raw events in native byte order: integers, elements in rows, or bytes up to the last NUL."""
    part = np.ascontiguousarray(raw[:, field.offset : field.offset + field.size])
    if field.shape == FieldShape.CHAR_ARRAY:
        return part.view(f"S{field.size}")[:, 0]
    sign = "i" if field.signed and field.shape != FieldShape.POINTER else "u"
    wide = part.view(f"{order}{sign}{field.element_size}")
    native = wide.astype(wide.dtype.newbyteorder("="))
    return native if field.shape == FieldShape.ARRAY else native[:, 0]
