"""What a prediction says of a run's blocks of time: its rates are its totals, and no interval knows more than they."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from store_builder import add_run, exits
from whatif_runs import LOCAL, SECOND, add_recording, change, predicted, write_model

from kvmtrace.errors import UsageError
from kvmtrace.predicting import prediction
from kvmtrace.predicting.ranking import rank
from kvmtrace.report import whatif as words
from kvmtrace.store.connection import StoreConnection
from kvmtrace.synth import model_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from store_builder import Row

    from kvmtrace.predicting.result import Prediction

COST = 'to = "x"\ncost = { mean = 1, unit = "us" }'


def told(store: Path, rows: Iterable[Row], *changes: str) -> Prediction:
    add_run(store, "aa", {"exits": exits(*rows)}, first_ts_ns=0, last_ts_ns=SECOND, elapsed_ns=SECOND)
    return predicted(store, "aa", write_model(store / "mine.toml", LOCAL + "".join(changes)))


def every_ms(count: int, **row: object) -> list[Row]:
    return [{"vcpu": 0, "reason": "msr", "latency_ns": 1000, **row, "exit_ts_ns": n * 10**6} for n in range(count)]


def test_a_block_whose_only_match_has_no_time_leaves_the_figures_told(tmp_path: Path) -> None:
    open_at_the_end: Row = {"vcpu": 0, "reason": "msr", "exit_ts_ns": SECOND}
    measures = told(tmp_path, [*every_ms(900), open_at_the_end], change()).measures
    for estimate, value in ((measures.gone_per_s, 901), (measures.saved_ns_per_s, 900_000), (measures.out_share, 0)):
        assert estimate is not None
        assert estimate.new == pytest.approx(value)


def test_what_comes_in_addition_to_exits_without_a_time_is_in_totals_and_rates(tmp_path: Path) -> None:
    rows = [*every_ms(1000, reason="hlt", idle=True), {"vcpu": 0, "reason": "io", "exit_ts_ns": SECOND}]
    found = told(tmp_path, rows, change("add", "reason = 'hlt'", COST))
    assert found.total.saved_ns == -1_000_000
    assert found.measures.saved_ns_per_s is not None
    assert found.measures.saved_ns_per_s.new == pytest.approx(-1_000_000)
    assert "times" not in {each.about for each in found.assumptions}


@pytest.mark.parametrize(("count", "blocks"), [(5, 8), (32, 8), (400, 100), (1000, 250), (1100, 256)])
def test_a_block_has_at_least_four_exits_as_far_as_eight_blocks_go(tmp_path: Path, count: int, blocks: int) -> None:
    found = told(tmp_path, every_ms(count), change())
    assert found.blocks == blocks
    assert found.measures.gone_per_s is not None
    assert found.measures.gone_per_s.new_n <= blocks


def test_no_interval_says_that_a_removal_could_be_more_exits(tmp_path: Path) -> None:
    measures = told(tmp_path, every_ms(5), change()).measures
    for estimate in (measures.gone_per_s, measures.saved_ns_per_s):
        assert estimate is not None
        assert estimate.difference_interval is not None
        assert estimate.difference_interval.low == 0


def test_an_interval_of_what_comes_in_addition_may_be_of_more_exits(tmp_path: Path) -> None:
    gone = told(tmp_path, every_ms(5), change("add", more=COST)).measures.gone_per_s
    assert gone is not None
    assert gone.difference_interval is not None
    assert gone.difference_interval.low < gone.difference_interval.high
    assert gone.difference_interval.low < -5


def test_where_a_vcpu_is_not_told_there_is_no_share_of_their_time(tmp_path: Path) -> None:
    rows = [{**row, "vcpu": None, "tid": tid, "latency_ns": 500_000} for row in every_ms(1000) for tid in range(4)]
    found = told(tmp_path, rows, change())
    assert (found.total.saved_ns, found.vcpu_ns, found.measures.out_share) == (2e9, None, None)
    text = words.text(words.predicted(found))
    assert "% of the vCPUs' time" not in text.split("What becomes of the exits")[0]
    assert "200" not in text.split("Time out of the guest, by vCPU")[1].split("Assumed")[0]


@pytest.mark.parametrize("action", ["remove", "rescale"])
def test_the_upper_bound_knows_no_cost_that_the_change_brings(tmp_path: Path, action: str) -> None:
    more = 'outside_before = { mean = 1, unit = "us" }\noutside_after = { mean = 5, unit = "us" }\n'
    more += "factor = 0.5\n" if action == "rescale" else ""
    total = told(tmp_path, every_ms(100), change(action, more=more)).total
    assert total.outside_ns == -400_000
    assert (total.most_outside_ns, total.most_net_ns) == (100_000, 200_000)


def test_a_model_that_changes_nothing_costs_no_pass_over_the_exits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def passed(*_: object) -> None:
        raise AssertionError("a pass over the exits")

    add_recording(tmp_path)
    monkeypatch.setattr(prediction, "sums", passed)
    monkeypatch.setattr("kvmtrace.queries.run", passed)
    needs = change(where="eoi", more='needs = ["kvm:kvm_eoi"]')
    models = [
        model_file.read(write_model(tmp_path / f"{name}.toml", effect))
        for name, effect in (("other", 'scope = "global"\nbecause = "so"\n'), ("eois", LOCAL + needs))
    ]
    with StoreConnection(tmp_path) as connection:
        ranking = rank(connection, connection.catalogue.resolve("aa"), models)
    assert ranking.predictions == ()
    assert [each.model for each in ranking.refused] == ["other", "eois"]


def test_two_models_of_one_name_are_refused(tmp_path: Path) -> None:
    add_recording(tmp_path / "store")
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    paths = [write_model(tmp_path / folder / "mine.toml", LOCAL + change()) for folder in ("one", "two")]
    with pytest.raises(UsageError, match=r"two models are called 'mine': .*/one/mine.toml and .*/two/mine.toml"):
        predicted(tmp_path / "store", "aa", *paths)
