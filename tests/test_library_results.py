"""Results of the Python library: what they say is what the commands print, and no name of a recording is markup."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from lxml import html
from store_builder import add_run, event, exits, fixed_table

import kvmtrace
from kvmtrace.cli import run
from kvmtrace.errors import ExitCode, InputError, UsageError
from kvmtrace.store.catalogue import Catalogue
from kvmtrace.store.label import Label
from kvmtrace.store.manifest import Source

if TYPE_CHECKING:
    from kvmtrace.api.shown import Shown

ROOT = Path(__file__).parents[1]
OFF, ON = (ROOT / f"tests/data/recordings/pveoi-idletick-xapic-{each}.perf.data.zst" for each in ("off", "on"))
BUDGET = ROOT / "docs/examples/budget.toml"
TAGS = {"div", "h4", "table", "thead", "tbody", "tr", "td", "th", "p", "strong", "pre"}
CLAIM = "ratio(kvm_exit / kvm_inj_virq) <= 0.7"
EVIL = "<script>alert('&')</script>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results") / "store"
    kvmtrace.ingest(OFF, store=folder, label="before", tags={"pv_eoi": "off"})
    kvmtrace.ingest(ON, store=folder, label="after", tags={"pv_eoi": "on"})
    return folder


@pytest.fixture(scope="module")
def store(folder: Path) -> kvmtrace.Store:
    return kvmtrace.open_store(folder)


@pytest.fixture(scope="module")
def compared(folder: Path) -> kvmtrace.ComparisonResult:
    """Return a comparison, which takes a second or two."""
    by = ["reason", "detail"]
    return kvmtrace.compare(["before"], "pv_eoi=on", store=folder, by=by, per="kvm_inj_virq", claims=CLAIM)


@pytest.fixture
def evil(tmp_path: Path) -> kvmtrace.Store:
    """Return a store of two runs in which every name is markup."""
    for run_id, vcpus in (("aa", 1), ("bb", 2)):
        table = exits(
            *(
                {
                    "reason": EVIL,
                    "vm_id": EVIL,
                    "vcpu": n % vcpus,
                    "detail_kind": "msr",
                    "detail": 1,
                    "detail_name": EVIL,
                    "exit_ts_ns": n * 1000,
                    "entry_ts_ns": n * 1000 + 500,
                    "latency_ns": 500,
                }
                for n in range(40)
            )
        )
        bucket = {"reason": EVIL, "vm_id": EVIL, "vcpu": 0, "detail_kind": "msr", "detail": 1, "detail_name": EVIL}
        bucket |= {"detail_capped": False, "idle": False, "suspect": False, "n": 40, "sum_ns": 20_000}
        bucket |= {"bucket_low_ns": 500, "bucket_high_ns": 503, "sum_sq_ns2": 1e7, "min_ns": 500, "max_ns": 500}
        add_run(
            tmp_path,
            run_id,
            {
                "exits": table,
                "latency_buckets": fixed_table("latency_buckets", [bucket]),
                "events/kvm/%3Cb%3E": event({}, {}),
            },
            source=Source(EVIL, "perf.data", 1, "blake3:" + run_id * 32),
            host={"hostname": EVIL, "kernel": EVIL, "cpu": EVIL},
            elapsed_ns=40_000,
            first_ts_ns=0,
            last_ts_ns=40_000,
        )
        Catalogue(tmp_path).set_label(run_id, Label(EVIL + run_id))
    return kvmtrace.open_store(tmp_path)


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    run(list(arguments))
    return capsys.readouterr().out


def cells(result: Shown) -> list[str]:
    """Return the text of each cell of a result's HTML."""
    page = html.fromstring(result._repr_html_())
    return [cell.text_content() for cell in page.iter("td", "th")]


