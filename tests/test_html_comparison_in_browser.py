"""The page of a comparison in Chromium: nothing is complained of or asked for, and what is to be used can be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import comparison_samples as samples
import pytest
from browser import NARROW, WIDE, opened
from html_comparison_samples import HOSTILE, hostile, pv_eoi

from kvmtrace.report.html.comparison import page
from kvmtrace.report.html.page import render

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from browser import Opened, Scheme
    from playwright.sync_api import Browser

CUMULATIVE, TAIL = "takes at most so long", "takes at least so long"
LINES = "g.mark-line path"
POINTS = "g.mark-symbol.role-mark path"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the files of pages, by what they are of."""
    folder = tmp_path_factory.mktemp("pages")
    made = {"recordings": pv_eoi(folder), "counters": samples.counters(), "hostile": hostile()}
    for name, comparison in made.items():
        (folder / f"{name}.html").write_text(render(page(comparison)), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in made}


@pytest.fixture(scope="module")
def of_recordings(chromium: Browser, pages: dict[str, Path]) -> Iterator[Opened]:
    """Return a page that is open, for tests of which none minds what another did."""
    with opened(chromium, pages["recordings"]) as this:
        assert this.overflow() <= 0
        yield this


@pytest.mark.parametrize(
    ("name", "width", "scheme"),
    [
        ("recordings", NARROW, "dark"),
        ("counters", WIDE, "dark"),
        ("hostile", WIDE, "light"),
    ],
)
def test_a_page_complains_of_nothing_fits_and_can_be_used_by_everybody(
    chromium: Browser, pages: dict[str, Path], name: str, width: int, scheme: Scheme
) -> None:
    with opened(chromium, pages[name], width=width, scheme=scheme) as this:
        figures = this.page.locator("figure.chart")
        assert figures.count() == this.page.locator("figure.chart.drawn svg.marks").count() > 0
        assert this.overflow() <= 0
        assert this.axe() == []


def test_a_button_hides_both_curves_of_a_reason_and_shows_them_again(of_recordings: Opened) -> None:
    chart = of_recordings.chart(CUMULATIVE)
    lines = chart.locator(LINES)
    both = lines.count()
    assert both == 2 * chart.locator(".series button").count()
    button = chart.get_by_role("button", name="npf")
    button.press("Enter")
    of_recordings.page.wait_for_function(
        "([e, n]) => e.querySelectorAll('g.mark-line path').length === n", arg=[chart.element_handle(), both - 2]
    )
    assert button.get_attribute("aria-pressed") == "false"
    button.press("Enter")
    of_recordings.page.wait_for_function(
        "([e, n]) => e.querySelectorAll('g.mark-line path').length === n", arg=[chart.element_handle(), both]
    )


def test_latencies_can_be_zoomed_by_buttons(of_recordings: Opened) -> None:
    chart = of_recordings.chart(TAIL)
    before = chart.locator(LINES).first.get_attribute("d")
    chart.get_by_role("button", name="Zoom in").click()
    of_recordings.page.wait_for_function(
        "([e, d]) => e.querySelector('g.mark-line path').getAttribute('d') !== d",
        arg=[chart.element_handle(), before],
    )


def test_figures_are_sorted_by_what_they_are_and_not_by_their_text(of_recordings: Opened) -> None:
    table = of_recordings.table("Time out of the guest per second, µs")
    headings = table.locator("thead th")
    column = [text.strip() for text in headings.all_text_contents()].index("base")
    headings.nth(column).click()
    shown = [float(text.replace(",", "")) for text in of_recordings.column(table, column)]
    assert shown == sorted(shown, reverse=True)
    assert shown[0] > 10_000
    assert shown[-1] < 1000


def test_a_column_without_a_heading_does_not_offer_to_sort(of_recordings: Opened) -> None:
    first, second = of_recordings.table("The sides").locator("thead tr > *").all()[:2]
    assert second.locator("[role=button]").count() == 1
    assert first.locator("[role=button]").count() == 0
    arrows = [
        each.locator(".dt-column-order").evaluate("each => getComputedStyle(each, '::after').content")
        for each in (first, second)
    ]
    assert arrows[0] == "none" != arrows[1]


def test_a_point_tells_its_interval_method_and_p(of_recordings: Opened) -> None:
    of_recordings.chart("The whole").locator(POINTS).first.hover()
    told = of_recordings.page.locator("#vg-tooltip-element.visible")
    told.wait_for()
    for words in ("0.459-0.684", "2,390 and 1,363", "moving-block bootstrap", "e-05"):
        assert words in told.inner_text()


def test_each_verdict_is_a_shape_and_a_colour(of_recordings: Opened) -> None:
    points = of_recordings.chart("p50 of the latency").locator(POINTS)
    looks = {
        (each.get_attribute("aria-label") or "").rpartition(", ")[2]: (
            each.get_attribute("fill"),
            (each.get_attribute("d") or "").count("L"),
        )
        for each in points.all()
    }
    assert looks.keys() == {"not shown", "rose", "too few exits"}
    assert len({color for color, _ in looks.values()}) == len({shape for _, shape in looks.values()}) == 3


def test_a_name_that_is_a_script_is_shown_where_it_is_pointed_at(chromium: Browser, pages: dict[str, Path]) -> None:
    with opened(chromium, pages["hostile"]) as this:
        seen = set()
        for point in this.chart("Exits per second").locator(POINTS).all():
            point.hover()
            told = this.page.locator("#vg-tooltip-element.visible")
            told.wait_for()
            seen.add(told.locator("td.value").first.inner_text())
        assert seen == set(HOSTILE)


def test_without_scripts_the_figures_are_there(chromium: Browser, pages: dict[str, Path]) -> None:
    with opened(chromium, pages["recordings"], scripts=False) as this:
        assert this.table("Exits per second").locator("tbody tr").count() == 7
        assert this.page.get_by_text("exits per second fell from 888 to 497").is_visible()
