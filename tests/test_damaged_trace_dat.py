"""Damaged trace.dat: rows, notes, or one InputError come out, and damage costs its own place only."""

from __future__ import annotations

import random
import struct
from functools import cache
from itertools import cycle
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trace_dat_made import FORMATS, payload, read_bytes, survives, turns
from trace_dat_pages import PageWriter

from kvmtrace.errors import InputError
from kvmtrace.formats.source import ReadOptions, open_source
from kvmtrace.formats.trace_dat import FORMAT
from kvmtrace.recording import Loss
from kvmtrace.writers.trace_dat_file import (
    CPUSTAT,
    GUEST,
    TIME_SHIFT,
    TRACEID,
    TSC2NSEC,
    UNAME,
    BufferContent,
    TraceDat,
    _Sections,
)

if TYPE_CHECKING:
    from pathlib import Path

FORMS = [(6, "none", "<"), (6, "none", ">"), (7, "none", "<"), (7, "zlib", ">"), (7, "zstd", "<")]
each_form = pytest.mark.parametrize(("version", "compression", "order"), FORMS)
PAGE = 256


@cache
def small(version: int, compression: str, order: str) -> bytes:
    """Return a small file with every part that a file can have."""
    first, second = PageWriter(order, PAGE), PageWriter(order, PAGE)
    turns(first, 8)
    first.missed(4)
    first.discard(9000, 8)
    first.extend(1 << 28)
    first.stamp((1 << 28) + 5)
    first.add((1 << 28) + 6, payload("said", order=order, text="so", numbers=[1, 2]), long=True)
    turns(second, 3)
    shift = struct.pack(f"{order}QIIIQQqqQQQQ", 5, 1, 1, 2, 0, 9, 1, 2, 1, 1, 0, 0)
    options = [
        (UNAME, b"Linux host1 6.1.0 x86_64\0"),
        (CPUSTAT, b"CPU: 0\noverrun: 3\n\0"),
        (TRACEID, struct.pack(f"{order}Q", 7)),
        (GUEST, b"vm1\0" + struct.pack(f"{order}QIII", 9, 1, 0, 7)),
        (TIME_SHIFT, shift),
        (TSC2NSEC, struct.pack(f"{order}IIQ", 1, 0, 0)),
    ]
    buffers = [
        BufferContent({0: first.content(), 1: second.content()}, clock="x86-tsc", page_bytes=PAGE),
        BufferContent({0: second.content()}, name="more", clock="x86-tsc", page_bytes=PAGE),
    ]
    file = TraceDat(FORMATS, buffers, order, version, compression, page_bytes=PAGE, threads={7: "vm"}, options=options)
    return file.content()


@each_form
def test_the_small_file_is_whole(version: int, compression: str, order: str) -> None:
    top, more = read_bytes(small(version, compression, order))
    assert len(top.events) == 23
    assert len(more.events) == 6
    assert [note for note in top.notes if "overrun" not in note] == []


@cache
def tiny(version: int) -> bytes:
    """Return a file of one page and one format, to be cut off everywhere."""
    pages = PageWriter(page_bytes=PAGE)
    pages.add(5, payload("kvm_entry"))
    formats = {"kvm": FORMATS["kvm"][1:]}
    buffer = BufferContent({0: pages.content()}, page_bytes=PAGE)
    return TraceDat(formats, [buffer], "<", version, page_bytes=PAGE, header_event="").content()


@pytest.mark.parametrize("version", [6, 7])
def test_a_file_cut_off_at_any_byte(version: int) -> None:
    content = tiny(version)
    for length in range(len(content)):
        survives(content[:length])


@each_form
def test_a_file_of_every_part_cut_off(version: int, compression: str, order: str) -> None:
    content = small(version, compression, order)
    for length in range(0, len(content), 97):
        survives(content[:length])


@each_form
def test_any_byte_may_be_another(version: int, compression: str, order: str) -> None:
    content = small(version, compression, order)
    chance = random.Random(version)  # noqa: S311 - the same bytes every time
    for place in range(0, len(content), 53):
        damaged = bytearray(content)
        damaged[place] ^= chance.randrange(1, 256)
        survives(bytes(damaged))


