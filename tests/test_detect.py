"""An input is known by its content: every file that we have, texts that look alike, and what is of no format."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import zstandard
from look_alikes import CYCLES, FOREIGN, FTRACE, KNOWN, PERF_KVM_STAT, PERF_SCRIPT, PERF_STAT
from perf_oracle import HAS_PERF, SHARED

from kvmtrace.cli import run as run_program
from kvmtrace.errors import InputError, UnknownFormatError
from kvmtrace.formats import detect
from kvmtrace.formats.source import open_source
from kvmtrace.recording import Facts, Notes, TableSet

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvmtrace.formats.format import RecordingFormat
    from kvmtrace.recording import EventBlock

DATA = Path(__file__).parent / "data"
NO_FORMAT = "no format"
OF_DATA = (
    ("*README.md", NO_FORMAT),
    ("cycle-list/*", "cycle-list"),
    ("junit/*", NO_FORMAT),
    ("kvm-debugfs/*", "kvm-debugfs"),
    ("kvm-stat/*", "kvm-stat"),
    ("kvm-unit-tests/*", "kvm-unit-tests"),
    ("perf-kvm-stat/*", "perf-kvm-stat"),
    ("perf-stat/*", "perf-stat"),
    ("*.perf.data*", "perf.data"),
    ("*.perf-kvm-stat-*.txt", "perf-kvm-stat"),
    ("*.perf-report-stats.txt", NO_FORMAT),
    ("*.perf-script.txt.xz", "perf-script"),
    ("trace-dat/*.report-R.txt.xz", "trace-cmd-report"),
    ("trace-dat/*.dat*", "trace.dat"),
    ("event-text/*.exits.csv", NO_FORMAT),
    ("event-text/*.perf-script*.txt.xz", "perf-script"),
    ("event-text/*.trace-cmd-report*.txt.xz", "trace-cmd-report"),
    ("event-text/*.trace*.txt.xz", "ftrace"),
)
"""What a file's place in tests/data says it is; the first that fits counts."""
OF_CAPTURES = (
    ("*/perf-variants/pipe.perf-kvm-stat-*", NO_FORMAT),  # perf says that it cannot read the file
    ("arm64/*perf-kvm-stat/perf-script.txt", NO_FORMAT),  # empty: perf script drops what a guest's CPU mode marks
    ("riscv64/*-report-raw.txt.gz", NO_FORMAT),  # trace-cmd 3.3 -R: [000]-0x0, and no text of an event
    *((name, NO_FORMAT) for name in ("*.md", "*README.txt", "*commands.txt", "*facts.txt", "*.log", "*.err", "*.bin")),
    *((f"*/{name}", NO_FORMAT) for name in ("*formats/*", "cpuinfo.txt", "printk_formats.txt", "saved_cmdlines.txt")),
    *((f"*{name}*.txt", NO_FORMAT) for name in ("event-counts", "l2-console", "perf-header", "perf-evlist")),
    *((f"*{name}*.txt", NO_FORMAT) for name in ("report-stats", "script-D-head", "stats-cpu0", "trace_clock")),
    *((f"*{name}.txt", NO_FORMAT) for name in ("dump-summary", "trace-cmd-dump", "trace-cmd-stat")),
    ("*kvm-debugfs/*", "kvm-debugfs"),
    ("*/perf-stat*.txt", "perf-stat"),
    ("*perf-stat/*", "perf-stat"),
    ("*/perfstat-*/*", "perf-stat"),
    ("*/kvmstat-*.txt", "perf-kvm-stat"),
    ("*perf-kvm-stat-*.txt", "perf-kvm-stat"),
    ("*/console-*.txt", "kvm-unit-tests"),
    ("*perf-script*.txt*", "perf-script"),
    ("*report*.txt.gz", "trace-cmd-report"),
    ("*/raw-*/trace*.txt*", "ftrace"),
    ("*-raw-trace*/trace.txt.gz", "ftrace"),
    ("*.dat", "trace.dat"),
    ("*.data*", "perf.data"),
)
"""The same by the INDEX.md and README.txt of recordings that are not part of the project."""
OF_SAMPLES = (("*.md", NO_FORMAT), ("*.source.txt", NO_FORMAT), ("perfdata_*", "perf.data"), ("trace_*", "trace.dat"))
OF_SEEDS = (
    ("000_*", "cycle-list"),
    ("001_*", "kvm-unit-tests"),
    ("002_*", "perf-kvm-stat"),
    ("003_*", NO_FORMAT),
    ("004_*", "perf-stat"),
)


class Known:
    """An input of events whose format is known, and which nobody reads."""

    def __init__(self, name: str) -> None:
        self.facts = Facts(format=name)
        self.notes = Notes()

    def blocks(self) -> Iterator[EventBlock]:
        yield from ()


