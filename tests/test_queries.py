"""The queries of queries/: what their headers promise, and what they answer."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from eoi_samples import add_eois
from query_samples import EVENTS, EXITS, SECOND, U32, U64, add_given, add_interrupts, make_store, turned
from store_builder import add_run, event, exits, fixed_table

from kvmtrace import queries
from kvmtrace.errors import ExitCode, UsageError
from kvmtrace.report.tables import TableFormat, render
from kvmtrace.store.connection import Result, StoreConnection
from kvmtrace.store.manifest import Tracepoint

GOLDEN = Path(__file__).parent / "golden" / "queries"
LIBRARY = {query.name: query for query in queries.catalogue()}
# Those of latency_buckets, which the runs here have not, are tested with the reports and comparisons made of them.
OWN = sorted(
    name
    for name, query in LIBRARY.items()
    if not name.startswith("report/") and "latency_buckets" not in query.requires
)

PARAMETERS = {
    "benchmarks": {"run_id": "benchmarks"},
    "exit-summaries": {"run_id": "summaries"},
    "exits-before-after": {"base_run_id": "off", "new_run_id": "on"},
    "exits-by-detail": {"top": "6"},
    "rate-over-time": {"step_s": "0.75"},
    "compare/counters_by_interval": {"run_id": "before"},
    "compare/exits_by_block": {
        "base_run_id": "off",
        "new_run_id": "on",
        "blocks": "3",
        "top": "2",
        "by_detail": "true",
        "by_vm": "false",
        "by_vcpu": "false",
        "by_cpu": "false",
        "by_latency": "true",
    },
    "whatif/interrupts": {"run_id": "02dd"},
    "preempted-by": {"run_id": "interrupts"},
    "interrupt-chain": {"run_id": "interrupts"},
    "interrupt-chain-summary": {"run_id": "interrupts"},
    "ipi-chain": {"run_id": "interrupts"},
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return add_eois(add_given(add_interrupts(make_store(tmp_path_factory.mktemp("queries") / "store", lambda t: t))))


@pytest.fixture(scope="module")
def backwards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = make_store(tmp_path_factory.mktemp("queries") / "store", turned)
    return add_eois(add_given(add_interrupts(store, turned), turned), turned)


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
    assert {path.relative_to(GOLDEN).with_suffix("").as_posix() for path in GOLDEN.rglob("*.csv")} == set(OWN)


@pytest.mark.parametrize("name", LIBRARY)
def test_the_header_of_a_query_holds_in_an_empty_store(tmp_path: Path, name: str) -> None:
    (tmp_path / "runs").mkdir()
    query = LIBRARY[name]
    events = {table for table in query.requires if table.startswith(("kvm_", "sched_"))}
    add_run(tmp_path, "aa", enabled=[(name.partition("_")[0], name) for name in events])
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


def whole(name: str, value: float | None, **more: object) -> dict[str, object]:
    return {"event": name, "value": value, "state": "not counted" if value is None else "counted", **more}


def compared(store: Path, *rows: dict[str, object], **facts: object) -> dict[object, dict[str, object]]:
    """Return what `exits-before-after` says of counters beside themselves, by item."""
    add_run(store, "aa", {"counters": fixed_table("counters", rows)}, kind="counters", **facts)
    found = as_rows(answer(store, "exits-before-after", base_run_id="aa", new_run_id="aa"))
    for row in found:
        assert [row[name] for name in row if name.startswith("base")] == [
            row[name] for name in row if name.startswith("new")
        ]
    return {row["item"]: row for row in found}


def test_parts_of_an_event_are_not_counted_beside_it(tmp_path: Path) -> None:
    parts = [whole("kvm_exit", 60.0, system="kvm", part="HLT"), whole("kvm_exit", 40.0, system="kvm", part="MSR_WRITE")]
    found = compared(tmp_path, whole("kvm_exit", 100.0, system="kvm"), *parts)
    assert {item: row["base_n"] for item, row in found.items()} == {"kvm:kvm_exit": 100}


@pytest.mark.parametrize(
    ("scopes", "n"),
    [
        ({None: 300, "328-4": 100, "328-4/vcpu0": 60, "328-4/vcpu1": 40, "329-4": 200}, 300),
        ({"328-4": 100, "328-4/vcpu0": 60, "328-4/vcpu1": 40, "329-4": 200}, 300),
        ({"328-4": 100, "328-42/vcpu0": 60, "328-42/vcpu1": 40}, 200),
        ({"CPU0": 3, "CPU1": 4, "CPU10": 5}, 12),
        ({"CPU 0/KVM-12": 3, "CPU 1/KVM-13": 4, "qemu-11": 5}, 12),
        ({None: None, "CPU0": 3}, None),
    ],
)
def test_a_total_holds_what_is_counted_apart(tmp_path: Path, scopes: dict[str | None, int | None], n: int) -> None:
    found = compared(tmp_path, *(whole("exits", value, scope=scope) for scope, value in scopes.items()))
    assert {item: row["base_n"] for item, row in found.items()} == {"exits": n}


def test_scopes_of_one_event_say_nothing_of_another(tmp_path: Path) -> None:
    found = compared(
        tmp_path, whole("exits", 5.0), whole("hypercalls", 1.0, scope="7-4"), whole("exits", 5.0, scope="7-4")
    )
    assert {item: row["base_n"] for item, row in found.items()} == {"exits": 5, "hypercalls": 1}


def test_a_value_that_is_no_count_is_null(tmp_path: Path) -> None:
    found = compared(tmp_path, whole("kvm_exit", 2.0**64), whole("kvm_entry", 1.0), elapsed_ns=SECOND)
    assert (found["kvm_exit"]["base_n"], found["kvm_exit"]["base_rate_per_s"]) == (None, None)
    assert (found["kvm_entry"]["base_n"], found["kvm_entry"]["base_rate_per_s"]) == (1, 1.0)


def test_intervals_without_a_count_are_no_time_of_it(tmp_path: Path) -> None:
    rows = [
        whole(name, value, system="kvm", interval_end_ns=end * SECOND, scope=scope)
        for name, scope, values in (
            ("kvm_exit", None, (100.0, 200.0, None)),
            ("kvm_inj_virq", None, (10.0, 10.0, 30.0)),
            ("kvm_pio", "CPU0", (1.0, None, 7.0)),
            ("kvm_pio", "CPU1", (1.0, 1.0, 1.0)),
            ("kvm_msr", None, (None, None, None)),
        )
        for end, value in zip((1, 2, 5), values, strict=True)
    ]
    found = compared(tmp_path, *rows, elapsed_ns=5 * SECOND)
    names = ("base_n", "base_rate_per_s", "base_per_injection")
    assert {item: tuple(row[name] for name in names) for item, row in found.items()} == {
        "kvm:kvm_exit": (300, 150.0, 15.0),
        "kvm:kvm_inj_virq": (50, 10.0, 1.0),
        "kvm:kvm_pio": (11, 2.6, 0.26),
        "kvm:kvm_msr": (None, None, None),
    }


@pytest.fixture(scope="module")
def aeons(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store of a recording whose damaged times add up to more than 2^63 ns."""
    times = dict.fromkeys(("latency_ns", "guest_ns"), 1 << 62)
    times |= dict.fromkeys(("userspace_ns", "blocked_ns", "polled_ns", "preempted_ns", "hcall_ns"), 1 << 60)
    rows = [row | times | {"exit_id": n, "suspect": False} for n, row in enumerate(EXITS.to_pylist() * 3)]
    buckets = [
        {
            "detail_capped": False,
            "idle": False,
            "suspect": False,
            "n": 1,
            "bucket_low_ns": 1 << 61,
            **dict.fromkeys(("bucket_high_ns", "sum_ns", "min_ns", "max_ns", "userspace_ns", "blocked_ns"), 1 << 62),
        }
    ] * 4
    made = {"exits": fixed_table("exits", rows), "latency_buckets": fixed_table("latency_buckets", buckets)}
    store = tmp_path_factory.mktemp("aeons")
    add_run(store, "aa", {**made, **EVENTS}, first_ts_ns=0, last_ts_ns=1 << 62, elapsed_ns=1 << 62)
    return store


