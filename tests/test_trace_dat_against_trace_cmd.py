"""trace.dat as `trace-cmd report -R` shows it: recordings, converted ones, and made-up ones."""

from __future__ import annotations

import lzma
import re
import struct
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from perf_oracle import SHARED
from trace_dat_made import FORMATS, Read, payload, read_path, turns
from trace_dat_oracle import HAS_TRACE_CMD, algorithms, assert_same, parse_report, reported
from trace_dat_pages import PageWriter

from kvmtrace.errors import InputError
from kvmtrace.writers.trace_dat_file import INTERPOLATE, OFFSET, TSC2NSEC, BufferContent, TraceDat, time_shift

_LONG = {"kut-vmexit-smp1", "tracecmd-pveoi-mixed-xapic-off", "tracecmd-pveoi-mixed-xapic-on"}
CAPTURES = sorted((SHARED / "captures").glob("**/trace*.dat"))
SAMPLES = sorted((SHARED / "samples").glob("trace_v*.dat"))
TICKS = {"trace-v6-tsc.dat"}
"""Recordings of the clock x86-tsc, of which trace-cmd shows ticks."""

needs_trace_cmd = pytest.mark.skipif(not HAS_TRACE_CMD, reason="trace-cmd is not installed")
needs_shared = pytest.mark.skipif(not CAPTURES, reason=f"no trace.dat in {SHARED / 'captures'}")


def marked(paths: list[Path]) -> list[Any]:
    """Return the paths as parameters, those of more than 40,000 events marked as slow."""
    return [pytest.param(path, marks=[pytest.mark.slow] * (path.parts[-2] in _LONG)) for path in paths]


def needs(compression: str) -> None:
    if compression not in algorithms():
        pytest.skip(f"trace-cmd is built without {compression}")


def name_of(path: Path) -> str:
    return "/".join(path.parts[-2:])


def read_one(path: Path) -> Read:
    (read,) = read_path(path, clock_hz=10**9 if path.name in TICKS else None)
    return read


BUNDLED = sorted((Path(__file__).parent / "data" / "trace-dat").glob("*.dat*"))


@pytest.mark.parametrize("path", BUNDLED, ids=lambda path: path.name)
def test_every_event_of_a_bundled_recording_is_what_trace_cmd_printed(path: Path) -> None:
    printed = path.with_name(path.name.split(".dat")[0] + ".report-R.txt.xz")
    (read,) = read_path(path, clock_hz=10**9 if "x86" in path.name else None)
    assert assert_same(read, parse_report(lzma.decompress(printed.read_bytes()))) > 5000
    assert read.notes == []


def test_a_bundled_recording_of_ticks_asks_for_their_unit() -> None:
    path = next(path for path in BUNDLED if "x86" in path.name)
    with pytest.raises(InputError, match="found ticks of x86-tsc, and nothing says how many make a second"):
        read_path(path)


@needs_trace_cmd
@needs_shared
@pytest.mark.parametrize("path", marked(CAPTURES + SAMPLES), ids=name_of)
def test_every_event_and_field_is_what_trace_cmd_prints(path: Path) -> None:
    read, told = read_one(path), reported(path)
    assert assert_same(read, told) > 0
    assert read.losses == []
    assert told.missed == []
    assert read.notes == []
    assert read.recording.facts.not_stored == {}


@needs_shared
@pytest.mark.parametrize("path", [path for path in CAPTURES if path.parts[-3] != "x86-svm"], ids=name_of)
def test_events_are_as_many_as_its_readme_counts(path: Path) -> None:
    text = (path.parent / "README.txt").read_text().split("Events in trace-cmd-report.txt", 1)[1]
    counted = re.findall(r"^ +(\d+) (\w+)$", text.split("by kind", 1)[0], re.MULTILINE)
    assert Counter(event[3] for event in read_one(path).events) == {name: int(count) for count, name in counted}


@needs_shared
@pytest.mark.parametrize("path", sorted((SHARED / "captures" / "x86-svm").glob("*/trace*.dat")), ids=name_of)
def test_events_are_as_many_as_were_counted_beside_it(path: Path) -> None:
    counts = next(iter(path.parent.glob(f"{path.name}.event-counts.txt")), None)
    if counts is None:
        pytest.skip("there is no count beside it")
    rows = re.findall(r"^ *(\d+) +(\w+):", counts.read_text(), re.MULTILINE)
    found = Counter(event[3] for event in read_one(path).events)
    assert found == {name: int(count) for count, name in rows}


