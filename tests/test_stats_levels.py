from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from statistics_levels import (
    FEW,
    FEW_SHAPES,
    HELD,
    RUNS,
    autoregressive,
    between_power,
    between_rate,
    few_power,
    few_rate,
    poisson,
    ticks,
    within_rates,
)

from kvmtrace.stats.verdicts import holm

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST = 0.09
"""Of 200 equal pairs, called different at the 5% level: a true 5% lies above it once in 200 times."""

MOST_OF_FEW_RUNS = 0.08
"""Of 2,000 pairs of few runs, of distributions that they are not taken for: docs/statistics.md has up to 7%."""

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


@pytest.mark.parametrize("name", ["log-normal, 3%", "Poisson, 5", "one of two values"])
@pytest.mark.parametrize("shape", [(3, 3), (3, 9)])
def test_three_runs_a_side_are_seldom_called_different(name: str, shape: tuple[int, int]) -> None:
    assert few_rate(FEW[name], shape, trials=300) <= MOST


def test_a_fifth_less_is_found_with_three_runs_a_side() -> None:
    assert few_power((3, 3), trials=100, less=0.8) >= 0.95


def test_equal_runs_of_three_a_side_differ_by_chance_once_in_32_times_at_most() -> None:
    shares = np.linspace(0, 1, 101)
    assert max(2 * (shares * (1 - shares)) ** 3) == pytest.approx(1 / 32)
    # Of more values than two it is less: what two of them share is no longer all.
    assert few_rate((_three_values, _three_values), (3, 3), trials=300) < 1 / 32


def _three_values(random: np.random.Generator, runs: int) -> NDArray[np.float64]:
    return random.integers(1, 4, runs).astype(np.float64)


@pytest.mark.statistics
@pytest.mark.parametrize("shape", FEW_SHAPES)
@pytest.mark.parametrize("name", FEW)
def test_the_level_holds_between_few_runs(name: str, shape: tuple[int, int]) -> None:
    assert few_rate(FEW[name], shape, trials=2000, seed=3) <= MOST_OF_FEW_RUNS


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
