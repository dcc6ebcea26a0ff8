"""The queries of queries/: what their headers promise, and what they answer."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from store_builder import add_run, event, exits, fixed_table

from kvmtrace import queries
from kvmtrace.errors import ExitCode, UsageError
from kvmtrace.report.tables import TableFormat, render
from kvmtrace.store.catalogue import Catalogue
from kvmtrace.store.connection import Result, StoreConnection
from kvmtrace.store.label import Label
from kvmtrace.store.manifest import Source, Tracepoint

if TYPE_CHECKING:
    from collections.abc import Callable

GOLDEN = Path(__file__).parent / "golden" / "queries"
LIBRARY = {query.name: query for query in queries.catalogue()}
OWN = sorted(name for name in LIBRARY if not name.startswith("report/"))  # those of the report are tested with it

U8, U32, U64, I32 = pa.uint8(), pa.uint32(), pa.uint64(), pa.int32()
MSR = {"write": U32, "ecx": U32, "data": U64, "exception": U8}
PIO = {"rw": U32, "port": U32, "size": U32, "count": U32, "val": U32}
FAULT = {"vcpu_id": U32, "guest_rip": U64, "fault_address": U64, "error_code": U64}
SECOND = 10**9

# exit_id is the row's place. Latencies are chosen so that each sum tells which exits are in it.
EXITS = exits(
    dict(vm_id="7", vcpu=0, cpu=0, reason="npf", latency_ns=1000, guest_ns=10, detail_kind="gpa", detail=0xFEE000B0, detail_name="APIC_EOI", userspace=False, userspace_ns=0, exit_ts_ns=1 * SECOND),
    dict(vm_id="7", vcpu=0, cpu=1, reason="npf", latency_ns=3000, guest_ns=20, detail_kind="gpa", detail=2**63, userspace=False, userspace_ns=0, exit_ts_ns=1 * SECOND + 1),
    dict(vm_id="7", vcpu=0, cpu=0, reason="io", latency_ns=100_000, guest_ns=None, detail_kind="port", detail=0x3F8, detail_name="COM1 data", userspace=True, userspace_ns=90_000, exit_ts_ns=2 * SECOND),
    dict(vm_id="7", vcpu=1, cpu=1, reason="io", latency_ns=50_000, guest_ns=30, detail_kind="port", detail=0x3F8, detail_name="COM1 data", userspace=True, userspace_ns=None, exit_ts_ns=2 * SECOND + 5),
    dict(vm_id="7", vcpu=1, cpu=1, reason="hlt", idle=True, latency_ns=2_000_000, guest_ns=40, userspace=False, userspace_ns=0, blocked_ns=1_900_000, polled_ns=0, exit_ts_ns=2 * SECOND + 6),
    dict(vm_id="7", vcpu=1, cpu=1, reason="hlt", idle=True, latency_ns=None, closed_by="end", exit_ts_ns=5 * SECOND),
    dict(vm_id="7", vcpu=1, cpu=0, reason="msr", latency_ns=7000, guest_ns=50, detail_kind="msr", detail=0x6E0, detail_name="IA32_TSC_DEADLINE", userspace=False, userspace_ns=0, exit_ts_ns=3 * SECOND),
    dict(vm_id="7", vcpu=1, cpu=0, reason="msr", latency_ns=900_000_000, guest_ns=60, detail_kind="msr", detail=0x6E0, detail_name="IA32_TSC_DEADLINE", suspect=True, exit_ts_ns=3 * SECOND + 1),
    dict(vm_id="8", vcpu=None, cpu=0, reason="hypercall", latency_ns=0, detail_kind="hypercall", detail=10, detail_name="KVM_HC_SEND_IPI", userspace=False, userspace_ns=0, exit_ts_ns=4 * SECOND - 1),
)  # fmt: skip
EVENTS = {
    "events/kvm/kvm_msr": event(
        MSR,
        {"write": 1, "ecx": 0x6E0, "data": 1, "exception": 0, "exit_id": 6},
        {"write": 1, "ecx": 0x6E0, "data": 2, "exception": 0, "exit_id": 7},
        {"write": 0, "ecx": 0x6E0, "data": 2, "exception": 0, "exit_id": 6},
        {"write": 1, "ecx": 0xC0000080, "data": 2, "exception": 1, "exit_id": None},
    ),
    "events/kvm/kvm_pio": event(
        PIO,
        {"rw": 1, "port": 0x3F8, "size": 1, "count": 1, "val": 65, "exit_id": 2},
        {"rw": 1, "port": 0x3F8, "size": 1, "count": 16, "val": 65, "exit_id": 3},
        {"rw": 0, "port": 0x3FD, "size": 1, "count": 1, "val": 1, "exit_id": None},
    ),
    "events/kvm/kvm_hypercall": event({"nr": U64, "a0": U64}, {"nr": 10, "a0": 1, "exit_id": 8}, {"nr": 5, "a0": 1}),
    "events/kvm/kvm_page_fault": event(
        FAULT,
        {"vcpu_id": 0, "guest_rip": 1, "fault_address": 0xFEE000B0, "error_code": 0x100000002, "exit_id": 0},
        {"vcpu_id": 0, "guest_rip": 1, "fault_address": 0xFEE00FFF, "error_code": 0x100000004, "exit_id": 1},
        {"vcpu_id": 0, "guest_rip": 1, "fault_address": 2**64 - 1, "error_code": 0, "exit_id": None},
    ),
    "events/kvm/kvm_userspace_exit": event(
        {"reason": U32, "errno": I32},
        {"reason": 2, "errno": 0, "exit_id": 2},
        {"reason": 2, "errno": 0, "exit_id": 3},
        {"reason": 99, "errno": 0},
        {"reason": 10, "errno": -4},
        {"reason": 10, "errno": -14},
    ),
    "events/kvm/kvm_inj_virq": event({"vector": U32}, {"vector": 1}, {"vector": 2}),
}
SYMBOLS = fixed_table(
    "symbols", [{"system": "kvm", "event": "kvm_userspace_exit", "field": "reason", "value": 2, "name": "KVM_EXIT_IO"}]
)
PARAMETERS = {
    "exits-before-after": {"base_run_id": "off", "new_run_id": "on"},
    "exits-by-detail": {"top": "6"},
    "rate-over-time": {"step_s": "0.75"},
}


def counter(name: str, value: float | None, **more: object) -> dict[str, object]:
    return {"event": name, "system": "kvm", "value": value, "state": "counted", "line": 1, **more}


def turned(table: pa.Table) -> pa.Table:
    return table.take(range(table.num_rows - 1, -1, -1))


def make_store(store: Path, arranged: Callable[[pa.Table], pa.Table]) -> Path:
    times = {"first_ts_ns": 1 * SECOND, "last_ts_ns": 4 * SECOND, "elapsed_ns": 3 * SECOND}
    off = {"exits": EXITS, "symbols": SYMBOLS, **EVENTS}
    on = {
        "exits": exits({"reason": "npf", "latency_ns": 1}, {"reason": "cpuid", "latency_ns": 2}),
        "events/kvm/kvm_inj_virq": event({"vector": U32}, *[{"vector": 1}] * 4),
    }
    add_run(
        store,
        "00aa",
        {path: arranged(table) for path, table in off.items()},
        exits={"rows": 9, "suspect": 1},
        enabled=[("kvm", "kvm_vcpu_wakeup")],
        **times,
    )
    add_run(
        store,
        "11bb",
        {path: arranged(table) for path, table in on.items()},
        enabled=[("kvm", "kvm_msr")],
        enabled_ns=2 * SECOND,
        **times,
    )
    for run_id, part, seconds, counts in (
        ("22cc", "#1", 1.002100578, {"kvm_exit": 49849, "kvm_inj_virq": 21115, "kvm_entry": 47357, "kvm_cr": 0}),
        ("33dd", "#2", 1.002039622, {"kvm_exit": 29595, "kvm_inj_virq": 24884, "kvm_entry": 28354, "kvm_cr": None}),
    ):
        rows = [counter(name, value) for name, value in counts.items()]
        rows.append(counter("task-clock", 3.5, system=None, unit="msec"))
        add_run(
            store,
            run_id,
            {"counters": fixed_table("counters", rows)},
            kind="counters",
            source=Source("004.txt", "perf stat", 1, "blake3:0", part),
            elapsed_ns=round(seconds * SECOND),
        )
    catalogue = Catalogue(store)
    for run_id, label in {"00aa": "off", "11bb": "on", "22cc": "before", "33dd": "after"}.items():
        catalogue.set_label(run_id, Label(label))
    return store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("queries") / "store", lambda table: table)


@pytest.fixture(scope="module")
def backwards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("queries") / "store", turned)


def answer(store: Path, name: str, **parameters: object) -> Result:
    with StoreConnection(store) as connection:
        return queries.run(connection, queries.load(name), parameters)


def as_rows(result: Result) -> list[dict[str, object]]:
    return [dict(zip(result.names, row, strict=True)) for row in result.rows]


@pytest.mark.parametrize("name", OWN)
def test_a_query_answers_what_its_golden_file_says(store: Path, name: str) -> None:
    given = {p.name: "off" for p in LIBRARY[name].parameters if p.name == "run_id"} | PARAMETERS.get(name, {})
    golden = GOLDEN / f"{name}.csv"
    assert golden.exists(), f"{golden} is missing: a query needs its golden file"
    assert render(answer(store, name, **given), TableFormat.CSV) == golden.read_text()


def test_every_golden_file_has_its_query() -> None:
    assert {path.stem for path in GOLDEN.glob("*.csv")} == set(OWN)


@pytest.mark.parametrize("name", LIBRARY)
def test_the_header_of_a_query_holds_in_an_empty_store(tmp_path: Path, name: str) -> None:
    (tmp_path / "runs").mkdir()
    query = LIBRARY[name]
    events = {table for table in query.requires if table.startswith("kvm_")}
    add_run(tmp_path, "aa", enabled=[("kvm", event_name) for event_name in events])
    samples = {"VARCHAR": "aa", "BIGINT": 1, "UBIGINT": 1, "DOUBLE": 1.0, "BOOLEAN": True}
    with StoreConnection(tmp_path) as connection:
        values = {p.name: samples[p.type] for p in query.parameters}
        result = queries.execute(connection, query, queries.Binding(values))
        nulls = {p.name: None for p in query.parameters if p.default == "NULL"}
        queries.execute(connection, query, queries.Binding(values | nulls))
    assert result.names == [column.name for column in query.columns]


@pytest.mark.parametrize("name", OWN)
def test_the_order_of_the_rows_does_not_hang_on_how_they_are_stored(backwards: Path, name: str) -> None:
    given = {p.name: "off" for p in LIBRARY[name].parameters if p.name == "run_id"} | PARAMETERS.get(name, {})
    assert render(answer(backwards, name, **given), TableFormat.CSV) == (GOLDEN / f"{name}.csv").read_text()


@pytest.mark.parametrize("name", OWN)
def test_names_of_times_carry_their_unit(name: str) -> None:
    times = [c.name for c in LIBRARY[name].columns if re.match(r"Time\b|(\w+ ){0,2}latency\b", c.meaning)]
    assert [name for name in times if not name.endswith(("_ns", "_s"))] == []


def test_the_seed_of_2012_gives_its_published_ratios(store: Path) -> None:
    """49,849 → 29,595 exits in a second: ×0.594, and per injected interrupt 2.361 → 1.189 = ×0.504."""
    rows = as_rows(answer(store, "exits-before-after", base_run_id="before", new_run_id="after"))
    (kvm_exit,) = (row for row in rows if row["item"] == "kvm:kvm_exit")
    assert (kvm_exit["base_n"], kvm_exit["new_n"]) == (49849, 29595)
    assert kvm_exit["rate_ratio"] == pytest.approx(0.594, abs=5e-4)
    assert kvm_exit["base_per_injection"] == pytest.approx(2.361, abs=5e-4)
    assert kvm_exit["new_per_injection"] == pytest.approx(1.189, abs=5e-4)
    assert kvm_exit["per_injection_ratio"] == pytest.approx(0.504, abs=5e-4)


def test_before_and_after_tells_0_from_not_recorded(store: Path) -> None:
    counters = {
        row["item"]: row
        for row in as_rows(answer(store, "exits-before-after", base_run_id="before", new_run_id="after"))
    }
    assert (counters["kvm:kvm_cr"]["base_n"], counters["kvm:kvm_cr"]["new_n"]) == (0, None)
    assert "task-clock" not in counters
    recordings = as_rows(answer(store, "exits-before-after", base_run_id="off", new_run_id="on"))
    named = {(row["kind"], row["item"]): row for row in recordings}
    assert named["reason", "cpuid"]["base_n"] == 0
    assert named["reason", "io"]["new_n"] == 0
    assert named["event", "kvm:kvm_pio"]["new_n"] is None
    assert named["event", "kvm:kvm_msr"]["new_n"] == 0
    assert named["all exits", None]["new_rate_per_s"] == 1.0  # by the enabled time, not the elapsed


def test_a_recording_and_counters_are_compared_by_event(store: Path) -> None:
    rows = as_rows(answer(store, "exits-before-after", base_run_id="off", new_run_id="after"))
    named = {(row["kind"], row["item"]): row for row in rows}
    assert named["event", "kvm:kvm_inj_virq"]["base_n"] == 2
    assert named["event", "kvm:kvm_inj_virq"]["new_n"] == 24884
    assert named["all exits", None]["new_n"] is None


def test_sampled_tracepoints_count_by_their_period(tmp_path: Path) -> None:
    points = {"kvm_exit": 100, "kvm_eoi": 1, "kvm_cr": 0}
    manifest = add_run(tmp_path, "aa", elapsed_ns=SECOND)
    sampled = tuple(Tracepoint("kvm", name, 7, 7, period) for name, period in points.items())
    path = tmp_path / "runs" / "run_id=aa" / "run.json"
    path.write_text(dataclasses.replace(manifest, tracepoints=sampled).to_json())
    rows = as_rows(answer(tmp_path, "exits-before-after", base_run_id="aa", new_run_id="aa"))
    assert {row["item"]: row["base_n"] for row in rows} == {"kvm:kvm_exit": 700, "kvm:kvm_eoi": 7, "kvm:kvm_cr": None}


def test_what_was_not_recorded_is_null_in_the_split(store: Path) -> None:
    rows = {row["reason"]: row for row in as_rows(answer(store, "exit-time-split", run_id="on"))}
    assert rows["npf"]["out_of_guest_ns"] == 1
    names = ("userspace_exits", "userspace_ns", "blocked_ns", "polled_ns", "kernel_ns")
    assert [rows["npf"][name] for name in names] == [None] * 5


def test_the_run_that_is_not_given_is_the_latest_and_is_told(store: Path) -> None:
    with StoreConnection(store) as connection:
        binding = queries.bind(connection, queries.load("report/counters"), {})
    assert binding.values["run_id"] == "33dd"
    assert binding.chosen == ["run 33dd (004.txt#2), the latest"]


def test_a_run_may_be_given_as_on_the_command_line(store: Path) -> None:
    for text in ("off", "00aa", "00", "00aa.data"):
        assert answer(store, "exits-by-reason", run_id=text).rows[0][0] == "io"


@pytest.mark.parametrize(
    ("name", "parameters", "message", "hint"),
    [
        ("exits-by-detail", {"topp": "1"}, "exits-by-detail has no parameter 'topp'", "nearest: top"),
        ("exits-by-detail", {"x": "1"}, "exits-by-detail has no parameter 'x'", "parameters: run_id, reason, top"),
        ("exits-by-detail", {"top": "many"}, "top: expected BIGINT, found 'many'", None),
        ("exits-by-detail", {"top": str(2**63)}, f"top: expected BIGINT, found '{2**63}'", None),
        ("rate-over-time", {"step_s": "inf"}, "step_s: expected DOUBLE, found 'inf'", None),
        ("slowest-exits", {"with_idle": "maybe"}, "with_idle: expected BOOLEAN, found 'maybe'", None),
        ("page-faults", {"page_bytes": "-1"}, "page_bytes: expected UBIGINT, found '-1'", None),
        ("exits-before-after", {}, "exits-before-after needs a run for base_run_id", "-p base_run_id=RUN"),
        ("exits-by-reason", {"run_id": "zz"}, "no run is called 'zz'", "kvmtrace runs"),
        ("exits-by-reason", {"run_id": "before"}, "exits was not recorded in run 22cc (a run of counters)", "tracepoints"),
        ("io-by-port", {"run_id": "on"}, "kvm_pio was not recorded in run 11bb (11bb.data)", "tracepoints"),
    ],
)  # fmt: skip
def test_a_wrong_parameter_is_an_error_that_says_what_is_expected(
    store: Path, name: str, parameters: dict[str, str], message: str, hint: str | None
) -> None:
    with pytest.raises(UsageError) as error:
        answer(store, name, **{"run_id": "off", **parameters} if name != "exits-before-after" else parameters)
    assert error.value.message == message
    assert (hint or "") in (error.value.hint or "")
    assert error.value.exit_code == ExitCode.USAGE


def test_numbers_may_be_hexadecimal_and_null_lifts_a_limit(store: Path) -> None:
    assert len(answer(store, "page-faults", run_id="off", page_bytes="0x1000").rows) == 2
    assert len(answer(store, "page-faults", run_id="off", page_bytes="1", top="NULL").rows) == 3
    assert len(answer(store, "page-faults", run_id="off", top=1).rows) == 1


def test_an_event_that_never_fired_is_an_empty_answer(store: Path) -> None:
    result = answer(store, "msr-writes", run_id="on")
    assert result.rows == []
    assert result.types == [column.type for column in LIBRARY["msr-writes"].columns]


def test_the_oldest_kernel_says_rw_for_write(tmp_path: Path) -> None:
    old = event({"rw": U32, "ecx": U32, "data": U64}, {"rw": 1, "ecx": 1, "data": 1}, {"rw": 0, "ecx": 2, "data": 1})
    add_run(tmp_path, "aa", {"events/kvm/kvm_msr": old})
    (row,) = as_rows(answer(tmp_path, "msr-writes"))
    assert (row["msr"], row["writes"], row["failed"]) == (1, 1, None)


def test_a_query_that_is_not_there_lists_the_nearest() -> None:
    with pytest.raises(UsageError, match="no query is called 'exits-by-reasons'") as error:
        queries.load("exits-by-reasons")
    assert "exits-by-reason" in (error.value.hint or "")
    for outside in ("../tests/golden", "report/../exits-by-reason"):
        with pytest.raises(UsageError, match="no query is called"):
            queries.load(outside)


TRUE = """\
-- purpose: Exits of a run.
-- requires: exits
-- param run_id VARCHAR: Run.
-- param least BIGINT = 0: Shortest latency.
-- column reason VARCHAR: Reason.
-- column n BIGINT: Exits.
SELECT
    reason,
    count(*) AS n
