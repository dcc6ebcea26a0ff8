"""A recorder never waits for its reader: what is not read yet is kept, and given on whole and in order."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest
from made_recorders import exits

from kvmtrace.formats import detect, spool
from kvmtrace.formats.opening import open_input
from kvmtrace.formats.source import ReadOptions, open_source
from kvmtrace.formats.spool import Spool
from kvmtrace.ingesting import ingest
from kvmtrace.store.label import Label

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PIECE = bytes(range(256)) * 256


@pytest.fixture
def ends() -> Iterator[tuple[Spool, int]]:
    """A spool, and the end of its pipe that a recorder writes to; the test closes that."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as stream, Spool(stream) as made:
        yield made, writing


def all_of(made: Spool) -> bytes:
    return b"".join(iter(lambda: os.read(made.output.fileno(), 1 << 16), b""))


def test_what_came_is_there_while_more_is_to_come(ends: tuple[Spool, int]) -> None:
    made, writing = ends
    os.write(writing, b"begun")
    assert os.read(made.output.fileno(), 100) == b"begun"
    os.write(writing, b" and ended")
    os.close(writing)
    assert all_of(made) == b" and ended"


def test_who_writes_never_waits_for_who_reads(ends: tuple[Spool, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "_GIVEN_BACK_BYTES", 1 << 17)
    made, writing = ends
    for _ in range(64):  # far more than pipes hold
        os.write(writing, PIECE)
    os.close(writing)
    assert all_of(made) == PIECE * 64
    assert os.fstat(made._file.fileno()).st_size == 0  # nothing of it takes room any more
    assert not made.was_full


def test_where_the_disk_is_full_the_recorder_waits_and_nothing_is_lost(
    ends: tuple[Spool, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    room = [3 << 16]

    def little(descriptor: int, piece: bytes, at: int) -> int:
        room[0] -= len(piece)
        if room[0] < 0:
            raise OSError(28, "No space left on device")
        return os.pwrite(descriptor, piece, at)

    monkeypatch.setattr(spool, "_written_at", little)
    made, writing = ends

    def record() -> None:
        for _ in range(64):
            os.write(writing, PIECE)
        os.close(writing)

    recording = threading.Thread(target=record)
    recording.start()
    assert all_of(made) == PIECE * 64
    recording.join()
    assert made.was_full


def test_who_writes_gets_to_the_end_where_nobody_reads_any_more(ends: tuple[Spool, int]) -> None:
    made, writing = ends
    made.output.close()
    for _ in range(64):
        os.write(writing, PIECE)
    os.close(writing)


@pytest.mark.parametrize("jobs", [1, 2])
def test_events_and_digest_are_those_of_the_file(tmp_path: Path, jobs: int) -> None:
    path = exits(2_000).write(tmp_path / "made.data", "pipe")
    with open_source(str(path)) as source:
        digest = source.digest()
    with path.open("rb", buffering=0) as stream, Spool(stream) as made:
        (run,) = ingest("made", tmp_path / "store", Label(), options=ReadOptions(jobs), stream=made.output)
    assert run.manifest.source.digest == digest
    assert run.manifest.exits["rows"] == 2_000


def test_a_recording_that_is_left_in_the_middle_is_left(tmp_path: Path) -> None:
    path = tmp_path / "made.data"
    content = exits(200).write(path, "pipe").read_bytes()
    path.write_bytes(content + bytes(1 << 22))
    with (
        path.open("rb", buffering=0) as stream,
        Spool(stream) as made,
        open_input("made", ReadOptions(), stream=made.output) as source,
    ):
        assert detect.read(source)
