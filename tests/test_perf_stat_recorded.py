from __future__ import annotations

import json
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvmtrace.errors import InputError
from kvmtrace.formats.perf_stat import FORMAT
from kvmtrace.formats.perf_stat.recorded import is_recorded, read_recorded
from kvmtrace.formats.source import open_source

if TYPE_CHECKING:
    from kvmtrace.recording import TableSet

RECORDINGS = Path(__file__).parent / "data" / "recordings"
ANY = -1


def read(content: bytes) -> TableSet:
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        with open_source(file.name) as source:
            assert is_recorded(source)
            [counters] = read_recorded(source)
    return counters


def survives(content: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        try:
            with open_source(file.name) as source:
                is_recorded(source)
                sets = read_recorded(source)
        except InputError:
            return
    assert all(counters.rows.num_rows for counters in sets)


def rows_of(counters: TableSet) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = counters.rows.to_pylist()
    return rows


class Pipe:
    """Writes what `perf stat record -o -` writes."""

    def __init__(self, order: str = "<") -> None:
        self.order = order
        self.content = b"PERFILE2" if order == "<" else b"2ELIFREP"
        self.content += struct.pack(order + "Q", 16)

    def record(self, kind: int, fields: str, *values: float | bytes) -> Pipe:
        body = struct.pack(self.order + fields, *values)
        self.content += struct.pack(self.order + "IHH", kind, 0, 8 + len(body)) + body
        return self

    def event(self, name: str, *ids: int, unit: str = "", factor: float | None = None) -> Pipe:
        attr = struct.pack(self.order + "IIQQQQQ", 2, 112, 0x15, 0, 0, 0, 0) + bytes(64)
        self.record(64, f"{len(attr)}s{len(ids)}Q", attr, *ids)
        for key in ids[:1]:
            self.record(78, "QQ24s", 2, key, name.encode())
            if unit:
                self.record(78, "QQ24s", 0, key, unit.encode())
            if factor is not None:
                self.record(78, "QQd24x", 1, key, factor)
        return self

    def threads(self, *threads: tuple[int, str]) -> Pipe:
        return self.record(73, "Q" + "q16s" * len(threads), len(threads), *(
            part for pid, comm in threads for part in (pid, comm.encode())
        ))  # fmt: skip

    def scaled(self, *, by_time: bool) -> Pipe:
        return self.record(75, "7Q", 3, 0, 1, 1, 0, 2, by_time)

    def count(self, key: int, value: int, enabled: int, running: int, *, cpu: int = ANY, thread: int = 0) -> Pipe:
        return self.record(76, "QiiQQQ", key, cpu, thread, value, enabled, running)

    def end(self, kind: int, time: int) -> Pipe:
        return self.record(77, "QQ", kind, time)


@pytest.mark.parametrize("order", ["<", ">"])
def test_each_cpu_s_count_is_a_row(order: str) -> None:
    pipe = Pipe(order).event("kvm:kvm_exit", 7, 8).threads((-1, "")).scaled(by_time=True)
    pipe.count(7, 241, 1_000_000, 1_000_000, cpu=0).count(8, 253, 1_001_000, 1_001_000, cpu=1).end(1, 1_002_000)
    counters = read(pipe.content)
    assert [(row["system"], row["event"], row["scope"], row["value"], row["state"]) for row in rows_of(counters)] == [
        ("kvm", "kvm_exit", "CPU0", 241, "counted"),
        ("kvm", "kvm_exit", "CPU1", 253, "counted"),
    ]
    assert (counters.facts.format, counters.table) == (FORMAT.name, "counters")
    assert (counters.elapsed_ns, counters.enabled_ns, counters.notes) == (1_002_000, 1_001_000, ())


def test_threads_have_their_names_and_a_command_of_its_own_has_none() -> None:
    pipe = Pipe().event("kvm:kvm_exit", 7).threads((3868, "CPU 0/KVM"), (3870, "CPU 1/KVM")).scaled(by_time=True)
    pipe.count(7, 5, 10, 10, thread=0).count(7, 0, 0, 0, thread=1).end(1, 100)
    assert [(row["scope"], row["value"], row["state"]) for row in rows_of(read(pipe.content))] == [
        ("CPU 0/KVM-3868", 5, "counted"),
        ("CPU 1/KVM-3870", None, "not counted"),
    ]
    alone = Pipe().event("kvm:kvm_exit", 7).threads((20561, "")).count(7, 5, 10, 10).end(1, 100)
    assert [row["scope"] for row in rows_of(read(alone.content))] == [None]
    assert read(alone.content).enabled_ns is None  # a command's counters are enabled while it has a CPU


@pytest.mark.parametrize(("by_time", "value"), [(True, 400), (False, 100)])
def test_values_are_scaled_by_the_time_that_a_counter_ran(by_time: bool, value: int) -> None:
    pipe = Pipe().event("cycles", 7).scaled(by_time=by_time).count(7, 100, 1000, 250).end(1, 2000)
    [row] = rows_of(read(pipe.content))
    assert (row["value"], row["running_share"], row["enabled_ns"], row["running_ns"]) == (value, 0.25, 1000, 250)


def test_values_have_the_unit_and_the_scale_of_their_event() -> None:
    pipe = Pipe().event("cpu-clock", 7, unit="msec", factor=1e-6).count(7, 2_500_000, 10, 10).end(1, 100)
    [row] = rows_of(read(pipe.content))
    assert (row["value"], row["unit"]) == (pytest.approx(2.5), "msec")


def test_intervals_are_what_was_counted_since_the_last() -> None:
    pipe = Pipe().event("kvm:kvm_exit", 7)
    for time, value in ((100, 10), (200, 10), (300, 35)):
        pipe.count(7, value, time, time).end(0, time)
    pipe.count(7, 36, 301, 301)
    counters = read(pipe.content)
    assert [(row["interval_end_ns"], row["value"], row["running_ns"]) for row in rows_of(counters)] == [
        (100, 10, 100),
        (200, 0, 100),
        (300, 25, 100),
    ]
    assert counters.elapsed_ns == 300
    assert ["behind the last round" in note.what for note in counters.notes] == [True]


def test_a_count_that_goes_back_is_left_out_with_a_note() -> None:
    pipe = Pipe().event("kvm:kvm_exit", 7)
    for time, value in ((100, 10), (200, 5)):
        pipe.count(7, value, time, time).end(0, time)
    counters = read(pipe.content)
    assert [row["value"] for row in rows_of(counters)] == [10]
    assert [note.events for note in counters.notes] == [1]


def test_an_event_that_could_not_be_opened_is_not_supported() -> None:
    pipe = Pipe().event("kvm:kvm_exit", 7).event("cycles").count(7, 5, 10, 10).end(1, 100)
    assert [(row["state"], row["value"]) for row in rows_of(read(pipe.content))] == [
        ("counted", 5),
        ("not supported", None),
    ]


def test_counts_without_a_round_are_kept_and_noted() -> None:
    counters = read(Pipe().event("kvm:kvm_exit", 7).count(7, 5, 10, 10).content)
    assert ([row["value"] for row in rows_of(counters)], counters.elapsed_ns) == ([5], None)
    assert len(counters.notes) == 1


def test_counts_of_an_unknown_event_are_noted() -> None:
    counters = read(Pipe().event("kvm:kvm_exit", 7).count(7, 5, 10, 10).count(9, 5, 10, 10).end(1, 100).content)
    assert (counters.rows.num_rows, [note.events for note in counters.notes]) == (1, [1])


@pytest.mark.parametrize("path", sorted(RECORDINGS.glob("*.zst")), ids=lambda path: str(path.name))
def test_recordings_of_events_are_not_taken(path: Path) -> None:
    with open_source(str(path)) as source:
        assert not is_recorded(source)


def test_a_time_that_cannot_be_is_left_out_with_its_counts() -> None:
    pipe = Pipe().event("kvm:kvm_exit", 7).count(7, 5, 10, 10).end(0, 100).count(7, 6, 20, 20).end(0, 2**63)
    counters = read(pipe.content)
    assert ([row["value"] for row in rows_of(counters)], counters.elapsed_ns) == ([5], 100)
    assert [note.events for note in counters.notes] == [1]


SAMPLE = (
    Pipe().event("cpu-clock", 7, 8, unit="msec", factor=1e-6).event("cycles").threads((12, "a"), (13, "b"))
    .scaled(by_time=True).count(7, 10, 10, 5, cpu=0).count(8, 10, 10, 10, cpu=1, thread=1).end(0, 100)
    .count(7, 20, 20, 15, cpu=0).end(0, 200).content
)  # fmt: skip


def test_a_file_cut_anywhere_gives_rows_or_an_error() -> None:
    for at in range(len(SAMPLE) + 1):
        survives(SAMPLE[:at])


@pytest.mark.parametrize(
    "pipe",
    [
        Pipe().event("a", 7).count(7, 2**64 - 1, 2**64 - 1, 2**64 - 1).end(1, 2**64 - 1),
        Pipe().event("a", 7).count(7, 2**64 - 1, 2**64 - 1, 1).end(1, 2**63 - 1),
        Pipe().event("a", 7, factor=float("inf")).count(7, 1, 1, 1).end(1, 1),
        Pipe().event("a", 7, factor=float("nan")).count(7, 1, 1, 1).end(7, 1),
        Pipe().event("a", 7, factor=-1e300).count(7, 1, 1, 2, thread=2**31 - 1).end(0, 1),
        Pipe().event("a", 7).record(73, "Q", 2**64 - 1).record(75, "Q", 2**64 - 1).count(7, 1, 1, 1),
        Pipe().event("\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), 7).count(7, 1, 1, 1).end(1, 1),
        Pipe().record(66, "I4x", 2**32 - 1).event("a", 7),
    ],
)
def test_forged_records_give_rows_or_an_error(pipe: Pipe) -> None:
    survives(pipe.content)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_bytes_give_rows_or_an_error(data: st.DataObject) -> None:
    damaged = bytearray(SAMPLE)
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(8, len(SAMPLE) - 1))] = data.draw(st.integers(0, 255))
    survives(bytes(damaged))


