"""A model's local effect on a recording whose every figure is chosen: what goes, what stays, what cannot be told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from whatif_runs import LOCAL, add_counters, add_recording, change, predicted, write_model

from kvmtrace.errors import InputError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from kvmtrace.predicting.result import Prediction

EOIS = "reason = 'msr' AND detail = 2059"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return a store of one recording."""
    add_recording(tmp_path / "store")
    return tmp_path / "store"


def told(store: Path, *changes: str, effect: str = LOCAL) -> Prediction:
    return predicted(store, "aa", write_model(store / "mine.toml", effect + "".join(changes)))


def test_what_is_removed_is_counted_and_its_time_saved(store: Path) -> None:
    total = told(store, change(where=EOIS)).total
    assert (total.matching, total.stay, total.gone, total.most_gone) == (3, 0, 3, 3)
    assert (total.saved_ns, total.most_saved_ns, total.outside_ns) == (4_000, 4_000, None)


def test_a_share_that_stays_stays_and_the_upper_bound_does_not_know_it(store: Path) -> None:
    total = told(store, change(where=EOIS, more="stays = 0.25")).total
    assert (total.stay, total.gone, total.saved_ns) == (0.75, 2.25, 3_000)
    assert (total.most_gone, total.most_saved_ns) == (3, 4_000)


def test_a_condition_tells_which_stay_and_what_it_does_not_know_is_as_the_others_are(store: Path) -> None:
    total = told(store, change(where=EOIS, more='stays = "latency_ns > 2000"')).total
    assert (total.stay, total.gone, total.saved_ns) == (1.5, 1.5, 1_000)


def test_a_select_tells_the_share_that_stays_of_the_recording_itself(store: Path) -> None:
    select = "SELECT 0.5 * count(*) FROM kvm_inj_virq WHERE run_id = $run_id AND ts_ns < 15"
    assert told(store, change(where=EOIS, more=f'stays = "{select}"')).total.gone == 1.5


def test_where_the_recording_does_not_tell_what_stays_only_the_bound_is_told(store: Path) -> None:
    total = told(store, change(where=EOIS, more='stays = "interrupt_pending"')).total
    assert (total.stay, total.gone, total.saved_ns) == (None, None, None)
    assert (total.most_gone, total.most_saved_ns) == (3, 4_000)


@pytest.mark.parametrize(
    ("more", "saved_ns"),
    [
        ("factor = 0.25", 3_000),
        ('saves = { mean = 4000, unit = "cycles" }', 3_000),  # 2 µs of the machine of the model, at most all of an exit
        ('cost = { mean = 3, unit = "us" }', -2_000),
    ],
)
def test_an_exit_that_costs_something_else_stays_an_exit(store: Path, more: str, saved_ns: float) -> None:
    total = told(store, change("rescale", EOIS, more)).total
    assert (total.gone, total.saved_ns, total.most_saved_ns) == (0, saved_ns, 4_000)


def test_an_exit_that_moves_has_the_reason_and_the_cost_of_the_other(store: Path) -> None:
    found = told(store, change("move", EOIS, 'to = "vintr"\ncost = { mean = 500, unit = "ns" }'))
    assert (found.total.gone, found.total.saved_ns) == (0, 3_000)
    assert [each.to for each in found.changes] == ["vintr"]


def test_an_exit_in_addition_costs_what_it_costs(store: Path) -> None:
    total = told(store, change("add", EOIS, 'to = "hypercall"\ncost = { mean = 1, unit = "us" }')).total
    assert (total.gone, total.saved_ns, total.most_gone, total.most_saved_ns) == (-3, -3_000, 0, 0)


def test_time_without_a_cpu_is_not_the_exits_own(store: Path) -> None:
    assert told(store, change(where="reason = 'io'")).total.saved_ns == 8_000


def test_waiting_is_no_time_that_is_saved(store: Path) -> None:
    found = told(store, change(where="reason = 'hlt'"))
    assert (found.total.gone, found.total.most_saved_ns) == (1, 0)
    assert found.out_ns == 29_000  # neither the idle exit, nor the suspect one


