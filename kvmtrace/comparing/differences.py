"""What else differs between two sides than what is compared: each is a reason to doubt what made the change."""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING

from kvmtrace.unseen import unseen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from kvmtrace.comparing.run_data import RunData
    from kvmtrace.comparing.sides import Side
    from kvmtrace.store.manifest import Manifest

_FACTS = {
    "kernel": "kernel",
    "arch": "architecture",
    "cpu": "processor",
    "hostname": "host",
    "cpus_online": "CPUs online",
}
_SETTINGS = frozenset(
    {
        "kernel_cmdline", "microcode", "smt", "governor", "turbo", "clocksource", "transparent_hugepage", "numa_nodes",
        "cpus_isolated", "vulnerability", "kvm", "kvm_intel", "kvm_amd", "kvm_hv", "kvm_pr", "kvm_arm", "kvm_pvm",
    }
)  # fmt: skip
"""Names of the environment, or what they begin with before the first point."""
_LISTED = 8
_NUMBERED = re.compile(r"(.+) #\d+")
_LONGER = 1.2
"""Recordings that differ more in length may differ in their phases, too."""
_PARTLY = 0.05
"""Part of the time that events or a counter may have been off without a word."""


def warnings(base: Side, new: Side) -> list[str]:
    """Say what differs, one plain sentence each."""
    parts: tuple[Callable[[Side, Side], Iterator[str]], ...] = (
        _same_run, _kinds, _host, _settings, _environment, _tracepoints, _without_exits,
        _durations, _vcpus, _losses, _sampled, _multiplexed,
        _without_length, _rows_of_one_name, _unseen, _models,
    )  # fmt: skip
    return list(dict.fromkeys(chain.from_iterable(part(base, new) for part in parts)))


def _manifests(side: Side) -> list[Manifest]:
    return [run.manifest for run in side.runs]


