"""What a prediction says, in words and tables for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmtrace.report import readable
from kvmtrace.report.models import Item, Section, as_markdown, as_text
from kvmtrace.report.whatif_tables import change_table, measure_table, ranking_table, vcpu_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from kvmtrace.predicting.ranking import Ranking
    from kvmtrace.predicting.result import Prediction, Refused
    from kvmtrace.stats.estimate import Estimate


def text(said: Iterable[Section]) -> str:
    """Return sections as text."""
    return as_text(said)


def markdown(said: Iterable[Section]) -> str:
    """Return sections as Markdown."""
    return as_markdown(said)


def predicted(prediction: Prediction) -> list[Section]:
    """Return what there is to say of a prediction, the answer first."""
    if not prediction.models:
        return [Section(f"Nothing is predicted for run {_run(prediction)}"), *_refused(prediction.refused)]
    return [
        Section(f"What if: {', '.join(prediction.models)} on run {_run(prediction)}", tuple(_answer(prediction))),
        *_cautions(prediction.cautions),
        Section("What becomes of the exits", table=change_table(prediction)),
        Section("The run, with it", table=measure_table(prediction)),
        Section("Time out of the guest, by vCPU", table=vcpu_table(prediction)),
        *_refused(prediction.refused),
        Section("Assumed", tuple(Item(*each) for each in prediction.assumptions)),
        Section("How to read it", tuple(_method(prediction))),
    ]


def ranked(ranking: Ranking) -> list[Section]:
    """Return the models that fit a run, those that save most first, and why the others are not among them."""
    run = f"{ranking.manifest.run_id} ({ranking.title})"
    found = ranking.predictions
    if not found:
        return [Section(f"No model fits run {run}"), *_refused(ranking.refused, "Not predicted")]
    cautions = dict.fromkeys(caution for each in found for caution in each.cautions)
    return [
        Section(f"What each model by itself would save on run {run}", table=ranking_table(ranking)),
        *_cautions(cautions),
        *_refused(ranking.refused, "Not predicted"),
        Section(
            "How to read it",
            (
                *_method(found[0]),
                Item("more", f"kvmtrace whatif RUN --model {found[0].models[0]} lists exits, vCPUs and assumptions"),
            ),
        ),
    ]


def _run(prediction: Prediction) -> str:
    return f"{prediction.manifest.run_id} ({prediction.title})"


def _answer(prediction: Prediction) -> Iterator[Item]:
    total, measures = prediction.total, prediction.measures
    seconds = prediction.seconds
    if total.gone is None or total.net_ns is None:
        yield Item("exits", f"{total.matching:,} of {prediction.exits:,} match; how many stay is not recorded")
    elif total.gone or total.most_gone:
        rate = f", {readable.fixed(total.gone / seconds)} per second" if seconds else ""
        fewer = "fewer" if total.gone >= 0 else "more"
        whole = f"{_round(abs(total.gone))} {fewer} of {prediction.exits:,}{rate}"
        yield Item("exits", f"{whole}; {_round(total.stay or 0)} of the matching ones stay")
    else:
        yield Item("exits", f"as many as before; {total.matching:,} of {prediction.exits:,} change")
    if total.saved_ns is not None:
        yield Item("time out of the guest", _time(prediction, total.saved_ns))
    if total.outside_ns is not None and total.net_ns is not None:
        yield Item(
            "with what no recording shows", f"{_less(total.outside_ns)} outside of it: {_less(total.net_ns)} in all"
        )
    if unseen := sum(
        each.effect.gone or 0 for each in prediction.changes if each.action == "remove" and each.unseen_ns
    ):
        yield Item("seen no more", f"{_round(unseen)} of them still happen, where no tracepoint fires")
    yield Item("at most", _at_most(prediction))
    before = None if not prediction.injections else prediction.exits / prediction.injections
    after = measures.exits_per_injection
    if before and after is not None and after.new is not None and total.gone:
        yield Item(
            "exits per injected interrupt",
            f"from {readable.fixed(before)} to {readable.fixed(after.new)}{_interval(after)}, "
            f"{readable.ratio(after.new / before)} of what it was",
        )


def _round(exits: float) -> str:
    return readable.count(round(exits, 2))


def _time(prediction: Prediction, saved_ns: float) -> str:
    vcpu_ns = prediction.vcpu_ns
    share = f", {readable.percent(saved_ns / vcpu_ns)}% of the vCPUs' time" if vcpu_ns and saved_ns > 0 else ""
    of = f" of {readable.duration(prediction.out_ns)}" if prediction.out_ns else ""
    return f"{_less(saved_ns)}{of}{share}"


def _less(ns: float) -> str:
    return f"{readable.duration(abs(ns))} {'less' if ns >= 0 else 'more'}"


def _at_most(prediction: Prediction) -> str:
    total = prediction.total
    exits = f"{total.most_gone:,} exits and " if total.most_gone else ""
    return f"{exits}{readable.duration(total.most_net_ns)} less, if no matching exit stayed and none cost anything"


def _interval(estimate: Estimate) -> str:
    ends = estimate.difference_interval
    if ends is None:
        return f" (no interval: {estimate.missing})"
    return f" ({estimate.level:.0%} interval {readable.fixed(ends.low)} to {readable.fixed(ends.high)})"


def _cautions(cautions: Iterable[str]) -> list[Section]:
    items = tuple(Item("not told", each) for each in cautions)
    return [Section("Check yourself", items)] if items else []


def _refused(refused: Sequence[Refused], title: str = "Not applied") -> list[Section]:
    items = tuple(Item(f"{each.model}, {each.change}" if each.change else each.model, each.why) for each in refused)
    return [Section(title, items)] if items else []


def _method(prediction: Prediction) -> Iterator[Item]:
    found = [
        estimate
        for estimate in (prediction.measures.net_ns_per_s, prediction.measures.exits_per_s)
        if estimate is not None
    ]
    for estimate in found[:1]:
        bins = f"{prediction.blocks} bins of {readable.duration(prediction.block_ns)}"
        yield Item("intervals", f"{estimate.level:.0%}, {estimate.method}, {bins}; n: independent {estimate.unit_of_n}")
        yield Item(
            "within this run only", "how much another run differs is not in them, nor whether the condition is right"
        )
    if prediction.time_ns:
        yield Item("rates", f"per second of {prediction.time_is} time ({readable.seconds(prediction.time_ns)})")
    yield Item("idle exits", "waiting, not cost: they count as exits, and their time is in no figure")
