"""`kvmtrace record` on this machine's own perf and KVM, where they are there: two programs that make VMs, in turn."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kvmtrace.cli import run
from kvmtrace.errors import ExitCode, RecordingError
from kvmtrace.recorder.host_files import HostFiles
from kvmtrace.recorder.rights import check_perf_rights, check_tracepoints
from kvmtrace.recorder.vms import find_vms
from kvmtrace.store.connection import StoreConnection

SMALL_VM = str(Path(__file__).with_name("small_vm.py"))
FEW, MANY = 300, 900


@pytest.fixture
def _can_record(only_vm: None) -> None:  # noqa: ARG001 - it holds while the test runs
    if shutil.which("perf") is None:
        pytest.skip("perf is not installed")
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        pytest.skip("/dev/kvm cannot be opened")
    try:
        check_tracepoints(HostFiles())
        check_perf_rights(HostFiles())
    except RecordingError as error:
        pytest.skip(error.message)
    if find_vms(HostFiles()):
        pytest.skip("other VMs run here, and are recorded as well")
    if subprocess.run([sys.executable, SMALL_VM, "5"], capture_output=True, check=False).returncode:
        pytest.skip("this machine's KVM does not run the small VM")


@pytest.mark.perf
@pytest.mark.usefixtures("_can_record")
def test_two_programs_that_make_vms_are_recorded_in_turn_and_end_in_a_verdict(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    few, many = ([sys.executable, SMALL_VM, str(times)] for times in (FEW, MANY))
    options = ["--store", str(tmp_path), "--label", "few", "--repeat", "3"]
    code = run(["record", *options, "--", *few, "--against", "many", "--", *many])
    out, err = capfd.readouterr()
    if "--control" in err or "--delay" in err:
        pytest.skip("this perf is older than 5.9")
    assert code == ExitCode.OK, err
    lines = out.splitlines()
    assert lines[:6] == [str(FEW), str(MANY)] * 3
    with StoreConnection(tmp_path) as connection:
        ports = connection.query(
            "SELECT tags['record'] AS side, count(*) FROM kvm_pio JOIN runs USING (run_id) WHERE port = 1016 "
            "GROUP BY side ORDER BY side"
        ).rows
        labels = connection.query("SELECT label FROM runs ORDER BY ingested_at").rows
        kernels = connection.query("SELECT DISTINCT value FROM environment WHERE name = 'kernel'").rows
        lost = connection.query("SELECT count(*) FROM lost").rows
    assert [label for (label,) in labels] == ["few-1", "many-1", "few-2", "many-2", "few-3", "many-3"]
    assert kernels == [(os.uname().release,)]
    if lost == [(0,)]:
        assert ports == [("few", 3 * FEW), ("many", 3 * MANY)]
        assert " rose from " in lines[6]
        assert "per run" in lines[6]
        assert "3 and 3 runs" in lines[6]
