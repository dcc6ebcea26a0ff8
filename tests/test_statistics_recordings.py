"""Equal recordings are rarely called different, and a change that is there is found: statistics_recordings.py."""

from __future__ import annotations

import pytest
from statistics_recordings import TRIALS, power, seeds, stretches

MOST = 0.09
MOST_OF_FEW = 4
"""Of 20 equal pairs: a true 5% lies above it once in 400 times."""


def test_few_stretches_of_one_recording_are_called_different() -> None:
    calls = stretches(20, seconds=60.0, every_figure=False)
    assert calls.primary <= MOST_OF_FEW
    assert calls.undecided == 0


def test_a_tenth_less_of_one_reason_is_found_between_ten_runs_a_side() -> None:
    calls = power(5)
    assert calls.found >= 4


@pytest.mark.statistics
@pytest.mark.parametrize("per", ["second", "kvm_inj_virq"])
def test_the_level_holds_for_stretches_of_one_recording(per: str) -> None:
    calls = stretches(TRIALS, per=per, every_figure=per == "second")
    assert calls.primary <= MOST * calls.pairs
    assert calls.undecided == 0


@pytest.mark.statistics
@pytest.mark.parametrize("per", ["second", "kvm_inj_virq"])
def test_the_level_holds_for_seeds_of_one_model(per: str) -> None:
    calls = seeds(TRIALS, per=per, every_figure=per == "second")
    assert calls.primary <= MOST * calls.pairs
    assert calls.undecided == 0


@pytest.mark.statistics
def test_the_power_between_runs_of_one_reason() -> None:
    calls = power(TRIALS // 2)
    assert calls.found >= 0.9 * calls.trials
