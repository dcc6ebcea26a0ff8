"""Real recordings of guests with something off and on: verdicts and intervals as the golden file has them."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

import pytest
from real_pairs import CAPTURES, PAIRS, RECORDINGS, ROUNDED, Pair, Row, compared, golden, rows

from kvmtrace.report.comparison_words import headlines
from kvmtrace.stats.verdicts import Verdict

if TYPE_CHECKING:
    from pathlib import Path

    from kvmtrace.comparing.comparison import Comparison

IDLE_TICK = PAIRS[0]
real = pytest.mark.skipif(not CAPTURES.is_dir(), reason=f"{CAPTURES} is not there")
each_pair = pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)


@pytest.fixture(scope="module")
def comparisons(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Comparison]:
    """Return the comparisons that were made so far."""
    return Comparisons(tmp_path_factory.mktemp("pairs"))


class Comparisons(dict[str, "Comparison"]):
    """Comparisons of pairs, each made when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def __missing__(self, name: str) -> Comparison:
        pair = next(pair for pair in PAIRS if pair.name == name)
        self[name] = compared(pair.recording("off"), pair.recording("on"), pair.per, self._folder)
        return self[name]


def assert_as_golden(found: list[Row], expected: list[Row]) -> None:
    assert expected
    assert len(found) == len(expected)
    for row, wanted in zip(found, expected, strict=True):
        assert {name: text for name, text in row.items() if name not in ROUNDED} == {
            name: text for name, text in wanted.items() if name not in ROUNDED
        }
        for name in ROUNDED:  # a last digit may be rounded otherwise by another version of a library
            assert bool(row[name]) == bool(wanted[name])
            assert not row[name] or float(row[name]) == pytest.approx(float(wanted[name]), rel=0.012)


def counted(path: Path) -> dict[str, int]:
    """Return the events of a capture as perf or trace-cmd counted them, by name without its system."""
    found = re.findall(r"^\s*(\d+) (?:kvm:)?(\w+):$", path.read_text(), re.MULTILINE)
    return {name: int(n) for n, name in found}


@cache
def exit_samples(path: Path) -> dict[str, int]:
    """Return the samples of each exit reason, as `perf kvm stat` has them."""
    found = re.findall(r"^\s+(\w+)\s+(\d+)\s+[\d.]+%", path.read_text(), re.MULTILINE)
    return {reason: int(n) for reason, n in found}


def test_the_bundled_pair_is_as_the_golden_file_has_it(tmp_path: Path) -> None:
    files = [RECORDINGS / f"{IDLE_TICK.name}-{side}.perf.data.zst" for side in ("off", "on")]
    comparison = compared(files[0], files[1], IDLE_TICK.per, tmp_path)
    assert_as_golden(rows(comparison), golden(IDLE_TICK))
    assert headlines(comparison)[1].startswith("exits per injected interrupt fell from 2.06 to 1.11 (")


@real
@each_pair
def test_a_real_pair_is_as_the_golden_file_has_it(comparisons: Comparisons, pair: Pair) -> None:
    assert_as_golden(rows(comparisons[pair.name]), golden(pair))


@real
@each_pair
def test_counts_are_those_of_the_recorder(comparisons: Comparisons, pair: Pair) -> None:
    lines = {line.name: line for line in comparisons[pair.name].headlines}
    for column, side in (("base_n", "off"), ("new_n", "on")):
        events = counted(pair.folder(side) / pair.counts)
        assert getattr(lines["exits"], column) == events["kvm_exit"]
        assert getattr(lines["exits to userspace"], column) == events["kvm_userspace_exit"]
        assert getattr(lines["exits without port I/O"], column) == events["kvm_exit"] - events["kvm_pio"]
        told = next(s for s in comparisons[pair.name].sections if s.quantity == "userspace_exits")
        assert sum(getattr(line, column) for line in told.lines) == events["kvm_userspace_exit"]


@real
@pytest.mark.parametrize("pair", [p for p in PAIRS if p.exit_table], ids=lambda pair: pair.name)
def test_exits_of_each_reason_are_as_many_as_perf_kvm_stat_says(comparisons: Comparisons, pair: Pair) -> None:
    sections = {section.quantity: section for section in comparisons[pair.name].sections}
    for column, side in (("base_n", "off"), ("new_n", "on")):
        samples = exit_samples(pair.folder(side) / str(pair.exit_table))
        timed = {str(line.key.reason): getattr(line, column) for line in sections["mean_ns"].lines if line.key}
        idle = {str(line.key.reason) for line in sections["exits"].lines if line.key and line.idle}
        assert timed == {reason: n for reason, n in samples.items() if reason not in idle}
        every = {str(line.key.reason): getattr(line, column) for line in sections["exits"].lines if line.key}
        assert every.keys() == samples.keys()
        for reason in idle:  # perf counts those that ended only: as many as vCPUs may be open at the end
            assert 0 <= every[reason] - samples[reason] <= comparisons[pair.name].base.runs[0].vcpus


@real
def test_kicks_of_a_disk_no_longer_go_to_userspace_with_ioeventfd(comparisons: Comparisons) -> None:
    comparison = comparisons["ioeventfd-blk"]
    section = next(s for s in comparison.sections if s.quantity == "userspace_exits")
    lines = {line.key.reason: line for line in section.lines if line.key}
    assert (lines["npf"].base_n, lines["npf"].new_n) == (600, 0)
    assert lines["npf"].verdict is Verdict.GONE