@pytest.mark.parametrize("name", LIBRARY)
def test_sums_of_damaged_times_make_no_error(aeons: Path, name: str) -> None:
    query = LIBRARY[name]
    if any(table.startswith(("kvm_", "sched_")) and f"events/kvm/{table}" not in EVENTS for table in query.requires):
        pytest.skip("needs other events")
    if {"exits", "kvm_exit", "kvm_pio", "kvm_msr"}.isdisjoint(query.requires):
        pytest.skip("reads no exits")
    samples = {"base_run_id": "aa", "new_run_id": "aa", "run_id": "aa", "step_s": "1e300", "blocks": 256, "top": 9}
    given = {p.name: samples.get(p.name, True) for p in query.parameters if p.name in samples or p.type == "BOOLEAN"}
    answer(aeons, name, **given)


def test_a_period_that_is_no_number_of_events_makes_no_error(tmp_path: Path) -> None:
    manifest = add_run(tmp_path, "aa", {"exits": exits({"reason": "io"}, {"reason": "io"})}, elapsed_ns=SECOND)
    path = tmp_path / "runs" / "run_id=aa" / "run.json"
    forged = (Tracepoint("kvm", "kvm_exit", 2, 2, 2**63 - 1),)
    path.write_text(dataclasses.replace(manifest, tracepoints=forged).to_json())
    rows = as_rows(answer(tmp_path, "exits-before-after", base_run_id="aa", new_run_id="aa"))
    assert {(row["kind"], row["base_n"]) for row in rows} == {("all exits", None), ("reason", None), ("event", None)}


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
        ("exits-by-vcpu", {"run_id": "before"}, "exits was not recorded in run 22cc (a run of counters)", "table"),
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


