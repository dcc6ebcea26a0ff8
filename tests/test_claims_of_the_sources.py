"""docs/claims.md: what the sources claim, held to their own figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from generated_claims import PAGE, SOURCES, Source, answers, page

from kvmtrace.comparing.claims import Outcome

if TYPE_CHECKING:
    from pathlib import Path

EXPECTED = (
    # 5754 of 9587 cycles are 0.600 of them: 67% faster, not 167%; 11.3 times the 509 of real mode.
    ((0.6002, True), (1.6661, False), (1.6661, True), (11.3045, True), (0.9735, True)),
    # 3529 to 1878 cycles: 88% faster, not almost 100%; 1878 is 1.7% more than 1846.
    ((1.8791, False), (1.8791, True), (1.0173, True)),
    # 49,849 to 29,595 exits, 21,115 to 24,884 interrupts, 5,001 to 1,347 port accesses.
    ((0.5937, False), (0.5038, True), (0.5344, True), (1.1786, False)),
)


def test_the_page_is_what_the_figures_say() -> None:
    assert PAGE.read_text() == page(), "`make docs` writes it again"


CASES = list(zip(SOURCES, EXPECTED, strict=True))


@pytest.mark.parametrize(("source", "expected"), CASES, ids=[source.file for source in SOURCES])
def test_each_claim_is_held_to_its_sources_own_figures(
    source: Source, expected: tuple[tuple[float, bool], ...], tmp_path: Path
) -> None:
    found = answers(source, tmp_path / "store")
    for each, (value, holds) in zip(found, expected, strict=True):
        assert each.value == pytest.approx(value, abs=1e-4), each.claim.text
        assert each.outcome is (Outcome.SUPPORTED if holds else Outcome.CONTRADICTED), each.claim.text
        assert each.why is not None
