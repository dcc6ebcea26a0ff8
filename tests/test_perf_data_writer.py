"""The writer of our own that benchmarks and other tests take their recordings from."""

from __future__ import annotations

import shutil
import struct
import subprocess
from typing import TYPE_CHECKING

import pytest
import zstandard

from benchmarks.recording_builder import Recording
from benchmarks.rewrite import read_attrs, read_features, read_records, rewrite
from benchmarks.synthetic import write_synthetic
from kvmtrace.tracepoints import parse_format
from kvmtrace.writers.perf_data_file import Form, RecordType
from kvmtrace.writers.tracepoint_records import SampleType, pack_fields

if TYPE_CHECKING:
    from pathlib import Path

COMPRESSED_FEATURE = 27
needs_perf = pytest.mark.skipif(shutil.which("perf") is None, reason="perf is not installed")


def small_recording() -> Recording:
    recording = Recording.of_kvm("kvm_msr")
    recording.add_comm("CPU 0/KVM")
    for ts_ns in range(1_000, 200_000, 1_000):
        recording.add_sample("kvm_entry", ts_ns, cpu=ts_ns % 4, fields={"vcpu_id": 0, "rip": 0xFFFF_FFFF_8100_0000})
        recording.add_sample("kvm_exit", ts_ns + 400, cpu=1, fields={"exit_reason": 0x7C, "isa": 2, "vcpu_id": 0})
        recording.add_sample("kvm_msr", ts_ns + 500, cpu=1, fields={"ecx": 0x6E0, "data": ts_ns, "write": 1})
        if ts_ns % 50_000 == 0:
            recording.add_lost(7, ts_ns + 600, cpu=2)
            recording.add_round()
    return recording


def perf_says(*arguments: str, stdin: bytes = b"") -> str:
    result = subprocess.run(["perf", *arguments], input=stdin, capture_output=True, check=True)
    return result.stdout.decode()


def unpacked(content: bytes) -> bytes:
    """Return the records of a compressed file with the compressed stream of all records unpacked."""
    stream = zstandard.ZstdDecompressor().decompressobj()
    parts = []
    for record_type, whole in read_records(content):
        if record_type == RecordType.COMPRESSED:
            parts.append(stream.decompress(whole[8:]))
        elif record_type == RecordType.COMPRESSED2:
            (size,) = struct.unpack_from("<Q", whole, 8)
            parts.append(stream.decompress(whole[16 : 16 + size]))
        else:
            parts.append(whole)
    return b"".join(parts)


def test_fields_that_are_not_named_are_zero_and_the_head_is_the_events_own(tmp_path: Path) -> None:
    recording = Recording(cpus=1)
    exits = recording.add_tracepoint("kvm", "kvm_exit")
    recording.add_sample("kvm_exit", 5, tid=77, fields={"exit_reason": 0x400})
    content = recording.write(tmp_path / "perf.data").read_bytes()
    ((_, sample),) = read_records(content)
    raw = sample[60:]
    assert struct.unpack_from("<HBBi", raw) == (exits.event.id, 0, 0, 77)
    assert struct.unpack_from("<I", raw, 8) == (0x400,)
    assert not any(raw[12:])


def test_strings_are_placed_after_the_fixed_fields() -> None:
    text = """name: made
ID: 9
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:__data_loc char[] near;\toffset:4;\tsize:4;\tsigned:1;
\tfield:__rel_loc char[] far;\toffset:8;\tsize:4;\tsigned:1;
\tfield:char comm[4];\toffset:12;\tsize:4;\tsigned:1;

print fmt: "%s", __get_str(near)
"""
    packed = pack_fields(parse_format(text), {"near": "ab", "far": "xyz", "comm": "c"})
    near, far = struct.unpack_from("<II", packed, 4)
    assert packed[near & 0xFFFF :][: near >> 16] == b"ab\0"
    assert packed[12 + (far & 0xFFFF) :][: far >> 16] == b"xyz\0"
    assert packed[12:16] == b"c\0\0\0"


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(KeyError, match="kvm_exit has no field reason"):
        Recording.of_kvm().add_sample("kvm_exit", 1, fields={"reason": 1})


