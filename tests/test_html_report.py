"""`kvmtrace report --format html`: what its page says, in a browser and without one, and how large it may become."""

from __future__ import annotations

import io
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browser import NARROW, WIDE, opened
from html_samples import HOSTILE, HOSTILE_END, HOSTILE_IMAGE, add_hostile
from report_samples import bucket_row, manifest
from store_builder import add_run, event, fixed_table

from kvmtrace.cli import run
from kvmtrace.errors import ExitCode
from kvmtrace.exit_keys import By, Key
from kvmtrace.report.grouping import sections
from kvmtrace.report.html import report as html_report
from kvmtrace.report.html.page import render
from kvmtrace.report.html.run_figures import (
    BLOCKS,
    EVENTS_OF_AN_EXIT,
    SLOWEST,
    BandCount,
    BlockCount,
    InnerEvent,
    InnerEvents,
    RunFigures,
    SlowExit,
    VcpuCount,
)
from kvmtrace.report.summary import Bucket, ExitTable, Summary
from kvmtrace.store.label import Label
from kvmtrace.store.manifest import Lost

if TYPE_CHECKING:
    from browser import Opened, Scheme
    from ingested import IngestedRecordings
    from playwright.sync_api import Browser

RECORDINGS = Path(__file__).parent / "data" / "recordings"
LOSSY = RECORDINGS / "lossy.perf.data.zst"
SCHEDULED = RECORDINGS / "mixed-sched-irq.perf.data.zst"


def written(store: Path, path: Path, *arguments: str) -> Path:
    assert run(["report", *arguments, "--format", "html", "-o", str(path), "--store", str(store)]) == ExitCode.OK
    return path


@pytest.fixture(scope="module")
def lossy(ingested: IngestedRecordings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of a real recording that lost events."""
    run_id = ingested.manifest(LOSSY).run_id
    return written(ingested.store, tmp_path_factory.mktemp("html") / "lossy.html", run_id)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of a recording whose names are scripts."""
    folder = tmp_path_factory.mktemp("html")
    return written(add_hostile(folder / "store"), folder / "hostile.html")


@pytest.mark.parametrize(("width", "scheme"), [(WIDE, "light"), (NARROW, "dark")])
def test_the_page_of_a_real_recording_is_for_every_reader(
    chromium: Browser, lossy: Path, width: int, scheme: Scheme
) -> None:
    with opened(chromium, lossy, width=width, scheme=scheme) as here:
        assert here.axe() == []
        assert here.overflow() <= 0
        assert here.page.locator("figure.chart.drawn").count() == here.page.locator("figure.chart").count() > 5
        check_filters(here)


def check_filters(here: Opened) -> None:
    """Tables of ten rows have a field that filters, and shorter ones none."""
    tables = here.page.locator("main table")
    told = tables.evaluate_all(
        "all => all.map((each) => [each.caption.textContent, each.tBodies[0].rows.length, "
        "!!each.closest('.dt-container')?.querySelector('input[type=search]')])"
    )
    assert [(title, rows) for title, rows, filtered in told if filtered != (rows >= 10)] == []
    assert {"Exits by reason and detail", "Slowest exits"} <= {title for title, _, filtered in told if filtered}
    assert "Exits by reason" in {title for title, _, filtered in told if not filtered}


def cells(text: str, title: str) -> list[list[str]]:
    """Return the rows of the table of that title, totals too, as text."""
    (table,) = re.findall(rf"<table>\s*<caption>{re.escape(title)}</caption>(.*?)</table>", text, re.DOTALL)
    rows = re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)[1:]
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]


