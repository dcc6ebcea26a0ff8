"""Ticks of clocks, against whole numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmtrace.errors import UsageError
from kvmtrace.formats.source import ReadOptions
from kvmtrace.formats.ticks import MAX_HZ, ticks_to_ns

LATEST_NS = 1 << 62


@given(st.integers(0, (1 << 64) - 1), st.integers(1, MAX_HZ))
def test_ns_are_those_of_whole_numbers(ticks: int, hz: int) -> None:
    exact = ticks * 1_000_000_000 // hz
    (ns,) = ticks_to_ns(np.array([ticks], np.uint64), hz, LATEST_NS).tolist()
    assert ns == exact if exact <= LATEST_NS else ns > LATEST_NS


@pytest.mark.parametrize("hz", [0, -1, MAX_HZ + 1, 10**30])
def test_a_rate_that_no_clock_has_is_refused(hz: int) -> None:
    with pytest.raises(UsageError, match="expected a clock of 1 to 10,000,000,000 ticks in a second"):
        ReadOptions(clock_hz=hz)


def test_rates_up_to_the_limit_are_taken() -> None:
    assert [ReadOptions(clock_hz=hz).clock_hz for hz in (1, MAX_HZ, None)] == [1, MAX_HZ, None]
