"""vCPUs and threads that come, go and move, and recordings without process ids: what is inferred is said."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
from made_runs import KvmRecording, StoredRun, Thread, column, pick, stored
from trace_dat_made import FORMATS, turns
from trace_dat_pages import PageWriter

from kvmtrace.exits.lanes import Lanes
from kvmtrace.exits.threads import Threads
from kvmtrace.exits.vcpus import InferredVcpus
from kvmtrace.ingesting import ingest
from kvmtrace.recording import Facts
from kvmtrace.store.label import Label
from kvmtrace.store.manifest import run_folder
from kvmtrace.writers.trace_dat_file import GUEST, BufferContent, TraceDat
from kvmtrace.writers.tracepoint_records import PERF_RECORD_DEFAULT, SampleType

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

NO_PROCESSES = (
    "vm_id: the recording has no process ids; threads that never ran one vCPU number at a time are inferred "
    "to be one VM (vm-1, …)"
)


def pair(made: KvmRecording, thread: Thread, exit_ts_ns: int, *, cpu: int = 0) -> None:
    made.exit(exit_ts_ns, thread=thread, cpu=cpu)
    made.enter(exit_ts_ns + 100, thread, cpu=cpu)


def test_a_vcpu_that_moves_to_another_thread_is_said_to_be_inferred_one(tmp_path: Path) -> None:
    made = KvmRecording()
    first, second = Thread(tid=101, vcpu=0), Thread(tid=102, vcpu=0)
    pair(made, first, 1_000)
    made.exit(2_000, thread=first)  # the VMM goes on with another thread
    made.enter(2_500, second)
    made.exit(3_000, thread=second)
    made.enter(3_100, second)
    run = stored(made, tmp_path)
    # Out of the guest is from an exit to the next entry of its thread: how long handing over took is not told.
    assert [pick(row, "vm_id", "vcpu", "tid", "closed_by") for row in run.exits()] == [
        ("100", 0, 101, "entry"),
        ("100", 0, 101, "end"),
        ("100", 0, 102, "entry"),
    ]
    assert "vCPU 0 of process 100 ran on several threads, one after the other: inferred to be one vCPU" in (
        run.manifest.identity
    )


def test_a_thread_that_comes_back_goes_on_with_its_vcpu(tmp_path: Path) -> None:
    made = KvmRecording()
    one, two = Thread(tid=101, vcpu=0), Thread(tid=102, vcpu=1)
    pair(made, one, 1_000)
    for start in range(2_000, 9_000, 1_000):
        pair(made, two, start)
    pair(made, one, 9_000)
    run = stored(made, tmp_path)
    assert {pick(row, "vm_id", "vcpu", "tid") for row in run.exits()} == {("100", 0, 101), ("100", 1, 102)}
    assert [row["guest_ns"] for row in run.exits() if row["tid"] == 101] == [None, 7_900]
    assert len(run.manifest.identity) == 3  # nothing was inferred


def test_a_vcpu_that_is_plugged_out_and_in_again_is_one_with_a_new_thread(tmp_path: Path) -> None:
    made = KvmRecording()
    stays, unplugged, plugged = Thread(tid=101, vcpu=0), Thread(tid=102, vcpu=1), Thread(tid=103, vcpu=1)
    pair(made, stays, 1_000)
    pair(made, unplugged, 1_000, cpu=1)
    made.exit(2_000, thread=unplugged, cpu=1)
    pair(made, stays, 5_000)
    made.enter(8_000, plugged, cpu=2)
    made.exit(9_000, thread=plugged, cpu=2)
    pair(made, stays, 10_000)
    run = stored(made, tmp_path)
    assert {pick(row, "vm_id", "vcpu") for row in run.exits()} == {("100", 0), ("100", 1)}
    assert [row["closed_by"] for row in run.exits() if row["vcpu"] == 1] == ["entry", "end", "end"]


def test_vms_with_equal_vcpu_numbers_are_those_of_their_processes(tmp_path: Path) -> None:
    made = KvmRecording()
    for start in (1_000, 1_010):
        pair(made, Thread(pid=100, tid=101, vcpu=0), start)
        pair(made, Thread(pid=200, tid=201, vcpu=0), start + 5, cpu=1)
    run = stored(made, tmp_path)
    assert column(run.exits(), "vm_id") == ["100", "200", "100", "200"]


def without_processes() -> KvmRecording:
    return KvmRecording(sample_type=PERF_RECORD_DEFAULT & ~SampleType.TID)


def test_without_process_ids_threads_are_those_of_the_tracepoints_and_one_vm(tmp_path: Path) -> None:
    made = without_processes()
    pair(made, Thread(tid=101, vcpu=0), 1_000)
    pair(made, Thread(tid=102, vcpu=1), 1_050, cpu=1)
    run = stored(made, tmp_path)
    assert [pick(row, "vm_id", "tid", "vcpu", "latency_ns") for row in run.exits()] == [
        ("vm-1", 101, 0, 100),
        ("vm-1", 102, 1, 100),
    ]
    assert run.manifest.identity[0] == NO_PROCESSES


def test_without_process_ids_vcpus_of_one_number_at_a_time_are_several_vms(tmp_path: Path) -> None:
    made = without_processes()
    for start in (1_000, 2_000):
        pair(made, Thread(tid=101, vcpu=0), start)
        pair(made, Thread(tid=201, vcpu=0), start + 50, cpu=1)
    run = stored(made, tmp_path)
    assert {pick(row, "vm_id", "tid") for row in run.exits()} == {("vm-1", 101), ("vm-2", 201)}
    assert any("inferred to be several VMs" in rule for rule in run.manifest.identity)


class Speakers:
    """Threads of process 100, and the lanes of what they say of vCPUs."""

    def __init__(self) -> None:
        self.threads = Threads()
        self._lanes = Lanes(self.threads)

    def lanes(self, *said: tuple[int, int], own: bool = False) -> list[int]:
        """Return the lane of each (tid, vCPU); own: each thread speaks for itself."""
        tid, vcpu = (np.array(column, np.int32) for column in zip(*said, strict=True))
        thread = self.threads.codes(np.full(len(tid), 100, np.int32), tid)
        codes: NDArray[np.int32] = self._lanes.codes(thread, vcpu, np.full(len(tid), own))
        assert self.threads.tid[codes].tolist() == tid.tolist()
        lanes: list[int] = self.threads.lanes(codes).tolist()
        return lanes

    @property
    def processes(self) -> set[int]:
        return self._lanes.processes


def test_threads_that_speak_for_one_vcpu_each_are_their_lanes() -> None:
    speakers = Speakers()
    assert speakers.lanes((101, 0), (102, 1), (101, -1), (101, 0)) == [0, 1, 0, 0]
    assert speakers.lanes((103, 0)) == [2]  # another thread's vCPU 0 may be of another VM
    assert speakers.processes == set()


def test_a_runner_speaks_in_the_lanes_of_its_siblings() -> None:
    speakers = Speakers()
    assert speakers.lanes((101, 0), (102, 1)) == [0, 1]  # nobody runs others yet
    zero, one, two, three = speakers.lanes((101, 0), (101, 1), (101, 2), (101, 3))
    assert (zero, one) == (0, 1)  # what is open there finds its end
    assert len({zero, one, two, three}) == 4
    assert speakers.lanes((102, 3), (102, 2), (102, 1), (102, 0)) == [three, two, one, zero]
    assert speakers.processes == {100}


def test_an_event_that_names_no_vcpu_is_of_the_vcpu_that_its_thread_runs() -> None:
    speakers = Speakers()
    zero, one = speakers.lanes((101, 0), (101, 1))
    unknown = speakers.lanes((102, -1))[0]
    assert unknown not in (zero, one)
    speakers.lanes((102, 1), own=True)
    assert speakers.lanes((102, -1), (102, 0)) == [one, zero]


MANY = 100_000
"""So many at a time would take hours if each was compared with all before it."""


def test_as_many_vcpus_as_events_are_told_apart_in_time() -> None:
    speakers = Speakers()
    lanes = speakers.lanes(*((101, vcpu) for vcpu in range(MANY)))
    assert len(set(lanes)) == MANY
    assert speakers.lanes((102, MANY - 1), (102, 0)) == [lanes[-1], lanes[0]]


def test_as_many_threads_as_events_have_numbers_in_time() -> None:
    threads = Threads()
    codes = threads.codes(np.full(MANY, 100, np.int32), np.arange(1, MANY + 1, dtype=np.int32))
    inferred = InferredVcpus(Facts("perf.data", threads={(100, 3): "CPU 1/KVM"}), threads)
    inferred.learn(codes)
    assert threads.vcpu[codes[:5]].tolist() == [0, 1, 1, 2, 3]  # the name counts, whoever had the number before
    assert sorted(set(threads.vcpu[codes].tolist())) == list(range(MANY - 1))
    assert inferred.holds(codes).all()


def test_a_thread_runs_the_vcpu_that_the_recorder_says() -> None:
    threads = Threads()
    codes = threads.codes(np.full(3, -1, np.int32), np.array([7, 8, 9], np.int32))
    facts = Facts("trace.dat", threads={(-1, 8): "CPU 1/KVM"}, vcpu_threads={8: ("guest", 5), 9: ("guest", 0)})
    InferredVcpus(facts, threads).learn(codes)
    assert threads.vcpu[codes].tolist() == [0, 5, 0]  # what is told counts, whoever had the number before


def test_no_inferred_vm_has_the_name_that_the_recorder_tells_of_another(tmp_path: Path) -> None:
    pages = {}
    for cpu, tid in enumerate((100, 7, 8)):  # the first is a vCPU of the guest, the others are of VMs unknown
        writer = PageWriter()
        turns(writer, 5, tid=tid)
        pages[cpu] = writer.content()
    guest = (GUEST, b"vm-1\0" + struct.pack("<QIII", 0xABC, 1, 0, 100))
    path = tmp_path / "trace.dat"
    path.write_bytes(TraceDat(FORMATS, [BufferContent(pages)], options=[guest]).content())
    (made,) = ingest(str(path), tmp_path / "store", Label())
    run = StoredRun(run_folder(tmp_path / "store", made.manifest.run_id), made.manifest)
    assert {pick(row, "tid", "vm_id") for row in run.exits()} == {(100, "vm-1"), (7, "vm-2"), (8, "vm-3")}
    split = "the recording ran a vCPU of one number on two threads at a time: inferred to be several VMs (#2, …)"
    assert split in made.manifest.identity