def test_counts_of_what_was_not_recorded_are_null_and_not_0(tmp_path: Path) -> None:
    fault = {"fault_address": U64}
    add_run(
        tmp_path,
        "old",
        {
            "exits": exits({"vm_id": "7", "vcpu": 0, "cpu": None}),
            "events/kvm/kvm_page_fault": event(fault, {"fault_address": 4096}),
        },
    )
    returns = event({"reason": U32}, {"reason": 2})
    add_run(tmp_path, "pio", {"events/kvm/kvm_userspace_exit": returns})
    (page,) = as_rows(answer(tmp_path, "page-faults", run_id="old"))
    assert (page["faults"], page["writes"]) == (1, None)  # no error_code: whether one was a write is not told
    (vcpu,) = as_rows(answer(tmp_path, "exits-by-vcpu", run_id="old"))
    assert (vcpu["exits"], vcpu["cpus"]) == (1, None)
    (vmm,) = as_rows(answer(tmp_path, "userspace-exits", run_id="pio"))
    assert (vmm["events"], vmm["exits"]) == (1, None)


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
        ("-- column n ", "-- field kvm_x.a BIGINT: A.\n-- column n ", 1, "field: kvm_x is declared and not read"),
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
        answer(store, str(path), run_id="off")
    assert error.value.message.startswith(f"{path}:{line}: {message}")


def test_an_error_of_the_sql_names_the_file_and_its_line(store: Path, tmp_path: Path) -> None:
    path = tmp_path / "wrong.sql"
    path.write_text(TRUE.replace("    reason,\n", "    raeson,\n"))
    with pytest.raises(UsageError, match=r'Referenced column "raeson" not found') as error:
        answer(store, str(path), run_id="off")
    assert error.value.message.startswith(f"{path}: ")
    assert "LINE 8: " in (error.value.hint or "")


def test_a_table_with_a_field_that_is_not_required_is_empty_where_it_was_not_recorded(
    store: Path, tmp_path: Path
) -> None:
    path = tmp_path / "own.sql"
    path.write_text(
        TRUE.replace("-- param run_id", "-- field kvm_never.what VARCHAR: What.\n-- param run_id").replace(
            "FROM exits\n", "FROM exits\nLEFT JOIN kvm_never USING (run_id, vcpu, exit_id)\n"
        )
    )
    assert answer(store, str(path), run_id="off").rows == [
        ("hlt", 1),
        ("hypercall", 1),
        ("io", 2),
        ("msr", 2),
        ("npf", 2),
    ]
    path.write_text(path.read_text().replace("-- field kvm_never.what VARCHAR: What.\n", ""))
    with pytest.raises(UsageError, match="no table 'kvm_never'"):
        answer(store, str(path), run_id="off")


USING = """\
-- purpose: Reasons with more than one exit.
-- uses: exits-by-reason
-- param run_id VARCHAR: Run.
-- column reason VARCHAR: Reason.
WITH several AS (
    SELECT reason
    FROM exits_by_reason
    WHERE exits > 1
)
SELECT reason FROM several ORDER BY reason
"""


def test_a_query_reads_another_as_a_table(store: Path, tmp_path: Path) -> None:
    path = tmp_path / "own.sql"
    path.write_text(USING)
    assert answer(store, str(path), run_id="off").rows == [("hlt",), ("io",), ("msr",), ("npf",)]
    assert queries.load(str(path)).requires == ("exits",)
    with pytest.raises(UsageError, match="exits was not recorded in run 22cc"):
        answer(store, str(path), run_id="before")
    plain = "SELECT reason FROM exits_by_reason ORDER BY reason\n"
    path.write_text(USING.partition("WITH")[0] + plain)
    assert len(answer(store, str(path), run_id="off").rows) == 5


def test_an_error_in_a_query_that_uses_others_has_its_own_line(store: Path, tmp_path: Path) -> None:
    path = tmp_path / "own.sql"
    path.write_text(USING.replace("    WHERE exits > 1", "    WHERE exists > 1"))
    with pytest.raises(UsageError) as error:
        answer(store, str(path), run_id="off")
    assert "LINE 8: " in (error.value.hint or "")
    path.write_text(USING.replace("exits-by-reason", "exits-by-reasons"))
    with pytest.raises(UsageError, match="exits-by-reasons"):
        answer(store, str(path), run_id="off")


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