def test_a_report_is_that_of_the_command(store: kvmtrace.Store, capsys: pytest.CaptureFixture[str]) -> None:
    found = store.report("before", by=["reason", "detail"])
    asked = ["report", "before", "--by", "reason", "--by", "detail", "--store", str(store.path)]
    assert found.to_text() == printed(capsys, *asked)
    assert repr(found) == found.to_text().rstrip("\n")
    assert found._repr_markdown_() == printed(capsys, *asked, "--format", "markdown")
    assert found.to_dict() == json.loads(printed(capsys, *asked, "--format", "json"))
    assert store.report().summaries[0].label.label == "after"
    assert len(store.report(["before", "after"]).summaries) == 2


def test_a_comparison_is_that_of_the_command(
    compared: kvmtrace.ComparisonResult, store: kvmtrace.Store, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["compare", "before", "--against", "pv_eoi=on", "--per", "kvm_inj_virq", "--claim", CLAIM]
    asked += ["--by", "reason", "--by", "detail", "--store", str(store.path)]
    assert str(compared) == printed(capsys, *asked).rstrip("\n")
    assert compared.sentences[0].startswith("exits per injected interrupt fell from 2.06 to 1.11")
    told = compared.to_dict()
    assert told["sentences"] == compared.sentences
    assert told["claims"][0]["outcome"] == "supported"
    assert "### What made the change" in compared._repr_markdown_()


def test_pages_are_those_of_the_commands(
    compared: kvmtrace.ComparisonResult, store: kvmtrace.Store, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    def page(*arguments: str) -> str:
        assert run([*arguments, "--store", str(store.path), "--format", "html"]) == ExitCode.OK
        return capfdbinary.readouterr().out.decode()

    assert store.report("before", by="vcpu", with_idle=True).to_page() == page(
        "report", "before", "--by", "vcpu", "--with-idle"
    )
    assert "<title>kvmtrace report: before and after</title>" in store.report(["before", "after"]).to_page()
    shown = compared.to_page()
    assert shown.startswith("<!DOCTYPE html>")
    assert "exits per injected interrupt fell from 2.06 to 1.11" in html.fromstring(shown).text_content()


def test_a_report_goes_to_another_process_and_still_gives_its_page(store: kvmtrace.Store) -> None:
    found = store.report("before")
    there = pickle.loads(pickle.dumps(found))  # noqa: S301 - our own
    assert there == found
    assert there.to_page().startswith("<!DOCTYPE html>")


def test_the_figures_of_a_comparison_are_a_typed_table(compared: kvmtrace.ComparisonResult) -> None:
    found = compared.figures()
    types = {name: found.schema[name] for name in ("section", "detail", "base", "ratio_low", "base_samples", "idle")}
    expected = [pl.String(), pl.UInt64(), pl.Float64(), pl.Float64(), pl.Int64(), pl.Boolean()]
    assert list(types.values()) == expected
    fell = found.filter(pl.col("section") == "headline", pl.col("verdict") == "fell")
    assert fell["ratio"].to_list()[0] == pytest.approx(0.54, abs=0.01)
    empty = found.filter(pl.col("section") == "p99_ns", pl.col("missing").is_not_null())
    assert empty["p"].is_null().all()


def test_the_figures_of_a_report_are_a_typed_table(store: kvmtrace.Store) -> None:
    found = store.report(["before", "after"]).figures()
    assert found["run_id"].n_unique() == 2
    total = found.filter(pl.col("row") == "total", ~pl.col("idle"))
    assert total["exits"].to_list()[0] == 1325
    assert found.schema["rate_per_s"] == pl.Float64


def test_what_if_is_that_of_the_command(store: kvmtrace.Store, capsys: pytest.CaptureFixture[str]) -> None:
    found = store.whatif("before", model="pv-eoi")
    asked = ["whatif", "before", "--model", "pv-eoi", "--store", str(store.path)]
    assert found.to_text() == printed(capsys, *asked)
    assert found.to_dict()["predictions"][0]["models"] == ["pv-eoi"]
    assert found.figures()["model"].to_list() == ["pv-eoi"]
    assert "pv-eoi" in "".join(cells(found))


def test_a_check_is_a_result_whatever_it_says(store: kvmtrace.Store, tmp_path: Path) -> None:
    found = kvmtrace.check(OFF, [str(ON)], budget=BUDGET)
    assert (found.passed, found.exit_code) == (True, ExitCode.OK)
    assert found.figures()["decision"].to_list() == ["within", "within", "undecided"]
    assert found.to_dict()["outcome"] == "ok"
    assert "within" in cells(found)
    assert found.headline in repr(found)
    over = kvmtrace.check("after", "before", budget=BUDGET, store=store)
    assert (over.passed, over.exit_code) == (False, ExitCode.CHECK_FAILED)
    assert "over" in over.figures()["decision"].to_list()
    with pytest.raises(InputError, match="nowhere"):
        kvmtrace.check("nowhere", "before", budget=BUDGET, store=store)
    with pytest.raises(InputError):
        kvmtrace.check("after", "before", budget=tmp_path / "none.toml", store=store)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"by": "reasons"}, "by: expected reason, detail, vcpu, vm, cpu or several of them, found 'reasons'"),
        ({"by": ["reason", "x"]}, "by: expected reason, detail, vcpu, vm, cpu or several of them, found 'x'"),
        ({"level": 95}, "level: expected a share between 0 and 1, found 95"),
        ({"minimum_effect": -1}, "minimum_effect: expected a share such as 0.01, found -1"),
        ({"per": "kvm_inj_vriq"}, "--per kvm_inj_vriq: not recorded in any of the runs"),
        ({"claims": "nonsense <"}, ""),
    ],
)
def test_options_that_are_none_are_errors(store: kvmtrace.Store, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as raised:
        store.compare("before", "after", **options)
    assert said in raised.value.message


def test_a_side_without_runs_is_an_error(store: kvmtrace.Store) -> None:
    with pytest.raises(UsageError, match="base: expected a run, found none"):
        store.compare([], "after")
    with pytest.raises(UsageError, match="no run is called 'befor'"):
        store.compare("befor", "after")


def test_a_notebook_shows_every_table_of_a_result(compared: kvmtrace.ComparisonResult, store: kvmtrace.Store) -> None:
    page = html.fromstring(compared._repr_html_())
    headings = [heading.text for heading in page.iter("h4")]
    assert headings[:2] == ["The sides", "What made the change, per injected interrupt"]
    assert len(list(page.iter("table"))) == len(headings)
    assert compared._mime_() == ("text/html", compared._repr_html_())
    report = html.fromstring(store.report("before")._repr_html_())
    assert [pre.text.count("\n") > 5 for pre in report.iter("pre")] == [True]


def test_names_of_a_recording_are_text_and_no_markup(evil: kvmtrace.Store) -> None:
    keys = ["reason", "detail", "vm"]
    shown = (evil.report("aa", by=keys, exact=True), evil.compare("aa", "bb", by=keys))
    for result in shown:
        page = html.fromstring(result._repr_html_())
        assert {element.tag for element in page.iter()} <= TAGS
        assert any(EVIL in cell for cell in cells(result))
        assert "<script" not in result._repr_markdown_()
        assert "<script>alert" not in result.to_page()
    for frame in (evil.runs(), evil.exits("aa").collect(), evil.sql(f'SELECT 1 AS "{EVIL}"')):
        assert "<script" not in frame._repr_html_()


def test_a_run_of_counters_reports_its_figures(tmp_path: Path) -> None:
    text = tmp_path / "perf-stat.csv"
    text.write_text("1200,,kvm:kvm_exit,1000000000,100.00,,\n<not counted>,,kvm:kvm_entry,0,0.00,,\n")
    kvmtrace.ingest(text, store=tmp_path / "store")
    found = kvmtrace.open_store(tmp_path / "store").report()
    assert found.figures().select("event", "value").rows() == [("kvm:kvm_exit", 1200.0), ("kvm:kvm_entry", None)]
    assert "how long it counted is not told" in found.warnings[0]
