"""Times kvmtrace and perf on the same file, side by side: `python -m benchmarks.bench [SAMPLES] [--runs N]`.

Whole processes, start-up included, on a file in the page cache, one after the other in turn (A B C A B C …), so that
what slows the machine down for a while touches all of them. Only the ratios can be compared between machines.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import CommandFailedError, peak_memory_bytes, timed
from benchmarks.verdicts import (
    HELP,
    INGEST,
    INGEST_ALONE,
    LARGE_SAMPLES,
    PERF_KVM,
    PERF_SCRIPT,
    REPORT,
    Results,
    print_results,
)

ROOT = Path(__file__).parents[1]
MAKERS = (
    "synthetic.py",
    "svm_vcpu.py",
    "recording_builder.py",
    "tracepoint_records.py",
    "perf_data_writer.py",
    "perf_data_features.py",
    "formats/kvm/kvm_exit.txt",
    "formats/kvm/kvm_entry.txt",
)
"""What the bytes of the synthetic file depend on: a file made by an older program is not used."""

MIB = 1 << 20


class Bench:
    """The programs to compare, on one file; everything they write goes to `folder`."""

    def __init__(self, recording: Path, folder: Path, *, with_perf: bool) -> None:
        self.results = Results()
        self._folder = folder
        self._store = folder / "store"
        kvmtrace = [sys.executable, "-m", "kvmtrace"]
        ingest = [*kvmtrace, "ingest", str(recording), "--store", str(self._store)]
        self._commands = {
            HELP: [*kvmtrace, "--help"],
            INGEST_ALONE: [*ingest, "--jobs", "1"],
            INGEST: ingest,
            REPORT: [*kvmtrace, "report", "--store", str(self._store)],
        }
        if with_perf:
            self._commands[PERF_KVM] = ["perf", "kvm", "-i", str(recording), "stat", "report"]
            self._commands[PERF_SCRIPT] = ["perf", "script", "-i", str(recording)]

    def run(self, runs: int, script_runs: int) -> Results:
        """Run everything in turn, `perf script` only in the first turns, then once more to look at memory."""
        for turn in range(runs):
            for name in self._commands:
                if name != PERF_SCRIPT or turn < script_runs:
                    show_progress(f"run {turn + 1} of {runs}: {name}")
                    self._time(name)
        for name in (INGEST, REPORT, PERF_KVM):
            if name in self._commands:
                show_progress(f"memory: {name}")
                self._look_at_memory(name)
        show_progress("")
        return self.results

    def _time(self, name: str) -> None:
        if name in self.results.failures:
            return
        self._make_room(name)
        try:
            timing = timed(self._commands[name], self._output(name), folder=ROOT)
        except CommandFailedError as failure:
            self.results.failures[name] = str(failure)
            return
        self.results.timings.setdefault(name, []).append(timing)
        if name == INGEST:
            self.results.store_bytes = sum(path.stat().st_size for path in self._store.rglob("*") if path.is_file())

    def _look_at_memory(self, name: str) -> None:
        if name in self.results.failures:
            return
        self._make_room(name)
        try:
            self.results.peak_bytes[name] = peak_memory_bytes(self._commands[name], self._output(name), folder=ROOT)
        except CommandFailedError as failure:
            self.results.failures[name] = str(failure)

    def _make_room(self, name: str) -> None:
        if name in (INGEST, INGEST_ALONE):
            shutil.rmtree(self._store, ignore_errors=True)

    def _output(self, name: str) -> Path:
        return Path(os.devnull) if name == PERF_SCRIPT else self._folder / f"{name.replace(' ', '-')}.txt"


def show_progress(text: str) -> None:
    """Replace the line of progress, where somebody sees it."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def made_recording(folder: Path, samples: int) -> Path:
    """Return the synthetic file of `samples` samples, made in `folder` unless the same program made it before."""
    makers = hashlib.sha256(b"".join((ROOT / "benchmarks" / maker).read_bytes() for maker in MAKERS)).hexdigest()
    recording = folder / f"synthetic-{samples}-{makers[:12]}.perf.data"
    if not recording.exists():
        print(f"making {recording}", file=sys.stderr)
        unfinished = recording.with_suffix(".unfinished")
        # a process of its own: what this one holds would count as memory of those that it starts
        command = [sys.executable, "-m", "benchmarks.synthetic", "-n", str(samples), str(unfinished)]
        subprocess.run(command, check=True, cwd=ROOT)
        unfinished.rename(recording)
    return recording


def print_machine(recording: Path, samples: int, *, with_perf: bool) -> None:
    """Print what the figures depend on."""
    cpus = os.cpu_count()
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    model = models[0].partition(": ")[2] if models else platform.machine()
    print(
        f"machine: {cpus} CPUs, {model}, Linux {platform.release()}, load {os.getloadavg()[0]:.2f} before the first run"
    )
    print(f"Python {platform.python_version()}", end="")
    if with_perf:
        version = subprocess.run(["perf", "--version"], capture_output=True, text=True, check=True).stdout.strip()
        print(f", {version}")
    else:
        print("\nperf is not installed: only our own times, and nothing to compare them with")
    print(f"file: {samples:,} samples, {recording.stat().st_size / 1e6:.0f} MB, in the page cache")


def read_through(recording: Path) -> None:
    """Bring a file into the page cache."""
    with recording.open("rb") as file:
        while file.read(MIB):
            pass


def _number(text: str) -> int:
    """Return the number that 400k or 4M stands for. ValueError: it is none."""
    factor = {"k": 1_000, "M": 1_000_000}.get(text[-1:], 1)
    return int(text if factor == 1 else text[:-1]) * factor


def main() -> int:
    """Make the file, run everything, print; 1: a program failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0] if __doc__ else None)
    parser.add_argument("samples", type=_number, nargs="?", default="4M", help="samples in the file: 400k, 4M, 40M")
    parser.add_argument("--runs", type=int, help="runs of each program (5, of a large file 3)")
    parser.add_argument("--script-runs", type=int, help="runs of perf script, which is slow (2, of a large file none)")
    parser.add_argument("--dir", type=Path, help="where the file is kept and stores are made")
    options = parser.parse_args()
    folder: Path = options.dir or Path(tempfile.gettempdir()) / f"kvmtrace-bench-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with_perf = shutil.which("perf") is not None
    recording = made_recording(folder.resolve(), options.samples)
    read_through(recording)
    print_machine(recording, options.samples, with_perf=with_perf)
    bench = Bench(recording, folder.resolve(), with_perf=with_perf)
    large = options.samples >= LARGE_SAMPLES
    runs = options.runs or (3 if large else 5)
    script_runs = options.script_runs if options.script_runs is not None else (0 if large else 2)
    results = bench.run(runs, script_runs)
    print_results(results, options.samples)
    return 1 if results.failures else 0


if __name__ == "__main__":
    sys.exit(main())
