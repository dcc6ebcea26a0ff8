"""Columns as protobuf messages, against the decoder of protobuf itself."""

from __future__ import annotations

import numpy as np
import pytest
from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as schema

from kvmtrace.export import protobuf_columns as pb
from kvmtrace.export.perfetto_fields import (
    PACKET,
    Annotation,
    Counter,
    Event,
    EventType,
    Interned,
    Packet,
    Process,
    SequenceFlags,
    Thread,
    Track,
)

EDGES = [0, 1, 127, 128, 16383, 16384, (1 << 35) - 1, 1 << 56, (1 << 63) - 1]


def decoded(matrix: np.ndarray[tuple[int, int], np.dtype[np.uint8]]) -> list[schema.TrackEvent]:
    return [schema.TrackEvent.FromString(bytes(row)) for row in matrix]


def test_every_number_comes_back_whatever_the_others_of_its_column_are() -> None:
    messages = pb.Messages(len(EDGES))
    messages.numbers(Event.TRACK_UUID, np.array(EDGES))
    assert [event.track_uuid for event in decoded(messages.matrix())] == EDGES


def test_numbers_of_64_bits_and_negative_ones_come_back() -> None:
    messages = pb.Messages(3)
    messages.numbers(Event.TRACK_UUID, np.array([0, 1 << 63, (1 << 64) - 1], np.uint64))
    messages.numbers(30, np.array([-1, 5, -(1 << 63)]))  # counter_value
    found = [(event.track_uuid, event.counter_value) for event in decoded(messages.matrix())]
    assert found == [(0, -1), (1 << 63, 5), ((1 << 64) - 1, -(1 << 63))]


@pytest.mark.parametrize(("largest", "width"), [(0, 1), (127, 1), (128, 2), ((1 << 63) - 1, 9)])
def test_a_column_is_as_wide_as_its_largest_number_needs(largest: int, width: int) -> None:
    assert pb.padded_varints(np.array([0, largest])).shape == (2, width)


def test_no_number_needs_a_byte_all_the_same() -> None:
    assert pb.padded_varints(np.zeros(0, np.int64)).shape == (0, 1)


def test_fixed_fields_constants_and_messages_in_messages_come_back() -> None:
    inner = pb.Messages(2)
    inner.numbers(Annotation.NAME_IID, np.array([3, 300]))
    inner.numbers(Annotation.BOOL_VALUE, np.array([True, False]))
    messages = pb.Messages(2)
    messages.constant(pb.number(Event.TYPE, EventType.INSTANT))
    messages.messages(Event.DEBUG_ANNOTATIONS, inner)
    messages.fixed64(Event.FLOW_IDS, np.array([7, (1 << 64) - 1], np.uint64))
    messages.fixed64(Event.DOUBLE_COUNTER_VALUE, np.array([0.5, -2e300]))
    first, second = decoded(messages.matrix())
    assert [(n.name_iid, n.bool_value) for n in (first.debug_annotations[0], second.debug_annotations[0])] == [
        (3, True),
        (300, False),
    ]
    assert [*first.flow_ids, *second.flow_ids] == [7, (1 << 64) - 1]
    assert (first.double_counter_value, second.double_counter_value) == (0.5, -2e300)
    assert first.type == second.type == schema.TrackEvent.Type.TYPE_INSTANT


def test_rows_of_several_layouts_are_put_in_their_places() -> None:
    short, long = np.full((2, 1), ord("a"), np.uint8), np.full((3, 4), ord("b"), np.uint8)
    assert pb.interleaved([(np.array([1, 3]), short), (np.array([0, 2, 4]), long)]) == b"bbbbabbbbabbbb"
    assert pb.interleaved([]) == b""


def test_single_fields_come_back_and_text_that_is_no_unicode_is_replaced() -> None:
    encoded = pb.text(Track.NAME, "µ\n\0<b>\udcff") + pb.number(Track.UUID, (1 << 64) - 1)
    track = schema.TrackDescriptor.FromString(encoded)
    assert (track.name, track.uuid) == ("µ\n\0<b>?", (1 << 64) - 1)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        (Packet, schema.TracePacket),
        (Track, schema.TrackDescriptor),
        (Event, schema.TrackEvent),
        (Annotation, schema.DebugAnnotation),
        (Interned, schema.InternedData),
        (Process, schema.ProcessDescriptor),
        (Thread, schema.ThreadDescriptor),
        (Counter, schema.CounterDescriptor),
    ],
)
def test_the_numbers_of_fields_are_those_that_are_published(numbers: type[Packet], message: type) -> None:
    published = {field.number: field.name for field in message.DESCRIPTOR.fields}  # type: ignore[attr-defined]
    other = {"SEQUENCE_ID": "trusted_packet_sequence_id", "CATEGORIES": "event_categories", "NAMES": "event_names"}
    other |= {"ANNOTATION_NAMES": "debug_annotation_names", "STRING_VALUES": "debug_annotation_string_values"}
    prefixes = {Process: "process_", Thread: "thread_"}
    for field in numbers:
        name = other.get(field.name, field.name.lower())
        assert published[field] in (name, f"{prefixes.get(numbers, '')}{name}")


def test_the_values_of_enumerations_are_those_that_are_published() -> None:
    assert {f"TYPE_{kind.name}": kind for kind in EventType}.items() <= dict(schema.TrackEvent.Type.items()).items()
    flags = dict(schema.TracePacket.SequenceFlags.items())
    assert {f"SEQ_{flag.name}": flag for flag in SequenceFlags}.items() <= flags.items()
    assert schema.Trace.DESCRIPTOR.fields_by_name["packet"].number == PACKET
