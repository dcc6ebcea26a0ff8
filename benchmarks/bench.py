"""Times kvmtrace, perf and trace-cmd on the same events: `python -m benchmarks.bench [SAMPLES] [--runs N]`.

Whole processes, start-up included, on files in the page cache, one after the other in turn (A B C A B C …), so that
what slows the machine down for a while touches all of them. Only the ratios can be compared between machines.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.comparison import comparison_program, judged_comparison, made_store
from benchmarks.inputs import Input, made, read_through
from benchmarks.models import judged_models, model_programs
from benchmarks.programs import programs
from benchmarks.turns import Turns
from benchmarks.verdicts import FLAT_SAMPLES, LARGE_SAMPLES, judged, print_results

if TYPE_CHECKING:
    from collections.abc import Mapping

COMPARED: dict[str, tuple[Input, ...]] = {
    "perf.data": (Input.PERF_DATA,),
    "trace.dat": (Input.TRACE_DAT,),
    "text": (Input.PERF_SCRIPT, Input.FTRACE),
    "models": (),
    "compare": (),
}


def print_machine(files: Mapping[Input, Path], samples: int, *, perf: bool, trace_cmd: bool) -> None:
    """Print what the figures depend on."""
    cpus = os.cpu_count()
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    model = models[0].partition(": ")[2] if models else platform.machine()
    print(
        f"machine: {cpus} CPUs, {model}, Linux {platform.release()}, load {os.getloadavg()[0]:.2f} before the first run"
    )
    versions = [f"Python {platform.python_version()}"]
    versions += [_first_line("perf", "--version")] if perf else []
    versions += [_first_line("trace-cmd", "--version")] if trace_cmd else []
    print(", ".join(versions))
    for name, found in (("perf", perf), ("trace-cmd", trace_cmd)):
        if not found:
            print(f"{name} is not installed: nothing is compared with it")
    sizes = ", ".join(f"{made} {file.stat().st_size / 1e6:.0f} MB" for made, file in files.items())
    print(f"files: {samples:,} events each: {sizes}; in the page cache")


def _first_line(*command: str) -> str:
    """Return the first line that a program prints, on either stream, whatever its exit code."""
    said = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False).stdout
    return next((line.strip() for line in said.splitlines() if line.strip()), command[0])


def _number(text: str) -> int:
    """Return the number that 400k or 4M stands for. ValueError: it is none."""
    factor = {"k": 1_000, "M": 1_000_000}.get(text[-1:], 1)
    return int(text if factor == 1 else text[:-1]) * factor


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0] if __doc__ else None)
    parser.add_argument(
        "samples", type=_number, nargs="?", default="4M", help="events in each file and of each model: 400k, 4M, 40M"
    )
    parser.add_argument("--runs", type=int, help="runs of each program (5, of large files 3)")
    parser.add_argument(
        "--slow-runs", type=int, help="runs of perf script and trace-cmd report, which are slow (2, of large files 0)"
    )
    parser.add_argument(
        "--only", nargs="+", choices=list(COMPARED), help="what is read or made (all; of large ones not text)"
    )
    parser.add_argument("--dir", type=Path, help="where the files are kept and stores are made")
    return parser.parse_args()


def main() -> int:
    """Make the files, run everything, print; 1: a program failed."""
    options = _options()
    samples: int = options.samples
    large = samples >= LARGE_SAMPLES
    compared = options.only or [name for name in COMPARED if not large or name != "text"]
    inputs = [made for name in COMPARED if name in compared for made in COMPARED[name]]
    folder: Path = options.dir or Path(tempfile.gettempdir()) / f"kvmtrace-bench-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = folder.resolve()
    files = {wanted: made(folder, wanted, samples) for wanted in inputs}
    quarters = {wanted: made(folder, wanted, samples // 8 * 2) for wanted in inputs if samples >= FLAT_SAMPLES}
    for file in (*quarters.values(), *files.values()):
        read_through(file)
    perf, trace_cmd = (shutil.which(name) is not None for name in ("perf", "trace-cmd"))
    print_machine(files, samples, perf=perf, trace_cmd=trace_cmd)
    timed = list(programs(files, quarters, folder, perf=perf, trace_cmd=trace_cmd))
    models = "models" in compared
    timed += model_programs(samples, folder) if models else ()
    if comparison := "compare" in compared:
        timed.append(comparison_program(made_store(folder, samples)))
    turns = Turns(timed, samples, folder)
    runs = options.runs or (3 if large else 5)
    slow_runs = options.slow_runs if options.slow_runs is not None else (0 if large else 2)
    results = turns.run(runs, slow_runs)
    told = judged(results, samples, inputs)
    told += judged_models(results, samples) if models else []
    told += judged_comparison(results, samples) if comparison else []
    print_results(results, told)
    return 1 if results.failures else 0


if __name__ == "__main__":
    sys.exit(main())
