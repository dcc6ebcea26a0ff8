"""The layout of HTML pages in a browser: sorting, filters, toggles, zoom, keys, colours, paper, and no network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser import NARROW, WIDE, opened
from html_samples import HOSTILE, sample_page

from kvmtrace.report.colors import COLORS
from kvmtrace.report.html import page as layout
from kvmtrace.report.html import scripts
from kvmtrace.report.html.page import render
from kvmtrace.report.html.parts import Facts, Page, Section, Text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from browser import Opened, Scheme
    from playwright.sync_api import Browser, Locator


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("html") / "sample page.html"
    path.write_text(render(sample_page()), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def shared(chromium: Browser, sample: Path) -> Iterator[Opened]:
    """Return a page that is open, for tests that leave it so that no other minds."""
    with opened(chromium, sample) as here:
        yield here


@pytest.mark.parametrize(("width", "scheme"), [(WIDE, "light"), (NARROW, "dark")])
def test_a_page_is_for_every_reader_in_either_theme_and_on_any_screen(
    chromium: Browser, sample: Path, width: int, scheme: Scheme
) -> None:
    with opened(chromium, sample, width=width, scheme=scheme) as here:
        for fold in here.page.locator("details > summary").all():
            fold.click()
        assert here.axe() == []
        assert here.overflow() <= 0
        dark = here.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 28)"
        assert dark == (scheme == "dark")


def numbers(texts: list[str]) -> list[float | None]:
    return [None if text == "-" else float(text.replace(",", "")) for text in texts]


def sorted_by(table: Locator, order: str) -> str:
    """Wait until a column is sorted, and return its heading."""
    found = table.locator(f"thead th[aria-sort={order}]")
    found.wait_for()
    return found.inner_text()


def heading(table: Locator, text: str) -> Locator:
    return table.locator("thead th", has_text=text)


def test_a_click_on_a_heading_sorts_what_has_no_number_last_and_leaves_the_total(shared: Opened) -> None:
    here = shared
    table = here.table("Sample table")
    here.page.locator(".dt-length select").first.select_option(label="all")
    assert table.locator("tbody tr").count() == len(range(40))
    for order in ("descending", "ascending"):
        heading(table, "time µs").click()
        sorted_by(table, order)
        shown = numbers(here.column(table, 2))
        known = [n for n in shown if n is not None]
        assert shown[len(known) :] == [None] * 8
        assert known == sorted(known, reverse=order == "descending")
        assert table.locator("tfoot").inner_text().split() == ["total", "1,980", "820"]


def test_keys_reach_headings_filters_toggles_zoom_and_the_theme(shared: Opened) -> None:
    here = shared
    reached = []
    for _ in range(40):
        here.page.keyboard.press("Tab")
        reached.append(
            here.page.evaluate(
                "document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent"
            )
        )
    expected = [
        "To the content",
        "Switch to dark colours",
        "First",
        "Filter: Sample table",
        "Zoom in",
        "msr",
        HOSTILE,
    ]
    assert [each for each in expected if each not in reached] == []
    here.table("Sample table").locator("thead [role=button]").nth(1).focus()
    here.page.keyboard.press("Enter")
    assert sorted_by(here.table("Sample table"), "descending") == "exits"


def test_a_filter_leaves_the_rows_that_have_its_text(shared: Opened) -> None:
    here = shared
    here.page.get_by_label("Filter: Sample table").first.fill('"row 1"')
    assert sorted(here.column(here.table("Sample table"), 0)) == [f"row {n}" for n in range(10, 20)]
    here.page.get_by_label("Filter: Sample table").first.fill("no such row")
    assert here.table("Sample table").locator("tbody").inner_text().strip() == "No row has that"
    here.page.get_by_label("Filter: Sample table").first.fill("")


def lines(chart: Locator) -> int:
    return chart.locator(".drawing .mark-line path").count()


def test_a_button_hides_and_shows_what_bears_its_name(shared: Opened) -> None:
    here = shared
    chart = here.chart("Sample chart")
    button = chart.get_by_role("button", name=HOSTILE, exact=True)
    assert (lines(chart), button.get_attribute("aria-pressed")) == (2, "true")
    button.press("Space")
    chart.locator(".drawing .mark-line path").nth(1).wait_for(state="detached")
    assert (lines(chart), button.get_attribute("aria-pressed")) == (1, "false")
    button.click()
    chart.locator(".drawing .mark-line path").nth(1).wait_for(state="attached")


def domain(here: Opened) -> list[float]:
    found: list[float] = here.page.evaluate(
        "kvmtracePage.view(document.querySelector('figure.chart')).scale('x').domain()"
    )
    return found


def test_buttons_and_the_wheel_with_ctrl_zoom_and_the_wheel_alone_scrolls(shared: Opened) -> None:
    here = shared
    chart = here.chart("Sample chart")

    def settled(condition: str) -> None:
        view = "kvmtracePage.view(document.querySelector('figure.chart'))"
        here.page.wait_for_function(f"() => {{ const [a, b] = {view}.scale('x').domain(); return {condition}; }}")

    whole = domain(here)
    chart.get_by_role("button", name="Zoom in").click()
    settled(f"b / a < {whole[1] / whole[0] / 10}")
    assert domain(here)[0] == pytest.approx((whole[0] ** 3 * whole[1]) ** 0.25)
    chart.get_by_role("button", name="Show all").click()
    settled(f"Math.abs(a - {whole[0]}) < 1e-6 && Math.abs(b - {whole[1]}) < 1e-3")
    chart.locator(".drawing").hover()
    here.page.mouse.wheel(0, 40)
    assert domain(here) == pytest.approx(whole)


def test_the_theme_button_turns_the_colours_and_says_what_it_does(chromium: Browser, sample: Path) -> None:
    with opened(chromium, sample, scheme="light") as here:
        stroke = "getComputedStyle(document.querySelector('.drawing .mark-line path')).stroke"
        light = here.page.evaluate(stroke)
        here.page.get_by_role("button", name="Switch to dark colours").click()
        assert here.page.get_by_role("button", name="Switch to light colours").is_visible()
        assert here.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 28)"
        assert here.page.evaluate(stroke) != light
        assert here.axe() == []


def test_on_paper_there_are_all_rows_dark_ink_and_no_buttons(chromium: Browser, sample: Path) -> None:
    with opened(chromium, sample, scheme="dark") as here:
        here.page.emulate_media(media="print", color_scheme="dark")
        assert here.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        for hidden in ("nav[aria-label=Contents]", "#theme", ".dt-search", ".zoom"):
            assert not here.page.locator(hidden).first.is_visible()
        here.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert here.table("Sample table").locator("tbody tr").count() == len(range(40))
        here.page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert here.table("Sample table").locator("tbody tr").count() == len(range(25))


def test_without_scripts_tables_and_sentences_are_there(chromium: Browser, sample: Path) -> None:
    with opened(chromium, sample, scripts=False) as here:
        assert here.table("Sample table").locator("tbody tr").count() == len(range(40))
        assert here.table("Sample table").get_by_text("row 39").is_visible()
        assert here.page.get_by_text("Charts are drawn by JavaScript").is_visible()
        assert not here.page.locator("#theme").is_visible()


def test_long_names_break_at_their_signs_and_are_escaped() -> None:
    name = "a_rather_long_name/of<b>several-parts"
    text = render(Page("Text", (Section("a", "A", (Facts((("name", name),)),)),)))
    assert "<dd>a_<wbr>rather_<wbr>long_<wbr>name/<wbr>of&lt;b&gt;several-<wbr>parts</dd>" in text
    assert "<dd>a short_name</dd>" in render(Page("Text", (Section("a", "A", (Facts((("name", "a short_name"),)),)),)))


def test_the_policy_names_every_script_and_lets_nothing_else_in(sample: Path) -> None:
    text = sample.read_text(encoding="utf-8")
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="(.*?)"', text)
    rules = dict(rule.split(" ", 1) for rule in policy.replace("&#39;", "'").split("; "))
    assert rules["default-src"] == "'none'"
    ours = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert rules["script-src"].split() == re.findall(r"'[^']*'", scripts.policy(ours))[1 : 1 + len(ours)]
    assert "unsafe-eval" not in policy


def test_scripts_of_libraries_are_left_out_where_nothing_needs_them() -> None:
    short = render(Page("Text", (Section("a", "A", (Text(("A sentence.",)),)),)))
    assert len(short) < 30_000
    assert len(render(sample_page())) > 1_000_000


def test_the_colours_are_those_of_the_plots() -> None:
    style = Path(layout.__file__).with_name("page.css").read_text(encoding="utf-8")
    light = re.findall(r"--c[0-6]: light-dark\((#\w+),", style)
    assert tuple(color.upper() for color in light) == COLORS
