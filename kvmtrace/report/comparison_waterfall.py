"""The steps of a change as people read them: the largest one by one, the others added up, and the whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kvmtrace.comparing.waterfall import Change
from kvmtrace.report.blocks import Sentences, Table
from kvmtrace.report.comparison_numbers import signed, significant
from kvmtrace.report.comparison_tables import cause_title, detail_name
from kvmtrace.report.key_words import NOT_RECORDED
from kvmtrace.report.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvmtrace.comparing.comparison import Comparison
    from kvmtrace.comparing.waterfall import Step, Waterfall
    from kvmtrace.report.blocks import Block

SHOWN = 12


class Sum(NamedTuple):
    """A row: one step, or several added up."""

    reason: str
    detail: str
    change: str
    exits: float
    time_ns: float


def rows(waterfall: Waterfall, shown: int = SHOWN) -> list[Sum]:
    """Return the `shown` largest steps, those by time or by exits, and the others in one row; they are the whole."""
    whole = sum(abs(step.exits) for step in waterfall.steps), sum(abs(step.time_ns) for step in waterfall.steps)
    steps = sorted(waterfall.steps, key=lambda step: -_size(step, whole))
    if len(steps) == shown + 1:
        shown += 1  # one step under "the others" is no shorter than the step itself
    named = [_row(step) for step in steps[:shown]]
    rest = steps[shown:]
    if rest:
        words = f"the other {len(rest)} steps"
        named.append(Sum(words, "", "", sum(s.exits for s in rest), sum(s.time_ns for s in rest)))
    return named


def _size(step: Step, whole: tuple[float, float]) -> float:
    """Return which part a step is of all the ups and downs, of exits or of time, whichever is more."""
    parts = zip((step.exits, step.time_ns), whole, strict=True)
    return max(abs(own) / total if total else 0.0 for own, total in parts)


def _row(step: Step) -> Sum:
    cause = step.cause
    if cause is None:
        return Sum(str(Change.UNKNOWN), "", "", step.exits, step.time_ns)
    change = f"moved to {step.moved_to or NOT_RECORDED}" if step.change is Change.MOVED else str(step.change)
    detail = detail_name(cause.detail_kind, cause.detail, cause.detail_name)
    reason = NOT_RECORDED if cause.reason is None else printable(cause.reason)
    return Sum(reason, detail, printable(change), step.exits, step.time_ns)


class Bar(NamedTuple):
    """A bar of the bridge from base to new: the whole of a side, or a step from where the one before it ends."""

    name: str
    start: float
    end: float
    row: Sum | None = None  # None: the whole of a side

    @property
    def change(self) -> float:
        """From where it starts to where it ends."""
        return self.end - self.start

    @property
    def words(self) -> str:
        """The change, with its sign where it is a step."""
        return significant(self.change) if self.row is None else signed(self.change)


def bridge(waterfall: Waterfall, rows: Sequence[Sum], *, timed: bool) -> list[Bar]:
    """Return base, the steps that change anything and new: in µs out of the guest (`timed`), else in exits."""
    base, new = (
        (waterfall.base_time_ns / 1e3, waterfall.new_time_ns / 1e3) if timed
        else (waterfall.base_exits, waterfall.new_exits)
    )  # fmt: skip
    bars = [Bar("base", 0.0, base)]
    for row in rows:
        if step := row.time_ns / 1e3 if timed else row.exits:
            bars.append(Bar(step_name(row), bars[-1].end, bars[-1].end + step, row))
    return [*bars, Bar("new", 0.0, new)]


def step_name(row: Sum) -> str:
    """Return what a step is, its change first: that is not to be cut off."""
    cause = cause_title(row.reason, row.detail)
    return f"{row.change}: {cause}" if row.change else cause


def blocks(comparison: Comparison) -> Iterator[Block]:
    """Give the table of the steps, with the whole below it."""
    waterfall = comparison.waterfall
    if waterfall is None or not waterfall.steps:
        return
    per = comparison.options.per.words
    total = Sum(
        "total",
        "",
        "",
        waterfall.new_exits - waterfall.base_exits,
        waterfall.new_time_ns - waterfall.base_time_ns,
    )
    shown = rows(waterfall)
    yield Table(
        f"What made the change, per {printable(per)}",
        ("reason", "detail", "change", "exits", "time µs"),
        tuple(
            (row.reason, row.detail, row.change, signed(row.exits), signed(row.time_ns / 1e3))
            for row in (*shown, total)
        ),
        3,
        totals=1,
        orders=tuple((None, None, None, row.exits, row.time_ns / 1e3) for row in (*shown, total)),
    )
    yield Sentences((_whole(waterfall, per), *_explained(shown, with_idle=comparison.options.with_idle)))


def _whole(waterfall: Waterfall, per: str) -> str:
    exits = f"{significant(waterfall.base_exits)} to {significant(waterfall.new_exits)}"
    time = f"{significant(waterfall.base_time_ns / 1e3)} to {significant(waterfall.new_time_ns / 1e3)}"
    return printable(
        f"total: from {exits} exits and from {time} µs out of the guest, per {per}; the steps add up to it."
    )


def _explained(shown: Sequence[Sum], *, with_idle: bool) -> Iterator[str]:
    changes = {row.change for row in shown}
    if changes & {"fewer", "more", "cheaper", "dearer"}:
        yield "fewer, more: at the cost that they had in base; cheaper, dearer: those that new has."
    if not with_idle:
        yield "Idle exits are counted, their time is not."