def _listed(items: Iterable[str]) -> str:
    items = sorted(items)
    more = len(items) - _LISTED
    return ", ".join(items[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def _same_run(base: Side, new: Side) -> Iterator[str]:
    both = {m.run_id for m in _manifests(base)} & {m.run_id for m in _manifests(new)}
    if both:
        yield f"The same run is on both sides: {_listed(both)}."


def _kinds(base: Side, new: Side) -> Iterator[str]:
    kinds = [{m.kind for m in _manifests(side)} for side in (base, new)]
    if kinds[0] != kinds[1] or len(kinds[0]) > 1:
        told = " against ".join(_listed(kind.replace("_", " ") for kind in side) for side in kinds)
        yield f"Runs of different kinds are compared ({told}): only what both tell is."


def _host(base: Side, new: Side) -> Iterator[str]:
    for key, words in _FACTS.items():
        told = [{str(m.host[key]) for m in _manifests(side) if m.host.get(key)} for side in (base, new)]
        if told[0] and told[1] and told[0] != told[1]:
            yield f"The sides differ in {words}: {_listed(told[0])} before, {_listed(told[1])} after."
        elif bool(told[0]) != bool(told[1]) and key in ("kernel", "cpu"):
            yield f"The {words} is recorded on one side only: whether the sides differ in it is not known."


def _settings(base: Side, new: Side) -> Iterator[str]:
    """Tell settings apart that a recorder kept: module parameters, mitigations and the like."""
    keys = {
        key for m in chain(_manifests(base), _manifests(new)) for key in m.host if "." in key or key.startswith("kvm")
    }
    for key in sorted(keys):
        told = [{str(m.host.get(key, "not recorded")) for m in _manifests(side)} for side in (base, new)]
        if told[0] != told[1]:
            yield f"The sides differ in {key}: {_listed(told[0])} before, {_listed(told[1])} after."


def _environment(base: Side, new: Side) -> Iterator[str]:
    """Tell what `kvmtrace record` saw of the host: settings that are known to move exits or their cost."""
    told = [[m.environment for m in _manifests(side)] for side in (base, new)]
    if not any(chain(*told)):
        return
    if not all(chain(*told)):
        yield "The settings of the host are recorded of some runs only: whether the sides differ in them is not known."
        return
    names = {name for each in chain(*told) for name in each if name in _SETTINGS or name.partition(".")[0] in _SETTINGS}
    differing = []
    for name in sorted(names):
        values = [{each.get(name) for each in side} - {None} for side in told]
        if all(values) and values[0] != values[1]:
            differing.append(f"{name} ({_listed(map(str, values[0]))} before, {_listed(map(str, values[1]))} after)")
    if differing:
        more = len(differing) - _LISTED
        beside = f" and {more} more settings" if more > 0 else ""
        yield f"The sides differ in settings of the host: {', '.join(differing[:_LISTED])}{beside}."


def _without_exits(base: Side, new: Side) -> Iterator[str]:
    manifests = [*_manifests(base), *_manifests(new)]
    recorded = [
        m for m in manifests if m.kind == "recording" and any(t.system.startswith("kvm") for t in m.tracepoints)
    ]
    if recorded and len(recorded) == len(manifests) and not any(m.exits.get("rows") for m in manifests):
        yield "No exit was recorded on either side: the events that fired are compared."


def _tracepoints(base: Side, new: Side) -> Iterator[str]:
    if not all(m.tells_enabled and m.tracepoints for m in chain(_manifests(base), _manifests(new))):
        return
    first, second = ({f"{t.system}:{t.event}" for m in _manifests(side) for t in m.tracepoints} for side in (base, new))
    for only, which in ((first - second, "base"), (second - first, "new")):
        if only:
            yield (
                f"Recorded on the {which} side only, so not compared and never 0 on the other: {_listed(only)}. Each "
                "tracepoint that is enabled also costs time."
            )


def _durations(base: Side, new: Side) -> Iterator[str]:
    first, second = ([run.seconds for run in side.runs if run.seconds] for side in (base, new))
    if first and second:
        low, high = sorted((sum(first) / len(first), sum(second) / len(second)))
        if high > low * _LONGER:
            yield f"The sides were recorded for different times: {_mean_s(first)} before, {_mean_s(second)} after."
    for m in chain(_manifests(base), _manifests(new)):
        if m.enabled_ns and m.elapsed_ns and m.enabled_ns < m.elapsed_ns * (1 - _PARTLY):
            yield (
                f"Events of {m.source.title} were enabled for {m.enabled_ns / 1e9:.3f} s of {m.elapsed_ns / 1e9:.3f} s:"
                " rates are per second enabled."
            )


def _mean_s(seconds: Sequence[float]) -> str:
    return f"{sum(seconds) / len(seconds):.3f} s" + (f" (mean of {len(seconds)} runs)" if len(seconds) > 1 else "")


def _vcpus(base: Side, new: Side) -> Iterator[str]:
    first, second = ({run.vcpus for run in side.runs if run.vcpus} for side in (base, new))
    if first and second and first != second:
        yield f"The sides differ in vCPUs: {_listed(map(str, first))} before, {_listed(map(str, second))} after."


def _losses(base: Side, new: Side) -> Iterator[str]:
    for side in (base, new):
        for run in side.runs:
            lost = run.manifest.most_lost
            if lost:
                yield f"{run.title} ({side.name}) lost {lost:,} events: its counts are too low, some exits are suspect."


def _sampled(base: Side, new: Side) -> Iterator[str]:
    for run in chain(base.runs, new.runs):
        varying = [f"{t.system}:{t.event}" for t in run.manifest.tracepoints if t.period == 0]
        scaled = [f"{t.system}:{t.event} (1 in {t.period})" for t in run.manifest.tracepoints if t.period > 1]
        if scaled:
            yield f"Sampled in {run.title}: {_listed(scaled)}: counts are multiplied, latencies are unreliable."
        if varying:
            yield f"Sampled in {run.title} with a varying period, so not compared: {_listed(varying)}."


def _multiplexed(base: Side, new: Side) -> Iterator[str]:
    """Tell counters that had to share the processor's few: perf takes what it saw for the whole time."""
    for run in chain(base.runs, new.runs):
        partly = [
            f"{name} ran {share:.2%} of its time" for name, share in run.running_share.items() if share < 1 - _PARTLY
        ]
        if partly:
            yield f"{_listed(partly)} in {run.title}: perf scaled what it counted."


def _without_length(base: Side, new: Side) -> Iterator[str]:
    for run in chain(base.runs, new.runs):
        if run.manifest.source.format == "kvm-stat" and run.seconds is None:
            yield (
                f"{run.title} is of kvm_stat, so no rate is known, only counts per event (--per EVENT); rows of a log "
                "are added up."
            )


def _rows_of_one_name(base: Side, new: Side) -> Iterator[str]:
    """Say of UNKNOWN #2 that its number is all that pairs it."""
    of_sides = [{name for run in side.runs if _is_table(run) for name in run.figures} for side in (base, new)]
    several = {match[1] for name in of_sides[0] & of_sides[1] if (match := _NUMBERED.fullmatch(name))}
    if several:
        yield f"Several rows of one name ({_listed(several)}) are paired by their order: they may not be the same."


def _is_table(run: RunData) -> bool:
    return run.manifest.kind == "exit_summaries"


def _unseen(base: Side, new: Side) -> Iterator[str]:
    said = [{sentence for m in _manifests(side) for sentence in unseen(m)} for side in (base, new)]
    for sentence in sorted(said[0] | said[1]):
        where = [side.name for side, sentences in zip((base, new), said, strict=True) if sentence in sentences]
        if len(where) == 1:
            yield f"On the {where[0]} side only: {sentence} More exits on the other side may be the same work."
        else:
            yield sentence


def _models(base: Side, new: Side) -> Iterator[str]:
    synthetic = [{m.source.format == "model" for m in _manifests(side)} for side in (base, new)]
    if synthetic[0] != synthetic[1]:
        yield "One side is a model, the other a recording."
