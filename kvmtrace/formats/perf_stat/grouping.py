"""Numbers as `perf stat` prints them: the locale that it ran in chose the grouping and the decimal mark.

Groups are of three digits (1,234,567 1.234.567 1 234 567 1'234'567), Indian (1,84,46,744), of four (2,5007,3252 in
Taiwan's locales) or of 2, 2, 2, 3, … (219 06 46 77 in unm_US): all that the locales of glibc have. perf prints counts
without decimals and other values with two (before 4.20: six), never three: three digits behind one mark are a group.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

DECIMAL = "[.,\u066b]"
"""Any decimal mark: U+066B is that of ps_AF."""

_LONGEST = 40  # characters; 2**64 needs 27 with its groups

# ASCII and Unicode apostrophes, the Arabic thousands separator, and no-break, narrow and thin spaces.
_NUMBER = re.compile(
    r"(?P<whole>[1-9][0-9]{0,2}(?P<mark>[,.' ’\u066c\u00a0\u202f\u2009])[0-9]{3}(?:(?P=mark)[0-9]{3})*"  # noqa: RUF001 - is in locales
    r"|[1-9][0-9]?(?:,[0-9]{2})+,[0-9]{3}"
    r"|[1-9][0-9]{0,3}(?:,[0-9]{4})+"
    r"|(?:[1-9][0-9]{0,2}(?:\u202f[0-9]{3})*\u202f[0-9]{2}\u202f[0-9]{2}|[1-9][0-9]?(?:\u202f[0-9]{2})?)\u202f[0-9]{2}"
    r"|[0-9]+)"
    rf"(?:(?P<decimal>{DECIMAL})(?P<fraction>[0-9]+))?",
)
_DECIMALS = re.compile(
    rf"(?<![0-9.,])[0-9]{{1,15}}({DECIMAL})[0-9]{{1,9}}(?:[ \t]+\+-[ \t]+\S{{1,20}})?(?:[ \t]+seconds\b|%[ \t]?[\])])"
)


@dataclass(frozen=True, slots=True)
class Number:
    """A printed number; `certain` is false where only the width of its last group tells a group from decimals."""

    value: float
    whole: bool
    certain: bool


def as_float(text: str) -> float:
    """Read a number without groups and with any decimal mark."""
    return float(re.sub(DECIMAL, ".", text))


def as_share(percent: str) -> float:
    """Read a number of percents as a share of 1."""
    return as_float(f"{percent}e-2")


def decimal_mark(lines: Iterable[str]) -> str | None:
    """Return the decimal mark of a table: that of the first seconds or share in its lines, which are never grouped."""
    return next((match[1] for match in map(_DECIMALS.search, lines) if match), None)


def read_number(text: str, mark: str | None) -> Number:
    """Read a number of a table whose decimal mark is `mark` (None: not known). ValueError: it cannot be, and why."""
    match = _NUMBER.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        raise ValueError("not a number")
    whole, decimal = match["whole"], match["decimal"]
    group = match["mark"] or ("," if "," in whole else None)
    if decimal and (decimal == group or (mark and decimal != mark)):
        raise ValueError(f"'{decimal}' is no decimal mark here")
    if group and group == mark:
        raise ValueError(f"'{group}' is the decimal mark here, and perf never prints three decimals")
    digits = re.sub(r"[^0-9]", "", whole)
    return Number(
        value=float(f"{digits}.{match['fraction']}" if decimal else digits),
        whole=not decimal,
        certain=bool(mark or decimal or group not in {",", "."} or whole.count(group) > 1),
    )
