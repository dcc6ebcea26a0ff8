"""A recording of this machine's own KVM, made now, against what the VM itself counted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kvmtrace.ingesting import ingest
from kvmtrace.store.connection import StoreConnection
from kvmtrace.store.label import Label

TIMES = 500
SMALL_VM = Path(__file__).with_name("small_vm.py")


@pytest.fixture
def recorded(tmp_path: Path, only_vm: None) -> tuple[Path, int]:  # noqa: ARG001 - it holds while the test runs
    """Record the small VM; give the file and the writes to the port that the VM counted."""
    if shutil.which("perf") is None:
        pytest.skip("perf is not installed")
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        pytest.skip("/dev/kvm cannot be opened")
    file = tmp_path / "live.data"
    vm = [sys.executable, str(SMALL_VM), str(TIMES)]
    if subprocess.run(vm, capture_output=True, check=False).returncode:
        pytest.skip("this machine's KVM does not run the small VM")
    recorder = ["perf", "record", "-q", "-e", "kvm:*", "-o", str(file)]
    result = subprocess.run([*recorder, *vm], capture_output=True, text=True, check=False)
    if result.returncode:
        pytest.skip(f"perf cannot record kvm:* here: {result.stderr.strip().splitlines()[-1:]}")
    return file, int(result.stdout)


@pytest.mark.perf
def test_a_recording_made_now_holds_what_the_vm_did(recorded: tuple[Path, int], tmp_path: Path) -> None:
    file, writes = recorded
    [run] = ingest(str(file), tmp_path / "store", Label())
    lost = sum(lost.events for lost in run.manifest.lost)
    with StoreConnection(tmp_path / "store") as connection:
        ports = connection.query("SELECT port, count(*) FROM kvm_pio GROUP BY port").rows
        returns = connection.query("SELECT count(*) FROM kvm_userspace_exit WHERE reason = 2").rows
    assert writes == TIMES
    assert lost or ports == [(0x3F8, TIMES)]
    assert lost or returns == [(TIMES,)]
    assert all(t.samples == t.rows for t in run.manifest.tracepoints)
