"""A run as a time-line for ui.perfetto.dev: a trace of track events, written block by block."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kvmtrace.errors import InputError
from kvmtrace.export.counters import read_rates
from kvmtrace.export.exit_blocks import choose
from kvmtrace.export.flow_reader import FlowReader
from kvmtrace.export.instant_packets import InstantCount, instant_packets
from kvmtrace.export.instants import InstantReader
from kvmtrace.export.interning import Names
from kvmtrace.export.losses import loss_packets, read_losses
from kvmtrace.export.perfetto_fields import PACKET, Packet, SequenceFlags
from kvmtrace.export.protobuf_columns import message, number
from kvmtrace.export.slices import SliceCount, block_packets
from kvmtrace.export.time_events import TimeEvents
from kvmtrace.export.track_events import SEQUENCE, EventPackets, by_time
from kvmtrace.export.tracks import Tracks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

    from kvmtrace.export.exit_blocks import ChosenExits
    from kvmtrace.export.window import Window
    from kvmtrace.store.connection import StoreConnection
    from kvmtrace.store.manifest import Manifest


@dataclass(slots=True)
class Written:
    """What a time-line holds."""

    slices: SliceCount = field(default_factory=SliceCount)
    instants: InstantCount = field(default_factory=InstantCount)
    losses: int = 0


def write_timeline(connection: StoreConnection, manifest: Manifest, window: Window, file: BinaryIO) -> Written:
    """Write the time-line of a run. Errors: as of `exit_blocks.choose`, and StoreError."""
    chosen = choose(connection, manifest, window)
    if chosen.from_ns < 0:
        raise InputError(manifest.source.title, "expected times from 0 on, found times before 0")
    written = Written()
    file.writelines(_packets(chosen, manifest, written))
    return written


def _packets(chosen: ChosenExits, manifest: Manifest, written: Written) -> Iterator[bytes]:
    names, tracks = Names(), Tracks(chosen.timelines)
    rates, losses = read_rates(chosen), read_losses(chosen, manifest)
    written.losses = len(losses)
    rate_tracks, loss_tracks = tracks.counters(rates), tracks.losses(losses)
    yield message(PACKET, SEQUENCE + number(Packet.SEQUENCE_FLAGS, SequenceFlags.INCREMENTAL_STATE_CLEARED))
    yield b"".join(tracks.packets)
    yield from _with_names([*rates.packets(rate_tracks), *loss_packets(losses, loss_tracks, names)], names)
    instants = InstantReader(chosen, manifest)
    flow_reader = FlowReader(chosen, manifest, instants)
    events = TimeEvents(chosen, manifest)
    for span, block in chosen.blocks():
        flows = flow_reader.of(span)
        groups = block_packets(block, events.inside(block), names, flows, written.slices) if len(block) else []
        groups += instant_packets(instants, span, names, flows, written.instants)
        yield from _with_names(groups, names)


def _with_names(groups: Iterable[EventPackets], names: Names) -> Iterator[bytes]:
    """Yield what new names mean, then the packets that use them."""
    packets = by_time(list(groups))
    interned = names.take_new()
    if interned:
        flags = number(Packet.SEQUENCE_FLAGS, SequenceFlags.NEEDS_INCREMENTAL_STATE)
        yield message(PACKET, SEQUENCE + flags + message(Packet.INTERNED_DATA, interned))
    yield packets