def test_the_tables_say_what_the_text_says(lossy: Path, ingested: IngestedRecordings, tmp_path: Path) -> None:
    text = lossy.read_text(encoding="utf-8")
    path = tmp_path / "report.json"
    run_id = ingested.manifest(LOSSY).run_id
    run(["report", run_id, "--format", "json", "-o", str(path), "--store", str(ingested.store)])
    (told,) = json.loads(path.read_text())
    expected = [(row["reason"], f"{row['exits']:,}", f"{row['out_of_guest_ns'] / 1e3:,.2f}") for row in told["exits"]]
    rows = [*cells(text, "Exits by reason"), *cells(text, "Idle exits by reason")]
    assert [(row[0], row[1]) for row in rows] == [(name or "total", n) for name, n, _ in expected]
    assert all(time in row for row, (_, _, time) in zip(rows, expected, strict=True))
    by_vcpu = cells(text, "Exits by vCPU and reason")
    assert by_vcpu[-1][-1] == f"{sum(row['exits'] for row in told['exits'] if row['row'] == 'total'):,}"


class _Scripts(HTMLParser):
    """Collects the specifications of the charts, and counts what could run."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.specs: list[dict[str, Any]] = []
        self.tags: list[str] = []
        self.handlers: list[str] = []
        self._in_spec = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self._in_spec = tag == "script" and ("type", "application/json") in attrs

    def handle_data(self, data: str) -> None:
        if self._in_spec:
            self.specs.append(json.loads(data))
            self._in_spec = False


def parsed(path: Path) -> _Scripts:
    parser = _Scripts()
    parser.feed(path.read_text(encoding="utf-8"))
    return parser


def values(path: Path, field: str) -> list[list[dict[str, Any]]]:
    """Return the values of each chart, or layer, that has `field`."""
    layers = [layer for spec in parsed(path).specs for layer in spec.get("layer", [spec])]
    found = [layer["data"]["values"] for layer in layers]
    return [each for each in found if each and field in each[0]]


def test_losses_are_shaded_where_and_when_the_recorder_told(lossy: Path, ingested: IngestedRecordings) -> None:
    told = ingested.manifest(LOSSY)
    timed = [lost for lost in told.lost if lost.first_ts_ns is not None]
    (shaded,) = values(lossy, "what")
    assert timed
    assert [(each["what"], each["cpu"], each["events"]) for each in shaded] == [
        (lost.said_by, str(lost.cpu), lost.events) for lost in timed
    ]
    assert [each["from_s"] for each in shaded] == pytest.approx(
        [((lost.first_ts_ns or 0) - (told.first_ts_ns or 0)) / 1e9 for lost in timed]
    )
    (suspects,) = values(lossy, "suspect")
    assert sum(each["suspect"] for each in suspects) == told.exits["suspect"]
    assert "Lost events: 3,521 (LOST" in lossy.read_text(encoding="utf-8")


def test_the_charts_count_every_exit_that_is_not_idle_once(lossy: Path, ingested: IngestedRecordings) -> None:
    exits = ingested.table(LOSSY, "exits").to_pylist()
    cost = [each for each in exits if not each["idle"]]
    timed = [each for each in cost if not each["suspect"] and each["latency_ns"] is not None]
    (rates,) = values(lossy, "rate")
    length_s = ((ingested.manifest(LOSSY).last_ts_ns or 0) - (ingested.manifest(LOSSY).first_ts_ns or 0)) / 1e9
    last = max(each["s"] for each in rates)
    counted = sum(each["rate"] for each in rates if each["s"] < last) * length_s / BLOCKS
    assert counted == pytest.approx(len(cost), rel=1e-5)
    bars, (cells_of_map,) = values(lossy, "took")[0], values(lossy, "band")
    assert sum(each["exits"] for each in bars) == len(timed)
    assert sum(each["exits"] for each in cells_of_map) == len(timed)


def test_charts_over_time_are_tables_too(lossy: Path, ingested: IngestedRecordings) -> None:
    text = lossy.read_text(encoding="utf-8")
    captions = {what: caption for caption in re.findall("<caption>(.*?)</caption>", text)
                for what in ("Exits per second, means", "Latencies over time") if caption.startswith(what)}  # fmt: skip
    rates = [[float(cell.replace(",", "")) for cell in row] for row in cells(text, captions["Exits per second, means"])]
    exits = ingested.table(LOSSY, "exits").to_pylist()
    told = ingested.manifest(LOSSY)
    length_s = ((told.last_ts_ns or 0) - (told.first_ts_ns or 0)) / 1e9
    assert sum(map(sum, (row[1:] for row in rates))) * length_s / len(rates) == pytest.approx(
        sum(not each["idle"] for each in exits), rel=1e-3
    )
    rows = cells(text, captions["Latencies over time"])
    timed = [e for e in exits if not e["idle"] and not e["suspect"] and e["latency_ns"] is not None]
    assert sum(int(row[1].replace(",", "")) for row in rows) == len(timed)


def test_the_parts_of_the_time_add_up_and_preemption_is_shown_where_recorded(
    ingested: IngestedRecordings, tmp_path: Path
) -> None:
    path = written(ingested.store, tmp_path / "r.html", ingested.manifest(SCHEDULED).run_id)
    (parts,) = values(path, "part")
    assert {"kernel", "userspace", "blocked", "preempted"} <= {each["part"] for each in parts}
    for reason in {each["reason"] for each in parts}:
        assert sum(each["share"] for each in parts if each["reason"] == reason) == pytest.approx(100, abs=0.01)


def test_the_slowest_exits_show_the_events_inside_them(lossy: Path, ingested: IngestedRecordings) -> None:
    exits = [each for each in ingested.table(LOSSY, "exits").to_pylist() if not each["idle"] and not each["suspect"]]
    slowest = max(exits, key=lambda each: (each["latency_ns"] or 0, -each["exit_id"]))
    text = lossy.read_text(encoding="utf-8")
    assert cells(text, "Slowest exits")[0][1] == slowest["reason"]
    folds = re.findall(r"<summary>(\d+)\. .*?, ([\d,]+) events?</summary>", text)
    assert [int(place) for place, _ in folds] == list(range(1, SLOWEST + 1))
    inside = sum(
        each["exit_id"] == slowest["exit_id"]
        for name in ingested.manifest(LOSSY).tables
        if name.startswith("events/")
        for each in ingested.table(LOSSY, name).to_pylist()
    )
    assert folds[0][1] == str(inside)


def test_names_of_a_recording_show_as_text_everywhere(chromium: Browser, hostile: Path) -> None:
    with opened(chromium, hostile) as here:
        text = here.page.inner_text("body")
        assert {name for name in (HOSTILE, HOSTILE_IMAGE, HOSTILE_END) if name not in text} == set()
        assert here.page.locator("img").count() == 0
        assert here.page.title() == f"kvmtrace report: {HOSTILE}"
        for summary in here.page.locator("details > summary").all():
            summary.click()
        assert f"{HOSTILE}:{HOSTILE}" in here.page.inner_text("#slowest")
        here.chart("How many exits").locator(".mark-rect path").first.hover()
        shown = here.page.locator("#vg-tooltip-element.visible")
        shown.wait_for()
        assert HOSTILE in shown.inner_text() or HOSTILE_END in shown.inner_text()
        assert here.chart("How many exits").get_by_role("button", name=HOSTILE, exact=True).is_visible()
        here.page.mouse.move(0, 0)  # what points at nothing has no words beside it
        shown.wait_for(state="hidden")
        assert here.axe() == []


def test_the_overview_says_which_part_of_the_vcpus_time_exits_took(
    ingested: IngestedRecordings, lossy: Path, tmp_path: Path
) -> None:
    path = written(ingested.store, tmp_path / "r.html", ingested.manifest(SCHEDULED).run_id)
    manifest, exits = ingested.manifest(SCHEDULED), ingested.table(SCHEDULED, "exits").to_pylist()
    out_ns = sum(each["latency_ns"] or 0 for each in exits if not each["idle"] and not each["suspect"])
    share = out_ns / (2 * ((manifest.last_ts_ns or 0) - (manifest.first_ts_ns or 0)))
    assert f", {share * 100:.2f}% of the time of its 2 vCPUs." in path.read_text(encoding="utf-8")
    text = lossy.read_text(encoding="utf-8")  # of which nobody knows how much is missing
    assert "They kept the guest out for " in text
    assert "of the time of its" not in text


def test_values_of_events_inside_an_exit_bear_the_names_that_the_recording_has(
    lossy: Path, ingested: IngestedRecordings
) -> None:
    named = {
        (each["event"], each["field"], each["value"]): each["name"]
        for each in ingested.table(LOSSY, "symbols").to_pylist()
    }
    told = re.findall(
        r"kvm:(\w+)</td>.*?<td[^>]*>(.*?)</td>\s*</tr>", lossy.read_text(encoding="utf-8").replace("<wbr>", "")
    )
    fields = [(event, *each) for event, text in told for each in re.findall(r"(\w+)=([^=]*) \((\w+)\)(?= |$)", text)]
    assert {("kvm_exit", "exit_reason")} <= {(event, field) for event, field, *_ in fields}
    assert {named[event, field, int(value, 0)] for event, field, _, value in fields} == {name for *_, name, _ in fields}


def test_no_name_becomes_markup(hostile: Path) -> None:
    found = parsed(hostile)
    assert found.tags.count("script") == len(found.specs) + 4
    assert found.handlers == []
    assert "img" not in found.tags
    assert HOSTILE not in hostile.read_text(encoding="utf-8").replace("alert(1)&lt;", "")
    named = {
        value["reason"] for spec in found.specs for value in spec.get("data", {}).get("values", []) if "reason" in value
    }
    assert {HOSTILE, HOSTILE_END} <= named


def test_several_runs_have_a_section_each(chromium: Browser, tmp_path: Path) -> None:
    store = add_hostile(tmp_path / "store")
    counted = {"system": "kvm", "event": "kvm_exit", "value": 42.0, "state": "counted", "line": 1}
    add_run(store, "c3", {"counters": fixed_table("counters", [counted])}, kind="counters", elapsed_ns=10**9)
    path = written(store, tmp_path / "r.html", "aa", "c3", "--by", "vcpu")
    with opened(chromium, path, width=NARROW) as here:
        assert here.page.locator("main > section").count() == 2
        assert here.page.locator("#run-2 caption").all_text_contents() == ["Counters"]
        assert here.table("Exits by vCPU").count() == 1
        ids = here.page.evaluate("[...document.querySelectorAll('[id]')].map((each) => each.id)")
        assert len(ids) == len(set(ids))
        assert here.axe() == []
        assert here.overflow() <= 0


@pytest.mark.parametrize(
    ("kind", "tables", "title"),
    [
        ("counters", {"counters": [{"event": "exits", "value": 1.0, "state": "counted"}]}, "Counters"),
        (
            "benchmarks",
            {"benchmarks": [{"name": "cpuid", "value": 1500.0, "unit": "cycles", "state": "measured"}]},
            "Benchmarks, as they say",
        ),
        ("recording", {}, "Recorded events"),
    ],
)
def test_a_run_without_exits_gives_a_page_of_its_tables(
    tmp_path: Path, kind: str, tables: dict[str, list[dict[str, Any]]], title: str
) -> None:
    made = {name: fixed_table(name, rows) for name, rows in tables.items()} or {"events/kvm/kvm_pio": event({}, {})}
    add_run(tmp_path, "aa", made, kind=kind)
    text = written(tmp_path, tmp_path / "r.html").read_text(encoding="utf-8")
    assert cells(text, title)
    assert '<figure class="chart"' not in text


def test_standard_output_gets_the_page_in_the_encoding_that_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_hostile(tmp_path)
    written_to = io.BytesIO()
    out = io.TextIOWrapper(written_to, encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    assert run(["report", "--format", "html", "--store", str(tmp_path)]) == ExitCode.OK
    out.flush()
    text = written_to.getvalue().decode("utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert "time µs" in text


def test_a_page_of_runs_that_together_are_too_much_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = add_hostile(tmp_path / "store")
    monkeypatch.setattr("kvmtrace.commands.report._LARGE_PAGE", 1_000_000)
    written(store, tmp_path / "one.html", "aa")
    assert "MB" not in capsys.readouterr().err
    add_run(store, "bb", {"events/kvm/kvm_pio": event({}, {})})
    written(store, tmp_path / "two.html", "aa", "bb")
    assert "note: the page of 2 runs has 1." in capsys.readouterr().err


def test_a_terminal_is_no_place_for_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    add_hostile(tmp_path)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert run(["report", "--format", "html", "--store", str(tmp_path)]) == ExitCode.USAGE
    assert "expected a file or a pipe, found a terminal" in capsys.readouterr().err


def test_formats_of_tables_have_no_html(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["query", "exits-by-reason", "--format", "html"]) == ExitCode.USAGE
    assert "html" in capsys.readouterr().err


def large_run() -> RunFigures:
    """Return what is read of a recording of 40 million exits that fills everything that is bounded."""
    reasons = [f"REASON_{n}_OF_A_LONG_NAME" for n in range(40)]
    keys = [Key(reason, "msr", n, f"MSR_{n}_OF_A_LONG_NAME") for reason in reasons for n in range(40)]
    n_of_each = 40_000_000 // len(keys) // 20
    rows = [
        bucket_row(key, [1000 << octave], n=n_of_each)._replace(sum_ns=n_of_each * 1000 << octave)
        for key in keys
        for octave in range(20)
    ]
    by_reason = [row._replace(detail_kind=None, detail=None, detail_name=None) for row in rows]
    facts: dict[str, Any] = {
        "first_ts_ns": 0,
        "last_ts_ns": 40 * 10**9,
        "lost": tuple(Lost("LOST", cpu, 100, 10, cpu * 10**8, cpu * 10**8 + 10**7) for cpu in range(256)),
    }
    distribution = tuple(
        Bucket(reason, low := int(2 ** (7 + step / 64)), int(low * 1.01), 20, 20 * low)
        for reason in reasons
        for step in range(64 * 20)
    )

    def summary(by: tuple[By, ...], of: list[Any]) -> Summary:
        table = ExitTable(by, sections(of, with_idle=False))
        return Summary(manifest(**facts), Label("large"), exits=table, distribution=distribution)

    slow = SlowExit(1, 5, "1234", 3, 99, 4, reasons[0], "msr", "0x6e0", "IA32_TSC_DEADLINE", 10**7, 5, 5, 5)
    inner = InnerEvent(7, "kvm:kvm_page_fault", 3, tuple((f"field_{n}", 1 << 60) for n in range(12)))
    return RunFigures(
        summary((By.REASON,), by_reason),
        summary((By.REASON, By.DETAIL), rows),
        by_time=tuple(
            BlockCount(block, idle=False, reason=reason, n=6000, suspect=1)
            for block in range(BLOCKS)
            for reason in reasons
        ),
        latencies_by_time=tuple(BandCount(block, band, 12345) for block in range(BLOCKS) for band in range(14, 54)),
        by_vcpu=tuple(
            VcpuCount("1234", vcpu, reason, idle=False, n=99_999, out_of_guest_ns=1)
            for vcpu in range(512)
            for reason in reasons
        ),
        slowest=((slow, InnerEvents((inner,) * EVENTS_OF_AN_EXIT, 400)),) * SLOWEST,
    )


def test_the_page_of_forty_million_exits_is_below_three_megabytes() -> None:
    text = render(html_report.page([large_run()]))
    assert "the first 200 of 1,600 rows" in text
    assert len(text.encode()) < 3_000_000
