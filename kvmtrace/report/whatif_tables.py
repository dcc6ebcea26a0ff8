"""Tables of a prediction as people read them, and its figures as programs do."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from kvmtrace.report import readable
from kvmtrace.report.key_words import NOT_RECORDED
from kvmtrace.store.connection import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvmtrace.predicting.ranking import Ranking
    from kvmtrace.predicting.result import ChangeResult, Prediction, Refused
    from kvmtrace.stats.estimate import Estimate

_TEXT, _NUMBER = "VARCHAR", "DOUBLE"  # a DuckDB type decides on which side a column is aligned
_ACTIONS = {"remove": "gone", "rescale": "other cost"}
_MEASURES: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("exits less per second", "gone_per_s", readable.fixed),
    ("µs out of the guest less per second", "saved_ns_per_s", readable.microseconds),
    ("µs less per second, with what no recording shows", "net_ns_per_s", readable.microseconds),
    ("exits per second", "exits_per_s", readable.fixed),
    ("% of the vCPUs' time out of the guest", "out_share", readable.percent),
    ("exits per injected interrupt", "exits_per_injection", readable.fixed),
)
Raw = dict[str, Any]


def _table(columns: Sequence[tuple[str, str]], rows: Sequence[tuple[str, ...]]) -> Result:
    return Result([name for name, _ in columns], [type_ for _, type_ in columns], [tuple(row) for row in rows])


def change_table(prediction: Prediction) -> Result:
    """Return a row for each change and exit reason."""
    columns = [(name, _TEXT) for name in ("model", "exits", "reason", "becomes")]
    columns += [
        (name, _NUMBER)
        for name in ("matching", "stay", "fewer", "µs each", "µs less", "outside µs less", "at most µs less")
    ]
    rows = [
        (
            each.model,
            each.change,
            each.reason or NOT_RECORDED,
            _becomes(each),
            readable.count(each.effect.matching),
            _count(each.effect.stay),
            _count(each.effect.gone),
            readable.microseconds(each.matching_ns / each.matching_timed if each.matching_timed else None),
            readable.microseconds(each.effect.saved_ns),
            readable.microseconds(each.effect.outside_ns),
            readable.microseconds(each.effect.most_net_ns),
        )
        for each in prediction.changes
    ]
    return _table(columns, rows)


def _becomes(each: ChangeResult) -> str:
    if each.to is not None:
        return f"{each.to} {'in addition' if each.action == 'add' else 'instead'}"
    if each.action == "remove" and each.unseen_ns:
        return f"seen no more, {readable.duration(each.unseen_ns)} each"
    return _ACTIONS[each.action]


def _count(value: float | None) -> str:
    return readable.count(None if value is None else round(value, 2))


def measure_table(prediction: Prediction) -> Result:
    """Return the figures of the run with their intervals."""
    columns = [
        ("figure", _TEXT),
        ("recorded", _NUMBER),
        ("predicted", _NUMBER),
        ("95% interval", _NUMBER),
        ("n", _NUMBER),
    ]
    recorded = _recorded(prediction)
    rows = []
    for name, key, shown in _MEASURES:
        estimate: Estimate | None = getattr(prediction.measures, key)
        if key == "gone_per_s" and not prediction.total.most_gone:
            continue
        if key == "net_ns_per_s" and prediction.total.outside_ns is None:
            continue
        if estimate is None or estimate.new is None:
            rows.append(
                (name, shown(recorded[key]) if recorded.get(key) is not None else "-", "not recorded", "-", "-")
            )
            continue
        ends = estimate.difference_interval
        told = f"none: {estimate.missing}" if ends is None else f"{shown(ends.low)} to {shown(ends.high)}"
        before = recorded.get(key)
        rows.append((name, "-" if before is None else shown(before), shown(estimate.new), told, str(estimate.new_n)))
    return _table(columns, rows)


def _recorded(prediction: Prediction) -> dict[str, float]:
    """Return the figures as they were recorded, without the changes."""
    found: dict[str, float] = {}
    if prediction.seconds:
        found["exits_per_s"] = prediction.exits / prediction.seconds
    if prediction.out_ns is not None and prediction.vcpu_ns:
        found["out_share"] = prediction.out_ns / prediction.vcpu_ns
    if prediction.injections:
        found["exits_per_injection"] = prediction.exits / prediction.injections
    return found


def vcpu_table(prediction: Prediction) -> Result:
    """Return what each vCPU gains, in % of the recorded time."""
    columns = [("VM", _TEXT), ("vCPU", _NUMBER), ("exits less", _NUMBER), ("exits less/s", _NUMBER)]
    columns += [(name, _NUMBER) for name in ("out of the guest %", "less %", "at most less %")]
    seconds, time_ns = prediction.seconds, prediction.time_ns

    def share(vcpu: int | None, ns: float | None) -> str:
        return "-" if vcpu is None or ns is None or not time_ns else f"{ns / time_ns * 100:,.3f}"

    rows = [
        (
            each.vm_id or "-",
            "-" if each.vcpu is None else str(each.vcpu),
            _count(each.effect.gone),
            "-" if each.effect.gone is None or not seconds else readable.fixed(each.effect.gone / seconds),
            share(each.vcpu, each.out_ns),
            share(each.vcpu, each.effect.saved_ns),
            share(each.vcpu, each.effect.most_saved_ns),
        )
        for each in prediction.vcpus
    ]
    return _table(columns, rows)


def ranking_table(ranking: Ranking) -> Result:
    """Return a row for each model that fits."""
    columns = [("model", _TEXT)] + [
        (name, _NUMBER) for name in ("exits less/s", "µs less/s", "95% interval", "n", "at most µs less/s", "matching")
    ]
    rows = []
    for each in ranking.predictions:
        estimate = each.measures.net_ns_per_s
        ends = None if estimate is None else estimate.difference_interval
        gone = each.measures.gone_per_s
        seconds = each.seconds
        rows.append(
            (
                each.models[0],
                "-" if gone is None or gone.new is None else readable.fixed(gone.new),
                "not recorded" if estimate is None else readable.microseconds(estimate.new),
                "-" if ends is None else f"{readable.microseconds(ends.low)} to {readable.microseconds(ends.high)}",
                "-" if estimate is None else str(estimate.new_n),
                readable.microseconds(each.total.most_net_ns / seconds) if seconds else "-",
                readable.count(each.total.matching),
            )
        )
    return _table(columns, rows)


def raw_changes(predictions: Sequence[Prediction]) -> Result:
    """Return the changes of predictions as plain numbers, for CSV."""
    rows = [
        {"run_id": prediction.manifest.run_id, **_raw_change(each)}
        for prediction in predictions
        for each in prediction.changes
    ]
    names = _RAW_COLUMNS
    return Result(list(names), list(names.values()), [tuple(row[name] for name in names) for row in rows])


_RAW_COLUMNS = dict.fromkeys(("run_id", "model", "change", "action", "to", "reason"), _TEXT) | dict.fromkeys(
    (
        "matching_exits",
        "stay_exits",
        "gone_exits",
        "matching_ns",
        "saved_ns",
        "outside_ns",
        "most_gone_exits",
        "most_saved_ns",
        "most_outside_ns",
        "unseen_each_ns",
    ),
    _NUMBER,
)


def _raw_change(each: ChangeResult) -> Raw:
    effect = each.effect
    return {
        "model": each.model,
        "change": each.change,
        "action": each.action,
        "to": each.to,
        "reason": each.reason,
        "matching_exits": effect.matching,
        "stay_exits": effect.stay,
        "gone_exits": effect.gone,
        "matching_ns": each.matching_ns,
        "saved_ns": effect.saved_ns,
        "outside_ns": effect.outside_ns,
        "most_gone_exits": effect.most_gone,
        "most_saved_ns": effect.most_saved_ns,
        "most_outside_ns": effect.most_outside_ns,
        "unseen_each_ns": each.unseen_ns,
    }


def to_json(predictions: Sequence[Prediction], refused: Sequence[Refused]) -> str:
    """Return predictions, and the models that are not told, as one JSON object."""
    said = {"predictions": [_raw(each) for each in predictions], "not_predicted": [asdict(each) for each in refused]}
    return json.dumps(said, indent=1, allow_nan=False) + "\n"


def _raw(prediction: Prediction) -> Raw:
    measures = prediction.measures
    return {
        "run_id": prediction.manifest.run_id,
        "models": list(prediction.models),
        "cautions": list(prediction.cautions),
        "assumptions": [each._asdict() for each in prediction.assumptions],
        "exits": prediction.exits,
        "injected_interrupts": prediction.injections,
        "out_of_guest_ns": prediction.out_ns,
        "rates_per": {"time": prediction.time_is, "ns": prediction.time_ns},
        "recorded": _recorded(prediction),
        "predicted": {key: _raw_estimate(getattr(measures, key)) for _, key, _ in _MEASURES},
        "total": asdict(prediction.total),
        "changes": [_raw_change(each) for each in prediction.changes],
        "vcpus": [asdict(each) for each in prediction.vcpus],
    }


def _raw_estimate(estimate: Estimate | None) -> Raw | None:
    if estimate is None:
        return None
    ends = estimate.difference_interval
    return {
        "value": estimate.new,
        "low": None if ends is None else ends.low,
        "high": None if ends is None else ends.high,
        "level": estimate.level,
        "method": estimate.method,
        "n": estimate.new_n,
        "unit_of_n": estimate.unit_of_n,
        "missing": estimate.missing,
    }
