"""Bundled recordings of POWER9, arm64 and RISC-V: what perf's tables say of them, and what their guests did."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import damage
import numpy as np
import pytest
from perf_oracle import KvmStatTable, kvm_stat_of, kvm_stat_rows, kvm_stat_table

from kvmtrace import queries
from kvmtrace.formats.source import open_source
from kvmtrace.store.connection import StoreConnection
from kvmtrace.store.manifest import Manifest

if TYPE_CHECKING:
    from ingested import IngestedRecordings

DATA = Path(__file__).parent / "data" / "other-architectures"
POWER9, ARM64, RISCV64 = (DATA / f"{name}.perf.data.zst" for name in ("power9", "arm64", "riscv64"))
FLIPPED = 60
"""Damaged copies of each recording."""
N = 30
"""Turns of each loop of the guest in the recordings of all events."""


def rows(ingested: IngestedRecordings, path: Path) -> list[dict[str, Any]]:
    exits: list[dict[str, Any]] = ingested.table(path, "exits").to_pylist()
    return exits


def perfs(name: str) -> KvmStatTable:
    return kvm_stat_table((DATA / f"{name}.perf-kvm-stat-vmexit.txt").read_text())


def by(exits: list[dict[str, Any]], *columns: str) -> Counter[tuple[Any, ...]]:
    return Counter(tuple(row[column] for column in columns) for row in exits)


def test_exits_of_power9_are_those_of_perf(ingested: IngestedRecordings) -> None:
    exits = [row for row in rows(ingested, POWER9) if row["latency_ns"] is not None and row["guest_ns"] is not None]
    # perf knows a vCPU from its first kvm_guest_enter on, so the exit before it is not in its table.
    assert len(rows(ingested, POWER9)) == len(exits) + 1
    assert kvm_stat_of([row["reason"] for row in exits], [row["latency_ns"] for row in exits]) == perfs("power9")


def test_hypercalls_of_power9_are_those_of_perf(ingested: IngestedRecordings) -> None:
    calls = [row for row in rows(ingested, POWER9) if row["detail_from"] == "kvm_hcall_enter.req"]
    names = [row["detail_name"] or f"{row['detail']:#x}" for row in calls]
    ours = kvm_stat_of(names, [row["hcall_ns"] for row in calls]).rows
    perfs_rows = kvm_stat_rows((DATA / "power9.perf-kvm-stat-hcall.txt").read_text())
    # perf has no name for 0xf00c and 0xfffc, and a row called UNKNOWN for each.
    named = {row.name: row for row in perfs_rows if row.name != "UNKNOWN"}
    assert {name: row for name, row in ours.items() if not name.startswith("0x")} == named
    unknown = [row._replace(name="UNKNOWN") for name, row in ours.items() if name.startswith("0x")]
    assert sorted(unknown) == sorted(row for row in perfs_rows if row.name == "UNKNOWN")


def test_time_in_the_guest_is_what_perf_calls_vm_exit_on_arm64_and_riscv(ingested: IngestedRecordings) -> None:
    for name, path in (("arm64", ARM64), ("riscv64", RISCV64)):
        exits = [row for row in rows(ingested, path) if row["guest_ns"] is not None]
        names = ["UNKNOWN" if row["isa"] == "interrupt" else row["reason"] for row in exits]  # perf knows no interrupt
        assert kvm_stat_of(names, [row["guest_ns"] for row in exits]) == perfs(name)


def test_the_queries_say_what_perf_says(ingested: IngestedRecordings) -> None:
    def asked(name: str, path: Path) -> list[dict[str, Any]]:
        run_id = ingested.manifest(path).run_id
        with StoreConnection(ingested.store) as connection:
            result = queries.run(connection, queries.load(name), {"run_id": run_id})
        return [dict(zip(result.names, row, strict=True)) for row in result.rows]

    def microseconds(row: dict[str, Any], kind: str) -> tuple[str, ...]:
        return tuple(f"{row[f'{kind}_{figure}_ns'] / 1e3:.2f}" for figure in ("min", "max", "avg"))

    perfs_hcalls = kvm_stat_rows((DATA / "power9.perf-kvm-stat-hcall.txt").read_text())
    calls = {row["hcall_name"] or "UNKNOWN": row for row in asked("hcalls", POWER9) if row["handled"]}
    named = {row.name: (row.shortest, row.longest, row.mean) for row in perfs_hcalls if row.name != "UNKNOWN"}
    assert {name: microseconds(row, "hcall") for name, row in calls.items() if name != "UNKNOWN"} == named
    guest = {row["reason"]: {f"guest_{k}": v for k, v in row.items()} for row in asked("guest-time", ARM64)}
    arm64 = {row.name: (row.shortest, row.longest, row.mean) for row in perfs("arm64").rows.values()}
    assert {name: microseconds(row, "guest") for name, row in guest.items()} == arm64


def test_the_guest_of_power9_did_what_it_says(ingested: IngestedRecordings) -> None:
    exits = rows(ingested, DATA / "power9-all-events.perf.data")
    calls = by([row for row in exits if row["detail_kind"] == "hcall"], "detail_name", "idle")
    assert calls["H_RANDOM", False] == calls["H_GET_TCE", False] == calls["H_CEDE", True] == N
    assert sum(count for (_, idle), count in calls.items() if not idle) == 8 * N + 1
    assert by(exits, "userspace")[True,] == 5 * N + 1
    assert by(exits, "reason")["H_EMUL_ASSIST",] == N
    assert {row["vcpu"] for row in exits} == {0}


def test_the_guest_of_arm64_did_what_it_says(ingested: IngestedRecordings) -> None:
    exits = rows(ingested, DATA / "arm64-all-events.perf.data")
    assert by(exits, "reason", "detail_name")["HVC64", "PSCI_VERSION"] == N
    assert by(exits, "reason")["HVC64",] == 2 * N
    assert by(exits, "userspace")[True,] == 2 * N + 1
    assert by(exits, "detail_kind", "detail_name", "idle")["wfx", "WFI", True] == N
    assert by(exits, "isa", "reason")["exception", "IRQ"] == 13
    assert {row["vcpu"] for row in exits} == {0}


def test_the_guest_of_riscv_did_what_it_says(ingested: IngestedRecordings) -> None:
    exits = rows(ingested, RISCV64)
    assert by(exits, "reason")["SUPERVISOR_SYSCALL",] == 600
    assert by(exits, "reason")["LOAD_GUEST_PAGE_FAULT",] == 101
    assert by(exits, "reason", "idle")["VIRTUAL_INST_FAULT", True] == 100


@pytest.mark.parametrize("name", ["power9-all-events.perf.data", "arm64-all-events.perf.data", "riscv64.perf.data.zst"])
def test_flipped_bits_end_in_rows_and_notes_or_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    damage.keep_nothing(monkeypatch)
    with open_source(str(DATA / name)) as source:
        whole = source.read_at(0, source.size)
    rng = np.random.default_rng(len(name))
    for turn in range(FLIPPED):
        flipped = bytearray(whole)
        for place in rng.integers(len(flipped), size=(1, 10, 1000)[turn % 3]).tolist():
            flipped[place] ^= 1 << int(rng.integers(8))
        path = tmp_path / "perf.data"
        path.write_bytes(flipped)
        found = damage.ingested(path, tmp_path)
        if isinstance(found, Manifest):
            damage.assert_accounted(found)
        else:
            assert "\n" not in found.message
