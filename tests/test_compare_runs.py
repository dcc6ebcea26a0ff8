"""Comparisons of runs in a store: what is read of them, what is said of how they differ, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from compare_samples import keyed, manifest, run, side

from kvmtrace.comparing.claims import Outcome, claim
from kvmtrace.comparing.denominators import denominator
from kvmtrace.comparing.differences import warnings
from kvmtrace.comparing.lines import Line, Options
from kvmtrace.comparing.request import Request, answer
from kvmtrace.errors import UsageError
from kvmtrace.exit_keys import By
from kvmtrace.ingesting import ingest
from kvmtrace.stats.verdicts import Verdict
from kvmtrace.store.connection import StoreConnection
from kvmtrace.store.label import Label
from kvmtrace.store.manifest import Lost, Tracepoint

if TYPE_CHECKING:
    from kvmtrace.comparing.comparison import Comparison

RECORDINGS = Path(__file__).parent / "data" / "recordings"
EXITS = {"off": 2390, "on": 1363}
INTERRUPTS = {"off": 1162, "on": 1228}
MAIL = """ Performance counter stats for 'sleep 1s':
            {0[0]} kvm:kvm_exit                                  [99.98%]
             {0[1]} kvm:kvm_pio                                   [99.98%]
            {0[2]} kvm:kvm_inj_virq                              [99.98%]
       {1} seconds time elapsed
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real pair of PV EOI off and on, and the counters of the mail of 2012."""
    folder = tmp_path_factory.mktemp("compare")
    store = folder / "store"
    for state in ("off", "on"):
        path = RECORDINGS / f"pveoi-idletick-xapic-{state}.perf.data.zst"
        ingest(str(path), store, Label(state, {"guest": "idle"}))
    for name, counts, elapsed in (
        ("before", ("49,849", "5,001", "21,115"), "1.002100578"),
        ("after", ("29,595", "1,347", "24,884"), "1.002039622"),
    ):
        text = folder / f"{name}.txt"
        text.write_text(MAIL.format(counts, elapsed))
        ingest(str(text), store, Label(name))
    return store


def compared(store: Path, base: str, new: str, options: Options | None = None, *claims: str) -> Comparison:
    with StoreConnection(store) as connection:
        request = Request((base,), (new,), options or Options(), tuple(map(claim, claims)))
        return answer(connection, request)


def line(lines: tuple[Line, ...], name: str) -> Line:
    (found,) = (each for each in lines if (each.key.reason if each.key else each.name) == name)
    return found


def test_the_real_pair_is_compared_per_interrupt(store: Path) -> None:
    found = compared(store, "off", "on", Options(per=denominator("kvm_inj_virq")))
    primary = found.headlines[0]
    assert (primary.base_n, primary.new_n) == (EXITS["off"], EXITS["on"])
    assert primary.estimate.base == pytest.approx(EXITS["off"] / INTERRUPTS["off"])
    assert primary.estimate.new == pytest.approx(EXITS["on"] / INTERRUPTS["on"])
    assert primary.estimate.ratio == pytest.approx(0.539642, abs=1e-6)
    assert primary.verdict is Verdict.FELL
    assert primary.primary
    assert primary.adjusted_p is None
    assert found.within_one_run
    exits = found.sections[0]
    assert (exits.quantity, exits.unit) == ("exits", "per injected interrupt")
    assert {each.key.reason: each.base_n for each in exits.lines if each.key} == {
        "npf": 1123, "hlt": 1065, "io": 113, "vintr": 49, "interrupt": 32, "msr": 4, "hypercall": 4,
    }  # fmt: skip
    assert line(exits.lines, "npf").verdict is Verdict.FELL
    assert line(exits.lines, "hlt").idle


def test_the_waterfall_of_the_real_pair_names_the_eoi_and_adds_up(store: Path) -> None:
    falling = compared(store, "off", "on").waterfall
    assert falling is not None
    assert falling.steps[0].cause is not None
    assert falling.steps[0].cause[:2] == ("npf", "gpa")
    assert falling.steps[0].cause.detail_name == "APIC_EOI"
    assert sum(s.exits for s in falling.steps) == pytest.approx(falling.new_exits - falling.base_exits)
    assert sum(s.time_ns for s in falling.steps) == pytest.approx(falling.new_time_ns - falling.base_time_ns)


def test_the_mail_of_2012_is_compared_in_its_three_ways_without_an_interval(store: Path) -> None:
    found = compared(store, "before", "after")
    ratios = [round(each.estimate.ratio or 0, 3) for each in found.headlines]
    assert ratios == [0.594, 0.504, 0.534]
    assert {each.estimate.missing for each in found.headlines} == {"two single figures carry no interval"}
    assert {each.verdict for each in found.headlines} == {Verdict.NO_INTERVAL}
    assert found.waterfall is None


def test_a_recording_and_counters_compare_by_the_events_that_both_tell(store: Path) -> None:
    found = compared(store, "off", "before")
    assert found.headlines[0].estimate.ratio_interval is None
    assert any("different kinds" in sentence for sentence in found.warnings)


def test_a_run_against_itself_has_not_changed_and_that_is_said(store: Path) -> None:
    found = compared(store, "off", "off")
    assert found.headlines[0].estimate.ratio == 1.0
    assert found.headlines[0].verdict is Verdict.UNDECIDED
    assert any("The same run is on both sides" in sentence for sentence in found.warnings)


@pytest.mark.parametrize(
    "by", [(By.DETAIL,), (By.REASON, By.DETAIL), (By.VCPU,), (By.VM,), (By.CPU,), (By.REASON, By.VCPU)]
)
def test_whatever_exits_are_told_apart_by_they_are_all_there(store: Path, by: tuple[By, ...]) -> None:
    section = compared(store, "off", "on", Options(by=by)).sections[0]
    assert sum(each.base_n or 0 for each in section.lines) == EXITS["off"]
    assert sum(each.new_n or 0 for each in section.lines) == EXITS["on"]


def test_holm_counts_what_is_tested_beside_the_primary_figure(store: Path) -> None:
    found = compared(store, "off", "on")
    rest = [*found.headlines[1:], *(each for section in found.sections for each in section.lines)]
    assert found.tested == sum(each.estimate.p is not None for each in rest)
    assert all((each.adjusted_p or 1) >= (each.estimate.p or 0) for each in rest)


def test_claims_are_held_to_the_data(store: Path) -> None:
    found = compared(
        store, "off", "on", None, "ratio(kvm_exit / kvm_inj_virq) <= 0.7", "ratio(exits('npf', 'APIC_EOI')) < 0.2"
    )
    assert [each.outcome for each in found.claims] == [Outcome.SUPPORTED, Outcome.SUPPORTED]


def test_tags_name_many_runs_and_a_wrong_event_is_refused(store: Path) -> None:
    found = compared(store, "guest=idle", "on")
    assert [run_.label.label for run_ in found.base.runs] == ["off", "on"]
    assert found.headlines[0].estimate.missing == "not enough runs: need 3 a side, found 2 and 1"
    with pytest.raises(UsageError, match="not recorded in any") as caught:
        compared(store, "off", "on", Options(per=denominator("kvm_inj_virk")))
    assert caught.value.hint == "nearest: kvm_inj_virq, kvm:kvm_inj_virq, kvm_skinit"
    with pytest.raises(UsageError, match="no run is called"):
        compared(store, "guest=busy", "on")


def test_an_interrupt_is_one_with_or_without_its_system_and_the_first_line_stands_once(store: Path) -> None:
    lines = compared(store, "off", "on", Options(per=denominator("kvm:kvm_inj_virq"))).headlines
    assert [each.name for each in lines if each.unit == "per injected interrupt"] == [
        "exits", "exits without port I/O", "exits to userspace"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ["work=1", "work=0/1", "work=1/0", "work", "a b", "", "work=1/2/3", "kvm_exit;", "work=1e400/1", "work=1/1e400"],
)
def test_a_denominator_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--per"):
        denominator(text)


def test_work_is_what_each_side_did(store: Path) -> None:
    found = compared(store, "off", "on", Options(per=denominator("work=1000/500")))
    assert found.headlines[0].estimate.base == pytest.approx(2.390)
    assert found.headlines[0].estimate.new == pytest.approx(2.726)


def test_blocks_hold_every_exit_and_the_time_of_the_recording(store: Path) -> None:
    made = compared(store, "off", "on").base.runs[0]
    assert made.blocks == 256
    assert made.block_exits("n").sum() == EXITS["off"]
    assert made.block_events("kvm_inj_virq").sum() == INTERRUPTS["off"]
    assert made.block_seconds().sum() == pytest.approx(made.seconds)
    assert (np.unique(made.keyed[0].exits.block) < 256).all() if made.keyed else False


BASE, NEW = side("base", run(keyed("npf", [1]))), side("new", run(keyed("npf", [1]), name="new"))
TRACED = tuple(Tracepoint("kvm", name, 1, 1) for name in ("kvm_exit", "kvm_entry", "kvm_pio"))


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ({"host": {"kernel": "6.1"}}, {"host": {"kernel": "6.6"}}, "The sides differ in kernel: 6.1 before, 6.6 after"),
        ({"host": {"cpu": "A"}}, {}, "The processor is recorded on one side only"),
        (
            {"host": {"kvm_intel.ple_gap": "0"}},
            {"host": {"kvm_intel.ple_gap": "128"}},
            "The sides differ in kvm_intel.ple_gap: 0 before, 128 after.",
        ),
        (
            {"tracepoints": TRACED},
            {"tracepoints": TRACED[:2]},
            "Recorded on the base side only, so not compared and never 0 on the other: kvm:kvm_pio.",
        ),
        ({"lost": (Lost("LOST", 0, 12, 1, 5, 6),)}, {}, "run.data (base) lost 12 events"),
        ({"tracepoints": (replace(TRACED[0], period=100),)}, {}, "Sampled in run.data: kvm:kvm_exit (1 in 100)"),
        ({"enabled_ns": 5 * 10**8, "elapsed_ns": 10**9}, {}, "Events of run.data were enabled for 0.500 s of 1.000 s"),
        (
            {"host": {"arch": "ppc64le", "cpu": "POWER9", "kernel": "5.10.0"}},
            {"host": {"arch": "ppc64le", "cpu": "POWER9", "kernel": "5.15.0"}},
            "On the base side only: Not seen: hypercalls",
        ),
    ],
)
def test_what_else_differs_is_said(before: dict[str, object], after: dict[str, object], sentence: str) -> None:
    base = side("base", replace(run(), manifest=manifest("run", **before)))
    new = side("new", replace(run(), manifest=manifest("new", **after)))
    assert any(each.startswith(sentence) for each in warnings(base, new)), warnings(base, new)


def test_like_sides_have_no_warnings() -> None:
    assert warnings(BASE, NEW) == []


def test_lengths_and_vcpus_that_differ_are_said() -> None:
    base, new = side("base", run(seconds=1.0, vcpus=2)), side("new", run(seconds=3.0, vcpus=4, name="new"))
    assert warnings(base, new) == [
        "The sides were recorded for different times: 1.000 s before, 3.000 s after.",
        "The sides differ in vCPUs: 2 before, 4 after.",
    ]


def test_the_time_in_the_guest_divides_one_run_and_several_and_the_waterfall(store: Path) -> None:
    per = Options(per=denominator("guest-second"))
    one, several = compared(store, "off", "on", per), compared(store, "guest=idle", "on", per)
    assert one.headlines[0].estimate.base is not None
    assert one.waterfall is not None
    assert one.waterfall.base_exits == pytest.approx(one.headlines[0].estimate.base)
    assert several.headlines[0].estimate.new == pytest.approx(one.headlines[0].estimate.new)


def test_what_never_fired_divides_nothing(store: Path) -> None:
    found = compared(store, "off", "on", Options(per=denominator("kvm_pv_eoi")))
    estimate = found.headlines[0].estimate
    assert (estimate.base, estimate.ratio, estimate.missing) == (None, None, "a division by 0")
    assert estimate.new is not None


def test_what_is_0_in_every_block_is_taken_as_it_stands_and_that_is_said(store: Path) -> None:
    found = compared(store, "off", "on", None, "exits('shutdown') <= 0").claims[0]
    assert (found.value, found.interval, found.outcome) == (0, None, Outcome.SUPPORTED)
    assert found.why == "0 in every block of time: nothing tells how far from 0 it may be"
