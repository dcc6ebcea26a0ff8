"""`kvmtrace check`: what it ends with, what it writes where, and what is refused."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from junit_schema import JENKINS, outcomes, read_valid
from store_builder import add_run, fixed_table

from kvmtrace.cli import run
from kvmtrace.store.label import Label, write_label
from kvmtrace.store.manifest import run_folder

if TYPE_CHECKING:
    from ingested import IngestedRecordings

RECORDINGS = Path(__file__).parent / "data" / "recordings"
OFF = RECORDINGS / "pveoi-idletick-xapic-off.perf.data.zst"
ON = RECORDINGS / "pveoi-idletick-xapic-on.perf.data.zst"


@pytest.fixture
def pair(ingested: IngestedRecordings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Return the ids of the runs without and with PV EOI, in the store that is asked for; go to an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KVMTRACE_STORE", str(ingested.store))
    return ingested.manifest(OFF).run_id, ingested.manifest(ON).run_id


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to an empty folder, with no store asked for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KVMTRACE_STORE", raising=False)
    return tmp_path


def entry(name: str, metric: str, limit: str, scope: str = "ratio") -> str:
    return f"[[budget]]\nname = '{name}'\nmetric = '{metric}'\nscope = '{scope}'\n{limit}\n"


def check(base: str, new: str, text: str, *arguments: str) -> int:
    Path("budget.toml").write_text(text)
    return run(["check", base, "--against", new, "--budget", "budget.toml", "--junit", "junit.xml", *arguments])


FEWER = entry("exits", "exits() / kvm_inj_virq", "at_most = 0.7")
MEAN = entry("mean", 'mean_ns("npf")', "at_most = 1.1")
VAGUE = entry("own", 'exits("npf")', "at_most = 60", "new")


@pytest.mark.parametrize(
    ("text", "code", "tests", "told"),
    [
        (FEWER, 0, {"exits": ""}, "within budget: 1 of 1"),
        (FEWER + MEAN, 1, {"exits": "", "mean": "failure"}, "over budget, 1 of 2: mean"),
        (
            FEWER + VAGUE,
            4,
            {"exits": "", "own": "error"},
            "could not be decided from what was recorded, 1 of 2: own",
        ),
        (
            FEWER + VAGUE + 'undecided = "pass"\n',
            0,
            {"exits": "", "own": "skipped"},
            "not over budget; not decided, and allowed to pass, 1 of 2: own",
        ),
        (VAGUE + MEAN, 1, {"own": "error", "mean": "failure"}, "over budget, 1 of 2: mean"),
    ],
    ids=["within", "over", "undecided", "allowed", "both"],
)
def test_the_exit_code_and_junit_say_what_was_decided(
    pair: tuple[str, str],
    capsys: pytest.CaptureFixture[str],
    text: str,
    code: int,
    tests: dict[str, str],
    told: str,
) -> None:
    assert check(*pair, text) == code
    assert outcomes(Path("junit.xml")) == tests
    out, err = capsys.readouterr()
    assert out.startswith(f"kvmtrace check: {told}\n")
    assert (f"kvmtrace: error: {told}\n" in err) == bool(code)
    assert "within-run only, which says nothing of run-to-run variation" in out


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            "",
            "budget.toml: the budget file: expected at least one [[budget]], found none: nothing would be checked",
            "",
        ),
        (
            entry("a", 'exits("nfp")', "at_most = 1"),
            "budget.toml:3: 'exits(\"nfp\")': no run of either side has the exit reason 'nfp'",
            "nearest: npf",
        ),
        (
            entry("a", 'exits("npf", "APIC_EIO")', "at_most = 1"),
            "budget.toml:3: 'exits(\"npf\", \"APIC_EIO\")': no run of either side has the detail of npf 'APIC_EIO'",
            "nearest: APIC_EOI",
        ),
        (
            entry("a", "kvm_ext", "at_most = 1"),
            "budget.toml:3: 'kvm_ext': no run of either side has the event 'kvm_ext'",
            "nearest: kvm_exit",
        ),
    ],
    ids=["empty", "unknown reason", "unknown detail", "unknown event"],
)
def test_what_cannot_be_checked_ends_with_3_and_is_said_wherever_a_result_is_looked_for(
    pair: tuple[str, str], capsys: pytest.CaptureFixture[str], text: str, message: str, hint: str
) -> None:
    assert check(*pair, text, "--markdown", "summary.md", "--github") == 3
    out, err = capsys.readouterr()
    assert err.startswith(f"kvmtrace: error: {message}")
    assert f"hint: {hint}" in err
    assert out == f"::error title=kvmtrace check::{message}\n"
    assert outcomes(Path("junit.xml")) == {"input": "error"}
    assert "nothing was checked" in Path("summary.md").read_text()


def test_times_of_exits_whose_count_is_over_are_shown_but_held_back(
    pair: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    text = (
        entry("time of npf", 'time_ns("npf") / seconds', "at_most = 1.1")
        + entry("time of vintr", 'mean_ns("vintr")', "at_most = 100")
        + entry("npf", 'exits("npf") / seconds', "at_most = 1.1")
    )
    off, on = pair
    assert check(on, off, text) == 1
    assert outcomes(Path("junit.xml")) == {"npf": "failure", "time of npf": "skipped", "time of vintr": ""}
    out = capsys.readouterr().out
    assert "held back" in out
    assert "of exits whose count is over (npf); by itself it is over" in out


def test_a_budget_of_all_exits_that_is_over_holds_all_times_back(
    pair: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    text = entry("time", 'mean_ns("vintr")', "at_most = 100") + entry("all", "exits() / seconds", "at_most = 1.1")
    off, on = pair
    assert check(on, off, text) == 1
    assert outcomes(Path("junit.xml")) == {"all": "failure", "time": "skipped"}
    assert "by itself it is within" in capsys.readouterr().out


def test_what_was_not_recorded_is_not_decided(pair: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert check(*pair, entry("a", "exits() / work", "at_most = 1")) == 4
    assert "work was not recorded on the base side; work was not recorded on the new side" in capsys.readouterr().out


def test_a_division_by_zero_is_not_decided(pair: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert check(*pair, entry("a", "exits() / (exits() - exits())", "at_most = 1")) == 4
    assert "a division by 0" in capsys.readouterr().out


def test_users_text_is_escaped_in_junit_markdown_and_annotations(
    pair: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    name = 'a <b> & "c", d: 100% | `e` \u202e'
    text = f"[[budget]]\nname = '{name}'\nmetric = 'exits(\"npf\")'\nscope = 'new'\nat_most = 1\n"
    assert check(*pair, text, "--markdown", "summary.md", "--github") == 1
    assert list(outcomes(Path("junit.xml"))) == [name]
    assert 'a &lt;b&gt; &amp; "c", d: 100% \\| \\`e\\` \\\\u202e' in Path("summary.md").read_text()
    annotation = capsys.readouterr().out.splitlines()[-1]
    assert annotation.startswith(
        '::error file=budget.toml,line=3,title=a <b> & "c"%2C d%3A 100%25 | `e` \\u202e::over: exits("npf"): '
    )
    assert "(95%25)" in annotation


def test_a_job_summary_is_added_to_and_junit_is_not_overwritten_unasked(
    pair: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("summary.md").write_text("# Before\n\n")
    assert check(*pair, FEWER, "--markdown", "summary.md") == 0
    assert Path("summary.md").read_text().startswith("# Before\n\n## kvmtrace check: within budget: 1 of 1\n")
    assert check(*pair, FEWER) == 2
    assert capsys.readouterr().err.endswith("error: junit.xml is there already\nhint: --force overwrites it\n")
    assert check(*pair, FEWER, "--force", "--markdown", "missing/summary.md") == 2
    assert "--markdown missing/summary.md: there is no folder missing" in capsys.readouterr().err


def test_recordings_in_files_folders_and_archives_are_ingested_for_the_check_alone(
    alone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (alone / "new" / "job").mkdir(parents=True)
    (alone / "new" / "job" / "perf.data.zst").symlink_to(ON)
    (alone / "new" / "notes.txt").write_text("hello\n")
    with tarfile.open("base.tar", "w") as tar:
        tar.add(OFF, "artifacts/off.perf.data.zst")
    assert check("base.tar", "new", FEWER) == 0
    assert "passed over: new/notes.txt: expected " in capsys.readouterr().err
    assert sorted(path.name for path in alone.iterdir()) == ["base.tar", "budget.toml", "junit.xml", "new"]


def test_recordings_go_into_the_store_that_is_asked_for(alone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(str(OFF), str(ON), FEWER, "--store", "store") == 0
    first = capsys.readouterr().out
    assert len(list((alone / "store" / "runs").iterdir())) == 2
    assert check(OFF.name, ON.name, FEWER, "--store", "store", "--force") == 0  # now they are runs
    assert capsys.readouterr().out == first


def test_a_name_of_a_file_and_of_a_run_is_the_file_and_that_is_said(
    pair: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    off, on = pair
    Path(on[:8]).symlink_to(OFF)
    assert check(off, on[:8], FEWER) == 3
    err = capsys.readouterr().err
    assert f"note: {on[:8]} is a file, and also what run {on} is called: the file is taken" in err
    assert f"error: {off}: the same run is on both sides: nothing could have changed" in err


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ("of.data", "of.data: no such file, and no store at kvmtrace-store"),
        ("empty", "empty: expected a recording in the folder, found none"),
        ("budget.toml", "budget.toml: expected "),
        ("cut.data", "cut.data"),
        ("folder", "folder/cut.data"),
    ],
)
def test_a_side_that_cannot_be_read_is_bad_input(
    alone: Path, capsys: pytest.CaptureFixture[str], new: str, message: str
) -> None:
    (alone / "empty").mkdir()
    (alone / "folder").mkdir()
    for path in (alone / "cut.data", alone / "folder" / "cut.data"):
        path.write_bytes(OFF.read_bytes()[:5000])
    assert check(str(OFF), new, FEWER) == 3
    out, err = capsys.readouterr()
    assert not out
    assert f"kvmtrace: error: {message}" in err
    assert outcomes(Path("junit.xml")) == {"input": "error"}
    assert not (alone / "kvmtrace-store").exists()


def test_a_store_is_no_artifact(pair: tuple[str, str], ingested: IngestedRecordings) -> None:
    assert check(pair[0], str(ingested.store), FEWER) == 3
    assert "expected recordings, found a store" in read_valid(Path("junit.xml")).find(".//error").get("message")


def counters(store: Path, run_id: str, exits: float, *, side: str) -> None:
    """Add a run that counted exits for a second."""
    rows = [{"system": "kvm", "event": "kvm_exit", "value": exits, "state": "counted", "line": 1}]
    add_run(store, run_id, {"counters": fixed_table("counters", rows)}, kind="counters", elapsed_ns=10**9)
    write_label(run_folder(store, run_id), Label(None, {"side": side}))


@pytest.fixture
def runs(alone: Path) -> Path:
    """Return a store of seven runs a side: about 1000 exits a second before, 1100 after."""
    for n in range(7):
        counters(alone / "store", f"b{n}", 1000 + 3 * n, side="base")
        counters(alone / "store", f"c{n}", 1100 + 3 * n, side="new")
    return alone


@pytest.mark.parametrize(
    ("limit", "scope", "code"),
    [
        ("at_most = 1.05", "ratio", 1),
        ("at_most = 1.15", "ratio", 0),
        ("at_most = 1.1", "ratio", 4),
        ("at_least = 1.05", "ratio", 0),
        ("at_least = 1.05\nat_most = 1.2", "ratio", 0),
        ("at_least = 1.15\nat_most = 1.2", "ratio", 1),
        ("at_most = 50", "difference", 1),
        ("at_most = 150", "difference", 0),
        ("at_most = 1000", "new", 1),
        ("at_most = 1200", "new", 0),
    ],
)
def test_tags_name_many_runs_and_each_scope_is_held_to_its_limit(
    runs: Path, capsys: pytest.CaptureFixture[str], limit: str, scope: str, code: int
) -> None:
    assert check("side=base", "side=new", entry("a", "kvm_exit", limit, scope), "--store", "store") == code
    assert "within-run only" not in capsys.readouterr().out
    assert runs.exists()


def test_too_few_runs_decide_nothing_however_clear_they_are(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    budget = entry("a", "kvm_exit", "at_most = 1.05\naccept_single = true")
    Path("budget.toml").write_text(budget)
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


@pytest.mark.parametrize(
    ("base", "new", "limit", "code"),
    [
        (0, 5, "at_most = 10\naccept_single = true", 1),  # there were none: no ratio allows for any
        (0, 0, "at_most = 1.1", 0),
        (0, 0, "at_most = 0.5", 4),  # half of none is not told from none
        (1000, 1004, "at_most = 1.0\naccept_single = true", 0),  # less than counts
        (1000, 1004, "at_most = 1.0\nminimum_effect = 0.001\naccept_single = true", 1),
    ],
)
def test_what_there_was_none_of_and_what_hardly_changed(
    alone: Path, base: float, new: float, limit: str, code: int
) -> None:
    counters(alone / "store", "b", base, side="base")
    counters(alone / "store", "c", new, side="new")
    assert check("b", "c", entry("a", "kvm_exit", limit), "--store", "store") == code


def test_what_differs_between_the_sides_is_a_warning_in_each_form(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counters(runs / "store", "d", 7000, side="other")
    rows = [{"system": "kvm", "event": "kvm_exit", "value": 7.0, "state": "counted", "line": 1}]
    add_run(runs / "store", "e", {"counters": fixed_table("counters", rows)}, kind="counters", elapsed_ns=5 * 10**9)
    text = entry("a", "kvm_exit", "at_most = 1.05\naccept_single = true")
    assert check("d", "e", text, "--store", "store", "--github", "--markdown", "summary.md") == 0
    told = "The sides were recorded for different times: 1.000 s before, 5.000 s after."
    out = capsys.readouterr().out
    assert f"warning: {told}" in out
    assert f"::warning title=kvmtrace check::{told}" in out
    assert f"> **Warning:** {told}" in Path("summary.md").read_text()
    assert f"warning: {told}" in read_valid(Path("junit.xml")).find("testsuite/system-out").text


@pytest.mark.skipif(not JENKINS.exists(), reason=f"{JENKINS} is not there: only the project's own schema is held to")
def test_the_schema_of_jenkins_is_held_to_as_well(pair: tuple[str, str]) -> None:
    assert check(*pair, FEWER + VAGUE + MEAN) == 1
    assert len(outcomes(Path("junit.xml"))) == 3
