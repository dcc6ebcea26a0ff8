"""Compares real pairs of captures: `PYTHONPATH=tests python -m real_pairs` writes their golden file again."""

from __future__ import annotations

import csv
import io
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from perf_oracle import SHARED

from kvmtrace.comparing.denominators import denominator
from kvmtrace.comparing.lines import Options
from kvmtrace.comparing.request import Request, answer
from kvmtrace.ingesting import ingest
from kvmtrace.report.comparison_machine import to_csv
from kvmtrace.store.connection import StoreConnection
from kvmtrace.store.label import Label

if TYPE_CHECKING:
    from kvmtrace.comparing.comparison import Comparison

Row = dict[str, str]
CAPTURES = SHARED / "captures" / "x86-svm"
RECORDINGS = Path(__file__).parent / "data" / "recordings"
GOLDEN = Path(__file__).parent / "golden" / "compare" / "real-pairs.csv"
ROUNDED = ("base", "new", "ratio", "ratio_low", "ratio_high", "difference_low", "difference_high")
KEPT = ("section", "name", "reason", "base_n", "new_n", *ROUNDED[:2], "unit", *ROUNDED[2:], "verdict")


@dataclass(frozen=True)
class Pair:
    """Two captures of one guest, with something off and on."""

    name: str
    file: str
    per: str = "second"
    counts: str = "event-counts.txt"
    exit_table: str | None = "perf-kvm-stat-vmexit.txt"

    def folder(self, side: str) -> Path:
        return CAPTURES / f"{self.name}-{side}"

    def recording(self, side: str) -> Path:
        return self.folder(side) / self.file


PAIRS = (
    Pair("pveoi-idletick-xapic", "perf.data"),
    Pair("pveoi-mixed-xapic", "perf.data"),
    Pair("tracecmd-pveoi-mixed-xapic", "trace-v7.dat", counts="trace-v7.dat.event-counts.txt", exit_table=None),
    # Both sides kick the disk 600 times, one of them in a third of the time: a kick is what they have in common.
    Pair("ioeventfd-blk", "perf.data", per="kvm_mmio"),
)


def compared(base: Path, new: Path, per: str, folder: Path) -> Comparison:
    """Ingest two recordings into a store in `folder`, and compare them."""
    runs = [ingest(str(path), folder / "store", Label())[0].manifest.run_id for path in (base, new)]
    with StoreConnection(folder / "store") as connection:
        return answer(connection, Request((runs[0],), (runs[1],), Options(per=denominator(per))))


def rows(comparison: Comparison) -> list[Row]:
    """Return the lines of a comparison, their figures rounded to three digits."""
    told = csv.DictReader(io.StringIO(to_csv(comparison)))
    return [{name: _rounded(row[name]) if name in ROUNDED else row[name] for name in KEPT} for row in told]


def _rounded(text: str) -> str:
    return f"{float(text):.3g}" if text else ""


def golden(pair: Pair) -> list[Row]:
    """Return the rows of a pair as the golden file has them."""
    with GOLDEN.open(newline="") as file:
        found = [row for row in csv.DictReader(file) if row["pair"] == pair.name]
    return [{name: row[name] for name in KEPT} for row in found]


def write() -> None:
    """Write the golden file."""
    with GOLDEN.open("w", newline="") as file, tempfile.TemporaryDirectory() as folder:
        writer = csv.DictWriter(file, ("pair", *KEPT), lineterminator="\n")
        writer.writeheader()
        for pair in PAIRS:
            comparison = compared(pair.recording("off"), pair.recording("on"), pair.per, Path(folder))
            writer.writerows({"pair": pair.name, **row} for row in rows(comparison))


if __name__ == "__main__":
    write()
