"""A pipe that is read while it is written: the same bytes, digest and events as of a file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from made_recorders import exits

from kvmtrace.errors import InputError
from kvmtrace.formats import growing
from kvmtrace.formats.growing import GrowingSource
from kvmtrace.formats.perf_data import PerfDataRecording
from kvmtrace.formats.source import ReadOptions, open_source

if TYPE_CHECKING:
    from pathlib import Path


def test_a_reader_gets_on_with_what_is_there_and_waits_for_the_rest() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"begun")
    with os.fdopen(reading, "rb") as stream, GrowingSource(stream, "pipe") as source:
        assert source.read_at(0, 5) == b"begun"  # while the other end is open
        os.write(writing, b" and ended")
        os.close(writing)
        assert source.read_at(6, 100) == b"and ended"
        assert source.size == 15


@pytest.mark.parametrize("jobs", [1, 2])
def test_events_and_digest_are_those_of_the_file(tmp_path: Path, jobs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growing, "_GIVEN_BACK_BYTES", 1 << 12)
    monkeypatch.setattr(growing, "_PAGE_BYTES", 1 << 12)
    path = exits(2_000).write(tmp_path / "made.data", "pipe")
    with open_source(str(path)) as source:
        whole = [block.ts_ns for block in PerfDataRecording(source).blocks()]
        digest = source.digest()
    with path.open("rb") as stream, GrowingSource(stream, "pipe", ReadOptions(jobs=jobs)) as source:
        blocks = [block.ts_ns for block in PerfDataRecording(source, 1 << 13).blocks()]
        assert source.digest() == digest
        assert source.size == path.stat().st_size
        kept = os.fstat(source._file.fileno()).st_blocks * 512
    assert sum(map(len, blocks)) == sum(map(len, whole)) == 4_000
    assert kept < path.stat().st_size / 4 or kept >= path.stat().st_size  # given back, where the file system can


def test_no_room_is_said_and_whoever_writes_gets_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int, _piece: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(growing, "_write", full)
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stream, GrowingSource(stream, "pipe") as source:
        for _ in range(40):  # more than a pipe holds
            os.write(writing, bytes(4096))
        os.close(writing)
        with pytest.raises(InputError, match="No space left on device") as caught:
            source.read_at(0, 1)
    assert "TMPDIR" in str(caught.value.hint)
