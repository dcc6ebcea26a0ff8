"""The format text of an event, as a kernel of an architecture lays it out.

`layouts/<arch>/<system>/<event>.txt` are of a Debian Linux 6.1 (header_page.txt and header_event.txt too, which are of
the ring buffer). `layouts/<arch>/<system>/<kernel>/<event>.txt` are what other kernels have, from that release on. No
recording of most of them is at hand: fields, tables of names and texts are those of their trace headers
(arch/x86/kvm/trace.h, uapi/asm/{vmx,svm}.h), laid out as a 64-bit machine does.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from kvmtrace.tracepoints import EventFormat, parse_format

_LAYOUTS = Path(__file__).parent / "layouts"
_DEBIAN = (6, 1)  # release of the texts that stand in no kernel's folder
_SINCE = {
    "kvm:kvm_eoi": (3, 6),
    "kvm:kvm_pv_eoi": (3, 6),
    "kvm:kvm_fast_mmio": (4, 15),
    "kvm:kvm_avic_incomplete_ipi": (4, 7),
    "kvm:kvm_avic_unaccelerated_access": (4, 7),
    "kvm:kvm_ple_window_update": (5, 5),
    "kvm:kvm_hv_timer_state": (4, 8),
    "kvm:kvm_halt_poll_ns": (4, 3),
    "kvm:kvm_avic_doorbell": (6, 0),
    "kvm:kvm_avic_kick_vcpu_slowpath": (6, 0),
}
"""Releases that first had an event; other events are older than any kernel that is modelled."""

Release = tuple[int, ...]

_FIRST: dict[Release, Release] = {(3, 14): (2, 6, 38)}
"""Release that a folder's texts were read in → the one that first had them: isa, info1 and info2 are older."""


def release(kernel: str) -> Release:
    """Return the numbers that a kernel's name begins with: (5, 8, 0) of 5.8.0-rc1. ValueError: it begins with none."""
    numbers = re.match(r"\d+(?:\.\d+)*", kernel)
    if numbers is None:
        raise ValueError(f"expected a kernel's release as in 5.8, found {kernel!r}")
    return tuple(int(part) for part in numbers[0].split("."))


def family(arch: str) -> str:
    """Return the folder of an architecture's layouts: both byte orders of ppc64 have the same."""
    return "ppc64" if arch.startswith("ppc64") else arch


@cache
def format_text(arch: str, system: str, event: str, kernel: str = "") -> str | None:
    """Return the format text of an event as `kernel` has it, "" being Debian's 6.1; None: it has no such event."""
    folder = _LAYOUTS / family(arch) / system
    debian = folder / f"{event}.txt"
    if not kernel:
        return debian.read_text(encoding="utf-8") if debian.is_file() else None
    wanted = release(kernel)
    texts = {_from(release(text.parent.name)): text for text in folder.glob(f"*/{event}.txt")}
    if debian.is_file():
        texts.setdefault(_DEBIAN, debian)
    if not texts or wanted < _SINCE.get(f"{system}:{event}", ()):
        return None
    reached = [version for version in texts if version <= wanted]
    return texts[max(reached) if reached else min(texts)].read_text(encoding="utf-8")


def _from(version: Release) -> Release:
    return _FIRST.get(version, version)


def header_text(arch: str, name: str) -> str:
    """Return the text of the ring buffer's header_page or header_event."""
    own = _LAYOUTS / family(arch) / f"{name}.txt"
    return (own if own.is_file() else _LAYOUTS / f"{name}.txt").read_text(encoding="utf-8")


@cache
def parsed(text: str) -> EventFormat:
    """Return the format that a text tells."""
    return parse_format(text)


def event_format(arch: str, system: str, event: str, kernel: str) -> EventFormat | None:
    """Return the parsed format of an event; None: the kernel has no such event."""
    text = format_text(arch, system, event, kernel)
    return None if text is None else parsed(text)


@cache
def known_fields(arch: str, system: str, event: str) -> frozenset[str]:
    """Return the names of the own fields that any kernel's layout of an event has."""
    texts = (_LAYOUTS / family(arch) / system).rglob(f"{event}.txt")
    formats = [parsed(path.read_text(encoding="utf-8")) for path in texts]
    return frozenset(field.name for each in formats for field in each.own_fields)


@cache
def known_events(arch: str) -> frozenset[str]:
    """Return every event that there is a layout of, as system:event."""
    root = _LAYOUTS / family(arch)
    return frozenset(f"{path.relative_to(root).parts[0]}:{path.stem}" for path in root.glob("*/**/*.txt"))
