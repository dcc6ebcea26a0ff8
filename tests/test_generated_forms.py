"""A model's recording in the store and in each format that perf and trace-cmd read: the same exits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow.compute as pc
import pytest
from cross_forms import Form, Forms, Untold, differences, sorted_exits
from ingested import read_table

from kvmtrace.formats.source import ReadOptions
from kvmtrace.generating import ModelOrigin, run_of
from kvmtrace.ingesting import Order, ingest, store_contents
from kvmtrace.recording import TableSet
from kvmtrace.store.label import Label
from kvmtrace.synth import model_file
from kvmtrace.writers import OutputFormat, write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pyarrow as pa

    from kvmtrace.recording import Content
    from kvmtrace.store.manifest import Manifest

EVENTS = 4_000  # of each recording, where it has so many
OF_EVENTS = (
    OutputFormat.PERF_DATA,
    OutputFormat.TRACE_DAT,
    OutputFormat.TRACE_DAT_6,
    OutputFormat.PERF_SCRIPT,
    OutputFormat.FTRACE,
)
OF_COUNTS = (OutputFormat.PERF_STAT, OutputFormat.PERF_STAT_CSV, OutputFormat.PERF_STAT_JSON)
TELLS = {
    "kvm:kvm_eoi": ("eoi",),
    "kvm:kvm_userspace_exit": ("userspace", "userspace_ns"),
    "kvm:kvm_vcpu_wakeup": ("blocked_ns", "polled_ns"),
    "kvm_hv:kvm_hcall_enter": ("hcall_ns",),
}
"""Columns that are false or 0, not null, where the event was enabled: only perf.data tells that it never fired."""
BY_CPU = "exit_id: not in the order of time"
"""Binary formats hold one CPU after the other."""
US_NS = 1_000
OLD_NAME, NEW_NAME = "PENDING_INTERRUPT", "INTERRUPT_WINDOW"
"""Of one exit, before Linux 5.8 and since; texts are read with the newer name."""


@dataclass(frozen=True, slots=True)
class Generated:
    """One variant of a model: its contents, for the store and for writers."""

    origin: ModelOrigin
    contents: Sequence[Content]
    folder: Path

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def stored(self) -> list[Manifest]:
        return [run.manifest for run in store_contents(self.contents, self.origin, Order(self.store))]

    def written(self, output_format: OutputFormat) -> Path:
        path = self.folder / f"written {output_format}"
        write(self.contents, path, output_format)
        return path


def variants() -> list[tuple[str, str]]:
    """Return each model's variants; of the scheduler's, which are slow and fire the same events, the last."""
    models = [model_file.find(name) for name in model_file.names()]
    return [
        (model.name, variant)
        for model in models
        for variant in list(model.settings)[-1 if model.header.engine == "scheduler" else 0 :]
    ]


@pytest.fixture(scope="module", params=variants(), ids="-".join)
def generated(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generated:
    name, variant = request.param
    model = model_file.find(name)
    run = run_of(model, variant, seed=3, events=None if model.header.engine == "counters" else EVENTS)
    return Generated(ModelOrigin(model, run, jobs=1), model.engine.contents(run), tmp_path_factory.mktemp("generated"))


def carried(output_format: OutputFormat, manifest: Manifest, exits: pa.Table) -> Form:
    if output_format == OutputFormat.PERF_DATA:
        return Form(processes=True)
    fired = {f"{t.system}:{t.event}" for t in manifest.tracepoints if t.rows}
    enabled = {f"{t.system}:{t.event}" for t in manifest.tracepoints}
    silent = [column for event, columns in TELLS.items() if event in enabled - fired for column in columns]
    untold = [Untold(column, (False, 0), "that its event was enabled, which did not fire") for column in silent]
    if output_format in {OutputFormat.PERF_SCRIPT, OutputFormat.FTRACE} and OLD_NAME in named(exits):
        untold.append(Untold("reason", (OLD_NAME,), "the name that old kernels have for it", instead=NEW_NAME))
    if output_format == OutputFormat.FTRACE:
        if "sched:sched_switch" in fired:
            why = "whether a thread left its CPU before or after an exit or an entry of the same µs"
            untold.append(Untold("preempted_ns", range(1, 1 << 62), why, instead=0))
        if any(closed == "next_exit" for closed in exits["closed_by"].to_pylist()):
            untold.append(Untold("suspect", (False,), "the kernel: in some such exits are sound", instead=True))
        return Form(unit_ns=US_NS, rounded=True, untold=tuple(untold))
    return Form(processes=output_format == OutputFormat.PERF_SCRIPT, untold=tuple(untold))


def named(exits: pa.Table) -> list[str]:
    return [str(reason) for reason in exits["reason"].to_pylist()]


def long_exits(fine: pa.Table, coarse: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Leave out exits of up to 2 µs: in whole µs what fired inside them cannot be told from what fired after."""
    kept = pc.fill_null(pc.greater(fine["latency_ns"], 2 * US_NS), fill_value=True)
    return fine.filter(kept), coarse.filter(kept)


