"""The parts of the docs that are taken from the code: `python -m tests.generated_docs` writes them again.

Such a part stands between `<!-- begin NAME -->` and `<!-- end NAME -->`.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from kvmtrace import cli, schema
from kvmtrace.store import manifest_tables

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

ROOT = Path(__file__).resolve().parents[1]
PARTS = {"tables": "docs/store.md", "report": "README.md", "before and after": "README.md"}
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


def run_kvmtrace(arguments: Sequence[str], folder: Path) -> str:
    """Run `kvmtrace` in `folder`, which sees the project's `tests`, and return its standard output."""
    tests = folder / "tests"
    if not tests.exists():
        tests.symlink_to(ROOT / "tests")
    output = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="")
    errors = io.StringIO()
    with _inside(folder), contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        code = cli.run(arguments)
    if code:
        raise AssertionError(f"kvmtrace {shlex.join(arguments)}: exit code {code}: {errors.getvalue()}")
    output.flush()
    return output.buffer.getvalue().decode()


def demo_parts(folder: Path) -> dict[str, str]:
    """Run the demo in `folder` and return the parts of the docs that show what it prints."""
    printed = {shlex.join(command): run_kvmtrace(command, folder) for command in demo_commands()}
    report = next(text for command, text in printed.items() if command.startswith("report pv-eoi-off"))
    comparison = next(text for command, text in printed.items() if command.startswith("compare pv-eoi-off"))
    shown = [part for part in comparison.split("\n\n") if part.startswith(_PARTS_SHOWN)]
    lines = "\n\n".join(shown).splitlines()
    return {"report": _block(report.splitlines()), "before and after": _block([*lines, "", "…"])}


def table_reference() -> str:
    """Return every table of SQL with its columns."""
    lines: list[str] = []
    events = schema.Table("one for each tracepoint", "One row for each event; then the event's own fields.", ())
    for table, columns in [*((t, t.columns) for t in schema.TABLES.values()), (events, schema.EVENT_COLUMNS)]:
        lines += [f"### {table.name}", "", table.meaning, "", "| column | type | null | meaning |", "|---|---|---|---|"]
        lines += [f"| {c.name} | {c.type} | {'yes' if c.nullable else 'no'} | {_cell(c.meaning)} |" for c in columns]
        lines += [""]
    lines += ["## Tables of what manifests and labels say", ""]
    for name, types in manifest_tables.COLUMNS.items():
        lines += [f"### {name}", "", ", ".join(f"`{column}` {type_}" for column, type_ in types.items()), ""]
    return "\n" + "\n".join(lines)


def current(name: str) -> str:
    """Return a part as its file has it now."""
    parts = {match["name"]: match["text"] for match in _PART.finditer((ROOT / PARTS[name]).read_text())}
    return parts[name]


def _replace(parts: dict[str, str]) -> None:
    for file in sorted(set(PARTS.values())):
        path = ROOT / file
        path.write_text(_PART.sub(lambda match: match["begin"] + parts[match["name"]] + match["end"], path.read_text()))


def _block(lines: Iterable[str]) -> str:
    return "```text\n" + "\n".join(line.rstrip() for line in lines) + "\n```\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        _replace({"tables": table_reference(), **demo_parts(Path(temporary))})
