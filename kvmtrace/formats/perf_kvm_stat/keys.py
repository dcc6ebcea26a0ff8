"""What a row is about: an MSR, a port or an address in its key, and notes of an author beside the table."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kvmtrace.formats.perf_kvm_stat.names import UNKNOWN

NOT_TOLD = "unknown"
"""Kind of a table of perf's browser whose rows tell none: 0x80:W is an MSR or an address."""

_DETAIL_KINDS = {"mmio": "gpa", "ioport": "port", "msr": "msr"}
_DIRECTIONS = {"R": "read", "W": "write", "PIN": "read", "POUT": "write"}
_KEY = re.compile(r"(0x[0-9a-f]{1,16}|0):(?:(R|W|PIN|POUT)?|P[A-Z]{0,3})", re.ASCII)  # `%#llx:%s`, maybe cut
_PORT = re.compile(r"(?:0x[0-9a-f]{1,16}|0):(?:PIN|POUT)", re.ASCII)

_QUOTES = "[`'\"\u2018\u2019\u201c\u201d]?"
_PART = re.compile(
    rf"{_QUOTES}(?P<printed>(?:0x)?[0-9a-fA-F]{{1,8}}){_QUOTES} ?"
    r"\((?P<name>[^()]{1,80})\): ?(?P<samples>[0-9]{1,18}),?",
    re.ASCII,
)
_OWNER = re.compile(r"([A-Za-z][A-Za-z_ ]{0,38}):")
_SPLIT_REASONS = {"MSR_WRITE": ("msr", "write"), "MSR_READ": ("msr", "read"), "msr": ("msr", None)}


@dataclass(frozen=True, slots=True)
class Detail:
    """Columns of `schema.EXIT_SUMMARIES` that say what a row is about."""

    detail_kind: str | None = None
    detail: int | None = None
    detail_name: str | None = None
    direction: str | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """Samples of one MSR that an author wrote beside the row of their exit reason."""

    line: int
    event_kind: str
    printed: str
    detail: Detail
    samples: int
    owner: str  # the exit reason


def detail_of(event_kind: str, name: str) -> Detail | None:
    """Read the key of a row; None: it should have one that can be read, and has not."""
    if event_kind == "hcall":
        return Detail("hypercall", detail_name=None if name == UNKNOWN else name)
    if event_kind not in {*_DETAIL_KINDS, NOT_TOLD}:
        return Detail()
    match = _KEY.fullmatch(name)
    if match is None:
        return Detail() if event_kind == NOT_TOLD else None
    return Detail(_DETAIL_KINDS.get(event_kind), int(match[1], 16), direction=_DIRECTIONS.get(match[2] or ""))


def is_cut(event_kind: str, name: str) -> bool:
    """Tell whether a key has lost its direction to the width of its column."""
    return event_kind in _DETAIL_KINDS and not name.endswith((":R", ":W", ":PIN", ":POUT"))


def is_port(name: str) -> bool:
    """Tell whether a key is that of a port."""
    return bool(_PORT.fullmatch(name))


def owner_of(text: str) -> str | None:
    """Read `MSR_WRITE:`, under which an author lists the parts of a row; None: it is something else."""
    match = _OWNER.fullmatch(text)
    return match[1] if match else None


def part_of(text: str, line: int, owner: str | None) -> Part | None:
    """Read `'830'(Interrupt Command Register, ICR): 67492`; None: it is something else, or of no known reason.

    MSRs are hexadecimal with and without 0x, as KVM's own events print them.
    """
    match = _PART.fullmatch(text)
    if match is None or owner not in _SPLIT_REASONS:
        return None
    event_kind, direction = _SPLIT_REASONS[owner]
    detail = Detail(event_kind, int(match["printed"], 16), match["name"].strip(), direction)
    return Part(line, event_kind, match["printed"], detail, int(match["samples"]), owner)
