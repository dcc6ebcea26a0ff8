"""Comparisons in words and for programs: as the golden files have them, whole, and safe to show."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import comparison_samples as samples
import pytest

from kvmtrace.comparing.claims import Outcome
from kvmtrace.comparing.waterfall import Cause, Change, Step
from kvmtrace.exit_keys import By, Key
from kvmtrace.report import (
    comparison_footnotes,
    comparison_machine,
    comparison_waterfall,
    comparison_words,
    markdown,
    text,
)
from kvmtrace.report.blocks import Table
from kvmtrace.report.comparison import document
from kvmtrace.report.comparison_numbers import significant
from kvmtrace.report.comparison_tables import detail_name, key_name
from kvmtrace.stats.estimate import BETWEEN, Interval
from kvmtrace.stats.estimates import between_runs
from kvmtrace.stats.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvmtrace.comparing.comparison import Comparison
    from kvmtrace.stats.estimate import Estimate

GOLDEN = Path(__file__).parent / "golden" / "compare"
FORMATS: dict[str, Callable[[Comparison], str]] = {
    "txt": lambda comparison: text.lay_out(document(comparison)),
    "md": lambda comparison: markdown.lay_out(document(comparison)),
    "csv": comparison_machine.to_csv,
    "json": comparison_machine.to_json,
}
COMPARISONS = {
    "recordings": samples.comparison(),
    "counters": samples.counters(),
    "few_runs": samples.few_runs(),
}


@pytest.mark.parametrize("extension", FORMATS)
@pytest.mark.parametrize("name", COMPARISONS)
def test_each_format_writes_the_bytes_of_its_golden_file(name: str, extension: str) -> None:
    golden = GOLDEN / f"{name}.{extension}"
    assert FORMATS[extension](COMPARISONS[name]).encode() == golden.read_bytes()


def headline(comparison: Comparison, place: int = 0) -> str:
    return comparison_words.headlines(comparison)[place]


def test_the_first_line_says_what_happened_how_sure_that_is_and_of_what() -> None:
    said = headline(samples.comparison(), 1)
    assert said == (
        "exits per injected interrupt fell from 2.06 to 1.11 (\N{MULTIPLICATION SIGN}0.540, 95% interval 0.520-0.560, "
        "within one run a side): nearly halved"
    )


def test_one_run_a_side_is_always_said_to_tell_nothing_of_other_runs() -> None:
    for comparison in (samples.comparison(), samples.counters()):
        assert any("within-run only: says nothing of run-to-run" in s for s in comparison_words.headlines(comparison))
    assert not any("within-run" in sentence for sentence in comparison_words.headlines(samples.few_runs()))


@pytest.mark.parametrize(
    ("verdict", "said", "words"),
    [
        (Verdict.UNDECIDED, samples.sure(100, 95, 0.8, 1.1, 0.4), ": no change is shown, from 100 to 95.0"),
        (Verdict.SAME, samples.sure(100, 100, 0.995, 1.005, 0.9), "exits per second stayed the same, from 100"),
        (Verdict.SMALL, samples.sure(100, 99.5, 0.98, 0.999, 0.01), "less than the minimum effect"),
        (Verdict.NEW, samples.estimate(0, 5, difference_interval=Interval(4, 6), p=0.001), ": new, from 0 to 5.00"),
        (Verdict.GONE, samples.estimate(5, 0, difference_interval=Interval(-6, -4), p=0.001), ": none after"),
        (Verdict.NO_INTERVAL, samples.estimate(2, 1, missing="two single figures"), "0.500; two single figures)"),
        (Verdict.NOT_RECORDED, samples.estimate(2, None, missing=samples.ABSENT), "not recorded: kvm_pio was not"),
        (Verdict.NO_INTERVAL, samples.estimate(float("inf"), 1, missing=samples.FEW), "what it is divided by did not"),
    ],
)  # fmt: skip
def test_each_verdict_has_its_words(verdict: Verdict, said: Estimate, words: str) -> None:
    assert words in comparison_words.headline(samples.line(said, verdict, name="exits"))


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (0.03, "less than a tenth is left"), (0.25, "a quarter is left"), (0.5, "halved"), (0.59, "nearly halved"),
        (0.72, "28% less"), (1.105, "10% more"), (1.95, "nearly doubled"), (2.05, "doubled"),
        (3.2, "3.20 times as much"),
    ],
)  # fmt: skip
def test_a_magnitude_has_plain_words(ratio: float, words: str) -> None:
    verdict = Verdict.FELL if ratio < 1 else Verdict.ROSE
    said = samples.sure(100, 100 * ratio, ratio * 0.99, ratio * 1.01, 1e-9)
    assert comparison_words.headline(samples.line(said, verdict, name="exits")).endswith(f": {words}")


def test_an_interval_that_leaves_no_change_out_is_explained_where_the_verdict_does_not() -> None:
    said = samples.sure(100, 70, 0.5, 0.9, 0.01)
    alone = comparison_words.headline(samples.line(said, Verdict.UNDECIDED, name="exits", adjusted_p=0.3))
    assert alone.endswith("shown if it were the only figure; as one of many it may be chance")
    of_runs = replace(said, method=BETWEEN, base_n=6, new_n=6)
    line = samples.line(of_runs, Verdict.UNDECIDED, name="exits", adjusted_p=0.09)
    assert comparison_words.headline(line).endswith("as one of so many figures it takes more runs to be shown")


def test_runs_that_are_too_few_for_so_many_figures_are_said_to_be_with_the_number_that_would_do() -> None:
    said = samples.sure(100, 50, 0.49, 0.51, 0.002, method=BETWEEN, base_n=6, new_n=6, unit_of_n="runs")
    lines = (samples.line(said, Verdict.FELL, name="exits", primary=True),)
    notes = comparison_footnotes.footnotes(samples.comparison(headlines=lines, sections=(), tested=40))
    assert any("6 and 6 runs cannot show any of 40 figures, however clear: need 7 a side." in note for note in notes)
    notes = comparison_footnotes.footnotes(samples.comparison(headlines=lines, sections=(), tested=20))
    assert not any("cannot show" in note for note in notes)


def test_port_io_is_said_to_be_the_guests_own_work() -> None:
    assert "Port I/O is the guest's own work" in comparison_words.headlines(samples.comparison())[-1]


def test_claims_say_what_the_data_say_and_why() -> None:
    supported, undecided = map(comparison_words.claim, samples.CLAIMS)
    assert supported == (
        "claim ratio(kvm_exit / kvm_inj_virq) <= 0.6: supported: 0.540, 95% interval 0.520-0.560, within one run a side"
    )
    assert "cannot decide: 0.540, 95% interval 0.520-0.560 reaches over the limit" in undecided
    single = replace(samples.HALVED, missing="two single figures carry no interval", p=None)
    bare = replace(samples.CLAIMS[0], estimate=single, interval=None)
    assert comparison_words.claim(bare).endswith("0.540 (two single figures carry no interval: taken as it stands)")
    absent = replace(bare, value=None, outcome=Outcome.UNDECIDED)
    assert "cannot decide: two single figures" in comparison_words.claim(absent)


@pytest.mark.parametrize("shown", [1, 2, 3, 4, 5, 20])
def test_the_steps_that_are_shown_and_the_others_add_up_to_the_whole(shown: int) -> None:
    rows = comparison_waterfall.rows(samples.WATERFALL, shown)
    whole = samples.WATERFALL
    assert sum(row.exits for row in rows) == pytest.approx(whole.new_exits - whole.base_exits)
    assert sum(row.time_ns for row in rows) == pytest.approx(whole.new_time_ns - whole.base_time_ns)
    assert not any(row.reason == "the other 1 steps" for row in rows)


def test_a_step_that_is_large_by_exits_alone_is_not_lost_among_the_others() -> None:
    idle = Step(Cause("hlt"), Change.MORE, 300.0, 0.0)
    waterfall = replace(samples.WATERFALL, steps=(*samples.STEPS, idle))
    assert "hlt" in [row.reason for row in comparison_waterfall.rows(waterfall, 2)]


def test_names_of_a_recording_are_shown_escaped() -> None:
    for extension in ("txt", "md"):
        shown = FORMATS[extension](samples.comparison())
        assert "\x1b" not in shown
        assert "odd\\x1b" in shown.replace("\\\\", "\\")


def test_columns_that_say_nothing_are_left_out() -> None:
    tables = [block for block in document(samples.counters()) if isinstance(block, Table)]
    assert tables[-1].headings == ("event", "base n", "new n", "base", "new", "ratio", "difference")


def test_a_key_with_too_few_exits_has_one_row_of_latencies() -> None:
    (latency,) = [b for b in document(samples.comparison()) if isinstance(b, Table) and b.title.startswith("Latency")]
    assert [(row[0], row[1], row[-1]) for row in latency.rows] == [
        ("npf", "mean", "rose"), ("", "p50", "rose"), ("vintr", "mean", "too few exits")
    ]  # fmt: skip


def test_what_exits_are_told_apart_by_has_words() -> None:
    key = Key("MSR_WRITE", "msr", 0x6E0, "IA32_TSC_DEADLINE", vcpu=3)
    assert [key_name(key, by) for by in (By.REASON, By.DETAIL, By.VCPU, By.VM)] == [
        "MSR_WRITE", "msr 0x6e0 IA32_TSC_DEADLINE", "3", "(not recorded)"
    ]  # fmt: skip
    assert detail_name("hypercall", 10, None) == "hypercall 10"
    assert detail_name("msr", None, None, capped=True) == "msr (other details)"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"), (2.0568, "2.06"), (0.5396, "0.540"), (99.96, "100"), (9.996, "10.0"), (12345.6, "12,346"),
        (-401.39, "-401"), (0.000031, "3.1e-05"), (None, "-"), (float("nan"), "-"), (float("inf"), "-"),
    ],
)  # fmt: skip
def test_numbers_have_three_digits(value: float | None, shown: str) -> None:
    assert significant(value) == shown


def test_csv_and_json_have_the_same_figures_and_no_nan() -> None:
    infinite = samples.estimate(float("inf"), 1.0, missing=samples.FEW)
    undefined = samples.line(infinite, Verdict.NO_INTERVAL, name="exits")
    comparison = samples.comparison(headlines=(undefined,))
    told = json.loads(comparison_machine.to_json(comparison), parse_constant=pytest.fail)
    rows = list(csv.DictReader(io.StringIO(comparison_machine.to_csv(comparison))))
    lines = [*told["headlines"], *(line for section in told["sections"] for line in section["lines"])]
    assert len(rows) == len(lines)
    for row, line in zip(rows, lines, strict=True):
        for name in ("base", "new", "ratio", "ratio_low", "difference_high", "p"):
            assert (float(row[name]) if row[name] else None) == line[name]
    assert told["headlines"][0]["base"] is None


def test_equal_runs_have_no_interval_to_show_and_it_is_said_what_the_verdict_rests_on() -> None:
    said = between_runs([300.0] * 3, [900.0] * 3)
    first = samples.line(said, Verdict.ROSE, name="exits", primary=True)
    comparison = samples.comparison(headlines=(first,), sections=())
    (headline, *_) = comparison_words.headlines(comparison)
    assert "3.00, all 3 and 3 runs equal on each side)" in headline
    assert any(
        "as sure as that the next run comes out equal" in text for text in comparison_footnotes.footnotes(comparison)
    )


def test_few_runs_are_said_to_rest_on_an_assumption() -> None:
    said = between_runs([300.0, 301.0, 305.0], [900.0, 901.0, 904.0])
    first = samples.line(said, Verdict.ROSE, name="exits", primary=True)
    told = " ".join(comparison_footnotes.footnotes(samples.comparison(headlines=(first,), sections=())))
    assert "rests on the assumption that runs are log-normal" in told
    assert "`kvmtrace check` decides on fewer not at all" in told
