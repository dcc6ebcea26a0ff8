"""What is said where a right, a program or the tracepoints are missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from made_hosts import MadeHost, three_vms

from kvmtrace.errors import ExitCode, RecordingError
from kvmtrace.recorder.rights import check_perf_rights, check_program, check_tracepoints

if TYPE_CHECKING:
    from pathlib import Path

PARANOID = "proc/sys/kernel/perf_event_paranoid"
STATUS = "proc/self/status"


def refused(check: object, *arguments: object) -> RecordingError:
    with pytest.raises(RecordingError) as caught:
        check(*arguments)  # type: ignore[operator] # one of the checks
    assert caught.value.exit_code == ExitCode.BAD_INPUT
    return caught.value


def test_a_program_that_is_not_installed_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    error = refused(check_program, "perf")
    assert error.message == "perf is not installed"
    assert "linux-perf" in str(error.hint)
    assert "trace-cmd" in str(refused(check_program, "trace-cmd").hint)


def test_tracefs_that_is_not_mounted_is_told_from_a_kernel_without_kvm(tmp_path: Path) -> None:
    host = MadeHost(tmp_path)
    error = refused(check_tracepoints, host.files)
    assert "tracefs is not mounted" in error.message
    assert str(error.hint).startswith("mount -t tracefs")
    host.add_tracepoints("sched", ["sched_switch"])
    error = refused(check_tracepoints, host.files)
    assert "kvm module is not loaded" in error.message
    assert error.hint is None
    host.write({"proc/modules": ""})
    assert "modprobe kvm_intel" in str(refused(check_tracepoints, host.files).hint)
    host.add_tracepoints("kvm", ["kvm_exit"])
    check_tracepoints(host.files)


def test_tracefs_in_its_old_place_is_found(tmp_path: Path) -> None:
    host = MadeHost(tmp_path)
    host.add_tracepoints("kvm", ["kvm_exit"], "sys/kernel/debug/tracing")
    check_tracepoints(host.files)
    assert host.files.tracepoints("kvm") == {"kvm_exit"}


@pytest.mark.parametrize(
    ("paranoid", "capabilities", "may"),
    [
        ("2", 0, False),
        ("0", 0, False),
        ("-1", 0, True),
        ("4", 1 << 38, True),
        ("2", 1 << 21, True),
        ("2", 1 << 20, False),
    ],
)
def test_perf_takes_a_capability_or_a_kernel_that_lets_everybody(
    tmp_path: Path, paranoid: str, capabilities: int, may: bool
) -> None:
    host = three_vms(tmp_path)
    host.write({PARANOID: paranoid, STATUS: f"Name:\tx\nCapEff:\t{capabilities:016x}\n"})
    if may:
        check_perf_rights(host.files)
        return
    error = refused(check_perf_rights, host.files)
    assert f"perf_event_paranoid is {paranoid}" in error.message
    assert "CAP_PERFMON" in error.message
    assert "sysctl kernel.perf_event_paranoid=-1" in str(error.hint)


def test_a_kernel_without_perf_events_is_said(tmp_path: Path) -> None:
    assert "no perf events" in refused(check_perf_rights, MadeHost(tmp_path).files).message
