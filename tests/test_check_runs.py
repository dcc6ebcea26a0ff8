"""`kvmtrace check` of one run and of several a side: what each limit makes of their figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from check_samples import SINGLE, check, counters, entry
from junit_schema import outcomes, read_valid

from kvmtrace.cli import run

if TYPE_CHECKING:
    from collections.abc import Mapping


@pytest.fixture(scope="module")
def store_of_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store of seven runs a side: about 1000 exits a second before, 1100 after, and what is often 0."""
    store = tmp_path_factory.mktemp("runs") / "store"
    for n in range(7):
        late = n > 3
        before = {"kvm_exit": 1000 + 3 * n, "none": 0, "some_new": 0, "some_gone": 1000 * late, "all_new": 0}
        after = {"kvm_exit": 1100 + 3 * n, "none": 0, "some_new": 100 * late, "some_gone": 100 * late, "all_new": 9 + n}
        counters(store, f"b{n}", before, side="base")
        counters(store, f"c{n}", after, side="new")
    return store


@pytest.fixture
def runs(alone: Path, store_of_runs: Path) -> Path:
    """Go to an empty folder with the store of seven runs a side."""
    (alone / "store").symlink_to(store_of_runs)
    return alone


def decided(base: str, new: str, budgets: Mapping[tuple[str, str, str], str], code: int) -> None:
    """Hold that budgets of metric, limit and scope, all in one file, make these outcomes."""
    text = "".join(entry(str(n), *each) for n, each in enumerate(budgets))
    assert check(base, new, text, "--store", "store") == code
    found = outcomes(Path("junit.xml"))
    assert {each: found[str(n)] for n, each in enumerate(budgets)} == budgets


def test_tags_name_many_runs_and_each_scope_is_held_to_its_limit(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = {
        ("at_most = 1.05", "ratio"): "failure",
        ("at_most = 1.15", "ratio"): "",
        ("at_most = 1.1", "ratio"): "error",
        ("at_least = 1.05", "ratio"): "",
        ("at_least = 1.05\nat_most = 1.2", "ratio"): "",
        ("at_least = 1.15\nat_most = 1.2", "ratio"): "failure",
        ("at_most = 50", "difference"): "failure",
        ("at_most = 150", "difference"): "",
        ("at_most = 1000", "new"): "failure",
        ("at_most = 1200", "new"): "",
    }
    decided("side=base", "side=new", {("kvm_exit", *each): said for each, said in limits.items()}, 1)
    assert "within-run only" not in capsys.readouterr().out
    assert runs.exists()


@pytest.mark.usefixtures("runs")
def test_a_median_of_0_on_both_sides_does_not_show_that_nothing_changed(capsys: pytest.CaptureFixture[str]) -> None:
    budgets = {
        ("none", "at_most = 1.05", "ratio"): "",
        ("some_new", "at_most = 1.05", "ratio"): "error",
        ("some_gone", "at_most = 1.05", "ratio"): "error",
        ("all_new", "at_most = 1.05", "ratio"): "failure",
        ("all_new", "at_least = 1.05", "ratio"): "",
    }
    decided("side=base", "side=new", budgets, 1)
    out = capsys.readouterr().out
    assert out.count("0 before, and not shown to be more than 0 after") == 2
    assert out.count("0 on both sides: no change") == 1


def test_too_few_runs_decide_nothing_however_clear_they_are(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("budget.toml").write_text(SINGLE)
    given = ["check", "b0", "b1", "b2", "--against", "c0", "--against", "c1", "--budget", "budget.toml"]
    assert run([*given, "--store", str(runs / "store")]) == 4
    assert "not enough runs: need 6 a side, found 3 and 2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "code", "why"),
    [
        ("", 4, "two single figures carry no interval; accept_single = true takes it as it stands"),
        ("\naccept_single = true", 1, "a single figure, taken as it stands"),
    ],
)
@pytest.mark.usefixtures("runs")
def test_two_single_figures_decide_only_where_the_budget_takes_them(
    capsys: pytest.CaptureFixture[str], more: str, code: int, why: str
) -> None:
    assert check("b0", "c0", entry("a", "kvm_exit", "at_most = 1.05" + more), "--store", "store") == code
    assert why in capsys.readouterr().out


def test_what_there_was_none_of_and_what_hardly_changed(alone: Path) -> None:
    counters(alone / "store", "b", {"rose": 0, "none": 0, "hardly": 1000}, side="base")
    counters(alone / "store", "c", {"rose": 5, "none": 0, "hardly": 1004}, side="new")
    limits = {
        ("rose", "at_most = 10\naccept_single = true"): "failure",  # there were none: no ratio allows for any
        ("-rose", "at_most = 10\naccept_single = true"): "error",  # nor is less than none more than any ratio
        ("rose", "at_most = 10"): "error",
        ("none", "at_most = 1.1"): "",
        ("none", "at_most = 0.5"): "error",  # half of none is not told from none
        ("hardly", "at_most = 1.0\naccept_single = true"): "",  # less than counts
        ("hardly", "at_most = 1.0\nminimum_effect = 0.001\naccept_single = true"): "failure",
    }
    decided("b", "c", {(*each, "ratio"): said for each, said in limits.items()}, 1)


def test_what_differs_between_the_sides_is_a_warning_in_each_form(
    alone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counters(alone / "store", "d", {"kvm_exit": 7000}, side="base")
    counters(alone / "store", "e", {"kvm_exit": 7}, side="new", seconds=5)
    assert check("d", "e", SINGLE, "--store", "store", "--github", "--markdown", "summary.md") == 0
    told = "The sides were recorded for different times: 1.000 s before, 5.000 s after."
    out = capsys.readouterr().out
    assert f"warning: {told}" in out
    assert f"::warning title=kvmtrace check::{told}" in out
    assert f"> **Warning:** {told}" in Path("summary.md").read_text()
    assert f"warning: {told}" in read_valid(Path("junit.xml")).find("testsuite/system-out").text
