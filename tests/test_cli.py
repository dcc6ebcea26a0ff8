"""The program: what goes to stdout and stderr, exit codes, and what it must not load."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from query_samples import make_store
from store_builder import add_run

from kvmtrace.cli import run
from kvmtrace.store.catalogue import Catalogue
from kvmtrace.store.label import Label
from kvmtrace.store.manifest import run_folder
from kvmtrace.version import __version__

ROOT = Path(__file__).parents[1]
HEAVY = {"duckdb", "pyarrow", "matplotlib", "numpy", "polars", "tabulate", "rich"}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KVMTRACE_STORE", str(tmp_path / "store"))
    return make_store(tmp_path / "store", lambda table: table)


def program(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kvmtrace", *arguments]
    return subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False, timeout=60, **options)  # type: ignore[call-overload,no-any-return]


def test_help_loads_nothing_heavy() -> None:
    code = "import sys, kvmtrace.cli as c; c.run(['--help']); print(*sorted({m.split('.')[0] for m in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, check=True)
    assert set(done.stdout.splitlines()[-1].split()) & HEAVY == set()


@pytest.mark.parametrize(
    "command", ["ingest", "report", "runs", "runs rm", "runs label", "queries", "query", "sql", "models"]
)
def test_each_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*command.split(), "--help"]) == 0
    shown = capsys.readouterr()
    assert f"Usage: kvmtrace {command}" in shown.out
    assert shown.err == ""


def test_the_program_is_also_a_module_and_tells_its_version() -> None:
    done = program("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"kvmtrace {__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        (["runz"], "no such command 'runz'. Did you mean 'runs'?", "kvmtrace --help"),
        (["runs", "labl"], "no such command 'labl'. Did you mean 'label'?", "kvmtrace runs --help"),
        (["sql", "--stre", "x"], "no such option: --stre (Possible options: --", "kvmtrace sql --help"),
        (["runs", "rm"], "missing argument 'run'", "kvmtrace runs rm --help"),
        (["query", "exits-by-reson"], "no query is called 'exits-by-reson'", "nearest: exits-by-reason"),
        (
            ["query", "exits-by-reason", "-p", "run_id"],
            "-p: expected KEY=VALUE with each key once, found 'run_id'",
            None,
        ),
        (["sql", "COPY exits TO 'x'"], "COPY is refused", "SQL reads the store"),
        (["sql", "SELECT 1", "--format", "xml"], "invalid value for '--format'", "kvmtrace sql --help"),
    ],
)
def test_what_the_user_must_change_is_one_line_and_exit_2(
    store: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], error: str, hint: str | None
) -> None:
    assert store.is_dir()
    assert run(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    lines = shown.err.splitlines()
    assert lines[0].startswith(f"kvmtrace: error: {error}")
    assert len(lines) == (1 if hint is None else 2)
    assert hint is None or lines[1].startswith(f"hint: {hint}")


def test_no_arguments_show_the_help_and_are_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    shown = capsys.readouterr()
    assert (shown.out, shown.err.splitlines()[0]) == ("", "Usage: kvmtrace [OPTIONS] COMMAND [ARGS]...")


def test_no_store_is_exit_3_and_says_how_to_make_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["runs", "--store", str(tmp_path / "none")]) == 3
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"kvmtrace: error: no store at {tmp_path / 'none'}\nhint: `kvmtrace ingest FILE`")


def test_runs_lists_the_runs_latest_last(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["runs", "--format", "csv"]) == 0
    assert capsys.readouterr().out == (
        "run_id,label,source,part,format,kernel,exits,elapsed_s,lost_events,ingested_at\n"
        "00aa,off,00aa.data,,perf.data,,9,3.0,0,2026-01-01T00:00:00Z-00aa\n"
        "11bb,on,11bb.data,,perf.data,,2,3.0,0,2026-01-01T00:00:00Z-11bb\n"
        "22cc,before,004.txt#1,,perf-stat,,,1.002100578,,2026-01-01T00:00:00Z-22cc\n"
        "33dd,after,004.txt#2,,perf-stat,,,1.002039622,,2026-01-01T00:00:00Z-33dd\n"
    )
    assert store.is_dir()


def test_runs_are_removed_by_any_name_and_all_are_found_before_one_goes(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["runs", "rm", "off", "nothing"]) == 2
    assert len(Catalogue(store).manifests()) == 4
    assert run(["runs", "rm", "off", "00aa", "33"]) == 0
    assert [m.run_id for m in Catalogue(store).manifests()] == ["11bb", "22cc"]
    assert capsys.readouterr().out == ""


def test_a_run_gets_a_label_and_tags(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["runs", "label", "00aa", "quiet", "--tag", "host=a", "--tag", "n=1=2"]) == 0
    assert run(["runs", "label", "quiet", "quiet", "--tag", "host="]) == 0
    assert Catalogue(store).label("00aa") == Label("quiet", {"n": "1=2"})
    assert run(["runs", "label", "quiet", ""]) == 0
    assert Catalogue(store).label("00aa") == Label(None, {"n": "1=2"})
    assert run(["runs", "label", "00aa", "x", "--tag", "novalue"]) == 2
    assert "expected KEY=VALUE" in capsys.readouterr().err


def test_the_store_may_be_named_before_or_after_the_verb(store: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    add_run(other, "aa")
    add_run(other, "bb")
    assert run(["runs", "--store", str(other), "rm", "aa"]) == 0
    assert run(["runs", "rm", "bb", "--store", str(other)]) == 0
    assert Catalogue(other).manifests() == []
    assert len(Catalogue(store).manifests()) == 4


def test_queries_lists_each_with_its_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["queries", "--format", "json"]) == 0
    listed = {row["query"]: row for row in json.loads(capsys.readouterr().out)}
    assert listed["slowest-exits"]["parameters"] == "run_id, top=20, with_idle=false"
    assert listed["msr-writes"]["requires"] == "kvm_msr"


def test_query_says_on_stderr_which_run_it_chose(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["runs", "rm", "before", "after"]) == 0
    capsys.readouterr()
    assert run(["query", "exits-by-reason", "--format", "csv"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("reason,idle,exits,")
    assert shown.err == "kvmtrace: note: run 11bb (11bb.data), the latest\n"
    assert run(["query", "slowest-exits", "-p", "run_id=off", "-p", "top=1", "--format", "csv"]) == 0
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 2
    assert shown.err == ""
    assert store.is_dir()


def test_sql_takes_its_statement_from_standard_input_too(store: Path) -> None:
    done = program("sql", "--format", "csv", "--store", str(store), input="SELECT count(*) AS n\nFROM exits\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "n\n11\n", "")
    done = program("sql", "--store", str(store), input="")
    assert (done.returncode, done.stdout) == (2, "")
    assert "found none" in done.stderr


def test_an_output_file_is_overwritten_only_when_asked(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.csv"
    ask = ["sql", "SELECT 1 AS a", "--format", "csv", "--store", str(store), "-o", str(output)]
    assert run(ask) == 0
    assert output.read_bytes() == b"a\n1\n"
    output.write_text("precious")
    assert run(ask) == 2
    assert output.read_text() == "precious"
    assert capsys.readouterr() == ("", f"kvmtrace: error: {output} is there already\nhint: --force overwrites it\n")
    assert run([*ask, "--force"]) == 0
    assert output.read_bytes() == b"a\n1\n"
    assert run([*ask[:-1], str(tmp_path / "none" / "out.csv")]) == 3
    assert "No such file or directory" in capsys.readouterr().err


def test_a_run_that_cannot_be_read_is_a_warning_and_the_answer_comes(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run_folder(store, "11bb") / "run.json").write_text("{}")
    for command in (["runs"], ["sql", "SELECT 1"], ["query", "exits-by-reason", "-p", "run_id=off"]):
        assert run(command) == 0
        shown = capsys.readouterr()
        assert shown.out
        assert shown.err.startswith("kvmtrace: warning: ")
        assert "run_id=11bb" in shown.err


def test_control_characters_of_a_message_are_escaped(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sql", 'SELECT * FROM "\x1b[2J"']) == 2
    assert "'\\x1b[2J'" in capsys.readouterr().err
    assert store.is_dir()


def test_a_reader_that_has_seen_enough_is_no_error(store: Path) -> None:
    command = [sys.executable, "-m", "kvmtrace", "sql", "--store", str(store), "SELECT * FROM range(200000)"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 0


def test_an_interrupt_ends_a_long_statement_with_130(store: Path) -> None:
    statement = "SELECT sum(hash(a.range, b.range)) FROM range(1000000) a, range(1000000) b"
    # A shell starts what runs in its background with SIGINT ignored, and children inherit that.
    program = ["env", "--default-signal=INT", sys.executable, "-m", "kvmtrace"]
    command = [*program, "sql", "--store", str(store), statement]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        time.sleep(4)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        try:
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, out, err) == (130, "", "kvmtrace: error: interrupted\n")


def test_a_terminal_that_cannot_show_a_character_gets_its_escape(store: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "KVMTRACE_STORE": str(store)}
    done = program("sql", "SELECT 'µ' AS a", "--format", "csv", env=environment)
    assert (done.returncode, done.stdout) == (0, "a\n\\xb5\n")
