"""The steps of a change: they add up to the whole, whatever the exits are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from compare_samples import keyed, run, side
from hypothesis import given, settings
from hypothesis import strategies as st

from kvmtrace.comparing.run_data import NotRecordedError
from kvmtrace.comparing.terms import Events, Seconds
from kvmtrace.comparing.waterfall import Change, Waterfall, waterfall

if TYPE_CHECKING:
    from kvmtrace.comparing.sides import Side

MSR: dict[str, Any] = {"detail_kind": "msr", "detail": 0x6E0, "detail_name": "IA32_TSC_DEADLINE"}
PAGE: dict[str, Any] = {"detail_kind": "gpa", "detail": 0xFEB0_0000}


def steps(falling: Waterfall) -> set[tuple[str | None, Change, float, float, str | None]]:
    return {
        (s.cause.reason if s.cause else None, s.change, round(s.exits, 9), round(s.time_ns, 6), s.moved_to)
        for s in falling.steps
    }


def test_fewer_and_cheaper_exits_are_told_apart() -> None:
    base = side("base", run(keyed("MSR_WRITE", [100], 2000, **MSR)))
    new = side("new", run(keyed("MSR_WRITE", [60], 1500, **MSR)))
    assert steps(waterfall(base, new, Seconds(), with_idle=False)) == {
        ("MSR_WRITE", Change.FEWER, -40, -40 * 2000, None),
        ("MSR_WRITE", Change.CHEAPER, 0, -60 * 500, None),
    }


def test_a_detail_that_another_reason_takes_over_has_moved() -> None:
    base = side("base", run(keyed("EPT_VIOLATION", [100], 3000, **PAGE)))
    new = side("new", run(keyed("EPT_MISCONFIG", [80], 1000, **PAGE)))
    assert steps(waterfall(base, new, Seconds(), with_idle=False)) == {
        ("EPT_VIOLATION", Change.MOVED, 0, -80 * 2000, "EPT_MISCONFIG"),
        ("EPT_VIOLATION", Change.GONE, -20, -20 * 3000, None),
    }


def test_what_only_one_side_has_is_new_or_gone_and_details_that_are_not_kept_apart_are_not_attributed() -> None:
    base = side("base", run(keyed("CPUID", [5], 100), keyed("npf", [7], 10, detail_capped=True)))
    new = side("new", run(keyed("VMCALL", [3], 50), keyed("npf", [4], 10, detail_capped=True)))
    assert steps(waterfall(base, new, Seconds(), with_idle=False)) == {
        ("CPUID", Change.GONE, -5, -500, None),
        ("VMCALL", Change.NEW, 3, 150, None),
        (None, Change.UNKNOWN, -3, -30, None),
    }


def test_a_detail_that_one_side_does_not_record_is_not_gone() -> None:
    base = side("base", run(keyed("MSR_WRITE", [100], 2000, **MSR)))
    new = side("new", run(keyed("MSR_WRITE", [90], 2000), keyed("MSR_WRITE", [10], 2000, **MSR)))
    assert steps(waterfall(base, new, Seconds(), with_idle=False)) == set()


@pytest.mark.parametrize("nameless", [0, 1])
def test_a_detail_that_is_recorded_of_few_exits_of_one_side_is_not_gone(nameless: int) -> None:
    base = side("base", run(keyed("MSR_WRITE", [1000], 2000, **MSR), keyed("MSR_WRITE", [nameless], 2000)))
    new = side("new", run(keyed("MSR_WRITE", [100], 2000, **MSR), keyed("MSR_WRITE", [901 - 1 + nameless], 2000)))
    assert steps(waterfall(base, new, Seconds(), with_idle=False)) == set()


def test_a_detail_that_one_side_does_not_keep_apart_is_not_gone() -> None:
    other: dict[str, Any] = {"detail_kind": "msr", "detail": 0x10}
    base = side("base", run(keyed("MSR_WRITE", [100], 2000, **MSR), keyed("MSR_WRITE", [50], 2000, **other)))
    new = side("new", run(keyed("MSR_WRITE", [50], 2000, **other), keyed("MSR_WRITE", [100], 2000, detail_capped=True)))
    assert steps(waterfall(base, new, Seconds(), with_idle=False)) == set()


def test_without_any_latency_there_is_no_waterfall() -> None:
    base, new = side("base", run(keyed("npf", [5], None))), side("new", run(keyed("npf", [5])))
    with pytest.raises(NotRecordedError, match="the latency of exits"):
        waterfall(base, new, Seconds(), with_idle=False)


def test_idle_exits_are_counted_and_their_time_only_where_it_is_asked_for() -> None:
    base, new = (side(name, run(keyed("hlt", [n], 10_000, idle=True))) for name, n in (("base", 4), ("new", 2)))
    assert steps(waterfall(base, new, Seconds(), with_idle=False)) == {("hlt", Change.FEWER, -2, 0, None)}
    assert steps(waterfall(base, new, Seconds(), with_idle=True)) == {("hlt", Change.FEWER, -2, -20_000, None)}


def test_runs_of_a_side_are_averaged_and_divided_by_what_is_asked_for() -> None:
    base = side("base", *(run(keyed("io", [n], 10), events={"kvm_inj_virq": [m]}) for n, m in ((10, 5), (40, 10))))
    new = side("new", run(keyed("io", [9], 10), events={"kvm_inj_virq": [9]}))
    falling = waterfall(base, new, Events("kvm_inj_virq"), with_idle=False)
    assert (falling.base_exits, falling.new_exits) == (3.0, 1.0)


def test_a_side_without_exits_has_no_waterfall() -> None:
    with pytest.raises(NotRecordedError):
        waterfall(side("base", run()), side("new", run(keyed("io", [1]))), Seconds(), with_idle=False)


KEYS = st.sampled_from([
    ("npf", PAGE), ("EPT_MISCONFIG", PAGE), ("msr", MSR), ("io", {}), ("io", {"detail_capped": True}), (None, {}),
])  # fmt: skip
EXITS = st.lists(
    st.tuples(KEYS, st.integers(1, 10**6), st.one_of(st.none(), st.integers(0, 10**9)), st.booleans()),
    min_size=1,
    max_size=8,
)
Made = list[tuple[tuple[str | None, dict[str, Any]], int, int | None, bool]]


def made(name: str, exits: Made) -> Side:
    return side(name, run(*(keyed(reason, [n], ns, idle=idle, **key) for (reason, key), n, ns, idle in exits)))


@given(EXITS, EXITS, st.booleans())
@settings(max_examples=300, deadline=None)
def test_the_steps_add_up_to_the_whole(before: Made, after: Made, with_idle: bool) -> None:
    before.append((("npf", {}), 1, 5, False))  # a side without any latency has no waterfall
    after.append((("npf", {}), 1, 5, False))
    falling = waterfall(made("base", before), made("new", after), Seconds(), with_idle=with_idle)
    size = max(falling.base_time_ns, falling.new_time_ns, 1)
    assert sum(s.exits for s in falling.steps) == pytest.approx(falling.new_exits - falling.base_exits, abs=1e-6)
    whole_ns = falling.new_time_ns - falling.base_time_ns
    assert sum(s.time_ns for s in falling.steps) == pytest.approx(whole_ns, abs=1e-9 * size)