@each_form
def test_every_length_may_be_forged(version: int, compression: str, order: str) -> None:
    content = small(version, compression, order)
    numbers = cycle([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF, 1 << 40])
    for place, number in zip(range(12, len(content) - 8, 43), numbers, strict=False):
        forged = number.to_bytes(8 if number > 0xFFFFFFFF else 4, "little" if order == "<" else "big")
        survives(content[:place] + forged + content[place + len(forged) :])


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_pages_of_any_bytes(data: st.DataObject) -> None:
    order = data.draw(st.sampled_from("<>"))
    raw = data.draw(st.binary(max_size=3 * PAGE))
    head = struct.pack(f"{order}QQ", data.draw(st.integers(0, 2**64 - 1)), data.draw(st.integers(0, 2**33)))
    pages = {cpu: head + raw[:PAGE].ljust(PAGE, b"\0") + head + raw[PAGE:] for cpu in range(2)}
    version = data.draw(st.sampled_from([6, 7]))
    survives(TraceDat(FORMATS, [BufferContent(pages, page_bytes=PAGE)], order, version, page_bytes=PAGE).content())


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.binary(max_size=64)), max_size=5), st.text(max_size=300))
def test_options_and_texts_of_any_content(options: list[tuple[int, bytes]], text: str) -> None:
    pages = PageWriter(page_bytes=PAGE)
    turns(pages, 3)
    for version in (6, 7):
        given_options = [option for option in options if option[0] or version == 7]
        buffer = BufferContent({0: pages.content()}, page_bytes=PAGE)
        formats = {"kvm": [*FORMATS["kvm"], text]}
        survives(TraceDat(formats, [buffer], "<", version, page_bytes=PAGE, options=given_options).content())
        survives(TraceDat(FORMATS, [buffer], "<", version, page_bytes=PAGE, header_page=text).content())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1 << 40), st.sampled_from("epds")), max_size=80), st.sampled_from("<>"))
def test_what_is_written_is_read(steps: list[tuple[int, str]], order: str) -> None:
    pages = PageWriter(order, PAGE)
    now, times = 5, []
    for delta, what in steps:
        now += delta
        if what == "e":
            pages.add(now, payload("kvm_entry", order=order))
            times.append(now)
        elif what == "p":
            pages.extend(now)
        elif what == "d":
            pages.discard(now, 8)
            now += 1  # the kernel gives a discarded event at least 1
        else:
            pages.stamp(now)
    if not times:
        return
    (read,) = read_bytes(TraceDat(FORMATS, [BufferContent({0: pages.content()}, page_bytes=PAGE)], order).content())
    assert read.times == times
    assert read.notes == []


def test_nothing_and_text_are_no_recordings() -> None:
    magic = b"\x17\x08\x44tracing"
    for content in (
        b"",
        b"\0" * 5000,
        magic,
        magic + b"5\0",
        magic + b"6\0",
        magic + b"7\0\0\x08",
        magic + b"\xff" * 90,
    ):
        with pytest.raises(InputError):
            read_bytes(content)


def test_a_damaged_page_costs_its_own_events_and_marks_the_stretch_behind_it() -> None:
    pages = PageWriter(page_bytes=PAGE)
    turns(pages, 20)
    content = bytearray(pages.content())
    content[PAGE + 8 : PAGE + 16] = struct.pack("<Q", 244)  # the second page uses more bytes than it has
    (read,) = read_bytes(TraceDat(FORMATS, [BufferContent({0: bytes(content)}, page_bytes=PAGE)]).content())
    whole = [ts for turn in range(20) for ts in (1000 * turn + 1000, 1000 * turn + 1600)]
    lost = [ts for ts in whole if ts not in read.times]
    assert lost == whole[whole.index(lost[0]) : whole.index(lost[0]) + len(lost)]
    assert 0 < len(lost) < 20
    assert [note for note in read.notes if "expected a page of up to 240 bytes of events, found more" in note]
    before, after = whole[whole.index(lost[0]) - 1], whole[whole.index(lost[-1]) + 1]
    assert read.losses == [Loss("damage of the file", 0, 0, before, after)]


@pytest.mark.parametrize("compression", ["zlib", "zstd"])
def test_a_damaged_chunk_costs_its_own_pages(compression: str) -> None:
    pages = PageWriter(page_bytes=PAGE)
    turns(pages, 60)
    buffer = BufferContent({0: pages.content()}, page_bytes=PAGE)
    whole = TraceDat(FORMATS, [buffer], compression=compression).content()
    place = whole.index(struct.pack("<I", 3 * PAGE), len(whole) - 3000) + 60  # in the first or second chunk
    (read,) = read_bytes(whole[:place] + bytes(20) + whole[place + 20 :])
    (all_of_it,) = read_bytes(whole)
    assert 60 < len(read.events) < len(all_of_it.events)
    assert [note for note in read.notes if "3 pages are lost" in note]
    assert [loss.said_by for loss in read.losses] in (["damage of the file"], [])


