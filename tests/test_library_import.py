"""`import kvmtrace` loads next to nothing, and what it exports is there, whatever else was imported before."""

from __future__ import annotations

import importlib.util
import inspect
import json
import subprocess
import sys

import pytest
from test_imports import HEAVY

import kvmtrace
from kvmtrace import errors
from kvmtrace.api import actions

SLOW = HEAVY | {"jinja2", "prompt_toolkit", "pydantic", "pygments", "rich", "scipy", "typer"}
MOST_MODULES = 12
"""That `import kvmtrace` may add: typing alone would bring some 25 more."""


def loaded(statement: str) -> tuple[set[str], int]:
    """Return the top-level modules that a fresh Python has after `statement`, and how many modules it has more."""
    program = (
        f"import sys, json\nbefore = len(sys.modules)\n{statement}\n"
        "print(json.dumps([sorted({name.partition('.')[0] for name in sys.modules}), len(sys.modules) - before]))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    names, more = json.loads(done.stdout)
    return set(names), more


def isolated(statement: str) -> tuple[set[str], int]:
    """Run `statement` with this kvmtrace, and nothing that an editable install or sitecustomize loads for its own."""
    root = str(next(iter(kvmtrace.__path__)))
    return loaded(f"sys.path.insert(0, {root.removesuffix('/kvmtrace')!r})\nbefore = len(sys.modules)\n{statement}")


def test_import_loads_no_heavy_module() -> None:
    names, more = isolated("import kvmtrace")
    assert "kvmtrace" in names
    assert not names & SLOW
    assert more <= MOST_MODULES


def test_what_is_light_stays_light() -> None:
    light = "kvmtrace.errors, kvmtrace.KvmtraceError, kvmtrace.__version__, dir(kvmtrace)"
    assert not isolated(f"import kvmtrace\n{light}")[0] & SLOW


def test_every_export_is_there_and_is_listed() -> None:
    assert dir(kvmtrace) == sorted(kvmtrace.__all__)
    for name in kvmtrace.__all__:
        assert getattr(kvmtrace, name) is not None
    assert kvmtrace.errors is errors
    assert kvmtrace.KvmtraceError is errors.KvmtraceError
    with pytest.raises(AttributeError, match="no attribute 'open_stoer'"):
        _ = kvmtrace.open_stoer  # type: ignore[attr-defined]


def test_no_module_has_the_name_of_an_export() -> None:
    """Importing such a module would put it in the place of the function."""
    names = set(kvmtrace.__all__) - {"errors", "__version__"}
    assert {name for name in names if importlib.util.find_spec(f"kvmtrace.{name}")} == set()


@pytest.mark.parametrize("name", ["check", "compare", "generate", "ingest", "open_store", "whatif"])
def test_every_function_has_a_signature_with_types_and_says_what_it_does(name: str) -> None:
    function = getattr(kvmtrace, name)
    signature = inspect.signature(function)
    assert signature.return_annotation
    assert all(parameter.annotation is not parameter.empty for parameter in signature.parameters.values())
    assert "Error" in function.__doc__


def test_what_a_store_has_the_module_has_with_a_store() -> None:
    for name in ("compare", "whatif"):
        assert "store" in inspect.signature(getattr(actions, name)).parameters
