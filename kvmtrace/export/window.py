"""Which part of a run is exported: a stretch of time, and some vCPUs."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from kvmtrace.errors import UsageError

_UNITS = {"": 10**9, "s": 10**9, "ms": 10**6, "us": 10**3, "µs": 10**3, "ns": 1}  # ns
_TIME = re.compile(r"(?P<number>\d+(\.\d*)?|\.\d+)\s*(?P<unit>s|ms|us|µs|ns|)", re.ASCII)
_LARGEST = 1 << 31
_NUMBER = re.compile(r"\d{1,9}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ChosenVcpu:
    """A vCPU that the user asked for; of every VM where `vm_id` is None."""

    vcpu: int
    vm_id: str | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """What the user asked for: times since the start of the recording, ns, and vCPUs; none: all of them."""

    from_ns: int | None = None
    to_ns: int | None = None
    vcpus: tuple[ChosenVcpu, ...] = ()

    @property
    def is_all(self) -> bool:
        """Whether the whole run was asked for."""
        return self == Window()


def parse_window(from_text: str | None, to_text: str | None, vcpus: list[str]) -> Window:
    """Read what `--from`, `--to` and `--vcpu` say. UsageError: one cannot be read, or the window is empty."""
    from_ns, to_ns = _time("--from", from_text), _time("--to", to_text)
    if to_ns is not None and to_ns <= (from_ns or 0):
        raise UsageError(f"--to: expected a time after --from, found {to_text!r}")
    return Window(from_ns, to_ns, tuple(dict.fromkeys(_vcpu(text) for text in vcpus)))


def _time(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    match = _TIME.fullmatch(text.strip())
    seconds = float(match["number"]) if match else math.inf
    if match is None or seconds > _LARGEST:
        raise UsageError(
            f"{option}: expected a time since the start of the recording, found {text!r}", hint="1.5, 1.5s, 200ms, 30us"
        )
    whole, _, fraction = match["number"].partition(".")
    unit = _UNITS[match["unit"]]
    return int(whole or 0) * unit + int((fraction + "0" * 9)[:9]) * unit // 10**9


def _vcpu(text: str) -> ChosenVcpu:
    vm_id, colon, number = text.rpartition(":")
    if not _NUMBER.fullmatch(number) or (colon and not vm_id):
        raise UsageError(f"--vcpu: expected a number, or VM:NUMBER, found {text!r}")
    return ChosenVcpu(int(number), vm_id if colon else None)
