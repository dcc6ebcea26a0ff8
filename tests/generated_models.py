"""docs/models.md and its plots, from the models: `python -m tests.generated_models [MODEL]...` writes them again.

All of it, or what is of the models that are named. What the models give takes minutes to work out, so the test of the
page compares all but these columns.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from kvmtrace import model_check
from kvmtrace.report import model_figure
from kvmtrace.report.models import as_markdown, described, figure_table, listed, seeds_in_words
from kvmtrace.report.tables import TableFormat, render
from kvmtrace.synth import model_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kvmtrace.store.connection import Result
    from kvmtrace.synth.model_file import Model

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = DOCS / "models.md"
PLOTS = DOCS / "models"
SEEDS = 5
MODELLED = tuple(model_check.COLUMNS)
_PART = re.compile(r"^(?=## )", re.MULTILINE)

_HEAD = """\
# Models

A model runs a synthetic workload with and without an optimisation. What comes of it goes through the same ingest,
exits, queries and reports as a recording. It is held to the figures that its source published. No figure is written
into a model: each comes out of costs and of what the guest does; where a cost was calibrated, or no source tells it,
the model says so under "Assumed".

`make docs` writes this page from the files of [generators](../generators/README.md), with as many seeds
as each row says. *modelled* is the mean of the seeds, *holds* says whether each of them is within the tolerance; where
it says NO, the model misses the figure, and says why beside the tolerance. In *compare*, a gain is how much more the
variant is, in % of the other; a difference is the one less the other.
`make test-models` checks all of it, `kvmtrace models NAME --check` one model.
"""


def page(models: Sequence[Model], figures: Mapping[str, Result], old: str = "") -> str:
    """Return the page; `figures` are the tables of checked figures, by model.

    The part of a model without them is that of the `old` page. KeyError: it has none.
    """
    kept = {part.partition(":")[0].removeprefix("## "): part.rstrip("\n") + "\n" for part in _PART.split(old)[1:]}
    parts = [part_of(model, figures[model.name]) if model.name in figures else kept[model.name] for model in models]
    return "\n".join([_HEAD, render(listed(models), TableFormat.MARKDOWN), *parts])


def part_of(model: Model, figures: Result) -> str:
    """Return a model's part of the page, of the table of its checked figures."""
    text = as_markdown(described(model, figures, with_settings=False), level=2)
    return f"{text}\n![published beside modelled](models/{model.name}.svg)\n" if model.header.published else text


def without_modelled(text: str) -> list[str]:
    """Return the lines of the page without the last columns of its tables of figures, which take long to work out."""
    return [_words_of_row(line) if line.startswith("|") else line for line in text.splitlines()]


def page_without_modelled() -> list[str]:
    """Return what `without_modelled` returns of the page as it should be."""
    models = [model_file.find(name) for name in model_file.names()]
    return without_modelled(page(models, {model.name: _unmodelled(model) for model in models}))


def _unmodelled(model: Model) -> Result:
    cells = [(None,) * len(MODELLED)] * len(model.header.published)
    return figure_table(model, model_check.COLUMNS, cells)


def _words_of_row(line: str) -> str:
    cells = [cell.strip(" :-") for cell in line.strip("|").split(" | " if " | " in line else "|")]
    return "|".join(cells[: -len(MODELLED)] if len(cells) > len(MODELLED) else cells)


def write(names: Sequence[str] = ()) -> None:
    """Write the page and its plots: all, or what is of the models with these names."""
    PLOTS.mkdir(exist_ok=True)
    models = [model_file.find(name) for name in model_file.names()]
    figures = {}
    for model in [model_file.find(name) for name in names] or models:
        sys.stderr.write(f"{model.name}\n")
        figures[model.name] = model_check.table(model, model_check.check(model, range(1, SEEDS + 1)))
        if model.header.published:
            title = f"{model.name}, {seeds_in_words(SEEDS)}"
            model_figure.save(title, figures[model.name], PLOTS / f"{model.name}.svg", force=True)
    PAGE.write_text(page(models, figures, PAGE.read_text() if names else ""))


if __name__ == "__main__":
    write(sys.argv[1:])
