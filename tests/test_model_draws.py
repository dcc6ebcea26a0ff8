"""What models draw: the same everywhere, with the figures that were asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvmtrace.synth.arrivals import ArrivalTimes, exponential
from kvmtrace.synth.costs import CostError, bounded, constant
from kvmtrace.synth.draws import Draws
from kvmtrace.synth.model import Arrivals

US = 1e6  # picoseconds
# Mean, min, max in µs, standard error of the mean in %, n: rows of a perf kvm stat table (KVM Forum 2020).
TABLE = {
    "EXTERNAL_INTERRUPT": (6.17, 2.09, 71.87, 0.07, 486083),
    "MSR_WRITE": (2.86, 1.90, 60.18, 0.03, 379929),
    "EXCEPTION_NMI": (3.03, 2.81, 58.02, 0.08, 45766),
    "CPUID": (1.65, 1.42, 10.70, 0.33, 3436),
    "EPT_MISCONFIG": (12.08, 2.12, 494.71, 2.22, 2084),
    "IO_INSTRUCTION": (11.15, 3.84, 50.04, 2.48, 1110),
    "MSR_READ": (1.84, 1.52, 3.14, 1.49, 222),
    "EOI_INDUCED": (3.35, 2.87, 3.86, 1.36, 30),
    "EPT_VIOLATION": (465.16, 455.78, 474.64, 0.32, 12),
}


def test_draws_are_what_they_were_on_any_machine() -> None:
    assert Draws(1, "a", "b", 3).raw(3).tolist() == [12746566100042501550, 28863050838873250, 18098598977285902729]
    assert Draws(1, "c").chosen(8, [1, 2, 1]).tolist() == [1, 0, 2, 0, 1, 2, 2, 2]
    assert Draws(1, "b").below(6, 10).tolist() == [4, 1, 5, 7, 7, 9]
    costs = bounded(2_860_000.0, 1_900_000.0, 60_180_000.0, 528_861.9)
    assert costs.drawn(Draws(1, "x"), 6).tolist() == [2605755, 3494051, 2486718, 2832129, 2676399, 2511271]
    assert int(costs.drawn(Draws(1, "x"), 200_000).sum()) == 571840801115
    gaps = exponential(Draws(1, "gaps"), 400_000, 10**9)
    assert gaps[:4].tolist() == [373341369, 1920058733, 926469328, 2270017485]
    assert int(gaps.sum()) == 399810566994547


def test_streams_do_not_depend_on_how_they_are_read_and_differ_by_name_and_seed() -> None:
    whole = Draws(7, "x").raw(100)
    parts = Draws(7, "x")
    assert np.array_equal(whole, np.concatenate([parts.raw(n) for n in (1, 2, 3, 94)]))
    others = [Draws(8, "x"), Draws(7, "y"), Draws(7, "x", 0), Draws(7, "x\0")]
    assert all(not np.array_equal(whole, other.raw(100)) for other in others)


@pytest.mark.parametrize("chance", [0.0, 0.25, 1.0])
def test_chances_are_met(chance: float) -> None:
    share = Draws(1, "chance").happens(100_000, chance).mean()
    assert share == pytest.approx(chance, abs=0.005 * (0 < chance < 1))


def test_choices_are_as_frequent_as_their_weights() -> None:
    chosen = Draws(1, "weights").chosen(100_000, [3, 0, 1])
    assert np.bincount(chosen, minlength=3) / 100_000 == pytest.approx([0.75, 0.0, 0.25], abs=0.005)


@pytest.mark.parametrize("reason", TABLE)
def test_costs_have_the_figures_of_a_published_row(reason: str) -> None:
    mean, low, high, percent, n = TABLE[reason]
    deviation = mean * percent / 100 * n**0.5
    costs = bounded(mean * US, low * US, high * US, deviation * US)
    assert costs.mean == pytest.approx(mean * US, rel=1e-6)
    assert costs.deviation == pytest.approx(deviation * US, rel=1e-3)
    drawn = costs.drawn(Draws(1, reason), 400_000)
    assert low * US - 1 <= drawn.min() <= (low + 0.03 * (mean - low)) * US
    assert (high - 0.05 * (high - mean)) * US <= drawn.max() <= high * US + 1
    assert drawn.mean() == pytest.approx(mean * US, abs=5 * deviation * US / 400_000**0.5)
    assert drawn.std() == pytest.approx(deviation * US, rel=0.15)


@settings(deadline=None, max_examples=60)
@given(*(st.floats(0, 1e9) for _ in range(4)))
def test_costs_have_what_was_asked_for_or_are_refused(mean: float, low: float, high: float, deviation: float) -> None:
    try:
        costs = bounded(mean, low, high, deviation)
    except CostError:
        return
    assert costs.mean == pytest.approx(mean, rel=1e-6, abs=1e-3)
    assert costs.deviation == pytest.approx(deviation if low < high else 0, rel=2e-3, abs=1e-3)
    drawn = costs.drawn(Draws(1, "any"), 1000)
    assert drawn.min() >= round(low) - 1
    assert drawn.max() <= round(high) + 1


def test_impossible_costs_are_refused() -> None:
    with pytest.raises(CostError, match="expected min <= mean <= max"):
        bounded(5, 6, 7, 1)
    with pytest.raises(CostError, match="deviate by 900"):
        bounded(500, 0, 1000, 900)
    assert constant(42).drawn(Draws(1, "same"), 3).tolist() == [42, 42, 42]


def test_gaps_of_a_poisson_process_are_exponential() -> None:
    gaps = exponential(Draws(1, "gaps"), 400_000, 10**9)
    assert (gaps.mean(), gaps.std()) == (pytest.approx(1e9, rel=0.005), pytest.approx(1e9, rel=0.01))
    assert (gaps > 3e9).mean() == pytest.approx(np.exp(-3), rel=0.02)
    assert gaps.max() > 10e9  # beyond the table's last cell


@pytest.mark.parametrize(
    "arrivals",
    [
        Arrivals(process="periodic", rate_per_s=1000),
        Arrivals(process="poisson", rate_per_s=20_000),
        Arrivals(process="bursts", rate_per_s=20_000, burst=4, gap_us=3),
    ],
    ids=lambda arrivals: arrivals.process,
)
def test_arrivals_come_in_order_at_their_rate_however_they_are_asked_for(arrivals: Arrivals) -> None:
    second = 10**12
    whole = ArrivalTimes(arrivals, Draws(1, "arrivals")).until(3 * second)
    assert (np.diff(whole) >= 0).all()
    assert len(whole) == pytest.approx(3 * arrivals.rate_per_s, rel=0.03)
    stream = ArrivalTimes(arrivals, Draws(1, "arrivals"))
    assert np.array_equal(whole, np.concatenate([stream.until(end) for end in range(0, 3 * second + 1, second // 8)]))
    one_by_one = iter(ArrivalTimes(arrivals, Draws(1, "arrivals")))
    assert [next(one_by_one) for _ in range(50)] == whole[:50].tolist()
