"""Every model of generators/: its published figures hold, come of its costs, and are the same for the same seed."""

from __future__ import annotations

import tomllib
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from generated_models import PAGE, PLOTS, page, page_without_modelled, without_modelled

from kvmtrace import model_check, resources
from kvmtrace.errors import UsageError
from kvmtrace.generating import run_of, store_run
from kvmtrace.ingesting import Order
from kvmtrace.recording import TableSet
from kvmtrace.store.catalogue import Catalogue
from kvmtrace.store.connection import StoreConnection
from kvmtrace.synth import model_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow as pa

    from kvmtrace.model_check import Checked
    from kvmtrace.synth.engine import Run
    from kvmtrace.synth.model import Setting
    from kvmtrace.synth.model_file import Model

MODELS = model_file.names()
SLOW_ENGINES = {"scheduler"}
"""A variant takes seconds: a test with many runs of it is under the marker `models`."""
SLOW_MODELS = {"boost-preempted-vcpu"}
"""Their figures need seconds of simulated time in many variants: under the marker `models` alone."""
_FOLDER = resources.folder("generators")
QUICK = [
    pytest.param(name, marks=pytest.mark.models if engine in SLOW_ENGINES else ())
    for name in MODELS
    for engine in [tomllib.loads((_FOLDER / f"{name}.toml").read_text())["engine"]]
]
EVENTS = 3_000
MANY_EVENTS = 250_000  # for costs of what is rare
_SECONDS_OF_SLOW = {EVENTS: 0.02, MANY_EVENTS: 0.3}
_GOAL_CYCLES = 1 << 22  # a loop that is as long as on hardware takes seconds
_PARTS = ("platform", "exits", "sequences", "workload")
_TIMES = ("_ns", "_us", "_ms", "_cycles")
_COUNTED = {"instructions", "cache_references", "cache_misses"}
_NOT_COSTS = {"goal_cycles"}
_TAKEN = (
    "SELECT reason, avg(latency_ns) FROM exits WHERE NOT idle AND latency_ns > 0 GROUP BY 1 HAVING count(*) > 300",
    "SELECT name, value FROM benchmarks",
    "SELECT event, value FROM counters WHERE event NOT LIKE '%time%'",
)
Place = tuple[str | int, ...]


def found(name: str) -> Model:
    return model_file.find(name)


def small_run(model: Model, variant: str, seed: int = 1, most: int = EVENTS) -> Run:
    """Return a run that is long enough to differ from another, and no longer."""
    slow = model.header.engine in SLOW_ENGINES
    events = None if slow or model.header.engine == "counters" else most
    run = run_of(model, variant, seed=seed, seconds=_SECONDS_OF_SLOW[most] if slow else None, events=events)
    return replace(run, setting=changed_setting(model, raw_setting(model, variant)))


def in_words(each: Checked) -> str:
    return f"{each.figure.name}: {each.figure.value} {each.figure.unit} published, {each.modelled} modelled"


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.models if name in SLOW_MODELS else ()) for name in MODELS]
)
def test_every_published_figure_holds(name: str) -> None:
    assert [in_words(each) for each in model_check.check(found(name), range(1, 2)) if each.fails] == []


@pytest.mark.models
@pytest.mark.parametrize("name", MODELS)
def test_every_published_figure_holds_with_five_seeds_but_those_that_are_said_to_be_missed(name: str) -> None:
    checked = model_check.check(found(name), range(1, 6))
    assert [in_words(each) for each in checked if each.fails] == []
    assert [in_words(each) for each in checked if each.holds and each.figure.missed] == []


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_held_to_figures_on_every_variant_and_says_what_is_assumed(name: str) -> None:
    header = found(name).header
    held = {variant for figure in header.published for variant in (figure.variant, figure.against)}
    assert header.variants.keys() <= held
    assert header.assumed


# --- the same seed, another seed ---


