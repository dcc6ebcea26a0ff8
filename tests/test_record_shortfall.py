"""What a recording lacks is said in one line, with what to change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compare_samples import manifest
from made_hosts import three_vms

from kvmtrace.recorder.host_files import HostFiles
from kvmtrace.recorder.plan import Event, Plan
from kvmtrace.recorder.purposes import Purpose
from kvmtrace.recorder.shortfall import shortfalls
from kvmtrace.recorder.vms import find_vms
from kvmtrace.store.manifest import Lost, Tracepoint

if TYPE_CHECKING:
    from pathlib import Path

ALL = Plan(Purpose.EVERYTHING, (Event("kvm:*"),), 16 << 20)
ONE = Plan(Purpose.EXITS, (Event("kvm:kvm_exit"),), 4 << 20, pids=(100,))
FIRED = (Tracepoint("kvm", "kvm_exit", 90, 90),)


def test_losses_say_how_many_where_when_and_what_to_change(tmp_path: Path) -> None:
    files = three_vms(tmp_path).files
    lost = (Lost("LOST", 3, 6, 1, 2_000_000_000, 2_000_000_000), Lost("LOST", 0, 4, 2, 1_500_000_000, 3_000_000_000))
    beside = Lost("LOST_SAMPLES", 3, 5, 1, None, None)  # tells of the same ones
    run = manifest(tracepoints=FIRED, lost=(*lost, beside), first_ts_ns=1_000_000_000, exits={"rows": 90})
    (said,) = shortfalls(run, ALL, [], files)
    assert said == (
        "lost 10 events (10.0% of all) on CPUs 0, 3 from 0.500 to 2.000 s, as LOST says; which ones is not told. Try "
        "--buffer 64 (MiB for each CPU, now 16) or fewer events (--for exits) or one VM alone (--vm PID)"
    )
    (said,) = shortfalls(run, ONE, [], files)
    assert said.endswith("Try --buffer 16 (MiB for each CPU, now 4)")


def test_losses_that_nobody_counted_and_placed_are_said_all_the_same(tmp_path: Path) -> None:
    run = manifest(tracepoints=FIRED, lost=(Lost("ring buffer", None, 0, 3, None, None),), exits={"rows": 90})
    (said,) = shortfalls(run, ONE, [], three_vms(tmp_path).files)
    assert said.startswith("lost an unknown number of events, 3 times, as ring buffer says;")


def test_nothing_recorded_has_a_likely_reason(tmp_path: Path) -> None:
    host = three_vms(tmp_path)
    nothing = manifest(tracepoints=(Tracepoint("kvm", "kvm_exit", 0, 0),))
    assert list(shortfalls(nothing, ALL, [], host.files)) == [
        "nothing was recorded, and this machine has no /dev/kvm: it runs no VM"
    ]
    host.write({"dev/kvm": ""})
    assert "no VM was seen" in next(iter(shortfalls(nothing, ALL, [], host.files)))
    assert "though VM 100 (web,1)" in next(iter(shortfalls(nothing, ALL, find_vms(host.files), host.files)))


def test_events_without_an_exit_are_said(tmp_path: Path) -> None:
    fired = (Tracepoint("kvm", "kvm_pio", 7, 7), Tracepoint("kvm", "kvm_fpu", 9, 9))
    run = manifest(tracepoints=fired, exits={"rows": 0})
    (said,) = shortfalls(run, ALL, [], three_vms(tmp_path).files)
    assert said.startswith("no exit was recorded, though kvm_fpu fired")
    whole = manifest(tracepoints=FIRED, exits={"rows": 90})
    assert list(shortfalls(whole, ALL, [], HostFiles(tmp_path))) == []
