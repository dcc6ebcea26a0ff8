"""docs/library.md: its examples run one after the other, and its signatures are those of the code."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kvmtrace

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/library.md").read_text()
README = (ROOT / "README.md").read_text()
_BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
_METHOD = re.compile(r"^### (\w+)\((.*?)\)", re.MULTILINE)
_FUNCTION = re.compile(r"`kvmtrace\.(\w+)\(([^`]*?)\) ->\s")


def run_blocks(page: str, folder: Path) -> dict[str, Any]:
    """Run the Python of a page in a folder that has what it names; return the variables in the end."""
    recordings = ROOT / "tests/data/recordings"
    for name, state in (("before", "off"), ("after", "on")):
        (folder / f"{name}.perf.data").symlink_to(recordings / f"pveoi-idletick-xapic-{state}.perf.data.zst")
    (folder / "budget.toml").symlink_to(ROOT / "docs/examples/budget.toml")
    variables: dict[str, Any] = {}
    for number, block in enumerate(_BLOCK.findall(page)):
        exec(compile(block, f"block {number}", "exec"), variables)  # noqa: S102 - of our own page
    return variables


def parameters(function: Callable[..., object]) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name not in {"self", "options"}]


def named(arguments: str) -> list[str]:
    """Return the parameters that a signature in the page names."""
    words = [argument.partition("=")[0].strip() for argument in arguments.replace("()", "").split(",")]
    return [word.lstrip("*") for word in words if word not in {"*", "/", "…", ""}]


def test_the_examples_of_the_page_run_in_their_order(alone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run_blocks(PAGE, alone)
    printed = capsys.readouterr().out
    assert found["slow"].height > 0
    assert found["msr"].height == 4
    assert found["fired"] == 1162
    assert found["slowest"].height == 3
    assert found["headlines"].height == 3
    assert found["written"].timeline.slices.exits > 0
    assert (alone / "before.parquet").stat().st_size > 0
    assert "exits per injected interrupt fell from 2.06 to 1.11" in printed
    assert "no run is called 'befor' - nearest: " in printed
    assert (alone / "change.md").read_text().startswith("- exits per injected interrupt fell")
    assert "exits per injected interrupt fell" in (alone / "change.html").read_text()


def test_the_examples_of_the_readme_run(alone: Path) -> None:
    assert _BLOCK.findall(README)
    found = run_blocks(README, alone)
    assert found["slowest"].height > 0


def test_the_signatures_of_the_page_are_those_of_the_code() -> None:
    methods = {name: named(arguments) for name, arguments in _METHOD.findall(PAGE)}
    assert set(methods) == {"runs", "exits", "events", "query", "sql", "report", "compare", "whatif", "export"}
    for name, given in methods.items():
        known = parameters(getattr(kvmtrace.Store, name))
        assert given == [each for each in known if each in given], name
        assert set(known) - set(given) <= {"distribution_by_reason"}, name
    functions = {name: named(arguments) for name, arguments in _FUNCTION.findall(PAGE)}
    assert {"ingest", "generate", "check", "open_store"} <= set(functions)
    for name, given in functions.items():
        assert given == parameters(getattr(kvmtrace, name)), name
