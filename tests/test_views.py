"""What SQL sees of a store: one table for each kind of table and each tracepoint, over all runs."""

from __future__ import annotations

import json
import os
import shutil
import time
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from store_builder import add_run, event, exits, fixed_table

from kvmtrace import schema
from kvmtrace.errors import StoreError, UsageError
from kvmtrace.store.catalogue import Catalogue
from kvmtrace.store.column_types import common_type, duckdb_type
from kvmtrace.store.connection import StoreConnection
from kvmtrace.store.label import Label
from kvmtrace.store.manifest import Lost, Source, StoredNote, encode_name, run_folder

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "store" / "runs").mkdir(parents=True)
    return tmp_path / "store"


def rows(store: Path, sql: str) -> list[tuple[object, ...]]:
    with StoreConnection(store) as connection:
        return connection.query(sql).rows


def columns(store: Path, table: str) -> dict[str, str]:
    return {name: type_ for name, type_, *_ in rows(store, f"DESCRIBE {table}")}  # type: ignore[misc]


@pytest.mark.parametrize("name", schema.TABLES)
def test_a_table_that_no_run_has_is_empty_and_has_its_columns(store: Path, name: str) -> None:
    expected = {c.name: duckdb_type(c.type) for c in schema.TABLES[name].columns}
    assert columns(store, name) == {"run_id": "VARCHAR", **expected}
    assert rows(store, f"SELECT count(*) FROM {name}") == [(0,)]  # noqa: S608 - a name of ours


@pytest.mark.parametrize("name", ["runs", "tracepoints", "notes", "lost"])
def test_tables_of_what_manifests_say_are_there_in_an_empty_store(store: Path, name: str) -> None:
    assert rows(store, f"SELECT count(*) FROM {name}") == [(0,)]  # noqa: S608 - a name of ours


def test_run_id_comes_from_the_folder_whatever_the_path_of_the_store_says(tmp_path: Path) -> None:
    store = tmp_path / "vcpu=7" / "run_id=zz" / "runs" / "store"
    add_run(store, "0123", {"exits": exits({"vcpu": 0})})
    add_run(store, "7e5", {"exits": exits({"vcpu": 1}, {"vcpu": 2})})
    assert rows(store, "SELECT run_id, vcpu FROM exits ORDER BY ALL") == [("0123", 0), ("7e5", 1), ("7e5", 2)]
    assert rows(store, "SELECT count(*) FROM exits WHERE run_id = '7e5'") == [(2,)]


def test_runs_are_what_the_manifests_and_labels_say(store: Path) -> None:
    source = Source("mail.txt", "perf-stat", 9, "blake3:0", part="#2", part_label="after")
    add_run(store, "aa", source=source, kind="counters", elapsed_ns=5, enabled_ns=4)
    add_run(
        store,
        "bb",
        {"exits": exits({}, {}), "events/kvm/kvm_eoi": event({}, {}, {}, {})},
        host={"kernel": "6.1", "hostname": "a\x1bb", "arch": "x86_64", "cpu": "EPYC", "cpus_online": 2},
        lost=(Lost("LOST", 0, 3, 1, None, 8), Lost("LOST_SAMPLES", None, 4, 2, None, None)),
        notes=(StoredNote("offset 8", "damaged", 2),),
        notes_dropped=6,
        exits={"rows": 2, "suspect": 1},
    )
    Catalogue(store).set_label("bb", Label("off", {"vm": "1"}))
    with StoreConnection(store) as connection:
        result = connection.query("FROM runs ORDER BY run_id")
        tags = connection.query("SELECT tags['vm'] FROM runs ORDER BY run_id").rows
        lost = connection.query("SELECT said_by, cpu, events, last_ts_ns FROM lost ORDER BY said_by").rows
        notes = connection.query("FROM notes").rows
    aa, bb = (dict(zip(result.names, row, strict=True)) for row in result.rows)
    assert (aa["source"], aa["part_label"], aa["format"], aa["kind"]) == (
        "mail.txt#2",
        "after",
        "perf-stat",
        "counters",
    )
    assert (aa["elapsed_ns"], aa["enabled_ns"]) == (5, 4)
    assert [aa[name] for name in ("kernel", "events", "exits", "lost_events", "suspect", "label")] == [None] * 6
    assert (bb["kernel"], bb["hostname"], bb["label"]) == ("6.1", "a\x1bb", "off")
    assert (bb["events"], bb["exits"], bb["lost_events"], bb["suspect"], bb["notes"]) == (3, 2, 4, 1, 7)
    assert tags == [(None,), ("1",)]
    assert lost == [("LOST", 0, 3, 8), ("LOST_SAMPLES", None, 4, None)]
    assert notes == [("bb", "offset 8", "damaged", 2)]


