"""What a model is, in words: sections of lines and tables, laid out as text or Markdown, or as one JSON object."""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kvmtrace.report.printable import markdown, printable
from kvmtrace.report.readable import count
from kvmtrace.report.tables import TableFormat, render
from kvmtrace.store.connection import Result
from kvmtrace.synth.model import VARIED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kvmtrace.synth.header import Published
    from kvmtrace.synth.model_file import Model

_WIDTH = 100
_FIGURE_COLUMNS = {
    "figure": "VARCHAR",
    "variant": "VARCHAR",
    "against": "VARCHAR",
    "compare": "VARCHAR",
    "published": "DOUBLE",
    "unit": "VARCHAR",
    "tolerance": "VARCHAR",
}


@dataclass(frozen=True, slots=True)
class Item:
    """A name, what is said of it, and lines below it."""

    name: str
    text: str
    below: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """Items or a table under a title."""

    title: str
    items: tuple[Item, ...] = ()
    table: Result | None = None


def listed(models: Iterable[Model]) -> Result:
    """Return a row for each model."""
    rows = [
        (model.name, model.header.engine, _machine(model), ", ".join(model.settings), _line(model.header.purpose))
        for model in models
    ]
    return Result(["model", "engine", "platform", "variants", "purpose"], ["VARCHAR"] * 5, rows)


def figure_cells(figure: Published) -> tuple[Any, ...]:
    """Return what the file says of a figure, in the order of `figure_table`'s columns."""
    return (
        figure.name,
        figure.variant,
        figure.against,
        figure.compare,
        figure.value,
        figure.unit,
        tolerance_in_words(figure),
    )


def figure_table(
    model: Model, more: Mapping[str, str] | None = None, cells: Iterable[tuple[Any, ...]] | None = None
) -> Result:
    """Return a row for each published figure; `more` are columns (name → DuckDB type) that `cells` fill behind it."""
    columns = _FIGURE_COLUMNS | dict(more or {})
    behind = list(cells) if cells is not None else [()] * len(model.header.published)
    rows = [(*figure_cells(figure), *rest) for figure, rest in zip(model.header.published, behind, strict=True)]
    return Result(list(columns), list(columns.values()), rows)


def tolerance_in_words(figure: Published) -> str:
    """Return how near the model must come to a figure."""
    if figure.bound is not None:
        return figure.bound
    if figure.within_factor is not None:
        return f"within a factor of {figure.within_factor:g}"
    return f"within {figure.tolerance_percent:g}%" if figure.tolerance_percent else "exactly"


def seeds_in_words(seeds: int) -> str:
    """Return which seeds were run, of 1 to `seeds`."""
    return "seed 1" if seeds == 1 else f"seeds 1 to {seeds}"


def described(model: Model, figures: Result | None = None, *, with_settings: bool = True) -> list[Section]:
    """Return what there is to say of a model.

    `figures` stands for its table of figures; without settings, variants have no list of the keys that differ.
    """
    header = model.header
    facts = [
        Item("engine", f"{header.engine}: {model.engine.what}"),
        Item("platform", _platform(model)),
        *([Item("applies when", _line(header.applies_when))] if header.applies_when else []),
        Item("effect", f"{header.effect.scope}: {_line(header.effect.because)}"),
    ]
    sources = [
        Item(_line(each.document), _line(each.figures), (each.link,) if each.link else ()) for each in header.source
    ]
    reasons = [
        Item(each.name, f"{tolerance_in_words(each)}: {_line(each.because)}", tuple(_below(each)))
        for each in header.published
    ]
    return [
        Section(f"{model.name}: {_line(header.purpose)}", tuple(facts)),
        Section("Sources", tuple(sources)),
        Section("Variants", tuple(_variants(model, with_settings=with_settings))),
        *([Section("Published figures", table=figures or figure_table(model))] if header.published else []),
        *([Section("Tolerances, and why", tuple(reasons))] if header.published else []),
        *([Section("Assumed", tuple(_assumed(model)))] if header.assumed else []),
    ]


