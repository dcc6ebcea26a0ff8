"""Files that perf writes: perf.data of events, or of counters (`perf stat record`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from kvmtrace.formats.format import RecordingFormat
from kvmtrace.formats.perf_data import PerfDataRecording, recognises
from kvmtrace.formats.perf_data.abi import MAGIC, MAGIC_SWAPPED, PIPE_HEADER_SIZE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmtrace.formats.source import Source
    from kvmtrace.recording import Content


_FEATURES_AT, _FEATURES_BYTES = 72, 8
_STAT = 1 << 19  # HEADER_STAT


def _read(source: Source) -> Sequence[Content]:
    if _may_hold_counters(source.read_at(0, _FEATURES_AT + _FEATURES_BYTES)):
        from kvmtrace.formats.perf_stat.recorded import is_recorded, read_recorded  # noqa: PLC0415 - few files need it

        if is_recorded(source):
            return read_recorded(source)
    return [PerfDataRecording(source)]


def _may_hold_counters(header: bytes) -> bool:
    """Tell whether the features of a file say so (struct perf_file_header); a pipe's file has none at its beginning."""
    order: Literal["little", "big"] = "big" if header.startswith(MAGIC_SWAPPED) else "little"
    is_file = int.from_bytes(header[8:16], order) > _FEATURES_AT
    features = int.from_bytes(header[_FEATURES_AT:], order)
    return bool(features & _STAT) if is_file else True


def _is_of_pipe(first: bytes) -> bool:
    """Tell whether perf wrote this to a pipe: then it never goes back to what it wrote before."""
    size = PIPE_HEADER_SIZE.to_bytes(8, "big" if first.startswith(MAGIC_SWAPPED) else "little")
    return first.startswith((MAGIC, MAGIC_SWAPPED)) and first[8:16] == size


FORMAT = RecordingFormat(
    name="perf.data",
    what="events that perf recorded, to a file or a pipe, compressed or not, and counters of perf stat record",
    example="perf record -e 'kvm:*' -a sleep 10",
    recognises=recognises,
    read=_read,
    as_it_comes=_is_of_pipe,
)
