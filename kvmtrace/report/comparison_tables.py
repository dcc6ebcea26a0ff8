"""The tables of a comparison: what is told apart, before and after; and which exits made the change."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

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
    from collections.abc import Callable, Collection, Iterator, Sequence

    from kvmtrace.comparing.comparison import Comparison
    from kvmtrace.comparing.lines import Line, Section
    from kvmtrace.exit_keys import Key

_COUNTS = ("base n", "new n")
LATENCIES = {"mean_ns": "mean", "p50_ns": "p50", "p99_ns": "p99"}


class _Column(NamedTuple):
    """What a line shows under a heading, and what that is sorted by; None: by the text."""

    text: Callable[[Line], str]
    order: Callable[[Line], float | None] | None = None


class _Row(NamedTuple):
    cells: tuple[str, ...]
    orders: tuple[float | None, ...]

    def without(self, columns: Collection[int]) -> _Row:
        """Return the row with the cells of `columns` left empty, as the row above has the same."""
        return self._replace(cells=tuple("" if at in columns else cell for at, cell in enumerate(self.cells)))


_Columns = dict[str, _Column]


def tables(comparison: Comparison, *, sortable: bool = False) -> Iterator[Table]:
    """Give a table for each kind of figure; those of latencies are one, a row for each figure.

    sortable: each row says all of its names, wherever it comes to stand.
    """
    level = comparison.options.level
    for latency, group in groupby(comparison.sections, lambda section: section.quantity in LATENCIES):
        if latency:
            yield _latencies(list(group), level, sortable=sortable)
        else:
            yield from (_table(section, level) for section in group if section.lines)


def _table(section: Section, level: float) -> Table:
    columns = _columns(section.lines, level)
    names = [BY_WORDS[by] for by in section.by] or ["figure" if section.quantity == "figure" else "event"]
    if section.quantity == "figure":
        columns = {"unit": _Column(lambda line: printable(scale_of(line)[1])), **columns}
    columns = {
        name: column for name, column in columns.items()
        if any(column.text(line) != readable.NONE for line in section.lines)
    }  # fmt: skip
    rows = [_row(line, section, columns) for line in section.lines]
    title = f"{section.title}{', µs' if section.unit.startswith('ns') else ''}"
    return _of_rows(title, (*names, *columns), rows, len(names) + ("unit" in columns), columns)


def _row(line: Line, section: Section, columns: _Columns, *figure: str) -> _Row:
    return _Row(
        (*line_names(line, section), *figure, *(column.text(line) for column in columns.values())),
        (
            *_name_orders(line, section),
            *(None for _ in figure),
            *(column.order(line) if column.order else None for column in columns.values()),
        ),
    )


def _name_orders(line: Line, section: Section) -> list[float | None]:
    """Return the numbers of vCPUs and CPUs, which are not to be sorted as words."""
    if line.key is None:
        return [None] * max(len(section.by), 1)
    numbers = {By.VCPU: line.key.vcpu, By.CPU: line.key.cpu}
    return [numbers.get(by) for by in section.by]


def line_names(line: Line, section: Section) -> list[str]:
    """Return what a line is called, a cell for each thing that exits are told apart by."""
    if line.key is None:
        return [printable(line.name), *[""] * (len(section.by) - 1)]
    names = [key_name(line.key, by) for by in section.by]
    return [f"{names[0]} (idle)", *names[1:]] if line.idle else names


def line_title(line: Line, section: Section) -> str:
    """Return what a line is called, in one piece."""
    reason, *others = line_names(line, section)
    return " ".join(filter(None, (*_without_detail(reason, others), *others)))


def cause_title(reason: str, detail: str) -> str:
    """Return a reason and a detail in one piece: `io port 0x3f8`, and `hypercall 10` once."""
    return " ".join(filter(None, (*_without_detail(reason, [detail]), detail)))


def _without_detail(reason: str, others: Sequence[str]) -> Sequence[str]:
    """Return the reason, unless the detail begins with it."""
    return () if any(other.startswith(f"{reason} ") for other in others) else (reason,)


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
            "base n": _figure(lambda line: line.base_n, readable.count),
            "new n": _figure(lambda line: line.new_n, readable.count),
        }
    columns |= {
        "base": _figure(lambda line: scaled(line.estimate.base, scale_of(line)[0])),
        "new": _figure(lambda line: scaled(line.estimate.new, scale_of(line)[0])),
        "ratio": _figure(lambda line: line.estimate.ratio),
    }
    if any(line.estimate.difference_interval for line in lines):
        columns[f"{level_words(level)} interval"] = _Column(
            lambda line: either_interval(line.estimate, scale_of(line)[0]),
            lambda line: line.estimate.ratio_interval and line.estimate.ratio_interval.low,
        )
    columns["difference"] = _figure(lambda line: scaled(line.estimate.difference, scale_of(line)[0]), signed)
    if any(line.verdict is not Verdict.NO_INTERVAL for line in lines):
        columns["verdict"] = _Column(verdict)
    return columns


def _figure(number: Callable[[Line], float | None], words: Callable[[float | None], str] = significant) -> _Column:
    return _Column(lambda line: words(number(line)), number)


def _parts(columns: _Columns) -> tuple[int, ...]:
    """Return how many columns a narrow terminal shows at once: the figures, then how sure they are."""
    names = [name for name in columns if name != "unit"]
    first = names.index("ratio") if "ratio" in names else len(names)
    return tuple(filter(None, (first, len(names) - first)))


def _latencies(sections: Sequence[Section], level: float, *, sortable: bool) -> Table:
    """Return the latencies of each key one below the other: what a key has too few exits for is one row."""
    columns = _columns([line for section in sections for line in section.lines], level)
    by = sections[0].by
    said_once = {*range(len(by)), *(len(by) + 1 + at for at, name in enumerate(columns) if name in _COUNTS)}
    rows: list[_Row] = []
    for lines in zip(*(section.lines for section in sections), strict=True):
        alike = all(line.verdict is Verdict.NO_INTERVAL for line in lines) and len({verdict(x) for x in lines}) == 1
        shown = lines[:1] if alike else lines
        for place, (section, line) in enumerate(zip(sections, shown, strict=False)):
            row = _row(line, section, columns, LATENCIES[section.quantity])
            rows.append(row.without(said_once) if place and not sortable else row)
    headings = (*(BY_WORDS[each] for each in by), "figure", *columns)
    return _of_rows("Latency, µs", headings, rows, len(by) + 1, columns)


def _of_rows(title: str, headings: tuple[str, ...], rows: Sequence[_Row], names: int, columns: _Columns) -> Table:
    cells, orders = tuple(row.cells for row in rows), tuple(row.orders for row in rows)
    return Table(title, headings, cells, names, _parts(columns), orders=orders)
