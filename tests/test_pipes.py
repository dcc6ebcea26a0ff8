"""A pipe that is read as it comes: what is there is given, what was looked at is kept, and reading can be ended."""

from __future__ import annotations

import io
import os
import threading
from typing import TYPE_CHECKING

import pytest
from test_watch_command import of_pipe

from kvmtrace.errors import InputError
from kvmtrace.formats.opening import open_input
from kvmtrace.formats.pipes import UNKNOWN_SIZE, PipeSource, Stop
from kvmtrace.formats.source import ReadOptions
from kvmtrace.ingesting import ingest
from kvmtrace.store.label import Label
from kvmtrace.watch.onlooker import Onlooker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kvmtrace.recording import EventBlock

CONTENT = of_pipe()
JOBS = [1, 2]


class Pipe:
    """Both ends of a pipe."""

    def __init__(self) -> None:
        given, self._feed = os.pipe()
        self.stream = os.fdopen(given, "rb", buffering=0)

    def write(self, piece: bytes) -> None:
        os.write(self._feed, piece)

    def end(self) -> None:
        os.close(self._feed)

    def write_in_pieces(self, content: bytes, size: int) -> None:
        for at in range(0, len(content), size):
            self.write(content[at : at + size])
        self.end()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.stream.close()


def test_what_is_there_is_given_at_once_and_the_size_is_known_at_the_end(pipe: Pipe) -> None:
    pipe.write(CONTENT[:1000])
    with open_input("pipe", ReadOptions(), stream=pipe.stream) as source:
        assert isinstance(source, PipeSource)
        assert source.size == UNKNOWN_SIZE
        assert source.read_at(8, 8) == CONTENT[8:16]
        buffer = memoryview(bytearray(1 << 20))
        assert source.read_some(buffer) == 1000
        assert buffer[:1000] == CONTENT[:1000]
        pipe.write(CONTENT[1000:1500])
        pipe.end()
        assert source.read_some(buffer) == 500
        assert source.read_some(buffer) == 0
        assert (source.size, source.was_cut) == (1500, False)


def test_what_was_gone_through_cannot_be_looked_at(pipe: Pipe) -> None:
    pipe.write(CONTENT[:1000])
    with open_input("pipe", ReadOptions(), stream=pipe.stream) as source:
        source.read_some(memoryview(bytearray(100)))
        with pytest.raises(ValueError, match="read through"):
            source.read_at(0, 8)
    pipe.end()


@pytest.mark.parametrize("jobs", JOBS)
@pytest.mark.parametrize("size", [777, 1 << 16])
def test_a_recording_in_pieces_is_the_run_of_the_whole(jobs: int, size: int, tmp_path: Path, pipe: Pipe) -> None:
    file = tmp_path / "whole.perf.data"
    file.write_bytes(CONTENT)
    (whole,) = ingest(str(file), tmp_path / "store", Label())
    writing = threading.Thread(target=pipe.write_in_pieces, args=(CONTENT, size))
    writing.start()
    (run,) = ingest("pipe", tmp_path / "store", Label(), options=ReadOptions(jobs), stream=pipe.stream)
    writing.join()
    assert run.was_there
    assert run.manifest.run_id == whole.manifest.run_id


@pytest.mark.parametrize("jobs", JOBS)
def test_reading_that_is_ended_stores_whole_records_and_says_so(jobs: int, tmp_path: Path, pipe: Pipe) -> None:
    stop = Stop()

    class Ends(Onlooker):
        """Ends the reading with the first events."""

        def block(self, block: EventBlock) -> None:
            super().block(block)
            stop.ask()

    # Less than a pipe holds: the writer does not end it.
    writing = threading.Thread(target=lambda: pipe.write(CONTENT[:1_000_003]))
    writing.start()
    (run,) = ingest(
        "pipe",
        tmp_path,
        Label(),
        options=ReadOptions(jobs),
        stream=pipe.stream,
        stop=stop,
        listener=Ends((), 10**9, 10**9),
    )
    writing.join()
    assert [note.what for note in run.manifest.notes] == ["reading was ended on request, and more might have come"]
    assert all(tracepoint.samples == tracepoint.rows for tracepoint in run.manifest.tracepoints)
    pipe.end()
    stop.close()


def test_what_must_be_read_as_a_whole_is_copied_first(pipe: Pipe) -> None:
    pipe.write(b"text\n")
    pipe.end()
    with open_input("pipe", ReadOptions(), stream=pipe.stream) as source:
        assert not isinstance(source, PipeSource)
        assert (source.size, source.read_at(0, 9)) == (5, b"text\n")


def test_a_copy_that_was_ended_is_no_input(pipe: Pipe) -> None:
    pipe.write(b"text that may go on for long\n")
    stop = Stop()
    threading.Timer(0.2, stop.ask).start()
    with pytest.raises(InputError, match="ended before"):
        open_input("pipe", ReadOptions(), stream=pipe.stream, stop=stop)
    pipe.end()
    stop.close()


def test_standard_input_may_be_a_file_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(CONTENT)))
    with open_input("-", ReadOptions()) as source:
        assert source.size == len(CONTENT)
