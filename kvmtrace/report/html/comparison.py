"""A comparison as a page: what changed, how sure that is, what made it, the latencies, and every figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmtrace.report import comparison as words
from kvmtrace.report.comparison_tables import tables
from kvmtrace.report.html import comparison_bridge, comparison_curves, comparison_intervals
from kvmtrace.report.html.from_blocks import from_blocks
from kvmtrace.report.html.parts import Page, Section

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmtrace.comparing.comparison import Comparison


def page(comparison: Comparison) -> Page:
    """Return the page of a comparison: the words and figures of its text, and charts of them."""
    sections = tuple(section for section in _sections(comparison) if section.parts)
    return Page(words.title(comparison), sections)


def _sections(comparison: Comparison) -> Iterator[Section]:
    yield Section("changed", "What changed", tuple(from_blocks(words.what_changed(comparison))))
    yield Section("intervals", "How sure that is", tuple(comparison_intervals.parts(comparison)))
    steps = (*comparison_bridge.charts(comparison), *from_blocks(words.what_made_it(comparison)))
    yield Section("steps", "What made the change", steps)
    yield Section("latencies", "Latencies", tuple(comparison_curves.parts(comparison)))
    yield Section("figures", "All figures", tuple(from_blocks(tables(comparison, sortable=True))))
    yield Section("methods", "Methods, and what is left out", tuple(from_blocks(words.notes(comparison))))
