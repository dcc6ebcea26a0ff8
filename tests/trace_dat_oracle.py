"""What `trace-cmd report -R` says of a trace.dat, and whether it is what was read of it."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from kvmtrace.tracepoints import EventFormat, Field, FieldShape

if TYPE_CHECKING:
    from pathlib import Path

    from trace_dat_made import Read

HAS_TRACE_CMD = shutil.which("trace-cmd") is not None
_LINE = re.compile(r"\s*(?:(\S+):)?\s*(.*)-(\d+)\s+\[(\d+)\]\s*(\d+)(?:\.(\d{9}))?: ([\w-]+):\s*(.*)", re.DOTALL)
_DROPPED = re.compile(r"\s*(?:(\S+): )?\s*CPU:(\d+) \[(?:(-?\d+) )?EVENTS DROPPED\]")
_DYNAMIC_ARRAYS = (FieldShape.DATA_LOC_ARRAY, FieldShape.REL_LOC_ARRAY)
_PRINTED_BITS = {("kvm_ioapic_set_irq", "e"): 8, ("kvm_apic_ipi", "icr_low"): 8, ("kvm_msi_set_irq", "data"): 8}
"""Fields of which the print fmt shows the lowest bits only, and trace-cmd with it; they are stored whole."""
_SYMBOLS = {("print", "ip")}
"""Addresses for which trace-cmd prints the function; they are stored as they are."""
_TAIL = (FieldShape.OPAQUE, FieldShape.TAIL_STRING)


@dataclass(slots=True)
class Reported:
    """What trace-cmd prints: by CPU, ts, tid, name and text of events; CPU and number of missed ones, -1: no number."""

    events: dict[int, list[tuple[int, int, str, str]]] = field(default_factory=lambda: defaultdict(list))
    missed: list[tuple[int, int]] = field(default_factory=list)


@cache
def algorithms() -> frozenset[str]:
    """Return the compressions that trace-cmd was built with: Debian's has no zlib."""
    if not HAS_TRACE_CMD:
        return frozenset()
    text = subprocess.run(["trace-cmd", "list", "-c"], capture_output=True, check=False).stdout.decode()
    return frozenset({"none", *re.findall(r"\b(zstd|zlib)\b", text)})


def reported(path: Path, *options: str) -> Reported:
    """Return what `trace-cmd report -R -t` prints."""
    command = ["trace-cmd", "report", "-R", "-t", *options, "-i", str(path)]
    return parse_report(subprocess.run(command, capture_output=True, check=True).stdout)


def parse_report(printed: bytes) -> Reported:
    """Read what `trace-cmd report -R -t` printed."""
    text = printed.decode(errors="surrogateescape")
    result = Reported()
    records: list[str] = []
    for line in text.split("\n"):
        if (dropped := _DROPPED.match(line)) is not None:
            result.missed.append((int(dropped[2]), int(dropped[3] or -1)))
        elif _LINE.match(line) is not None:
            records.append(line)
        elif records:  # text with line breaks in it
            records[-1] += "\n" + line
    for record in records:
        match = _LINE.match(record)
        assert match is not None
        ts = int(match[5]) * 10**9 + int(match[6]) if match[6] else int(match[5])
        result.events[int(match[4])].append((ts, int(match[3]), match[7], match[8]))
    return result


def assert_same(read: Read, told: Reported) -> int:
    """Compare every event in order, and every field that trace-cmd prints; return how many were compared."""
    formats = {kind.name: kind.format for kind in read.recording.facts.events}
    compared = 0
    ours: dict[int, list[tuple[int, int, str, dict[str, Any]]]] = defaultdict(list)
    for ts, cpu, tid, name, values in read.events:
        ours[cpu].append((ts, tid, name, values))
    assert {cpu: len(events) for cpu, events in ours.items()} == {c: len(e) for c, e in told.events.items()}
    for cpu, events in ours.items():
        for (ts, tid, name, values), (*theirs, text) in zip(events, told.events[cpu], strict=True):
            assert [ts, tid, name] == theirs
            compared += _assert_fields(formats[name], values, text)
    return compared


def _assert_fields(event: EventFormat, values: dict[str, Any], text: str) -> int:
    match = _pattern(tuple(f.name for f in event.own_fields)).fullmatch(text)
    assert match is not None, (event.name, text)
    for one, token in zip(event.own_fields, match.groups(), strict=True):
        value = values[one.name if one.name in values else one.name + "_"]
        if (event.name, one.name) in _SYMBOLS:
            assert re.fullmatch(r"[A-Za-z_][\w.]*", token)
            continue
        if bits := _PRINTED_BITS.get((event.name, one.name)):
            value &= (1 << bits) - 1
        assert token == str(value) or _is_same(one, value, token), (event.name, one.name, value, token)
    return len(match.groups())


@cache
def _pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(r"\s*" + r" ".join(rf"{re.escape(name)}=(.*?)" for name in names) + r"\s*", re.DOTALL)


def _is_same(one: Field, value: Any, token: str) -> bool:  # noqa: ANN401 - what Arrow holds
    if isinstance(value, str):
        return value.strip() == token.strip()
    if one.shape in _TAIL and one.size == 0:
        return int(token) == 0  # trace-cmd reads no bytes of an array without a size
    if isinstance(value, bytes):
        return token == "ARRAY[" + ", ".join(f"{byte:02x}" for byte in value) + "]"
    if isinstance(value, list):
        raw = b"".join(int(n).to_bytes(one.element_size, "little", signed=n < 0) for n in value)
        return token == "ARRAY[" + ", ".join(f"{byte:02x}" for byte in raw) + "]"
    return _is_number(one, int(value), token)


def _is_number(one: Field, value: int, token: str) -> bool:
    """Tell whether a token is the number: trace-cmd takes base and width from the event's print fmt."""
    masks = {(1 << 8 * one.size) - 1, (1 << 32) - 1, (1 << 64) - 1}
    token = token.strip()
    try:
        if token.lower().startswith("0x"):
            return int(token, 16) in {value & mask for mask in masks}
        if re.fullmatch(r"-?[0-9]+", token) and int(token) in ({value} | {value & mask for mask in masks}):
            return True
        return int(token, 16) in {value & mask for mask in masks}
    except ValueError:
        return False
