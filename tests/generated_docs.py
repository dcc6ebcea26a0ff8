"""The parts of the docs that are taken from the code: `python -m tests.generated_docs` writes them again.

Such a part stands between `<!-- begin NAME -->` and `<!-- end NAME -->`. Parts called output are what the commands of
their page print (`doc_commands`).
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from doc_commands import PAGES, ROOT, blocks, run_kvmtrace, with_output
from generated_reference import command_reference, query_reference, table_reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

REFERENCE: dict[str, Callable[[], str]] = {
    "tables": table_reference,
    "commands": command_reference,
    "queries": query_reference,
}
PARTS = {
    "tables": "docs/store.md",
    "commands": "docs/reference/commands.md",
    "queries": "docs/reference/queries.md",
    "report": "README.md",
    "before and after": "README.md",
}
"""Name of each part → the file that has it."""

_PARTS_SHOWN = ("exits per second", "What made the change", "Exits per second")
"""How the parts of a comparison begin that the docs show."""
_PART = re.compile(
    r"(?P<begin><!-- begin (?P<name>[a-z ]+) -->\n)(?P<text>.*?)(?P<end><!-- end (?P=name) -->)", re.DOTALL
)


def make(*arguments: str) -> list[str]:
    """Run make in the project, also below another make, and return the lines that it prints."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(["make", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def demo_commands() -> list[list[str]]:
    """Return the arguments of each `kvmtrace` that `make demo` runs."""
    lines = [shlex.split(line) for line in make("--dry-run", "demo")]
    return [words[1:] for words in lines if words and words[0].endswith("/kvmtrace")]


def demo_parts(folder: Path) -> dict[str, str]:
    """Run the demo in `folder` and return the parts of the docs that show what it prints."""
    printed: dict[str, str] = {}
    for command in demo_commands():
        code, output, errors = run_kvmtrace(command, folder)
        if code:
            raise AssertionError(f"kvmtrace {shlex.join(command)}: exit code {code}: {errors}")
        printed[shlex.join(command)] = output
    report = next(text for command, text in printed.items() if command.startswith("report pv-eoi-off"))
    comparison = next(text for command, text in printed.items() if command.startswith("compare pv-eoi-off"))
    shown = [part for part in comparison.split("\n\n") if part.startswith(_PARTS_SHOWN)]
    lines = "\n\n".join(shown).splitlines()
    return {"report": _block(report.splitlines()), "before and after": _block([*lines, "", "…"])}


def current(name: str) -> str:
    """Return a part as its file has it now."""
    parts = {match["name"]: match["text"] for match in _PART.finditer((ROOT / PARTS[name]).read_text())}
    return parts[name]


def _replace(parts: dict[str, str]) -> None:
    def part(match: re.Match[str]) -> str:
        return match["begin"] + parts.get(match["name"], match["text"]) + match["end"]

    for file in sorted(set(PARTS.values())):
        path = ROOT / file
        path.write_text(_PART.sub(part, path.read_text()))


def _replace_outputs() -> None:
    for page in PAGES:
        text = page.read_text()
        if any(block.shows_output for block in blocks(text)):
            with tempfile.TemporaryDirectory() as temporary:
                page.write_text(with_output(text, Path(temporary)))


def _block(lines: Iterable[str]) -> str:
    return "```text\n" + "\n".join(line.rstrip() for line in lines) + "\n```\n"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        _replace({**{name: part() for name, part in REFERENCE.items()}, **demo_parts(Path(temporary))})
    _replace_outputs()
