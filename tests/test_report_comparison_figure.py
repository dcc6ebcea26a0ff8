"""Figures of a comparison: whole, the same for the same comparison, for any name, and only of what there is."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import comparison_samples as samples
import pytest
from compare_samples import keyed, run, side

from kvmtrace.comparing.comparison import compare
from kvmtrace.comparing.lines import Options
from kvmtrace.comparing.waterfall import Cause, Change, Step, Waterfall
from kvmtrace.errors import StoreError, UsageError
from kvmtrace.exit_keys import By
from kvmtrace.report import comparison_figure
from kvmtrace.report.comparison_curves import curves

if TYPE_CHECKING:
    from pathlib import Path

    from kvmtrace.comparing.comparison import Comparison


def recordings(by: tuple[By, ...] = (By.REASON,)) -> Comparison:
    """Return the comparison of two runs of exits, of which one name is hard to draw."""
    sides = [
        side(name, run(keyed("npf", [n], latency), keyed("$\\frac{\x1b", [30], 500.0), keyed("few", [3]), name=name))
        for name, n, latency in (("base", 900, 4000.0), ("new", 90, 2000.0))
    ]
    return compare(sides[0], sides[1], (sides[0], sides[1]), Options(by))


def texts(comparison: Comparison) -> str:
    """Return all the comments of a drawing, which hold its texts."""
    return comparison_figure.draw(comparison, "svg").decode()


def test_a_figure_has_the_format_of_its_suffix_and_the_same_one_is_the_same_file(tmp_path: Path) -> None:
    comparison_figure.save(recordings(), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG\r\n")
    first, second = (comparison_figure.draw(recordings(), "svg") for _ in range(2))
    assert first == second
    assert ET.fromstring(first).tag.endswith("svg")  # noqa: S314 - our own file


def test_rates_curves_and_steps_are_drawn_of_recordings_and_counts_alone_of_counters() -> None:
    drawn = texts(recordings())
    for title in ("Exits per second", "Latency, cumulative", "What made the change: time out of the guest"):
        assert f"<!-- {title}" in drawn
    counters = texts(samples.counters())
    assert "<!-- Events per second" in counters
    assert "Latency" not in counters
    assert "What made" not in counters


def test_latencies_are_drawn_only_where_exits_are_told_apart_by_reason() -> None:
    assert "Latency" not in texts(recordings(by=(By.VCPU,)))


def test_a_reason_of_few_exits_has_no_curve() -> None:
    found = curves(recordings(), 5)
    assert [pair.name for pair in found.pairs] == ["npf", "$\\frac{\\x1b"]
    assert (found.too_few, found.others) == (1, 0)


def test_steps_of_no_time_are_drawn_by_exits() -> None:
    idle = Step(Cause("hlt"), Change.MORE, 5.0, 0.0)
    waterfall = Waterfall(10.0, 15.0, 0.0, 0.0, (idle,))
    assert "<!-- What made the change: exits per second" in texts(samples.comparison(waterfall=waterfall))


def test_a_negative_step_over_the_whole_and_a_side_of_0_can_be_drawn() -> None:
    gone = Step(samples.APIC_EOI, Change.GONE, -10.0, -1000.0)
    assert texts(samples.comparison(waterfall=Waterfall(10.0, 0.0, 1000.0, 0.0, (gone,))))


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(UsageError, match="nothing is recorded on both sides"):
        comparison_figure.draw(samples.comparison(sections=(), waterfall=None), "png")


def test_a_figure_that_is_there_already_is_overwritten_only_by_force(tmp_path: Path) -> None:
    path = tmp_path / "a.svg"
    path.write_bytes(b"mine")
    with pytest.raises(StoreError, match=r"a\.svg: File exists"):
        comparison_figure.save(samples.counters(), path)
    comparison_figure.save(samples.counters(), path, force=True)
    assert path.read_bytes().startswith(b"<?xml")
