"""`kvmtrace export`: databases and tables that stand alone, and what is refused."""

from __future__ import annotations

import csv
import io
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from perf_oracle import bundled
from store_builder import add_run, event, exits

from kvmtrace import queries
from kvmtrace.cli import run
from kvmtrace.errors import ExitCode
from kvmtrace.store.connection import StoreConnection

if TYPE_CHECKING:
    from pathlib import Path

    from ingested import IngestedRecordings

    from kvmtrace.export.perfetto import Written

OWN_VIEWS = {"exits_by_reason", "slowest_exits", "time_split", "exits_by_vcpu", "rate_over_time", "latency_histogram"}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return a store of a run of exits with odd values, one without exits, and another run of the same table."""
    folder = tmp_path / "a 'store'"
    odd = {"reason": 'a,"b"\n', "vcpu": 0, "tid": 7, "latency_ns": 5, "detail": (1 << 64) - 1}
    pio = event({"port": pa.uint32(), "data": pa.list_(pa.uint8())}, {"port": 1, "data": [1, 2]})
    add_run(folder, "a1", {"exits": exits(odd, {"exit_ts_ns": 9}), "events/kvm/kvm_pio": pio})
    add_run(folder, "b2", {"events/kvm/kvm_pio": pio})
    add_run(folder, "c3", {"exits": exits({"reason": "other"})})
    return folder


def export(store: Path, *arguments: str) -> int:
    return run(["export", *arguments, "--store", str(store)])


@pytest.mark.parametrize("name", ["pveoi-idletick-xapic-off", "overwrite-tail"])
def test_views_of_the_database_answer_as_the_queries_do(
    ingested: IngestedRecordings, tmp_path: Path, name: str
) -> None:
    manifest = ingested.manifest(next(r.path for r in bundled() if r.name == name))
    file = tmp_path / "run.duckdb"
    assert export(ingested.store, manifest.run_id, "--format", "duckdb", "-o", str(file)) == ExitCode.OK
    with duckdb.connect(str(file), read_only=True) as database, StoreConnection(ingested.store) as connection:
        views = {row[0] for row in database.sql("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()}
        assert views >= OWN_VIEWS
        for query in queries.catalogue():
            if query.table in views:
                answer = queries.run(connection, query, {"run_id": manifest.run_id})
                found = database.sql(f'FROM "{query.table}"')
                assert found.columns == answer.names
                assert found.fetchall() == answer.rows, query.name
        for table in ("exits", "kvm_exit", "threads", "lost", "runs"):
            found = database.sql(f"FROM {table}")
            # The store's table has the columns of all its runs, that of the file those of its own.
            columns = ", ".join(f'"{name}"' for name in found.columns)
            sql = f"SELECT {columns} FROM {table} WHERE run_id = $run_id"  # noqa: S608 - names of our own
            assert found.fetchall() == connection.query(sql, {"run_id": manifest.run_id}).rows


def test_the_database_holds_one_run_and_needs_no_store(store: Path, tmp_path: Path) -> None:
    file = tmp_path / "x.duckdb"
    assert export(store, "a1", "--format", "duckdb", "-o", str(file)) == ExitCode.OK
    store.rename(store.with_name("gone"))
    with duckdb.connect(str(file), read_only=True) as database:
        assert database.sql("SELECT run_id, count(*) FROM exits GROUP BY ALL").fetchall() == [("a1", 2)]
        assert database.sql("SELECT port, data FROM kvm_pio").fetchall() == [(1, [1, 2])]
        assert [row[0] for row in database.sql("SELECT run_id FROM runs").fetchall()] == ["a1"]
        assert database.sql("SELECT comment FROM duckdb_columns() WHERE column_name = 'latency_ns'").fetchall()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gone", "x.duckdb"]


def test_a_table_is_the_same_in_every_form(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export(store, "a1", "--format", "parquet", "-o", str(tmp_path / "e.parquet")) == ExitCode.OK
    assert export(store, "a1", "--format", "arrow", "-o", str(tmp_path / "e.arrow")) == ExitCode.OK
    capsys.readouterr()
    parquet = pq.read_table(tmp_path / "e.parquet")
    with pa.OSFile(str(tmp_path / "e.arrow")) as file:
        assert pa.ipc.open_file(file).read_all().to_pylist() == parquet.to_pylist()
    first, second = parquet.to_pylist()
    assert (first["run_id"], first["reason"], first["detail"]) == ("a1", 'a,"b"\n', (1 << 64) - 1)
    assert second["latency_ns"] is None


def test_csv_goes_to_standard_output_and_notes_do_not(store: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert export(store, "a1", "--format", "csv") == ExitCode.OK
    out, err = capfdbinary.readouterr()
    first, second = csv.DictReader(io.StringIO(out.decode(), newline=""))
    assert (first["reason"], first["detail"], second["latency_ns"]) == ('a,"b"\n', str((1 << 64) - 1), "")
    assert err == b"kvmtrace: note: 2 rows of exits\n"


def test_csv_writes_lists_as_texts(store: Path, tmp_path: Path) -> None:
    file = tmp_path / "pio.csv"
    assert export(store, "b2", "--format", "csv", "--table", "kvm_pio", "-o", str(file)) == ExitCode.OK
    (row,) = csv.DictReader(io.StringIO(file.read_text(), newline=""))
    assert (row["run_id"], row["port"], row["data"]) == ("b2", "1", "[1, 2]")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("a1",), "needs -o FILE"),
        (("a1", "--format", "parquet"), "needs -o FILE"),
        (("b2", "-o", "OUT"), "run b2 has no exits"),
        (("a1", "-o", "OUT", "--table", "exits"), "--table: only with"),
        (("a1", "-o", "OUT", "--format", "csv", "--from", "1"), "only with --format perfetto"),
        (("a1", "-o", "OUT", "--format", "csv", "--table", "exit"), "no table 'exit'"),
        (("a1", "-o", "OUT", "--from=-1"), "--from: expected a time"),
        (("a1", "-o", "OUT", "--vcpu", "1"), "has no vCPU 1"),
        (("zz", "-o", "OUT"), "no run is called 'zz'"),
        (("a1", "-o", "OUT", "--format", "perfeto"), "perfeto"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line_and_leaves_no_file(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    code = export(store, *(str(out / "x") if part == "OUT" else part for part in arguments))
    assert code == ExitCode.USAGE
    errors = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert len(errors) == 1
    assert said in errors[0]
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("form", ["perfetto", "duckdb", "parquet", "csv", "arrow"])
def test_a_file_that_is_there_is_kept_unless_force_is_said(store: Path, tmp_path: Path, form: str) -> None:
    file = tmp_path / "kept"
    file.write_text("mine")
    arguments = ("a1", "--format", form, "-o", str(file))
    assert export(store, *arguments) == ExitCode.USAGE
    assert file.read_text() == "mine"
    assert export(store, *arguments, "--force") == ExitCode.OK
    assert file.read_bytes()[:4] != b"mine"
    assert {path.name for path in tmp_path.iterdir()} == {"kept", store.name}


@pytest.mark.parametrize("form", ["perfetto", "duckdb", "arrow"])
def test_a_folder_that_is_not_there_is_one_plain_error(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    assert export(store, "a1", "--format", form, "-o", str(tmp_path / "no" / "x")) == ExitCode.BAD_INPUT
    assert "No such file or directory" in capsys.readouterr().err


def test_trouble_in_between_leaves_no_file(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> Written:
        raise KeyboardInterrupt

    monkeypatch.setattr("kvmtrace.export.perfetto.write_timeline", interrupted)
    assert export(store, "a1", "-o", str(tmp_path / "x")) == ExitCode.INTERRUPTED
    assert [path.name for path in tmp_path.iterdir()] == [store.name]


_KILLED = """
import sys, time
from kvmtrace.export import perfetto
whole = perfetto._packets
def slow(*arguments):
    for packets in whole(*arguments):
        yield packets
        sys.stdout.write("began\\n")
        sys.stdout.flush()
        time.sleep(60)
perfetto._packets = slow
from kvmtrace.cli import run
run(sys.argv[1:])
"""


def test_a_killed_export_leaves_no_file_of_that_name(store: Path, tmp_path: Path) -> None:
    arguments = ["export", "a1", "-o", str(tmp_path / "x.pftrace"), "--store", str(store)]
    with subprocess.Popen([sys.executable, "-c", _KILLED, *arguments], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "began\n"
        os.kill(child.pid, signal.SIGKILL)
    assert not (tmp_path / "x.pftrace").exists()


def test_the_note_says_what_was_written(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export(store, "-o", str(tmp_path / "x")) == ExitCode.OK
    assert capsys.readouterr().err == (
        "kvmtrace: note: run c3 (c3.data), the latest\n"
        "kvmtrace: note: 0 slices of 1 exit, 0 injections and EOIs; ui.perfetto.dev opens it\n"
        "kvmtrace: note: 1 exit without a latency is an instant\n"
    )
