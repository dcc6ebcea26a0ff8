"""What changed between two sides of runs, as a result of the library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmtrace.api.options import keys, several
from kvmtrace.api.shown import Shown
from kvmtrace.comparing.claims import claim as read_claim
from kvmtrace.comparing.denominators import denominator
from kvmtrace.comparing.lines import Options
from kvmtrace.comparing.request import Request, answer
from kvmtrace.errors import UsageError
from kvmtrace.report.comparison import document

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from kvmtrace.comparing.comparison import Comparison
    from kvmtrace.report.blocks import Block
    from kvmtrace.store.connection import StoreConnection


@dataclass(frozen=True, repr=False)
class ComparisonResult(Shown):
    """What `kvmtrace compare` says; `comparison` has it in plain numbers, with the estimates of every figure."""

    comparison: Comparison

    @property
    def sentences(self) -> list[str]:
        """What changed, a sentence for each headline: the primary one first."""
        from kvmtrace.report import comparison_words

        return list(comparison_words.headlines(self.comparison))

    @property
    def warnings(self) -> list[str]:
        """What else differs between the sides, and what is not compared."""
        return list(self.comparison.warnings)

    def blocks(self) -> list[Block]:
        """Return what it says, in words."""
        return document(self.comparison)

    def figures(self) -> pl.DataFrame:
        """Return a row for each figure, the headlines first: both sides, ratio, difference, intervals, verdict, n."""
        from kvmtrace.api import frames
        from kvmtrace.report import comparison_machine

        return frames.of_rows(list(comparison_machine.rows(self.comparison)))

    def to_json(self) -> str:
        """Return the whole comparison as JSON."""
        from kvmtrace.report import comparison_machine

        return comparison_machine.to_json(self.comparison)

    def to_page(self) -> str:
        """Return it as an HTML page, one file that asks no network for anything, as `--format html` writes it."""
        from kvmtrace.report.html import comparison as html_comparison
        from kvmtrace.report.html.page import render

        return render(html_comparison.page(self.comparison))


def options(
    by: str | Sequence[str], per: str, *, with_idle: bool, events: bool, minimum_effect: float, level: float
) -> Options:
    """Return what is asked of a comparison. UsageError: one of them is none."""
    if not 0 <= minimum_effect < float("inf"):
        raise UsageError(f"minimum_effect: expected a share such as 0.01, found {minimum_effect!r}")
    if not 0 < level < 1:
        raise UsageError(f"level: expected a share between 0 and 1, found {level!r}", hint="0.95")
    return Options(keys(by), denominator(per), with_idle, events, minimum_effect, level)


def compare(
    connection: StoreConnection,
    base: str | Sequence[str],
    new: str | Sequence[str],
    asked: Options,
    claims: str | Sequence[str] = (),
) -> ComparisonResult:
    """Compare two sides, each a run, several runs, or all of a tag KEY=VALUE. UsageError: one is not there."""
    for side, names in (("base", base), ("new", new)):
        if not names:
            raise UsageError(f"{side}: expected a run, found none")
    request = Request(several(base), several(new), asked, tuple(map(read_claim, several(claims))))
    return ComparisonResult(answer(connection, request))
