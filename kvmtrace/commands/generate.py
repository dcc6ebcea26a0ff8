"""`kvmtrace generate`: makes recordings of a model, into the store or as a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kvmtrace.commands.options import DEFAULT_STORE, ForceOption, OutputOption, StoreOption, TagOption, pairs
from kvmtrace.commands.output import check_output, say
from kvmtrace.commands.stored import tell
from kvmtrace.errors import StoreError, UsageError
from kvmtrace.writers.output_format import OutputFormat, WriteOptions

if TYPE_CHECKING:
    from kvmtrace.synth.engine import Run
    from kvmtrace.synth.model_file import Model


def generate(
    name: Annotated[str, typer.Argument(metavar="MODEL", help="A model as `kvmtrace models` lists it, or a .toml.")],
    variant: Annotated[
        list[str] | None, typer.Option("--variant", help="With or without the optimisation; repeatable [default: all].")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option("--seconds", min=1e-6, max=1e6, help="Length [default: as the model says].")
    ] = None,
    events: Annotated[int | None, typer.Option("--events", min=1, help="At most so many events.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="The same seed makes the same recording.")] = 1,
    output_format: Annotated[
        OutputFormat | None, typer.Option("--format", help="Format of FILE.", show_default=False)
    ] = None,
    output: OutputOption = None,
    force: ForceOption = False,
    store: StoreOption = DEFAULT_STORE,
    label: Annotated[str | None, typer.Option("--label", help="Name for the run, instead of its id.")] = None,
    tag: TagOption = None,
    compress: Annotated[bool, typer.Option("--compress", help="perf.data, trace.dat: with zstd.")] = False,
    pipe: Annotated[bool, typer.Option("--pipe", help="perf.data: as perf writes it to a pipe.")] = False,
) -> None:
    """Make synthetic recordings of a model, into the store or, with -o and --format, as a file."""
    from kvmtrace.generating import run_of
    from kvmtrace.synth import model_file

    if (output is None) != (output_format is None):
        raise UsageError(
            "--format and -o go together; without them recordings go into the store",
            hint="formats: " + ", ".join(OutputFormat),
        )
    model = model_file.find(name)
    chosen = variant or list(model.settings)
    runs = [run_of(model, each, seed=seed, seconds=seconds, events=events) for each in chosen]
    if output is not None and output_format is not None:
        check_output(output, force=force)
        _one(runs, model, "-o")
        ns = round(runs[0].seconds * 1e9)
        _write(model, runs[0], output, output_format, WriteOptions(stream=pipe, packed=compress, elapsed_ns=ns))
        return
    if label is not None:
        _one(runs, model, "--label")
    _store(model, runs, store, label, pairs(tag, "--tag"))


def _one(runs: list[Run], model: Model, option: str) -> None:
    if len(runs) > 1:
        raise UsageError(
            f"{option} is for one variant, and {model.name} has {len(runs)}",
            hint="--variant " + " or --variant ".join(run.variant for run in runs),
        )


def _store(model: Model, runs: list[Run], store: Path, label: str | None, tags: dict[str, str]) -> None:
    from kvmtrace.generating import store_run
    from kvmtrace.ingest import DEFAULT_JOBS, Order
    from kvmtrace.store.label import Label

    name = Label(label, tags)
    name.check()
    for run in runs:
        for stored in store_run(model, run, Order(store, name), jobs=DEFAULT_JOBS):
            sys.stdout.write(stored.manifest.run_id + "\n")
            tell(stored, stored.manifest.source.title)


def _write(model: Model, run: Run, output: Path, output_format: OutputFormat, options: WriteOptions) -> None:
    from kvmtrace import writers

    contents: Any = model.engine.contents(run)
    try:
        writers.write(contents, output, output_format, options)
    except OSError as error:
        raise StoreError(f"{output}: {error.strerror}") from None
    say(f"{output}: {output_format} of {model.name}, {run.variant}, seed {run.seed}")