@pytest.mark.parametrize("sample_type", [SampleType.RAW, SampleType.TID | SampleType.RAW | SampleType.CGROUP])
def test_a_sample_has_the_parts_that_its_type_names_and_no_other(tmp_path: Path, sample_type: SampleType) -> None:
    recording = Recording(cpus=1, sample_type=sample_type)
    recording.add_tracepoint("kvm", "kvm_entry")
    recording.add_sample("kvm_entry", 5)
    ((_, sample),) = read_records(recording.write(tmp_path / "perf.data").read_bytes())
    assert len(sample) == 8 + 32 + 8 * (sample_type.bit_count() - 1)


@pytest.mark.parametrize("form", [Form.ZSTD, Form.ZSTD2])
def test_a_compressed_form_unpacks_to_the_records_of_the_file(tmp_path: Path, form: Form) -> None:
    recording = small_recording()
    plain = recording.write(tmp_path / "plain").read_bytes()
    packed = recording.write(tmp_path / "packed", form).read_bytes()
    assert unpacked(packed) == b"".join(recording.records) == b"".join(whole for _, whole in read_records(plain))
    assert read_features(packed).keys() - read_features(plain).keys() == {COMPRESSED_FEATURE}
    assert read_attrs(packed) == read_attrs(plain)


def test_records_straddle_two_compressed_ones(tmp_path: Path) -> None:
    content = small_recording().write(tmp_path / "packed", Form.ZSTD, piece_bytes=1001).read_bytes()
    stream = zstandard.ZstdDecompressor().decompressobj()
    pieces = [stream.decompress(whole[8:]) for kind, whole in read_records(content) if kind == RecordType.COMPRESSED]
    assert sum(len(piece) == 1001 for piece in pieces) > 10


def test_a_rewritten_file_has_the_same_bytes(tmp_path: Path) -> None:
    source = small_recording().write(tmp_path / "source")
    rewrite(source, tmp_path / "target", Form.FILE)
    assert (tmp_path / "target").read_bytes() == source.read_bytes()


def test_a_compressed_source_is_not_rewritten(tmp_path: Path) -> None:
    source = small_recording().write(tmp_path / "source", Form.ZSTD)
    with pytest.raises(ValueError, match="compressed records"):
        rewrite(source, tmp_path / "target", Form.FILE)


@needs_perf
@pytest.mark.perf
def test_perf_prints_the_same_events_of_every_form_it_can_read(tmp_path: Path) -> None:
    recording = small_recording()
    printed = perf_says("script", "-i", str(recording.write(tmp_path / "file")))
    assert printed.count("kvm:kvm_exit: vcpu 0 reason msr rip") == printed.count("kvm:kvm_entry") == 199
    assert "msr_write 6e0 = 0x" in printed
    assert perf_says("script", "-i", str(recording.write(tmp_path / "zstd", Form.ZSTD))) == printed
    assert perf_says("script", "-i", "-", stdin=recording.write(tmp_path / "pipe", Form.PIPE).read_bytes()) == printed


@needs_perf
@pytest.mark.perf
def test_perf_pairs_the_synthetic_exits(tmp_path: Path) -> None:
    samples = 40_000
    write_synthetic(tmp_path / "perf.data", samples=samples)
    command = ["perf", "kvm", "-i", str(tmp_path / "perf.data"), "stat", "report"]
    said = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True).stderr
    # perf knows a vCPU from its first entry on, so it drops the first exit of each of the four
    assert f"Total Samples:{samples // 2 - 4}," in said


def test_the_synthetic_file_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("again", 1), ("two", 2)):
        write_synthetic(tmp_path / name, samples=2_000, seed=seed)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "again").read_bytes() != (tmp_path / "two").read_bytes()
