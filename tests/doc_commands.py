"""The commands in the blocks of the docs, and what they print.

A block ```console has commands after `$ ` and goes on with one after `> `; a block ```sh has one on each line.
The blocks of a page are run in their order, in one folder that sees the project's data. Between `<!-- begin output -->`
and `<!-- end output -->` stands what each command printed below it, and `make docs` writes it again. A command that
ends with another exit code than 0 says so: `# exit code 1`. A block that begins with `# needs …` is not run.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kvmtrace import cli

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("[a-z]*/README.md")])
SHELL_LANGUAGES = ("console", "sh")
OTHER_LANGUAGES = ("text", "toml", "sql", "python", "yaml", "json")
"""Languages of blocks that are no commands; a block of any other would be run by nobody and look like commands."""

_DATA = ("docs", "generators", "queries", "tests")
_BLOCK = re.compile(
    r"(?P<mark><!-- begin output -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
_EXIT_CODE = re.compile(r"\s# exit code (\d+)$")
_OUTSIDE_QUOTES = r"(?:[^'\"|<>;&$`]|'[^']*'|\"[^\"`$]*\")*"
_PLAIN = re.compile(rf"kvmtrace (?P<arguments>{_OUTSIDE_QUOTES})(?:\| (?P<rest>(?!.*kvmtrace).*))?")
"""A command, and what its output is piped into, that needs no shell before the pipe."""


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code of a page, in which `$ ` and comments still stand."""

    language: str
    text: str
    shows_output: bool = False

    @property
    def reason(self) -> str | None:
        """Return why the block is not run, if that is so."""
        first = self.text.partition("\n")[0]
        return first.removeprefix("# ") if first.startswith("# needs ") else None

    @property
    def commands(self) -> list[str]:
        """Return the commands, each on one line or more."""
        commands: list[str] = []
        unfinished = False
        for line in self.text.splitlines():
            if unfinished:
                commands[-1] += "\n" + (line.removeprefix("> ") if self.language == "console" else line)
            elif self.language == "console":
                commands += [line[2:]] if line.startswith("$ ") else []
            else:
                commands += [line] if line and not line.startswith("#") else []
            unfinished = bool(commands) and _is_unfinished(commands[-1])
        return commands

    @property
    def unchecked_lines(self) -> list[str]:
        """Return the lines of a console that are neither commands nor held to what a command prints."""
        if self.language != "console" or self.shows_output or self.reason:
            return []
        known = {line for command in self.commands for line in _typed(command)}
        return [line for line in self.text.splitlines() if line and line not in known and not line.startswith("#")]


def _is_unfinished(command: str) -> bool:
    try:
        shlex.split(command, comments=True)
    except ValueError:  # a quote is open
        return True
    return command.endswith("\\")


def _typed(command: str) -> list[str]:
    """Return the lines of a command as a terminal shows them."""
    return f"$ {command}".replace("\n", "\n> ").splitlines()


def invocations(text: str) -> list[list[str]]:
    """Return the arguments of each `kvmtrace` in a line of shell, without another program's that stand behind `--`."""
    words = shlex.shlex(text, posix=True, punctuation_chars=True)
    words.whitespace_split = True
    found: list[list[str]] = [[]]
    for word in words:
        if set(word) <= set("();<>|&"):
            found.append([])
        else:
            found[-1].append(word)
    parts = (list(itertools.takewhile(lambda word: word != "--", part)) for part in found)
    return [part[1:] for part in parts if part[:1] == ["kvmtrace"]]


def blocks(text: str) -> list[Block]:
    """Return the blocks of code in the text of a page."""
    return [_block(match) for match in _BLOCK.finditer(text)]


def with_output(text: str, folder: Path) -> str:
    """Run the commands of a page in `folder` and return its text with what they print.

    AssertionError: one ends with another exit code than the page says.
    """

    def replace(match: re.Match[str]) -> str:
        block = _block(match)
        if block.language not in SHELL_LANGUAGES or block.reason:
            return match[0]
        printed = [(command, run(command, folder)) for command in block.commands]
        if not block.shows_output:
            return match[0]
        lines = [line.rstrip() for command, output in printed for line in [*_typed(command), *output.splitlines()]]
        return "".join([match["mark"], f"```{block.language}\n", *(f"{line}\n" for line in lines), "```"])

    return _BLOCK.sub(replace, text)


def _block(match: re.Match[str]) -> Block:
    return Block(match["language"], match["text"], shows_output=match["mark"] is not None)


def run(command: str, folder: Path) -> str:
    """Run one command in `folder` and return what a terminal shows of it: notes and warnings, then the data."""
    expected = _EXIT_CODE.search(command)
    line = _EXIT_CODE.sub("", command).replace("\\\n", " ")
    plain = _PLAIN.fullmatch(line)
    if plain:
        code, output, errors = run_kvmtrace(shlex.split(plain["arguments"], comments=True), folder)
        if plain["rest"]:
            done = _shell(plain["rest"], folder, output)
            code, output, errors = done.returncode or code, done.stdout, errors + done.stderr
    else:
        done = _shell(line, folder)
        code, output, errors = done.returncode, done.stdout, done.stderr
    wanted = int(expected[1]) if expected else 0
    if code != wanted:
        raise AssertionError(f"{command}: exit code {code}, and not {wanted}: {errors}")
    return errors + output


def run_kvmtrace(arguments: Sequence[str], folder: Path) -> tuple[int, str, str]:
    """Run `kvmtrace` in `folder`; return its exit code, its standard output and its standard error."""
    output = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="")
    errors = io.StringIO()
    with _inside(folder), contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        code = cli.run(arguments)
    output.flush()
    return code, output.buffer.getvalue().decode(), errors.getvalue()


def _shell(line: str, folder: Path, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run a line of bash, which finds this kvmtrace."""
    with _inside(folder):
        programs = folder / ".programs"
        programs.mkdir(exist_ok=True)
        program = programs / "kvmtrace"
        program.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m kvmtrace "$@"\n')
        program.chmod(0o755)
        environment = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"}
        script = f"set -o pipefail\n{line}"
        command = ["bash", "-c", script]
        return subprocess.run(command, input=given, capture_output=True, text=True, env=environment, check=False)


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """Work in `folder`, which sees the project's data, with no store asked for."""
    for name in _DATA:
        if not (folder / name).exists():
            (folder / name).symlink_to(ROOT / name)
    before, store = Path.cwd(), os.environ.pop("KVMTRACE_STORE", None)
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
        if store is not None:
            os.environ["KVMTRACE_STORE"] = store