def stored(model: Model, run: Run, store: Path, jobs: int = 2) -> dict[str, pa.Table | str]:
    """Return a run's tables by their place, row by row, and its ids, which are of the digest of what made it."""
    runs = store_run(model, run, Order(store), jobs=jobs)
    tables: dict[str, pa.Table | str] = {
        f"{number} {path.relative_to(folder).as_posix()}": pq.ParquetFile(path).read()
        for number, folder in enumerate(store / "runs" / f"run_id={each.manifest.run_id}" for each in runs)
        for path in sorted(folder.rglob("*.parquet"))
    }
    return tables | {f"{number} id": each.manifest.run_id for number, each in enumerate(runs)}


@pytest.mark.parametrize("name", MODELS)
def test_a_seed_gives_the_same_tables_and_another_seed_gives_others(name: str, tmp_path: Path) -> None:
    model = found(name)
    variant = list(model.settings)[-1]
    first = stored(model, small_run(model, variant), tmp_path / "first")
    measured = {path for path in first if "exits/" in path or path.endswith(("counters.parquet", "benchmarks.parquet"))}
    assert measured
    again = stored(found(name), small_run(model, variant), tmp_path / "again", jobs=1)
    assert [path for path in {*first, *again} if first.get(path) != again.get(path)] == []
    other = stored(model, small_run(model, variant, seed=2), tmp_path / "other")
    assert {path for path in first if path.endswith("id") and first[path] == other.get(path)} == set()
    assert {path for path in measured if first[path] != other.get(path)}


@pytest.mark.parametrize("name", MODELS)
def test_a_generated_run_is_ingested_once_and_named_for_what_made_it(name: str, tmp_path: Path) -> None:
    model = found(name)
    variant = next(iter(model.settings))
    made = store_run(model, small_run(model, variant), Order(tmp_path / "store"))
    again = store_run(model, small_run(model, variant), Order(tmp_path / "store"))
    assert made
    assert all(each.was_there for each in again)
    manifests = Catalogue(tmp_path / "store").manifests()
    parts = {"" if m.kind == "recording" or len(made) == 1 else f"-{m.kind}" for m in manifests}
    assert {manifest.source.name for manifest in manifests} == {f"{name}-{variant}-seed1{part}" for part in parts}
    assert all(manifest.source.format == "model" for manifest in manifests)
    assert all(f"kvmtrace generate {name} --variant {variant}" in manifest.tool["cmdline"] for manifest in manifests)


# --- results come of costs ---


def merged(base: Any, over: Any) -> Any:  # noqa: ANN401 - whatever stands in the file
    if isinstance(base, dict) and isinstance(over, dict):
        return base | {key: merged(base.get(key), value) for key, value in over.items()}
    return deepcopy(over)


def raw_setting(model: Model, variant: str) -> dict[str, Any]:
    """Return what the file says of a variant, whole."""
    header = model.header
    own = header.variants[variant]
    table = {part: merged(deepcopy(getattr(header, part)), getattr(own, part)) for part in _PARTS}
    for benchmark in table["workload"].get("benchmarks", {}).values():
        benchmark["goal_cycles"] = _GOAL_CYCLES
    operations = table["workload"].get("operations", {})
    for operation in operations.values() if isinstance(operations, dict) else ():
        operation["weight"] = 1.0  # so few events have rare ones too
    return table


def costs(table: Any, place: Place = ()) -> Iterator[Place]:  # noqa: ANN401
    """Yield the place of each cost: a table with a mean and a unit, or a number of the engine's own."""
    if isinstance(table, dict):
        if {"mean", "unit"} <= table.keys():
            if table["mean"]:
                yield place
            return
        for key, below in table.items():
            is_cost = key in _COUNTED or (key.endswith(_TIMES) and key not in _NOT_COSTS)
            if is_cost and isinstance(below, int | float) and not isinstance(below, bool):
                if below:
                    yield (*place, key)
            else:
                yield from costs(below, (*place, key))
    elif isinstance(table, list):
        for number, below in enumerate(table):
            yield from costs(below, (*place, number))


