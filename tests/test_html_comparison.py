"""The page of a comparison: it says what the text says, its charts compile, and names of recordings stay names."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import comparison_samples as samples
import numpy as np
import pytest
import vl_convert
from html_comparison_samples import HOSTILE, hostile, pv_eoi

from kvmtrace.comparing.lines import Section
from kvmtrace.exit_keys import By, Key
from kvmtrace.report import comparison_machine
from kvmtrace.report.blocks import Sentences, Table
from kvmtrace.report.comparison import document
from kvmtrace.report.html import comparison_intervals
from kvmtrace.report.html.comparison import page
from kvmtrace.report.html.comparison_curves import MOST_POINTS, thinned
from kvmtrace.report.html.page import render
from kvmtrace.report.html.parts import Chart, DataTable, Text
from kvmtrace.stats.estimate import Interval
from kvmtrace.stats.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kvmtrace.comparing.comparison import Comparison
    from kvmtrace.report.html.parts import Page, Part, Spec


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return pv_eoi(tmp_path_factory.mktemp("pair"))


@pytest.fixture(params=["real", "by hand", "counters", "few runs", "nothing in common"])
def each(request: pytest.FixtureRequest) -> Comparison:
    made: dict[str, Callable[[], Comparison]] = {
        "by hand": samples.comparison,
        "counters": samples.counters,
        "few runs": samples.few_runs,
        "nothing in common": lambda: samples.comparison(headlines=(), sections=(), waterfall=None, claims=()),
    }
    if request.param == "real":
        comparison: Comparison = request.getfixturevalue("real")
        return comparison
    return made[str(request.param)]()


def parts(shown: Page) -> list[Part]:
    return [part for section in shown.sections for part in section.parts]


def charts(shown: Page) -> dict[str, Chart]:
    return {part.title: part for part in parts(shown) if isinstance(part, Chart)}


def tables(shown: Page) -> dict[str, DataTable]:
    return {part.title: part for part in parts(shown) if isinstance(part, DataTable)}


def sentences(shown: Page) -> list[str]:
    return [sentence for part in parts(shown) if isinstance(part, Text) for sentence in part.sentences]


def values(spec: Spec) -> list[dict[str, Any]]:
    """Return the rows of a chart's data: of the layer in front."""
    found: list[list[dict[str, Any]]] = [data["values"] for data in _each(spec, "data")]
    return found[-1]


def _each(spec: object, *keys: str) -> Iterator[Any]:
    """Give what stands under any of `keys` anywhere in a specification, not within its data."""
    if isinstance(spec, list):
        for inner in spec:
            yield from _each(inner, *keys)
    elif isinstance(spec, dict):
        for key, inner in spec.items():
            if key in keys:
                yield inner
            if key != "values":
                yield from _each(inner, *keys)


def test_the_page_says_what_the_text_says(each: Comparison) -> None:
    shown = page(each)
    text = document(each)
    said = sentences(shown)
    for block in text:
        if isinstance(block, Sentences):
            assert set(block.sentences) <= set(said)
    expected = {block.title: block for block in text if isinstance(block, Table)}
    found = tables(shown)
    assert found.keys() == expected.keys()
    for title, table in found.items():
        assert table.headings == expected[title].headings
        assert len(table.rows) == len(expected[title].rows)
        for row, wanted in zip(table.rows, expected[title].rows, strict=True):
            # A row that is sorted elsewhere says what the text says once for several.
            assert all(cell.text == text or not text for cell, text in zip(row, wanted, strict=True))
            assert all(len(cell.text) for cell, name in zip(row, table.headings, strict=True) if name == "reason")


def test_every_chart_compiles_says_what_it_shows_and_has_a_table(each: Comparison) -> None:
    for title, chart in charts(page(each)).items():
        compiled = vl_convert.vegalite_to_vega({"width": 400, **chart.spec})
        assert compiled["marks"], title
        assert len(chart.description) > len("a few words")
        assert chart.table is not None or "at least so long" in title


