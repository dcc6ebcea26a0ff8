"""Comparisons for the tests of their pages: a real pair, and one of names that try to be more than names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compare_samples import keyed, run, side
from real_pairs import PAIRS, RECORDINGS, compared

from kvmtrace.comparing.comparison import compare
from kvmtrace.comparing.lines import Options

if TYPE_CHECKING:
    from pathlib import Path

    from kvmtrace.comparing.comparison import Comparison

HOSTILE = ("<script>alert(1)</script>", "a.b[0]", "datum.x' + alert(1) + '", '"]}</script><img src=x onerror=alert(1)>')


def pv_eoi(folder: Path) -> Comparison:
    """Return PV EOI off against on, as recorded."""
    files = [RECORDINGS / f"{PAIRS[0].name}-{state}.perf.data.zst" for state in ("off", "on")]
    return compared(files[0], files[1], PAIRS[0].per, folder)


def hostile() -> Comparison:
    """Return a comparison in which every name is one that a page must only ever show."""
    sides = [
        side(
            name,
            run(
                *(
                    keyed(each, [40 * factor, 30], 1000.0 * factor, detail_kind="msr", detail=7, detail_name=each)
                    for each in HOSTILE
                ),
                blocks=2,
                name=HOSTILE[0],
                manifest={"host": {"kernel": HOSTILE[3] * factor}},
            ),
        )
        for name, factor in (("base", 1), ("new", 2))
    ]
    return compare(sides[0], sides[1], (sides[0], sides[1]), Options())
