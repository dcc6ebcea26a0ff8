"""Student's t for the difference and the ratio of two figures that know their own standard errors."""

import math
from typing import NamedTuple

import numpy as np
from scipy import special


class Side(NamedTuple):
    """A figure, its standard error, and the degrees of freedom that this error was estimated with."""

    value: float
    error: float
    freedom: float


class Compared(NamedTuple):
    """new - base: the difference, half the width of its interval, its two-sided p, and the t that made the width."""

    difference: float
    half_width: float
    p: float
    t: float


def compare(base: Side, new: Side, level: float) -> Compared:
    """Compare two sides with errors of their own: Welch's t, degrees of freedom by Welch and Satterthwaite.

    Where neither side has an error the difference is certain: p is 1 where there is none and 0 where there is one.
    """
    difference = new.value - base.value
    error = math.hypot(base.error, new.error)
    if error <= 1e-12 * max(abs(base.value), abs(new.value)):
        same = abs(difference) <= 1e-12 * max(abs(base.value), abs(new.value))
        return Compared(difference, 0.0, 1.0 if same else 0.0, math.nan)
    shares = ((side.error / error) ** 4 / side.freedom for side in (base, new))
    freedom = 1 / sum(shares)
    t = float(special.stdtrit(freedom, (1 + level) / 2))
    p = 2 * float(special.stdtr(freedom, -abs(difference) / error))
    return Compared(difference, t * error, p, t)


def fieller(base: Side, new: Side, t: float) -> tuple[float, float] | None:
    """Return the interval of new / base by Fieller's theorem, or None where base could be 0 for all its error.

    It leaves 1 out exactly where the difference's interval with the same `t` leaves 0 out (Fieller, "Some problems in
    interval estimation", Journal of the Royal Statistical Society B 16, 1954).
    """
    a = base.value**2 - (t * base.error) ** 2
    if not a > 0:
        return None
    # The ratios r for which (new - r base)² <= t² (error of new² + r² error of base²).
    middle = base.value * new.value
    root = np.sqrt(max(middle**2 - a * (new.value**2 - (t * new.error) ** 2), 0.0))
    return float((middle - root) / a), float((middle + root) / a)