def test_runs_of_one_session_know_each_other(store: Path) -> None:
    guest = {"name": "debian", "trace_id": "0x2", "vcpus": {"0": 7}}
    add_run(
        store,
        "aa",
        source=Source("host.dat", "trace.dat", 9, "blake3:0"),
        session={"trace_id": "0x1", "guests": [guest]},
    )
    add_run(store, "bb", session={"trace_id": "0x2", "peer_trace_id": "0x1"})
    add_run(store, "cc")
    pairs = "SELECT a.run_id, b.run_id FROM runs AS a, runs AS b WHERE list_contains(a.peers, b.trace_id) ORDER BY ALL"
    assert rows(store, pairs) == [("aa", "bb"), ("bb", "aa")]


def test_tracepoints_tell_those_that_never_fired(store: Path) -> None:
    add_run(store, "aa", {"events/kvm/kvm_eoi": event({}, {})}, enabled=[("kvm", "kvm_msr")])
    assert rows(store, 'SELECT "system", event, samples, "rows", period FROM tracepoints ORDER BY event') == [
        ("kvm", "kvm_eoi", 1, 1, 1),
        ("kvm", "kvm_msr", 0, 0, 1),
    ]


def test_an_event_that_was_enabled_and_never_fired_is_an_empty_table(store: Path) -> None:
    add_run(store, "aa", enabled=[("kvm", "kvm_msr")])
    expected = {c.name: duckdb_type(c.type) for c in schema.EVENT_COLUMNS}
    assert columns(store, "kvm_msr") == {"run_id": "VARCHAR", **expected}
    assert rows(store, "FROM kvm_msr") == []


def test_a_table_that_a_run_has_without_rows_needs_no_file(store: Path) -> None:
    add_run(store, "aa", {"events/kvm/kvm_msr": event({"ecx": pa.uint32()})})
    shutil.rmtree(run_folder(store, "aa") / "events")
    assert rows(store, "SELECT ecx FROM kvm_msr") == []


def test_columns_of_kernels_are_united_by_name_integers_widened_and_the_missing_null(store: Path) -> None:
    old = {"b": pa.uint32(), "a": pa.int32(), "flag": pa.bool_(), "name": pa.string(), "list": pa.list_(pa.uint8())}
    new = {"a": pa.uint32(), "b": pa.uint64(), "flag": pa.uint8(), "c": pa.int8(), "list": pa.list_(pa.int32())}
    add_run(store, "aa", {"events/kvm/kvm_x": event(old, {"b": 1, "a": -1, "flag": True, "name": "n", "list": [1]})})
    add_run(
        store, "bb", {"events/kvm/kvm_x": event(new, {"a": 2**32 - 1, "b": 2**64 - 1, "flag": 9, "c": 3, "list": [-1]})}
    )
    own = {k: v for k, v in columns(store, "kvm_x").items() if k not in {c.name for c in schema.EVENT_COLUMNS}}
    assert own == {
        "run_id": "VARCHAR", "b": "UBIGINT", "a": "BIGINT", "flag": "UTINYINT", "name": "VARCHAR", "list": "INTEGER[]",
        "c": "TINYINT",
    }  # fmt: skip
    assert rows(store, "SELECT run_id, a, b, flag, name, list, c FROM kvm_x ORDER BY run_id") == [
        ("aa", -1, 1, 1, "n", [1], None),
        ("bb", 2**32 - 1, 2**64 - 1, 9, None, [-1], 3),
    ]


def test_types_that_cannot_be_reconciled_are_an_error_that_names_the_runs(store: Path) -> None:
    add_run(store, "aa", {"events/kvm/kvm_x": event({"a": pa.int32()}, {"a": 1})})
    add_run(store, "bb", {"events/kvm/kvm_x": event({"a": pa.string()}, {"a": "x"})})
    for sql in ("SELECT ts_ns FROM kvm_x", "DESCRIBE kvm_x"):
        with pytest.raises(StoreError) as error:
            rows(store, sql)
        assert error.value.message == "kvm_x.a has types that cannot be reconciled: INTEGER in aa; VARCHAR in bb"
    assert rows(store, "SELECT count(*) FROM exits") == [(0,)]


