"""A small recording and models for it, of which every figure is chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
from store_builder import add_run, event, exits, fixed_table

from kvmtrace.predicting.prediction import predict
from kvmtrace.store.connection import StoreConnection
from kvmtrace.synth import model_file

if TYPE_CHECKING:
    from pathlib import Path

    from kvmtrace.predicting.result import Prediction

U32 = pa.uint32()
SECOND = 10**9
EXITS = exits(
    {"vcpu": 0, "reason": "msr", "detail_kind": "msr", "detail": 2059, "exit_ts_ns": 10, "latency_ns": 1_000},
    {"vcpu": 0, "reason": "msr", "detail_kind": "msr", "detail": 2059, "exit_ts_ns": 20, "latency_ns": 3_000},
    {"vcpu": 1, "reason": "msr", "detail_kind": "msr", "detail": 1760, "exit_ts_ns": 30, "latency_ns": 5_000},
    {"vcpu": 1, "reason": "io", "exit_ts_ns": 40, "latency_ns": 20_000, "preempted_ns": 12_000},
    {"vcpu": 1, "reason": "hlt", "exit_ts_ns": 50, "latency_ns": 900_000, "idle": True},
    {"vcpu": 0, "reason": "msr", "detail_kind": "msr", "detail": 2059, "exit_ts_ns": 60, "latency_ns": None},
    {"vcpu": 0, "reason": "npf", "exit_ts_ns": SECOND, "latency_ns": 7_000, "suspect": True},
)  # fmt: skip


def add_recording(store: Path, run_id: str = "aa", **facts: object) -> None:
    """Add the recording: a kvm_msr in each of its four exits of MSRs, of the first two of one exit."""
    msrs = [{"exit_id": n, "ecx": ecx, "ts_ns": n} for n, ecx in ((0, 2059), (0, 1), (1, 2059), (2, 1760), (5, 2059))]
    tables = {
        "exits": EXITS,
        "events/kvm/kvm_msr": event({"ecx": U32}, *msrs),
        "events/kvm/kvm_inj_virq": event({"vector": U32}, {"ts_ns": 10, "vector": 1}, {"ts_ns": 20, "vector": 2}),
    }
    told = {"first_ts_ns": 0, "last_ts_ns": SECOND, "elapsed_ns": SECOND, "host": {"arch": "x86_64", "kernel": "6.1.0"}}
    add_run(store, run_id, tables, **{**told, **facts})


def add_counters(store: Path, run_id: str = "cc") -> None:
    """Add a run of counters."""
    counted = {"system": "kvm", "event": "kvm_exit", "value": 42.0, "state": "counted", "line": 1}
    add_run(store, run_id, {"counters": fixed_table("counters", [counted])}, kind="counters", elapsed_ns=SECOND)


_MODEL = """
purpose = "Less of something."
engine = "operation-loop"

[[source]]
document = "a mail"
figures = "none"

[platform]
arch = "x86_64"
isa = "SVM"
cpu = "a CPU"
kernel = "5.10.0"
clock_hz = 2_000_000_000
cpus = 2

[exits.write]
reason = "msr"
cost = { mean = 2.0, unit = "us" }

[workload.operations.write]
steps = [{ guest = { mean = 5, unit = "us" } }, { exit = "write" }]

[variants.off]
what = "without"

[variants.on]
what = "with"

[effect]
"""
LOCAL = 'scope = "local"\nbecause = "one exit"\n'


def write_model(path: Path, effect: str) -> Path:
    """Write a model whose table [effect] says `effect`, and return its path."""
    path.write_text(_MODEL + effect)
    return path


def change(action: str = "remove", where: str = "reason = 'msr'", more: str = "", name: str = "writes") -> str:
    """Return a table [[effect.change]]."""
    return f'''
[[effect.change]]
name = "{name}"
action = "{action}"
where = """{where}"""
because = "so it is"
{more}
'''


def predicted(store: Path, run: str, *models: Path) -> Prediction:
    """Return what models do to a run."""
    with StoreConnection(store) as connection:
        found = [model_file.read(path) for path in models]
        return predict(connection, connection.catalogue.resolve(run), found)
