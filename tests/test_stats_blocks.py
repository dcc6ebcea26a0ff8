from __future__ import annotations

import numpy as np
import pytest
from statistics_levels import autoregressive, phases, poisson, ticks

from kvmtrace.stats.blocks import FEWEST, MOST, block_length, blocks_for, draws

BINS = 256


@pytest.mark.parametrize(
    ("events", "blocks"), [(0, FEWEST), (35, FEWEST), (36, 9), (1023, 255), (1024, MOST), (10**9, MOST)]
)
def test_a_recording_is_cut_into_as_many_blocks_as_have_four_events_each(events: int, blocks: int) -> None:
    assert blocks_for(events) == blocks


@pytest.mark.parametrize("series", [[], [3.0], [7.0] * BINS, [0.0] * BINS, [1e18] * BINS, [1.0, 2.0] * 4])
def test_a_constant_or_very_short_series_has_blocks_of_one(series: list[float]) -> None:
    assert block_length(series) == 1


@pytest.mark.parametrize("bins", [16, 17, 40, 100, BINS, 1000])
def test_a_block_leaves_at_least_eight_of_them(bins: int) -> None:
    trend = np.arange(bins, dtype=np.float64)
    assert block_length(trend) == bins // FEWEST


def test_independent_bins_have_the_shortest_blocks() -> None:
    lengths = [block_length(poisson(20)(np.random.default_rng(seed), BINS)) for seed in range(20)]
    assert np.median(lengths) == 7  # the cube root of 256, rounded up
    assert block_length([2.0, 3.0] * 128) == 7


def test_the_more_alike_neighbours_are_the_longer_the_blocks() -> None:
    series = (autoregressive(0.5), autoregressive(0.9), autoregressive(0.98))
    means = [np.mean([block_length(one(np.random.default_rng(seed), 4096)) for seed in range(10)]) for one in series]
    assert means[0] < 0.5 * means[1]
    assert means[1] < 0.6 * means[2]


def test_the_length_knows_neither_unit_nor_offset() -> None:
    series = phases(8, 8)(np.random.default_rng(3), BINS)
    assert block_length(series) == block_length(series * 1e9) == block_length(series + 1000) > 7


@pytest.mark.parametrize(("bins", "length"), [(256, 1), (256, 7), (256, 256), (10, 3), (1, 1)])
def test_each_replica_draws_as_many_bins_as_there_are(bins: int, length: int) -> None:
    weights = draws(bins, length, replicas=50)
    assert weights.shape == (50, bins)
    assert (weights.sum(axis=1) == bins).all()
    assert weights.min() >= 0


def test_every_bin_is_drawn_equally_often() -> None:
    weights = draws(64, 5, replicas=4000)
    # 64 draws of one in 64: a standard deviation of about sqrt(5 / 4000) at most.
    assert np.abs(weights.mean(axis=0) - 1).max() < 5 * np.sqrt(5 / 4000)


def test_bins_are_drawn_in_blocks() -> None:
    weights = draws(100, 10, replicas=1)[0]
    # Ten blocks begin and end at most ten times each.
    assert np.count_nonzero(np.diff(weights)) <= 20
    whole = draws(100, 100, replicas=3)
    assert (whole == 1).all()


def test_a_seed_gives_the_same_draws() -> None:
    assert (draws(64, 5, replicas=20, seed=4) == draws(64, 5, replicas=20, seed=4)).all()
    assert (draws(64, 5, replicas=20, seed=4) != draws(64, 5, replicas=20, seed=5)).any()


@pytest.mark.parametrize("length", [0, -1, 11])
def test_a_block_must_fit_its_series(length: int) -> None:
    with pytest.raises(ValueError, match="series of 10"):
        draws(10, length)


def test_replicas_of_a_sum_spread_as_sums_of_runs_do() -> None:
    series = phases(4, 4)
    runs = [series(np.random.default_rng(seed), 1024) for seed in range(200)]
    true = np.std([run.sum() for run in runs])
    told = [np.std(draws(1024, block_length(run), replicas=200, seed=1) @ run) for run in runs[:20]]
    alone = [np.std(draws(1024, 1, replicas=200, seed=1) @ run) for run in runs[:20]]
    assert np.mean(told) == pytest.approx(true, rel=0.15)
    assert np.mean(alone) < 0.6 * true


def test_ticks_are_not_taken_for_steadier_than_they_are() -> None:
    series = ticks(0.4, 0.1)
    runs = [series(np.random.default_rng(seed), BINS) for seed in range(100)]
    told = np.mean([np.std(draws(BINS, block_length(run), replicas=200) @ run) for run in runs[:20]])
    assert told >= np.std([run.sum() for run in runs])
