"""What counts and times are divided by, so that two sides compare: seconds, interrupts, units of work."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmtrace.comparing import terms
from kvmtrace.errors import UsageError

if TYPE_CHECKING:
    from kvmtrace.comparing.terms import Term

_GUEST_SECONDS = terms.over(terms.Exits("guest_ns"), terms.Number(1e9))
_NUMBER = r"\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"
_WORK = re.compile(rf"work=({_NUMBER})/({_NUMBER})")
INJECTION = "kvm_inj_virq"


@dataclass(frozen=True, slots=True)
class Denominator:
    """What figures are given per."""

    words: str  # "second", "injected interrupt"
    term: Term
    event: str | None = None  # that must be recorded
    work: tuple[float, float] | None = None  # units that base and new did
    guest_time: bool = False  # the time in the guest is needed


PER_SECOND = Denominator("second", terms.Seconds())

_NAMED = {
    "second": PER_SECOND,
    "guest-second": Denominator("second in the guest", _GUEST_SECONDS, guest_time=True),
    "vcpu": Denominator("second of a vCPU", terms.Operation("*", terms.Seconds(), terms.Vcpus())),
    "run": Denominator("run", terms.Number(1.0)),
}


def denominator(text: str) -> Denominator:
    """Read `--per`: second, guest-second, vcpu, run, work=N/M, or an event. UsageError: it is none of them."""
    if text in _NAMED:
        return _NAMED[text]
    if text.startswith("work"):
        return _work(text)
    if not re.fullmatch(r"[\w:.-]+", text):
        raise UsageError(
            f"--per: expected second, guest-second, vcpu, run, work=N/M or an event, found {text!r}",
            hint="--per kvm_inj_virq, or --per work=120000/118000: what base and new did",
        )
    if text.removeprefix("kvm:") == INJECTION:
        return Denominator("injected interrupt", terms.Events(INJECTION), event=INJECTION)
    return Denominator(text, terms.Events(text), event=text)


def _work(text: str) -> Denominator:
    match = _WORK.fullmatch(text)
    done = (float(match[1]), float(match[2])) if match else (0.0, 0.0)
    if not all(0 < each < math.inf for each in done):
        raise UsageError(
            f"--per: expected work=N/M with what base and new did, found {text!r}", hint="--per work=120000/118000"
        )
    return Denominator("unit of work", terms.Work(), work=done)
