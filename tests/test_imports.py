"""What importing costs, and whether each module can be imported on its own."""

import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import kvmtrace

HEAVY = {"duckdb", "matplotlib", "numpy", "polars", "pyarrow", "tabulate", "zstandard"}
_LOADED = "import json, sys; json.dump(sorted(sys.modules), sys.stdout)"


def loaded_by(statement: str) -> set[str]:
    """Return the modules that a fresh Python has loaded after `statement`."""
    program = f"import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()):\n    {statement}\n{_LOADED}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["ingest", "--help"], ["report", "--help"]])
def test_help_loads_no_heavy_library(arguments: list[str]) -> None:
    loaded = loaded_by(f"from kvmtrace.cli import run; assert run({arguments!r}) == 0")
    assert "kvmtrace.cli" in loaded
    assert not loaded & HEAVY


def test_a_recording_is_read_without_sql_or_plots() -> None:
    loaded = loaded_by("import kvmtrace.formats.detect, kvmtrace.exits.builder, kvmtrace.arch")
    assert not loaded & {"duckdb", "matplotlib", "typer"}


def test_every_module_can_be_imported_first() -> None:
    """In one process, the modules of kvmtrace are forgotten before each import: a circle would show."""
    names = [m.name for m in pkgutil.walk_packages(kvmtrace.__path__, "kvmtrace.") if m.name != "kvmtrace.__main__"]
    assert len(names) > len(list(Path(kvmtrace.__path__[0]).glob("*.py")))
    program = (
        "import importlib, sys\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(name)\n"
        "    for loaded in [m for m in sys.modules if m.split('.')[0] == 'kvmtrace']:\n"
        "        del sys.modules[loaded]\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
