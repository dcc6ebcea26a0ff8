"""The same events give the same tables, whatever the form of the file and however it is read."""

from __future__ import annotations

import random
import struct
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
import zstandard
from ingested import read_table
from perf_oracle import bundled_one

from benchmarks.recording_builder import Recording
from benchmarks.rewrite import read_attrs, read_features, read_records, rewrite
from benchmarks.synthetic import write_synthetic
from kvmtrace.exits.builder import ExitBuilder
from kvmtrace.formats.perf_data import PerfDataRecording
from kvmtrace.ingesting import ingest, intake
from kvmtrace.store.label import Label
from kvmtrace.writers.perf_data_file import FIRST_USER_TYPE, Form, PerfDataWriter, RecordType, record
from kvmtrace.writers.tracepoint_records import PERF_RECORD_DEFAULT, SampleType

if TYPE_CHECKING:
    from pathlib import Path

    from ingested import IngestedRecordings

    from kvmtrace.store.manifest import Manifest

Tables = dict[str, pa.Table]


def ingested_tables(path: Path, store: Path) -> tuple[Manifest, Tables]:
    """Ingest a recording; return its manifest and all its tables."""
    (run,) = ingest(str(path), store, Label())
    return run.manifest, all_tables(store, run.manifest)


def all_tables(store: Path, manifest: Manifest) -> Tables:
    """Return all tables of a run, in an order that does not depend on how the recording was read.

    Events stand in the order of the source; exits and the small tables in the order in which they became certain.
    """
    tables = {name: _without_dictionaries(read_table(store, manifest, name)) for name in manifest.tables}
    return {
        name: table if name.startswith("events/") else table.sort_by([(c, "ascending") for c in table.column_names])
        for name, table in tables.items()
    }


def _without_dictionaries(table: pa.Table) -> pa.Table:
    fields = [
        pa.field(f.name, f.type.value_type if pa.types.is_dictionary(f.type) else f.type, nullable=f.nullable)
        for f in table.schema
    ]
    return table.cast(pa.schema(fields)).combine_chunks()


def assert_same_tables(one: Tables, other: Tables) -> None:
    assert one.keys() == other.keys()
    assert [name for name, table in one.items() if not table.equals(other[name])] == []


def unpacked(name: str, folder: Path) -> Path:
    """Write a bundled recording as `perf record` left it, and return its path."""
    path = folder / f"{name}.perf.data"
    with bundled_one(name).path.open("rb") as packed, path.open("wb") as plain:
        zstandard.ZstdDecompressor().copy_stream(packed, plain)
    return path


@pytest.mark.parametrize("name", ["callgraph", "lossy"])
@pytest.mark.parametrize("form", Form)
def test_a_rewritten_recording_gives_the_same_tables(
    ingested: IngestedRecordings, tmp_path: Path, name: str, form: Form
) -> None:
    original = bundled_one(name).path
    rewrite(unpacked(name, tmp_path), tmp_path / "rewritten", form)
    manifest, tables = ingested_tables(tmp_path / "rewritten", tmp_path / "store")
    assert_same_tables(tables, all_tables(ingested.store, ingested.manifest(original)))
    first = ingested.manifest(original)
    assert manifest.exits == first.exits
    assert manifest.tracepoints == first.tracepoints
    assert manifest.lost == first.lost
    assert manifest.host == first.host
    assert manifest.tool == first.tool
    assert manifest.records["SAMPLE"] == first.records["SAMPLE"]
    assert manifest.notes == ()


def write_in_pieces(source: Path, target: Path, seed: int) -> None:
    """Write a recording's samples as one zstd stream that is flushed nowhere, cut anywhere into COMPRESSED records."""
    content = source.read_bytes()
    samples = b"".join(whole for kind, whole in read_records(content) if kind < FIRST_USER_TYPE)
    stream = zstandard.ZstdCompressor().compress(samples)
    choose = random.Random(seed)  # noqa: S311 - places to cut at
    with PerfDataWriter(target, Form.FILE, attrs=read_attrs(content), features=read_features(content)) as writer:
        at = 0
        while at < len(stream):
            size = choose.choice([1, 7, 100, 9000])
            writer.write_user(record(RecordType.COMPRESSED, stream[at : at + size]))
            at += size


@pytest.mark.parametrize("seed", range(3))
def test_a_compressed_stream_may_be_cut_anywhere(ingested: IngestedRecordings, tmp_path: Path, seed: int) -> None:
    name = "overwrite-tail"  # one round: what stands outside of the stream does not matter
    write_in_pieces(unpacked(name, tmp_path), tmp_path / "cut", seed)
    _, tables = ingested_tables(tmp_path / "cut", tmp_path / "store")
    assert_same_tables(tables, all_tables(ingested.store, ingested.manifest(bundled_one(name).path)))


BLOCKS = pytest.mark.parametrize(("block_bytes", "drain_rows"), [(4 << 10, 1 << 17), (64 << 10, 100), (1 << 20, 1)])


