"""A run is in the store whole or not at all, whatever becomes of the ingest that writes it."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from made_runs import KvmRecording, StoredRun, ingested

from benchmarks.synthetic import write_synthetic
from kvmtrace.errors import StoreError
from kvmtrace.ingesting import ingest
from kvmtrace.store.catalogue import TEMPORARY, Catalogue
from kvmtrace.store.connection import StoreConnection
from kvmtrace.store.label import Label
from kvmtrace.store.manifest import run_folder
from kvmtrace.store.writer import RunWriter

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
BIG_SAMPLES = 400_000


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = KvmRecording("kvm_msr")
    made.add_comm("qemu")
    made.exit(1_000)
    made.event("kvm_msr", 1_010, ecx=0x10)
    made.enter(1_100)
    return made.write(tmp_path_factory.mktemp("small") / "small.data")


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("big") / "big.data"
    write_synthetic(path, samples=BIG_SAMPLES)
    return path


def start_ingest(path: Path, store: Path, *options: str) -> subprocess.Popen[str]:
    # A shell starts what runs in its background with SIGINT ignored, and children inherit that.
    program = ["env", "--default-signal=INT", sys.executable, "-m", "kvmtrace"]
    command = [*program, "ingest", str(path), "--store", str(store), *options]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_until_it_writes(store: Path, process: subprocess.Popen[str]) -> None:
    while not list((store / TEMPORARY).glob("run-*/*")):
        assert process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.005)


def left_aside(store: Path) -> list[str]:
    return sorted(path.name for path in (store / TEMPORARY).iterdir())


def run_ids(store: Path) -> list[str]:
    return [manifest.run_id for manifest in Catalogue(store).manifests()]


def check_runs(store: Path) -> None:
    """Check that all that the manifests tell of is there."""
    for manifest in Catalogue(store).manifests():
        run = StoredRun(run_folder(store, manifest.run_id), manifest)
        assert {name: run.table(name).num_rows for name in manifest.tables} == {
            name: table.rows for name, table in manifest.tables.items()
        }


def counted_exits(store: Path) -> int:
    with StoreConnection(store) as connection:
        return int(connection.query("SELECT count(*) FROM exits").rows[0][0])


def killed_at_each_step(recording: Path, folder: Path, what: str) -> list[Path]:
    """Return the stores that ingests left behind which were killed before their first, second, … step."""
    command = [sys.executable, str(ROOT / "tests" / "killed_ingests.py"), str(recording), str(folder), what]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, text=True, capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    steps = int(done.stdout)
    assert steps > 10, steps
    return [folder / f"{step}" for step in range(1, steps + 1)]


def test_an_ingest_that_is_killed_at_any_step_leaves_the_run_absent_or_whole(small: Path, tmp_path: Path) -> None:
    whole = []
    for store in killed_at_each_step(small, tmp_path, "new"):
        there = run_ids(store) if (store / "runs").exists() else []
        whole.append(bool(there))
        if there:
            check_runs(store)
        run = ingested(small, store)  # sweeps what the other one left
        assert run_ids(store) == [run.manifest.run_id]
        check_runs(store)
        assert left_aside(store) == []
    assert not whole[0]
    assert whole[-1]
    assert whole == sorted(whole)


def test_a_refresh_that_is_killed_at_any_step_loses_no_run(small: Path, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    run = ingested(small, folder / "before")
    other = KvmRecording()
    other.exit(7)
    other_path = other.write(tmp_path / "other.data")
    for store in killed_at_each_step(small, folder, "refresh"):
        assert run_ids(store) in ([run.manifest.run_id], [])
        ingested(other_path, store)
        assert run.manifest.run_id in run_ids(store)
        check_runs(store)
        assert left_aside(store) == []


def test_an_ingest_that_is_killed_while_it_writes_leaves_the_other_runs(small: Path, big: Path, tmp_path: Path) -> None:
    first = ingested(small, tmp_path)
    for _ in range(3):
        process = start_ingest(big, tmp_path)
        wait_until_it_writes(tmp_path, process)
        time.sleep(random.random() / 5)  # noqa: S311 - any moment
        process.kill()
        process.communicate()
        assert run_ids(tmp_path)[0] == first.manifest.run_id
        check_runs(tmp_path)
        assert counted_exits(tmp_path) in (1, 1 + BIG_SAMPLES // 2)
    run = ingested(big, tmp_path)
    assert counted_exits(tmp_path) == 1 + BIG_SAMPLES // 2
    assert set(run_ids(tmp_path)) == {first.manifest.run_id, run.manifest.run_id}
    assert left_aside(tmp_path) == []


def test_an_ingest_does_not_sweep_what_another_one_is_writing(small: Path, tmp_path: Path) -> None:
    with RunWriter(tmp_path) as writer:
        (writer.folder / "half").write_text("written")
        ingested(small, tmp_path)
        assert (writer.folder / "half").read_text() == "written"
    assert left_aside(tmp_path) == []


def test_an_interrupted_ingest_says_so_and_leaves_nothing(big: Path, tmp_path: Path) -> None:
    process = start_ingest(big, tmp_path)
    wait_until_it_writes(tmp_path, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "kvmtrace: error: interrupted\n")
    assert left_aside(tmp_path) == []
    assert run_ids(tmp_path) == []


def test_two_ingests_of_different_files_at_once_lose_nothing(small: Path, big: Path, tmp_path: Path) -> None:
    processes = [start_ingest(path, tmp_path) for path in (big, small)]
    found = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert set(run_ids(tmp_path)) == {out.strip() for out, _ in found}
    assert counted_exits(tmp_path) == 1 + BIG_SAMPLES // 2
    assert left_aside(tmp_path) == []


@pytest.mark.parametrize("refresh", [False, True])
def test_ingests_of_one_file_at_once_are_one_run(small: Path, tmp_path: Path, *, refresh: bool) -> None:
    def ingest_once(_: int) -> str:
        (run,) = ingest(str(small), tmp_path, Label(), refresh=refresh)
        return run.manifest.run_id

    with ThreadPoolExecutor(6) as threads:
        found = set(threads.map(ingest_once, range(12)))
    assert found == set(run_ids(tmp_path))
    assert counted_exits(tmp_path) == 1
    assert left_aside(tmp_path) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("free_bytes", [None, 24 << 10, 8 << 10, 0])
def test_a_full_disk_is_one_error_and_leaves_nothing(
    small: Path, big: Path, small_disk: Path, free_bytes: int | None
) -> None:
    store = small_disk / "store"
    kept = ingested(small, store)
    if free_bytes is not None:
        (small_disk / "filler").write_bytes(bytes(shutil.disk_usage(small_disk).free - free_bytes))
    free = shutil.disk_usage(small_disk).free
    process = start_ingest(big if free_bytes is None else small, store, "--refresh")
    out, err = process.communicate(timeout=60)
    assert err == (
        f"kvmtrace: error: the store {store} cannot be written: No space left on device; the run was not added\n"
        "hint: free some space, or name another store with --store\n"
    )
    assert (process.returncode, out) == (3, "")
    assert left_aside(store) == []
    assert run_ids(store) == [kept.manifest.run_id]
    assert shutil.disk_usage(small_disk).free == free


def test_no_room_to_unpack_a_recording_is_one_error(
    big: Path, small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = tmp_path / "big.data.gz"
    packed.write_bytes(gzip.compress(big.read_bytes(), 1))
    monkeypatch.setenv("TMPDIR", str(small_disk))
    process = start_ingest(packed, tmp_path / "store")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (3, "")
    assert err == (
        f"kvmtrace: error: {packed}: cannot be unpacked into {small_disk}: No space left on device\n"
        "hint: name a folder with more room in $TMPDIR\n"
    )


def test_a_limit_of_the_size_of_files_is_one_error_and_leaves_nothing(big: Path, tmp_path: Path) -> None:
    command = f"ulimit -f 100; exec {sys.executable} -m kvmtrace ingest {big} --store {tmp_path}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, text=True, capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (3, "")
    what = f"the store {tmp_path} cannot be written: File too large; the run was not added"
    assert done.stderr == f"kvmtrace: error: {what}\n"
    assert left_aside(tmp_path) == []


def test_a_store_that_cannot_be_made_is_one_error(small: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written: Not a directory; the run was not added"):
        ingest(str(small), tmp_path / "file" / "store", Label())


def test_a_run_that_was_removed_long_ago_is_swept_and_one_that_is_being_removed_is_not(
    small: Path, tmp_path: Path
) -> None:
    run = ingested(small, tmp_path)
    aside = tmp_path / TEMPORARY / "removed-0123-abcd"
    shutil.copytree(run.folder, aside)
    ingest(str(small), tmp_path, Label())
    assert left_aside(tmp_path) == ["removed-0123-abcd"]


def test_each_thread_of_a_long_recording_has_one_exit_without_an_entry_before_it(big: Path, tmp_path: Path) -> None:
    run = ingested(big, tmp_path)
    exits = run.table("exits")
    assert exits["guest_ns"].null_count == len(exits["tid"].unique()) == 4
    assert run.closed_by() == {"entry": BIG_SAMPLES // 2}
