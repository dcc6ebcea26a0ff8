"""What a term is on two sides, and how sure its change is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from compare_samples import keyed, poisson, run, side

from kvmtrace.comparing import terms
from kvmtrace.comparing.sides import Side, alone, estimate
from kvmtrace.comparing.terms import Events, Exits, Figure, Percentile, Seconds, over
from kvmtrace.stats.estimates import Mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmtrace.stats.estimate import Estimate

RATE = over(Exits(), Seconds())
PER_INTERRUPT = over(Exits(), Events("kvm_inj_virq"))
BLOCKS = 256


def between(term: terms.Term, sides: Sequence[Side]) -> Estimate:
    base, new = sides
    return estimate(term, base, new)


def test_the_blocks_of_one_run_a_side_give_an_interval_that_says_so() -> None:
    base = side("base", run(keyed("npf", poisson(40, BLOCKS, 1)), blocks=BLOCKS))
    new = side("new", run(keyed("npf", poisson(20, BLOCKS, 2)), blocks=BLOCKS))
    found = estimate(RATE, base, new)
    assert found.ratio_interval is not None
    assert found.ratio_interval.low < 0.5 < found.ratio_interval.high
    assert 0.45 < found.ratio_interval.low < found.ratio_interval.high < 0.55
    assert "within one run a side" in found.method
    assert found.unit_of_n == "blocks"


def test_what_both_counts_share_is_no_doubt_of_their_ratio() -> None:
    """A load that comes and goes moves exits and interrupts alike: per interrupt, nothing moves."""
    load = np.repeat(np.random.default_rng(3).integers(10, 100, BLOCKS // 8), 8)
    runs = [run(keyed("npf", load * each), blocks=BLOCKS, events={"kvm_inj_virq": load}) for each in (2, 1)]
    base, new = side("base", runs[0]), side("new", runs[1])
    per_second, per_interrupt = (estimate(term, base, new).ratio_interval for term in (RATE, PER_INTERRUPT))
    assert per_second is not None
    assert per_interrupt is not None
    assert per_second.high - per_second.low > 0.1
    assert per_interrupt == pytest.approx((0.5, 0.5))


@pytest.mark.parametrize(("base_runs", "new_runs"), [(2, 1), (2, 2), (6, 2)])
def test_a_few_runs_are_not_enough_and_their_blocks_do_not_make_up_for_it(base_runs: int, new_runs: int) -> None:
    made = run(keyed("npf", poisson(40, BLOCKS, 1)), blocks=BLOCKS)
    found = estimate(RATE, side("base", *[made] * base_runs), side("new", *[made] * new_runs))
    assert found.missing == f"not enough runs: need 3 a side, found {base_runs} and {new_runs}"
    assert found.ratio_interval is None
    assert found.p is None


def test_six_runs_a_side_are_samples_however_long_each_is() -> None:
    sides = [
        side(
            name,
            *(
                run(keyed("npf", [n * scale]), seconds=scale)
                for n, scale in zip(counts, (1, 2, 3, 1, 2, 3), strict=True)
            ),
        )
        for name, counts in (("base", (100, 101, 102, 103, 104, 105)), ("new", (50, 51, 52, 53, 54, 55)))
    ]
    found = between(RATE, sides)
    assert (found.base, found.new, found.base_n, found.unit_of_n) == (102.5, 52.5, 6, "runs")
    assert found.ratio_interval is not None
    assert found.ratio_interval.high < 0.55
    assert found.p is not None
    assert found.p < 0.01


def test_two_single_counts_carry_no_interval() -> None:
    sides = [side(name, run(events={"kvm_exit": [n]})) for name, n in (("base", 4), ("new", 2))]
    assert (
        between(RATE, sides).missing
        == "exits was not recorded on the base side; exits was not recorded on the new side"
    )
    found = between(over(Events("kvm_exit"), Seconds()), sides)
    assert (found.ratio, found.ratio_interval, found.missing) == (0.5, None, "two single figures carry no interval")


def test_a_mean_is_compared_by_the_error_and_n_beside_it() -> None:
    sides = [side(name, run(figures={"hlt": Mean(value, 1.0, 50)})) for name, value in (("base", 100.0), ("new", 90.0))]
    found = between(Figure("hlt"), sides)
    assert found.ratio_interval is not None
    assert found.ratio_interval.low < 0.9 < found.ratio_interval.high < 1
    assert found.unit_of_n == "samples as the source counted them"


def test_repeats_of_counters_carry_their_error_to_the_rate() -> None:
    sides = [
        side(name, run(events={"kvm_exit": [n]}, figures={"kvm_exit": Mean(n, n / 100, 5)}, seconds=2.0))
        for name, n in (("base", 1000.0), ("new", 500.0))
    ]
    found = between(over(Events("kvm_exit"), Seconds()), sides)
    assert (found.base, found.new) == (500, 250)
    assert found.ratio_interval is not None


def test_what_one_side_did_not_record_is_not_recorded_and_never_0() -> None:
    base = side("base", run(keyed("npf", [5]), events={"kvm_inj_virq": [5]}))
    new = side("new", run(keyed("npf", [5])))
    found = estimate(PER_INTERRUPT, base, new)
    assert (found.base, found.new, found.ratio) == (1.0, None, None)
    assert found.missing == "kvm_inj_virq was not recorded on the new side"


def test_a_percentile_needs_exits_on_either_side_of_it() -> None:
    sides = [side(name, run(keyed("npf", [n] * 10), blocks=10)) for name, n in (("base", 40), ("new", 60))]
    found = between(Percentile(0.99), sides)
    assert found.missing == "too few exits for p99: need 500, found 400 and 600"
    assert found.base == 1000.0


def test_a_percentile_has_the_rank_that_it_says() -> None:
    latencies = [keyed("npf", [1], ns) for ns in range(1000, 101_000, 1000)]
    made = run(*latencies)
    for share, expected in ((0.5, 50_000), (0.9, 90_000), (0.99, 99_000)):
        assert Percentile(share).value(made, made.whole)[0] == pytest.approx(expected, rel=0.01)


def test_a_division_by_nothing_is_no_figure() -> None:
    base = side("base", run(keyed("npf", [5]), events={"kvm_inj_virq": [0]}))
    found = estimate(PER_INTERRUPT, base, base)
    assert (found.base, found.new, found.ratio) == (None, None, None)


def test_one_side_alone_has_an_interval_of_its_own() -> None:
    found = alone(RATE, side("new", run(keyed("npf", poisson(40, BLOCKS, 1)), blocks=BLOCKS)))
    assert found.difference_interval is not None
    assert found.difference_interval.low < 40 * BLOCKS < found.difference_interval.high
    many = alone(RATE, side("new", *(run(keyed("npf", [n])) for n in range(100, 110))))
    assert many.difference_interval == (101, 108)
    few = alone(RATE, side("new", *(run(keyed("npf", [n])) for n in range(3))))
    assert few.missing == "not enough runs: need 6, found 3"


def test_the_time_in_the_guest_and_the_vcpus_are_denominators() -> None:
    made = run(keyed("npf", [10, 30], guest_ns=2.0), blocks=2, vcpus=4, work=8.0, seconds=5.0)
    value: dict[str, terms.Term] = {
        "guest": terms.Exits("guest_ns"), "vcpus": terms.Vcpus(), "work": terms.Work(), "seconds": terms.Seconds(),
    }  # fmt: skip
    whole = {name: term.value(made, made.whole)[0] for name, term in value.items()}
    assert whole == {"guest": 80.0, "vcpus": 4.0, "work": 8.0, "seconds": 5.0}


def test_time_that_no_exit_tells_is_not_recorded_and_never_0() -> None:
    sides = [side(name, run(keyed("npf", [5], ns), keyed("io", [5]))) for name, ns in (("base", 100.0), ("new", None))]
    found = between(Exits("sum_ns", (("reason", "npf"),)), sides)
    assert (found.base, found.new) == (500, None)
    assert found.missing == "the latency of exits was not recorded on the new side"
    assert between(Exits("sum_ns"), sides).new == 5000


def test_a_part_that_only_some_exits_tell_is_added_up_of_these() -> None:
    made = run(keyed("npf", [5], guest_ns=2.0), keyed("cpuid", [1]))
    assert terms.Exits("guest_ns").value(made, made.whole)[0] == 10


def test_a_detail_that_was_not_kept_apart_is_not_recorded_and_never_0() -> None:
    detail: dict[str, Any] = {"detail_kind": "gpa", "detail": 1, "detail_name": "X"}
    sides = [
        side("base", run(keyed("npf", [5], **detail), keyed("npf", [5], detail_capped=True))),
        side("new", run(keyed("npf", [5], detail_capped=True))),
    ]
    found = between(Exits("n", (("reason", "npf"), ("detail_name", "X"))), sides)
    assert (found.base, found.new) == (5, None)


def test_runs_that_have_no_value_are_said_and_not_left_out() -> None:
    runs = [run(keyed("npf", [5]), events={"kvm_inj_virq": [n]}) for n in (5, 0, 5, 5, 5, 5, 5)]
    found = between(PER_INTERRUPT, [side("base", *runs), side("new", *runs)])
    assert found.missing == "2 of 14 runs have no value: a division by 0"
    assert (found.base_n, found.new_n, found.p) == (7, 7, None)


def test_a_rare_event_of_a_long_run_is_not_new_against_a_short_one() -> None:
    """About one exit in 10 s: none in the short run is no wonder."""
    short = run(keyed("io", [100.0] * BLOCKS), blocks=BLOCKS, seconds=10.0)
    counts = np.zeros(BLOCKS)
    counts[::25] = 1
    long = run(keyed("io", [100.0] * BLOCKS), keyed("npf", counts), blocks=BLOCKS, seconds=100.0)
    found = between(over(Exits("n", (("reason", "npf"),)), Seconds()), [side("base", short), side("new", long)])
    assert found.p is not None
    assert found.p > 0.1


def test_a_percentile_keeps_the_memory_of_its_latencies() -> None:
    """Latencies that are long or short for 16 blocks at a time: few blocks are independent."""
    slow = np.repeat(np.random.default_rng(5).integers(0, 2, BLOCKS // 16), 16)
    often = (np.where(slow, slowly, fast) for slowly, fast in ((2, 24), (4, 20), (10, 10), (20, 4), (24, 2)))
    made = run(*(keyed("npf", n, 1000.0 + 500 * place) for place, n in enumerate(often)), blocks=BLOCKS)
    assert side("base", made).replicated(Percentile(0.5)).blocks <= 16


def test_one_side_with_runs_that_have_no_value_says_so() -> None:
    runs = [run(keyed("npf", [5 + n]), events={"kvm_inj_virq": [n]}) for n in range(8)]
    found = alone(PER_INTERRUPT, side("new", *runs))
    assert (found.difference_interval, found.new_n) == (None, 8)
    assert found.missing == "1 of 8 runs have no value: a division by 0"
