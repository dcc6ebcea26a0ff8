"""SQL of users reads the store, writes nothing and reads nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from store_builder import add_run, exits

from kvmtrace.errors import KvmtraceError, StoreError, UsageError
from kvmtrace.store.connection import StoreConnection

SECRET = "top secret"  # noqa: S105 - what no statement may show


@pytest.fixture
def store(tmp_path: Path) -> Path:
    store = tmp_path / "it's a [store]*"
    add_run(store, "aa", {"exits": exits({"reason": "npf", "latency_ns": 5}, {"reason": "hlt", "latency_ns": 7})})
    add_run(
        tmp_path / "it's a s*", "aa", {"exits": exits({"reason": SECRET})}
    )  # which its name would match as a pattern
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.csv").write_text(f"a\n{SECRET}\n")
    pq.write_table(pa.table({"a": [SECRET]}), outside / "secret.parquet")
    return store


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else b"" for p in folder.rglob("*")}


WRITES = """
COPY (SELECT 1) TO '{store}/written.csv'
COPY (SELECT 1) TO '{exits}'
COPY exits TO '{outside}/written.csv'
WITH a AS (COPY (SELECT 1) TO '{store}/written.csv') SELECT * FROM a
SELECT * FROM (WITH a AS (COPY (SELECT 1) TO '{exits}') FROM a)
WITH RECURSIVE b AS (WITH a AS (COPY (SELECT 1) TO '{exits}') FROM a) FROM b
SELECT (WITH a AS (COPY (SELECT 1) TO '{exits}') SELECT count(*) FROM a)
EXPLAIN ANALYZE COPY (SELECT 1) TO '{store}/written.csv'
EXPLAIN ANALYZE WITH a AS (COPY (SELECT 1) TO '{store}/written.csv') FROM a
EXPLAIN (ANALYZE) COPY (SELECT 1) TO '{store}/written.csv'
EXPLAIN /* SELECT 1 */ ANALYZE -- SELECT 1
EXPLAIN CREATE TABLE t (a INTEGER)
/* SELECT 1 */ COPY (SELECT 1) TO '{store}/written.csv'
SELECT 1; COPY (SELECT 1) TO '{store}/written.csv'
SELECT 1; SELECT 2
; ATTACH '{store}/written.db'
ATTACH '{store}/written.db' AS other
EXPORT DATABASE '{store}/written'
IMPORT DATABASE '{store}/written'
CREATE TABLE t AS SELECT 1
CREATE VIEW exits AS SELECT 1
CREATE OR REPLACE VIEW exits AS SELECT 1
CREATE MACRO f() AS TABLE SELECT 1
CREATE SECRET s (TYPE s3)
DROP VIEW exits
INSERT INTO exits SELECT * FROM exits
WITH a AS (INSERT INTO runs SELECT * FROM runs RETURNING *) FROM a
WITH a AS (DELETE FROM runs RETURNING *) FROM a
WITH a AS (UPDATE runs SET label = 'x' RETURNING *) FROM a
UPDATE runs SET label = 'x'
DELETE FROM runs
TRUNCATE runs
MERGE INTO runs USING exits ON (true) WHEN MATCHED THEN DELETE
ALTER TABLE runs RENAME TO other
COMMENT ON TABLE runs IS 'x'
INSTALL httpfs
LOAD httpfs
LOAD '{outside}/secret.csv'
PRAGMA database_list
PRAGMA enable_external_access
SET threads = 1
SET enable_external_access = true
SET GLOBAL lock_configuration = false
RESET enable_external_access
USE memory
CALL range(3)
CALL enable_logging(storage = 'file', storage_path = '{outside}/log')
SELECT * FROM enable_logging(storage = 'file', storage_path = '{store}/log')
PREPARE p AS COPY (SELECT 1) TO '{store}/written.csv'
EXECUTE p
DEALLOCATE p
BEGIN
CHECKPOINT
VACUUM
ANALYZE
DETACH memory
PIVOT exits ON reason USING count(*)
SELECT 1 INTO written
""".strip().splitlines()

READS = """
SELECT * FROM '{outside}/secret.csv'
SELECT * FROM "{outside}/secret.parquet"
SELECT * FROM '{store}/../outside/secret.csv'
SELECT * FROM read_csv('{outside}/secret.csv')
SELECT * FROM READ_CSV('{store}/../outside/secret.csv')
SELECT * FROM read_csv_auto(['{outside}/secret.csv'])
SELECT * FROM read_text('{outside}/secret.csv')
SELECT * FROM read_blob('{outside}/*')
SELECT * FROM read_json('{outside}/secret.csv')
SELECT * FROM read_parquet('{outside}/secret.parquet')
SELECT * FROM parquet_scan('{outside}/secret.parquet')
SELECT * FROM parquet_metadata('{outside}/secret.parquet')
SELECT * FROM parquet_schema('{outside}/secret.parquet')
SELECT * FROM parquet_kv_metadata('{outside}/secret.parquet')
SELECT * FROM parquet_file_metadata('{outside}/secret.parquet')
SELECT * FROM sniff_csv('{outside}/secret.csv')
SELECT * FROM read_duckdb('{outside}/secret.db')
SELECT * FROM glob('{outside}/*')
SELECT * FROM glob('/etc/*')
SELECT * FROM read_text('{store}/link.csv')
SELECT * FROM '{store}/link.csv'
SELECT * FROM query('SELECT * FROM read_text(''{outside}/secret.csv'')')
SELECT * FROM query_table('{outside}/secret.csv')
SELECT * FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))
SELECT (SELECT a FROM read_csv('{outside}/secret.csv'))
WITH a AS MATERIALIZED (SELECT * FROM read_csv('{outside}/secret.csv')) FROM a
SELECT 1 UNION ALL SELECT a FROM read_csv('{outside}/secret.csv')
SELECT * FROM exits, LATERAL (SELECT * FROM read_csv('{outside}/secret.csv'))
SELECT * FROM exits WHERE reason IN (SELECT a FROM read_csv('{outside}/secret.csv'))
DESCRIBE SELECT * FROM read_csv('{outside}/secret.csv')
SUMMARIZE SELECT * FROM read_csv('{outside}/secret.csv')
SUMMARIZE '{outside}/secret.csv'
EXPLAIN SELECT * FROM read_csv('{outside}/secret.csv')
PIVOT (FROM read_csv('{outside}/secret.csv')) ON a IN ('x') USING count(*)
FROM read_csv('{outside}/secret.csv') TABLESAMPLE 10%
SELECT getenv('HOME')
SELECT * FROM pandas_scan(1)
SELECT * FROM arrow_scan(1, 2, 3)
SELECT * FROM secret_table
SELECT * FROM duckdb_settings()
SELECT * FROM duckdb_secrets()
SELECT * FROM which_secret('x', 'y')
SELECT * FROM pg_catalog.pg_settings
SELECT * FROM other.main.exits
""".strip().splitlines()


@pytest.mark.parametrize("statement", [*WRITES, *READS])
def test_what_writes_or_reads_other_files_is_refused_and_changes_nothing(
    store: Path, statement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = store.parent / "outside"
    (store / "link.csv").symlink_to(outside / "secret.csv")
    monkeypatch.chdir(outside)
    monkeypatch.setenv("HOME", SECRET)
    secret_table = pa.table({"a": [SECRET]})  # which DuckDB would take for a table
    part = store / "runs" / "run_id=aa" / "exits" / "part-0.parquet"
    paths = {"store": store, "outside": outside, "exits": part}
    sql = statement.format(**{name: str(path).replace("'", "''") for name, path in paths.items()})
    before = contents(store.parent)
    with StoreConnection(store) as connection:
        connection.query("SELECT count(*) FROM exits, runs")  # so that what a statement names is there
        with pytest.raises(UsageError) as refused:
            connection.query(sql)
        again = connection.query("SELECT count(*) FROM exits, runs").rows
    assert SECRET not in refused.value.message
    assert "\n" not in refused.value.message
    assert again == [(2,)]
    assert contents(store.parent) == before
    assert secret_table.num_rows == 1


@pytest.mark.parametrize(
    ("statement", "first"),
    [
        ("SELECT count(*) FROM exits", 2),
        ("FROM exits SELECT max(latency_ns)", 7),
        ("SELECT count(*) FROM exits;", 2),
        ("SELECT count(*) FROM exits -- ; DROP TABLE exits", 2),
        ("SELECT count(*) FROM main.exits", 2),
        ('SELECT count(*) FROM "EXITS"', 2),
        ("WITH exits AS (SELECT 1 AS a) SELECT count(*) FROM exits", 1),
        ("WITH a AS (SELECT * FROM exits), b AS (FROM a) SELECT count(*) FROM b", 2),
        ("WITH RECURSIVE t (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM t WHERE n < 3) SELECT max(n) FROM t", 3),
        ("VALUES (4)", 4),
        ("SELECT count(*) FROM range(5)", 5),
        ("SELECT sum(x) FROM (SELECT unnest([1, 2]) AS x)", 3),
        ("SELECT 'COPY (SELECT 1) TO ''x'''", "COPY (SELECT 1) TO 'x'"),
        ("DESCRIBE exits", "run_id"),
        ("DESCRIBE SELECT 1 AS a", "a"),
        ("SHOW exits", "run_id"),
        ("SUMMARIZE SELECT latency_ns FROM exits", "latency_ns"),
        ("SHOW TABLES", "benchmarks"),
        ("SELECT table_name FROM information_schema.tables ORDER BY 1", "benchmarks"),
        ("PIVOT (SELECT reason FROM exits) ON reason IN ('npf') USING count(*)", 1),
        ("SELECT 1 AS a UNION ALL SELECT 1 INTERSECT SELECT 1", 1),
    ],
)
def test_what_reads_the_store_passes(store: Path, statement: str, first: object) -> None:
    with StoreConnection(store) as connection:
        assert connection.query(statement).rows[0][0] == first


@pytest.mark.parametrize(
    "explain", ["EXPLAIN", "explain analyze", "/* é */ EXPLAIN /* ANALYZE */", "EXPLAIN\nANALYZE\n"]
)
def test_an_explained_statement_gives_the_lines_of_its_plan(store: Path, explain: str) -> None:
    with StoreConnection(store) as connection:
        result = connection.query(f"{explain} FROM exits ORDER BY reason")
    assert result.names == ["plan"]
    assert any("Order" in line for (line,) in result.rows)
    assert not any("\n" in line for (line,) in result.rows)


@pytest.mark.parametrize("nothing", ["", "  ", ";", "-- SELECT 1", "/* */"])
def test_no_statement_is_an_error_that_says_so(store: Path, nothing: str) -> None:
    with StoreConnection(store) as connection, pytest.raises(UsageError, match="found none"):
        connection.query(nothing)


def test_a_nul_or_a_bottomless_statement_is_an_error_and_no_crash(store: Path) -> None:
    with StoreConnection(store) as connection:
        for sql in ("SELECT 1\0; COPY (SELECT 1) TO 'x'", "SELECT " + "(" * 100_000 + "1" + ")" * 100_000):
            with pytest.raises(KvmtraceError):
                connection.query(sql)


def test_errors_are_one_line_and_the_place_is_the_hint(store: Path) -> None:
    with StoreConnection(store) as connection:
        with pytest.raises(UsageError) as error:
            connection.query("SELECT latency FROM exits")
        assert error.value.message == 'Binder Error: Referenced column "latency" not found in FROM clause!'
        assert error.value.hint is not None
        assert 'Candidate bindings: "latency_ns"' in error.value.hint
        assert "LINE 1: SELECT latency FROM exits" in error.value.hint


def test_parameters_must_be_the_ones_that_the_statement_names(store: Path) -> None:
    with StoreConnection(store) as connection:
        assert connection.query("SELECT $a + $b", {"a": 1, "b": 2}).rows == [(3,)]
        for parameters in ({}, {"a": 1}, {"a": 1, "b": 2, "c": 3}):
            with pytest.raises(UsageError, match=r"expected values for \$a, \$b"):
                connection.query("SELECT $a + $b", parameters)


def test_a_file_of_a_run_that_links_out_of_the_store_is_not_read(store: Path) -> None:
    folder = store / "runs" / "run_id=aa" / "exits"
    (folder / "part-0.parquet").unlink()
    (folder / "part-0.parquet").symlink_to(store.parent / "outside" / "secret.parquet")
    with StoreConnection(store) as connection, pytest.raises(StoreError) as error:
        connection.query("SELECT * FROM exits")
    assert SECRET not in error.value.message


def test_a_store_behind_a_link_is_read(store: Path) -> None:
    link = store.parent / "link"
    link.symlink_to(store, target_is_directory=True)
    with StoreConnection(link) as connection:
        assert connection.query("SELECT count(*) FROM exits").rows == [(2,)]


def test_what_does_not_fit_in_memory_is_spilled_outside_of_the_store_and_cleaned_up(store: Path) -> None:
    with StoreConnection(store) as connection:
        (spill,) = connection._connection.execute("SELECT current_setting('temp_directory')").fetchone() or ("",)
        assert os.path.commonpath([spill, store]) != str(store)
        assert Path(spill).is_dir()
    assert not Path(spill).exists()
