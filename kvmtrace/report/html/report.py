"""The page of `kvmtrace report --format html`: a section for each run, or one page of one run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmtrace.report import document, readable, wording
from kvmtrace.report.html import latency_charts, overview, part_charts, rate_chart, slowest
from kvmtrace.report.html.charts import Reasons
from kvmtrace.report.html.from_blocks import from_blocks, from_table
from kvmtrace.report.html.parts import Facts, Page, Section, Text
from kvmtrace.report.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvmtrace.report.html.parts import Part
    from kvmtrace.report.html.run_figures import RunFigures
    from kvmtrace.report.summary import ExitTable, Summary

_FIRST_FACTS = ("source", "host", "VMs")
"""What tells a run from others; the rest stands at the end, as it answers nobody's first question."""


def page(runs: Sequence[RunFigures]) -> Page:
    """Return the page of runs: of one, its sections; of several, a section for each."""
    if len(runs) == 1:
        return Page(f"kvmtrace report: {_title(runs[0].summary)}", tuple(_sections(runs[0], "")))
    names = [_title(run.summary) for run in runs]
    sections = [
        Section(f"run-{n}", name, (), tuple(_sections(run, f"run-{n}-")))
        for n, (name, run) in enumerate(zip(names, runs, strict=True), start=1)
    ]
    return Page(f"kvmtrace report: {wording.listed(names)}", tuple(sections))


def _title(summary: Summary) -> str:
    return printable(summary.label.label or summary.manifest.source.title)


def _sections(run: RunFigures, prefix: str) -> Iterator[Section]:
    summary = run.summary
    if summary.exits is None:
        yield Section(f"{prefix}overview", "What was recorded", tuple(from_blocks(document.document(summary))))
        return
    exits = summary.exits
    yield Section(f"{prefix}overview", "Overview", tuple(_overview(run, exits)))
    yield Section(f"{prefix}exits", "Exits", tuple(_exits(run)))
    yield Section(f"{prefix}latency", "How long exits took", tuple(_latency(run, exits)))
    yield Section(f"{prefix}time", "Over time", tuple(_over_time(run, exits)))
    yield Section(f"{prefix}parts", "Where the time went", tuple(_split(run, exits)))
    yield Section(f"{prefix}vcpus", "vCPUs", tuple(_vcpus(run)))
    yield Section(f"{prefix}slowest", "Slowest exits", tuple(_slowest(run)))
    yield Section(f"{prefix}recorded", "How it was recorded", (Facts(_facts(summary)),))


def _overview(run: RunFigures, exits: ExitTable) -> Iterator[Part]:
    summary = run.summary
    if warnings := wording.warnings(summary):
        yield Text(tuple(map(printable, warnings)), warning=True)
    yield Text(tuple(overview.sentences(summary, exits, run.by_vcpu)))
    yield Facts(tuple(pair for pair in _facts(summary) if pair[0] in _FIRST_FACTS))


def _facts(summary: Summary) -> tuple[tuple[str, str], ...]:
    return ("run", printable(summary.manifest.run_id)), *document.facts(summary).pairs


def _exits(run: RunFigures) -> Iterator[Part]:
    for summary in (run.summary, run.asked, run.details):
        if summary is not None and summary.exits is not None:
            for table, _ in document.exit_tables(summary, summary.exits):
                yield from_table(table)
    yield Text(tuple(map(printable, wording.footnotes(run.details or run.summary))))


def _which(exits: ExitTable) -> str:
    return "all exits, idle ones too" if exits.with_idle else "exits that are not idle"


def _reasons(exits: ExitTable) -> Reasons:
    """Return the reasons of exits that are not idle, most time out of the guest first: the same in every chart."""
    groups = [group for section in exits.sections if not section.idle for group in section.groups]
    return Reasons.first_of(list(dict.fromkeys(group.key.reason for group in groups if group.key)))


def _latency(run: RunFigures, exits: ExitTable) -> Iterator[Part]:
    distribution = run.summary.distribution
    if not distribution:
        yield Text(("No exit that is not idle has a latency.",))
        return
    reasons = _reasons(exits)
    yield latency_charts.counts_chart(distribution, reasons, _which(exits))
    yield latency_charts.share_chart(distribution, reasons, _which(exits))


def _over_time(run: RunFigures, exits: ExitTable) -> Iterator[Part]:
    manifest = run.summary.manifest
    first, last = manifest.first_ts_ns, manifest.last_ts_ns
    if first is None or last is None or last <= first:
        yield Text(("When exits happened is not recorded.",))
        return
    if any(exits.with_idle or not each.idle for each in run.by_time):
        yield rate_chart.rate_chart(run.by_time, _reasons(exits), manifest, with_idle=exits.with_idle)
    if manifest.lost:
        yield rate_chart.loss_table(manifest)
    if run.latencies_by_time:
        yield latency_charts.heat_chart(run.latencies_by_time, last - first, _which(exits))


def _split(run: RunFigures, exits: ExitTable) -> Iterator[Part]:
    chart = part_charts.split_chart(exits)
    if chart is None:
        yield Text(("Where the time out of the guest went is not recorded: all of it is in the kernel or unclear.",))
        return
    yield chart
    for _, split in document.exit_tables(run.summary, exits):
        if split is not None:
            yield from_table(split)


def _vcpus(run: RunFigures) -> Iterator[Part]:
    chart = part_charts.vcpu_chart(run.by_vcpu)
    yield Text(("vCPUs are not recorded.",)) if chart is None else chart


def _slowest(run: RunFigures) -> Iterator[Part]:
    if not run.slowest:
        yield Text(("No exit has a latency.",))
        return
    longest = readable.count(len(run.slowest))
    yield Text((f"The {longest} exits that kept the guest out longest, without those that a loss may lie inside.",))
    yield from slowest.slowest_parts(run.slowest, run.summary.manifest.first_ts_ns or 0)
