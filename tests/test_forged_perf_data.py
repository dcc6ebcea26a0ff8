"""Recordings that lie about lengths give rows and notes, or one error, in little time and memory."""

from __future__ import annotations

import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import zstandard
from damage import SmallRecording, assert_accounted, ingested, keep_nothing, small_recording

from benchmarks.recording_builder import Recording
from kvmtrace.errors import ExitCode
from kvmtrace.store.manifest import Manifest
from kvmtrace.writers.perf_data_file import Feature, Form, RecordType, record
from kvmtrace.writers.tracepoint_records import PERF_RECORD_DEFAULT, SampleType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HUGE = {"B": 0xFF, "H": 0xFFFF, "I": 0xFFFF_FFFF, "Q": 0xFFFF_FFFF_FFFF_FFFF}
MOST_BYTES = 350 << 20
"""Of memory that any of these takes, with the interpreter and its libraries. What they say they hold is far more."""

LONGEST_S = 20
"""Of processor time: some ten times what is needed, and a tenth of what time in the square of the values takes."""


def overwritten(content: bytes, at: int, number: str, value: int | None = None) -> bytes:
    """Return `content` with another number at a place, by default the highest of its size."""
    changed = bytearray(content)
    struct.pack_into(f"<{number}", changed, at, HUGE[number] if value is None else value)
    return bytes(changed)


def feature_place(content: bytes, feature: Feature) -> int:
    """Return where the content of a feature section begins."""
    bits = int.from_bytes(content[72:104], "little")
    place = (bits & ((1 << feature) - 1)).bit_count()
    table = sum(struct.unpack_from("<QQ", content, 40))
    return int(struct.unpack_from("<Q", content, table + 16 * place)[0])


def file_numbers(content: bytes) -> Iterator[tuple[str, int, str]]:
    """Yield name, place and size of each number in a file that says how long or how many something is."""
    (attrs,) = struct.unpack_from("<Q", content, 24)
    data, data_bytes = struct.unpack_from("<QQ", content, 40)
    yield from (("header size", 8, "Q"), ("attr size", 16, "Q"), ("attrs offset", 24, "Q"), ("attrs size", 32, "Q"))
    yield from (("data offset", 40, "Q"), ("data size", 48, "Q"), ("features", 72, "Q"))
    yield from (("ids offset", attrs + 128, "Q"), ("ids size", attrs + 136, "Q"))
    yield from (("section offset", data + data_bytes, "Q"), ("section size", data + data_bytes + 8, "Q"))
    yield from ((f"record {kind}", at + 6, "H") for kind, at in records(content, data, data + data_bytes))
    described = feature_place(content, Feature.EVENT_DESC)
    yield from (("described events", described, "I"), ("described attr", described + 4, "I"))
    yield from (("described ids", described + 8 + 128, "I"), ("described name", described + 8 + 132, "I"))
    yield ("kernel's name", feature_place(content, Feature.OSRELEASE), "I")
    formats = feature_place(content, Feature.TRACING_DATA)
    page = formats + len(b"\x17\x08\x44tracing0.6\0") + 6 + len(b"header_page\0")
    yield from (("header page", page, "Q"), ("ftrace formats", page + 8 + len(b"header_event\0") + 8, "I"))
    systems = page + 8 + len(b"header_event\0") + 8 + 4
    yield from (("systems", systems, "I"), ("formats", systems + 8, "I"), ("format", systems + 12, "Q"))


def records(content: bytes, at: int, end: int) -> Iterator[tuple[str, int]]:
    """Yield each record's type and place."""
    while at < end:
        kind, _, size = struct.unpack_from("<IHH", content, at)
        yield f"{kind} at {at}", at
        at += size


WHOLE = small_recording(2)


@pytest.fixture(autouse=True)
def _keep_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_nothing(monkeypatch)


def assert_noted_or_refused(path: Path) -> None:
    found = ingested(path, path.parent)
    if isinstance(found, Manifest):
        assert_accounted(found)
    else:
        assert found.exit_code == ExitCode.BAD_INPUT
        assert "\n" not in found.message


def test_any_number_of_a_file_may_be_forged(tmp_path: Path) -> None:
    path = tmp_path / "perf.data"
    content = WHOLE.write(path).read_bytes()
    numbers = list(file_numbers(content))
    for _, at, number in numbers:
        for value in (None, 0, 1, 9, HUGE[number] >> 1, HUGE[number] - 7):
            path.write_bytes(overwritten(content, at, number, value))
            assert_noted_or_refused(path)
    assert len(numbers) > 25


def test_any_number_of_a_stream_may_be_forged(tmp_path: Path) -> None:
    path = tmp_path / "perf.data"
    content = WHOLE.write(path, Form.PIPE).read_bytes()
    tracing_data = content.index(struct.pack("<I", RecordType.HEADER_TRACING_DATA))
    for at, number in ((8, "Q"), (16 + 6, "H"), (16 + 8 + 4, "I"), (tracing_data + 6, "H"), (tracing_data + 8, "I")):
        for value in (None, 0, 1, 9, HUGE[number] >> 1):
            path.write_bytes(overwritten(content, at, number, value))
            assert_noted_or_refused(path)


