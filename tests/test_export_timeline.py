"""Time-lines of real and made recordings, decoded with Perfetto's own schema, against the store."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from made_runs import HLT, IO, MSR, SVM, VMX, VMX_MSR_WRITE, KvmRecording, Thread, stored
from perf_oracle import SHARED, bundled
from store_builder import add_run, event, exits, fixed_table
from timeline_totals import check_timeline, exported

from kvmtrace import queries
from kvmtrace.errors import UsageError
from kvmtrace.export.exit_blocks import choose
from kvmtrace.export.flow_reader import FlowReader
from kvmtrace.export.slices import BY_CONVENTION
from kvmtrace.export.window import ChosenVcpu, Window, parse_window
from kvmtrace.formats.source import ReadOptions
from kvmtrace.ingesting import ingest
from kvmtrace.store.connection import StoreConnection
from kvmtrace.store.label import Label
from kvmtrace.store.manifest import Lost

if TYPE_CHECKING:
    from pathlib import Path

    from decoded_timeline import DecodedTimeline, Slice
    from ingested import IngestedRecordings

    from kvmtrace.export.flows import Flows

_FORMS = (
    "perf*.data",
    "pid-perf.data",
    "perf.data.kvm",
    "trace*.dat",
    "*-trace.dat",
    "trace.txt*",
    "trace-[lmt]*.txt.gz",
)
_NO_RECORDINGS = ("ppc-tb", "tsc", "nocontext", "event-counts", "trace_")
"""Parts of names of captures that are no recording, have no times, or times in ticks (a test of their own)."""
_BUNDLED = {recorded.name for recorded in bundled()}
CAPTURES = {
    path.relative_to(SHARED / "captures").as_posix(): path
    for form in _FORMS
    for path in sorted((SHARED / "captures").rglob(form))
    if not any(word in f"{path.parent.name}/{path.name}" for word in _NO_RECORDINGS)
    and not (path.name.startswith("perf.data") and path.parent.name in _BUNDLED)
}
"""Those that are not bundled as well."""


@pytest.mark.parametrize("name", [recorded.name for recorded in bundled()])
def test_slices_of_a_bundled_recording_nest_and_their_sums_are_the_reports(
    ingested: IngestedRecordings, tmp_path: Path, name: str
) -> None:
    path = next(recorded.path for recorded in bundled() if recorded.name == name)
    run = ingested.manifest(path).run_id
    slices = check_timeline(ingested.store, run, tmp_path / "t")
    assert bool(slices) == (name != "sparse")  # sampled: no exit of it has a latency


@pytest.mark.slow
@pytest.mark.parametrize("name", CAPTURES or ["none"])
def test_slices_of_a_capture_nest_and_their_sums_are_the_reports(
    ingested: IngestedRecordings, tmp_path: Path, name: str
) -> None:
    if name not in CAPTURES:
        pytest.skip("no captures beside the project")
    manifest = ingested.manifest(CAPTURES[name])
    assert check_timeline(ingested.store, manifest.run_id, tmp_path / "t")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "clock_hz"),
    [
        ("ppc64-p9/powernv9-raw-trace-ppc-tb/trace.txt.gz", 512_000_000),
        ("x86-svm/mixed-sched-irq/trace-v6-tsc.dat", 10**9),
    ],
)
def test_slices_of_a_capture_in_ticks_do_so_too_once_their_rate_is_said(
    tmp_path: Path, name: str, clock_hz: int
) -> None:
    path = SHARED / "captures" / name
    if not path.exists():
        pytest.skip("no captures beside the project")
    [run] = ingest(str(path), tmp_path / "store", Label(), options=ReadOptions(clock_hz=clock_hz))
    assert check_timeline(tmp_path / "store", run.manifest.run_id, tmp_path / "t")


def names(slices: list[Slice]) -> list[tuple[str, int, int, int]]:
    """Return name, depth, start and length of slices."""
    return [(s.name, s.depth, s.start_ns, s.ns) for s in slices]


def timeline(recording: KvmRecording, tmp_path: Path, window: Window | None = None) -> DecodedTimeline:
    run = stored(recording, tmp_path)
    found = exported(tmp_path / "store", run.manifest.run_id, tmp_path / "t.pftrace", window)
    assert found.faults == []
    return found


def test_an_exit_lies_behind_its_guest_and_the_vmm_inside_it(tmp_path: Path) -> None:
    recording = KvmRecording("kvm_userspace_exit", "kvm_fpu")
    recording.enter(1000)
    recording.exit(1500, IO)
    recording.event("kvm_fpu", 1600, load=0)
    recording.event("kvm_userspace_exit", 1610, reason=2)
    recording.event("kvm_fpu", 1900, load=1)
    recording.enter(2000)
    found = timeline(recording, tmp_path)
    assert names(found.slices) == [("guest", 0, 1000, 500), ("io", 0, 1500, 500), ("userspace", 1, 1600, 300)]
    exit_ = found.slices[1]
    assert exit_.notes["closed_by"] == "entry"
    assert exit_.notes["reason_code"] == IO
    assert "place" not in found.slices[2].notes


def test_a_halt_is_split_into_polling_and_sleep_by_the_limit_that_held(tmp_path: Path) -> None:
    recording = KvmRecording("kvm_vcpu_wakeup", "kvm_halt_poll_ns")
    for start in (1000, 11_000):
        recording.exit(start, HLT)
        recording.event("kvm_halt_poll_ns", start + 4000, grow=1, vcpu_id=0, new=1500, old=0)
        recording.event("kvm_vcpu_wakeup", start + 4010, ns=3000, waited=1, valid=1)
        recording.enter(start + 5000)
    found = timeline(recording, tmp_path)
    inside = [(s.name, s.start_ns, s.ns) for s in found.slices if s.start_ns > 11_000]
    assert inside == [("halted: polled", 12_010, 1500), ("halted: blocked", 13_510, 1500)]


def test_a_fast_path_exit_and_an_open_one_are_marked_instants(tmp_path: Path) -> None:
    recording = KvmRecording(isa=VMX, kernel="5.10.0")
    recording.enter(1000)
    recording.exit(1500, VMX_MSR_WRITE)
    recording.exit(1700, VMX_MSR_WRITE)
    recording.enter(1900)
    recording.exit(2500, VMX_MSR_WRITE)
    found = timeline(recording, tmp_path)
    assert [(s.notes["closed_by"], s.start_ns) for s in found.instants] == [("next_exit", 1500), ("end", 2500)]
    assert all("no latency" in s.categories for s in found.instants)
    assert [(s.name, s.ns) for s in found.slices] == [("guest", 500), ("MSR_WRITE", 200), ("guest", 600)]


def test_slices_of_no_length_and_of_one_time_keep_their_order(tmp_path: Path) -> None:
    recording = KvmRecording()
    for _ in range(3):
        recording.enter(1000)
        recording.exit(1000, MSR)
    recording.enter(1000)
    found = timeline(recording, tmp_path)
    assert names(found.slices) == [("guest", 0, 1000, 0), ("msr", 0, 1000, 0)] * 3


def test_each_vm_is_a_process_and_each_vcpu_a_thread(tmp_path: Path) -> None:
    recording = KvmRecording()
    for pid in (100, 200):
        for vcpu in (0, 1):
            thread = Thread(pid + 1 + vcpu, pid, vcpu)
            recording.enter(1000 + pid + vcpu, thread)
            recording.exit(2000 + pid + vcpu, MSR, thread)
            recording.enter(3000 + pid + vcpu, thread)
    found = timeline(recording, tmp_path)
    threads = [track for track in found.tracks.values() if track.HasField("thread")]
    assert [(t.thread.pid, t.thread.tid) for t in threads] == [(100, 101), (100, 102), (200, 201), (200, 202)]
    assert [t.thread.thread_name for t in threads] == ["vCPU 0", "vCPU 1"] * 2
    assert {found.tracks[t.parent_uuid].process.pid for t in threads} == {100, 200}
    assert {s.track for s in found.slices} == {t.uuid for t in threads}


def test_a_thread_that_ran_two_vcpus_has_a_track_for_each(tmp_path: Path) -> None:
    recording = KvmRecording()
    for turn in range(4):
        thread = Thread(vcpu=turn % 2)
        recording.enter(turn * 1000 + 1000, thread)
        recording.exit(turn * 1000 + 1500, MSR, thread)
        recording.enter(turn * 1000 + 1800, thread)
    found = timeline(recording, tmp_path)
    tracks = {found.track_name(s.track) for s in found.slices}
    assert tracks == {"vCPU 0", "vCPU 1 (thread 101)"}


def test_a_window_takes_the_exits_that_begin_in_it(tmp_path: Path) -> None:
    recording = KvmRecording()
    for turn in range(10):
        for thread in (Thread(), Thread(102, 100, 1)):
            recording.enter(turn * 1000 + 1000 + thread.vcpu, thread)
            recording.exit(turn * 1000 + 1500 + thread.vcpu, MSR, thread)
    found = timeline(recording, tmp_path, Window(2000, 4500, (ChosenVcpu(1),)))
    assert [s.start_ns for s in found.slices if s.name == "msr"] == [3501, 4501]
    assert {found.track_name(s.track) for s in found.slices} == {"vCPU 1"}
    assert parse_window("2us", ".0000045", ["1"]) == Window(2000, 4500, (ChosenVcpu(1),))


@pytest.mark.parametrize(
    ("start", "end", "vcpus"),
    [("-1", None, []), ("1h", None, []), ("2", "1", []), (None, "0", []), ("1e400", None, []), ("", None, []),
     (None, None, ["x"]), (None, None, ["-1"]), (None, None, [":1"]), ("9" * 40, None, [])],
)  # fmt: skip
def test_a_window_that_makes_no_sense_is_refused(start: str | None, end: str | None, vcpus: list[str]) -> None:
    with pytest.raises(UsageError):
        parse_window(start, end, vcpus)


@pytest.mark.parametrize(
    "window", [Window(10**12), Window(vcpus=(ChosenVcpu(7),)), Window(vcpus=(ChosenVcpu(0, "9"),))]
)
def test_a_window_without_exits_and_an_unknown_vcpu_are_refused(tmp_path: Path, window: Window) -> None:
    add_run(tmp_path, "a1", {"exits": exits({"vcpu": 0, "vm_id": "1", "reason": "io"})})
    with pytest.raises(UsageError):
        exported(tmp_path, "a1", tmp_path / "t", window)


def test_odd_names_come_through_as_they_are(tmp_path: Path) -> None:
    odd = '<script>"µ\n\\ 名'
    rows = ({"reason": odd, "vm_id": f"VM {odd}", "vcpu": 3, "tid": 7, "latency_ns": 5, "detail_name": odd},)
    threads = fixed_table("threads", [{"pid": 7, "tid": 7, "name": odd}])
    add_run(tmp_path, "a1", {"exits": exits(*rows), "threads": threads})
    found = exported(tmp_path, "a1", tmp_path / "t")
    (only,) = found.slices
    assert (only.name, only.notes["detail_name"]) == (odd, odd)
    assert found.track_name(only.track) == f"vCPU 3: {odd} (thread 7)"
    assert found.track_name(found.tracks[only.track].parent_uuid) == f"VM VM {odd}"


def test_what_is_not_recorded_is_said_or_left_out(tmp_path: Path) -> None:
    add_run(tmp_path, "a1", {"exits": exits({"latency_ns": 4}, {"exit_ts_ns": 10, "suspect": True})})
    found = exported(tmp_path, "a1", tmp_path / "t")
    (only,), (instant,) = found.slices, found.instants
    assert only.name == "exit reason not recorded"
    assert only.notes == {"exit_id": 0, "closed_by": "entry", "suspect": 0}
    assert {"suspect", "no latency"} <= instant.categories
    assert found.track_name(only.track) == "vCPU not recorded"


def test_parts_whose_place_no_event_tells_are_placed_by_convention_and_marked(tmp_path: Path) -> None:
    row = {"reason": "hlt", "latency_ns": 100, "polled_ns": 20, "blocked_ns": 30, "preempted_ns": 10}
    add_run(tmp_path, "a1", {"exits": exits({**row, "exit_ts_ns": 1000})})
    found = exported(tmp_path, "a1", tmp_path / "t")
    assert names(found.slices) == [
        ("hlt", 0, 1000, 100),
        ("halted: polled", 1, 1000, 20),
        ("halted: blocked", 1, 1020, 30),
        ("preempted", 1, 1050, 10),
    ]
    assert {s.notes.get("place") for s in found.slices[1:]} == {BY_CONVENTION}


def test_losses_stand_on_a_track_of_their_own(tmp_path: Path) -> None:
    lost = (Lost("LOST", 3, 7, 2, 500, 900), Lost("LOST", None, 1, 1, None, None), Lost("LOST_SAMPLES", 1, 4, 1, 5, 5))
    rows = exits({"exit_ts_ns": 1, "latency_ns": 1}, {"exit_ts_ns": 1000})
    add_run(tmp_path, "a1", {"exits": rows}, lost=lost, first_ts_ns=1, last_ts_ns=1000)
    found = exported(tmp_path, "a1", tmp_path / "t")
    slices = {found.track_name(s.track): s for s in found.slices if s.name == "lost events"}
    assert slices.keys() == {"CPU 3 (LOST)", "all CPUs (LOST)"}
    assert (slices["CPU 3 (LOST)"].start_ns, slices["CPU 3 (LOST)"].ns) == (500, 400)
    assert slices["CPU 3 (LOST)"].notes["events"] == 7
    assert slices["all CPUs (LOST)"].notes["time"] == "not recorded"
    assert [s.notes["events"] for s in found.instants if "lost" in s.categories] == [4]


def test_injections_and_eois_are_instants_on_their_vcpu(tmp_path: Path) -> None:
    recording = KvmRecording("kvm_inj_virq", "kvm_eoi", isa=SVM)
    recording.enter(1000)
    recording.exit(1500)
    recording.event("kvm_eoi", 1600, apicid=0, vector=236)
    recording.event("kvm_inj_virq", 1700, vector=251)
    recording.event("kvm_inj_virq", 1750, Thread(555, 555), vector=250)
    recording.enter(1800)
    found = timeline(recording, tmp_path)
    assert [(s.name, s.start_ns, s.notes["vector"]) for s in found.instants] == [
        ("kvm_eoi", 1600, 236),
        ("kvm_inj_virq", 1700, 251),
    ]
    assert {found.track_name(s.track) for s in found.instants} == {"vCPU 0"}
    assert all(s.parent is not None and s.parent.name == "npf" for s in found.instants)


def test_a_flow_leads_from_the_senders_exit_to_the_injection(ingested: IngestedRecordings, tmp_path: Path) -> None:
    path = next(recorded.path for recorded in bundled() if recorded.name == "pveoi-idletick-xapic-off")
    found = exported(ingested.store, ingested.manifest(path).run_id, tmp_path / "t")
    senders = {flow: s for s in found.slices for flow in s.flows}
    targets = {flow: s for s in found.instants for flow in s.ended_flows}
    assert senders.keys() == targets.keys()
    assert senders
    for flow, sender in senders.items():
        assert "exit" in sender.categories
        assert targets[flow].name == "kvm_inj_virq"
        assert targets[flow].track != sender.track
        assert sender.start_ns < targets[flow].start_ns


@pytest.mark.parametrize("window", [Window(), Window(10**9, 5 * 10**9)])
def test_flows_that_are_found_stretch_by_stretch_are_those_of_the_whole_run(
    ingested: IngestedRecordings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, window: Window
) -> None:
    path = next(recorded.path for recorded in bundled() if recorded.name == "multi-vm")
    run_id = ingested.manifest(path).run_id
    with StoreConnection(ingested.store) as connection:
        chain = queries.run(connection, queries.load("ipi-chain"), {"run_id": run_id})
        chosen = choose(connection, connection.catalogue.resolve(run_id), window)
    place = {name: n for n, name in enumerate(chain.names)}
    expected = set()
    for row in chain.rows:
        sent, injected = row[place["exit_ts_ns"]], row[place["inject_ts_ns"]]
        if sent is not None and injected is not None and chosen.from_ns <= sent <= injected < chosen.to_ns:
            expected.add((row[place["sender_exit_id"]], injected, row[place["vec"]]))
    monkeypatch.setattr("kvmtrace.export.exit_blocks.BLOCK_EXITS", 1300)
    read: list[object] = []
    whole = FlowReader._read

    def counted(reader: FlowReader, stretch: Any) -> Flows:  # noqa: ANN401 - theirs
        read.append(stretch)
        return whole(reader, stretch)

    monkeypatch.setattr(FlowReader, "_read", counted)
    found = exported(ingested.store, run_id, tmp_path / "t", window)
    senders = {flow: s.notes["exit_id"] for s in found.slices for flow in s.flows}
    ends = {(senders[flow], s.start_ns, s.notes["vector"]) for s in found.instants for flow in s.ended_flows}
    assert ends == expected
    assert len(ends) > 50
    assert len(read) > (window == Window())


def test_the_counter_says_how_many_exits_there_were(ingested: IngestedRecordings, tmp_path: Path) -> None:
    path = next(recorded.path for recorded in bundled() if recorded.name == "pveoi-idletick-xapic-off")
    manifest = ingested.manifest(path)
    found = exported(ingested.store, manifest.run_id, tmp_path / "t")
    (track,) = (t for t in found.counters if found.track_name(t) == "exits per second")
    values = found.counters[track]
    total = sum(rate * (end - start) / 1e9 for (start, rate), (end, _) in pairwise(values))
    assert round(total, 6) == manifest.exits["rows"]
    assert values[-1][1] == 0


def test_a_run_without_exits_has_no_time_line(tmp_path: Path) -> None:
    add_run(tmp_path, "a1", {"events/kvm/kvm_pio": event({"port": pa.uint32()}, {"port": 1})})
    with pytest.raises(UsageError, match="run a1 has no exits"):
        exported(tmp_path, "a1", tmp_path / "t")
