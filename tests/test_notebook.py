"""The notebook of the docs runs from its first cell to its last, and shows what it says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from lxml import html
from matplotlib import get_cachedir

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
kernelspec = pytest.importorskip("jupyter_client.kernelspec")

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "docs/notebook.ipynb"


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Any]]:
    """Run the notebook in an empty home, where warnings are errors, and return its cells of code with their outputs."""
    home = tmp_path_factory.mktemp("home")
    environment = {
        "HOME": str(home),
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "MPLCONFIGDIR": get_cachedir(),  # to look through all fonts again takes seconds
        "PYTHONPATH": str(ROOT),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.delenv("KVMTRACE_STORE", raising=False)
        if "python3" not in kernelspec.KernelSpecManager().find_kernel_specs():
            pytest.skip("no kernel called python3: pip install ipykernel")
        notebook = nbformat.read(NOTEBOOK, as_version=4)
        strict = nbformat.v4.new_code_cell("import warnings\nwarnings.simplefilter('error', UserWarning)")
        notebook.cells.insert(0, strict)
        client = nbclient.NotebookClient(
            notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(NOTEBOOK.parent)}}
        )
        client.execute(env=dict(os.environ))
        yield [cell for cell in notebook.cells[1:] if cell.cell_type == "code"]


def shown(cells: list[Any], kind: str) -> list[str]:
    """Return what the cells show of a MIME type."""
    outputs = [output for cell in cells for output in cell.outputs]
    return ["".join(output.data[kind]) for output in outputs if kind in output.get("data", {})]


def test_the_file_is_valid_and_holds_no_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert [cell.id for cell in notebook.cells if cell.get("outputs") or cell.get("execution_count")] == []


def test_the_notebook_runs_and_shows_its_tables(cells: list[Any]) -> None:
    pages = [html.fromstring(text) for text in shown(cells, "text/html")]
    text = "\n".join(page.text_content() for page in pages)
    assert "exits per injected interrupt fell from 2.06 to 1.11" in text
    headings = [heading.text for page in pages for heading in page.iter("h4")]
    assert "The sides" in headings


def test_the_notebook_draws_a_figure(cells: list[Any]) -> None:
    assert len(shown(cells, "image/png")) == 1


def test_the_notebook_says_what_is_wrong_with_a_name(cells: list[Any]) -> None:
    printed = "".join(output.text for cell in cells for output in cell.outputs if output.output_type == "stream")
    assert "the event kvm_mrs was not recorded" in printed
    assert "nearest: kvm_msr" in printed
