"""All that a comparison says, in plain numbers: built here from the sums of two sides, shown by `report`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kvmtrace.comparing import claims, differences
from kvmtrace.comparing.run_data import NotRecordedError
from kvmtrace.comparing.tables import Tables
from kvmtrace.comparing.waterfall import waterfall
from kvmtrace.stats.verdicts import holm, verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvmtrace.comparing.claims import Claim, Claimed
    from kvmtrace.comparing.lines import Line, Options, Section
    from kvmtrace.comparing.sides import Side
    from kvmtrace.comparing.waterfall import Waterfall


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two sides, and what changed."""

    base: Side
    new: Side
    options: Options
    headlines: tuple[Line, ...]  # the primary one first
    sections: tuple[Section, ...]
    waterfall: Waterfall | None
    warnings: tuple[str, ...]
    tested: int  # figures beside the primary one that have a p: Holm's number of them
    claims: tuple[Claimed, ...]

    @property
    def within_one_run(self) -> bool:
        """Samples are blocks of one run a side: nothing is known of how runs differ."""
        return len(self.base.runs) == len(self.new.runs) == 1


def compare(
    base: Side, new: Side, detailed: tuple[Side, Side] | None, options: Options, claimed: Iterable[Claim] = ()
) -> Comparison:
    """Compare two sides; `detailed` are the same runs with the details of their exits told apart, as wholes.

    UsageError: a claim is about what no run has.
    """
    tables = Tables(base, new, options)
    headlines, sections = list(tables.headlines()), [s for s in tables.sections() if s.lines]
    rest = headlines[1:] + [line for section in sections for line in section.lines]
    adjusted = holm([line.estimate.p for line in rest])
    judged = iter([_judged(line, p, options) for line, p in zip(rest, adjusted, strict=True)])
    first = [replace(_judged(line, None, options), primary=True) for line in headlines[:1]]
    first += [next(judged) for _ in headlines[1:]]
    sections = [replace(section, lines=tuple(next(judged) for _ in section.lines)) for section in sections]
    return Comparison(
        base,
        new,
        options,
        tuple(first),
        tuple(sections),
        _waterfall(detailed, options),
        tuple(differences.warnings(base, new)),
        sum(p is not None for p in adjusted),
        tuple(claims.check(each, base, new, options.level) for each in claimed),
    )


def _judged(line: Line, adjusted_p: float | None, options: Options) -> Line:
    said = verdict(line.estimate, adjusted_p=adjusted_p, minimum_effect=options.minimum_effect, level=options.level)
    return replace(line, adjusted_p=adjusted_p, verdict=said)


def _waterfall(detailed: tuple[Side, Side] | None, options: Options) -> Waterfall | None:
    if detailed is None:
        return None
    try:
        return waterfall(*detailed, options.per.term, with_idle=options.with_idle)
    except NotRecordedError:
        return None
