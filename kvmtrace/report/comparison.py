"""A comparison as people read it, in words, before any layout: what changed first, then why, then the figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmtrace.report import comparison_footnotes, comparison_waterfall, comparison_words, readable
from kvmtrace.report.blocks import Sentences, Table
from kvmtrace.report.comparison_tables import tables
from kvmtrace.report.printable import printable, short
from kvmtrace.report.wording import listed, of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from kvmtrace.comparing.comparison import Comparison
    from kvmtrace.comparing.run_data import RunData
    from kvmtrace.comparing.sides import Side
    from kvmtrace.report.blocks import Block

_RUNS_LISTED = 2
_LONGEST_TITLE = 50


def document(comparison: Comparison) -> list[Block]:
    """Return what a comparison says, in reading order. Names of the recordings are made printable."""
    return [*what_changed(comparison), *what_made_it(comparison), *tables(comparison), *notes(comparison)]


def title(comparison: Comparison) -> str:
    """Return what is compared with what, each of them short."""
    base, new = (short(_side_name(side), _LONGEST_TITLE) for side in (comparison.base, comparison.new))
    return f"{base} against {new}"


def _side_name(side: Side) -> str:
    return side.runs[0].title if len(side.runs) == 1 else f"{len(side.runs)} runs ({side.runs[0].title}, …)"


def what_changed(comparison: Comparison) -> Iterator[Block]:
    """Give what changed of the whole, what the sides are and in what else they differ, and what was claimed."""
    said = comparison_words.headlines(comparison)
    yield _sentences(said or ["Nothing of the whole is recorded on both sides: see what there is below."])
    yield _sides(comparison)
    if comparison.warnings:
        yield _sentences(comparison.warnings, warning=True)
    if comparison.claims:
        yield _sentences([comparison_words.claim(claimed) for claimed in comparison.claims])


def what_made_it(comparison: Comparison) -> Iterator[Block]:
    """Give the steps of the change; where they cannot be told, that they are not."""
    yield from comparison_waterfall.blocks(comparison)
    if comparison.waterfall is None and any(section.quantity == "exits" for section in comparison.sections):
        yield _sentences([f"What made the change is not told per {comparison.options.per.words}."])


def notes(comparison: Comparison) -> Iterator[Block]:
    """Give what stands below the figures."""
    if said := comparison_footnotes.footnotes(comparison):
        yield _sentences(said)


def _sentences(texts: Iterable[str], *, warning: bool = False) -> Sentences:
    return Sentences(tuple(map(printable, texts)), warning=warning)


def _sides(comparison: Comparison) -> Table:
    """Return what both sides are, one beside the other."""
    told = [_facts(side) for side in (comparison.base, comparison.new)]
    rows = [(name, *(facts[name] or readable.NONE for facts in told)) for name in told[0] if any(f[name] for f in told)]
    return Table("The sides", ("", "base", "new"), tuple(rows), 3)


def _facts(side: Side) -> dict[str, str]:
    runs = side.runs
    facts = {
        "runs": _runs(runs),
        "source": _all(dict.fromkeys(f"{run.manifest.source.title} ({run.manifest.source.format})" for run in runs)),
        "host": _told(runs, "hostname"),
        "kernel": _told(runs, "kernel"),
        "CPU": _told(runs, "cpu"),
        "vCPUs": _all(dict.fromkeys(str(run.vcpus) for run in runs if run.vcpus is not None)),
        "recorded": _recorded(runs),
    }
    return {name: printable(text) for name, text in facts.items()}


def _runs(runs: Sequence[RunData]) -> str:
    names = [" ".join(filter(None, (run.label.label, run.manifest.run_id))) for run in runs]
    return names[0] if len(runs) == 1 else f"{of(len(runs), 'run')}: {_all(names)}"


def _told(runs: Sequence[RunData], fact: str) -> str:
    return _all(dict.fromkeys(str(run.manifest.host[fact]) for run in runs if run.manifest.host.get(fact)))


def _all(texts: Iterable[str]) -> str:
    return listed(list(texts), _RUNS_LISTED)


def _recorded(runs: Sequence[RunData]) -> str:
    seconds = [run.seconds for run in runs if run.seconds is not None]
    if not seconds:
        return ""
    low, high = (readable.seconds(each(seconds) * 1e9) for each in (min, max))
    return low if low == high else f"{low} to {high}"
