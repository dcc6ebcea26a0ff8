"""`kvmtrace watch` where there is no terminal: blocks of lines, and the run in the store."""

from __future__ import annotations

import io
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import pytest
import zstandard
from made_recorders import MadePerf, exits

from kvmtrace.cli import run
from kvmtrace.store.catalogue import Catalogue

ROOT = Path(__file__).resolve().parents[1]
RECORDINGS = ROOT / "tests/data/recordings"
SMALL_VM = Path(__file__).with_name("small_vm.py")
Watched = Callable[..., "Said"]
ROUND = struct.pack("<IHH", 68, 0, 8)


class Said(NamedTuple):
    """What became of one call."""

    returncode: int
    stdout: bytes
    stderr: bytes


def of_pipe() -> bytes:
    """Return a recording as perf wrote it to a pipe."""
    packed = (RECORDINGS / "pipe.perf.data.zst").read_bytes()
    return zstandard.ZstdDecompressor().decompressobj().decompress(packed)


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Watched:
    """Return what runs `kvmtrace watch` in a folder of its own, and what it said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KVMTRACE_STORE", str(tmp_path / "store"))

    def watch(*arguments: str, given: bytes = b"") -> Said:
        (tmp_path / "given").write_bytes(given)
        with (
            subprocess.Popen(["cat", "given"], stdout=subprocess.PIPE) as cat,
            io.TextIOWrapper(cast("BinaryIO", cat.stdout)) as standard_input,
        ):
            monkeypatch.setattr(sys, "stdin", standard_input)
            code = run(["watch", *arguments])
        out, err = capfdbinary.readouterr()
        return Said(code, out, err)

    return watch


def run_ids(folder: Path) -> list[str]:
    """Return the runs of the store; none where there is no store."""
    store = folder / "store"
    return [manifest.run_id for manifest in Catalogue(store).manifests()] if store.exists() else []


def test_a_pipe_is_shown_in_blocks_and_is_the_run_that_its_file_is(watched: Watched, tmp_path: Path) -> None:
    done = watched("-", "--interval", "2", given=of_pipe())
    assert done.returncode == 0, done.stderr
    blocks = done.stdout.decode().split("\n\n")
    assert [block.split(":")[0] for block in blocks[:-1]] == [
        "at 2.0 s, last 2.0 s",
        "at 4.0 s, last 4.0 s",
        "at 4.6 s, last 4.6 s",
    ]
    assert blocks[-1].startswith("whole recording: 4.617 s, 21,986 events, 2,436 exits, 470 idle exits, nothing lost")
    file = watched(str(RECORDINGS / "pipe.perf.data.zst"), "--label", "again", "--interval", "2")
    assert file.stdout == done.stdout
    assert len(run_ids(tmp_path)) == 1
    assert run_ids(tmp_path)[0].encode() in done.stderr


def test_a_pipe_that_is_cut_off_is_stored_with_a_note(watched: Watched, tmp_path: Path) -> None:
    done = watched("-", given=of_pipe()[:1_000_000])
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
def test_what_is_no_recording_is_one_plain_line(watched: Watched, given: bytes, said: bytes, tmp_path: Path) -> None:
    done = watched("-", given=given)
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
def test_a_wrong_command_line_says_what_is_wrong(watched: Watched, arguments: list[str], said: bytes) -> None:
    done = watched(*arguments)
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


def test_a_perf_of_its_own_is_shown_with_exits_and_stored_with_the_host(
    watched: Watched, perf: MadePerf, tmp_path: Path
) -> None:
    perf.hand_out_content(of_pipe())
    done = watched("--label", "own", "--buffer", "3", "--", "sh", "-c", "echo heard", "a b")
    assert done.returncode == 0, done.stderr
    assert b"whole recording: 4.617 s, 21,986 events, 2,436 exits, 470 idle exits, nothing lost" in done.stdout
    assert b"heard" not in done.stdout
    assert b"heard\n" in done.stderr
    words = perf.arguments()
    assert words[words.index("-m") + 1] == "4096K"
    catalogue = Catalogue(tmp_path / "store")
    (manifest,) = catalogue.manifests()
    assert catalogue.label(manifest.run_id).label == "own"
    assert (manifest.source.name, len(manifest.vms)) == ("watch sh", 3)
    assert manifest.environment["command"] == "sh -c 'echo heard' 'a b'"
    assert manifest.enabled_ns is not None


def test_losses_are_advised_on_as_record_does(watched: Watched, perf: MadePerf) -> None:
    perf.hand_out(exits(90, lost=10))
    done = watched("--", "true")
    assert (
        b"lost 10 events (5.3% of all) on CPU 2 at 0.090 s, as LOST says; which ones is not told. Try --buffer 16 "
        b"(MiB for each CPU, now 4) or one VM alone (--vm PID)" in done.stderr
    )


def test_a_perf_that_does_not_answer_when_it_is_to_write_ends_with_the_command(
    watched: Watched, perf: MadePerf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kvmtrace.watch.own_perf._FLUSH_EVERY_S", 0.01)
    perf.hand_out(exits(5))
    assert watched("--", "sleep", "0.1").returncode == 0
    assert perf.log() == ["enable", "stopped"]


@pytest.mark.parametrize(("mode", "said"), [("refuse", b"No permission to enable it"), ("vanishes", b"it is over")])
def test_a_perf_that_does_not_record_is_quoted(watched: Watched, perf: MadePerf, mode: str, said: bytes) -> None:
    perf.behave(mode)
    done = watched("--", "true")
    assert done.returncode == 3
    assert said in done.stderr
    assert done.stderr.count(b"kvmtrace: error:") == 1


def test_a_perf_that_dies_in_the_middle_is_said_and_its_run_is_kept(
    watched: Watched, perf: MadePerf, tmp_path: Path
) -> None:
    perf.hand_out(exits(5))
    perf.behave("dies")
    os.mkfifo(perf.folder / "fifo")
    done = watched("--", "cat", str(perf.folder / "fifo"))
    assert done.returncode == 0
    assert b"the recorder failed: exit code 3" in done.stderr
    assert len(run_ids(tmp_path)) == 1


def test_a_store_that_cannot_be_written_is_said_before_perf_is_started(
    watched: Watched, perf: MadePerf, tmp_path: Path
) -> None:
    done = watched("--store", str(tmp_path / "given"), "--", "true")
    assert (done.returncode, done.stdout) == (3, b"")
    assert b"expected the folder of a store, found a file" in done.stderr
    assert not (perf.folder / "log").exists()


@pytest.mark.perf
@pytest.mark.usefixtures("only_vm")
def test_perf_is_started_for_a_command_and_what_the_vm_did_is_stored(watched: Watched, tmp_path: Path) -> None:
    if shutil.which("perf") is None:
        pytest.skip("perf is not installed")
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        pytest.skip("/dev/kvm cannot be opened")
    vm = [sys.executable, str(SMALL_VM), "500"]
    if subprocess.run(vm, capture_output=True, check=False).returncode:
        pytest.skip("this machine's KVM does not run the small VM")
    done = watched("--for", "everything", "--label", "live", "--", *vm)
    if b"the right to record" in done.stderr or b"tracefs" in done.stderr or b"does not record" in done.stderr:
        pytest.skip(f"perf cannot record kvm:* here: {done.stderr.splitlines()[-1:]!r}")
    assert done.returncode == 0, done.stderr
    assert b"500\n" in done.stderr  # what the command says: standard output is the table's
    (manifest,) = Catalogue(tmp_path / "store").manifests()
    counts = {tracepoint.event: tracepoint.rows for tracepoint in manifest.tracepoints}
    assert manifest.lost or counts["kvm_pio"] == 500
    assert f"{sum(counts.values()):,} events".encode() in done.stdout
