"""`kvmtrace watch` where there is no terminal: blocks of lines, and the run in the store."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard

from kvmtrace.store.catalogue import Catalogue

ROOT = Path(__file__).resolve().parents[1]
RECORDINGS = ROOT / "tests/data/recordings"
SMALL_VM = Path(__file__).with_name("small_vm.py")
ROUND = struct.pack("<IHH", 68, 0, 8)


def of_pipe() -> bytes:
    """Return a recording as perf wrote it to a pipe."""
    packed = (RECORDINGS / "pipe.perf.data.zst").read_bytes()
    return zstandard.ZstdDecompressor().decompressobj().decompress(packed)


def watched(folder: Path, *arguments: str, given: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "KVMTRACE_STORE": str(folder / "store")}
    command = [sys.executable, "-m", "kvmtrace", "watch", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, input=given, capture_output=True, check=False)


def run_ids(folder: Path) -> list[str]:
    """Return the runs of the store; none where there is no store."""
    store = folder / "store"
    return [manifest.run_id for manifest in Catalogue(store).manifests()] if store.exists() else []


def test_a_pipe_is_shown_in_blocks_and_is_the_run_that_its_file_is(tmp_path: Path) -> None:
    done = watched(tmp_path, "-", "--interval", "2", given=of_pipe())
    assert done.returncode == 0, done.stderr
    blocks = done.stdout.decode().split("\n\n")
    assert [block.split(":")[0] for block in blocks[:-1]] == [
        "at 2.0 s, last 2.0 s",
        "at 4.0 s, last 4.0 s",
        "at 4.6 s, last 4.6 s",
    ]
    assert blocks[-1].startswith("whole recording: 4.617 s, 21,986 events, 2,436 exits, 470 idle exits, nothing lost")
    file = watched(tmp_path, str(RECORDINGS / "pipe.perf.data.zst"), "--label", "again", "--interval", "2")
    assert file.stdout == done.stdout
    assert len(run_ids(tmp_path)) == 1
    assert run_ids(tmp_path)[0].encode() in done.stderr


def test_a_pipe_that_is_cut_off_is_stored_with_a_note(tmp_path: Path) -> None:
    done = watched(tmp_path, "-", given=of_pipe()[:1_000_000])
    assert done.returncode == 0
    assert b"expected a record of" in done.stderr
    (manifest,) = Catalogue(tmp_path / "store").manifests()
    assert manifest.notes


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (b"hello\n", b"expected figures of KVM in a format that is known"),
        (b"", b"found an empty file"),
        (b"PERFILE2" + (16).to_bytes(8, "little"), b"expected tracepoints that can be decoded, found no event at all"),
    ],
)
def test_what_is_no_recording_is_one_plain_line(given: bytes, said: bytes, tmp_path: Path) -> None:
    done = watched(tmp_path, "-", given=given)
    assert done.returncode == 3
    assert said in done.stderr
    assert done.stderr.count(b"kvmtrace: error:") == 1
    assert b"Traceback" not in done.stderr
    assert not run_ids(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-", "--last", "0"], b"--last: expected 0.05 to 3600 seconds"),
        (["-", "--interval", "nan"], b"--interval: expected"),
        (["-", "--vm", "1"], b"give no RECORDING with them"),
        (["x", "--", "true"], b"give no RECORDING with them"),
        (["--"], b"expected a command behind --"),
        (["--", "no-such-program-anywhere"], b"there is no such program"),
        (["-", "--by", "resaon"], b"--by"),
    ],
)
def test_a_wrong_command_line_says_what_is_wrong(arguments: list[str], said: bytes, tmp_path: Path) -> None:
    done = watched(tmp_path, *arguments, given=b"")
    assert done.returncode == 2
    assert said in done.stderr


def test_who_reads_no_further_ends_it_and_the_run_is_stored(tmp_path: Path) -> None:
    command = f"exec {sys.executable} -m kvmtrace watch - --interval 0.1 --store store"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        ["sh", "-c", command],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.close()
        _, said = process.communicate(of_pipe() + 2 * ROUND)
    assert process.returncode == 0, said
    assert len(run_ids(tmp_path)) == 1


@pytest.mark.perf
def test_perf_is_started_for_a_command_and_what_the_vm_did_is_stored(tmp_path: Path) -> None:
    if shutil.which("perf") is None:
        pytest.skip("perf is not installed")
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        pytest.skip("/dev/kvm cannot be opened")
    vm = [sys.executable, str(SMALL_VM), "500"]
    if subprocess.run(vm, capture_output=True, check=False).returncode:
        pytest.skip("this machine's KVM does not run the small VM")
    done = watched(tmp_path, "--for", "everything", "--label", "live", "--", *vm)
    if b"the right to record" in done.stderr or b"tracefs" in done.stderr or b"does not record" in done.stderr:
        pytest.skip(f"perf cannot record kvm:* here: {done.stderr.splitlines()[-1:]!r}")
    assert done.returncode == 0, done.stderr
    assert b"500\n" in done.stderr  # what the command says: standard output is the table's
    (manifest,) = Catalogue(tmp_path / "store").manifests()
    counts = {tracepoint.event: tracepoint.rows for tracepoint in manifest.tracepoints}
    assert manifest.lost or counts["kvm_pio"] == 500
    assert f"{sum(counts.values()):,} events".encode() in done.stdout
