"""Runs of a back end of KVM that tells no exits: the tracepoints that fired are what is compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from compare_samples import keyed, run, side

from kvmtrace.comparing.comparison import Comparison, compare
from kvmtrace.comparing.lines import Options
from kvmtrace.stats.verdicts import Verdict
from kvmtrace.store.manifest import Tracepoint

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from kvmtrace.comparing.run_data import RunData

NAMES = ("kvm_exit", "kvm_pio", "kvm_fpu", "kvm_userspace_exit")


def recorded(kind: str = "recording", **counts: int) -> RunData:
    tracepoints = tuple(Tracepoint("kvm", name, counts.get(name, 0), counts.get(name, 0)) for name in NAMES)
    events: dict[str, ArrayLike] = {each: [counts.get(name, 0)] for name in NAMES for each in (name, f"kvm:{name}")}
    return run(events=events, manifest={"kind": kind, "tracepoints": tracepoints, "exits": {"rows": 0}})


def compared(base: list[RunData], new: list[RunData]) -> Comparison:
    return compare(side("base", *base), side("new", *new), None, Options())


def test_returns_to_userspace_are_the_first_figure_and_have_a_verdict() -> None:
    base, new = ([recorded(kvm_userspace_exit=n + k, kvm_fpu=9 * n) for k in range(3)] for n in (500, 1500))
    found = compared(base, new)
    assert [(line.name, line.unit, line.verdict) for line in found.headlines] == [
        ("exits to userspace", "per second", Verdict.ROSE)
    ]
    assert "No exit was recorded on either side: the events that fired are compared." in found.warnings
    assert [line.name for line in found.sections[0].lines] == ["kvm:kvm_fpu", "kvm:kvm_userspace_exit"]


def test_else_the_event_that_fired_most_is() -> None:
    found = compared([recorded(kvm_pio=5, kvm_fpu=90)], [recorded(kvm_pio=6, kvm_fpu=80)])
    assert [line.name for line in found.headlines] == ["kvm:kvm_fpu"]


def test_exits_on_one_side_are_compared_as_exits() -> None:
    exits = run(keyed("npf", [40]), events={"kvm_exit": [40], "kvm:kvm_exit": [40]})
    found = compared([recorded(kvm_pio=5)], [exits])
    assert [line.name for line in found.headlines] == ["exits"]


@pytest.mark.parametrize("kind", ["counters"])
def test_counters_of_somebody_else_have_no_event_for_the_whole(kind: str) -> None:
    found = compared([recorded(kind, kvm_pio=5)], [recorded(kind, kvm_pio=6)])
    assert [line.name for line in found.headlines] == ["exits"]
