"""Damaged recordings give rows and notes, or one error: never another exception, a hang, or memory without bound."""

from __future__ import annotations

import random
import struct
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import blake3
import pytest
import zstandard
from damage import Read, SmallRecording, assert_accounted, ingested, keep_nothing, read, small_recording
from perf_oracle import SHARED, bundled_one

from benchmarks.recording_builder import Recording
from benchmarks.rewrite import read_attrs, read_features, read_records
from kvmtrace.cli import run
from kvmtrace.errors import ExitCode
from kvmtrace.formats.perf_data import PerfDataRecording
from kvmtrace.formats.source import open_source
from kvmtrace.store.manifest import Manifest
from kvmtrace.writers.perf_data_file import Feature, Form, PerfDataWriter, RecordType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PIPE_HEADER_BYTES = 16


def records_of_pipe(content: bytes) -> Iterator[tuple[int, int]]:
    """Yield type and end of each record of a stream."""
    at = PIPE_HEADER_BYTES
    while at < len(content):
        kind, _, size = struct.unpack_from("<IHH", content, at)
        at += size
        if kind == RecordType.HEADER_TRACING_DATA:
            at += struct.unpack_from("<I", content, at - size + 8)[0]
        yield kind, at


def unpacked(name: str) -> bytes:
    """Return a bundled recording as perf record left it."""
    return zstandard.ZstdDecompressor().decompressobj().decompress(bundled_one(name).path.read_bytes())


def few_events(name: str, samples: int, target: Path) -> bytes:
    """Write and return a bundled recording with its first samples, and the first of its other records."""
    content = unpacked(name)
    with PerfDataWriter(target, Form.FILE, attrs=read_attrs(content), features=read_features(content)) as writer:
        left = {True: samples, False: samples}
        for kind, whole in read_records(content):
            is_sample = kind == RecordType.SAMPLE
            left[is_sample] -= 1
            if left[is_sample] >= 0:
                writer.write_user(whole)
    return target.read_bytes()


def test_a_stream_cut_off_at_any_byte_gives_all_samples_before_the_cut(tmp_path: Path) -> None:
    content = small_recording().write(tmp_path / "whole", Form.PIPE).read_bytes()
    records = list(records_of_pipe(content))
    sample_ends = [end for kind, end in records if kind == RecordType.SAMPLE]
    ends = {end for _, end in records}
    formats_end = next(end for kind, end in records if kind == RecordType.HEADER_TRACING_DATA)
    path = tmp_path / "cut"
    path.touch()
    for size in range(len(content)):
        assert path.stat().st_size == size
        found = read(path)
        if isinstance(found, Read):
            assert found.rows == sum(end <= size for end in sample_ends)
            assert bool(found.notes.kept) == (size not in ends)
        else:
            assert size < formats_end
        with path.open("ab") as file:
            file.write(content[size : size + 1])
    assert len(sample_ends) == 18


def test_a_file_cut_off_at_any_byte_gives_its_samples_or_says_that_it_is_cut_off(tmp_path: Path) -> None:
    content = small_recording(2).write(tmp_path / "whole").read_bytes()
    data_end = sum(struct.unpack_from("<QQ", content, 40))
    path = tmp_path / "cut"
    path.write_bytes(content[: data_end - 100])
    rows = []
    for size in range(data_end - 100, len(content)):
        assert path.stat().st_size == size
        found = read(path)
        if isinstance(found, Read):
            rows.append(found.rows)
            assert found.notes.kept
        else:
            assert ("bytes before its records do" if size < data_end else "feature section") in found.message
        with path.open("ab") as file:
            file.write(content[size : size + 1])
    assert rows[-1] == max(rows) == 6


@pytest.mark.parametrize("name", ["pipe"])
def test_a_real_stream_cut_off_anywhere_gives_all_samples_before_the_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    keep_nothing(monkeypatch)
    content = unpacked(name)
    sample_ends = [end for kind, end in records_of_pipe(content) if kind == RecordType.SAMPLE]
    choose = random.Random(1)  # noqa: S311 - places to cut at
    path = tmp_path / "cut"
    for size in sorted(choose.randrange(sample_ends[0], len(content)) for _ in range(10)):
        path.write_bytes(content[:size])
        found = ingested(path, tmp_path)
        assert isinstance(found, Manifest)
        assert_accounted(found)
        assert sum(t.rows for t in found.tracepoints) == sum(end <= size for end in sample_ends)


