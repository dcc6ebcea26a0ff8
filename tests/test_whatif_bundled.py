"""Conditions of the project's own models, on exits that they must and must not take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from query_samples import I32, INJECT, U32, U64, inject
from store_builder import add_run, event, exits
from whatif_runs import SECOND

from kvmtrace.predicting.prediction import predict
from kvmtrace.store.connection import StoreConnection
from kvmtrace.synth import model_file

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    from store_builder import Row

    from kvmtrace.predicting.result import Prediction

HYPERV_EOI = 0x40000070
X86 = {"arch": "x86_64", "kernel": "5.4.0"}


def told(store: Path, model: str, tables: dict[str, pa.Table]) -> Prediction:
    add_run(store, "aa", tables, first_ts_ns=0, last_ts_ns=SECOND, elapsed_ns=SECOND, host=X86)
    with StoreConnection(store) as connection:
        return predict(connection, connection.catalogue.resolve("aa"), [model_file.find(model)])


def with_eois(store: Path, written: Row) -> Prediction:
    """Return what pv-eoi does to interrupts of which each is ended by a write of the EOI register, as `written`."""
    row = {"vcpu": 0, "tid": 7, "isa": "VMX", "eoi": True, "latency_ns": 100, "guest_ns": 200, **written}
    rows = [{**row, "exit_ts_ns": at, "entry_ts_ns": at + 100} for at in range(1000, 21_000, 1000)]
    eois = [
        {"ts_ns": row["exit_ts_ns"] + 50, "tid": 7, "vcpu": 0, "apicid": 0, "vector": 50, "exit_id": n}
        for n, row in enumerate(rows)
    ]
    accepts = [{"ts_ns": row["exit_ts_ns"] - 220, "tid": 7, "apicid": 0, "dm": 0, "tm": 0, "vec": 50} for row in rows]
    tables = {
        "exits": exits(*rows),
        "events/kvm/kvm_eoi": event({"apicid": U32, "vector": I32}, *eois),
        "events/kvm/kvm_inj_virq": event(INJECT, *(inject(row["exit_ts_ns"] - 210, 7, 0, 50) for row in rows)),
        "events/kvm/kvm_apic_accept_irq": event(dict.fromkeys(("apicid", "dm", "tm", "vec"), U32), *accepts),
    }
    return told(store, "pv-eoi", tables)


@pytest.mark.parametrize(
    "written",
    [
        {"reason": "MSR_WRITE", "detail_kind": "msr", "detail": 2059},
        {"reason": "EPT_MISCONFIG", "detail_kind": "gpa", "detail": 0xFEE000B0},
        {"reason": "APIC_ACCESS", "detail_kind": "apic", "detail": 0xB0},
    ],
)
def test_pv_eoi_saves_the_writes_of_every_form_of_the_register(tmp_path: Path, written: Row) -> None:
    assert with_eois(tmp_path, written).total.matching == 20


def test_hyperv_eois_are_not_taken_for_those_of_pv_eoi(tmp_path: Path) -> None:
    (refused,) = with_eois(tmp_path, {"reason": "MSR_WRITE", "detail_kind": "msr", "detail": HYPERV_EOI}).refused
    assert refused.why == "no exit matches"


def test_the_fast_path_takes_ipis_of_fixed_delivery_to_one_physical_destination(tmp_path: Path) -> None:
    plain = 0xFD
    sent = [plain, plain | 1 << 11, plain | 4 << 8, plain | 1 << 18, plain | 2 << 18]
    row = {"vcpu": 0, "reason": "MSR_WRITE", "isa": "VMX", "detail_kind": "msr", "detail": 2096, "latency_ns": 2000}
    tables = {
        "exits": exits(*({**row, "exit_ts_ns": n} for n in range(len(sent)))),
        "events/kvm/kvm_msr": event({"ecx": U32}, *({"exit_id": n, "ecx": 2096} for n in range(len(sent)))),
        "events/kvm/kvm_apic_ipi": event({"icr_low": U32}, *({"exit_id": n, "icr_low": i} for n, i in enumerate(sent))),
    }
    assert told(tmp_path, "ipi-fastpath", tables).total.matching == 1


def test_an_eventfd_takes_neither_the_local_apic_nor_the_io_apic(tmp_path: Path) -> None:
    written = [0xFEBF1000, 0xFEC00000, 0xFEC00FFF, 0xFEE00300, 0xFF000000]
    row = {"vcpu": 0, "reason": "EPT_MISCONFIG", "isa": "VMX", "latency_ns": 2000, "userspace": False}
    events = ({"exit_id": n, "type": 2, "gpa": gpa} for n, gpa in enumerate(written))
    tables = {
        "exits": exits(*({**row, "exit_ts_ns": n} for n in range(len(written)))),
        "events/kvm/kvm_mmio": event({"type": U32, "gpa": U64}, *events),
    }
    assert told(tmp_path, "mmio-eventfd", tables).total.matching == 2
