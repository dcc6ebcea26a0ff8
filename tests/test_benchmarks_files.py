"""The synthetic files that the benchmark reads: in every form the same events, as perf and trace-cmd show them."""

from __future__ import annotations

import io
import re
import shutil
import struct
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks.inputs import FORMS, Input, made
from benchmarks.synthetic import write_synthetic
from benchmarks.synthetic_text import TextForm, write_text
from benchmarks.synthetic_trace_dat import write_trace_dat
from kvmtrace.formats.detect import read
from kvmtrace.formats.source import open_source
from kvmtrace.writers.ring_buffer_pages import LONGEST_DELTA_NS, PAGE_BYTES, CpuPages

if TYPE_CHECKING:
    from pathlib import Path

SAMPLES = 20_000
with_perf = pytest.mark.skipif(shutil.which("perf") is None, reason="perf is not installed")
with_trace_cmd = pytest.mark.skipif(shutil.which("trace-cmd") is None, reason="trace-cmd is not installed")


def printed(*command: str) -> list[str]:
    """Return the lines that a program prints."""
    return subprocess.run(command, capture_output=True, check=True).stdout.decode().splitlines()


def events(path: Path) -> list[tuple[int, ...]]:
    """Return time, CPU, thread and fields of every event of a recording, sorted."""
    found: list[tuple[int, ...]] = []
    with open_source(str(path)) as source:
        (recording,) = read(source)
        names = ("vcpu_id", "guest_rip", "exit_reason", "info1", "info2"), ("vcpu_id", "rip")
        for block in recording.blocks():  # type: ignore[union-attr]
            for kind, rows in block.rows.items():
                is_entry = recording.facts.events[kind].name == "kvm_entry"
                columns = [column[rows] for column in (block.ts_ns, block.cpu, block.tid)]
                columns += [block.fields[kind].column(name) for name in names[is_entry]]
                found += zip(*(column.tolist() for column in columns), strict=True)
        assert recording.facts.samples
    return sorted(found)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with each form of the same events."""
    path = tmp_path_factory.mktemp("synthetic")
    write_synthetic(path / "perf.data", samples=SAMPLES)
    write_trace_dat(path / "trace.dat", samples=SAMPLES)
    for form in TextForm:
        write_text(path / form, form, samples=SAMPLES)
    return path


def test_a_trace_dat_has_the_events_of_the_perf_data(folder: Path) -> None:
    of_perf_data = events(folder / "perf.data")
    assert len(of_perf_data) == SAMPLES
    assert events(folder / "trace.dat") == of_perf_data


@with_perf
def test_lines_are_those_of_perf_script(folder: Path) -> None:
    # events of one time stand in another order
    expected = sorted(printed("perf", "script", "-i", str(folder / "perf.data")))
    assert sorted((folder / TextForm.PERF_SCRIPT).read_text().splitlines()) == expected


@with_trace_cmd
def test_lines_are_those_of_trace_cmd_in_the_columns_of_tracefs(folder: Path) -> None:
    lines = (folder / TextForm.FTRACE).read_text().splitlines()
    assert len(lines) == 12 + SAMPLES
    assert "entries-in-buffer/entries-written: 20000/20000   #P:8" in lines[2]
    head, *reported = printed("trace-cmd", "report", "-N", "-i", str(folder / "trace.dat"))
    assert head == "cpus=8"
    # its columns have other widths, and no flags without -l
    unified = [re.sub(r" +", " ", line) for line in reported]
    assert sorted(re.sub(r" +", " ", line.replace(" ..... ", " ")) for line in lines[12:]) == sorted(unified)


def test_a_line_is_laid_out_as_tracefs_lays_it_out(folder: Path) -> None:
    line = (folder / TextForm.FTRACE).read_text().splitlines()[12]
    assert re.fullmatch(
        r" {7}CPU [01]/KVM-[23]0(09|10) {4}\[00\d\] \.{5}  1000\.0000\d\d: kvm_exit: vcpu [01] .*", line
    )


@pytest.mark.parametrize("form", list(TextForm))
def test_text_is_in_the_order_of_time(folder: Path, form: TextForm) -> None:
    times = re.findall(r" (\d+\.\d{6}): ", (folder / form).read_text())
    assert len(times) == SAMPLES
    assert times == sorted(times)


def pages_of(deltas_ns: list[int], words: int) -> list[tuple[int, int]]:
    """Return time and bytes of each page that events of `words` words are written to, in two portions."""
    file = io.BytesIO()
    pages = CpuPages(file)
    ts_ns = np.cumsum(np.array(deltas_ns, np.int64))
    for part in np.array_split(ts_ns, 2):
        pages.add(part, np.full(len(part), words, np.int64), np.zeros(len(part) * words, np.uint32))
    pages.close()
    content = file.getvalue()
    assert len(content) % PAGE_BYTES == 0
    return [struct.unpack_from("<QQ", content, offset) for offset in range(0, len(content), PAGE_BYTES)]


def test_a_page_takes_what_fits() -> None:
    assert pages_of([1] * 205, 10) == [(1, 4080), (103, 4080), (205, 40)]
    assert pages_of([1] * 93, 11) == [(1, 4048), (93, 44)]


def test_a_delta_that_does_not_fit_is_told_by_a_time_extend() -> None:
    assert pages_of([5, LONGEST_DELTA_NS, LONGEST_DELTA_NS + 1, 1], 2) == [(5, 40)]


def test_a_payload_that_one_word_cannot_tell_is_refused() -> None:
    with pytest.raises(ValueError, match="expected payloads of 1 to 28 words, found 29"):
        pages_of([1], 30)


def test_each_input_is_made_once(tmp_path: Path) -> None:
    assert FORMS.keys() == set(Input)
    file = made(tmp_path, Input.TRACE_DAT, 200)
    file.write_bytes(b"kept")
    assert made(tmp_path, Input.TRACE_DAT, 200).read_bytes() == b"kept"
    assert made(tmp_path, Input.TRACE_DAT, 400) != file
