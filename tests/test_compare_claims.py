"""Claims: what is read, what is refused, and when data support, contradict or cannot decide one."""

from __future__ import annotations

import contextlib

import pytest
from compare_samples import keyed, poisson, run, side
from hypothesis import given
from hypothesis import strategies as st

from kvmtrace.comparing.claims import Claimed, Figure, Outcome, check, claim
from kvmtrace.comparing.expressions import Expression
from kvmtrace.errors import UsageError
from kvmtrace.stats.estimates import Mean

BLOCKS = 256
BASE = side("base", run(keyed("npf", poisson(40, BLOCKS, 1)), blocks=BLOCKS, events={"kvm_inj_virq": [10] * BLOCKS}))
NEW = side("new", run(keyed("npf", poisson(20, BLOCKS, 2)), blocks=BLOCKS, events={"kvm_inj_virq": [10] * BLOCKS}))


def said(text: str) -> Claimed:
    return check(claim(text), BASE, NEW, 0.95)


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("ratio(exits() / kvm_inj_virq) <= 0.55", Outcome.SUPPORTED),
        ("ratio(exits() / kvm_inj_virq) < 0.45", Outcome.CONTRADICTED),
        ("ratio(exits() / kvm_inj_virq) <= 0.5", Outcome.UNDECIDED),
        ("ratio(exits('npf')) > 0.4", Outcome.SUPPORTED),
        ("difference(exits() / seconds) < -1", Outcome.SUPPORTED),
        ("exits() / kvm_inj_virq >= 1.9", Outcome.SUPPORTED),
        ("exits() / kvm_inj_virq < 1.5", Outcome.CONTRADICTED),
        ("mean_ns('npf') <= 1000", Outcome.SUPPORTED),
    ],
)
def test_a_claim_is_decided_by_the_whole_interval(text: str, outcome: Outcome) -> None:
    found = said(text)
    assert found.interval is not None
    assert found.outcome is outcome


def test_single_figures_are_taken_as_they_stand_and_that_is_said() -> None:
    """Seed 000: 9587 cycles became 5754."""
    base, new = (
        side(name, run(figures={"NULL hcall": Mean(cycles, None, None)}))
        for name, cycles in (("base", 9587.0), ("new", 5754.0))
    )
    found = check(claim('ratio(value("NULL hcall")) <= 0.61'), base, new, 0.95)
    assert (found.outcome, found.interval, found.why) == (
        Outcome.SUPPORTED, None, "two single figures carry no interval",
    )  # fmt: skip
    assert check(claim('ratio(value("NULL hcall")) <= 0.4'), base, new, 0.95).outcome is Outcome.CONTRADICTED


def test_too_few_runs_decide_nothing() -> None:
    many = [side(name, *[made.runs[0]] * 2) for name, made in (("base", BASE), ("new", NEW))]
    found = check(claim("ratio(exits()) < 0.9"), many[0], many[1], 0.95)
    assert found.outcome is Outcome.UNDECIDED
    assert found.why is not None
    assert found.why.startswith("not enough runs")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("exits()", "expected a figure, one of"),
        ("exits() == 4", "expected a figure, one of"),
        ("1 < exits() < 4", "expected a figure, one of"),
        ("exits() < kvm_exit", "expected a figure, one of"),
        ("exits( <= 4", "is no expression"),
        ("__import__('os').system('true') < 1", "expected numbers"),
        ("(lambda: 1)() < 1", "expected numbers"),
        ("exits(reason='npf') < 1", "expected numbers"),
        ("p98_ns() < 1", "there is no function p98_ns"),
        ("exits(1) < 1", "expected at most"),
        ("exits('npf', 'a', 'b') < 1", "expected at most"),
        ("kvm_exit ** 2 < 1", "expected numbers"),
        ("True < 1", "expected a number"),
        ("a.b < 1", "expected numbers"),
        ("-" * 5000 + "1 < 1", "at most 1000 characters"),
        ("-" * 900 + "1 < 1", "at most 60 levels"),
        ("1+" * 480 + "1 <= 3", "at most 60 levels"),
        ("exits() <= 1" + "0" * 400, "beyond 1e308"),
        ("exits() * 1" + "0" * 400 + " <= 1", "beyond 1e308"),
    ],
)
def test_what_is_no_claim_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("(", r"\(")):
        claim(text)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("ratio(exits('nfp')) < 1", "nearest: npf"),
        ("kvm_inj_virk / seconds < 1", "nearest: kvm_inj_virq"),
        ("value('cycles') < 1", None),
    ],
)
def test_a_name_that_no_run_has_is_refused_and_the_nearest_named(text: str, hint: str | None) -> None:
    with pytest.raises(UsageError, match="no run of either side has the") as caught:
        said(text)
    assert caught.value.hint == hint


def test_a_reason_that_the_kernel_knows_may_never_have_occurred() -> None:
    sides = [side(name, run(keyed("npf", [5]), reasons=frozenset({"npf", "shutdown"}))) for name in ("base", "new")]
    found = check(claim("exits('shutdown') <= 0"), sides[0], sides[1], 0.95)
    assert (found.value, found.outcome) == (0, Outcome.SUPPORTED)


def test_a_detail_that_no_run_has_is_refused() -> None:
    made = side("base", run(keyed("npf", [5], detail_kind="gpa", detail=1, detail_name="APIC_EOI")))
    with pytest.raises(UsageError, match="no run of either side has the detail of npf 'APIC_EIO'") as caught:
        check(claim("exits('npf', 'APIC_EIO') < 1"), made, made, 0.95)
    assert caught.value.hint == "nearest: APIC_EOI"


def test_what_must_be_read_for_an_expression_is_told() -> None:
    read = Expression('p99_ns("MSR_WRITE", "IA32_TSC_DEADLINE") / kvm_exit + "kvm:kvm_msr"')
    assert (read.reasons, read.events) == ({"MSR_WRITE"}, {"kvm_exit", "kvm:kvm_msr"})
    assert read.needs_details
    assert read.needs_latency


def test_the_figure_that_a_claim_is_about_is_told() -> None:
    texts = ("ratio(kvm_exit) < 1", "difference(kvm_exit) < 1", "kvm_exit < 1", "ratio(kvm_exit) * 2 < 1")
    with pytest.raises(UsageError, match="there is no function ratio"):
        claim(texts[3])
    assert [claim(text).figure for text in texts[:3]] == [Figure.RATIO, Figure.DIFFERENCE, Figure.NEW]


NAMES = st.sampled_from(
    ["kvm_exit", "seconds", "exits()", "exits('npf')", "p99_ns()", "value('x')", "1", "1e400", "-2"]
)
EXPRESSIONS = st.recursive(
    NAMES, lambda inner: st.builds("({} {} {})".format, inner, st.sampled_from("+-*/%"), inner), max_leaves=40
)


@given(st.text(max_size=80) | st.builds("{} {} {}".format, EXPRESSIONS, st.sampled_from(["<=", ">", "=="]), NAMES))
def test_any_text_is_a_claim_or_one_error(text: str) -> None:
    with contextlib.suppress(UsageError):
        claim(text)
