"""Decodes time-lines with Perfetto's published schema, and puts their slices together again as its program does."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as schema

if TYPE_CHECKING:
    from pathlib import Path

_Texts = dict[str, dict[int, str]]

BEGIN, END, INSTANT, COUNTER = (
    schema.TrackEvent.Type.Value(f"TYPE_{kind}") for kind in ("SLICE_BEGIN", "SLICE_END", "INSTANT", "COUNTER")
)


@dataclass(slots=True)
class Slice:
    """One slice or instant (its end is its start)."""

    track: int
    name: str
    categories: frozenset[str]
    start_ns: int
    end_ns: int | None
    depth: int
    parent: Slice | None
    event: Any
    texts: _Texts

    @property
    def flows(self) -> list[int]:
        return list(self.event.flow_ids)

    @property
    def ended_flows(self) -> list[int]:
        return list(self.event.terminating_flow_ids)

    @property
    def notes(self) -> dict[str, Any]:
        """What is told of it beside its name: read when a test asks, as most never do."""
        notes = {}
        for note in self.event.debug_annotations:
            kind = note.WhichOneof("value")
            value = getattr(note, kind)
            name = self.texts["debug_annotation_names"][note.name_iid]
            interned = kind == "string_value_iid"
            notes[name] = self.texts["debug_annotation_string_values"][value] if interned else value
        return notes

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
    texts: _Texts = defaultdict(dict)
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
            event = packet.track_event
            events.append((packet.timestamp, event.type, event.track_uuid, event))
    assert {track for _, _, track, _ in events} <= result.tracks.keys()
    newest: dict[int, int] = {}
    for ts_ns, kind, track, _ in events:
        if kind in (BEGIN, END):
            if newest.get(track, ts_ns) > ts_ns:
                result.faults.append(f"track {track}: {ts_ns} stands behind {newest[track]}")
            newest[track] = ts_ns
    events.sort(key=itemgetter(0))  # stable, as Perfetto sorts
    _put_together(result, events, texts)
    return result


def _put_together(result: DecodedTimeline, events: list[tuple[int, int, int, Any]], texts: _Texts) -> None:
    stacks: dict[int, list[Slice]] = defaultdict(list)
    names, kinds = texts["event_names"], texts["event_categories"]
    categories: dict[tuple[int, ...], frozenset[str]] = {}
    for ts_ns, kind, track, event in events:
        stack = stacks[track]
        if kind == COUNTER:
            result.counters[track].append((ts_ns, event.double_counter_value))
        elif kind == END:
            if stack:
                stack.pop().end_ns = ts_ns
            else:
                result.faults.append(f"track {track}: an end at {ts_ns} without a begin")
        else:
            iids = tuple(event.category_iids)
            of_event = categories.get(iids) or categories.setdefault(iids, frozenset(kinds[iid] for iid in iids))
            end_ns = ts_ns if kind == INSTANT else None
            parent = stack[-1] if stack else None
            new = Slice(track, names[event.name_iid], of_event, ts_ns, end_ns, len(stack), parent, event, texts)
            (result.instants if kind == INSTANT else result.slices).append(new)
            if kind == BEGIN:
                stack.append(new)
    result.faults += [f"track {track}: {len(stack)} slices without an end" for track, stack in stacks.items() if stack]
