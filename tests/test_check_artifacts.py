"""`kvmtrace check` of files, folders and archives: what is taken in, what is passed over, and what stays."""

from __future__ import annotations

import os
import signal
import socket
import tarfile
from pathlib import Path

import pytest
from check_samples import SINGLE, check, counted
from junit_schema import outcomes

from kvmtrace.artifacts import store_for

RECORDINGS = Path(__file__).parent / "data" / "recordings"
OFF = RECORDINGS / "pveoi-idletick-xapic-off.perf.data.zst"


def test_what_is_in_files_folders_and_archives_is_ingested_for_the_check_alone(
    alone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counted("new/job", 1000)
    (alone / "new" / "notes.txt").write_text("hello\n")
    counted("before.txt", 1001)
    with tarfile.open("base.tar", "w") as tar:
        tar.add("before.txt", "artifacts/before.txt")
    assert check("base.tar", "new", SINGLE) == 0
    assert "passed over: new/notes.txt: expected " in capsys.readouterr().err
    there = ["base.tar", "before.txt", "budget.toml", "junit.xml", "new"]
    assert sorted(path.name for path in alone.iterdir()) == there


def test_what_no_folder_of_recordings_has_is_passed_over_and_named(
    alone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counted("base.txt", 1001)
    counted("new/run", 1000)
    (alone / "new" / "dangling").symlink_to("missing")
    (alone / "new" / "loop").symlink_to("loop")
    (alone / "new" / "back").symlink_to(".")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("new/a-socket")  # which cannot be opened; the FIFO behind it would wait for ever
        os.mkfifo("new/fifo")
        assert check("base.txt", "new", SINGLE) == 0
    err = capsys.readouterr().err
    for name, what in (
        ("a-socket", "no regular file"),
        ("back", "a link to a folder"),
        ("dangling", "a link to nothing"),
        ("fifo", "no regular file"),
        ("loop", "a link to nothing"),
    ):
        assert f"note: passed over: new/{name}: {what}\n" in err


def test_a_check_that_is_terminated_leaves_no_store() -> None:
    stores = []

    def terminated() -> None:
        with store_for([os.devnull], None, Path("default")) as store:
            store.mkdir()
            stores.append(store)
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)  # else the tests would end where it is not handled
    try:
        with pytest.raises(KeyboardInterrupt):
            terminated()
        assert [store.parent.exists() for store in stores] == [False]
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_what_goes_into_the_store_that_is_asked_for_stays_there(
    alone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counted("job/before.txt", 1001)
    counted("job/after.txt", 1000)
    assert check("job/before.txt", "job/after.txt", SINGLE, "--store", "store") == 0
    first = capsys.readouterr().out
    assert len(list((alone / "store" / "runs").iterdir())) == 2
    assert check("before.txt", "after.txt", SINGLE, "--store", "store", "--force") == 0  # now they are runs
    assert capsys.readouterr().out == first


@pytest.mark.usefixtures("alone")
def test_a_file_is_not_taken_for_the_run_that_the_same_check_just_ingested(capsys: pytest.CaptureFixture[str]) -> None:
    counted("base/perf.txt", 1001)
    counted("perf.txt", 1000)  # what the run of base is called
    assert check("base/perf.txt", "perf.txt", SINGLE) == 0
    assert "the file is taken" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ("of.data", "of.data: no such file, and no store at kvmtrace-store"),
        ("empty", "empty: expected a recording in the folder, found none"),
        ("budget.toml", "budget.toml: expected "),
        ("cut.data", "cut.data"),
        ("folder", "folder/cut.data"),
    ],
)
def test_a_side_that_cannot_be_read_is_bad_input(
    alone: Path, capsys: pytest.CaptureFixture[str], new: str, message: str
) -> None:
    (alone / "empty").mkdir()
    (alone / "folder").mkdir()
    for path in (alone / "cut.data", alone / "folder" / "cut.data"):
        path.write_bytes(OFF.read_bytes()[:5000])
    counted("base.txt", 1000)
    assert check("base.txt", new, SINGLE) == 3
    out, err = capsys.readouterr()
    assert not out
    assert f"kvmtrace: error: {message}" in err
    assert outcomes(Path("junit.xml")) == {"input": "error"}
    assert not (alone / "kvmtrace-store").exists()
