"""A series of bins in time, drawn anew in blocks: what a recording's own unrest says of its sums.

Bins next to each other are alike (bursts, phases, ticks), so bins drawn one by one would promise too narrow an
interval. Blocks that are long against that likeness keep it. Their length is chosen from the autocorrelation: Politis
and White, "Automatic block-length selection for the dependent bootstrap", Econometric Reviews 23 (2004), with the
correction by Patton, Politis and White, Econometric Reviews 28 (2009), for the circular-block bootstrap: moving blocks
that may run over the end into the beginning, so that every bin is drawn equally often.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

FEWEST = 8
"""Blocks that a series is left with at least: fewer tell nothing of their own spread."""

MOST = 256
"""Blocks of time that a recording is cut into at most."""
_EVENTS_OF_A_BLOCK = 4
"""A block of fewer would be a coin's toss, and many of them would pass for much to know."""

_LONGER = 2
"""Against the length that estimates the variance best (Politis and White): blocks too short make intervals too narrow,
and half of that error goes; fewer blocks make the estimate less certain, which the degrees of freedom allow for."""


def blocks_for(events: int) -> int:
    """Return how many blocks of time a recording with so many events (exits) is cut into: `FEWEST` to `MOST`."""
    return min(max(events // _EVENTS_OF_A_BLOCK, FEWEST), MOST)


def block_length(series: ArrayLike) -> int:
    """Return the length of block, in bins, that suits the mean of `series` (n,), equally long bins in order of time.

    Of a ratio sum(a) / sum(b) give the series that makes its spread: a - b * sum(a) / sum(b). At least 1, at most
    n // 8. A constant series has 1. Others have at least the cube root of n: n bins do not show a weak correlation
    between neighbours that still widens the spread of their sum.

    What is slower than the series is long (a correlation over more than about n / 16 bins) no length can hold: the
    interval is then too narrow.
    """
    values = np.asarray(series, dtype=np.float64)
    bins = len(values)
    if bins < 2 * FEWEST or np.ptp(values) <= 1e-12 * np.abs(values).max():
        return 1
    covariances = _autocovariances(values)
    reach = 2 * _last_correlated_lag(covariances / covariances[0])
    lags = np.arange(1, min(reach, bins - 1) + 1)
    tapered = np.clip(2 * (1 - lags / max(reach, 1)), 0, 1) * covariances[lags]
    long_run = covariances[0] + 2 * tapered.sum()
    slope = 2 * (lags * tapered).sum()
    best = 0.0
    # Otherwise neighbours make up for each other (ticks: 2, 3, 2, 3), and short blocks give too wide an interval.
    if long_run > covariances[0] and slope > 0:
        best = _LONGER * float(1.5 * (slope / long_run) ** 2 * bins) ** (1 / 3)
    return min(math.ceil(max(best, math.cbrt(bins))), bins // FEWEST)


def draws(bins: int, length: int, *, replicas: int = 2000, seed: int = 1) -> NDArray[np.float64]:
    """Return (replicas, bins): how often a circular-block bootstrap draws each bin; each row sums to `bins`.

    `length` bins make a block; the last block of a row is cut so that the sum holds. With a series (bins,), `draws @
    series` are the replicas of its sum. The same arguments give the same draws.
    """
    if not 1 <= length <= bins:
        raise ValueError(f"a block of {length} bins in a series of {bins}")
    random = np.random.default_rng(seed)
    whole, rest = divmod(bins, length)
    # +1 where a block begins and -1 behind its end: the running sum counts the blocks over each bin.
    width = 2 * bins + 1
    row = np.arange(replicas)[:, np.newaxis] * width
    edges = np.zeros(replicas * width)
    for blocks, size in ((whole, length), (min(rest, 1), rest)):
        starts = row + random.integers(bins, size=(replicas, blocks))
        edges += np.bincount(starts.ravel(), minlength=edges.size)
        edges -= np.bincount((starts + size).ravel(), minlength=edges.size)
    over = edges.reshape(replicas, width).cumsum(axis=1)
    wrapped: NDArray[np.float64] = over[:, :bins] + over[:, bins : 2 * bins]
    return wrapped


def _autocovariances(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the covariances (n,) of `values` with themselves 0, 1, … bins later, each divided by n."""
    centred = values - values.mean()
    spectrum = np.fft.rfft(centred, 2 * len(values))
    power: NDArray[np.float64] = np.fft.irfft(np.abs(spectrum) ** 2)[: len(values)] / len(values)
    return power


def _last_correlated_lag(correlations: NDArray[np.float64]) -> int:
    """Return the lag after which no correlation shows for a while (Politis and White, 2004, page 59)."""
    bins = len(correlations)
    quiet = max(5, math.ceil(math.sqrt(math.log10(bins))))
    farthest = min(math.ceil(math.sqrt(bins)) + quiet, bins - 1)
    shown = np.abs(correlations[1 : farthest + 1]) >= 2 * math.sqrt(math.log10(bins) / bins)
    lags = np.flatnonzero(shown) + 1
    before = np.concatenate(([0], lags))
    gaps = np.diff(np.concatenate((before, [farthest + quiet + 1])))
    return int(before[np.argmax(gaps > quiet)])
