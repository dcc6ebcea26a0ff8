"""Numbers as people read them: thousands separators, µs, percent; "-" where there is no number."""

from __future__ import annotations

NONE = "-"


def count(value: float | None) -> str:
    """Return a count: 12,345, with decimals where it has some."""
    if value is None:
        return NONE
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}"


def fixed(value: float | None) -> str:
    """Return a number with two decimals; what is above 0 never reads as 0."""
    if value is None:
        return NONE
    return "<0.01" if 0 < value < 0.005 else f"{value:,.2f}"  # noqa: PLR2004 - what would round to 0.00


def ratio(value: float | None) -> str:
    """Return a ratio with three decimals; what is above 0 never reads as 0."""
    if value is None:
        return NONE
    return "<0.001" if 0 < value < 0.0005 else f"{value:,.3f}"  # noqa: PLR2004 - what would round to 0.000


def percent(share: float | None) -> str:
    """Return a share from 0 to 1 in percent, without the sign."""
    return fixed(None if share is None else share * 100)


def microseconds(ns: float | None) -> str:
    """Return a time in µs, without the unit."""
    return NONE if ns is None else f"{ns / 1e3:,.2f}"


def seconds(ns: float) -> str:
    """Return a time in s, with the unit."""
    return f"{ns / 1e9:,.6f} s"


def duration(ns: float) -> str:
    """Return a time with three figures and the unit that suits it: 512 ns, 16.4 µs, 1.05 ms."""
    for limit, unit in ((1e3, "ns"), (1e6, "µs"), (1e9, "ms")):
        if ns < limit * 0.9995:  # 999.6 µs would read as 1e+03 µs
            return f"{float(f'{ns / limit * 1e3:.3g}'):g} {unit}"
    return f"{float(f'{ns / 1e9:.3g}'):,g} s"
