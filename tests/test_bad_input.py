"""Bad input of every format through `kvmtrace ingest`: runs with notes, or one line of error; and nothing half-written.

What damage does inside a format is tested with that format, and archives in test_archives.py.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from damage import small_recording
from look_alikes import FTRACE, KNOWN, PERF_SCRIPT, PERF_STAT, TRACE_CMD
from made_runs import StoredRun

from kvmtrace.cli import run as run_program
from kvmtrace.formats import detect
from kvmtrace.store.catalogue import Catalogue
from kvmtrace.store.manifest import Manifest, run_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvmtrace.formats.source import Source

DATA = Path(__file__).parent / "data"
ROOT = Path(__file__).parents[1]
EVENT_TEXTS = ["tracefs", "trace-cmd", "perf script"]
TABLE_TEXTS = [what for what, (_, name) in KNOWN.items() if name not in {"ftrace", "trace-cmd-report", "perf-script"}]
TEXTS = [*EVENT_TEXTS, *TABLE_TEXTS]
BINARY = ["perf.data", "trace.dat"]
LONG_LINE_BYTES = 100 << 20
MOST_MEMORY_KB = 700 << 10
"""What an ingest takes at most, with every library that it loads: some 250 MB."""


class Outcome(NamedTuple):
    code: int
    runs: list[Manifest]
    err: list[str]


@pytest.fixture
def ingest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Return what ingests one file into a store of its own, and checks that it ended as it must."""
    count = iter(range(1 << 20))

    def run(path: Path, *options: str) -> Outcome:
        store = tmp_path / f"store-{next(count)}"
        code = run_program(["ingest", str(path), "--store", str(store), *options])
        shown = capsys.readouterr()
        runs = Catalogue(store).manifests() if store.exists() else []
        outcome = Outcome(code, runs, shown.err.splitlines())
        assert sorted(shown.out.splitlines()) == sorted(manifest.run_id for manifest in runs)
        check(outcome, store)
        return outcome

    return run


def check(outcome: Outcome, store: Path) -> None:
    """Runs whose tables are all there, or one line of error and perhaps a hint, and an empty store."""
    errors = [line for line in outcome.err if line.startswith("kvmtrace: error: ")]
    assert "Traceback" not in "".join(outcome.err)
    if outcome.code == 0:
        assert outcome.runs
        assert errors == []
    else:
        assert outcome.code == 3
        assert len(errors) == 1
        assert ": expected " in errors[0]
        assert all(line.startswith(("kvmtrace: ", "hint: ")) for line in outcome.err)
    folders = {run_folder(store, manifest.run_id) for manifest in outcome.runs}
    files = [path for path in store.rglob("*") if path.is_file()] if store.exists() else []
    assert [path for path in files if not folders.intersection(path.parents) and path.suffix != ".lock"] == []
    for manifest in outcome.runs:
        stored = StoredRun(run_folder(store, manifest.run_id), manifest)
        for name, info in manifest.tables.items():
            assert stored.table(name).num_rows == info.rows


def content(what: str, tmp_path: Path) -> bytes:
    """Return a small input."""
    if what == "perf.data":
        return small_recording().write(tmp_path / "whole").read_bytes()
    if what == "trace.dat":
        return (DATA / "trace-dat" / "arm64.v7.dat").read_bytes()
    return KNOWN[what][0].encode()


def rows_of(outcome: Outcome) -> list[dict[str, int]]:
    return [{name: info.rows for name, info in manifest.tables.items()} for manifest in outcome.runs]


