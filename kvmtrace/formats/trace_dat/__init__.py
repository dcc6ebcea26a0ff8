"""trace.dat, written by `trace-cmd record`, of versions 6 and 7: bytes → blocks of events in columns.

    abi.py           numbers of the format: options, sections, flags, what is believed
    container.py     what both versions hold: format texts, options, buffers
    version6.py      one part behind the other
    version7.py      sections that options point at
    packing.py       compressed sections and chunks
    options.py       machine, recorder, clocks, session
    clocks.py        ticks → ns, a guest's clock → its host's
    buffer_clock.py  which of them a buffer has
    pages.py         the pages of one CPU
    page_headers.py  their time stamps, bytes used, missed events
    ring_buffer.py   pages → places and times of events, side by side
    long_pages.py    the same of one long page, all at once
    event_headers.py what stands before every event
    survey.py        a first pass: what fired, and how early later pages may be
    events.py        places of events → an EventBlock
    losses.py        missed events
    reader.py        one buffer as a Recording
    opening.py       a file as the Recordings of its buffers

Layouts: trace-cmd.dat.v6.5.txt and v7.5.txt, lib/trace-cmd/trace-input.c (trace-cmd), kbuffer-parse.c
(libtraceevent), kernel/trace/ring_buffer.c (Linux).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmtrace.formats.format import RecordingFormat
from kvmtrace.formats.tracing_data import MAGIC

if TYPE_CHECKING:
    from kvmtrace.formats.source import Source
    from kvmtrace.formats.trace_dat.reader import TraceDatRecording

__all__ = ["FORMAT"]


def _recognises(head: bytes) -> bool:
    return head.startswith(MAGIC)


def _read(source: Source) -> list[TraceDatRecording]:
    from kvmtrace.formats.trace_dat.opening import read_recordings  # noqa: PLC0415 - heavy, and not for recognising

    return read_recordings(source)


FORMAT = RecordingFormat(
    name="trace.dat",
    what="events that trace-cmd recorded, versions 6 and 7, compressed or not",
    example="trace-cmd record -e kvm sleep 10",
    recognises=_recognises,
    read=_read,
)
