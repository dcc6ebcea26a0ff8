"""Exits → slices: the guest, each exit, and inside it the VMM, halts and lost CPUs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.export.exit_blocks import PARTS
from kvmtrace.export.perfetto_fields import Event, EventType, Interned
from kvmtrace.export.placing import PlacedParts, place_parts
from kvmtrace.export.track_events import Annotations, EventPackets, events

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from kvmtrace.exits.facets import Inside
    from kvmtrace.export.exit_blocks import ExitBlock
    from kvmtrace.export.flows import Flows
    from kvmtrace.export.interning import Names

PART_NAMES = {
    "preempted_ns": "preempted",
    "blocked_ns": "halted: blocked",
    "polled_ns": "halted: polled",
    "userspace_ns": "userspace",
}
"""Names of the slices inside exits, by the column of exits that says how long they are."""
GUEST = "guest"
BY_CONVENTION = "length recorded, place by convention"
NO_LATENCY = "no latency"
_NO_REASON = "exit reason not recorded"
# Packets of one exit in their order: some may be of one time.
_GUEST_BEGINS, _GUEST_ENDS, _EXIT_BEGINS, _PARTS = range(4)
_STEPS = 1 << 20
_EXIT_ENDS = _STEPS - 1
_OPTIONAL = ("reason_code", "detail_kind", "detail", "detail_name", "eoi")


@dataclass(slots=True)
class SliceCount:
    """What was written."""

    exits: int = 0
    slices: int = 0
    without_latency: int = 0
    by_convention: int = 0  # exits


def block_packets(
    block: ExitBlock, inside: Inside | None, names: Names, flows: Flows, count: SliceCount
) -> list[EventPackets]:
    """Return the packets of a block's exits; add them to `count`."""
    latency = np.where(block.known["latency_ns"], block.numbers["latency_ns"], -1)
    stored = {part: block.numbers[part] for part in PARTS}
    placed = place_parts(inside, stored, latency)
    count.exits += len(block)
    count.slices += int(block.known["guest_ns"].sum()) + int((latency >= 0).sum()) + len(placed)
    count.without_latency += int((latency < 0).sum())
    count.by_convention += len(np.unique(placed.rank[placed.by_convention]))
    return [
        *_guests(block, names),
        *_exits(block, names, flows),
        *_exit_ends(block, latency),
        *_parts(block, placed, names),
    ]


def _guests(block: ExitBlock, names: Names) -> Iterator[EventPackets]:
    rows = np.flatnonzero(block.known["guest_ns"])
    if not len(rows):
        return
    track, exit_ts = track_of(block.timeline[rows]), block.numbers["exit_ts_ns"][rows]
    begins = events(EventType.SLICE_BEGIN, track)
    begins.numbers(Event.NAME_IID, np.full(len(rows), names.number(Interned.NAMES, GUEST)))
    Annotations(names, begins).category("guest")
    yield EventPackets.of(exit_ts - block.numbers["guest_ns"][rows], rows * _STEPS + _GUEST_BEGINS, begins)
    yield EventPackets.of(exit_ts, rows * _STEPS + _GUEST_ENDS, events(EventType.SLICE_END, track))


def _exit_ends(block: ExitBlock, latency: NDArray[np.int64]) -> Iterator[EventPackets]:
    rows = np.flatnonzero(latency >= 0)
    if len(rows):
        ends = events(EventType.SLICE_END, track_of(block.timeline[rows]))
        yield EventPackets.of(block.numbers["exit_ts_ns"][rows] + latency[rows], rows * _STEPS + _EXIT_ENDS, ends)


