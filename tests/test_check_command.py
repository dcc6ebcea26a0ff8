"""`kvmtrace check`: what it ends with, what it writes where, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from check_samples import check, entry
from junit_schema import JENKINS, outcomes, read_valid

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


def test_what_was_not_recorded_and_a_division_by_zero_are_not_decided(
    pair: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    text = entry("a", "exits() / work", "at_most = 1") + entry("b", "exits() / (exits() - exits())", "at_most = 1")
    assert check(*pair, text) == 4
    assert outcomes(Path("junit.xml")) == {"a": "error", "b": "error"}
    out = capsys.readouterr().out
    assert "work was not recorded on the base side; work was not recorded on the new side" in out
    assert "a division by 0" in out


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


def test_a_name_of_a_file_and_of_a_run_is_the_file_and_that_is_said(
    pair: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    off, on = pair
    Path(on[:8]).symlink_to(OFF)
    assert check(off, on[:8], FEWER) == 3
    err = capsys.readouterr().err
    assert f"note: {on[:8]} is a file, and also what run {on} is called: the file is taken" in err
    assert f"error: {off}: the same run is on both sides: nothing could have changed" in err


def test_a_store_is_no_artifact(pair: tuple[str, str], ingested: IngestedRecordings) -> None:
    assert check(pair[0], str(ingested.store), FEWER) == 3
    assert "expected recordings, found a store" in read_valid(Path("junit.xml")).find(".//error").get("message")


@pytest.mark.skipif(not JENKINS.exists(), reason=f"{JENKINS} is not there: only the project's own schema is held to")
def test_the_schema_of_jenkins_is_held_to_as_well(pair: tuple[str, str]) -> None:
    assert check(*pair, FEWER + VAGUE + MEAN) == 1
    assert len(outcomes(Path("junit.xml"))) == 3