FROM exits
WHERE run_id = $run_id AND latency_ns >= $least
GROUP BY reason
ORDER BY reason ASC NULLS LAST
"""


def test_a_query_of_the_users_own_is_run_from_its_file(store: Path, tmp_path: Path) -> None:
    path = tmp_path / "own.sql"
    path.write_text(TRUE)
    assert answer(store, str(path), run_id="off", least="1000").rows == [("hlt", 1), ("io", 2), ("msr", 2), ("npf", 2)]


@pytest.mark.parametrize(
    ("true", "lie", "line", "message"),
    [
        ("-- purpose: Exits of a run.\n", "", 1, "expected a line `-- purpose` in the header, found none"),
        ("-- requires: exits\n", "", 1, "expected a line `-- requires` in the header, found none"),
        ("-- requires: exits", "-- requires: exits, kvm_msr", 1, "requires: kvm_msr is declared and not read"),
        ("-- requires: exits", "-- needs: exits", 2, "expected a line of a query's header, found '-- needs: exits'"),
        ("-- param least BIGINT = 0: Shortest latency.\n", "", 10, "$least is used and not declared"),
        ("-- param least BIGINT = 0", "-- param least BIGINT = x", 4, "least: expected BIGINT, found 'x'"),
        ("-- param least BIGINT = 0", "-- param least HUGEINT", 4, "expected a type of VARCHAR"),
        ("-- param least", "-- param run_id VARCHAR: Run.\n-- param least", 4, "param run_id is declared twice"),
        (" AND latency_ns >= $least", "", 4, "param least is declared and not used"),
        ("-- column n BIGINT", "-- column n INTEGER", 6, "column n INTEGER is declared, the result has n BIGINT"),
        ("-- column n BIGINT", "-- column m BIGINT", 6, "column m BIGINT is declared, the result has n BIGINT"),
        ("-- column n BIGINT: Exits.\n", "", 5, "the result has a column n BIGINT that is not declared"),
        (
            "-- column n ",
            "-- column n BIGINT: Exits.\n-- column m ",
            7,
            "column m is declared, the result does not have it",
        ),
        (
            "-- column n BIGINT",
            "-- field exits.a BIGINT: A.\n-- column n BIGINT",
            6,
            "expected a field of a tracepoint",
        ),
        ("ORDER BY reason ASC NULLS LAST\n", "", 7, "expected ORDER BY after the outermost SELECT, found none"),
    ],
)
def test_a_query_whose_header_lies_is_refused_at_its_line(
    store: Path, tmp_path: Path, true: str, lie: str, line: int, message: str
) -> None:
    path = tmp_path / "lying.sql"
    assert TRUE.count(true) == 1
    path.write_text(TRUE.replace(true, lie))
    with pytest.raises(UsageError) as error:
        answer(store, str(path), **{"run_id": "off"})
    assert error.value.message.startswith(f"{path}:{line}: {message}")


@pytest.mark.parametrize(
    "statement", ["COPY exits TO 'x.csv'", "SELECT 1; SELECT 2", "WITH a AS (COPY exits TO 'x') FROM a"]
)
def test_a_query_file_is_held_to_what_all_sql_is_held_to(store: Path, tmp_path: Path, statement: str) -> None:
    path = tmp_path / "writing.sql"
    path.write_text(TRUE.partition("SELECT")[0] + statement)
    with pytest.raises(UsageError):
        answer(store, str(path), run_id="off")


def test_a_file_that_is_no_text_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "binary.sql"
    path.write_bytes(b"\xff\xfe")
    for name in (str(path), str(tmp_path / "missing.sql"), f"{tmp_path}.sql"):
        with pytest.raises(UsageError, match="expected an SQL file"):
            queries.load(name)
