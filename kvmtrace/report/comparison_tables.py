"""The tables of a comparison: what is told apart, before and after; and which exits made the change."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from kvmtrace.exit_keys import By
from kvmtrace.report import readable
from kvmtrace.report.blocks import Table
from kvmtrace.report.comparison_numbers import (
    either_interval,
    level_words,
    scale_of,
    scaled,
    signed,
    significant,
)
from kvmtrace.report.comparison_words import verdict
from kvmtrace.report.key_words import BY_WORDS, NOT_RECORDED, detail_words
from kvmtrace.report.printable import printable
from kvmtrace.stats.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kvmtrace.compare.comparison import Comparison
    from kvmtrace.compare.lines import Line, Section
    from kvmtrace.exit_keys import Key

LATENCIES = {"mean_ns": "mean", "p50_ns": "p50", "p99_ns": "p99"}
_Columns = dict[str, "Callable[[Line], str]"]


def tables(comparison: Comparison) -> Iterator[Table]:
    """Give a table for each kind of figure; those of latencies are one, a row for each figure."""
    level = comparison.options.level
    for latency, group in groupby(comparison.sections, lambda section: section.quantity in LATENCIES):
        if latency:
            yield _latencies(list(group), level)
        else:
            yield from (_table(section, level) for section in group if section.lines)


def _table(section: Section, level: float) -> Table:
    columns = _columns(section.lines, level)
    names = [BY_WORDS[by] for by in section.by] or ["figure" if section.quantity == "figure" else "event"]
    if section.quantity == "figure":
        columns = {"unit": lambda line: printable(scale_of(line)[1]), **columns}
    columns = {
        name: cell for name, cell in columns.items() if any(cell(line) != readable.NONE for line in section.lines)
    }
    rows = [(*line_names(line, section), *(cell(line) for cell in columns.values())) for line in section.lines]
    title = f"{section.title}{', µs' if section.unit.startswith('ns') else ''}"
    return Table(title, (*names, *columns), tuple(rows), len(names) + ("unit" in columns), _parts(columns))


def line_names(line: Line, section: Section) -> list[str]:
    """Return what a line is called, a cell for each thing that exits are told apart by."""
    if line.key is None:
        return [printable(line.name), *[""] * (len(section.by) - 1)]
    names = [key_name(line.key, by) for by in section.by]
    return [f"{names[0]} (idle)", *names[1:]] if line.idle else names


def key_name(key: Key, by: By) -> str:
    """Return what of a key it is told apart by, printable."""
    match by:
        case By.DETAIL:
            return detail_name(key.detail_kind, key.detail, key.detail_name, capped=key.detail_capped)
        case By.REASON:
            value: str | int | None = key.reason
        case By.VM:
            value = key.vm_id
        case By.VCPU:
            value = key.vcpu
        case By.CPU:
            value = key.cpu
    return NOT_RECORDED if value is None else printable(str(value))


def detail_name(kind: str | None, detail: int | None, name: str | None, *, capped: bool = False) -> str:
    """Return a detail in words: `msr 0x6e0 IA32_TSC_DEADLINE`."""
    if capped:
        return printable(f"{kind or 'others'} (other details)")
    if detail is None:
        return ""
    return detail_words(kind, detail, name)


def _columns(lines: Sequence[Line], level: float) -> _Columns:
    """Return the columns that have something to say of these lines."""
    columns: _Columns = {}
    if any(line.base_n is not None or line.new_n is not None for line in lines):
        columns |= {
            "base n": lambda line: readable.count(line.base_n),
            "new n": lambda line: readable.count(line.new_n),
        }
    columns |= {
        "base": lambda line: significant(scaled(line.estimate.base, scale_of(line)[0])),
        "new": lambda line: significant(scaled(line.estimate.new, scale_of(line)[0])),
        "ratio": lambda line: significant(line.estimate.ratio),
    }
    if any(line.estimate.difference_interval for line in lines):
        columns[f"{level_words(level)} interval"] = lambda line: either_interval(line.estimate, scale_of(line)[0])
    columns["difference"] = lambda line: signed(scaled(line.estimate.difference, scale_of(line)[0]))
    if any(line.verdict is not Verdict.NO_INTERVAL for line in lines):
        columns["verdict"] = verdict
    return columns


def _parts(columns: _Columns) -> tuple[int, ...]:
    """Return how many columns a narrow terminal shows at once: the figures, then how sure they are."""
    names = [name for name in columns if name != "unit"]
    first = names.index("ratio") if "ratio" in names else len(names)
    return tuple(filter(None, (first, len(names) - first)))


def _latencies(sections: Sequence[Section], level: float) -> Table:
    """Return the latencies of each key one below the other: what a key has too few exits for is one row."""
    every = [line for section in sections for line in section.lines]
    columns = _columns(every, level)
    counts = [name for name in ("base n", "new n") if name in columns]
    by = sections[0].by
    rows: list[tuple[str, ...]] = []
    for lines in zip(*(section.lines for section in sections), strict=True):
        alike = all(line.verdict is Verdict.NO_INTERVAL for line in lines) and len({verdict(x) for x in lines}) == 1
        shown = lines[:1] if alike else lines
        for place, (section, line) in enumerate(zip(sections, shown, strict=False)):
            names = line_names(line, section) if place == 0 else [""] * len(by)
            cells = ["" if place and name in counts else cell(line) for name, cell in columns.items()]
            rows.append((*names, LATENCIES[section.quantity], *cells))
    headings = (*(BY_WORDS[each] for each in by), "figure", *columns)
    return Table("Latency, µs", headings, tuple(rows), len(by) + 1, _parts(columns))
