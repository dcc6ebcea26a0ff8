"""Figures of the latency distribution: they are written whole, say what they show, and draw any name."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest
import report_samples as samples

from kvmtrace.errors import StoreError, UsageError
from kvmtrace.exit_keys import Key
from kvmtrace.report import figures
from kvmtrace.report.summary import Bucket

if TYPE_CHECKING:
    from pathlib import Path

    from kvmtrace.report.summary import Summary


def test_a_figure_has_the_format_of_its_suffix(tmp_path: Path) -> None:
    figures.save([samples.exits()], tmp_path / "exits.PNG")
    assert (tmp_path / "exits.PNG").read_bytes().startswith(b"\x89PNG\r\n")
    figures.save([samples.exits()], tmp_path / "exits.svg")
    assert ET.parse(tmp_path / "exits.svg").getroot().tag.endswith("svg")  # noqa: S314 - our own file


def test_the_same_figure_is_the_same_svg() -> None:
    first, second = (figures.draw([samples.exits()], "svg") for _ in range(2))
    assert first == second
    assert b"<dc:date>" not in first


def test_any_name_can_be_drawn() -> None:
    names = ["_hidden", "$\\frac{", "\x1b[2J", "a very long exit reason that nobody would want in full", "日本", None]
    rows = [samples.bucket_row(Key(name), [1000 + n]) for n, name in enumerate(names)]
    assert figures.draw([samples.exits(rows=rows)], "svg")


def test_a_single_bucket_and_a_latency_of_0_can_be_drawn() -> None:
    for latency in (0, 4096):
        rows = [samples.bucket_row(Key("msr"), [latency])]
        assert figures.draw([samples.exits(rows=rows)], "svg")


def test_several_runs_are_rows_of_one_figure() -> None:
    def height(count: int) -> int:
        return int.from_bytes(figures.draw([samples.exits()] * count, "png")[20:24], "big")

    assert height(2) == 2 * height(1)


def test_few_reasons_have_a_curve_each_and_the_rest_of_many_have_one_together() -> None:
    def named(reasons: int) -> list[tuple[str, int]]:
        buckets = [Bucket(f"r{n}", 1000, 1010, n + 1, 1000 * (n + 1)) for n in range(reasons)]
        return [(curve.name, curve.exits.total()) for curve in figures._curves(buckets, figures._reasons(buckets))]

    assert named(7) == [("r6", 7), ("r5", 6), ("r4", 5), ("r3", 4), ("r2", 3), ("r1", 2), ("r0", 1)]
    assert named(9) == [("r8", 9), ("r7", 8), ("r6", 7), ("r5", 6), ("r4", 5), ("r3", 4), ("other reasons", 6)]


def test_the_title_says_how_many_exits_are_drawn_and_where_idle_ones_are() -> None:
    assert figures._title(samples.exits()) == (
        "before (run 6e163c13fcf26b85): latency of 104 exits, 3 idle ones left out"
    )
    assert figures._title(samples.exits(with_idle=True)).endswith("latency of 106 exits, idle ones too")
    assert figures._title(samples.exits(rows=samples.ROWS[:1])).endswith("latency of 90 exits")


def test_an_unknown_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"exits\.pdf: expected a file name that ends in \.png or \.svg"):
        figures.save([samples.exits()], tmp_path / "exits.pdf")


def test_a_figure_that_is_there_already_is_overwritten_only_by_force(tmp_path: Path) -> None:
    path = tmp_path / "exits.png"
    path.write_bytes(b"mine")
    with pytest.raises(StoreError, match=r"exits\.png: File exists"):
        figures.save([samples.exits()], path)
    assert path.read_bytes() == b"mine"
    figures.save([samples.exits()], path, force=True)
    assert path.read_bytes() != b"mine"


@pytest.mark.parametrize(
    ("summary", "hint"),
    [
        (samples.counters(), None),
        (samples.no_exits(), None),
        (samples.exits(rows=[row for row in samples.ROWS if row.idle]), "--with-idle draws idle ones"),
    ],
)
def test_a_run_without_latencies_cannot_be_drawn(summary: Summary, hint: str | None) -> None:
    with pytest.raises(UsageError, match="has no exits with a latency to draw") as error:
        figures.draw([samples.exits(), summary], "png")
    assert error.value.hint == hint
