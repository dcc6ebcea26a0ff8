"""What perf says of a recording: its texts, parsed. Texts stand beside each recording, or come from perf itself."""

from __future__ import annotations

import gzip
import lzma
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

DATA = Path(__file__).parent / "data" / "recordings"
SHARED = Path(__file__).parents[1].parent / "shared"
"""Recordings that are not part of the project; tests that need them skip where they are not."""

HAS_PERF = shutil.which("perf") is not None


@dataclass(frozen=True, slots=True)
class Recorded:
    """A perf.data and the texts of perf beside it, whose names differ in what stands for `perf.data`."""

    path: Path

    @property
    def name(self) -> str:
        """A name for people: that of the file, or of its folder where all files have the same name."""
        stem = self._stem().rstrip(".-")
        return stem if self.path.parent == DATA else "/".join(filter(None, (self.path.parent.name, stem)))

    def text(self, what: str) -> str | None:
        """Return a text of perf (`perf-script`, `perf-kvm-stat-vmexit` …), None where there is none."""
        path = self.path.with_name(f"{self._stem()}{what}.txt")
        if path.exists():
            return path.read_text()
        for suffix, unpack in ((".xz", lzma.open), (".gz", gzip.open)):
            packed = path.with_name(path.name + suffix)
            if packed.exists():
                with unpack(packed, "rt") as text:
                    return str(text.read())
        return None

    def _stem(self) -> str:
        """What the names of the recording and of its texts begin with: `zstd.`, `pid-` or nothing."""
        return self.path.name.removesuffix(".zst").removesuffix("perf.data")


def bundled() -> list[Recorded]:
    """Return the recordings that the project has."""
    return [Recorded(path) for path in sorted(DATA.glob("*perf.data.zst"))]


def bundled_one(name: str) -> Recorded:
    """Return one of them. ValueError: there is none of that name."""
    (recorded,) = (recorded for recorded in bundled() if recorded.name == name)
    return recorded


def further() -> list[Recorded]:
    """Return the x86 recordings of `SHARED` that are not bundled, none where it is not there."""
    shared = [Recorded(path) for path in sorted((SHARED / "captures" / "x86-svm").glob("**/*perf.data"))]
    names = {recorded.name for recorded in bundled()}
    return [recorded for recorded in shared if recorded.name.rpartition("/")[2] not in names]


class ScriptLine(NamedTuple):
    """One event of `perf script`; `ts_ns` is as fine as the text is."""

    ts_ns: int
    cpu: int
    tid: int
    event: str  # system:event
    text: str


_SCRIPT_LINE = re.compile(r".*?\s(?:-?\d+/)?(-?\d+)\s+\[(\d+)\]\s+(\d+)\.(\d+):\s+([\w-]+:\w+): ?(.*)")


def script_lines(text: str) -> list[ScriptLine]:
    """Parse what `perf script` prints. ValueError: a line that is no event.

    A line may be empty behind an event: then the event's text ends with a new line (kvm_ppc_instr).
    """
    lines: list[ScriptLine] = []
    for line in text.splitlines():
        if lines and not line:
            lines[-1] = lines[-1]._replace(text=f"{lines[-1].text}\n")
            continue
        parts = _SCRIPT_LINE.fullmatch(line)
        if parts is None:
            raise ValueError(f"expected an event of perf script, found {line!r}")
        tid, cpu, seconds, fraction, event, body = parts.groups()
        ts_ns = int(seconds) * 1_000_000_000 + int(fraction.ljust(9, "0"))
        lines.append(ScriptLine(ts_ns, int(cpu), int(tid), event, body))
    return lines


@dataclass(frozen=True, slots=True)
class ReportStats:
    """What `perf report --stats` counts: records by type, and samples by event."""

    records: dict[str, int] = field(default_factory=dict)
    samples: dict[str, int] = field(default_factory=dict)