def test_what_costs_something_outside_of_the_recorded_time_is_told_apart(store: Path) -> None:
    more = 'outside_before = { mean = 5, unit = "us" }\noutside_after = { mean = 2, unit = "us" }'
    found = told(store, change(where=EOIS, more=more))
    assert (found.total.saved_ns, found.total.outside_ns, found.total.net_ns) == (4_000, 9_000, 13_000)
    assert [each.unseen_ns for each in found.changes] == [2_000]


def test_an_exit_is_counted_for_one_change_and_removal_comes_first(store: Path, tmp_path: Path) -> None:
    cheaper = write_model(tmp_path / "cheaper.toml", LOCAL + change("rescale", "reason = 'msr'", "factor = 0.5"))
    gone = write_model(tmp_path / "gone.toml", LOCAL + change("remove", EOIS))
    for models in ((cheaper, gone), (gone, cheaper)):
        found = predicted(store, "aa", *models)
        assert {each.model: each.effect.saved_ns for each in found.changes} == {"gone": 4_000, "cheaper": 2_500}
        assert found.total.saved_ns == 6_500
        assert "order" in [each.about for each in found.assumptions]


def test_what_the_first_lets_stay_is_there_for_the_second(store: Path, tmp_path: Path) -> None:
    gone = write_model(tmp_path / "gone.toml", LOCAL + change("remove", EOIS, 'stays = "latency_ns > 2000"'))
    cheaper = write_model(tmp_path / "cheaper.toml", LOCAL + change("rescale", EOIS, "factor = 0.5"))
    found = predicted(store, "aa", gone, cheaper)
    assert {each.model: each.effect.matching for each in found.changes} == {"gone": 2, "cheaper": 1}
    assert found.total.saved_ns == 1_000 + 1_500


def test_the_sums_of_the_vcpus_are_the_whole(store: Path) -> None:
    found = told(store, change(where="reason IN ('msr', 'io')"))
    assert [(each.vcpu, each.effect.saved_ns) for each in found.vcpus] == [(0, 4_000), (1, 13_000)]
    assert sum(each.effect.gone or 0 for each in found.vcpus) == found.total.gone == 5


def test_figures_of_events_are_those_of_the_first_in_the_exit_and_none_counts_as_0(store: Path) -> None:
    needs = 'needs = ["kvm:kvm_msr"]'
    assert told(store, change(where="kvm_msr.ecx = 2059", more=needs)).total.matching == 3
    assert told(store, change(where="kvm_msr.ecx = 1", more=needs)).total.matching == 0
    assert told(store, change(where="kvm_msr.n = 2", more=needs)).total.matching == 1
    assert told(store, change(where="kvm_msr.n = 0", more=needs)).total.matching == 3


def test_an_event_that_was_not_recorded_tells_nothing(store: Path) -> None:
    (refused,) = told(store, change(where="kvm_eoi.n = 0", more='needs = ["kvm:kvm_eoi"]')).refused
    assert refused.why == "kvm:kvm_eoi not recorded"
    (refused,) = told(store, change(where="kvm_msr.flags = 0", more='needs = ["kvm:kvm_msr"]')).refused
    assert refused.why == "kvm_msr.flags not recorded: its fields are ecx"


def test_a_file_that_tells_only_what_fired_says_so(tmp_path: Path) -> None:
    add_recording(tmp_path / "store", tells_enabled=False)
    (refused,) = told(tmp_path / "store", change(where="eoi", more='needs = ["kvm:kvm_eoi"]')).refused
    assert refused.why == "kvm:kvm_eoi not recorded, or never fired"


def requires(holds: str, more: str = "") -> str:
    return f'\n[[effect.requires]]\nwhat = "it fits"\nholds = "{holds}"\n{more}\n'


def test_a_requirement_that_does_not_hold_is_the_answer(store: Path) -> None:
    no = requires("SELECT kernel < '6' FROM runs WHERE run_id = $run_id", 'because = "6 has it"')
    found = told(store, change(where=EOIS), effect=LOCAL + no)
    assert (found.models, [each.why for each in found.refused]) == (
        (),
        ["does nothing here: it needs that it fits (6 has it)"],
    )


