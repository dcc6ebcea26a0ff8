"""Which reader reads an input: told by its first bytes, never by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmtrace.errors import InputError
from kvmtrace.formats import perf_data, perf_stat

if TYPE_CHECKING:
    from kvmtrace.formats.source import Source
    from kvmtrace.recording import CounterSet, Recording

_MAX_TEXT = 1 << 22


def read(source: Source) -> Recording | list[CounterSet]:
    """Return the recording, or the sets of counters, that an input holds. InputError: none that we read."""
    head = source.head()
    if perf_data.recognises(head):
        return perf_data.PerfDataRecording(source)
    if perf_stat.recognises(head):
        if source.size > _MAX_TEXT:
            raise InputError(source.path, f"expected at most {_MAX_TEXT} bytes of perf stat text, found {source.size}")
        return perf_stat.read(perf_stat.decode(source.read_at(0, _MAX_TEXT)), source.path)
    raise InputError(source.path, f"expected {_EXPECTED}, found {_describe(head)}", hint=_HINT)


_EXPECTED = "a perf.data file or the text of perf stat"
_HINT = "record with `perf record -e 'kvm:*' -a`, or save the table that `perf stat -e 'kvm:*' -a sleep 1` prints"


def _describe(head: bytes) -> str:
    if not head:
        return "an empty file"
    if head.startswith(b"\x17\x08\x44tracing"):
        return "a trace.dat of trace-cmd, which this version does not read"
    text = head[:512]
    if b"\0" not in text and all(byte >= 0x20 or byte in b"\t\r\n\f\x1b" for byte in text):  # noqa: PLR2004 - blank
        form = perf_stat.other_form(perf_stat.decode(text))
        return f"{form}, which this version does not read" if form else "some other text"
    return "other bytes: " + head[:8].hex(" ")