@pytest.mark.parametrize(
    ("types", "common"),
    [
        (["TINYINT", "UTINYINT"], "SMALLINT"),
        (["UBIGINT", "TINYINT"], "HUGEINT"),
        (["UINTEGER", "USMALLINT"], "UINTEGER"),
        (["BIGINT", "INTEGER", "UINTEGER"], "BIGINT"),
        (["BOOLEAN", "BOOLEAN"], "BOOLEAN"),
        (["BOOLEAN", "TINYINT"], "SMALLINT"),
        (["FLOAT", "DOUBLE"], "DOUBLE"),
        (["BIGINT[]", "UTINYINT[]"], "BIGINT[]"),
        (["BIGINT[]", "BIGINT"], None),
        (["VARCHAR[]", "BIGINT[]"], None),
        (["DOUBLE", "BIGINT"], None),
        (["VARCHAR", "BLOB"], None),
    ],
)
def test_the_common_type_holds_every_value_of_both(types: list[str], common: str | None) -> None:
    assert common_type(types) == common
    assert common_type(reversed(types)) == common


@pytest.mark.parametrize(
    ("arrow", "duckdb"),
    [
        (pa.uint64(), "UBIGINT"),
        (pa.list_(pa.field("element", pa.int16(), nullable=False)), "SMALLINT[]"),
        (pa.large_list(pa.uint8()), "UTINYINT[]"),
        (pa.list_(pa.int32(), 4), "INTEGER[]"),
        (pa.binary(8), "BLOB"),
        (pa.large_string(), "VARCHAR"),
        (pa.dictionary(pa.int8(), pa.string()), "VARCHAR"),
    ],
)
def test_arrow_types_as_manifests_name_them_have_a_duckdb_type(arrow: pa.DataType, duckdb: str) -> None:
    assert duckdb_type(str(arrow)) == duckdb


def test_a_type_that_no_stored_column_has_is_an_error() -> None:
    with pytest.raises(StoreError, match="found 'timestamp"):
        duckdb_type(str(pa.timestamp("ns")))


def test_an_event_name_of_two_systems_needs_its_system(store: Path) -> None:
    add_run(store, "aa", {"events/kvm/kvm_exit": event({"a": pa.int8()}, {"a": 1})})
    assert rows(store, "SELECT a FROM kvm_exit") == rows(store, "SELECT a FROM kvm__kvm_exit") == [(1,)]
    add_run(store, "bb", {"events/kvm_pr/kvm_exit": event({"b": pa.int8()}, {"b": 2})})
    assert rows(store, "SELECT a FROM kvm__kvm_exit") == [(1,)]
    assert rows(store, "SELECT b FROM kvm_pr__kvm_exit") == [(2,)]
    with pytest.raises(UsageError, match="kvm_exit is an event of 2 systems") as error:
        rows(store, "SELECT * FROM kvm_exit")
    assert error.value.hint == "use kvm__kvm_exit or kvm_pr__kvm_exit"
    names = [name for (name,) in rows(store, "SHOW TABLES")]
    assert {"kvm__kvm_exit", "kvm_pr__kvm_exit"} < set(names)
    assert "kvm_exit" not in names


def test_an_event_that_is_called_like_a_table_of_ours_needs_its_system(store: Path) -> None:
    add_run(store, "aa", {"events/probe/exits": event({"a": pa.int8()}, {"a": 1})})
    assert rows(store, "SELECT a FROM probe__exits") == [(1,)]
    assert rows(store, "SELECT count(*) FROM exits") == [(0,)]


HOSTILE = 'x"; DROP TABLE runs; --'


def test_names_from_a_recording_are_names_and_nothing_else(store: Path) -> None:
    own = {
        "select": pa.int8(),
        'a"b': pa.int8(),
        "file": pa.string(),
        "File_": pa.int8(),
        "A": pa.int8(),
        "a": pa.int8(),
        "run_id": pa.int8(),
    }
    values = {"select": 1, 'a"b': 2, "file": "f", "File_": 3, "A": 4, "a": 5, "run_id": 6}
    add_run(store, "aa", {f"events/{encode_name('kvm-s390')}/{encode_name(HOSTILE)}": event(own, values)})
    quoted = HOSTILE.replace('"', '""')
    table = f'"{quoted}"'
    shown = columns(store, table)
    assert list(shown)[-7:] == ["select", 'a"b', "file", "File_", "A", "a_1", "run_id_"]
    sql = f'SELECT run_id, "select", "a""b", file, File_, "A", a_1, run_id_ FROM {table}'  # noqa: S608 - what is tested
    assert rows(store, sql) == [("aa", 1, 2, "f", 3, 4, 5, 6)]
    assert rows(store, f'SELECT count(*) FROM "kvm-s390__{quoted}"') == [(1,)]  # noqa: S608 - what is tested
    assert (HOSTILE,) in rows(store, "SHOW TABLES")


def test_a_table_that_is_not_there_lists_the_nearest(store: Path) -> None:
    add_run(store, "aa", enabled=[("kvm", "kvm_msr")])
    with pytest.raises(UsageError, match="no table 'kvm_mrs' in the store") as error:
        rows(store, "SELECT * FROM kvm_mrs")
    assert "kvm_msr" in (error.value.hint or "")


