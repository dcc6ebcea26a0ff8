"""Comparisons of what somebody else counted or worked out: nothing vanishes, and each ± stays with its figure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kvmtrace.comparing.denominators import denominator
from kvmtrace.comparing.lines import Options
from kvmtrace.comparing.request import Request, answer
from kvmtrace.errors import UsageError
from kvmtrace.ingesting import ingest
from kvmtrace.store.connection import StoreConnection
from kvmtrace.store.label import Label

if TYPE_CHECKING:
    from kvmtrace.comparing.comparison import Comparison
    from kvmtrace.comparing.lines import Line

DATA = Path(__file__).parent / "data"
COUNTERS = """
 Performance counter stats for 'system wide':

            {} kvm:kvm_exit                       [1.20%]
            21,115 kvm:kvm_inj_virq
     1,000,000,000 cycles                             [80.00%]
       500,000,000 cycles:u                           [99.98%]

       1.002100578 seconds time elapsed
"""
INTERVALS = """\
     1.000100000                100      kvm:kvm_exit
     1.000100000          1,000,000      cycles
     2.000200000                110      kvm:kvm_exit
     2.000200000          1,200,000      cycles
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Counters, repeats with ±, tables of `perf kvm stat` and of kvm_stat, each on two sides."""
    folder = tmp_path_factory.mktemp("given")
    repeats = (DATA / "perf-stat" / "x86-repeats.txt").read_text(encoding="utf-8")
    table = (DATA / "perf-kvm-stat" / "unknown-codes.txt").read_text(encoding="utf-8")
    texts = {
        "counters": (COUNTERS.format("49,849"), COUNTERS.format("29,595")),
        "intervals": (INTERVALS, INTERVALS.replace("1,200,000", "1,300,000")),
        "repeats": (repeats, repeats.replace(" 513 ", " 256 ")),
        "table": (table, table.replace("502.57us", "802.57us")),
    }
    for name, sides in texts.items():
        for side, text in zip(("before", "after"), sides, strict=True):
            path = folder / f"{name}-{side}.txt"
            path.write_text(text, encoding="utf-8")
            ingest(str(path), folder / "store", Label(f"{name}-{side}"))
    for name in ("log", "screen"):
        ingest(str(DATA / "kvm-stat" / f"{name}.txt"), folder / "store", Label(name))
    return folder / "store"


def compared(store: Path, base: str, new: str, per: str = "second") -> Comparison:
    with StoreConnection(store) as connection:
        return answer(connection, Request((base,), (new,), Options(per=denominator(per))))


def names(found: Comparison, quantity: str) -> list[str]:
    return [line.name for section in found.sections if section.quantity == quantity for line in section.lines]


def figure(found: Comparison, name: str) -> Line:
    lines = (line for section in found.sections if section.quantity == "figure" for line in section.lines)
    return next(line for line in lines if line.name == name)


@pytest.mark.parametrize(
    ("name", "counted"),
    [
        ("counters", ["cycles", "cycles:u", "kvm:kvm_exit", "kvm:kvm_inj_virq"]),
        ("intervals", ["cycles", "kvm:kvm_exit"]),
    ],
)
def test_each_counter_has_one_row_whether_it_is_a_tracepoint_or_not(store: Path, name: str, counted: list[str]) -> None:
    found = compared(store, f"{name}-before", f"{name}-after")
    assert sorted(names(found, "events")) == counted
    assert names(found, "figure") == []


def test_the_primary_figure_has_the_interval_of_the_repeats(store: Path) -> None:
    found = compared(store, "repeats-before", "repeats-after")
    primary = found.headlines[0].estimate
    assert primary.method == "Welch's t from mean, ± and n"
    assert (primary.base_n, primary.new_n) == (5, 5)
    (row,) = [line for line in found.sections[0].lines if line.name == "kvm:kvm_exit"]
    assert primary.ratio_interval is not None
    assert primary.ratio_interval == row.estimate.ratio_interval
    assert names(found, "figure") == []


def test_rows_of_one_name_stay_apart_in_their_order_and_that_is_said(store: Path) -> None:
    found = compared(store, "table-before", "table-after")
    unknown = [f"vmexit UNKNOWN{more}" for more in ("", " #2", " #3", " #4", " #5")]
    assert [name for name in names(found, "figure") if "UNKNOWN" in name] == unknown
    assert [name for name in names(found, "events") if "UNKNOWN" in name] == unknown
    second = figure(found, "vmexit UNKNOWN #2").estimate
    assert second.base == pytest.approx(502_570)
    assert second.new == pytest.approx(802_570)
    assert "Several rows of one name (vmexit UNKNOWN) are paired by their order: they may not be the same." in (
        found.warnings
    )


def test_a_counter_that_ran_part_of_its_time_is_named(store: Path) -> None:
    partly = "cycles ran 80.00% of its time, kvm:kvm_exit ran 1.20% of its time in counters-before: perf scaled"
    said = compared(store, "counters-before", "counters-after").warnings
    assert any(sentence.startswith(partly) for sentence in said)
    assert not any("cycles:u" in sentence for sentence in said)


def test_of_kvm_stat_counts_are_compared_per_event_and_no_rate_is_made_up(store: Path) -> None:
    found = compared(store, "log", "screen", "kvm_exit")
    (entries,) = [line for line in found.sections[0].lines if line.name == "kvm:kvm_entry"]
    assert (entries.estimate.base, entries.estimate.new) == (1.0, 1.0)
    assert sum("is of kvm_stat, so no rate is known" in sentence for sentence in found.warnings) == 2
    assert compared(store, "log", "screen").headlines[0].estimate.base is None


def test_a_counter_that_nobody_counted_is_refused_as_a_denominator(store: Path) -> None:
    with pytest.raises(UsageError, match="--per kvm_inj_vrq: not recorded in any of the runs") as caught:
        compared(store, "counters-before", "counters-after", "kvm_inj_vrq")
    assert str(caught.value.hint).startswith("nearest: kvm_inj_virq")
    assert compared(store, "counters-before", "counters-after", "cycles").headlines[0].estimate.base is not None