@pytest.mark.parametrize("sample_type", [SampleType.CALLCHAIN, SampleType.READ, SampleType(0)])
def test_any_number_of_a_sample_may_be_forged(tmp_path: Path, sample_type: SampleType) -> None:
    path = tmp_path / "perf.data"
    recording = Recording(cpus=1, sample_type=PERF_RECORD_DEFAULT | sample_type)
    recording.add_tracepoint("kvm", "kvm_exit")
    recording.add_sample("kvm_exit", 1_000, fields={"isa": 2}, callchain=(1, 2, 3))
    recording.add_sample("kvm_exit", 2_000, fields={"isa": 2}, callchain=(1, 2, 3))
    content = recording.write(path).read_bytes()
    (data,) = struct.unpack_from("<Q", content, 40)
    (size,) = struct.unpack_from("<H", content, data + 6)
    for at in range(data + 8, data + size, 4):
        path.write_bytes(overwritten(content, at, "I"))
        found = ingested(path, tmp_path)
        assert isinstance(found, Manifest)
        assert_accounted(found)
        assert sum(t.rows for t in found.tracepoints) >= 1


@pytest.mark.parametrize("place", [0, 4])
@pytest.mark.parametrize("value", [0xFFFF_FFFF, 0xFFFF_0000, 0x0000_FFFF, 0x0001_0010, 0x8000_8000])
def test_a_string_that_lies_outside_of_its_record_ends_with_it(tmp_path: Path, place: int, value: int) -> None:
    path = tmp_path / "perf.data"
    recording = SmallRecording()
    recording.add_sample("said", 1_000, fields={"text": "so", "numbers": [1, 2]})
    content = recording.write(path).read_bytes()
    at = (
        content.index(
            struct.pack("<i", 101), content.index(struct.pack("<H", 13), sum(struct.unpack_from("<Q", content, 40)))
        )
        + 4
    )
    path.write_bytes(overwritten(content, at + place, "I", value))
    found = ingested(path, tmp_path)
    assert isinstance(found, Manifest)
    assert_accounted(found)
    assert found.tables["events/made/said"].rows == 1


def bomb(*unpacked_bytes: int) -> bytes:
    """Return COMPRESSED records of one stream that unpack to so many zero bytes each."""
    stream = zstandard.ZstdCompressor(level=3).compressobj()
    parts = []
    for size in unpacked_bytes:
        packed = b"".join(stream.compress(bytes(1 << 20)) for _ in range(size >> 20))
        packed += stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        parts.append(record(RecordType.COMPRESSED, packed))
    return b"".join(parts)


def with_records(path: Path, added: bytes) -> Path:
    recording = small_recording(2)
    recording.add_record(added)
    return recording.write(path)


def ids_many_times(path: Path) -> Path:
    """Write a recording whose attributes share the bytes of one section of ids."""
    recording = small_recording(2)
    for number in range(200):
        recording.add_tracepoint(
            "made", f"e{number}", f'name: e{number}\nID: {100 + number}\nformat:\n\nprint fmt: ""\n'
        )
    content = bytearray(recording.write(path).read_bytes() + bytes(8 << 20))
    entry, at, size = struct.unpack_from("<QQQ", content, 16)
    for place in range(at + entry - 16, at + size, entry):
        struct.pack_into("<QQ", content, place, len(content) - (8 << 20), 8 << 20)
    path.write_bytes(content)
    return path


BOMBS: dict[str, Callable[[Path], Path]] = {
    "a record that unpacks to a gigabyte": lambda path: with_records(path, bomb(1 << 30)),
    "records that unpack to as much as is allowed": lambda path: with_records(path, bomb(*[60 << 20] * 8)),
    "attributes that share their ids": ids_many_times,
}

_MEASURED = """
import re, sys
from pathlib import Path
from kvmtrace.ingesting import storing
from damage import MemoryWriter, ingested
storing.RunWriter = MemoryWriter
print(type(ingested(Path(sys.argv[1]), Path("store"))).__name__)
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])  # since this program began
"""


@pytest.mark.parametrize("name", BOMBS)
def test_what_says_it_is_much_takes_little_memory(tmp_path: Path, name: str) -> None:
    path = BOMBS[name](tmp_path / "perf.data")
    tests = Path(__file__).parent
    ran = subprocess.run(
        [sys.executable, "-c", _MEASURED, path],
        env={"PYTHONPATH": f"{tests}:{tests.parent}"},
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    outcome, most_kib = ran.stdout.split()
    assert outcome in ("Manifest", "InputError")
    assert int(most_kib) << 10 < MOST_BYTES


@pytest.mark.parametrize("field", ["tid", "exit_reason", "isa", "vcpu_id"])
def test_as_many_different_values_as_events_are_read_in_time(tmp_path: Path, field: str) -> None:
    recording = SmallRecording()
    numbers = [number * 2_654_435_761 % (1 << 30) for number in range(20_000)]
    for number in numbers:
        values = {"isa": 2, "exit_reason": 0x7C, "vcpu_id": 0, "tid": 101, field: number}
        tid = values.pop("tid")
        ts_ns = 1_000 * (len(recording.records) + 1)
        recording.add_sample("kvm_exit", ts_ns, tid=tid, fields=values)
        recording.add_sample("kvm_entry", ts_ns + 500, tid=tid, fields={"vcpu_id": values["vcpu_id"]})
    path = recording.write(tmp_path / "perf.data")
    before_s = time.process_time()
    found = ingested(path, tmp_path)
    assert time.process_time() - before_s < LONGEST_S
    assert isinstance(found, Manifest)
    assert found.exits["closed_by_entry"] == len(numbers)
