"""What columns a table has, told by its header: perf printed five sets of them.

    VM-EXIT    Samples  Samples%     Time%         Avg time                                     Linux 3.7
    VM-EXIT    Samples  Samples%     Time%   Min Time   Max Time         Avg time               3.14, whole us
    VM-EXIT    Samples  Samples%     Time%    Min Time    Max Time         Avg time             3.19 and on, and --stdio
    Event name  Samples  Sample%  Time (ns)  Time%  Max Time (ns)  Min Time (ns)  Mean Time (ns)   6.4 and on, browser
    Event name  Samples  Sample%  Time(ns)                                                      drafts of the browser

Facts: print_result() and the `dim_` tables of tools/perf/builtin-kvm.c, and tables in mails to kvm@vger.kernel.org.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmtrace.formats.perf_kvm_stat.lines import words_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmtrace.formats.perf_kvm_stat.lines import Line

_COLUMNS = {
    "time%": "time_share",
    "min time": "min_us",
    "max time": "max_us",
    "avg time": "mean_us",
    "time(ns)": "time_ns",
    "min time(ns)": "min_ns",
    "max time(ns)": "max_ns",
    "mean time(ns)": "mean_ns",
}
_NAMES = "|".join(re.escape(name) for name in sorted(_COLUMNS, key=len, reverse=True))
_HEADER = re.compile(
    rf"(?P<kind>.{{0,60}}?) ?samples samples?%(?P<columns>(?: (?:{_NAMES}))*)(?P<rest>.*)", re.IGNORECASE
)
_COLUMN = re.compile(_NAMES, re.IGNORECASE)
_BEFORE_NS = re.compile(r" ?\(ns\)")
_MOST_LINES = 4  # that a mail breaks a header into
_LONGEST = 512

KINDS = {
    "VM-EXIT": "vmexit",
    "MMIO Access": "mmio",
    "IO Port Access": "ioport",
    "MSR Access": "msr",
    "HCALL-EVENT": "hcall",
}
"""What perf calls the column of names → `event_kind`."""
ANY_KIND = frozenset({"", "Event name"})
"""Headers of names that do not tell the kind."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A header: how the column of names is called, and what the columns are; times end with their unit."""

    names: str
    columns: tuple[str, ...]
    rest: str  # what stands behind the header

    @property
    def in_browser(self) -> bool:
        """The header is that of perf's browser: whole ns, and shares cut to whole percents."""
        return "time_ns" in self.columns


def read_header(lines: Sequence[Line], index: int) -> tuple[Layout, int] | None:
    """Read the header that begins at lines[index]; return it and the index behind it. None: there is none."""
    text = lines[index].text
    if len(text) > _LONGEST or "%" not in text or "ample" not in text.lower():
        return None
    best: tuple[Layout, int] | None = None
    for end in range(index + 1, min(index + _MOST_LINES, len(lines)) + 1):
        if end > index + 1:
            text = f"{text} {lines[end - 1].text}"
        layout = _read(text)
        if layout is None or len(text) > _LONGEST:
            break
        # A line that adds no column is no part of the header, unless the next one ends what it began.
        if layout.columns[2:] and (best is None or len(layout.columns) > len(best[0].columns)):
            best = layout, end
    return best


def _read(text: str) -> Layout | None:
    match = _HEADER.fullmatch(_BEFORE_NS.sub("(ns)", " ".join(words_of(text))))
    if match is None:
        return None
    columns = [_COLUMNS[name.lower()] for name in _COLUMN.findall(match["columns"])]
    return Layout(match["kind"].strip(), ("samples", "samples_share", *columns), match["rest"].strip())