def report_stats(text: str) -> ReportStats:
    """Parse what `perf report --stats` prints."""
    stats = ReportStats()
    event = None
    for line in text.splitlines():
        if header := re.fullmatch(r"(\S+:\S+) stats:", line):
            event = header[1]
        elif count := re.match(r"\s*(\w+) events:\s+(\d+)", line):
            if event is None:
                stats.records[count[1]] = int(count[2])
            elif count[1] == "SAMPLE":
                stats.samples[event] = int(count[2])
    stats.records.pop("TOTAL", None)
    return stats


class KvmStatRow(NamedTuple):
    """One row of `perf kvm stat report`, as it is printed: percent, microseconds, and the standard error in percent."""

    name: str
    samples: str
    samples_share: str
    time_share: str
    shortest: str
    longest: str
    mean: str
    error: str


@dataclass(frozen=True, slots=True)
class KvmStatTable:
    """A table of `perf kvm stat report`."""

    rows: dict[str, KvmStatRow]
    samples: int
    time: str  # us


_KVM_STAT_ROW = re.compile(
    r"\s*(.+?)\s+(\d+)\s+([\d.]+)%\s+([\d.]+)%\s+([\d.]+)us\s+([\d.]+)us\s+([\d.]+)us \( \+-\s*([\d.]+)% \)\s*"
)


def kvm_stat_table(text: str) -> KvmStatTable:
    """Parse what `perf kvm stat report` prints. ValueError: it is no table, or a reason stands in it twice."""
    rows = kvm_stat_rows(text)
    by_name = {row.name: row for row in rows}
    if len(by_name) < len(rows):
        raise ValueError(f"expected each name once, found {[row.name for row in rows]}")
    return KvmStatTable(by_name, *kvm_stat_total(text))


def kvm_stat_rows(text: str) -> list[KvmStatRow]:
    """Parse the rows of a table, some of which may have one name: each number without a name is an UNKNOWN."""
    return [KvmStatRow(*row.groups()) for row in map(_KVM_STAT_ROW.fullmatch, text.splitlines()) if row]


def kvm_stat_total(text: str) -> tuple[int, str]:
    """Parse the last line of a table: samples, and their time in us. ValueError: there is none."""
    total = re.search(r"Total Samples:(\d+), Total events handled time:([\d.]+)us", text)
    if total is None:
        raise ValueError("expected a table of perf kvm stat report")
    return int(total[1]), total[2]


def kvm_stat_of(names: list[str], times_ns: list[int], shortest_ns: int | None = None) -> KvmStatTable:
    """Return the table that perf prints of exits, one name and one time each; `shortest_ns` in place of all minima."""
    times = np.array(times_ns, np.int64)
    by_name = {name: times[[other == name for other in names]] for name in dict.fromkeys(names)}
    rows = {name: _kvm_stat_row(name, own, times, shortest_ns) for name, own in by_name.items()}
    return KvmStatTable(rows, len(times), f"{times.sum() / 1000:.2f}")


def _kvm_stat_row(name: str, times: NDArray[np.int64], of_all: NDArray[np.int64], shortest: int | None) -> KvmStatRow:
    count, mean = len(times), float(times.mean())
    # "+-" is the standard error of the mean, relative to it.
    error = 100 * float(np.sqrt(np.var(times, ddof=1) / count)) / mean if count > 1 else 0.0
    return KvmStatRow(
        name,
        samples=str(count),
        samples_share=f"{count / len(of_all) * 100:.2f}",
        time_share=f"{times.sum() / of_all.sum() * 100:.2f}",
        shortest=f"{(times.min() if shortest is None else shortest) / 1000:.2f}",
        longest=f"{times.max() / 1000:.2f}",
        mean=f"{mean / 1000:.2f}",
        error=f"{error:.2f}",
    )


def perf_says(*arguments: str | Path) -> str:
    """Return what perf prints on standard output."""
    ran = subprocess.run(["perf", *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, check=True)
    return ran.stdout.decode()
