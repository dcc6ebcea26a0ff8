"""`kvmtrace sql` on a terminal: a prompt that completes, remembers, pages and goes on after errors."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pexpect
import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from query_samples import make_store
from store_builder import add_run, event, exits

import kvmtrace
from kvmtrace.errors import UsageError
from kvmtrace.prompt import history, pager, session, statements
from kvmtrace.prompt.completion import StoreCompleter
from kvmtrace.report.tables import TableFormat
from kvmtrace.store.catalogue import Catalogue
from kvmtrace.store.label import Label

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[1]
CTRL_C, CTRL_D, UP = "\x03", "\x04", "\x1b[A"
BRACKETED_PASTE_OFF = r"\x1b\[\?2004l"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the history of the user who runs the tests out of them."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("PAGER", raising=False)
    return tmp_path / "state"


@pytest.fixture
def store(tmp_path: Path) -> kvmtrace.Store:
    return kvmtrace.open_store(make_store(tmp_path / "store", lambda table: table))


@pytest.fixture
def typed(store: kvmtrace.Store, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[str, str]]:
    """Return what types keys at the prompt, then Ctrl-D, and returns what was written to stdout and stderr."""

    def type_keys(keys: str, table_format: TableFormat = TableFormat.TEXT) -> tuple[str, str]:
        with create_pipe_input() as keyboard, create_app_session(input=keyboard, output=DummyOutput()):
            keyboard.send_text(keys + CTRL_D)
            session.run(store, table_format)
        shown = capsys.readouterr()
        return shown.out, shown.err.partition("to leave\n")[2]

    return type_keys


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("", True),
        ("  \n ", True),
        ("\\d", True),
        ("SELECT 1", False),
        ("SELECT 1;", True),
        ("SELECT 1\n;  ", True),
        ("SELECT 1; -- and a comment", True),
        ("SELECT 1 -- ;", False),
        ("SELECT ';", False),
        ("SELECT ';'", False),
        ("SELECT 'it''s;", False),
        ("SELECT 'it''s';", True),
        ('SELECT 1 AS "a;', False),
        ("SELECT /* ; */", False),
        ("SELECT 1 /* open ;", False),
        ("SELECT $$;$$", False),
        ("SELECT $$;$$;", True),
        ("SELECT $a$;$$;", False),
        ("SELECT $a$;$a$;", True),
        ("SELECT E'\\';", False),
        ("SELECT E'\\';';", True),
        ("/* a /* ; */ b;", False),
        ("/* a /* ; */ b */ SELECT 1;", True),
        ("quit", True),
        ("Exit;", True),
        ("quite", False),
    ],
)
def test_a_statement_ends_with_a_semicolon_that_is_not_quoted(text: str, whole: bool) -> None:
    assert statements.is_whole(text) is whole


@pytest.mark.parametrize(
    ("text", "statements_of_it"),
    [
        ("SELECT 1;", ["SELECT 1"]),
        ("SELECT ';'; -- a; b", ["SELECT ';'"]),
        ("SELECT 1; SELECT 2;", ["SELECT 1", "SELECT 2"]),
        ("SELECT $a$;$a$, $b; SELECT 2;", ["SELECT $a$;$a$, $b", "SELECT 2"]),
        (";; -- nothing\n;", []),
    ],
)
def test_each_statement_runs_without_its_semicolon(text: str, statements_of_it: list[str]) -> None:
    assert statements.each(text) == statements_of_it


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("SELECT '", True),
        ("SELECT 'a'", False),
        ("SELECT 'a''", True),
        ("-- a", True),
        ("-- a\n", False),
        ('"a', False),
    ],
)
def test_strings_and_comments_are_no_place_for_names(text: str, quoted: bool) -> None:
    assert statements.is_quoted(text) is quoted


def test_a_statement_has_many_lines_and_its_table_is_shown(typed: Callable[..., tuple[str, str]]) -> None:
    out, err = typed("SELECT reason, count(*) AS n\rFROM exits\rGROUP BY ALL ORDER BY n DESC, reason LIMIT 1;\r")
    assert out.splitlines()[:2] == ["reason  n", "------  -"]
    assert out.endswith("(1 row)\n")
    assert err == ""


def test_an_error_is_one_plain_line_and_the_prompt_goes_on(typed: Callable[..., tuple[str, str]]) -> None:
    out, err = typed("FROM exists;\rDROP VIEW exits;\r\\nonsense\rSELECT 7 AS seven;\r")
    lines = err.splitlines()
    assert lines[0].startswith("error: no table 'exists' in the store ")
    assert lines[1] == "hint: nearest: exits"
    assert lines[2] == "error: DROP is refused"
    assert lines[4:] == ["error: no command is called \\nonsense", "hint: \\? lists them"]
    assert out.splitlines() == ["seven", "-----", "    7", "(1 row)"]


def test_ctrl_c_drops_what_is_typed_and_q_leaves(typed: Callable[..., tuple[str, str]]) -> None:
    out, err = typed(f"SELECT nonsense\rFROM {CTRL_C}SELECT 1 AS one;\r\\q\rSELECT 2 AS two;\r")
    assert ("one" in out, "two" in out, err) == (True, False, "")
    for leave in ("\\q;", "quit", "exit;"):
        assert "two" not in typed(f"{leave}\rSELECT 2 AS two;\r")[0]
    assert "leave, as Ctrl-D" in typed("help\r")[0]


def test_several_statements_run_in_turn_until_one_cannot(typed: Callable[..., tuple[str, str]]) -> None:
    out, err = typed("SELECT 1 AS one; SELECT 2 AS two -- ;\r; SELECT nonsense; SELECT 3 AS three;\r")
    assert [line for line in out.splitlines() if line.isalpha()] == ["one", "two"]
    assert "nonsense" in err.splitlines()[0]


def test_the_store_may_change_and_vanish_meanwhile(
    typed: Callable[..., tuple[str, str]], store: kvmtrace.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []

    def show(text: str) -> None:
        shown.append(text)
        if len(shown) == 1:
            add_run(store.path, "more")
        else:
            shutil.rmtree(store.path)

    monkeypatch.setattr(pager, "show", show)
    _, err = typed("SELECT count(*) AS n FROM runs; SELECT count(*) AS n FROM runs;\rFROM runs;\r")
    assert [text.split()[2] for text in shown] == ["4", "5"]
    assert err.startswith("error: no store at ")


def test_what_is_no_character_of_unicode_is_an_error(store: kvmtrace.Store) -> None:
    with pytest.raises(UsageError, match="expected characters of Unicode"):
        store.sql("SELECT '\udcff'")


def test_names_of_a_recording_reach_the_terminal_escaped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add_run(tmp_path / "evil", "aa", {"exits": exits({"reason": "\x1b[31mred"})})
    with create_pipe_input() as keyboard, create_app_session(input=keyboard, output=DummyOutput()):
        keyboard.send_text(f"FROM exits SELECT reason;\r{CTRL_D}")
        session.run(kvmtrace.open_store(tmp_path / "evil"))
    assert "\\x1b[31mred" in capsys.readouterr().out


def test_commands_list_tables_columns_queries_and_themselves(typed: Callable[..., tuple[str, str]]) -> None:
    tables = typed("\\d\r")[0]
    assert "kvm_msr" in tables
    assert "One row for each VM exit." in tables
    columns = typed("\\d exits\r")[0]
    assert [line.split() for line in columns.splitlines() if line.startswith("latency_ns")] == [
        ["latency_ns", "BIGINT", "time", "out", "of", "the", "guest:", "exit", "to", "next", "entry"]
    ]
    assert "exits-by-reason" in typed("\\queries\r")[0]
    shown = typed("\\?\r")[0]
    assert all(command in shown for command in ("\\d TABLE", "\\run NAME", "Ctrl-C"))
    assert typed("\\d kvm_mrs\r")[1].startswith("error: no table 'kvm_mrs'\nhint: nearest: kvm_msr")
    assert typed("\\d a b\r")[1] == "error: expected \\d or \\d TABLE, found \\d a b\n"


def test_a_query_is_run_with_its_parameters(typed: Callable[..., tuple[str, str]], store: kvmtrace.Store) -> None:
    run_id = store.sql("SELECT min(run_id) FROM exits").item()
    out, err = typed(f"\\run slowest-exits run_id={run_id} top=2\r")
    assert (len(out.splitlines()), err) == (4, "")
    for wrong, said in (
        ("\\run slowest-exits top\r", "error: expected NAME=VALUE with each name once, found 'top'"),
        ("\\run slowest-exit\r", "error: no query is called 'slowest-exit'"),
        ("\\run 'slowest\r", "error: \\run 'slowest: no closing quotation"),
        ("\\run\r", "error: expected \\run NAME k=v …, found \\run"),
    ):
        assert typed(wrong)[1].splitlines()[0] == said


def test_the_rows_and_values_of_a_huge_result_are_limited_and_that_is_said(
    typed: Callable[..., tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "ROWS", 5)
    out, _ = typed("SELECT i FROM range(1000000000) t(i);\rSELECT i FROM range(5) t(i);\r")
    assert out.splitlines()[6] == "4"
    assert out.splitlines()[7] == (
        "(the first 5 rows; there are more: LIMIT, WHERE or an aggregate makes fewer of them)"
    )
    assert out.endswith("(5 rows)\n")
    sorted_, _ = typed("SELECT i AS a, -i AS a FROM range(300000) t(i) ORDER BY i DESC;\r")
    assert [line.split() for line in sorted_.splitlines()[:3:2]] == [["a", "a"], ["299999", "-299999"]]
    monkeypatch.setattr(session, "VALUES", 4)
    assert "(the first 2 rows;" in typed("SELECT i, i FROM range(9) t(i);\r")[0]
    out, err = typed("SELECT i FROM range(9) t(i);\r", TableFormat.CSV)
    assert (out, err.startswith("note: the first 4 rows;")) == ("i\n0\n1\n2\n3\n", True)


def completions(store: kvmtrace.Store, text: str, cursor: int | None = None, *, tab: bool = True) -> list[str]:
    document = Document(text, len(text) if cursor is None else cursor)
    event_ = CompleteEvent(completion_requested=tab)
    return [each.text for each in StoreCompleter(store).get_completions(document, event_)]


def test_tab_offers_tables_columns_and_words_of_sql(store: kvmtrace.Store) -> None:
    assert completions(store, "SELECT * FROM kvm_m") == ["kvm_msr"]
    assert completions(store, "FROM exits JOIN exit_s") == ["exit_summaries"]
    assert completions(store, "DESCRIBE loS") == ["lost"]
    assert completions(store, "FROM exits, kvm_ms") == ["kvm_msr"]
    text = "SELECT ec FROM kvm_msr"
    assert completions(store, text, len("SELECT ec")) == ["ecx"]
    assert "latency_ns" in completions(store, "SELECT  FROM exits", len("SELECT "))
    assert "ecx" not in completions(store, "SELECT  FROM exits", len("SELECT "))
    assert completions(store, "SELECT 1 ord") == ["order"]
    assert completions(store, "SELECT 1 ORD") == ["ORDER"]
    assert completions(store, "SELECT 'kvm_m") == []
    assert completions(store, "SELECT 1 ", tab=False) == []


def test_tab_offers_commands_queries_parameters_and_runs(store: kvmtrace.Store) -> None:
    run_id = store.sql("SELECT min(run_id) FROM exits").item()
    Catalogue(store.path).set_label(run_id, Label("before"))
    assert completions(store, "\\ru") == ["\\run"]
    assert completions(store, "\\d kvm_m") == ["kvm_msr"]
    assert completions(store, "\\run exits-by-r") == ["exits-by-reason"]
    assert completions(store, "\\run slowest-exits t") == ["top="]
    assert completions(store, "\\run slowest-exits run_id=b") == ["before"]
    assert run_id in completions(store, "\\run slowest-exits run_id=")
    assert completions(store, "\\run nonsense ") == []


def test_a_name_that_is_no_plain_word_is_quoted(tmp_path: Path) -> None:
    add_run(tmp_path, "aa", {"events/kvm/a%20%22b%22": event({}, {})})
    assert completions(kvmtrace.open_store(tmp_path), "FROM a") == ['"a ""b"""']


