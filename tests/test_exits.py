"""From a recording to the table of exits: reasons, idle exits, and what the manifest counts."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
from made_runs import HLT, MSR, NPF, SVM, VMX, KvmRecording, column, pick, stored

from benchmarks.recording_builder import format_text
from kvmtrace import schema
from kvmtrace.exits.builder import ExitBuilder
from kvmtrace.formats.perf_data import PerfDataRecording
from kvmtrace.ingesting import intake

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("isa", "code", "expected"),
    [
        (SVM, NPF, ("SVM", 0x400, "npf", False)),
        (SVM, HLT, ("SVM", 0x78, "hlt", True)),
        (SVM, 0x8B, ("SVM", 0x8B, "mwait", True)),
        (SVM, 0x4E, ("SVM", 0x4E, "PF excp", False)),
        (SVM, 0xFFFFFFFF, ("SVM", 0xFFFFFFFF, "invalid_guest_state", False)),
        (SVM, 0x3FF, ("SVM", 0x3FF, "0x3ff", False)),
        (VMX, 12, ("VMX", 12, "HLT", True)),
        (VMX, 36, ("VMX", 36, "MWAIT_INSTRUCTION", True)),
        (VMX, 0x80000021, ("VMX", 33, "INVALID_STATE", False)),
        (VMX, 0x1234, ("VMX", 0x1234, "0x1234", False)),
    ],
)
def test_a_reason_is_stored_with_its_name_and_without_its_flags(
    tmp_path: Path, isa: int, code: int, expected: tuple[str, int, str, bool]
) -> None:
    made = KvmRecording(isa=isa)
    made.exit(1_000, code)
    made.enter(1_100)
    run = stored(made, tmp_path)
    assert pick(run.only_exit(), "isa", "reason_code", "reason", "idle") == expected
    assert column(run.events("kvm_exit"), "exit_reason") == [code]  # as recorded


def test_reasons_come_and_go_over_a_whole_recording(tmp_path: Path) -> None:
    codes = [NPF, MSR, 0x3FF, HLT, 0xFFFFFFFF, 0x4E, 0x60, NPF, HLT, 0x80000011, 0, MSR]
    made = KvmRecording()
    for place, code in enumerate(codes):
        made.exit(1_000 * place, code)
        made.enter(1_000 * place + 10)
    run = stored(made, tmp_path)
    assert column(run.exits(), "reason_code") == codes
    assert column(run.exits(), "reason") == [
        "npf", "msr", "0x3ff", "hlt", "invalid_guest_state", "PF excp", "interrupt", "npf", "hlt",
        "vmgexit_guest_request", "read_cr0", "msr",
    ]  # fmt: skip


def test_one_recording_may_hold_exits_of_both_isas(tmp_path: Path) -> None:
    made = KvmRecording()
    made.exit(1_000, 0x10, isa=VMX)
    made.exit(2_000, 0x10, isa=SVM)
    made.exit(3_000, 0x10, isa=7)
    made.enter(4_000)
    rows = stored(made, tmp_path).exits()
    assert [pick(row, "isa", "reason") for row in rows] == [
        ("VMX", "RDTSC"),
        ("SVM", "write_cr0"),
        ("isa 7", "write_cr0"),
    ]


def test_names_come_from_the_recordings_own_print_fmt(tmp_path: Path) -> None:
    made = KvmRecording("kvm_entry", exits=False)
    made.add_tracepoint(
        "kvm", "kvm_exit", format_text("kvm", "kvm_exit").replace('"npf"', '"nested page \U0001f600 fault"')
    )
    made.exit(1_000, NPF)
    run = stored(made, tmp_path)
    assert run.only_exit()["reason"] == "nested page \U0001f600 fault"


@pytest.mark.parametrize(("isa", "others"), [(SVM, "write_cr0"), (VMX, "RDTSC")])
def test_stored_symbols_are_those_of_the_recordings_isa(tmp_path: Path, isa: int, others: str) -> None:
    made = KvmRecording(isa=isa)
    made.exit(1_000, 0x10)
    symbols = stored(made, tmp_path).table("symbols").to_pylist()
    found = [
        row["name"] for row in symbols if pick(row, "event", "field", "value") == ("kvm_exit", "exit_reason", 0x10)
    ]
    assert found == [others]


def test_the_table_has_the_columns_of_the_schema_in_order(tmp_path: Path) -> None:
    made = KvmRecording()
    made.exit(1_000)
    table = stored(made, tmp_path).table("exits")
    assert table.column_names == schema.EXITS.names()
    types = [str(getattr(column.type, "value_type", column.type)) for column in table.columns]
    assert types == [column.type for column in schema.EXITS.columns]
    required = [column.name for column in schema.EXITS.columns if not column.nullable]
    assert all(table[name].null_count == 0 for name in required)


def test_the_manifest_counts_what_the_tables_hold(tmp_path: Path) -> None:
    made = KvmRecording("kvm_msr", "kvm_pio")
    for start in (1_000, 2_000, 3_000):
        made.exit(start, MSR)
        made.event("kvm_msr", start + 10, ecx=0x10)
        made.enter(start + 100)
    made.enter(3_500)
    made.exit(4_000)
    run = stored(made, tmp_path)
    assert run.manifest.exits == {
        "rows": 4,
        "closed_by_entry": 3,
        "closed_by_next_exit": 0,
        "closed_by_hole": 0,
        "closed_by_end": 1,
        "suspect": 0,
        "entries_without_exit": 1,
        "late_events": 0,
    }
    assert {t.event: (t.samples, t.rows) for t in run.manifest.tracepoints} == {
        "kvm_exit": (4, 4),
        "kvm_entry": (4, 4),
        "kvm_msr": (3, 3),
        "kvm_pio": (0, 0),  # enabled, and never fired
    }
    assert {name: info.rows for name, info in run.manifest.tables.items() if name != "symbols"} == {
        "exits": 4,
        "events/kvm/kvm_exit": 4,
        "events/kvm/kvm_entry": 4,
        "events/kvm/kvm_msr": 3,
        "latency_buckets": run.table("latency_buckets").num_rows,
    }
    assert (run.manifest.first_ts_ns, run.manifest.last_ts_ns, run.manifest.elapsed_ns) == (1_000, 4_000, 3_000)


def test_events_that_come_too_late_are_counted_and_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "ExitBuilder", partial(ExitBuilder, drain_rows=1))
    monkeypatch.setattr("kvmtrace.formats.perf_file.PerfDataRecording", partial(PerfDataRecording, block_bytes=4_096))
    made = KvmRecording()
    for start in range(10_000, 30_000, 100):
        made.exit(start)
        made.enter(start + 10)
        if start % 5_000 == 0:
            made.add_round()
    made.exit(5_000, cpu=1)
    run = stored(made, tmp_path)
    assert run.manifest.exits["late_events"] == 1
    assert run.manifest.exits["rows"] == 201
    assert column(run.exits(), "exit_ts_ns")[-1] == 5_000
    assert [note.what for note in run.manifest.notes] == [
        "1 events came too late to be put in order: exits around them may be wrong"
    ]


def test_a_recording_without_events_of_kvm_exits_is_stored_without_exits(tmp_path: Path) -> None:
    made = KvmRecording("kvm_msr", exits=False)
    made.event("kvm_msr", 1_000, ecx=0x10)
    run = stored(made, tmp_path)
    assert run.manifest.exits == {}
    assert run.manifest.identity == ()
    assert pick(run.events("kvm_msr")[0], "ts_ns", "ecx", "exit_id", "vcpu") == (1_000, 0x10, None, None)
    assert set(run.manifest.tables) == {"events/kvm/kvm_msr"}


def test_a_tracepoint_that_never_fired_is_enabled_and_has_no_table(tmp_path: Path) -> None:
    made = KvmRecording()
    made.add_comm("qemu")
    run = stored(made, tmp_path)
    assert [(t.event, t.samples, t.rows) for t in run.manifest.tracepoints] == [("kvm_exit", 0, 0), ("kvm_entry", 0, 0)]
    assert run.exits() == []
    assert not (run.folder / "events").exists()
    assert (run.manifest.first_ts_ns, run.manifest.elapsed_ns) == (None, None)
