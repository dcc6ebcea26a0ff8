"""Decodes time-lines with Perfetto's published schema, and puts their slices together again as its program does."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as schema

if TYPE_CHECKING:
    from pathlib import Path

BEGIN, END, INSTANT, COUNTER = (
    schema.TrackEvent.Type.Value(f"TYPE_{kind}") for kind in ("SLICE_BEGIN", "SLICE_END", "INSTANT", "COUNTER")
)


@dataclass(slots=True)
class Slice:
    """One slice or instant (its end is its start)."""

    track: int
    name: str
    categories: set[str]
    start_ns: int
    end_ns: int | None
    notes: dict[str, Any]
    depth: int
    parent: Slice | None
    flows: list[int] = field(default_factory=list)
    ended_flows: list[int] = field(default_factory=list)

    @property
    def ns(self) -> int:
        assert self.end_ns is not None
        return self.end_ns - self.start_ns


@dataclass(slots=True)
class DecodedTimeline:
    """What a time-line holds."""

    tracks: dict[int, Any] = field(default_factory=dict)
    slices: list[Slice] = field(default_factory=list)
    instants: list[Slice] = field(default_factory=list)
    counters: dict[int, list[tuple[int, float]]] = field(default_factory=lambda: defaultdict(list))
    faults: list[str] = field(default_factory=list)

    def track_name(self, uuid: int) -> str:
        track = self.tracks[uuid]
        return str(track.thread.thread_name or track.process.process_name or track.name)


def decode(path: Path) -> DecodedTimeline:
    """Decode a file. What a viewer would stumble over is in `faults`."""
    trace = schema.Trace()
    trace.ParseFromString(path.read_bytes())
    result, events = DecodedTimeline(), []
    texts: dict[str, dict[int, str]] = defaultdict(dict)
    for place, packet in enumerate(trace.packet):
        assert packet.trusted_packet_sequence_id == 1
        assert bool(packet.sequence_flags & 1) == (place == 0)
        for kind, entries in packet.interned_data.ListFields():
            for entry in entries:
                value = entry.str.decode() if hasattr(entry, "str") else entry.name
                assert texts[kind.name].setdefault(entry.iid, value) == value
        if packet.HasField("track_descriptor"):
            result.tracks[packet.track_descriptor.uuid] = packet.track_descriptor
        if packet.HasField("track_event"):
            assert packet.sequence_flags == 2
            events.append((packet.timestamp, packet.track_event, _read(packet.track_event, texts)))
    assert all(event.track_uuid in result.tracks for _, event, _ in events)
    newest: dict[int, int] = {}
    for ts_ns, event, _ in events:
        if event.type in (BEGIN, END):
            if newest.get(event.track_uuid, ts_ns) > ts_ns:
                result.faults.append(f"track {event.track_uuid}: {ts_ns} stands behind {newest[event.track_uuid]}")
            newest[event.track_uuid] = ts_ns
    events.sort(key=lambda event: event[0])  # stable, as Perfetto sorts
    _put_together(result, events)
    return result


def _read(event: Any, texts: dict[str, dict[int, str]]) -> tuple[str, set[str], dict[str, Any]]:  # noqa: ANN401 - protobuf
    if event.type not in (BEGIN, INSTANT):
        return "", set(), {}
    notes = {}
    for note in event.debug_annotations:
        kind = note.WhichOneof("value")
        value = getattr(note, kind)
        notes[texts["debug_annotation_names"][note.name_iid]] = (
            texts["debug_annotation_string_values"][value] if kind == "string_value_iid" else value
        )
    categories = {texts["event_categories"][iid] for iid in event.category_iids}
    return texts["event_names"][event.name_iid], categories, notes


def _put_together(result: DecodedTimeline, events: list[Any]) -> None:
    stacks: dict[int, list[Slice]] = defaultdict(list)
    for ts_ns, event, (name, categories, notes) in events:
        stack = stacks[event.track_uuid]
        if event.type == COUNTER:
            result.counters[event.track_uuid].append((ts_ns, event.double_counter_value))
        elif event.type == END:
            if stack:
                stack.pop().end_ns = ts_ns
            else:
                result.faults.append(f"track {event.track_uuid}: an end at {ts_ns} without a begin")
        else:
            end_ns = ts_ns if event.type == INSTANT else None
            parent = stack[-1] if stack else None
            flows = list(event.flow_ids), list(event.terminating_flow_ids)
            new = Slice(event.track_uuid, name, categories, ts_ns, end_ns, notes, len(stack), parent, *flows)
            (result.instants if event.type == INSTANT else result.slices).append(new)
            if event.type == BEGIN:
                stack.append(new)
    result.faults += [f"track {track}: {len(stack)} slices without an end" for track, stack in stacks.items() if stack]