def test_a_run_without_its_files_is_an_error_that_says_what_to_do(store: Path) -> None:
    add_run(store, "aa", {"exits": exits({})})
    shutil.rmtree(run_folder(store, "aa") / "exits")
    with pytest.raises(StoreError, match="run aa: the files of exits are missing") as error:
        rows(store, "FROM exits")
    assert "kvmtrace runs rm aa" in (error.value.hint or "")


def test_a_damaged_file_is_an_error_of_the_store(store: Path) -> None:
    add_run(store, "aa", {"exits": exits({})})
    file = run_folder(store, "aa") / "exits" / "part-0.parquet"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(StoreError, match=r"the store cannot be read: .*part-0\.parquet"):
        rows(store, "FROM exits")


def test_a_minor_version_may_add_columns(store: Path) -> None:
    table = exits({"reason": "npf"}).append_column("added_ns", pa.array([5], pa.int64()))
    add_run(store, "aa", {"exits": table}, schema_version="1.9")
    add_run(store, "bb", {"exits": exits({"reason": "hlt"}).drop_columns(["preempted_ns"])})
    assert rows(store, "SELECT run_id, reason, added_ns, preempted_ns FROM exits ORDER BY run_id") == [
        ("aa", "npf", 5, None),
        ("bb", "hlt", None, None),
    ]


def test_show_tables_opens_no_file(store: Path) -> None:
    add_run(store, "aa", {"exits": exits({}), "events/kvm/kvm_msr": event({"ecx": pa.uint32()}, {"ecx": 1})})
    shutil.rmtree(run_folder(store, "aa") / "exits")
    shutil.rmtree(run_folder(store, "aa") / "events")
    assert {("exits",), ("kvm_msr",), ("runs",)} < set(rows(store, "SHOW TABLES"))
    shown = rows(store, "SELECT column_name FROM information_schema.columns WHERE table_name = 'kvm_msr'")
    assert ("ecx",) in shown


def test_a_connection_makes_views_for_later_statements_too(store: Path) -> None:
    add_run(store, "aa", {"exits": exits({}), "events/kvm/kvm_msr": event({"ecx": pa.uint32()}, {"ecx": 1})})
    with StoreConnection(store) as connection:
        connection.query("SHOW TABLES")
        assert connection.query("SELECT count(*) FROM exits, runs").rows == [(1,)]
        assert connection.query("SELECT ecx FROM kvm_msr").types == ["UINTEGER"]
        wide = connection.query("SELECT ecx, rw FROM kvm_msr", fields={"kvm_msr": {"ecx": "UBIGINT", "rw": "BIGINT"}})
        assert (wide.types, wide.rows) == (["UBIGINT", "BIGINT"], [(1, None)])
        assert connection.query("SELECT ecx FROM kvm_msr").types == ["UINTEGER"]


def thousands_of_runs(store: Path, n: int) -> None:
    """Fill a store with runs that share their files and manifests, but for the id."""
    tracepoints = {f"events/kvm/kvm_{name}": event({"a": pa.uint32()}, {"a": 1}) for name in range(30)}
    tables = {"exits": exits(*({"reason": "npf", "latency_ns": i} for i in range(10))), **tracepoints}
    manifest = add_run(store, "model", {**tables, "symbols": fixed_table("symbols", [])})
    model, text = run_folder(store, "model"), manifest.to_json()
    for number in range(n):
        folder = run_folder(store, f"{number:016x}")
        (folder / "exits").mkdir(parents=True)
        os.link(model / "exits" / "part-0.parquet", folder / "exits" / "part-0.parquet")
        (folder / "run.json").write_text(text.replace('"model"', json.dumps(f"{number:016x}")))
    shutil.rmtree(model)


@pytest.mark.slow
def test_a_store_of_thousands_of_runs_costs_little_more_to_open_than_reading_its_manifests(store: Path) -> None:
    thousands_of_runs(store, 2000)
    started = time.process_time()
    for path in store.glob("runs/*/run.json"):
        json.loads(path.read_text())
    reading = time.process_time() - started
    started = time.process_time()
    with StoreConnection(store) as connection:
        one = connection.query("SELECT count(*) FROM exits WHERE run_id = $id", {"id": f"{77:016x}"}).rows
        opening = time.process_time() - started
        plan = connection.query("EXPLAIN ANALYZE SELECT count(*) FROM exits WHERE run_id = '000000000000004d'").rows
    assert one == [(10,)]
    assert opening < 6 * reading  # a file opened for each run would cost far more
    assert any("Scanning Files: 1/2000" in line for (line,) in plan)
