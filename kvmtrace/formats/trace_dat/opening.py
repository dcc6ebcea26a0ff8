"""A trace.dat → a Recording for each of its buffers that has events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmtrace.errors import InputError
from kvmtrace.formats.trace_dat.abi import MAGIC, MAX_PAGE_BYTES, SECTIONS_SINCE, VERSIONS
from kvmtrace.formats.trace_dat.buffer_clock import clock_of
from kvmtrace.formats.trace_dat.container import TraceFile
from kvmtrace.formats.trace_dat.options import read_options
from kvmtrace.formats.trace_dat.pages import unpacked_bytes
from kvmtrace.formats.trace_dat.reader import TraceDatRecording
from kvmtrace.formats.trace_dat.version6 import read_version6
from kvmtrace.formats.trace_dat.version7 import read_version7
from kvmtrace.formats.tracing_data import Cursor, TracingDataError
from kvmtrace.recording import Note

if TYPE_CHECKING:
    from kvmtrace.formats.source import Source
    from kvmtrace.formats.trace_dat.container import Buffer

_LEAST_PAGE_BYTES = 64
_RECORD_AGAIN = "record with: trace-cmd record -e kvm"


def read_recordings(source: Source) -> list[TraceDatRecording]:
    """Return a Recording for each buffer with events, the top one first. InputError: none can be read."""
    file = _read_file(source)
    said = read_options(file)
    notes = [*file.notes, *said.notes, *(Note("format texts", why) for why in file.formats.unread)]
    recordings: list[TraceDatRecording] = []
    without_clock: list[InputError] = []
    for buffer, own_notes in _sound_buffers(source, file, notes):
        try:
            clock = clock_of(source, buffer, said, own_notes)
        except InputError as error:
            notes.append(
                Note("buffers", f"{buffer.title} is not read: {error.message.removeprefix(f'{source.path}: ')}")
            )
            without_clock.append(error)
            continue
        recording = TraceDatRecording(source, file, buffer, said, clock, own_notes)
        if recording.facts.events or recording.facts.not_stored:
            recordings.append(recording)
        else:
            notes += [*own_notes, Note("buffers", f"{buffer.title} holds no events")]
    if not recordings:
        raise without_clock[0] if without_clock else _nothing(source, file, notes)
    for note in notes:
        recordings[0].notes.add(note)
    return recordings


def _sound_buffers(source: Source, file: TraceFile, notes: list[Note]) -> list[tuple[Buffer, list[Note]]]:
    """Return the buffers whose pages can be read, each with notes of its own. InputError: they unpack to too much."""
    room = source.size
    sound: list[tuple[Buffer, list[Note]]] = []
    for buffer in file.buffers:
        own_notes: list[Note] = []
        room = _sound_cpus(buffer, source.size, room, own_notes)
        if buffer.latency:
            notes.append(Note("buffers", f"{buffer.title} holds the text of a latency tracer, which is not read"))
        elif _is_sound(buffer, file, notes):
            sound.append((buffer, own_notes))
    packed = [data for buffer, _ in sound if buffer.compressed for data in buffer.cpus]
    size = sum(unpacked_bytes(source, data, file.order) for data in packed)
    if not source.allowance.take(size):
        raise source.allowance.exceeded(source.path, file.compression, source.allowance.taken + size)
    return sound


def _read_file(source: Source) -> TraceFile:
    """Read everything but the pages. InputError: it is damaged."""
    cursor = Cursor(source.read_at, source.size)
    try:
        version = _read_version(cursor)
        cursor.order = ">" if cursor.number(1, "byte order") == 1 else "<"
        long_bytes = cursor.number(1, "size of long")
        page_bytes = cursor.number(4, "page size")
        file = TraceFile(cursor.order, version, 4 if long_bytes == 4 else 8, page_bytes)  # noqa: PLR2004
        if version >= SECTIONS_SINCE:
            read_version7(source, cursor, file)
        else:
            read_version6(cursor, file)
    except TracingDataError as error:
        hint = "the file is damaged or cut off; trace-cmd restore may help where trace-cmd record was killed"
        raise InputError(source.path, str(error), where=error.at, hint=hint) from None
    if file.old_events:
        raise InputError(
            source.path,
            "expected the ring buffer of Linux 2.6.31 or newer, found that of an older one",
            hint="record with a newer kernel; Linux 2.6.32 is the first with events of KVM",
        )
    return file


def _read_version(cursor: Cursor) -> int:
    magic = cursor.take(len(MAGIC), "magic")
    if magic != MAGIC:
        raise TracingDataError(f"expected a trace.dat, found other bytes: {magic.hex(' ')}", 0)
    said = cursor.string("version")
    versions = {str(version): version for version in VERSIONS}
    if said not in versions:
        raise TracingDataError(f"expected version 6 or 7, found {said[:40]!r}", len(MAGIC))
    return versions[said]


def _sound_cpus(buffer: Buffer, file_bytes: int, room: int, notes: list[Note]) -> int:
    """Drop CPUs that are told twice, or whose pages can only be those of others; return the room that is left."""
    seen: set[int] = set()
    sound = []
    for data in buffer.cpus:
        there = min(data.size, max(file_bytes - data.offset, 0))  # less where the file is cut off
        if data.cpu in seen or there > room:
            what = f"expected pages of CPU {data.cpu}, found {data.size} bytes at {data.offset}: not read"
            notes.append(Note("buffers", f"{buffer.title}: {what}"))
            continue
        seen.add(data.cpu)
        room -= there
        sound.append(data)
    buffer.cpus = sound
    return room


def _is_sound(buffer: Buffer, file: TraceFile, notes: list[Note]) -> bool:
    """Settle the size of the buffer's pages; False: it cannot be."""
    if file.version < SECTIONS_SINCE and file.page.page_bytes is not None:
        # Version 6 tells the machine's page size; sub-buffers may be larger (Linux 6.8).
        buffer.page_bytes = max(buffer.page_bytes, file.page.page_bytes)
    if not _LEAST_PAGE_BYTES <= buffer.page_bytes <= MAX_PAGE_BYTES or buffer.page_bytes % 8:
        what = f"expected pages of {_LEAST_PAGE_BYTES} to {MAX_PAGE_BYTES} bytes, found {buffer.page_bytes}: not read"
        notes.append(Note("buffers", f"{buffer.title}: {what}"))
        return False
    return True


def _nothing(source: Source, file: TraceFile, notes: list[Note]) -> InputError:
    if any(buffer.latency for buffer in file.buffers):
        hint = "give its text instead: trace-cmd report -i FILE > trace.txt"
        return InputError(source.path, "expected events, found the text of a latency tracer", hint=hint)
    why = next((f" ({note.where}: {note.what})" for note in notes), "")
    return InputError(source.path, f"expected events, found none{why}", hint=_RECORD_AGAIN)
