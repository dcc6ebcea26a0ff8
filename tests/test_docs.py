"""What the docs say is so: what they print, the commands in them, their links."""

from __future__ import annotations

import re
import shlex
import tomllib
from typing import TYPE_CHECKING

import pytest
import typer
from generated_docs import PARTS, ROOT, current, demo_commands, demo_parts, make, run_kvmtrace, table_reference

from kvmtrace import __version__, cli

if TYPE_CHECKING:
    from pathlib import Path

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("[a-z]*/README.md")])
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_SPAN = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")


def page_id(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def console_commands(page: Path) -> list[str]:
    """Return the commands after `$ ` in the console blocks of a page."""
    blocks = [text for language, text in _BLOCK.findall(page.read_text()) if language == "console"]
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def code(page: Path) -> list[str]:
    """Return every span of code, and every line of a block."""
    text = page.read_text()
    lines = [line.removeprefix("$ ") for _, block in _BLOCK.findall(text) for line in block.splitlines()]
    indented = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    return _SPAN.findall(_BLOCK.sub("", text)) + lines + indented


def commands() -> dict[str, dict[str, str | None]]:
    """Return the help of each argument and option of each command, and under "" that of the command.

    Keys are the names of commands ("report", "runs rm", …; the program itself is ""), then arguments and options.
    """
    found: dict[str, dict[str, str | None]] = {}
    waiting = {"": typer.main.get_command(cli.app)}
    while waiting:
        path, command = waiting.popitem()
        helps = {name: getattr(parameter, "help", None) for parameter in command.params for name in parameter.opts}
        found[path] = {"": command.help, "--help": "Show this message and exit.", **helps}
        waiting |= {f"{path} {name}".strip(): below for name, below in getattr(command, "commands", {}).items()}
    return found


def test_the_demo_prints_what_the_readme_shows_and_leaves_what_it_says(tmp_path: Path) -> None:
    parts = demo_parts(tmp_path)
    assert {name: current(name) for name in parts} == parts, "`make docs` writes them again"
    drawn = {path.name for path in tmp_path.glob("demo/*.png")}
    assert drawn == {"pv-eoi-off.png", "pv-eoi-on.png", "pv-eoi.png"}
    assert len(list(tmp_path.glob("demo/store/runs/*"))) == len(("off", "on"))


def test_the_demo_has_commands_of_each_kind() -> None:
    assert [command[0] for command in demo_commands()] == ["ingest", "ingest", "report", "report", "compare"]


def test_the_tables_of_the_reference_are_those_of_the_code() -> None:
    assert current("tables") == table_reference(), "`make docs` writes them again"


def test_the_commands_of_the_readme_work_in_its_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KVMTRACE_STORE", raising=False)
    given = [shlex.split(command) for command in console_commands(ROOT / "README.md")]
    assert {words[0] for words in given} == {"kvmtrace"}
    for words in given:
        assert run_kvmtrace(words[1:], tmp_path).strip() or {"-o", "--output"} & set(words)


def test_the_readme_shows_every_command() -> None:
    shown = "\n".join(code(ROOT / "README.md"))
    names = [name for name in commands() if name and " " not in name]
    assert names
    assert [name for name in names if f"kvmtrace {name}" not in shown] == []


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_commands_and_options_in_a_page_exist(page: Path) -> None:
    known = commands()
    every_option = set().union(*known.values())
    for text in code(page):
        if text.startswith("kvmtrace "):
            words = shlex.split(text)[1:]
            name = next((n for n in (" ".join(words[:2]), " ".join(words[:1])) if n in known), "")
            given = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
            assert name or words[0].startswith("-"), f"{text}: there is no such command"
            assert given <= known[name].keys(), f"{text}: {name} has no such option"
        elif re.fullmatch(r"--[a-z-]+", text) and page.parent.name != "benchmarks":
            assert text in every_option, f"{text}: no command has it"


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_command_argument_and_option_has_help(name: str) -> None:
    assert [parameter for parameter, text in commands()[name].items() if not text] == []


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_and_make_targets_of_a_page_exist(page: Path) -> None:
    for target in _LINK.findall(page.read_text()):
        assert "://" in target or (page.parent / target).exists(), target
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for text in code(page):
        if match := re.match(r"make ([a-z]+)", text):
            assert match[1] in targets, text


def test_each_generated_part_has_its_place() -> None:
    assert all(current(name).strip() for name in PARTS)


def test_the_change_log_has_a_section_for_this_version() -> None:
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert {"Unreleased", __version__} & set(headings)


def test_every_pinned_version_satisfies_the_project_and_names_no_address() -> None:
    pinned = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in pinned), pinned
    names = {re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower() for line in pinned}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    assert {requirement.partition(">=")[0].lower() for requirement in wanted} <= names


def test_the_makefile_lists_its_targets() -> None:
    phony = re.search(r"^\.PHONY: help (.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony
    assert [line.split()[1] for line in make("help")] == phony[1].split()
