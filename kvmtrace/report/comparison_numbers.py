"""The figures of a comparison as people read them: three digits, times in a unit that suits, intervals."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from kvmtrace.report.readable import NONE

if TYPE_CHECKING:
    from kvmtrace.comparing.lines import Line
    from kvmtrace.stats.estimate import Estimate, Interval

_TIMES = "\N{MULTIPLICATION SIGN}"
_DIGITS = 3
_WHOLE = 10**_DIGITS
_LEAST = 1e-4
"""What is nearer to 0 is written with an exponent."""


def significant(value: float | None) -> str:
    """Return a number with three digits, more where it is whole or large: 2.06, 0.540, 12,345, 3.1e-07."""
    if value is None or not math.isfinite(value):
        return NONE
    if value == 0:
        return "0"
    size = abs(value)
    if size < _LEAST:
        return f"{value:.2g}"
    rounded = float(f"{value:.{_DIGITS}g}")
    if abs(rounded) >= _WHOLE / 10:
        return f"{value:,.0f}"
    return f"{value:.{_DIGITS - 1 - math.floor(math.log10(abs(rounded)))}f}"


def signed(value: float | None) -> str:
    """Return a difference with its sign."""
    text = significant(value)
    return f"+{text}" if value is not None and value > 0 and text != NONE else text


def interval(ends: Interval | None) -> str:
    """Return a ratio's interval: 0.458-0.636."""
    return NONE if ends is None else f"{significant(ends.low)}-{significant(ends.high)}"


def signed_interval(ends: Interval | None, scale: float = 1.0) -> str:
    """Return a difference's interval, as `scale` times as much: -523 to -257."""
    return NONE if ends is None else f"{signed(ends.low * scale)} to {signed(ends.high * scale)}"


def times(ratio: float | None) -> str:
    """Return a ratio with the sign of a multiplication before it."""
    return NONE if ratio is None else f"{_TIMES}{significant(ratio)}"


def scale_of(line: Line) -> tuple[float, str]:
    """Return by what a line's figures are multiplied to be read, and the unit that they are in then."""
    unit = line.unit
    return (1e-3, f"µs{unit.removeprefix('ns')}") if unit == "ns" or unit.startswith(("ns ", "ns,")) else (1.0, unit)


def scaled(value: float | None, scale: float) -> float | None:
    """Return a figure in the unit in which it is read."""
    return None if value is None else value * scale


def level_words(level: float) -> str:
    """Return a level of confidence: 95%."""
    return f"{100 * level:g}%"


def either_interval(estimate: Estimate, scale: float) -> str:
    """Return the interval of the ratio, else that of the difference, which says that it is."""
    if estimate.ratio_interval is not None or estimate.difference_interval is None:
        return interval(estimate.ratio_interval)
    return f"difference {signed_interval(estimate.difference_interval, scale)}"