def test_ratios_and_intervals_are_those_of_the_json(real: Comparison) -> None:
    told = json.loads(comparison_machine.to_json(real))
    drawn = charts(page(real))
    wanted = {"The whole": told["headlines"], **{section["title"]: section["lines"] for section in told["sections"]}}
    intervals = 0
    for title, lines in wanted.items():
        points = values(drawn[title].spec)
        for point, line in zip(points, [line for line in lines if line["ratio"]], strict=True):
            assert point["ratio"] == pytest.approx(line["ratio"])
            assert point["method"] == line["method"]
            if line["ratio_low"] is not None:
                intervals += 1
                assert point["of"] == "ratio"
                assert (point["low"], point["high"]) == pytest.approx((line["ratio_low"], line["ratio_high"]))
            assert (point["low"] is None) == (line["difference_low"] is None)
    assert intervals > 10


def test_the_sorting_numbers_of_a_table_are_the_figures_of_the_json(real: Comparison) -> None:
    told = json.loads(comparison_machine.to_json(real))
    (lines,) = [section["lines"] for section in told["sections"] if section["quantity"] == "out_of_guest_ns"]
    table = tables(page(real))["Time out of the guest per second, µs"]
    for heading, name, scale in (("base", "base", 1e-3), ("new n", "new_n", 1), ("ratio", "ratio", 1)):
        column = table.headings.index(heading)
        orders = [row[column].order for row in table.rows]
        assert orders == pytest.approx([line[name] * scale for line in lines])
    assert {row[-1].order for row in table.rows} == {None}


def test_what_has_no_ratio_is_told_and_not_drawn() -> None:
    shown = page(samples.comparison())
    assert [point["name"] for point in values(charts(shown)["Exits per second"].spec)] == ["npf", "hlt (idle)"]
    (told,) = [sentence for sentence in sentences(shown) if "odd" in sentence and "Without a ratio" in sentence]
    assert "(new: from 0 per second to 12.5 per second, difference +9.00 to +16.0)" in told


def test_a_ratio_without_an_interval_has_that_of_the_difference_dashed() -> None:
    said = samples.estimate(10.0, 8.0, difference_interval=Interval(-15.0, 11.0), p=0.5)
    section = Section("Exits", "exits", "", (By.REASON,), (samples.line(said, Verdict.UNDECIDED, "npf"),))
    spec = charts(page(samples.comparison(sections=(section,))))["Exits"].spec
    (point,) = values(spec)
    assert (point["of"], point["high"]) == ("difference", pytest.approx(2.1))
    assert point["low"] > 0  # where the axis ends: below 0 there is no log


def test_a_chart_of_very_many_lines_is_cut_and_says_so() -> None:
    many = comparison_intervals.MOST + 7
    lines = tuple(
        samples.line(samples.sure(100, 50 + n, 0.3, 2, 0.5), Verdict.UNDECIDED, f"reason {n}") for n in range(many)
    )
    section = Section("Exits", "exits", "", (By.REASON,), lines)
    shown = page(samples.comparison(sections=(section,)))
    assert len(values(charts(shown)["Exits"].spec)) == comparison_intervals.MOST
    assert any("7 more lines are in the tables below" in sentence for sentence in sentences(shown))


def test_each_bar_of_the_bridge_begins_where_the_one_before_it_ends(real: Comparison) -> None:
    told = json.loads(comparison_machine.to_json(real))["waterfall"]
    found = charts(page(real))
    for title, base, new, scale in (
        ("From base to new: exits per second", told["base_exits"], told["new_exits"], 1),
        ("From base to new: time out of the guest, µs per second", told["base_time_ns"], told["new_time_ns"], 1e-3),
    ):
        bars = values(found[title].spec)
        assert (bars[0]["end"], bars[-1]["end"]) == pytest.approx((base * scale, new * scale))
        for before, bar in pairwise(bars[:-1]):
            assert bar["start"] == before["end"]
        assert bars[-2]["end"] == pytest.approx(bars[-1]["end"])