def test_a_compressed_file_cut_off_anywhere_gives_what_stands_before_the_cut(tmp_path: Path) -> None:
    content = small_recording(200).write(tmp_path / "whole", Form.ZSTD, piece_bytes=1000).read_bytes()
    data_at, data_bytes = struct.unpack_from("<QQ", content, 40)
    path = tmp_path / "cut"
    rows = []
    for kept in range(97, data_bytes, 97):
        cut = bytearray(content[: data_at + kept] + content[data_at + data_bytes :])
        struct.pack_into("<Q", cut, 48, kept)
        path.write_bytes(move_features(cut, kept - data_bytes))
        found = read(path)
        assert isinstance(found, Read)
        rows.append(found.rows)
    assert rows == sorted(rows)
    assert rows[0] == 0
    assert rows[-1] > 500


def move_features(content: bytearray, distance: int) -> bytearray:
    """Move the places of the feature sections, after bytes before them were taken out."""
    table = sum(struct.unpack_from("<QQ", content, 40))
    for place in range(int.from_bytes(content[72:104], "little").bit_count()):
        (offset,) = struct.unpack_from("<Q", content, table + 16 * place)
        struct.pack_into("<Q", content, table + 16 * place, offset + distance)
    return content


FLIPS = {"file": 6500, "pipe": 2000, "zstd": 500, "real": 1000}
INGESTED_OF = 40  # one of so many flips goes through pairing, too


def test_ten_thousand_bits_are_flipped() -> None:
    assert sum(FLIPS.values()) == 10_000


@pytest.mark.slow
@pytest.mark.parametrize("source", FLIPS)
def test_flipped_bits_lose_nothing_in_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    keep_nothing(monkeypatch)
    choose = random.Random(f"flips of {source}")  # noqa: S311 - bits to flip
    path = tmp_path / "flipped"
    if source == "real":
        content = few_events("callgraph", 12, tmp_path / "whole")
    else:
        content = small_recording().write(tmp_path / "whole", source, piece_bytes=300).read_bytes()
    path.write_bytes(content)
    whole = read(path)
    assert isinstance(whole, Read)
    for number in range(FLIPS[source]):
        bit = choose.randrange(8 * len(content))
        with flipped(path, bit):
            if number % INGESTED_OF == 0:
                manifest = ingested(path, tmp_path)
                if isinstance(manifest, Manifest):
                    assert_accounted(manifest)
            found = read(path)
        if isinstance(found, Read) and found.rows < whole.rows:
            assert found.has_trouble(whole), f"bit {bit}: {whole.rows - found.rows} rows lost in silence"
    assert path.read_bytes() == content


@contextmanager
def flipped(path: Path, bit: int) -> Iterator[None]:
    """Flip a bit of a file meanwhile. In its place: to write a whole file anew takes longer than to read it."""
    _flip(path, bit)
    try:
        yield
    finally:
        _flip(path, bit)


