"""Functions of the library that take recordings, runs and models: what the commands of the same names do."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kvmtrace.api.options import Paths, several
from kvmtrace.api.store import Store, default_folder
from kvmtrace.errors import UsageError
from kvmtrace.store.label import Label

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Unpack

    from kvmtrace.api.check import CheckResult
    from kvmtrace.api.comparison import ComparisonResult
    from kvmtrace.api.options import CompareOptions
    from kvmtrace.api.whatif import WhatIfResult
    from kvmtrace.ingesting import Failed, Ingested, Progress, Stored

    Stores = Store | str | os.PathLike[str] | None


def ingest(
    path: Paths,
    *,
    store: Stores = None,
    label: str | None = None,
    tags: Mapping[str, str] | None = None,
    refresh: bool = False,
    format_name: str | None = None,
    clock_hz: int | None = None,
    max_unpacked_bytes: int | None = None,
    jobs: int | None = None,
    progress: Progress | None = None,
    failed: Failed | None = None,
    stored: Stored | None = None,
) -> list[Ingested]:
    """Read a recording, a table of figures, or an archive of them into a store, and return its runs.

    `path`: "-" is standard input. `store`: None is $KVMTRACE_STORE, else ./kvmtrace-store; it is made where it is not
    there. `label`, `tags`: what the run is called beside its id, and free key=value pairs. `refresh`: read it again
    where it is in the store. `format_name`: as `kvmtrace formats` names it; None: told by the content. `clock_hz`:
    ticks in a second of a clock that counts ticks. `max_unpacked_bytes`: what compressed input may become. `jobs`: 1
    or 2 threads. `progress` is told bytes read and bytes in all; `failed` is told of each file of an archive that
    could not be read (None: the first is raised); `stored` is told of each run once it is in the store.
    UsageError: no such format, a value that an option cannot have, or a label for several runs. InputError: the input
    cannot be read as a recording. StoreError: the store cannot be written, and nothing of the run is left behind.
    """
    from kvmtrace.formats.source import ReadOptions
    from kvmtrace.ingesting import DEFAULT_JOBS
    from kvmtrace.ingesting import ingest as read

    _check_number("jobs", jobs, 2)
    _check_number("max_unpacked_bytes", max_unpacked_bytes)
    return read(
        os.fspath(path),
        _folder(store),
        _label(label, tags),
        refresh=refresh,
        format_name=format_name,
        options=ReadOptions(jobs or DEFAULT_JOBS, clock_hz, max_unpacked_bytes),
        progress=progress,
        failed=failed,
        stored=stored,
    )


def generate(
    model: Paths,
    *,
    variant: str | Sequence[str] | None = None,
    seconds: float | None = None,
    events: int | None = None,
    seed: int = 1,
    store: Stores = None,
    label: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> list[Ingested]:
    """Make synthetic recordings of a model in a store, and return their runs.

    `model`: as `kvmtrace models` lists it, or a .toml of yours. `variant`: None is all of them. `seconds`: None is as
    the model says; `events`: at most so many. The same `seed` makes the same recording.
    UsageError: no such model or variant, a length that is none, or a label for several. InputError: the model's file is
    wrong.
    """
    from kvmtrace.generating import run_of, store_run
    from kvmtrace.ingesting import DEFAULT_JOBS, Order
    from kvmtrace.synth import model_file

    found = model_file.find(os.fspath(model))
    chosen = list(found.settings) if variant is None else several(variant)
    if not chosen:
        raise UsageError("variant: expected a variant or several, found none", hint="None is all of them")
    order = Order(_folder(store), _label(label, tags))
    order.label.check()
    order.check_label(found.name, len(chosen))
    runs = [run_of(found, each, seed=seed, seconds=seconds, events=events) for each in chosen]
    return [stored for run in runs for stored in store_run(found, run, order, jobs=DEFAULT_JOBS)]


def compare(
    base: str | Sequence[str], new: str | Sequence[str], *, store: Stores = None, **options: Unpack[CompareOptions]
) -> ComparisonResult:
    """Compare runs of a store before with runs after.

    Options: as of `Store.compare`. UsageError: a run, event or option that is not there. StoreError: no such store.
    """
    with _opened(store) as opened:
        return opened.compare(base, new, **options)


def whatif(
    run: str | None = None, *, model: Paths | Sequence[Paths] | None = None, store: Stores = None
) -> WhatIfResult:
    """Say what models would bring on a run, as `Store.whatif`. UsageError, StoreError: no such run, model or store."""
    with _opened(store) as opened:
        return opened.whatif(run, model=model)


def check(
    base: Paths | Sequence[Paths],
    new: Paths | Sequence[Paths],
    *,
    budget: Paths,
    store: Stores = None,
    stored: Callable[[Ingested, str], None] | None = None,
    said: Callable[[str], None] | None = None,
    warn: Callable[[str], None] | None = None,
) -> CheckResult:
    """Hold what changed between two sides to a file of budgets; what is over its budget is a result, not an error.

    `base`, `new`: recordings, folders or archives of them, which are ingested, or runs of the store. `store`: None is a
    store that is removed again, unless a run is named. `stored` is told of each run that a file gave, `said` what else
    there is to know, `warn` which runs cannot be read.
    UsageError, InputError: a name, a file or the budget file is wrong. StoreError: the store cannot be read or written.
    """
    from dataclasses import replace

    from kvmtrace import artifacts
    from kvmtrace.api.check import CheckResult
    from kvmtrace.budget import budget_file, decisions
    from kvmtrace.comparing.request import Request, left_out, sides

    budgets = budget_file.read(Path(budget))
    names = several(base), several(new)
    asked = None if store is None else _folder(store)
    with artifacts.store_for([*names[0], *names[1]], asked, default_folder()) as folder:
        taking = artifacts.Taking(folder, stored or (lambda _run, _file: None), said or (lambda _text: None))
        taking.check([*names[0], *names[1]])
        request = Request(tuple(taking.runs(names[0])), tuple(taking.runs(names[1])))
        with Store(folder, warn=warn) as opened:
            both = sides(opened.connection, request, [each.expression for each in budgets.budgets])
            checked = decisions.check(budgets, *both)
            beside = left_out(opened.connection, request)
            return CheckResult(replace(checked, warnings=(*beside, *checked.warnings)))


def _label(label: str | None, tags: Mapping[str, str] | None) -> Label:
    """Return what a run is to be called. UsageError: a label or a tag is no text."""
    given = dict(tags or {})
    for text in ("" if label is None else label, *given, *given.values()):
        if not isinstance(text, str):
            raise UsageError(f"expected texts as label and tags, found {text!r}")
    return Label(label, given)


def _check_number(name: str, value: int | None, most: int | None = None) -> None:
    """UsageError: an option is below 1, or above `most`."""
    if value is not None and not (value >= 1 and (most is None or value <= most)):
        wanted = "a number from 1 on" if most is None else f"1 to {most}"
        raise UsageError(f"{name}: expected {wanted}, found {value!r}")


def _folder(store: Stores) -> Path:
    match store:
        case None:
            return default_folder()
        case Store():
            return store.path
    return Path(store)


@contextmanager
def _opened(store: Stores) -> Iterator[Store]:
    """Give a store that is open: the caller's own, which stays open, or one of ours."""
    if isinstance(store, Store):
        yield store
        return
    with Store(store) as opened:
        yield opened
