"""What importing loads, and that what is imported is declared. The borders are import-linter's, in pyproject.toml."""

import json
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[1]
NOT_IMPORTED = {"itables"}  # the script in it is read
HEAVY = {"duckdb", "matplotlib", "numpy", "polars", "pyarrow", "tabulate", "zstandard"}
_LOADED = "import json, sys; json.dump(sorted(sys.modules), sys.stdout)"


def loaded_by(statement: str) -> set[str]:
    """Return the modules that a fresh Python has loaded after `statement`."""
    program = f"import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()):\n    {statement}\n{_LOADED}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"],
        ["ingest", "--help"],
        ["report", "--help"],
        ["query", "--help"],
        ["models", "--help"],
        ["watch", "--help"],
    ],
)
def test_help_of_a_command_loads_no_heavy_library(arguments: list[str]) -> None:
    loaded = loaded_by(f"from kvmtrace.cli import run; assert run({arguments!r}) == 0")
    assert "kvmtrace.cli" in loaded
    assert not loaded & HEAVY


def test_a_recording_is_read_without_sql_or_plots() -> None:
    loaded = loaded_by("import kvmtrace.formats.detect, kvmtrace.exits.builder, kvmtrace.arch")
    assert not loaded & {"duckdb", "matplotlib", "typer"}


def test_the_libraries_that_are_imported_are_those_that_are_declared() -> None:
    graph = grimp.build_graph("kvmtrace", include_external_packages=True, cache_dir=None)
    imported = {name for name in graph.modules if graph.is_module_squashed(name)} - sys.stdlib_module_names
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    packages = {name.lower().replace("_", "-") for module in imported for name in packages_distributions()[module]}
    assert packages | NOT_IMPORTED == {requirement.partition(">=")[0] for requirement in declared}
