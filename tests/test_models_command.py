"""`kvmtrace models`, the check of a model, and the engine of counters, on pvops-ident and on texts made of it."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from kvmtrace.cli import run
from kvmtrace.errors import InputError, UsageError
from kvmtrace.generating import run_of
from kvmtrace.model_check import check
from kvmtrace.recording import TableSet
from kvmtrace.report.models import tolerance_in_words
from kvmtrace.synth import model_file
from kvmtrace.synth.model_file import Model, parse

MODEL = model_file.find("pvops-ident")
PATH = Path("mine.toml")
CACHE_RATIO = 'value = 1.25\nunit = "ratio"'


def changed(old: str, new: str) -> str:
    assert old in MODEL.text
    return MODEL.text.replace(old, new)


def mine(old: str, new: str) -> Model:
    return parse(changed(old, new), PATH)


def shown(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert run(["models", *arguments]) == code
    return capsys.readouterr().out


# --- the command ---


def test_models_are_listed_with_engine_platform_variants_and_purpose(capsys: pytest.CaptureFixture[str]) -> None:
    rows = list(csv.DictReader(io.StringIO(shown(capsys, "--format", "csv"))))
    assert [row["model"] for row in rows] == model_file.names()
    pvops = next(row for row in rows if row["model"] == "pvops-ident")
    assert pvops["engine"] == "counters"
    assert pvops["platform"] == "x86_64"
    assert pvops["variants"] == "nopv, pvops, pvops+ident, full-series"


@pytest.mark.parametrize("table_format", ["text", "markdown"])
def test_a_model_is_shown_with_all_that_it_says(capsys: pytest.CaptureFixture[str], table_format: str) -> None:
    text = " ".join(shown(capsys, "pvops-ident", "--format", table_format).replace("\\", "").split())
    header = MODEL.header
    said = [header.purpose, header.effect.because, header.applies_when]
    said += [part for each in header.source for part in (each.document, each.figures)]
    said += [part for each in header.assumed for part in (each.what, each.because)]
    said += [part for each in header.published for part in (each.name, each.because, each.source)]
    said += [tolerance_in_words(each) for each in header.published]
    said += [each.what for each in header.variants.values()] + ['workload.calls.other.path = "other-call"']
    assert [part for part in said if " ".join(part.split()) not in text] == []


def test_a_model_as_json_and_csv_has_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    said = json.loads(shown(capsys, "pvops-ident", "--format", "json"))
    assert [each["figure"] for each in said["published"]] == [each.name for each in MODEL.header.published]
    assert said["published"][0]["because"]
    assert said["variants"]["pvops"]["workload"]["calls"]["identity"]["path"] == "identity-call"
    rows = list(csv.DictReader(io.StringIO(shown(capsys, "pvops-ident", "--format", "csv"))))
    assert [float(row["published"]) for row in rows] == [each.value for each in MODEL.header.published]


def test_a_check_shows_what_the_model_gives_and_draws_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    plot = tmp_path / "plot.svg"
    given = shown(capsys, "pvops-ident", "--check", "--seeds", "2", "--plot", str(plot), "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(given)))
    assert {row["holds"] for row in rows} == {"yes"}
    assert {row["seeds"] for row in rows} == {"2"}
    assert all(float(row["lowest"]) <= float(row["modelled"]) <= float(row["highest"]) for row in rows)
    assert b"<svg" in plot.read_bytes()
    assert run(["models", "pvops-ident", "--check", "--plot", str(plot)]) == 2


def test_a_check_that_fails_shows_the_table_names_the_figure_and_ends_with_1(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    PATH.write_text(changed(CACHE_RATIO, CACHE_RATIO.replace("1.25", "2.25")))
    assert run(["models", "mine.toml", "--check", "--format", "csv"]) == 1
    given = capsys.readouterr()
    failed = [row["figure"] for row in csv.DictReader(io.StringIO(given.out)) if row["holds"] != "yes"]
    assert failed == ["cache references of the full series, to those without pvops"]
    assert given.err == f"kvmtrace: error: mine is not within the tolerance: {failed[0]}\n"


def test_a_figure_that_is_said_to_be_missed_is_shown_with_the_reason_and_fails_no_check(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    PATH.write_text(changed(CACHE_RATIO, CACHE_RATIO.replace("1.25", "2.25") + '\nmissed = "caches are not modelled"'))
    rows = list(csv.DictReader(io.StringIO(shown(capsys, "mine.toml", "--check", "--format", "csv"))))
    assert [row["figure"] for row in rows if row["holds"] == "NO"] == [
        "cache references of the full series, to those without pvops"
    ]
    assert "missed: caches are not modelled" in shown(capsys, "mine.toml")
    said = json.loads(shown(capsys, "mine.toml", "--format", "json"))["published"]
    assert [each["missed"] for each in said if "missed" in each] == ["caches are not modelled"]


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        (["pvop-ident"], "there is no model 'pvop-ident'", "known: pvops-ident"),
        (["--check"], "--check needs the name of a model", "`kvmtrace models` lists them"),
        (["pvops-ident", "--plot", "x.png"], "--plot needs --check", ""),
        (["pvops-ident", "--check", "--plot", "x.gif"], "expected a file name that ends in .png or .svg", ""),
        (["pvops-ident", "--check", "--seeds", "0"], "invalid value for '--seeds'", ""),
    ],
)
def test_what_the_user_must_change_is_one_line_and_exit_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], error: str, hint: str
) -> None:
    assert run(["models", *arguments]) == 2
    given = capsys.readouterr()
    assert given.out == ""
    assert error in given.err
    assert hint in given.err


# --- the check ---


def test_figures_are_compared_as_they_say() -> None:
    for compare, value in (("ratio", 1.05), ("gain", 5), ("difference", 50)):
        old = 'compare = "gain"\nvalue = 5.0'
        first = check(mine(old, f'compare = "{compare}"\nvalue = {value}'), [1, 2])[0]
        assert first.modelled[0] != first.modelled[1]
        assert first.mean == pytest.approx(value, rel=0.1)


def test_one_seed_that_does_not_hold_is_enough() -> None:
    first = check(MODEL, [1])[0]
    assert first.holds
    assert not replace(first, modelled=(*first.modelled, 6.5)).holds
    assert not replace(first, modelled=(3.5, *first.modelled)).holds


@pytest.mark.parametrize(
    ("measure", "message"),
    [
        ("SELECT event FROM counters ORDER BY event LIMIT 1", "expected one number, found [('cache-misses',)]"),
        ("SELECT value FROM counters", "expected one number, found [("),
        ("SELECT NULL", "expected one number, found [(None,)]"),
        ("SELECT value FROM counterz", "no table 'counterz'"),
        ("DROP TABLE counters", "is refused"),
    ],
)
def test_a_measure_that_gives_no_number_is_an_error_of_the_file(measure: str, message: str) -> None:
    old = "SELECT 100 * stderr_share * sqrt(repeats) FROM counters WHERE event = 'task-clock'"
    with pytest.raises(InputError) as caught:
        check(mine(old, measure), [1])
    assert caught.value.message.startswith(
        "mine.toml: published figure 'standard deviation of ticks from boot to boot'"
    )
    assert message in caught.value.message


# --- the engine of counters ---

_SEQUENCE = '[sequences.x]\nspan = { mean = 1, unit = "us" }\nevents = [{ event = "kvm:kvm_msr", at = 0 }]\n'


def counters(model: Model, variant: str, seed: int = 1) -> dict[str, float]:
    [table] = model.engine.contents(run_of(model, variant, seed=seed))
    assert isinstance(table, TableSet)
    return {row["event"]: row["value"] for row in table.rows.to_pylist()}


def test_counters_are_costs_times_operations_where_boots_do_not_vary() -> None:
    text = MODEL.text.replace("time_percent = 6.0", "time_percent = 0")
    still = parse(text.replace("cache_references_percent = 6.0", "cache_references_percent = 0"), PATH)
    given = counters(still, "pvops")
    assert given["task-clock"] == 1050.0  # (150 + 850 + 20 x 1.6 + 6 x 3.0) ns x 1,000,000
    assert given["cycles:u"] == 150 * 2.4 * 10**6
    assert given["cycles:k"] == 900 * 2.4 * 10**6
    assert given["instructions:k"] == (1500 + 20 * 5 + 6 * 8) * 10**6
    assert given["cache-references"] == 60 * 10**6


def test_boots_of_two_variants_and_of_two_seeds_differ() -> None:
    user = [counters(MODEL, variant, seed)["cycles:u"] for variant, seed in (("nopv", 1), ("pvops", 1), ("nopv", 2))]
    assert len(set(user)) == 3
    assert counters(MODEL, "nopv") == counters(MODEL, "nopv")


def test_a_length_is_refused_as_the_work_is_a_number_of_operations() -> None:
    for options in ({"seconds": 2.0}, {"events": 5}):
        with pytest.raises(UsageError, match="neither seconds nor events limit it"):
            MODEL.engine.contents(run_of(MODEL, "nopv", **options))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('times = 6\npath = "inline"', 'times = 6\npath = "inlin"', "unknown path 'inlin': did you mean inline?"),
        ('isa = "none"', 'isa = "VMX"', "expected 'none': the engine counters runs no guest"),
        ("boots = 400", "boots = 1", "greater than or equal to 2"),
        ('modes = ["user"] }', 'modes = ["guest"] }', "'user' or 'kernel'"),
        ("time_ns = 850", "time_ns = -850", "greater than or equal to 0"),
        ("[effect]", _SEQUENCE + "[effect]", "makes no events"),
    ],
)  # fmt: skip
def test_an_impossible_workload_is_an_error_with_its_line(old: str, new: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        mine(old, new)
    assert message in caught.value.message
    assert caught.value.message.startswith("mine.toml:")
    assert caught.value.message.split(":")[1].isdigit()
