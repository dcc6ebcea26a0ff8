"""What a figure of one side is: how many runs its interval takes."""

import pytest

from kvmtrace.stats.one_side import of_runs


@pytest.mark.parametrize(("level", "needed"), [(0.9, 6), (0.95, 6), (0.99, 8), (0.999, 11)])
def test_a_level_is_told_the_runs_that_it_needs_and_has_an_interval_with_them(level: float, needed: int) -> None:
    few = of_runs(range(needed - 1), level)
    assert few.difference_interval is None
    assert few.missing == f"not enough runs: need {needed}, found {needed - 1}"
    enough = of_runs(range(needed), level)
    assert enough.missing is None
    assert enough.difference_interval == (0, needed - 1)
