"""Names of a recording as a chart takes them: short, each once; values of its data, never fields or expressions."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from kvmtrace.report.printable import short

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST = 44


def chart_names(names: Iterable[str], longest: int = LONGEST) -> list[str]:
    """Return names of at most `longest` characters; of those that are alike then, which of them it is."""
    said: Counter[str] = Counter()
    found = []
    for name in names:
        cut = short(name, longest)
        said[cut] += 1
        found.append(cut if said[cut] == 1 else f"{cut} #{said[cut]}")
    return found