def _below(figure: Published) -> Iterator[str]:
    yield f"source: {_line(figure.source)}"
    if figure.missed is not None:
        yield f"missed: {_line(figure.missed)}"


def _assumed(model: Model) -> Iterator[Item]:
    for each in model.header.assumed:
        yield Item(_line(each.what), _line(each.because))


def _variants(model: Model, *, with_settings: bool) -> Iterator[Item]:
    for name, variant in model.header.variants.items():
        differs = [
            f"{'.'.join(place)} = {json.dumps(value, ensure_ascii=False)}"
            for part in VARIED
            for place, value in _leaves((part,), getattr(variant, part))
        ]
        yield Item(name, _line(variant.what), tuple(differs) if with_settings else ())


def _leaves(place: tuple[str, ...], value: object) -> Iterator[tuple[tuple[str, ...], object]]:
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _leaves((*place, str(key)), below)
    else:
        yield place, value


def _machine(model: Model) -> str:
    platform = next(iter(model.settings.values())).platform
    return platform.arch if platform.isa == "none" else f"{platform.arch} {platform.isa}"


def _platform(model: Model) -> str:
    platform = next(iter(model.settings.values())).platform
    guests = "no VM" if platform.isa == "none" else f"{_many(platform.vms, 'VM')} of {_many(platform.vcpus, 'vCPU')}"
    clock = f"{count(platform.clock_hz)} cycles a second"
    return f"{_machine(model)}, {platform.cpu}, {clock}, {_many(platform.cpus, 'CPU')}, {platform.kernel}, {guests}"


def _many(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _line(text: str) -> str:
    return " ".join(text.split())


def as_text(sections: Iterable[Section]) -> str:
    """Return sections as text, with a newline after the last line."""
    return "\n".join("\n".join(_text_lines(section)) + "\n" for section in sections)


def _text_lines(section: Section) -> Iterator[str]:
    yield printable(section.title)
    if section.table is not None:
        yield from (f"  {line}" for line in render(section.table, TableFormat.TEXT).splitlines())
    for item in section.items:
        yield from _wrapped(f"{item.name}: {item.text}", "  ", "    ")
        for line in item.below:
            yield from _wrapped(line, "      ", "        ")


def _wrapped(text: str, first: str, further: str) -> list[str]:
    return textwrap.wrap(
        printable(text), _WIDTH, initial_indent=first, subsequent_indent=further, break_on_hyphens=False
    )


def as_markdown(sections: Iterable[Section], level: int = 1) -> str:
    """Return sections as Markdown; `level` is that of the first heading, the others are one below it."""
    lines: list[str] = []
    for number, section in enumerate(sections):
        lines += [f"{'#' * (level + min(number, 1))} {markdown(printable(section.title))}", ""]
        if section.table is not None:
            lines += [*render(section.table, TableFormat.MARKDOWN).splitlines(), ""]
        for item in section.items:
            lines.append(f"- **{markdown(printable(item.name))}**: {markdown(printable(item.text))}")
            lines += [f"  - {markdown(printable(line))}" for line in item.below]
        lines += [""] if section.items else []
    return "\n".join(lines[:-1]) + "\n"


def as_json(model: Model, figures: Result | None = None) -> str:
    """Return the model as one JSON object; `figures` is its table of figures."""
    header = model.header
    said = header.model_dump(include={"purpose", "engine", "source", "applies_when", "effect", "assumed", "platform"})
    variants = {name: variant.model_dump(exclude_defaults=True) for name, variant in header.variants.items()}
    table = figures or figure_table(model)
    rows = [dict(zip(table.names, row, strict=True)) for row in table.rows]
    keys = {"because", "source", "measure", "missed"}
    reasons = [each.model_dump(include=keys, exclude_none=True) for each in header.published]
    published = [row | reason for row, reason in zip(rows, reasons, strict=True)]
    return json.dumps({"model": model.name, **said, "variants": variants, "published": published}, indent=1) + "\n"
