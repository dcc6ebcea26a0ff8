"""What counts as a command of a page, and how it is run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from doc_commands import blocks, invocations, run, with_output

if TYPE_CHECKING:
    from pathlib import Path


def console(*lines: str, shown: bool = False) -> str:
    block = "\n".join(["```console", *lines, "```", ""])
    return f"<!-- begin output -->\n{block}<!-- end output -->\n" if shown else block


def test_a_console_has_commands_after_its_prompt_and_goes_on_while_a_quote_is_open() -> None:
    (block,) = blocks(console("$ kvmtrace sql 'SELECT", ">     1'", "1", "$ a \\", "> b", shown=True))
    assert block.commands == ["kvmtrace sql 'SELECT\n    1'", "a \\\nb"]


def test_every_line_of_a_script_is_a_command_but_its_comments() -> None:
    (block,) = blocks("```sh\n# one\nkvmtrace formats\n\nkvmtrace models # two\n```\n")
    assert block.commands == ["kvmtrace formats", "kvmtrace models # two"]


def test_output_that_nobody_compares_is_told() -> None:
    (unmarked,) = blocks(console("$ kvmtrace formats", "format"))
    (marked,) = blocks(console("$ kvmtrace formats", "format", shown=True))
    assert unmarked.unchecked_lines == ["format"]
    assert marked.unchecked_lines == []


def test_a_block_with_a_reason_is_not_run(tmp_path: Path) -> None:
    text = "```sh\n# needs perf\ntouch here\n```\n"
    assert with_output(text, tmp_path) == text
    assert not (tmp_path / "here").exists()


def test_what_a_command_prints_is_written_below_it(tmp_path: Path) -> None:
    stale = console("$ kvmtrace --version | tr a-z A-Z", "?", "$ ls -d tests", shown=True)
    shown = with_output(stale, tmp_path)
    assert "$ kvmtrace --version | tr a-z A-Z\nKVMTRACE " in shown
    assert "$ ls -d tests\ntests\n" in shown
    assert with_output(shown, tmp_path) == shown


@pytest.mark.parametrize("command", ["kvmtrace sql --no-such", "kvmtrace --version | grep -q nothing", "false"])
def test_another_exit_code_than_the_page_says_is_an_error(command: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="exit code"):
        run(command, tmp_path)


def test_an_exit_code_that_the_page_says_is_none(tmp_path: Path) -> None:
    assert "no such option" in run("kvmtrace sql --no-such # exit code 2", tmp_path).lower()
    assert "no such option" in run("kvmtrace sql --no-such 2>&1 # exit code 2", tmp_path).lower()


def test_a_store_that_the_environment_asks_for_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KVMTRACE_STORE", str(tmp_path / "mine"))
    run("kvmtrace ingest tests/data/kvm-stat/once.txt", tmp_path)
    run("kvmtrace ingest tests/data/kvm-stat/log.txt > ids", tmp_path)
    assert not (tmp_path / "mine").exists()
    assert (tmp_path / "kvmtrace-store").exists()


def test_every_kvmtrace_of_a_line_is_found() -> None:
    line = 'xz -dc x.xz | kvmtrace ingest - --tag "a=b | c" && kvmtrace sql "SELECT 1 < 2" > out'
    assert invocations(line) == [["ingest", "-", "--tag", "a=b | c"], ["sql", "SELECT 1 < 2"]]
    assert invocations("kvmtrace watch --top 3 -- ls --all; kvmtrace runs") == [["watch", "--top", "3"], ["runs"]]
