"""Times of a trace.dat → ns: ticks, the TSC's rate, and what a guest's clock is off its host's.

In the order of trace-cmd (lib/trace-cmd/trace-input.c, timestamp_calc): guest to host (TIME_SHIFT), ticks to ns
(TSC2NSEC, or the rate that the user gives), then the offset of the option OFFSET. Which clocks count ns is said by
kernel/trace/trace.c, trace_clocks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.formats.ticks import ticks_to_ns

if TYPE_CHECKING:
    from numpy.typing import NDArray

LATEST_NS = 1 << 62
"""Latest time that is believed: the wall clock reaches it in 2116, and differences of times stay within 64 bits."""

_NS_CLOCKS = frozenset({"local", "global", "perf", "mono", "mono_raw", "boot", "tai"})
_TICK_CLOCKS = frozenset({"counter", "x86-tsc", "ppc-tb", "s390-tod", "tsc2nsec"})
_UPTIME_HZ = 100  # USER_HZ, since Linux 3.16; ns before
_UPTIME_IN_TICKS = (3, 16)
_HALF = np.uint64(32)
_LOW = np.uint64((1 << 32) - 1)
_TOO_LATE = np.uint64((1 << 64) - 1)


def counts_ns(clock: str | None) -> bool:
    """Tell whether a trace clock counts ns; one that is not known is taken for one that does, as trace-cmd does."""
    return clock not in _TICK_CLOCKS and clock != "uptime"


def is_known(clock: str | None) -> bool:
    """Tell whether it is known what a clock counts; a recording may not name its clock."""
    return clock is None or clock == "uptime" or clock in _NS_CLOCKS or clock in _TICK_CLOCKS


def uptime_hz(clock: str | None, kernel: str) -> int | None:
    """Return the ticks in a second of the clock uptime; None: another clock, or a kernel whose uptime is in ns."""
    version = re.match(r"(\d{1,3})\.(\d{1,3})", kernel)
    if clock != "uptime" or (version and (int(version[1]), int(version[2])) < _UPTIME_IN_TICKS):
        return None
    return _UPTIME_HZ


@dataclass(frozen=True, slots=True)
class TscRate:
    """ns = ticks * mult >> shift."""

    mult: int
    shift: int


@dataclass(frozen=True, slots=True)
class Shift:
    """What the clock of one vCPU is off the host's, at n times in rising order (of the guest's clock)."""

    times: NDArray[np.int64]
    offsets: NDArray[np.int64]
    scaling: NDArray[np.uint64]
    fraction: NDArray[np.uint64]
    interpolate: bool

    def apply(self, ticks: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Return the host's ticks."""
        if len(self.times) == 0:
            return ticks
        if len(self.times) == 1:
            return _shifted(ticks, np.broadcast_to(self.offsets[0], ticks.shape))
        signed = np.minimum(ticks, np.uint64(LATEST_NS)).view(np.int64)
        place = np.clip(np.searchsorted(self.times, signed, side="right") - 1, 0, len(self.times) - 2)
        return _shifted(self._scaled(ticks, place), self._correction(signed, place))

    def _correction(self, ticks: NDArray[np.int64], place: NDArray[np.int64]) -> NDArray[np.int64]:
        if not self.interpolate:
            correction: NDArray[np.int64] = self.offsets[place]
            return correction
        # Python's integers: the product of two differences may need more than 64 bits.
        span = np.diff(self.times).astype(object)[place]
        rise = np.diff(self.offsets).astype(object)[place]
        part = (ticks - self.times[place]).astype(object) * rise + span // 2
        whole = np.where(part < 0, -(-part // span), part // span)  # as C divides
        result: NDArray[np.int64] = np.clip(self.offsets[place].astype(object) + whole, -LATEST_NS, LATEST_NS).astype(
            np.int64
        )
        return result

    def _scaled(self, ticks: NDArray[np.uint64], place: NDArray[np.int64]) -> NDArray[np.uint64]:
        scaled = ticks
        for scaling, fraction in {*zip(self.scaling.tolist(), self.fraction.tolist(), strict=True)} - {(1, 0)}:
            rows = np.flatnonzero((self.scaling[place] == scaling) & (self.fraction[place] == fraction))
            scaled = scaled.copy()
            scaled[rows] = multiplied(ticks[rows], scaling, fraction)
        return scaled

    @property
    def order_slack(self) -> int | None:
        """How far a later time may come out before an earlier one, at most. None: there is no telling."""
        steps, spans = np.diff(self.offsets.astype(object)).tolist(), np.diff(self.times.astype(object)).tolist()
        turns_back = self.interpolate and any(step < -span for step, span in zip(steps, spans, strict=True))
        if turns_back or len({*zip(self.scaling.tolist(), self.fraction.tolist(), strict=True)}) > 1:
            return None
        return int(sum(abs(step) for step in steps))


@dataclass(frozen=True, slots=True)
class Clock:
    """How the ticks of one buffer become ns."""

    shifts: dict[int, Shift] = field(default_factory=dict)  # by CPU
    rate: TscRate | None = None
    hz: int | None = None
    offset_ns: int = 0

    def to_ns(self, ticks: NDArray[np.uint64], cpu: int) -> NDArray[np.int64]:
        """Return times in ns; one that no clock can have shown becomes a time behind LATEST_NS, or before 0."""
        if (shift := self.shifts.get(cpu)) is not None:
            ticks = shift.apply(ticks)
        if self.rate is not None:
            ticks = multiplied(ticks, self.rate.mult, self.rate.shift)
        elif self.hz is not None:
            ticks = ticks_to_ns(ticks, self.hz, LATEST_NS)
        ns = np.minimum(ticks, np.uint64(LATEST_NS + 1)).astype(np.int64)
        return ns + self.offset_ns if self.offset_ns else ns

    def earliest_ns(self, ticks: int, cpu: int) -> int | None:
        """Return a time before which no event of at least `ticks` comes out. None: there is no telling."""
        bound = np.array([ticks], np.uint64)
        if (shift := self.shifts.get(cpu)) is not None:
            slack = shift.order_slack
            if slack is None:
                return None
            shifted = int(shift.apply(bound)[0])
            bound[0] = 0 if shifted > LATEST_NS else max(shifted - slack, 0)
        return int(replace(self, shifts={}).to_ns(bound, cpu)[0])


def _shifted(ticks: NDArray[np.uint64], correction: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Add a correction; a time before 0 or behind all becomes one that is not believed."""
    believed = ticks <= np.uint64(LATEST_NS)
    total = np.where(believed, ticks, 0).astype(np.int64) + correction
    return np.where(believed & (total >= 0), total.astype(np.uint64), _TOO_LATE)


def multiplied(ticks: NDArray[np.uint64], by: int, shift: int) -> NDArray[np.uint64]:
    """Return ticks * by >> shift of 128 bits; what does not fit 64 becomes their largest number."""
    by_low, by_high = np.uint64(by & 0xFFFFFFFF), np.uint64(by >> 32 & 0xFFFFFFFF)
    low, high = ticks & _LOW, ticks >> _HALF
    low_low, low_high, high_low = low * by_low, low * by_high, high * by_low
    middle = (low_low >> _HALF) + (low_high & _LOW) + (high_low & _LOW)
    top = high * by_high + (low_high >> _HALF) + (high_low >> _HALF) + (middle >> _HALF)
    bottom = (middle << _HALF) | (low_low & _LOW)
    if shift >= 64:  # noqa: PLR2004 - bits of a number
        return top >> np.uint64(shift - 64) if shift < 128 else np.zeros_like(ticks)  # noqa: PLR2004
    if shift == 0:
        return np.where(top > 0, _TOO_LATE, bottom)
    result = (top << np.uint64(64 - shift)) | (bottom >> np.uint64(shift))
    return np.where(top >> np.uint64(shift) > 0, _TOO_LATE, result)
