"""Long pages that are walked by themselves: the same events as side by side, in time and memory that follow the bytes.

Large sub-buffers are those of `trace-cmd record --subbuf-size`, up to 128 pages of the machine.
"""

from __future__ import annotations

import struct
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trace_dat_made import FORMATS, payload, read_bytes, turns
from trace_dat_pages import PADDING, TIME_EXTEND, TIME_STAMP, PageWriter

from kvmtrace.errors import InputError
from kvmtrace.formats.trace_dat import ring_buffer
from kvmtrace.formats.trace_dat.page_headers import PageLayout, read_headers
from kvmtrace.formats.trace_dat.survey import native_words
from kvmtrace.writers.trace_dat_file import BufferContent, TraceDat

PAGE = 1024


def walked(raw: bytes, order: str, *, timed: bool, alone: bool) -> dict[str, Any]:
    """Return all that a walk through pages finds, one after another or side by side."""
    narrow, long_words = ring_buffer._NARROW, ring_buffer._LONG_WORDS
    try:
        ring_buffer._NARROW, ring_buffer._LONG_WORDS = (1 << 30, 0) if alone else (0, 0)
        layout = PageLayout(order, PAGE, 8, 16)
        pages = np.frombuffer(raw, np.uint8).reshape(-1, PAGE)
        headers = read_headers(pages, layout)
        walk = ring_buffer.Walk(native_words(pages, order), PAGE // 4, layout, headers.stamp.copy(), timed=timed)
        walk.run(headers)
    finally:
        ring_buffer._NARROW, ring_buffer._LONG_WORDS = narrow, long_words
    events = walk.events()
    found = {name: getattr(events, name).tolist() for name in ("word", "size", "page", "ticks", "id")}
    if not timed:
        del found["ticks"]
    damage = sorted((damage.page, damage.byte, damage.what) for damage in walk.damage)
    return {**found, "damage": damage, "counts": walk.counts, "lowest": walk.lowest.tolist(), "ids": sorted(walk.ids())}


@st.composite
def events(draw: st.DrawFn) -> bytes:
    """Draw the words of a page: whole events for the most part, of every kind."""
    order = draw(st.sampled_from("<>"))
    words: list[int] = []
    for _ in range(draw(st.integers(0, 40))):
        kind = draw(st.sampled_from([*range(1, 5), 28, 0, PADDING, TIME_EXTEND, TIME_STAMP, TIME_STAMP]))
        delta = draw(st.sampled_from([0, 1, 5, (1 << 27) - 1]))
        second = draw(st.sampled_from([0, 4, 8, 13, 40, 1 << 31, (1 << 32) - 1]))
        more = {0: (second + 3) // 4 if second < 64 else 1, PADDING: (second + 3) // 4 if second < 64 else 1}
        length = more.get(kind, 1 if kind in (TIME_EXTEND, TIME_STAMP) else kind)
        words += [delta << 5 | kind if order == "<" else kind << 27 | delta, second, *range(2, 1 + length)]
    words = words[: (PAGE - 16) // 4]
    used = draw(st.sampled_from([4 * len(words), 4 * len(words) - 2, PAGE - 16]))
    stamp = draw(st.sampled_from([0, 7, (1 << 59) - 1, 1 << 59, (1 << 64) - 1]))
    head = struct.pack(f"{order}QQ", stamp, max(used, 0))
    return order.encode() + (head + struct.pack(f"{order}{len(words)}I", *words)).ljust(PAGE, b"\0")


@settings(max_examples=200, deadline=None)
@given(st.lists(events(), min_size=1, max_size=3), st.booleans())
def test_one_after_another_gives_what_side_by_side_gives(drawn: list[bytes], timed: bool) -> None:
    order = chr(drawn[0][0])
    raw = b"".join(page[1:] for page in drawn)
    assert walked(raw, order, timed=timed, alone=True) == walked(raw, order, timed=timed, alone=False)


def test_a_long_page_of_every_kind_is_read_as_written() -> None:
    pages = PageWriter(page_bytes=1 << 17)
    times = []
    for turn in range(2_000):
        ts = (1 << 61) + 1_000 * turn  # the top bits are those of the time before
        if turn % 7 == 3:
            pages.stamp(ts)
        if turn % 11 == 5:
            pages.discard(ts, 16)
            ts += 1
        pages.add(ts, payload("kvm_entry"), long=turn % 5 == 0)
        times.append(ts)
    (read,) = read_bytes(TraceDat(FORMATS, [BufferContent({0: pages.content()}, page_bytes=1 << 17)]).content())
    assert len(pages.pages) == 1
    assert [event[0] for event in read.events] == times
    assert read.notes == []


def long_page(page_bytes: int) -> bytes:
    """Return a page full of the smallest events."""
    event = struct.pack("<II", 1 << 5 | 1, 12)
    number = (page_bytes - 16) // len(event)
    return (struct.pack("<QQ", 1_000, number * len(event)) + event * number).ljust(page_bytes, b"\0")


def test_memory_follows_the_bytes_of_a_long_page() -> None:
    page = long_page(1 << 20)
    layout = PageLayout("<", len(page), 8, 16)
    raw = np.frombuffer(page, np.uint8).reshape(1, -1)
    headers = read_headers(raw, layout)
    tracemalloc.start()
    walk = ring_buffer.Walk(native_words(raw, "<"), len(page) // 4, layout, headers.stamp.copy())
    walk.run(headers)
    assert len(walk.events().page) == (len(page) - 16) // 8
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 32 * len(page)


def test_pages_that_no_kernel_makes_are_not_read() -> None:
    pages = PageWriter(page_bytes=1 << 24)
    turns(pages, 3)
    content = TraceDat(FORMATS, [BufferContent({0: pages.content()}, page_bytes=1 << 24)]).content()
    with pytest.raises(InputError, match="expected pages of 64 to 8388608 bytes, found 16777216"):
        read_bytes(content)
