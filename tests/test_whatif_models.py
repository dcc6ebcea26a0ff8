"""What-if held to reality: each model's own recordings without and with it, and real pairs of recordings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from perf_oracle import SHARED

from kvmtrace.generating import run_of, store_run
from kvmtrace.ingesting import Order, ingest
from kvmtrace.predicting.prediction import predict
from kvmtrace.store.connection import StoreConnection
from kvmtrace.store.label import Label
from kvmtrace.synth import model_file

if TYPE_CHECKING:
    from kvmtrace.predicting.result import Prediction
    from kvmtrace.synth.model_file import Model

OF_THE_MODEL = 0.05
OF_REALITY = 0.15

CAPTURES = SHARED / "captures" / "x86-svm"
BUNDLED = Path(__file__).parent / "data" / "recordings"
PAIRS = {
    "idletick, bundled": [BUNDLED / f"pveoi-idletick-xapic-{side}.perf.data.zst" for side in ("off", "on")],
    "idletick": [CAPTURES / f"pveoi-idletick-xapic-{side}" / "perf.data" for side in ("off", "on")],
    "mixed": [CAPTURES / f"pveoi-mixed-xapic-{side}" / "perf.data" for side in ("off", "on")],
    "mixed, trace.dat 6": [CAPTURES / f"tracecmd-pveoi-mixed-xapic-{side}" / "trace-v6.dat" for side in ("off", "on")],
    "mixed, trace.dat 7": [CAPTURES / f"tracecmd-pveoi-mixed-xapic-{side}" / "trace-v7.dat" for side in ("off", "on")],
}
LOCAL = [name for name in model_file.names() if model_file.find(name).header.effect.scope == "local"]


class Side(NamedTuple):
    """A recording: its exits, those of I/O, injected interrupts, the time out of the guest, and that of all vCPUs."""

    exits: int
    io: int
    injections: int
    out_ns: float
    vcpu_ns: float


class Pair(NamedTuple):
    """What was predicted of one side, that side, and the other."""

    prediction: Prediction
    base: Side
    new: Side


def side(connection: StoreConnection, label: str) -> Side:
    manifest = connection.catalogue.resolve(label)
    sql = """
        SELECT
            count(*),
            count(*) FILTER (reason = 'IO_INSTRUCTION'),
            coalesce(sum(latency_ns) FILTER (NOT idle AND NOT suspect), 0)::DOUBLE,
            count(DISTINCT (vm_id, vcpu))
        FROM exits WHERE run_id = $run_id
    """
    ((exits, io, out_ns, vcpus),) = connection.query(sql, {"run_id": manifest.run_id}).rows
    injected = manifest.tracepoint("kvm", "kvm_inj_virq")
    return Side(exits, io, injected.rows if injected else 0, out_ns, float(manifest.elapsed_ns or 0) * vcpus)


def generated(store: Path, model: Model, base: str, new: str, seconds: float | None) -> Pair:
    """Make both recordings of a model, and predict the one from the other."""
    for name, variant in (("base", base), ("new", new)):
        store_run(model, run_of(model, variant, seconds=seconds), Order(store, Label(name)))
    with StoreConnection(store) as connection:
        prediction = predict(connection, connection.catalogue.resolve("base"), [model])
        return Pair(prediction, side(connection, "base"), side(connection, "new"))


def own(store: Path, name: str, seconds: float | None) -> Pair:
    model = model_file.find(name)
    effect = model.header.effect
    assert effect.base is not None
    assert effect.new is not None
    return generated(store, model, effect.base, effect.new, seconds)


def with_every_entry(name: str) -> Model:
    """Return a model whose exits are all followed by the event of an entry, so that a recording has their time."""
    model = model_file.find(name)
    return model_file.parse(re.sub(r"^entry = false\n", "", model.text, flags=re.MULTILINE), model.path)


def assert_same_pace(pair: Pair) -> None:
    """The guest has work without end: what it saves, it does more in the same time."""
    prediction, base, new = pair
    total = prediction.total
    assert total.gone is not None
    assert total.saved_ns is not None
    assert total.net_ns is not None
    left = (base.exits - total.gone) / (base.vcpu_ns - total.net_ns)
    assert left == pytest.approx(new.exits / new.vcpu_ns, rel=OF_THE_MODEL)
    out = (base.out_ns - total.saved_ns) / (base.exits - total.gone)
    assert out == pytest.approx(new.out_ns / new.exits, rel=OF_THE_MODEL)


@pytest.mark.parametrize("name", LOCAL)
def test_a_local_model_names_variants_and_changes(name: str) -> None:
    effect = model_file.find(name).header.effect
    assert effect.base is not None
    assert effect.change


@pytest.mark.parametrize("name", ["mmio-eventfd", "kvm-hv-p9-null-hcall", "ipi-fastpath"])
def test_a_guest_that_works_without_end_has_the_predicted_exits_and_their_cost(tmp_path: Path, name: str) -> None:
    assert_same_pace(own(tmp_path / "store", name, 0.02))


@pytest.mark.models
def test_a_hash_guest_has_the_predicted_exits_in_real_mode(tmp_path: Path) -> None:
    assert_same_pace(own(tmp_path / "store", "kvm-hv-p9-hash", 20.0))


def test_what_is_answered_in_real_mode_is_predicted_to_be_seen_no_more(tmp_path: Path) -> None:
    prediction, base, new = own(tmp_path / "store", "kvm-hv-p9-tce", 0.01)
    assert (prediction.total.gone, new.exits) == (base.exits, 0)
    assert all(each.unseen_ns for each in prediction.changes)
    mean_ns = (prediction.total.net_ns or 0) / base.exits
    assert mean_ns == pytest.approx((9_333 - 509) / 3.8, rel=OF_THE_MODEL)  # the source's, of any hcall


def test_an_ipi_that_is_sent_earlier_takes_as_long_and_looks_shorter(tmp_path: Path) -> None:
    total = own(tmp_path / "store", "ipi-fastpath", 0.02).prediction.total
    assert total.net_ns == pytest.approx(0, abs=1)
    assert (total.saved_ns or 0) / total.matching == pytest.approx(280, rel=OF_THE_MODEL)  # 2.86 less 2.58 µs


def test_exits_of_the_tsc_deadline_cost_what_was_predicted(tmp_path: Path) -> None:
    prediction, base, new = generated(tmp_path / "store", with_every_entry("tscdeadline-fastpath"), "off", "on", 0.02)
    out_ns = (base.out_ns - (prediction.total.saved_ns or 0)) / base.exits
    assert out_ns == pytest.approx(new.out_ns / new.exits, rel=OF_THE_MODEL)


def test_pv_eoi_predicts_the_exits_per_interrupt_of_an_idle_guest(tmp_path: Path) -> None:
    prediction, _, new = own(tmp_path / "store", "pv-eoi", None)
    predicted = prediction.measures.exits_per_injection
    assert predicted is not None
    assert predicted.new == pytest.approx(new.exits / new.injections, rel=OF_THE_MODEL)


def test_pv_eoi_predicts_the_exits_per_interrupt_of_a_busy_guest_but_for_the_pio_that_it_did_less(
    tmp_path: Path,
) -> None:
    prediction, base, new = generated(tmp_path / "store", model_file.find("pv-eoi"), "off", "on", 0.2)
    predicted = (base.exits - (prediction.total.gone or 0) - base.io) / base.injections
    assert predicted == pytest.approx((new.exits - new.io) / new.injections, rel=OF_THE_MODEL)


@pytest.mark.parametrize("pair", PAIRS)
def test_pv_eoi_predicts_the_exits_per_interrupt_of_the_real_recording_with_it(tmp_path: Path, pair: str) -> None:
    base, new = PAIRS[pair]
    if not base.exists():
        pytest.skip(f"{base} is not there")
    (off,) = ingest(str(base), tmp_path / "store", Label("base"))
    ingest(str(new), tmp_path / "store", Label("new"))
    with StoreConnection(tmp_path / "store") as connection:
        prediction = predict(connection, off.manifest, [model_file.find("pv-eoi")])
        real = side(connection, "new")
    predicted = prediction.measures.exits_per_injection
    assert predicted is not None
    assert predicted.new == pytest.approx(real.exits / real.injections, rel=OF_REALITY)
    assert predicted.difference_interval is not None
    assert predicted.missing is None


def test_pv_eoi_predicts_nothing_where_it_is_on(tmp_path: Path) -> None:
    (on,) = ingest(str(PAIRS["idletick, bundled"][1]), tmp_path / "store", Label())
    with StoreConnection(tmp_path / "store") as connection:
        prediction = predict(connection, on.manifest, [model_file.find("pv-eoi")])
    assert not prediction.models
    assert "PV EOI is off" in prediction.refused[0].why


def test_where_eois_are_virtualised_pv_eoi_saves_nothing(tmp_path: Path) -> None:
    ipis = model_file.find("ipi-fastpath")  # a host with APICv: EOI_INDUCED
    store_run(ipis, run_of(ipis, "off", seconds=0.3), Order(tmp_path / "store", Label("apicv")))
    with StoreConnection(tmp_path / "store") as connection:
        manifest = connection.catalogue.resolve("apicv")
        prediction = predict(connection, manifest, [model_file.find("pv-eoi")])
    assert not prediction.models
    assert "EOIs are not virtualised" in prediction.refused[0].why