def dearer(table: dict[str, Any], place: Place) -> dict[str, Any]:
    """Return the setting with one cost 10% higher."""
    changed = deepcopy(table)
    holder: Any = changed
    for part in place[:-1]:
        holder = holder[part]
    cost = holder[place[-1]]
    if isinstance(cost, dict):
        for key in {"mean", "min", "max", "sd"} & cost.keys():
            cost[key] = cost[key] * 1.1
    else:
        holder[place[-1]] = type(cost)(-(-cost * 11 // 10)) if isinstance(cost, int) else cost * 1.1
    return changed


def signature(model: Model, run: Run) -> list[Any]:
    """Return what a run is stored from: the sums of its events' times, and the figures that are printed."""
    results: list[Any] = []
    for content in model.engine.contents(run):
        if isinstance(content, TableSet):
            results += content.rows["value"].to_pylist()
        else:
            times = [block.ts_ns for block in content.blocks()]
            results += [sum(len(of_block) for of_block in times), sum(int(of_block.sum()) for of_block in times)]
    return results


@pytest.mark.parametrize("name", QUICK)
def test_each_cost_moves_a_result(name: str) -> None:
    model = found(name)
    tables = {variant: raw_setting(model, variant) for variant in model.settings}
    waiting = {place for table in tables.values() for part in _PARTS for place in costs(table[part], (part,))}
    assert waiting
    for most, (variant, table) in product((EVENTS, MANY_EVENTS), tables.items()):
        run = small_run(model, variant, most=most)
        waiting -= moved(model, run, table, waiting)
    assert sorted(".".join(map(str, place)) for place in waiting) == []


def moved(model: Model, run: Run, table: dict[str, Any], places: set[Place]) -> set[Place]:
    """Return the costs of which 10% more gives another result."""
    settings: dict[Place, Setting] = {}
    for place in places:
        with suppress(KeyError, IndexError):  # of another variant
            settings[place] = changed_setting(model, dearer(table, place))
    if not settings:
        return set()
    usual = signature(model, run)
    dear = {place: replace(run, setting=setting) for place, setting in settings.items()}
    return {place for place, dearer_run in dear.items() if signature(model, dearer_run) != usual}


@pytest.mark.parametrize("name", QUICK)
def test_what_is_measured_grows_with_the_costs(name: str, tmp_path: Path) -> None:
    """A figure that was written straight into an output would stay as it is where all takes 10% longer."""
    model = found(name)
    for variant in model.settings:
        table = raw_setting(model, variant)
        for place in [place for part in _PARTS for place in costs(table[part], (part,))]:
            table = dearer(table, place)
        run = small_run(model, variant)
        usual = measured(model, run, tmp_path / variant / "usual")
        dear = measured(model, replace(run, setting=changed_setting(model, table)), tmp_path / variant / "dear")
        grown = {key: dear[key] / usual[key] for key in usual.keys() & dear.keys() if usual[key]}
        assert {key: ratio for key, ratio in grown.items() if not 1.03 < ratio < 1.25} == {}


def measured(model: Model, run: Run, store: Path) -> dict[str, float]:
    """Return what a run takes: mean latencies of frequent exits in which nobody waits, and what is printed."""
    store_run(model, run, Order(store))
    results: dict[str, float] = {}
    with StoreConnection(store) as connection:
        for sql in _TAKEN:
            with suppress(UsageError):  # a model without such a table
                results |= {str(key): value for key, value in connection.query(sql).rows}
    return results


def changed_setting(model: Model, table: dict[str, Any]) -> Setting:
    return model.engine.setting.model_validate(table)


# --- the page ---


def test_the_page_says_what_the_models_say() -> None:
    assert without_modelled(PAGE.read_text()) == page_without_modelled(), "`make docs` writes it again"


def test_the_page_keeps_the_parts_of_models_that_are_not_run_again() -> None:
    models = [found(name) for name in MODELS]
    assert page(models, {}, PAGE.read_text()) == PAGE.read_text()


def test_each_held_model_has_a_plot_and_each_plot_a_model() -> None:
    assert {path.stem for path in PLOTS.iterdir()} == {name for name in MODELS if found(name).header.published}


def test_every_figure_of_the_page_holds_but_those_that_are_said_to_be_missed() -> None:
    rows = [line.strip("| ").split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("|")]
    assert "yes" in {row[-1] for row in rows}
    missed = [figure.name for name in MODELS for figure in found(name).header.published if figure.missed]
    assert [row[0].strip() for row in rows if row[-1] == "NO"] == missed