def _exits(block: ExitBlock, names: Names, flows: Flows) -> Iterator[EventPackets]:
    """Yield the beginnings of exits, and instants for those without a latency: one group for each layout."""
    known = {name: block.texts[name].index >= 0 for name in ("detail_kind", "detail_name")} | {
        name: block.known[name] for name in ("reason_code", "detail", "eoi")
    }
    flow_rank, flow_id = flows.sent_in(block.numbers["exit_id"])
    sent = np.bincount(flow_rank, minlength=len(block))
    first_flow = np.cumsum(sent) - sent
    layout = sent
    flags = [block.known["latency_ns"], block.numbers["idle"], block.numbers["suspect"]]
    for bit in (*flags, *(known[name] for name in _OPTIONAL)):
        layout = layout << 1 | bit
    texts = {name: _interned(block, name, names) for name in ("detail_kind", "detail_name", "closed_by")}
    reason = block.texts["reason"]
    name = names.numbers(Interned.NAMES, [*reason.values, _NO_REASON], reason.index % (len(reason.values) + 1))
    for rows in _equal(layout):
        one = int(rows[0])
        timed, is_idle, is_suspect = (bool(flag[one]) for flag in flags)
        begins = events(EventType.SLICE_BEGIN if timed else EventType.INSTANT, track_of(block.timeline[rows]))
        begins.numbers(Event.NAME_IID, name[rows])
        notes = Annotations(names, begins)
        kinds = {"exit": True, "idle": is_idle, "suspect": is_suspect, NO_LATENCY: not timed}
        for category in (kind for kind, holds in kinds.items() if holds):
            notes.category(category)
        _annotate(notes, block, rows, {text: numbers[rows] for text, numbers in texts.items()}, known)
        for turn in range(int(sent[one])):
            begins.fixed64(Event.FLOW_IDS, flow_id[first_flow[rows] + turn].astype(np.uint64))
        yield EventPackets.of(block.numbers["exit_ts_ns"][rows], rows * _STEPS + _EXIT_BEGINS, begins)


def _annotate(
    notes: Annotations,
    block: ExitBlock,
    rows: NDArray[np.int64],
    texts: dict[str, NDArray[np.int64]],
    known: dict[str, NDArray[np.bool_]],
) -> None:
    """Add what is known of exits of one layout."""
    there = {name for name, of_block in known.items() if of_block[rows[0]]}
    notes.integer("exit_id", block.numbers["exit_id"][rows])
    if "reason_code" in there:
        notes.integer("reason_code", block.numbers["reason_code"][rows])
    for text in ("detail_kind", "detail_name"):
        if text in there:
            notes.text(text, texts[text])
    if "detail" in there:
        notes.hexadecimal("detail", block.numbers["detail"][rows].astype(np.uint64))
    if "eoi" in there:
        notes.flag("eoi", block.numbers["eoi"][rows])
    notes.text("closed_by", texts["closed_by"])
    notes.flag("suspect", block.numbers["suspect"][rows])


def _parts(block: ExitBlock, placed: PlacedParts, names: Names) -> Iterator[EventPackets]:
    if not len(placed):
        return
    ts_ns, timeline = block.numbers["exit_ts_ns"][placed.rank], block.timeline[placed.rank]
    first = np.flatnonzero(np.diff(placed.rank, prepend=-1))  # place of each part within its exit
    within = np.arange(len(placed)) - np.repeat(first, np.diff(first, append=len(placed)))
    order = placed.rank * _STEPS + _PARTS + 2 * within
    name = names.numbers(Interned.NAMES, [PART_NAMES[part] for part in PARTS], placed.part)
    for rows in _equal(placed.by_convention.astype(np.int64)):
        begins = events(EventType.SLICE_BEGIN, track_of(timeline[rows]))
        begins.numbers(Event.NAME_IID, name[rows])
        notes = Annotations(names, begins)
        notes.category("part")
        if placed.by_convention[rows[0]]:
            notes.same_text("place", BY_CONVENTION)
        yield EventPackets.of(ts_ns[rows] + placed.start[rows], order[rows], begins)
    ends = events(EventType.SLICE_END, track_of(timeline))
    yield EventPackets.of(ts_ns + placed.end, order + 1, ends)


def track_of(timeline: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of the track of each timeline."""
    return timeline + 1


def _interned(block: ExitBlock, name: str, names: Names) -> NDArray[np.int64]:
    """Return the numbers of a column's texts; that of a null is not used."""
    column = block.texts[name]
    if not column.values:
        return np.zeros(len(block), np.int64)
    return names.numbers(Interned.STRING_VALUES, column.values, np.maximum(column.index, 0))


def _equal(keys: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield the rows of each key."""
    order = np.argsort(keys, kind="stable")
    yield from np.split(order, np.flatnonzero(np.diff(keys[order])) + 1)
