"""`kvmtrace generate`: makes recordings of a model, into the store or as a file."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path  # noqa: TC003 - typer looks at it
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


class GenerateFormat(StrEnum):
    """What --format takes: the store, or a format of FILE."""

    STORE = "store"
    PERF_DATA = OutputFormat.PERF_DATA.value
    TRACE_DAT = OutputFormat.TRACE_DAT.value
    TRACE_DAT_6 = OutputFormat.TRACE_DAT_6.value
    PERF_SCRIPT = OutputFormat.PERF_SCRIPT.value
    FTRACE = OutputFormat.FTRACE.value
    PERF_STAT = OutputFormat.PERF_STAT.value
    PERF_STAT_CSV = OutputFormat.PERF_STAT_CSV.value
    PERF_STAT_JSON = OutputFormat.PERF_STAT_JSON.value
    VMEXIT = OutputFormat.VMEXIT.value


_STREAMED = {GenerateFormat.PERF_DATA}
_COMPRESSED = {GenerateFormat.PERF_DATA, GenerateFormat.TRACE_DAT}


def generate(
    name: Annotated[str, typer.Argument(metavar="MODEL", help="A model as `kvmtrace models` lists it, or a .toml.")],
    variant: Annotated[
        list[str] | None, typer.Option("--variant", help="With or without the optimisation; repeatable [default: all].")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option("--seconds", help="Length, 1e-6 to 1e6 [default: as the model says].")
    ] = None,
    events: Annotated[int | None, typer.Option("--events", help="At most so many events, from 1 on.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="The same seed makes the same recording.")] = 1,
    output_format: Annotated[GenerateFormat, typer.Option("--format", help="The store, or the format of FILE.")] = (
        GenerateFormat.STORE
    ),
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

    if (output is None) != (output_format is GenerateFormat.STORE):
        files = ", ".join(each for each in GenerateFormat if each is not GenerateFormat.STORE)
        raise UsageError("-o and a --format of files go together", hint=f"formats of files: {files}")
    _refuse("--compress", compress and output_format not in _COMPRESSED, _COMPRESSED)
    _refuse("--pipe", pipe and output_format not in _STREAMED, _STREAMED)
    model = model_file.find(name)
    chosen = variant or list(model.settings)
    runs = [run_of(model, each, seed=seed, seconds=seconds, events=events) for each in chosen]
    if output is None:
        _store(model, runs, store, label, pairs(tag, "--tag"))
        return
    _refuse("--label and --tag", label is not None or bool(tag), {GenerateFormat.STORE})
    check_output(output, force=force)
    _check_one(runs, model, "-o")
    # Where the events end the recording, its length is not known before.
    elapsed_ns = round(runs[0].seconds * 1e9) if events is None else None
    _write(model, runs[0], output, OutputFormat(output_format.value), WriteOptions(pipe, compress, elapsed_ns))


def _refuse(option: str, is_wrong: bool, suits: set[GenerateFormat]) -> None:
    if is_wrong:
        raise UsageError(f"{option}: only with --format {' or '.join(sorted(suits))}")


def _check_one(runs: list[Run], model: Model, option: str) -> None:
    if len(runs) > 1:
        raise UsageError(
            f"{option} is for one variant, and {model.name} has {len(runs)}",
            hint="--variant " + " or --variant ".join(run.variant for run in runs),
        )


def _store(model: Model, runs: list[Run], store: Path, label: str | None, tags: dict[str, str]) -> None:
    from kvmtrace.generating import store_run
    from kvmtrace.ingesting import DEFAULT_JOBS, Order
    from kvmtrace.store.label import Label

    if label is not None:
        _check_one(runs, model, "--label")
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