@pytest.mark.parametrize("what", [*BINARY, *TEXTS])
def test_what_is_cut_off_anywhere(ingest: Callable[..., Outcome], tmp_path: Path, what: str) -> None:
    whole = content(what, tmp_path)
    path = tmp_path / "input"
    path.write_bytes(whole)
    assert ingest(path).code == 0
    for part in (1, 25, 50, 75, 90, 98):
        path.write_bytes(whole[: len(whole) * part // 100])
        ingest(path)


@pytest.mark.parametrize("what", TEXTS)
@pytest.mark.parametrize("bad", [b"\0\0\0", b"\xff\xfe\x80", b"\r", b"\n" * 300, b"\x0c\x0b\x85"])
def test_what_is_no_text_inside_of_a_text(
    ingest: Callable[..., Outcome], tmp_path: Path, what: str, bad: bytes
) -> None:
    whole = content(what, tmp_path)
    path = tmp_path / "input"
    for place in (0, len(whole) // 2, len(whole)):
        path.write_bytes(whole[:place] + bad + whole[place:])
        ingest(path)
    path.write_bytes(whole + bad)
    assert rows_of(ingest(path)), "what stands before it is read"


@pytest.mark.parametrize("what", TEXTS)
def test_ends_of_lines_and_marks_change_nothing(ingest: Callable[..., Outcome], tmp_path: Path, what: str) -> None:
    whole = content(what, tmp_path)
    path = tmp_path / "input"
    path.write_bytes(whole)
    rows = rows_of(ingest(path))
    for changed in (whole.replace(b"\n", b"\r\n"), b"\xef\xbb\xbf" + whole, whole.rstrip(b"\n")):
        path.write_bytes(changed)
        assert rows_of(ingest(path)) == rows
    path.write_bytes(whole.decode().encode("utf-16"))
    outcome = ingest(path)
    assert outcome.err == [
        f"kvmtrace: error: {path}: expected text in UTF-8, found text in UTF-16",
        "hint: convert it: iconv -f UTF-16 -t UTF-8 FILE > CONVERTED",
    ]


@pytest.mark.parametrize("what", TEXTS)
@pytest.mark.parametrize("filling", [b"x", b"> ", b"kvm_exit "])
def test_a_long_line_costs_itself_only(
    ingest: Callable[..., Outcome], tmp_path: Path, what: str, filling: bytes
) -> None:
    whole = content(what, tmp_path)
    path = tmp_path / "input"
    path.write_bytes(whole)
    rows = rows_of(ingest(path))
    length = 1_200_000 if what in EVENT_TEXTS else 100_000  # longer than any line that is looked at
    path.write_bytes(whole + (filling * length)[:length] + b"\n")
    assert rows_of(ingest(path)) == rows


@pytest.mark.slow
@pytest.mark.parametrize("what", [*EVENT_TEXTS, "perf stat"])
def test_a_line_of_100_mb_does_not_fill_the_memory(tmp_path: Path, what: str) -> None:
    whole = content(what, tmp_path)
    path = tmp_path / "input"
    with path.open("wb") as file:
        file.write(whole)
        for _ in range(LONG_LINE_BYTES >> 20):
            file.write(b"x" * (1 << 20))
        file.write(b"\n" + whole.replace(b"113.286", b"114.286"))
    code = (
        "import resource, sys; from kvmtrace.cli import run; code = run(sys.argv[1:]);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(code)"
    )
    command = [sys.executable, "-c", code, "ingest", str(path), "--store", str(tmp_path / "store")]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False, timeout=120)
    assert int(done.stdout.split()[-1]) < MOST_MEMORY_KB
    if what in EVENT_TEXTS:
        assert done.returncode == 0, done.stderr
        events = sum(t.rows for manifest in Catalogue(tmp_path / "store").manifests() for t in manifest.tracepoints)
        assert events == 4
        assert "expected a line of up to 1 MiB, found a longer one" in done.stderr
    else:
        assert done.returncode == 3
        assert "hint: tables are looked for in texts of up to 64 MiB: give the part that holds them" in done.stderr


@pytest.mark.parametrize("text", [PERF_SCRIPT, FTRACE, TRACE_CMD])
def test_an_event_that_no_template_knows_is_noted_and_counted(
    ingest: Callable[..., Outcome], tmp_path: Path, text: str
) -> None:
    path = tmp_path / "input"
    path.write_text(text + text.replace("kvm_exit", "kvm_unheard_of"))
    outcome = ingest(path)
    (manifest,) = outcome.runs
    (note,) = manifest.notes
    assert "1 line of " in note.what
    assert "kvm_unheard_of, whose text no template reads, not stored" in note.what
    assert note.events == 1
    assert sum(t.rows for t in manifest.tracepoints) == 3


def test_two_traces_in_one_text_are_two_runs_with_their_events(ingest: Callable[..., Outcome], tmp_path: Path) -> None:
    path = tmp_path / "input"
    trace = "# tracer: nop\n#\n" + FTRACE
    path.write_text(trace + trace.replace("113.", "114.") + trace.replace("113.", "115.").replace("hlt", "msr"))
    for jobs in ("1", "2"):
        outcome = ingest(path, "--jobs", jobs)
        assert [sum(t.rows for t in manifest.tracepoints) for manifest in outcome.runs] == [2, 2, 2]
        assert len({manifest.source.digest for manifest in outcome.runs}) == 1


def test_a_tar_in_a_tar_is_named_and_passed_over(ingest: Callable[..., Outcome], tmp_path: Path) -> None:
    def packed(*files: tuple[str, bytes]) -> bytes:
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as tar:
            for name, inner in files:
                header = tarfile.TarInfo(name)
                header.size = len(inner)
                tar.addfile(header, io.BytesIO(inner))
        return stream.getvalue()

    path = tmp_path / "all.tar"
    stat = PERF_STAT.encode()
    path.write_bytes(packed(("inner.tar", packed(("stat.txt", stat))), ("outer.txt", stat)))
    outcome = ingest(path)
    assert [manifest.source.name for manifest in outcome.runs] == ["all.tar:outer.txt"]
    assert any("passed over: " in line and "inner.tar: expected figures of KVM" in line for line in outcome.err)


def test_a_pipe_is_read_to_its_end(ingest: Callable[..., Outcome], tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    for text, code in ((PERF_STAT, 0), ("nothing\n", 3), ("", 3)):
        writer = threading.Thread(target=path.write_text, args=(text,))
        writer.start()
        assert ingest(path).code == code
        writer.join()


def test_a_device_that_has_nothing_is_one_error(ingest: Callable[..., Outcome]) -> None:
    assert ingest(Path(os.devnull)).err[0].endswith("/dev/null: expected figures of KVM, found an empty file")


def test_a_file_that_goes_away_while_it_is_read_is_read(
    ingest: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "input"
    read = detect.read

    def gone(source: Source, name: str | None = None) -> object:
        path.unlink()
        return read(source, name)

    monkeypatch.setattr(detect, "read", gone)
    for what in ("perf.data", "tracefs", "perf stat"):
        path.write_bytes(content(what, tmp_path))
        assert ingest(path).code == 0


@pytest.mark.parametrize("what", ["perf.data", "trace.dat", "tracefs", "perf script", "trace-cmd"])
def test_a_file_that_becomes_shorter_while_it_is_read(
    ingest: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    path = tmp_path / "input"
    read = detect.read
    whole = content(what, tmp_path)
    for length in (0, len(whole) // 3, len(whole) - 1):
        path.write_bytes(whole)

        def shortened(source: Source, name: str | None = None, length: int = length) -> object:
            contents = read(source, name)
            os.truncate(path, length)
            return contents

        monkeypatch.setattr(detect, "read", shortened)
        ingest(path)