def test_a_chunk_that_claims_to_be_huge_is_not_unpacked() -> None:
    pages = PageWriter(page_bytes=PAGE)
    turns(pages, 60)
    whole = TraceDat(FORMATS, [BufferContent({0: pages.content()}, page_bytes=PAGE)], compression="zstd").content()
    place = whole.index(struct.pack("<I", 3 * PAGE), len(whole) - 3000)
    (read,) = read_bytes(whole[:place] + struct.pack("<I", 0xFFFFFFF0) + whole[place + 4 :])
    assert [note for note in read.notes if "expected a chunk of at most" in note]


def test_cpus_whose_pages_are_those_of_others_are_not_read_again_and_again() -> None:
    pages = PageWriter(page_bytes=PAGE)
    turns(pages, 60)
    whole = TraceDat(FORMATS, [BufferContent(dict.fromkeys(range(50), b""), page_bytes=PAGE)]).content()
    one = TraceDat(FORMATS, [BufferContent({0: pages.content()}, page_bytes=PAGE)]).content()
    (read,) = read_bytes(one)
    events = len(read.events)
    table = struct.pack("<IQQ", 0, 0, 0)
    assert whole.count(table[4:]) > 0  # the table of CPUs is there
    forged = TraceDat(FORMATS, [BufferContent({cpu: pages.content() for cpu in range(50)}, page_bytes=PAGE)]).content()
    first = forged.index(struct.pack("<I", 49), len(forged) - 60)
    assert first > 0
    shared = bytearray(forged)
    start = forged.rindex(struct.pack("<II", PAGE, 50)) + 8
    place, size = struct.unpack_from("<QQ", forged, start + 4)
    for cpu in range(50):
        struct.pack_into("<QQ", shared, start + 20 * cpu + 4, place, size * 40)
    (read,) = read_bytes(bytes(shared))
    assert len(read.events) <= 51 * events
    assert [note for note in read.notes if "expected pages of CPU" in note]


@pytest.mark.parametrize("compression", ["zlib", "zstd"])
@pytest.mark.parametrize("place", [0, 1])
def test_a_chunk_of_nothing_is_noted_and_costs_nothing(
    compression: str, place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = PageWriter(page_bytes=PAGE)
    turns(pages, 10)
    buffer = BufferContent({0: pages.content()}, page_bytes=PAGE)

    def with_an_empty_one(sections: _Sections, content: bytes, _: int) -> list[bytes]:
        chunks = [sections._packed(content)]
        chunks.insert(place, sections._packed(b""))
        return [struct.pack("<I", 2), *chunks]

    monkeypatch.setattr(_Sections, "_chunks", with_an_empty_one)
    (read,) = read_bytes(TraceDat(FORMATS, [buffer], compression=compression).content())
    assert len(read.events) == 20
    assert [note.partition(": ")[2] for note in read.notes] == ["pages of CPU 0: expected pages in a chunk, found none"]
    assert read.losses == []


@pytest.mark.parametrize("compression", ["zlib", "zstd"])
def test_what_chunks_unpack_to_is_bounded_for_the_file(compression: str, tmp_path: Path) -> None:
    pages = PageWriter(page_bytes=1 << 20)
    turns(pages, 3)
    empty = struct.pack("<QQ", 1 << 40, 0).ljust(1 << 20, b"\0")
    content = {0: pages.content() + empty * 4, 1: empty * 4}
    path = tmp_path / "bomb.dat"
    path.write_bytes(TraceDat(FORMATS, [BufferContent(content, page_bytes=1 << 20)], compression=compression).content())
    with (
        open_source(str(path), ReadOptions(max_unpacked_bytes=8 << 20)) as source,
        pytest.raises(InputError, match=f"expected {compression} data of at most 8,388,608 bytes") as refused,
    ):
        FORMAT.read(source)
    assert refused.value.hint == "if that is no trick, raise the limit: --max-unpacked 10 (MiB)"
    with open_source(str(path), ReadOptions(max_unpacked_bytes=10 << 20)) as source:
        assert len(FORMAT.read(source)) == 1


@pytest.mark.parametrize("version", [6, 7])
def test_a_buffer_without_a_clock_of_time_costs_itself_only(version: int) -> None:
    pages = PageWriter()
    turns(pages, 3)
    good, bad = (
        BufferContent({0: pages.content()}),
        BufferContent({0: pages.content()}, name="counted", clock="counter"),
    )
    (read,) = read_bytes(TraceDat(FORMATS, [good, bad], version=version).content())
    assert len(read.events) == 6
    (note,) = read.notes
    assert note.startswith("buffers: the instance 'counted' is not read: expected a clock that counts time")
    good.clock = "counter"
    with pytest.raises(InputError, match="expected a clock that counts time, found ticks of counter") as refused:
        read_bytes(TraceDat(FORMATS, [good, bad], version=version).content())
    assert refused.value.hint is not None
    assert len(read_bytes(TraceDat(FORMATS, [good, bad], version=version).content(), clock_hz=1_000)) == 2