def _flip(path: Path, bit: int) -> None:
    with path.open("r+b", buffering=0) as file:
        file.seek(bit // 8)
        (byte,) = file.read(1)
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


def test_samples_inside_of_the_first_record_are_noted(tmp_path: Path) -> None:
    """The record's size is damaged, and ends where another record begins: nothing else tells."""
    recording = small_recording()
    first, *behind = recording.records
    of_samples = [whole[0] == RecordType.SAMPLE for whole in behind]
    swallowed = of_samples.index(False)
    size = len(first) + sum(map(len, behind[:swallowed]))
    recording.records[0] = first[:6] + struct.pack("<H", size) + first[8:]
    found = read(recording.write(tmp_path / "perf.data"))
    assert isinstance(found, Read)
    assert (found.rows, found.notes.events) == (sum(of_samples) - swallowed, swallowed)
    assert swallowed > 1


def test_the_events_of_more_notes_than_are_kept_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_nothing(monkeypatch)
    recording = small_recording(1000)
    samples = [at for at, whole in enumerate(recording.records) if whole[0] == RecordType.SAMPLE]
    for at in samples[::10]:  # whose size takes in the sample behind it
        size = len(recording.records[at]) + len(recording.records[at + 1])
        recording.records[at] = recording.records[at][:6] + struct.pack("<H", size) + recording.records[at][8:]
    manifest = ingested(recording.write(tmp_path / "perf.data"), tmp_path)
    assert isinstance(manifest, Manifest)
    assert_accounted(manifest)
    assert manifest.records["SAMPLE"] == 3000
    assert sum(t.rows for t in manifest.tracepoints) == 2700
    assert len(manifest.notes) + manifest.notes_dropped == 300


def test_a_recording_of_no_kvm_event_is_stored_without_exits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_nothing(monkeypatch)
    recording = Recording(cpus=1)
    recording.add_tracepoint("sched", "sched_switch")
    recording.add_sample("sched_switch", 1_000)
    manifest = ingested(recording.write(tmp_path / "perf.data"), tmp_path)
    assert isinstance(manifest, Manifest)
    assert manifest.tables["events/sched/sched_switch"].rows == 1
    assert manifest.exits == {}
    assert manifest.notes == ()


def test_a_recording_of_no_sample_tells_what_was_enabled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_nothing(monkeypatch)
    recording = SmallRecording()
    recording.add_comm("qemu")
    manifest = ingested(recording.write(tmp_path / "perf.data"), tmp_path)
    assert isinstance(manifest, Manifest)
    assert {t.event: t.samples for t in manifest.tracepoints} == {"kvm_exit": 0, "kvm_entry": 0, "said": 0}
    assert manifest.exits["rows"] == 0
    assert manifest.elapsed_ns is None


class WithoutFormats(SmallRecording):
    def features(self) -> dict[int, bytes]:
        return {bit: content for bit, content in super().features().items() if bit != Feature.TRACING_DATA}


def folder(path: Path) -> None:
    path.mkdir()


def recording_without_formats(path: Path) -> None:
    WithoutFormats().write(path)


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing": (str, "cannot be opened: No such file or directory"),
    "an empty file": (Path.touch, "found an empty file"),
    "a folder": (folder, "found a folder"),
    "text": (lambda path: path.write_text("perf record\n"), "found a text that begins 'perf record'"),
    "other bytes": (lambda path: path.write_bytes(bytes(range(256))), "found other bytes"),
    "a magic": (lambda path: path.write_bytes(b"PERFILE2"), "expected a perf.data header of 16 bytes, found 8"),
    "the first version": (lambda path: path.write_bytes(b"PERFFILE" + bytes(96)), "found version 1"),
    "no formats": (recording_without_formats, "the recording has no tracing data"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_recording_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    make, why = REFUSED[name]
    path = tmp_path / "input"
    make(path)
    code = run(["ingest", str(path), "--store", str(tmp_path / "store")])
    said = capsys.readouterr()
    assert code == ExitCode.BAD_INPUT
    assert said.out == ""
    error, *hints = said.err.splitlines()
    assert error.startswith("kvmtrace: error: ")
    assert why in error
    assert all(hint.startswith("hint: ") for hint in hints)
    assert not (tmp_path / "store" / "runs").exists() or not any((tmp_path / "store" / "runs").iterdir())


@pytest.mark.parametrize("change", ["grows", "shrinks"])
def test_a_file_that_changes_while_it_is_read_is_read_as_it_was_found(tmp_path: Path, change: str) -> None:
    path = tmp_path / "perf.data"
    content = small_recording(500).write(path, Form.PIPE).read_bytes()
    cut = 3 * len(content) // 4
    rows = 0
    with open_source(str(path)) as source:
        recording = PerfDataRecording(source, block_bytes=4096)
        for number, block in enumerate(recording.blocks()):
            rows += len(block.ts_ns)
            if number == 1:
                path.write_bytes(content + content[len(content) // 2 :] if change == "grows" else content[:cut])
        digest = source.digest()
    if change == "grows":
        assert (rows, recording.notes.kept) == (1500, [])
        assert digest == "blake3:" + blake3.blake3(content).hexdigest()
    else:
        assert rows == sum(kind == RecordType.SAMPLE and end <= cut for kind, end in records_of_pipe(content))
        assert recording.notes.kept


_SAMPLES = sorted((SHARED / "samples").glob("perfdata_*.data"))


@pytest.mark.skipif(not _SAMPLES, reason=f"{SHARED} is not there")
@pytest.mark.parametrize("path", _SAMPLES, ids=lambda path: path.stem.removeprefix("perfdata_"))
def test_recordings_of_other_projects_are_read_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: Path
) -> None:
    keep_nothing(monkeypatch)
    found = ingested(path, tmp_path)
    if isinstance(found, Manifest):
        assert_accounted(found)
    else:
        assert found.exit_code == ExitCode.BAD_INPUT
        assert "\n" not in found.message
