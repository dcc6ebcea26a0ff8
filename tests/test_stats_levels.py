from __future__ import annotations

import pytest
from statistics_levels import HELD, RUNS, autoregressive, between_power, between_rate, poisson, ticks, within_rates

from kvmtrace.stats.verdicts import holm

MOST = 0.09
"""Of 200 equal pairs, called different at the 5% level: a true 5% lies above it once in 200 times."""

MOST_OF_FEW = 0.15
"""Likewise of 60: a true 5% lies above it once in 1000 times; bins drawn one by one give 0.18 to 0.5."""


@pytest.mark.parametrize("name", ["Poisson, 20 a bin", "AR(1) 0.6", "phases of 8 and 8 bins"])
def test_few_equal_pairs_are_called_different(name: str) -> None:
    rates = within_rates(HELD[name], trials=60)
    assert rates.different <= MOST_OF_FEW
    assert rates.undecided == 0


def test_a_tenth_less_is_found_in_a_quiet_series() -> None:
    assert within_rates(poisson(20), trials=20, factor=0.9).different >= 0.9


def test_a_tenth_less_is_found_between_ten_runs_among_ten_measures() -> None:
    found, wrong = between_power(trials=20)
    assert found >= 0.9
    assert wrong <= 0.2


def test_few_equal_runs_are_called_different() -> None:
    assert between_rate(trials=60) <= MOST_OF_FEW


@pytest.mark.statistics
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", HELD)
def test_the_level_holds_within_runs(name: str, seed: int) -> None:
    rates = within_rates(HELD[name], seed=seed)
    assert rates.different <= MOST
    assert rates.undecided == 0


@pytest.mark.statistics
@pytest.mark.parametrize("bins", [32, 64, 1000])
@pytest.mark.parametrize("series", [poisson(20), autoregressive(0.3)], ids=["poisson", "autoregressive"])
def test_the_level_holds_for_other_numbers_of_bins(series: object, bins: int) -> None:
    assert callable(series)
    assert within_rates(series, bins=bins).different <= MOST


@pytest.mark.statistics
@pytest.mark.parametrize("series", [poisson(20), autoregressive(0.3), ticks(0.4, 0.1)], ids=["poisson", "ar", "ticks"])
def test_a_tenth_less_is_found_in_quiet_series(series: object) -> None:
    assert callable(series)
    assert within_rates(series, factor=0.9, seed=3).different >= 0.85


@pytest.mark.statistics
@pytest.mark.parametrize("runs", [6, RUNS, 20])
def test_the_level_holds_between_runs(runs: int) -> None:
    assert between_rate(runs=runs) <= MOST


@pytest.mark.statistics
def test_the_power_between_runs() -> None:
    found, wrong = between_power(trials=100)
    assert found >= 0.9
    assert wrong <= MOST


def test_holm_is_what_keeps_ten_measures_at_the_level() -> None:
    # One of ten at 0.02 is nothing; alone it would be a find.
    assert holm([0.02] + [0.5] * 9)[0] == pytest.approx(0.2)