def test_exits_of_every_form_are_those_of_the_store(generated: Generated) -> None:
    recordings = [manifest for manifest in generated.stored() if manifest.kind == "recording"]
    if not recordings or not recordings[0].exits["rows"]:
        pytest.skip("no exits: a table of figures, or what no tracepoint tells")
    manifest = recordings[0]
    exits = read_table(generated.store, manifest, "exits")
    several_vms = generated.origin.run.setting.platform.vms > 1
    for output_format in OF_EVENTS:
        forms = Forms(generated.folder / f"store {output_format}")
        path = generated.written(output_format)
        fine, coarse = sorted_exits(exits), forms.exits(path)
        assert len(fine) == len(coarse), output_format
        if output_format == OutputFormat.FTRACE:
            assert named(coarse) == [NEW_NAME if name == OLD_NAME else name for name in named(fine)]
            fine, coarse = long_exits(fine, coarse)
        form = carried(output_format, manifest, fine)
        wrong = differences(fine, coarse, form) if len(fine) else []
        # vCPUs of one number in several VMs are told apart by their processes alone.
        untold = {"vm_id"} if several_vms and not form.processes else set()
        wrong = [each for each in wrong if each != BY_CPU and each.partition(":")[0] not in untold]
        assert wrong == [], output_format


def test_counts_of_every_form_are_those_of_the_recording(generated: Generated) -> None:
    manifests = generated.stored()
    counted = [manifest for manifest in manifests if manifest.kind in {"recording", "counters"}]
    expected: dict[str, float | None] = {}
    for manifest in counted:
        expected |= {tracepoint.event: tracepoint.rows for tracepoint in manifest.tracepoints}
        if manifest.kind == "counters":
            rows = read_table(generated.store, manifest, "counters").to_pylist()
            expected |= {row["event"]: row["value"] for row in rows}
    for output_format in OF_COUNTS:
        store = generated.folder / f"store {output_format}"
        (run,) = ingest(str(generated.written(output_format)), store, Label(), options=ReadOptions(jobs=1))
        rows = read_table(store, run.manifest, "counters").to_pylist()
        found = {row["event"]: row["value"] for row in rows if row["event"] != "duration_time"}
        assert found == pytest.approx(expected, rel=1e-3), output_format


def test_what_a_vmexit_guest_prints_is_read_back(generated: Generated) -> None:
    tables = [table for table in generated.contents if isinstance(table, TableSet) and table.table == "benchmarks"]
    rows = [row for table in tables for row in table.rows.to_pylist() if row["test"] == "vmexit"]
    if not rows:
        pytest.skip("its guest does not run vmexit")
    store = generated.folder / "store vmexit"
    text = str(generated.written(OutputFormat.VMEXIT))
    (run,) = ingest(text, store, Label(), format_name="kvm-unit-tests", options=ReadOptions(jobs=1))
    found = {row["name"]: row["value"] for row in read_table(store, run.manifest, "benchmarks").to_pylist()}
    assert found == {row["name"]: float(int(row["value"])) for row in rows}
