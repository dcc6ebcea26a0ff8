"""What importing loads, and that what is imported is declared. The borders are import-linter's, in pyproject.toml."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOT_IMPORTED = {"itables"}  # the script in it is read
HEAVY = {"duckdb", "matplotlib", "numpy", "polars", "pyarrow", "tabulate", "zstandard"}
_IMPORT = re.compile(r"^\s*(?:from|import)\s+(\w+)", re.MULTILINE)
COMMANDS = ("ingest", "report", "query", "models", "watch", "record")


def loaded_by(*statements: str) -> list[set[str]]:
    """Return the modules that a fresh Python has loaded after each of `statements`."""
    program = (
        "import contextlib, io, json, sys\n"
        "for statement in json.loads(sys.argv[1]):\n"
        "    with contextlib.redirect_stdout(io.StringIO()):\n"
        "        exec(statement)\n"
        "    print(json.dumps(sorted(sys.modules)))"
    )
    asked = [sys.executable, "-c", program, json.dumps(statements)]
    done = subprocess.run(asked, capture_output=True, text=True, check=True)
    return [set(json.loads(line)) for line in done.stdout.splitlines()]


def test_help_of_a_command_loads_no_heavy_library() -> None:
    asked = [["--version"], *([command, "--help"] for command in COMMANDS)]
    loaded = loaded_by(*(f"from kvmtrace.cli import run; assert run({arguments!r}) == 0" for arguments in asked))
    assert "kvmtrace.cli" in loaded[0]
    assert [names & HEAVY for names in loaded] == [set() for _ in asked]


def test_a_recording_is_read_without_sql_or_plots() -> None:
    (loaded,) = loaded_by("import kvmtrace.formats.detect, kvmtrace.exits.builder, kvmtrace.arch")
    assert not loaded & {"duckdb", "matplotlib", "typer"}


def test_the_libraries_that_are_imported_are_those_that_are_declared() -> None:
    distributions = packages_distributions()  # it reads the metadata of everything that is installed
    texts = [path.read_text() for path in (ROOT / "kvmtrace").rglob("*.py")]
    imported = {name for text in texts for name in _IMPORT.findall(text)} & distributions.keys() - {"kvmtrace"}
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    packages = {name.lower().replace("_", "-") for module in imported for name in distributions[module]}
    assert packages | NOT_IMPORTED == {requirement.partition(">=")[0] for requirement in declared}