def test_what_was_typed_is_kept_for_the_next_time(typed: Callable[..., tuple[str, str]], state: Path) -> None:
    typed("SELECT 41 AS\rkept;\r")
    file = state / "kvmtrace/sql-history"
    assert "+SELECT 41 AS\n+kept;\n" in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "41" in typed(f"{UP}\r")[0]


def test_the_history_has_its_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for relative in ("", "not/absolute"):
        monkeypatch.setenv("XDG_STATE_HOME", relative)
        assert history.path() == tmp_path / ".local/state/kvmtrace/sql-history"


def test_a_history_that_cannot_be_kept_is_no_reason_to_stop(typed: Callable[..., tuple[str, str]], state: Path) -> None:
    state.write_text("a file where a folder should be")
    assert typed("SELECT 1 AS one;\r")[1] == ""


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Let standard output be a terminal of 40 columns and 10 lines; return the file that the pager writes."""
    monkeypatch.setattr(pager, "is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("LINES", "10")
    script = tmp_path / "pager"
    script.write_text(
        f"#!/bin/sh\nhead -c 20 >> '{tmp_path}/paged'\n"
    )  # and leaves, as a user does who has seen enough
    script.chmod(0o700)
    monkeypatch.setenv("PAGER", f"{script} -x")
    return tmp_path / "paged"


@pytest.mark.parametrize(
    ("text", "paged"), [("short\n" * 8, False), ("short\n" * 9, True), ("x" * 40, False), ("x" * 41, True)]
)
def test_what_is_longer_or_wider_than_the_screen_is_paged(
    text: str, paged: bool, terminal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pager.show(text)
    assert capsys.readouterr().out == ("" if paged else text)
    assert (terminal.read_text() if terminal.exists() else "") == (text[:20] if paged else "")


def test_a_large_text_may_be_left_in_the_pager_at_once(terminal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pager.show("0123456789abcdef\n" * 200_000)
    assert terminal.read_text() == "0123456789abcdef\n012"
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("command", ["", "no-such-pager", "'not closed", "/"])
def test_without_a_pager_it_is_printed(
    command: str, terminal: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PAGER", command)
    pager.show("x" * 100)
    assert capsys.readouterr().out == "x" * 100
    assert not terminal.exists()


def test_the_prompt_on_a_real_terminal(store: kvmtrace.Store, state: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(state), "PAGER": "cat", "TERM": "xterm"}
    environment |= {"PROMPT_TOOLKIT_NO_CPR": "1", "KVMTRACE_STORE": str(store.path)}
    program = pexpect.spawn(
        sys.executable,
        ["-m", "kvmtrace", "sql"],
        env=environment,
        encoding="utf-8",
        timeout=60,
        dimensions=(24, 100),
    )
    program.expect("4 runs. Statements end with ;")
    program.expect("kvmtrace>")
    program.send("SELECT 6 * 7 AS answer,\r")
    program.expect(r"\.\.\.>")
    program.send("1 AS one;\r")
    program.expect(r"answer  one\s+------  ---\s+42    1")
    program.expect("kvmtrace>")
    program.send("SELECT count(*) FROM range(100000000000) a(i), range(1000) b(j) WHERE i % 7 = j;\r")
    program.expect(BRACKETED_PASTE_OFF)  # the prompt lets go of the terminal, and the statement runs
    time.sleep(1)
    program.sendintr()
    program.expect("interrupted")
    program.expect("kvmtrace>")
    program.send("SELECT ec FROM kvm_m\t")
    program.expect("kvm_msr")  # in the line, or in the menu below it
    program.sendintr()
    program.expect("kvmtrace>")
    program.send("SELECT 'still ' || 'here' AS it;\r")
    program.expect("still here")
    program.expect("kvmtrace>")
    program.sendeof()
    program.expect(pexpect.EOF)
    program.close()
    assert program.exitstatus == 0
