"""Options of a trace.dat → what is known of its machine, its recorder, its clocks and its session."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from kvmtrace.formats.trace_dat.abi import MAX_CPUS, Option
from kvmtrace.formats.trace_dat.clocks import LATEST_NS, Shift, TscRate
from kvmtrace.formats.trace_dat.version6 import selected_clock
from kvmtrace.formats.tracing_data import Cursor, TracingDataError
from kvmtrace.recording import Facts, Note

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from kvmtrace.formats.trace_dat.container import TraceFile

_INTERPOLATE = 1 << 0  # TRACECMD_TSYNC_FLAG_INTERPOLATE
_NS = 1_000_000_000
_UNAME_WORDS = 4  # system, host, release, machine
_NUMBER = re.compile(r"\s*([+-]?)(0[xX][0-9a-fA-F]{1,16}|[0-9]{1,20})")
_COUNTED_LOSSES = ("overrun", "commit overrun", "dropped events")
_MUST_FOLLOW = {Option.HEADER_INFO, Option.FTRACE_EVENTS, Option.EVENT_FORMATS, Option.KALLSYMS, Option.PRINTK}
_ELSEWHERE = _MUST_FOLLOW | {Option.CMDLINES, Option.BUFFER, Option.BUFFER_TEXT, Option.CPUCOUNT, Option.STRINGS}
_UNREAD = {
    Option.PROCMAPS: "process maps",
    Option.HOOK: "event hooks",
    Option.LAST_BOOT_INFO: "information on the last boot",
    Option.BTF_FILE: "BTF",
    Option.MODULES_FILE: "modules",
}


@dataclass(slots=True)
class Said:
    """What the options say; None, empty or 0: they do not."""

    host: dict[str, str | int] = field(default_factory=dict)
    tool: dict[str, str] = field(default_factory=dict)
    clock: str | None = None
    date_ns: int | None = None  # from the recording's clock to the wall clock
    offset_ns: int = 0  # that is to be added to every time
    rate: TscRate | None = None
    shifts: dict[int, Shift] = field(default_factory=dict)  # by CPU
    session: dict[str, Any] = field(default_factory=dict)
    vcpu_threads: dict[int, tuple[str, int]] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    def describe(self, facts: Facts) -> None:
        """Add what is known to `facts`."""
        facts.host |= self.host
        facts.tool |= self.tool
        facts.session |= self.session
        facts.vcpu_threads |= self.vcpu_threads
        facts.left_out += self.unread


def read_options(file: TraceFile) -> Said:
    """Read every option; one that is damaged is noted."""
    said = Said()
    if file.cpus is not None:
        said.host["cpus_present"] = file.cpus
    for option in file.options:
        read = _READERS.get(option.id)
        place = f"offset {option.offset}"
        if read is not None:
            try:
                read(said, Cursor.over(option.data, file.order))
            except TracingDataError as error:
                said.notes.append(Note(place, f"option {Option(option.id).name}: {error}"))
        elif option.id in _UNREAD:
            file.unread[_UNREAD[Option(option.id)]] = len(option.data)
        elif option.id not in _ELSEWHERE:
            said.notes.append(
                Note(place, f"option {option.id} is not known: its {len(option.data)} bytes are not read")
            )
    said.unread = [what for what, size in file.unread.items() if size]
    return said


def wall_clock(ns: int) -> str | None:
    """Return a wall clock's time, ISO 8601. None: no calendar has it."""
    try:
        return datetime.fromtimestamp(ns / _NS, UTC).isoformat()
    except (OverflowError, ValueError, OSError):
        return None


def _text(cursor: Cursor) -> str:
    return cursor.take(cursor.end, "text").split(b"\0", 1)[0].decode(errors="backslashreplace")


def _number(cursor: Cursor, what: str) -> int:
    """Read a number in text, as strtoll does."""
    text = _text(cursor)
    match = _NUMBER.match(text)
    if match is None:
        raise TracingDataError(f"expected a number for {what}, found {text[:40]!r}", cursor.at)
    number = int(match[2], 16 if match[2][:2].lower() == "0x" else 10)
    return -number if match[1] == "-" else number


def _uname(said: Said, cursor: Cursor) -> None:
    text = _text(cursor)
    words = text.split()
    if len(words) == _UNAME_WORDS:
        _, said.host["hostname"], said.host["kernel"], said.host["arch"] = words
    else:
        raise TracingDataError(f"expected system, host, release and machine, found {text[:80]!r}", 0)


def _version(said: Said, cursor: Cursor) -> None:
    if text := _text(cursor).strip():
        said.tool["version"] = f"trace-cmd {text}"


def _clock(said: Said, cursor: Cursor) -> None:
    said.clock = selected_clock(cursor.take(cursor.end, "clock"))


def _date(said: Said, cursor: Cursor) -> None:
    said.date_ns = (said.date_ns or 0) + 1000 * _number(cursor, "a time in µs")