def test_a_requirement_that_cannot_be_told_is_a_caution(store: Path) -> None:
    unknown = requires("SELECT cpu LIKE 'x%' FROM runs WHERE run_id = $run_id")
    missing = requires("SELECT count(*) = 0 FROM kvm_eoi WHERE run_id = $run_id", 'needs = ["kvm:kvm_eoi"]')
    found = told(store, change(where=EOIS), effect=LOCAL + unknown + missing)
    assert found.total.gone == 3
    assert [each.partition(": ")[2] for each in found.cautions] == [
        "the recording does not tell",
        "kvm:kvm_eoi not recorded",
    ]


def test_what_no_exit_matches_is_said(store: Path) -> None:
    (refused,) = told(store, change(where="reason = 'vintr'")).refused
    assert refused.why == "no exit matches"


@pytest.mark.parametrize("scope", ["global", "outside exits"])
def test_an_effect_that_is_not_local_is_not_predictable(store: Path, scope: str) -> None:
    (refused,) = told(store, effect=f'scope = "{scope}"\nbecause = "of this"\n').refused
    assert refused.why == f"not predictable from exits: its effect is {scope}: of this"


def test_what_has_no_exits_is_refused(store: Path) -> None:
    add_counters(store)
    with pytest.raises(UsageError, match="run cc has no exits: it is a run of counters"):
        predicted(store, "cc", write_model(store / "mine.toml", LOCAL + change()))


@pytest.mark.parametrize(
    ("effect", "message"),
    [
        (
            LOCAL + change(where="raeson = 'msr'"),
            r"mine.toml:37: effect.change.0.where: an exit has no column 'raeson'",
        ),
        (
            LOCAL + change(where="reason + 1 = 2"),
            r"mine.toml:37: effect.change.0.where: Binder Error: No function matches",
        ),
        (
            LOCAL + change(more='stays = "reason"'),
            r"mine.toml:39: effect.change.0.stays: expected what is true or false of an exit, found a VARCHAR",
        ),
        (LOCAL + change(more='stays = "0.5"'), r"mine.toml:39: effect.change.0.stays: expected .* found a DECIMAL"),
        (LOCAL + change(where="detail"), r"mine.toml:37: effect.change.0.where: expected .*, found a U?BIGINT"),
        (LOCAL + change(where="eoi OR NOT (idle AND 5)"), r"mine.toml:37: effect.change.0.where: .* found a INTEGER"),
        (LOCAL + change(where="CASE WHEN detail THEN eoi END"), r"mine.toml:37: effect.change.0.where: .* a U?BIGINT"),
        (LOCAL + change(where="eoi OR reason"), r"mine.toml:37: effect.change.0.where: .* found a VARCHAR"),
        (
            LOCAL + change(where="kvm_msr.ecx", more='needs = ["kvm:kvm_msr"]'),
            r"mine.toml:37: effect.change.0.where: expected .*, found a UINTEGER",
        ),
        (LOCAL + change(more='stays = "latency_ns >"'), r"mine.toml:39: effect.change.0.stays: expected a condition"),
        (
            LOCAL + requires("SELECT 1 FROM runs") + change(),
            r"mine.toml:36: effect.requires.0.holds: expected the run as \$run_id",
        ),
        (
            LOCAL + requires("SELECT $run_id") + change(),
            r"mine.toml:36: effect.requires.0.holds: expected true, false or null",
        ),
        (LOCAL + requires("DROP TABLE runs") + change(), r"mine.toml:36: effect.requires.0.holds: DROP is refused"),
        (LOCAL + change(action="delete"), r"mine.toml:36: effect.change.0.action"),
        (LOCAL + change(more="factor = 0.5"), r"mine.toml:39: effect.change.0.factor: factor does not go with remove"),
        (LOCAL + change("rescale"), r"mine.toml:34: effect.change.0: rescale needs one of cost, factor, saves"),
        (LOCAL + change(more="stays = 1.5"), r"expected a share of 0 to 1"),
        (LOCAL + change(more='wehre = "x"'), r"unknown key 'wehre': did you mean where"),
        ('scope = "global"\nbecause = "x"\n' + change(), r"change goes with scope = \"local\""),
        (LOCAL + 'base = "of"\nnew = "on"\n', r"unknown variant 'of': did you mean off"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_its_line(store: Path, effect: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        told(store, effect=effect)
