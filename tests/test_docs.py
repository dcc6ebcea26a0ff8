"""What the docs say is so: what they print, the commands in them, their links."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

import pytest
from doc_commands import OTHER_LANGUAGES, PAGES, ROOT, SHELL_LANGUAGES, blocks, invocations, with_output
from generated_docs import PARTS, REFERENCE, current, demo_commands, demo_parts, make
from generated_reference import commands

from kvmtrace import __version__

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_SPAN = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")


def page_id(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def has_commands(page: Path) -> bool:
    return any(block.language in SHELL_LANGUAGES and not block.reason for block in blocks(page.read_text()))


def code(page: Path) -> list[str]:
    """Return every span of code, every command, and every line of the other blocks."""
    text = page.read_text()
    lines: list[str] = []
    for block in blocks(text):
        lines += block.commands if block.language in SHELL_LANGUAGES else block.text.replace("\\\n", "").splitlines()
    beside = _BLOCK.sub("", text)
    indented = [line.strip() for line in beside.splitlines() if line.startswith("    ")]
    return _SPAN.findall(beside) + [line.strip() for line in lines] + indented


def parameters() -> dict[str, dict[str, str | None]]:
    """Return the help of each argument and option of each command, and under "" that of the command."""
    found: dict[str, dict[str, str | None]] = {}
    for path, command in commands().items():
        helps = {name: getattr(parameter, "help", None) for parameter in command.params for name in parameter.opts}
        found[path] = {"": command.help, "--help": "Show this message and exit.", **helps}
    return found


def test_the_demo_prints_what_the_readme_shows_and_leaves_what_it_says(tmp_path: Path) -> None:
    parts = demo_parts(tmp_path)
    assert {name: current(name) for name in parts} == parts, "`make docs` writes them again"
    drawn = {path.name for path in tmp_path.glob("demo/*.png")}
    assert drawn == {"pv-eoi-off.png", "pv-eoi-on.png", "pv-eoi.png"}
    assert len(list(tmp_path.glob("demo/store/runs/*"))) == len(("off", "on"))


def test_the_demo_has_commands_of_each_kind() -> None:
    assert [command[0] for command in demo_commands()] == ["ingest", "ingest", "report", "report", "compare"]


@pytest.mark.parametrize("name", REFERENCE)
def test_the_reference_is_that_of_the_code(name: str) -> None:
    assert current(name) == REFERENCE[name](), "`make docs` writes them again"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_a_block_is_run_or_says_what_it_needs(page: Path) -> None:
    for block in blocks(page.read_text()):
        assert block.language in (*SHELL_LANGUAGES, *OTHER_LANGUAGES, ""), block.language
        assert block.unchecked_lines == [], "output without <!-- begin output -->"
        if block.language in SHELL_LANGUAGES:
            assert block.commands
        else:
            assert not block.shows_output
            assert not re.search(r"^\$ ", block.text, re.MULTILINE), "a console without its name"


@pytest.mark.parametrize("page", [page for page in PAGES if has_commands(page)], ids=page_id)
def test_the_commands_of_a_page_work_in_its_order_and_print_what_it_shows(page: Path, tmp_path: Path) -> None:
    assert page.read_text() == with_output(page.read_text(), tmp_path), "`make docs` writes it again"


def test_the_readme_shows_every_command() -> None:
    shown = "\n".join(code(ROOT / "README.md"))
    names = [name for name in parameters() if name and " " not in name]
    assert names
    assert [name for name in names if f"kvmtrace {name}" not in shown] == []


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_commands_and_options_in_a_page_exist(page: Path) -> None:
    known = parameters()
    every_option = set().union(*known.values())
    for text in code(page):
        for words in invocations(text) if "kvmtrace " in text else ():
            name = next((n for n in (" ".join(words[:2]), " ".join(words[:1])) if n in known), "")
            given = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
            assert name or words[0].startswith(("-", "[")), f"{text}: there is no such command"
            assert given <= known[name].keys(), f"{text}: {name} has no such option"
        if re.fullmatch(r"--[a-z-]+", text) and page.parent.name != "benchmarks":
            assert text in every_option, f"{text}: no command has it"


@pytest.mark.parametrize("name", sorted(parameters()))
def test_every_command_argument_and_option_has_help(name: str) -> None:
    assert [parameter for parameter, text in parameters()[name].items() if not text] == []


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_and_make_targets_of_a_page_exist(page: Path) -> None:
    for target in _LINK.findall(page.read_text()):
        assert "://" in target or (page.parent / target).exists(), target
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for text in code(page):
        if match := re.match(r"make ([a-z]+)", text):
            assert match[1] in targets, text


def test_every_heading_of_a_report_is_among_the_figures() -> None:
    tables = [line for line in current("report").splitlines() if line.startswith("reason ")]
    headings = {heading for line in tables for heading in re.split(" {2,}", line)} - {"reason"}
    figures = (ROOT / "docs/figures.md").read_text()
    assert "p99.9 µs" in headings
    assert [heading for heading in sorted(headings) if heading.removesuffix(" µs") not in figures] == []


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