def test_percentiles_of_the_curves_are_those_of_the_comparison(real: Comparison) -> None:
    told = json.loads(comparison_machine.to_json(real))
    (p50,) = [section["lines"] for section in told["sections"] if section["quantity"] == "p50_ns"]
    expected = {line["reason"]: (line["base"], line["new"]) for line in p50}
    chart = charts(page(real))["Latency: part of the exits that takes at most so long"]
    assert chart.table is not None
    column = chart.table.headings.index("p50 µs")
    found = [(row[0].text, row[1].text, row[column].order) for row in chart.table.rows]
    assert [(name, side) for name, side, _ in found][:2] == [("npf", "base"), ("npf", "new")]
    for name, state, ns in found:
        assert ns == pytest.approx(expected[name][state == "new"])
    points = [p for p in values(chart.spec) if (p["reason"], p["side"]) == ("npf", "base")]
    assert min(p["ns"] for p in points if p["share"] >= 50) == pytest.approx(expected["npf"][0], rel=0.02)


def test_a_thinned_curve_is_of_its_own_points_and_keeps_both_ends() -> None:
    random = np.random.default_rng(7)
    x, y = np.sort(random.lognormal(size=5000)), np.linspace(0, 100, 5000)
    kept = thinned(x, y)
    assert len(kept) <= MOST_POINTS
    assert (kept[0], kept[-1]) == (0, 4999)
    assert np.abs(np.interp(x, x[kept], y[kept]) - y).max() < 2
    assert list(thinned(x[:3], y[:3])) == [0, 1, 2]


def test_a_reason_of_one_latency_has_a_curve_that_can_be_seen() -> None:
    spec = charts(page(hostile()))["Latency: part of the exits that takes at most so long"].spec
    points = [p for p in values(spec) if (p["reason"], p["side"]) == (HOSTILE[1], "base")]
    assert [p["share"] for p in points] == [0, 100, 100]


def test_names_of_a_recording_are_values_and_neither_fields_nor_expressions() -> None:
    for chart in charts(page(hostile())).values():
        ours = [*_each(chart.spec, "field", "as", "calculate", "filter", "labelExpr", "expr", "test", "signal", "name")]
        assert ours
        assert not any(re.search(r"alert|a\.b|script", str(each)) for each in ours)


def test_a_name_that_is_a_script_stands_in_the_page_as_text() -> None:
    html = render(page(hostile()))
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "<script>alert" not in html
    assert "<img src=x" not in html


def test_a_page_is_small_however_many_details_there_are() -> None:
    lines = tuple(
        samples.line(samples.sure(100, 90, 0.8, 1, 0.5), Verdict.UNDECIDED, key=Key("msr", "msr", n, f"MSR_{n:09}"))
        for n in range(3000)
    )
    by = (By.REASON, By.DETAIL)
    sections = tuple(Section(f"Exits {n}", "exits", "", by, lines) for n in range(3))
    html = render(page(samples.comparison(sections=sections)))
    assert len(html.encode()) < 3_000_000


def test_counters_make_a_page_without_steps_and_latencies() -> None:
    shown = page(samples.counters())
    assert [section.name for section in shown.sections] == ["changed", "intervals", "figures", "methods"]
    points = values(charts(shown)["Events per second"].spec)
    assert [(point["name"], point["verdict"], point["low"]) for point in points] == [
        ("kvm:kvm_exit", "no interval", None)
    ]


def test_two_lines_of_one_short_name_are_two_lines() -> None:
    names = ["x" * 60 + end for end in ("a", "b")]
    lines = tuple(samples.line(samples.sure(10, 9, 0.8, 1, 0.5), Verdict.UNDECIDED, name) for name in names)
    section = Section("Exits", "exits", "", (By.REASON,), lines)
    points = values(charts(page(samples.comparison(sections=(section,))))["Exits"].spec)
    assert len({point["figure"] for point in points}) == 2
    assert [point["name"] for point in points] == names