@pytest.mark.perf
@pytest.mark.parametrize("options", [["-A"], ["-A", "-I", "20"], ["-A", "-o", "-"]], ids=["whole", "intervals", "pipe"])
def test_perf_says_the_same_of_what_it_recorded(tmp_path: Path, options: list[str]) -> None:
    if shutil.which("perf") is None:
        pytest.skip("perf is not installed")
    file = tmp_path / "stat.data"
    command = ["perf", "stat", "record", "-a", "-e", "cpu-clock,page-faults,context-switches"]
    output = [] if "-" in options else ["-o", str(file)]
    recorded = subprocess.run([*command, *options, *output, "sleep", "0.05"], capture_output=True, check=False)
    if recorded.returncode:
        pytest.skip("perf may not count system-wide here")
    if not output:
        file.write_bytes(recorded.stdout)
    says = subprocess.run(["perf", "stat", "-j", "report", "-i", str(file)], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in (says.stdout + says.stderr).splitlines() if line.startswith("{")]
    with open_source(str(file)) as source:
        assert is_recorded(source)
        [counters] = read_recorded(source)
    rows = {(row["event"], row["scope"], row["interval_end_ns"]): row for row in rows_of(counters)}
    assert len(rows) == len(lines) > 5
    for line in lines:
        interval = round(line["interval"] * 1e9) if "interval" in line else None
        row = rows[line["event"], f"CPU{line['cpu']}", interval]
        assert row["value"] == pytest.approx(float(line["counter-value"]), abs=1e-6)
        assert row["running_ns"] == line["event-runtime"]
