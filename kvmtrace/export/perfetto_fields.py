"""Numbers of the fields of Perfetto's trace format that are written.

Source: protos/perfetto/trace/ of https://github.com/google/perfetto (trace_packet.proto, track_event/*.proto,
interned_data/interned_data.proto). Published field numbers never change.
"""

from __future__ import annotations

from enum import IntEnum

PACKET = 1  # of Trace


class Packet(IntEnum):
    """Of TracePacket."""

    TIMESTAMP = 8
    SEQUENCE_ID = 10
    TRACK_EVENT = 11
    INTERNED_DATA = 12
    SEQUENCE_FLAGS = 13
    TRACK_DESCRIPTOR = 60


class SequenceFlags(IntEnum):
    """Values of TracePacket.sequence_flags."""

    INCREMENTAL_STATE_CLEARED = 1
    NEEDS_INCREMENTAL_STATE = 2


class Track(IntEnum):
    """Of TrackDescriptor."""

    UUID = 1
    NAME = 2
    PROCESS = 3
    THREAD = 4
    PARENT_UUID = 5
    COUNTER = 8
    DESCRIPTION = 14


class Process(IntEnum):
    """Of ProcessDescriptor."""

    PID = 1
    NAME = 6


class Thread(IntEnum):
    """Of ThreadDescriptor."""

    PID = 1
    TID = 2
    NAME = 5


class Counter(IntEnum):
    """Of CounterDescriptor."""

    UNIT_NAME = 6


class Event(IntEnum):
    """Of TrackEvent."""

    CATEGORY_IIDS = 3
    DEBUG_ANNOTATIONS = 4
    TYPE = 9
    NAME_IID = 10
    TRACK_UUID = 11
    DOUBLE_COUNTER_VALUE = 44
    FLOW_IDS = 47
    TERMINATING_FLOW_IDS = 48


class EventType(IntEnum):
    """Values of TrackEvent.type."""

    SLICE_BEGIN = 1
    SLICE_END = 2
    INSTANT = 3
    COUNTER = 4


class Annotation(IntEnum):
    """Of DebugAnnotation."""

    NAME_IID = 1
    BOOL_VALUE = 2
    INT_VALUE = 4
    POINTER_VALUE = 7
    STRING_VALUE_IID = 17


class Interned(IntEnum):
    """Of InternedData: what holds texts and the numbers that stand for them."""

    CATEGORIES = 1
    NAMES = 2
    ANNOTATION_NAMES = 3
    STRING_VALUES = 29


INTERNED_IID = 1
INTERNED_TEXT = 2