@needs_trace_cmd
@needs_shared
@pytest.mark.parametrize("compression", ["zstd", "zlib", "none"])
@pytest.mark.parametrize(
    "path", [SHARED / "captures/x86-svm/multi-vm/trace.dat", SHARED / "samples/trace_v6_armv7_kmf.dat"], ids=name_of
)
def test_a_converted_file_gives_the_same(path: Path, compression: str, tmp_path: Path) -> None:
    needs(compression)
    version7, version6 = tmp_path / "7.dat", tmp_path / "6.dat"
    convert(path, version7, "--file-version", "7", "--compression", compression)
    convert(version7, version6, "--file-version", "6")
    original, newer, older = read_one(path), read_one(version7), read_one(version6)
    assert newer.recording._file.compression == compression
    assert older.recording._file.version == 6
    for other in (newer, older):
        assert sorted(other.events, key=str) == sorted(original.events, key=str)
        assert other.recording.facts.samples == original.recording.facts.samples
        assert other.recording.facts.threads == original.recording.facts.threads
        assert other.recording.facts.clock == original.recording.facts.clock
        assert other.recording.facts.host == original.recording.facts.host
        assert other.notes == []


def convert(source: Path, target: Path, *options: str) -> None:
    subprocess.run(["trace-cmd", "convert", "-i", source, "-o", target, *options], check=True, capture_output=True)


def written(file: TraceDat, tmp_path: Path) -> Path:
    path = tmp_path / "made.dat"
    path.write_bytes(file.content())
    return path


def varied_pages(order: str = "<", commit_bytes: int = 8) -> PageWriter:
    """Return pages with everything that a ring buffer has."""
    pages = PageWriter(order, commit_bytes=commit_bytes)
    turns(pages, 200, start=1 << 33)
    pages.extend((1 << 33) + (1 << 31))
    turns(pages, 3, start=(1 << 34))
    pages.stamp((1 << 35) + 1)
    pages.discard((1 << 35) + 2000, 24)
    pages.discard((1 << 35) + 2000, 8)
    turns(pages, 3, start=(1 << 35) + 5000)
    pages.missed(17)
    pages.add(1 << 36, payload("said", order=order, text="a word " * 30))
    turns(pages, 80, start=(1 << 36) + 1)
    pages.missed(None)
    turns(pages, 80, start=1 << 37)
    pages.add(1 << 38, payload("kvm_entry", order=order), long=True)
    return pages


@needs_trace_cmd
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("version", "compression"), [(6, "none"), (7, "none"), (7, "zlib"), (7, "zstd")])
@pytest.mark.parametrize("commit_bytes", [4, 8])
def test_trace_cmd_agrees_on_made_up_files(
    version: int, compression: str, order: str, commit_bytes: int, tmp_path: Path
) -> None:
    needs(compression)
    content = varied_pages(order, commit_bytes).content()
    buffer = BufferContent({0: content, 1: content})
    file = TraceDat(FORMATS, [buffer], order, version, compression, long_bytes=commit_bytes, commit_bytes=commit_bytes)
    path = written(file, tmp_path)
    read, told = read_one(path), reported(path)
    assert assert_same(read, told) > 1000
    assert sorted(told.missed) == [(0, -1), (0, 17), (1, -1), (1, 17)]
    counts = [(loss.cpu, -1 if "not counted" in loss.said_by else loss.events) for loss in read.losses]
    assert sorted(counts) == sorted(told.missed)


@needs_trace_cmd
def test_trace_cmd_agrees_on_the_rate_of_a_tsc_and_on_an_offset(tmp_path: Path) -> None:
    pages = PageWriter()
    turns(pages, 50, start=1 << 45)
    options = [(TSC2NSEC, struct.pack("<IIQ", 1_677_721_601, 22, 5)), (OFFSET, b"12345\0")]
    file = TraceDat(FORMATS, [BufferContent({0: pages.content()}, clock="x86-tsc")], options=options)
    path = written(file, tmp_path)
    assert assert_same(read_one(path), reported(path)) > 0


SHIFTS = [
    (0, [(100, 50, 1, 0)]),
    (0, [(100, -50, 1, 0), (1500, 7, 1, 0)]),
    (0, [(100, 5, 1, 0), (1500, 7, 1, 0), (1700, 9, 1, 0)]),
    (INTERPOLATE, [(1000, 100, 1, 0), (2000, 200, 1, 0)]),
    (INTERPOLATE, [(1000, -100, 1, 0), (2000, -233, 1, 0), (2500, -100, 1, 0)]),
    (0, [(0, 0, 3, 1), (9, 0, 3, 1)]),
]


@needs_trace_cmd
@pytest.mark.parametrize("fractions", [True, False])
@pytest.mark.parametrize("tsc", [True, False])
@pytest.mark.parametrize(("flags", "samples"), SHIFTS)
def test_trace_cmd_agrees_on_the_times_of_a_guest(
    flags: int, samples: list[tuple[int, int, int, int]], tsc: bool, fractions: bool, tmp_path: Path
) -> None:
    pages = PageWriter()
    turns(pages, 5, start=200)
    options = [time_shift(flags, samples, fractions=fractions)]
    if tsc:
        options.append((TSC2NSEC, struct.pack("<IIQ", 3, 1, 0)))
    buffer = BufferContent({0: pages.content()}, clock="x86-tsc" if tsc else "local")
    path = written(TraceDat(FORMATS, [buffer], options=options), tmp_path)
    assert assert_same(read_one(path), reported(path)) > 0
