"""What `kvmtrace check` writes where files or standard output fail, and what it never writes over."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path

import pytest
from check_samples import SINGLE, check, counted
from junit_schema import outcomes

from kvmtrace.cli import run


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--junit", "budget.toml"], "--junit budget.toml: the same file as --budget budget.toml"),
        (["--markdown", "./budget.toml"], "--markdown budget.toml: the same file as --budget budget.toml"),
        (["--junit", "new", "--markdown", "link"], "--markdown link: the same file as --junit new"),
        (["--junit", "base.txt"], "--junit base.txt: the same file as base.txt"),
        (["--markdown", "link.txt"], "--markdown link.txt: the same file as new.txt"),
    ],
)
@pytest.mark.usefixtures("alone")
def test_no_file_is_written_over_another_of_the_check(
    capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    counted("base.txt", 1000)
    counted("new.txt", 1000)
    Path("link").symlink_to("new")
    Path("link.txt").symlink_to("new.txt")
    Path("budget.toml").write_text(SINGLE)
    before = {path: path.read_text() for path in Path().iterdir() if path.is_file()}
    assert run(["check", "base.txt", "--against", "new.txt", "--budget", "budget.toml", "--force", *more]) == 2
    assert capsys.readouterr().err.endswith(f"error: {message}\n")
    assert {path: path.read_text() for path in Path().iterdir() if path.is_file()} == before


@pytest.mark.parametrize(
    ("number", "code"),
    [(errno.ENOSPC, 3), (errno.EPIPE, 1)],  # full; closed by who has seen enough, which makes nothing pass
)
@pytest.mark.usefixtures("alone")
def test_a_standard_output_that_fails_takes_neither_files_nor_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int, code: int
) -> None:
    class Failing(io.TextIOWrapper):
        def write(self, text: str) -> int:
            raise OSError(number, os.strerror(number), text[:0])

    counted("base.txt", 1000)
    counted("new.txt", 2000)
    with Failing((tmp_path / "stdout").open("wb")) as stdout:
        monkeypatch.setattr("sys.stdout", stdout)
        assert check("base.txt", "new.txt", SINGLE, "--markdown", "summary.md") == code
    assert outcomes(Path("junit.xml")) == {"a": "failure"}
    assert "over budget" in Path("summary.md").read_text()


def test_files_that_cannot_be_written_do_not_take_the_result_from_standard_output(
    alone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counted("base.txt", 1000)
    counted("new.txt", 2000)
    (alone / "junit.xml").mkdir()
    assert check("base.txt", "new.txt", SINGLE, "--force") == 3
    out, err = capsys.readouterr()
    assert out.startswith("kvmtrace check: over budget")
    assert err.endswith("error: junit.xml: Is a directory\n")


@pytest.mark.usefixtures("alone")
def test_a_job_summary_is_added_to_and_junit_is_not_overwritten_unasked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    counted("base.txt", 1001)
    counted("new.txt", 1000)
    pair = "base.txt", "new.txt"
    Path("summary.md").write_text("# Before\n\n")
    assert check(*pair, SINGLE, "--markdown", "summary.md") == 0
    assert Path("summary.md").read_text().startswith("# Before\n\n## kvmtrace check: within budget: 1 of 1\n")
    assert check(*pair, SINGLE) == 2
    assert capsys.readouterr().err.endswith("error: junit.xml is there already\nhint: --force overwrites it\n")
    assert check(*pair, SINGLE, "--force", "--markdown", "missing/summary.md") == 2
    assert "--markdown missing/summary.md: there is no folder missing" in capsys.readouterr().err