def read_by(block_bytes: int, drain_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let recordings be read by blocks of so many bytes, and exits be paired as soon as so many events wait."""
    reader = partial(PerfDataRecording, block_bytes=block_bytes)
    monkeypatch.setattr("kvmtrace.formats.perf_file.PerfDataRecording", reader)
    monkeypatch.setattr(intake, "ExitBuilder", partial(ExitBuilder, drain_rows=drain_rows))


@BLOCKS
@pytest.mark.parametrize("name", ["zstd", "pipe", "lossy", "overwrite-tail"])
def test_the_sizes_of_blocks_change_nothing(
    ingested: IngestedRecordings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    block_bytes: int,
    drain_rows: int,
) -> None:
    first = ingested.manifest(bundled_one(name).path)
    read_by(block_bytes, drain_rows, monkeypatch)
    manifest, tables = ingested_tables(bundled_one(name).path, tmp_path / "store")
    assert_same_tables(tables, all_tables(ingested.store, first))
    assert manifest.exits == first.exits
    assert manifest.records == first.records


@BLOCKS
def test_the_sizes_of_blocks_change_nothing_where_vcpus_migrate_between_rounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int, drain_rows: int
) -> None:
    path = tmp_path / "perf.data"
    write_synthetic(path, samples=60_000)
    first, usual = ingested_tables(path, tmp_path / "usual")
    read_by(block_bytes, drain_rows, monkeypatch)
    manifest, tables = ingested_tables(path, tmp_path / "store")
    assert_same_tables(tables, usual)
    assert manifest.exits == first.exits
    assert first.exits["late_events"] == 0
    assert first.exits["closed_by_next_exit"] == first.exits["entries_without_exit"] == 0


def two_events(sample_type: SampleType) -> Recording:
    recording = Recording(cpus=1, sample_type=sample_type)
    recording.add_tracepoint("kvm", "kvm_exit")
    recording.add_tracepoint("kvm", "kvm_msr")
    for ts_ns in range(1_000, 9_000, 1_000):
        recording.add_sample("kvm_exit", ts_ns, fields={"exit_reason": ts_ns, "isa": 2}, callchain=range(ts_ns // 1000))
        recording.add_sample("kvm_msr", ts_ns + 100, fields={"ecx": ts_ns})
    return recording


@pytest.mark.parametrize(
    "extra", [bit for bit in SampleType if bit not in PERF_RECORD_DEFAULT], ids=lambda bit: bit.name
)
def test_parts_of_a_sample_that_are_not_stored_change_nothing(tmp_path: Path, extra: SampleType) -> None:
    _, usual = ingested_tables(two_events(PERF_RECORD_DEFAULT).write(tmp_path / "usual"), tmp_path / "store")
    manifest, tables = ingested_tables(
        two_events(PERF_RECORD_DEFAULT | extra).write(tmp_path / "extra"), tmp_path / "store"
    )
    assert_same_tables(tables, usual)
    assert extra is SampleType.ID or extra is SampleType.STREAM_ID or (extra.name or "").lower() in manifest.left_out


@pytest.mark.parametrize(
    ("missing", "columns"),
    [
        (SampleType.IDENTIFIER, ()),
        (SampleType.IP | SampleType.PERIOD, ()),
        (SampleType.CPU, ("cpu",)),
        (SampleType.TID, ()),  # the tracepoint's own record has the thread
        (SampleType.IDENTIFIER | SampleType.CPU | SampleType.TID, ("cpu",)),
    ],
    ids=str,
)
def test_parts_of_a_sample_that_are_missing_are_null(
    tmp_path: Path, missing: SampleType, columns: tuple[str, ...]
) -> None:
    _, usual = ingested_tables(two_events(PERF_RECORD_DEFAULT).write(tmp_path / "usual"), tmp_path / "store")
    manifest, tables = ingested_tables(
        two_events(PERF_RECORD_DEFAULT & ~missing).write(tmp_path / "less"), tmp_path / "store"
    )
    for name in ("events/kvm/kvm_exit", "events/kvm/kvm_msr"):
        for column in tables[name].column_names:
            if column in columns:
                assert tables[name][column].null_count == 8
            elif column not in ("vcpu", "exit_id"):  # they follow from the thread
                assert tables[name][column].equals(usual[name][column])
    assert {t.event: (t.samples, t.rows) for t in manifest.tracepoints} == {"kvm_exit": (8, 8), "kvm_msr": (8, 8)}


def test_without_times_all_events_are_stored_and_no_exit(tmp_path: Path) -> None:
    recording = two_events(PERF_RECORD_DEFAULT & ~SampleType.TIME)
    manifest, tables = ingested_tables(recording.write(tmp_path / "perf.data"), tmp_path / "store")
    assert tables["events/kvm/kvm_exit"].num_rows == 8
    assert "exits" not in tables
    assert manifest.clock is None
    assert manifest.unpaired == "the samples have no time stamps (perf record -T adds them), so exits are not paired"


def test_a_sample_behind_a_record_of_odd_size_is_read(tmp_path: Path) -> None:
    recording = two_events(PERF_RECORD_DEFAULT)
    odd = record(RecordType.HEADER_FEATURE, struct.pack("<Q", 200) + b"odd")
    at = len(recording.records) - 3
    recording.records[at:at] = [odd]
    manifest, _ = ingested_tables(recording.write(tmp_path / "perf.data"), tmp_path / "store")
    assert manifest.notes == ()
    assert manifest.records == {"SAMPLE": 16, "FEATURE": 1}
    assert sum(t.rows for t in manifest.tracepoints) == 16
