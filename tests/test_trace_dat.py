"""trace.dat that tests make up: every form of file, page and event that the grammar has."""

from __future__ import annotations

import struct
from functools import cache
from typing import TYPE_CHECKING

import pytest
from trace_dat_made import FORMATS, Read, payload, read_bytes, turns
from trace_dat_pages import PageWriter

from kvmtrace.errors import InputError
from kvmtrace.formats.trace_dat import FORMAT
from kvmtrace.recording import Loss
from kvmtrace.writers.trace_dat_file import (
    CPUCOUNT,
    CPUSTAT,
    DATE,
    GUEST,
    INTERPOLATE,
    OFFSET,
    TRACEID,
    TSC2NSEC,
    UNAME,
    VERSION,
    BufferContent,
    TraceDat,
    time_shift,
)

if TYPE_CHECKING:
    from collections.abc import Callable

FORMS = [(6, "none"), (7, "none"), (7, "zlib"), (7, "zstd")]
each_form = pytest.mark.parametrize(("version", "compression"), FORMS)
each_order = pytest.mark.parametrize("order", ["<", ">"])


def one(pages: PageWriter, **settings: object) -> Read:
    """Return what is read of a file of one CPU, with its clock's rate where the settings tell it."""
    clock_hz = settings.pop("clock_hz", None)
    clock = settings.pop("clock", "local")
    assert isinstance(clock, str)
    buffer = BufferContent({0: pages.content()}, clock=clock, page_bytes=pages.page_bytes)
    settings = {"commit_bytes": pages.commit_bytes, "order": pages.order} | settings
    (read,) = read_bytes(TraceDat(FORMATS, [buffer], **settings).content(), clock_hz=clock_hz)  # type: ignore[arg-type]
    return read


@cache
def some_pages(order: str, page_bytes: int, commit_bytes: int, count: int) -> PageWriter:
    pages = PageWriter(order, page_bytes, commit_bytes)
    turns(pages, count)
    return pages


@each_form
@each_order
@pytest.mark.parametrize("page_bytes", [4096, 65536, 1 << 17])
@pytest.mark.parametrize("commit_bytes", [4, 8])
def test_every_event_of_every_form_is_read(
    version: int, compression: str, order: str, page_bytes: int, commit_bytes: int
) -> None:
    count = page_bytes // 40  # of 52 bytes each: more than a page
    pages = some_pages(order, page_bytes, commit_bytes, count)
    read = one(pages, version=version, compression=compression, threads={7: "CPU 0/KVM"})
    assert len(pages.pages) > 1
    exits = [event for event in read.events if event[3] == "kvm_exit"]
    assert [event[0] for event in exits] == [1000 + 1000 * turn for turn in range(count)]
    assert [event[4]["guest_rip"] for event in exits] == [1 << 40 | turn for turn in range(count)]
    assert [event[4]["exit_reason"] for event in exits] == [turn % 99 for turn in range(count)]
    assert {event[2] for event in read.events} == {7}
    assert read.recording.facts.records == {"pages": len(pages.pages), "events": 2 * count}
    assert read.recording.facts.threads == {(-1, 7): "CPU 0/KVM"}
    assert read.notes == []


def test_a_page_of_the_machine_is_smaller_than_a_sub_buffer() -> None:
    pages = PageWriter(page_bytes=16384)
    turns(pages, 500)
    for version in (6, 7):
        assert len(one(pages, version=version, page_bytes=4096).events) == 1000


def test_what_header_page_says_of_commit_holds_and_not_the_size_of_long() -> None:
    pages = PageWriter(commit_bytes=4)
    turns(pages, 100)
    assert len(one(pages, long_bytes=8).events) == 200