@pytest.fixture
def _only_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let recordings be recognised, and not be read: others test that, and it takes long."""

    def known(format_: RecordingFormat) -> RecordingFormat:
        return replace(format_, read=lambda _: [Known(format_.name)])

    stubs = tuple(map(known, detect.recording_formats()))
    monkeypatch.setattr(detect, "recording_formats", lambda: stubs)


def told(path: Path) -> set[str]:
    """Return the formats of what is in a file."""
    try:
        with open_source(str(path)) as source:
            return {content.facts.format for content in detect.read(source)}
    except UnknownFormatError:
        return {NO_FORMAT}


def files(folder: Path, table: Sequence[tuple[str, str]]) -> list[tuple[Path, str]]:
    """Return the files of a folder, with what the table says that each is. StopIteration: it says nothing of one."""
    found = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return [
        (path, next(what for name, what in table if fnmatch(path.relative_to(folder).as_posix(), name)))
        for path in found
    ]


def wrong(folder: Path, table: Sequence[tuple[str, str]]) -> list[str]:
    """Return what is taken for something else."""
    return [
        f"{path}: {sorted(formats)}, but it is {what}"
        for path, what in files(folder, table)
        if (formats := told(path)) != {what}
    ]


@pytest.mark.usefixtures("_only_known")
def test_every_file_of_ours_is_known_for_what_it_is() -> None:
    assert wrong(DATA, OF_DATA) == []
    counted = {what for _, what in files(DATA, OF_DATA)}
    assert {format_.name for format_ in detect.formats()} <= counted


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared")
@pytest.mark.usefixtures("_only_known")
@pytest.mark.parametrize(
    ("folder", "table"),
    [
        pytest.param("captures", OF_CAPTURES, marks=pytest.mark.slow),
        ("samples", OF_SAMPLES),
        ("seeds", OF_SEEDS),
    ],
)
def test_every_other_file_is_known_for_what_it_is(folder: str, table: Sequence[tuple[str, str]]) -> None:
    assert wrong(SHARED / folder, table) == []


@pytest.mark.parametrize("what", KNOWN)
def test_what_looks_alike_is_told_apart(tmp_path: Path, what: str) -> None:
    text, name = KNOWN[what]
    path = tmp_path / "input"
    for content in (text, text.replace("\n", "\r\n"), "\ufeff" + text, "> " + text.replace("\n", "\n> ")):
        path.write_text(content, newline="")
        assert told(path) == {name}, content


@pytest.mark.parametrize("what", FOREIGN)
def test_what_only_looks_like_it_is_of_no_format(tmp_path: Path, what: str) -> None:
    path = tmp_path / "input"
    path.write_text(FOREIGN[what])
    with open_source(str(path)) as source, pytest.raises(UnknownFormatError) as unknown:
        detect.read(source)
    assert unknown.value.message.startswith(f"{path}: expected figures of KVM in a format that is known, found ")
    assert unknown.value.hint == "`kvmtrace formats` lists what is read; --format NAME names one"


def test_a_mail_may_hold_several(tmp_path: Path) -> None:
    path = tmp_path / "mail"
    mail = f"Hi,\n\nbefore:\n\n{CYCLES}\nand:\n\n{PERF_STAT}\nwhere\n\n{PERF_KVM_STAT}\nin\n\n{FTRACE}\nBye\n"
    for text in (mail, "> " + mail.replace("\n", "\n> ")):
        path.write_text(text)
        with open_source(str(path)) as source:
            assert [content.facts.format for content in detect.read(source)] == [
                "ftrace", "cycle-list", "perf-stat", "perf-kvm-stat",
            ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "expected figures of KVM, found an empty file"),
        (b" \r\n\t\n", "expected figures of KVM in a format that is known, found nothing but blanks"),
        (b"\x7fELF\x02\x01\x01\x00", "… found other bytes: 7f 45 4c 46 02 01 01 00"),
        (b"PERFILE", "… found a text that begins 'PERFILE'"),
        (b"Hello\n  kvm\x1b[2J \xff", "… found a text that begins 'Hello kvm\\x1b[2J \\udcff'"),
        ("kvm_exit".encode("utf-16"), "expected text in UTF-8, found text in UTF-16"),
        (b"x" * 5_000_000, "… found a text that begins '" + "x" * 40 + "'"),
    ],
)
def test_what_is_of_no_format_is_told_in_one_line(tmp_path: Path, content: bytes, found: str) -> None:
    path = tmp_path / "input"
    path.write_bytes(content)
    with open_source(str(path)) as source, pytest.raises(UnknownFormatError) as unknown:
        detect.read(source)
    known = "expected figures of KVM in a format that is known,"
    assert unknown.value.message == f"{path}: {found.replace('…', known)}"
    assert (unknown.value.hint is None) == (not content)  # no name of a format helps an empty file


NO_EVENT = "  kworker-123 [000] d... 12.345678: foo_bar_event: something=1\n"
NO_TABLE = "\n Performance counter stats for 'sleep 1':\n\n            47357 47357     kvm kvm_entry x y z\n"


def test_events_that_cannot_be_read_hide_no_table(tmp_path: Path) -> None:
    path = tmp_path / "mail"
    path.write_text(f"Hi,\n\n{NO_EVENT}\n{PERF_STAT}\n{CYCLES}")
    with open_source(str(path)) as source:
        first, second = detect.read(source)
    assert isinstance(first, TableSet)
    assert isinstance(second, TableSet)
    assert [first.facts.format, second.facts.format] == ["perf-stat", "cycle-list"]
    assert [note.where for note in (*first.notes, *second.notes)] == ["source"]
    assert "foo_bar_event (line 3) (record with: trace-cmd record -e kvm)" in first.notes[0].what


def test_a_table_that_cannot_be_read_is_noted_beside_events(tmp_path: Path) -> None:
    path = tmp_path / "mail"
    path.write_text(FTRACE + NO_TABLE)
    with open_source(str(path)) as source:
        (recording,) = detect.read(source)
        assert not isinstance(recording, TableSet)
        list(recording.blocks())
    assert any("expected counter rows" in note.what for note in recording.notes.told())


def test_of_several_things_that_cannot_be_read_the_first_is_told(tmp_path: Path) -> None:
    path = tmp_path / "mail"
    path.write_text(NO_EVENT + NO_TABLE)
    with open_source(str(path)) as source, pytest.raises(InputError, match="foo_bar_event"):
        detect.read(source)
    path.write_text(NO_TABLE)
    with open_source(str(path)) as source, pytest.raises(InputError, match="expected counter rows"):
        detect.read(source)


def ingest(path: Path, *options: str) -> int:
    return run_program(["ingest", str(path), "--store", str(path.parent / "store"), *options])


def test_a_format_may_be_forced_where_another_one_is_seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mail.txt"
    path.write_text(f"{PERF_STAT}\n{CYCLES}\n{PERF_SCRIPT}")
    for name, said in (("perf-stat", "2 counters"), ("cycle-list", "2 figures"), ("perf-script", "2 events, 1 exits")):
        assert ingest(path, "--format", name) == 0
        assert said in capsys.readouterr().err


@pytest.mark.parametrize("name", [format_.name for format_ in detect.formats()])
def test_a_forced_format_that_does_not_fit_is_one_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    path = tmp_path / "input"
    for content in (b"", b"nothing of that kind\n", bytes(range(256))):
        path.write_bytes(content)
        assert ingest(path, "--format", name) == 3
        shown = capsys.readouterr()
        error, *hints = shown.err.splitlines()
        assert re.fullmatch(rf"kvmtrace: error: {re.escape(str(path))}:(\d+:)? expected .+, found .+", error), error
        assert all(hint.startswith("hint: ") for hint in hints)
        assert len(hints) <= 1
        assert shown.out == ""


@pytest.mark.parametrize(
    ("given", "near"),
    [
        ("perfstat", "perf-stat, perf-kvm-stat, perf.data"),
        ("trace", "ftrace, trace.dat"),
        ("zz", "perf.data, trace.dat, "),
    ],
)
def test_a_wrong_name_gives_those_that_are_near(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], given: str, near: str
) -> None:
    path = tmp_path / "input"
    path.write_text(PERF_STAT)
    assert ingest(path, "--format", given) == 2
    error, hint = capsys.readouterr().err.splitlines()
    assert error == f"kvmtrace: error: there is no format {given!r}"
    assert hint.startswith(f"hint: known: {near}")


def test_every_format_is_listed_once_with_a_command_that_makes_a_file_of_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_program(["formats", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    names = [row["format"] for row in rows]
    assert names == list(dict.fromkeys(names)) == [format_.name for format_ in detect.formats()]
    programs = {"perf", "trace-cmd", "cat", "grep", "echo", "kvm_stat", "./x86/run"}
    for row in rows:
        assert row["what"]
        for command in row["example"].split("; "):
            assert shlex.split(command)[0] in programs, command
    assert run_program(["formats"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:]] == names


def test_the_example_of_a_list_of_cycles_makes_one(tmp_path: Path) -> None:
    (example,) = [format_.example for format_ in detect.formats() if format_.name == "cycle-list"]
    subprocess.run(["bash", "-c", example], cwd=tmp_path, check=True)
    assert told(next(tmp_path.iterdir())) == {"cycle-list"}


@pytest.mark.perf
@pytest.mark.skipif(not HAS_PERF, reason="needs perf")
def test_the_example_of_perf_script_makes_events_with_their_process(tmp_path: Path) -> None:
    (example,) = [format_.example for format_ in detect.formats() if format_.name == "perf-script"]
    packed = DATA / "recordings" / "sparse.perf.data.zst"
    (tmp_path / "perf.data").write_bytes(zstandard.ZstdDecompressor().stream_reader(packed.read_bytes()).read())
    subprocess.run(["bash", "-c", example], cwd=tmp_path, check=True, capture_output=True)
    with open_source(str(tmp_path / "script.txt")) as source:
        (content,) = detect.read(source)
    assert (content.facts.format, content.facts.has_processes) == ("perf-script", True)