def _offset(said: Said, cursor: Cursor) -> None:
    total = said.offset_ns + _number(cursor, "an offset in ns")
    if abs(total) > LATEST_NS:
        raise TracingDataError(f"expected an offset up to {LATEST_NS} ns, found {total}", 0)
    said.offset_ns = total
    said.session["offset_ns"] = total


def _rate(said: Said, cursor: Cursor) -> None:
    mult, shift, offset = cursor.number(4, "multiplier"), cursor.number(4, "shift"), cursor.number(8, "offset")
    if mult:
        said.rate = TscRate(mult, shift)
        said.session["tsc2nsec"] = {"mult": mult, "shift": shift, "offset": offset}


def _trace_id(said: Said, cursor: Cursor) -> None:
    said.session["trace_id"] = _hex(cursor.number(8, "trace id"))


def _hex(number: int) -> str:
    return f"{number:#x}"


def _guest(said: Said, cursor: Cursor) -> None:
    name = cursor.string("name of a guest")
    trace_id = cursor.number(8, "trace id of a guest")
    threads: dict[str, int] = {}
    for _ in range(_bounded(cursor, "vCPUs", 8)):
        vcpu, tid = cursor.number(4, "vCPU"), cursor.number(4, "thread of a vCPU")
        threads[str(vcpu)] = tid
        if tid < 1 << 31 and vcpu < MAX_CPUS:
            said.vcpu_threads[tid] = (name, vcpu)
    said.session.setdefault("guests", []).append({"name": name, "trace_id": _hex(trace_id), "vcpus": threads})


def _bounded(cursor: Cursor, what: str, each: int) -> int:
    """Read a count of things of `each` bytes, for which there must be room."""
    count = cursor.number(4, f"number of {what}")
    if count * each > cursor.end - cursor.at:
        raise TracingDataError(f"expected {count} {what}, found {cursor.end - cursor.at} bytes", cursor.at)
    return count


def _time_shift(said: Said, cursor: Cursor) -> None:
    """Read u64 peer, u32 flags, u32 CPUs, each with u32 n, then u64 n times, offsets, ratios; then fractions of all."""
    peer, flags = cursor.number(8, "trace id of the peer"), cursor.number(4, "flags")
    said.session["peer_trace_id"] = _hex(peer)
    tables = []
    for _ in range(_bounded(cursor, "CPUs", 4)):
        samples = _bounded(cursor, "corrections", 24)
        tables.append([_words(cursor, samples, what) for what in ("times", "offsets", "ratios")])
    with_fractions = cursor.at < cursor.end
    for table in tables:
        none = np.zeros(len(table[0]), np.uint64)
        table.append(_words(cursor, len(table[0]), "fractions") if with_fractions else none)
    interpolate = bool(flags & _INTERPOLATE)
    said.shifts = {cpu: _shift(table, interpolate=interpolate) for cpu, table in enumerate(tables)}
    said.session["time_shift"] = {"flags": flags, "corrections": {str(cpu): len(t[0]) for cpu, t in enumerate(tables)}}


def _words(cursor: Cursor, count: int, what: str) -> NDArray[np.uint64]:
    return np.frombuffer(cursor.take(8 * count, what), cursor.order + "u8").astype(np.uint64)


def _shift(table: list[NDArray[np.uint64]], *, interpolate: bool) -> Shift:
    times, order = np.unique(np.minimum(table[0], np.uint64(LATEST_NS)).astype(np.int64), return_index=True)
    offsets = np.clip(table[1].view(np.int64)[order], -LATEST_NS, LATEST_NS)
    return Shift(times, offsets, table[2][order], table[3][order], interpolate)


def _cpu_statistics(said: Said, cursor: Cursor) -> None:
    """Tell what the kernel counted as lost on one CPU (per_cpu/cpuN/stats)."""
    lines = dict(line.partition(":")[::2] for line in _text(cursor).split("\n"))
    counts = {name: lines[name].strip() for name in _COUNTED_LOSSES if lines.get(name, "0").strip() != "0"}
    if counts:
        told = ", ".join(f"{name} {count[:20]}" for name, count in counts.items())
        said.notes.append(
            Note("option CPUSTAT", f"the kernel counted on CPU {lines.get('CPU', '?').strip()[:8]}: {told}")
        )


_READERS: dict[int, Callable[[Said, Cursor], None]] = {
    Option.DATE: _date,
    Option.CPUSTAT: _cpu_statistics,
    Option.TRACECLOCK: _clock,
    Option.UNAME: _uname,
    Option.OFFSET: _offset,
    Option.VERSION: _version,
    Option.TRACEID: _trace_id,
    Option.TIME_SHIFT: _time_shift,
    Option.GUEST: _guest,
    Option.TSC2NSEC: _rate,
}