@pytest.mark.parametrize("how", ["extend", "absolute"])
@each_order
def test_long_times_are_told_by_extends_and_by_absolute_stamps(how: str, order: str) -> None:
    pages = PageWriter(order)
    pages.absolute = how == "absolute"
    start = (5 << 59) + 1234  # the stamps have 59 bits: the top ones are those of the page
    times = [start, start + 1, start + (1 << 27), start + (1 << 27) + 9, start + (1 << 45), start + (1 << 58)]
    for ts in times:
        pages.add(ts, payload("kvm_entry", order=order))
    read = one(pages, clock="x86-tsc", clock_hz=10_000_000_000)
    assert read.times == [ts // 10 for ts in times]
    assert set(read.recording.facts.records) == {"pages", "events", f"time {'stamps' if pages.absolute else 'extends'}"}


def test_an_absolute_stamp_carries_into_its_top_bits() -> None:
    pages = PageWriter()
    pages.absolute = True
    times = [(1 << 59) - 5, (1 << 59) + (1 << 30)]
    for ts in times:
        pages.add(ts, payload("kvm_entry"))
    assert one(pages).times == times


def test_a_discarded_event_is_gone_and_its_time_counts() -> None:
    # libtraceevent adds the delta of padding (kbuffer-parse.c, update_pointers), so trace-cmd shows these times.
    pages = PageWriter()
    pages.add(1000, payload("kvm_entry"))
    pages.discard(1500, 40)
    pages.discard(1500, 8)
    pages.add(1600, payload("kvm_entry"))
    read = one(pages)
    assert read.times == [1000, 1600]
    assert read.recording.facts.records["discarded events and padding"] == 2


def test_padding_without_a_time_ends_its_page() -> None:
    pages = PageWriter()
    pages.add(1000, payload("kvm_entry"))
    pages.raw(1000, struct.pack("<III", 29, 4, 3) + payload("kvm_entry"))  # what looks like an event behind it is none
    pages.flush()
    pages.add(2000, payload("kvm_entry"))
    read = one(pages)
    assert read.times == [1000, 2000]
    assert read.notes == []


def test_an_event_of_more_than_28_words_states_its_length() -> None:
    text = "a long story " * 20
    pages = PageWriter()
    pages.add(10, payload("said", text=text, numbers=[1, 2, 3]))
    pages.add(20, payload("kvm_entry"), long=True)
    pages.add(30, payload("said", text="so", numbers=[7]))
    read = one(pages)
    assert [event[4].get("text") for event in read.events] == [text, None, "so"]
    assert [event[4].get("numbers") for event in read.events] == [[1, 2, 3], None, [7]]


def test_missed_events_are_losses_between_the_events_around_them() -> None:
    pages = PageWriter()
    pages.missed(3)  # before the first page nothing is known
    turns(pages, 2, start=1000)
    pages.missed(17)
    turns(pages, 1, start=9000)
    pages.missed(None)
    turns(pages, 1, start=20_000)
    assert one(pages).losses == [
        Loss("missed events", 3, 0, None, 1000),
        Loss("missed events", 17, 0, 2600, 9000),
        Loss("missed events, not counted", 0, 0, 9600, 20_000),
    ]


@each_order
@pytest.mark.parametrize("commit_bytes", [4, 8])
def test_a_missed_count_is_as_long_as_the_commit_field(order: str, commit_bytes: int) -> None:
    pages = PageWriter(order, commit_bytes=commit_bytes)
    turns(pages, 1)
    pages.missed(0x12345)
    turns(pages, 1, start=5000)
    assert [loss.events for loss in one(pages).losses] == [0x12345]


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a batch hold four pages."""
    monkeypatch.setattr("kvmtrace.formats.trace_dat.survey._LEAST_BATCH_BYTES", 1 << 14)
    monkeypatch.setattr("kvmtrace.formats.trace_dat.survey._GOOD_WIDTH", 1)


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("where", ["within a page", "from page to page"])
def test_time_may_go_back_and_no_watermark_is_broken(where: str) -> None:
    pages, other = PageWriter(), PageWriter()
    turns(pages, 100, start=1 << 40)
    if where == "within a page":
        pages.stamp(1 << 30)
    else:
        turns(pages, 1500, start=1 << 40)
        pages.flush()
    turns(pages, 5, start=1 << 30)
    turns(other, 3000, start=1 << 29, step=1 << 27)
    buffer = BufferContent({0: pages.content(), 3: other.content()})
    (read,) = read_bytes(TraceDat(FORMATS, [buffer]).content())  # `Read.add` holds the watermarks to their promise
    assert len(read.watermarks) > 1
    assert min(event[0] for event in read.by_cpu(0)) == 1 << 30
    assert len(read.events) == 2 * (3105 if where == "within a page" else 4605)


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("what", ["missed", "damage"])
def test_no_pair_is_settled_before_a_hole_on_its_cpu_is_told(what: str) -> None:
    # Blocks of CPU 1 must not let times be settled in which events of CPU 0 are missing, before that is told.
    first, second = PageWriter(), PageWriter()
    while len(first.pages) < 31:
        turns(first, 1, start=1000 * (len(first.pages) + 1))
    last = 1000 * 32 + 600
    first.add(last, payload("kvm_entry"))
    if what == "missed":
        first.missed(5)
        expected = Loss("missed events", 5, 0, last, 900_000_000)
    else:
        first.raw(last, bytes(8))  # an event whose length is 0
        first.flush()
        expected = Loss("damage of the file", 0, 0, last, 900_000_000)
    turns(first, 1, start=900_000_000)
    turns(second, 3000, start=1000, step=1_000_000)
    buffer = BufferContent({1: second.content(), 0: first.content()})
    (read,) = read_bytes(TraceDat(FORMATS, [buffer]).content())
    assert read.losses == [expected]
    assert read.losses_from is not None
    assert read.losses_from > 0
    assert all(watermark < last for watermark in read.watermarks[: read.losses_from])


@each_form
def test_each_instance_is_a_recording_with_its_own_name_and_clock(version: int, compression: str) -> None:
    top, guest = PageWriter(), PageWriter()
    turns(top, 30)
    turns(guest, 40, start=5, tid=9)
    buffers = [
        BufferContent({0: top.content()}),
        BufferContent({}, name="empty"),
        BufferContent({2: guest.content()}, name="second", clock="mono"),
    ]
    file = TraceDat(FORMATS, buffers, version=version, compression=compression)
    first, second = read_bytes(file.content())
    assert [read.recording.facts.part for read in (first, second)] == [None, "second"]
    assert [read.recording.facts.clock for read in (first, second)] == ["local", "mono"]
    assert len(first.events) == 60
    assert len(second.events) == 80
    assert {event[1] for event in second.events} == {2}
    assert [note for note in first.notes if "empty" in note] == ["buffers: the instance 'empty' holds no events"]
    assert second.notes == []


@each_form
def test_the_text_of_a_latency_tracer_is_named_and_not_read(version: int, compression: str) -> None:
    pages = PageWriter()
    turns(pages, 3)
    latency = BufferContent({}, name="wakeup", text="# tracer: wakeup\n")
    file = TraceDat(FORMATS, [BufferContent({0: pages.content()}), latency], version=version, compression=compression)
    (read,) = read_bytes(file.content())
    assert read.notes == ["buffers: the instance 'wakeup' holds the text of a latency tracer, which is not read"]
    alone = TraceDat(FORMATS, [BufferContent({}, text="# tracer: irqsoff\n")], version=version)
    with pytest.raises(InputError, match="found the text of a latency tracer"):
        read_bytes(alone.content())


def test_only_tracepoints_that_fired_are_kinds() -> None:
    pages = PageWriter()
    pages.add(5, payload("kvm_entry"))
    read = one(pages)
    assert [(kind.system, kind.name) for kind in read.recording.facts.events] == [("kvm", "kvm_entry")]
    assert read.recording.facts.samples == {0: 1}
    assert not read.recording.facts.tells_enabled


def test_events_without_a_format_are_counted() -> None:
    pages = PageWriter()
    turns(pages, 2)
    pages.add(9000, struct.pack("<HBBi", 99, 0, 0, 7))
    read = one(pages)
    assert read.recording.facts.not_stored == {"events of tracepoint 99: the file has no format of it": 1}
    assert len(read.events) == 4


def test_a_record_that_is_too_short_is_noted() -> None:
    pages = PageWriter()
    turns(pages, 1)
    pages.add(9000, payload("kvm_exit")[:24])
    read = one(pages)
    assert len(read.events) == 2
    assert [(note.events, note.what) for note in read.recording.notes.kept] == [
        (1, "in this page and behind it: expected a kvm_exit of 32 bytes, found 24")
    ]


def test_facts_of_the_machine_and_the_recorder() -> None:
    pages = PageWriter()
    turns(pages, 1)
    statistics = b"CPU: 0\nentries: 5\noverrun: 12\ncommit overrun: 0\ndropped events: 3\nread events: 9\n\0"
    options = [
        (UNAME, b"Linux host1 6.1.0-56-amd64 x86_64\0"),
        (VERSION, b"3.1.6 not-a-git-repo\0"),
        (CPUCOUNT, struct.pack("<I", 8)),
        (CPUSTAT, statistics),
        (DATE, b"0x5f5e100\0"),
        (77, b"?"),
    ]
    read = one(pages, options=options)
    facts = read.recording.facts
    assert facts.host == {"cpus_present": 8, "hostname": "host1", "kernel": "6.1.0-56-amd64", "arch": "x86_64"}
    assert facts.tool == {"version": "trace-cmd 3.1.6 not-a-git-repo"}
    assert facts.start == "1970-01-01T00:01:40.000001+00:00"
    assert not facts.has_processes
    assert read.recording.notes.kept[0].what == "the kernel counted on CPU 0: overrun 12, dropped events 3"
    assert read.recording.notes.kept[1].what == "option 77 is not known: its 1 bytes are not read"


def test_a_session_tells_its_guests_and_the_threads_of_their_vcpus() -> None:
    pages = PageWriter()
    turns(pages, 1)
    guest = b"vm1\0" + struct.pack("<QIIIII", 0xFEED, 2, 0, 4711, 1, 4712)
    facts = one(pages, options=[(TRACEID, struct.pack("<Q", 0xABC)), (GUEST, guest)]).recording.facts
    assert facts.vcpu_threads == {4711: ("vm1", 0), 4712: ("vm1", 1)}
    assert facts.session == {
        "trace_id": "0xabc",
        "guests": [{"name": "vm1", "trace_id": "0xfeed", "vcpus": {"0": 4711, "1": 4712}}],
    }


SHIFTS = [
    pytest.param(0, [(100, 50, 1, 0)], lambda ts: ts + 50, id="one-sample"),
    pytest.param(0, [(100, -50, 1, 0), (1500, 7, 1, 0)], lambda ts: ts - 50, id="two-samples-take-the-first"),
    pytest.param(
        0,
        [(100, 5, 1, 0), (1500, 7, 1, 0), (1700, 9, 1, 0)],
        lambda ts: ts + (5 if ts < 1500 else 7),
        id="three-samples-the-last-is-never-taken",
    ),
    pytest.param(
        INTERPOLATE,
        [(1000, 100, 1, 0), (2000, 200, 1, 0)],
        lambda ts: ts + 100 + ((ts - 1000) * 100 + 500) // 1000,
        id="interpolated",
    ),
    pytest.param(0, [(0, 0, 3, 1), (9, 0, 3, 1)], lambda ts: ts * 3 >> 1, id="scaled"),
    pytest.param(0, [(0, 0, 3 << 47, 48), (9, 0, 3 << 47, 48)], lambda ts: ts * 3 >> 1, id="scaled-by-48-bits"),
]


@pytest.mark.parametrize(("flags", "samples", "expected"), SHIFTS)
def test_a_guests_times_are_those_of_its_host(
    flags: int, samples: list[tuple[int, int, int, int]], expected: Callable[[int], int]
) -> None:
    pages = PageWriter()
    turns(pages, 3)
    read = one(pages, options=[time_shift(flags, samples)])
    own = [ts for turn in range(3) for ts in (1000 + 1000 * turn, 1600 + 1000 * turn)]
    assert read.times == [expected(ts) for ts in own]
    assert read.recording.facts.session["peer_trace_id"] == "0xbeef"


def test_a_cpu_beyond_the_corrections_keeps_its_times() -> None:
    first, second = PageWriter(), PageWriter()
    turns(first, 1)
    turns(second, 1)
    buffer = BufferContent({0: first.content(), 1: second.content()})
    (read,) = read_bytes(TraceDat(FORMATS, [buffer], options=[time_shift(0, [(0, 9, 1, 0)])]).content())
    assert [event[0] for event in read.by_cpu(0)] == [1009, 1609]
    assert [event[0] for event in read.by_cpu(1)] == [1000, 1600]


def test_the_tsc_becomes_ns_by_what_the_file_says_after_the_hosts_correction() -> None:
    pages = PageWriter()
    turns(pages, 2, start=1 << 50)
    mult, shift = 3_000_000_001, 33
    options = [(TSC2NSEC, struct.pack("<IIQ", mult, shift, 77)), time_shift(0, [(0, 1000, 1, 0)])]
    read = one(pages, clock="x86-tsc", options=options)
    ticks = [(1 << 50) + offset for offset in (0, 600, 1000, 1600)]
    assert read.times == [(ts + 1000) * mult >> shift for ts in ticks]
    assert read.recording.facts.session["tsc2nsec"] == {"mult": mult, "shift": shift, "offset": 77}


@pytest.mark.parametrize("clock", ["x86-tsc", "ppc-tb", "counter"])
def test_ticks_need_a_unit(clock: str) -> None:
    pages = PageWriter()
    turns(pages, 2, start=1 << 40)
    with pytest.raises(InputError, match=f"found ticks of {clock}, and nothing says how many make a second") as error:
        one(pages, clock=clock)
    assert error.value.hint
    hz = 2_596_111_000
    ticks = [(1 << 40) + offset for offset in (0, 600, 1000, 1600)]
    assert one(pages, clock=clock, clock_hz=hz).times == [ts * 10**9 // hz for ts in ticks]


def test_a_clock_of_ns_takes_no_rate() -> None:
    pages = PageWriter()
    turns(pages, 1)
    read = one(pages, options=[(TSC2NSEC, struct.pack("<IIQ", 5, 1, 0))], clock_hz=1000)
    assert read.times == [1000, 1600]
    assert read.notes == ["option TSC2NSEC: the clock local counts no ticks of a TSC: its times stand as they are"]


@pytest.mark.parametrize(("kernel", "factor"), [("6.1.0", 10_000_000), ("3.10.0", 1)])
def test_uptime_counts_hundredths_of_a_second(kernel: str, factor: int) -> None:
    # trace-cmd takes it for ns; since Linux 3.16 trace_clock_jiffies gives ticks of USER_HZ, and says: not in ns.
    pages = PageWriter()
    turns(pages, 1)
    read = one(pages, clock="uptime", options=[(UNAME, f"Linux h {kernel} x86_64\0".encode())])
    assert read.times == [1000 * factor, 1600 * factor]


def test_an_offset_is_added_to_every_time() -> None:
    pages = PageWriter()
    turns(pages, 1)
    assert one(pages, options=[(OFFSET, b"5000\0")]).times == [6000, 6600]


def test_times_that_no_clock_shows_are_noted() -> None:
    pages = PageWriter()
    turns(pages, 1)
    pages.flush()
    pages.add((1 << 63) + 5, payload("kvm_entry"))
    read = one(pages)
    assert read.times == [1000, 1600]
    assert read.recording.notes.events == 1


def test_a_file_without_options_has_no_clock() -> None:
    pages = PageWriter()
    turns(pages, 1)
    read = one(pages, version=6, with_clock=False)
    assert read.recording.facts.clock is None
    assert read.times == [1000, 1600]


@pytest.mark.usefixtures("small_batches")
@each_form
def test_blocks_follow_time_over_many_cpus(version: int, compression: str) -> None:
    cpus: dict[int, bytes] = {}
    for cpu in range(6):
        pages = PageWriter()
        turns(pages, 2000, start=1000 + cpu, tid=100 + cpu)
        cpus[cpu] = pages.content()
    file = TraceDat(FORMATS, [BufferContent(cpus)], version=version, compression=compression)
    (read,) = read_bytes(file.content())
    assert len(read.events) == 6 * 4000
    assert len(read.watermarks) > 20
    assert read.watermarks == sorted(read.watermarks)
    late = [event[0] - max(watermark, 1000) for event, watermark in zip(read.events, read.settled, strict=True)]
    assert max(late) < 1_500_000  # blocks of all CPUs move on together: of 2_000_000 in all


def test_an_old_ring_buffer_is_refused() -> None:
    pages = PageWriter()
    turns(pages, 1)
    with pytest.raises(InputError, match=r"expected the ring buffer of Linux 2\.6\.31 or newer"):
        one(pages, header_event="\ttype        :    2 bits\n\tlen         :    3 bits\n\ttime_delta  :   27 bits\n")


def test_it_is_known_by_its_first_bytes() -> None:
    pages = PageWriter()
    turns(pages, 1)
    content = TraceDat(FORMATS, [BufferContent({0: pages.content()})]).content()
    assert FORMAT.recognises(content[:4096])
    assert not FORMAT.recognises(b"PERFILE2" + content)


def test_of_a_file_that_is_cut_off_what_is_there_is_read() -> None:
    # In version 7 the table of the CPUs stands behind their pages, so what is cut off takes all pages with it.
    pages = PageWriter()
    turns(pages, 600)
    buffer = BufferContent({0: pages.content(), 1: pages.content()})
    (read,) = read_bytes(TraceDat(FORMATS, [buffer], version=6).content()[:-8192])
    assert len(read.by_cpu(0)) == 1200
    assert 900 < len(read.by_cpu(1)) < 1200
    assert [note for note in read.notes if "the file ends 8192 bytes before the pages of CPU 1 do" in note]


@pytest.mark.usefixtures("small_batches")
def test_no_pair_is_settled_before_damage_on_its_cpu_is_told() -> None:
    first, second = PageWriter(page_bytes=256), PageWriter(page_bytes=256)
    turns(first, 12, start=1000, step=100_000)
    turns(second, 1200, start=1000)
    damaged = bytearray(first.content())
    damaged[16:20] = struct.pack("<I", 5)  # the first event of the first page does not end well
    damaged[20 : 20 + 40] = bytes(40)
    buffer = BufferContent({1: second.content(), 0: bytes(damaged)}, page_bytes=256)
    (read,) = read_bytes(TraceDat(FORMATS, [buffer], page_bytes=256).content())
    (loss,) = read.losses
    assert (loss.said_by, loss.events, loss.cpu, loss.until_ns) == ("damage of the file", 0, 0, 401_000)
    assert len(read.watermarks) > 2
    assert all(watermark < 1600 for watermark in read.watermarks[: read.losses_from])
