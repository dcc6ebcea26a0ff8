"""Events as text, against the same events as perf.data has them, and against what is written here."""

from __future__ import annotations

import contextlib
import gzip
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ingested import read_table
from perf_oracle import SHARED

from kvmtrace.errors import InputError
from kvmtrace.formats.event_text import FTRACE, PERF_SCRIPT, TRACE_CMD_REPORT
from kvmtrace.formats.event_text.columns import Spans
from kvmtrace.formats.event_text.lines import LONGEST_LINE
from kvmtrace.formats.event_text.plans import Plan, Verdict
from kvmtrace.formats.event_text.reader import TextRecording
from kvmtrace.formats.event_text.recognise import grammar_of
from kvmtrace.formats.event_text.templates import Template, parse_template
from kvmtrace.formats.event_text.variants import Variant
from kvmtrace.formats.event_text.words import PAD
from kvmtrace.formats.perf_data.reader import PerfDataRecording
from kvmtrace.formats.source import ReadOptions, open_source
from kvmtrace.ingesting import ingest
from kvmtrace.store.label import Label
from kvmtrace.tracepoints.records import stored_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmtrace.recording import Facts, Loss, Note, Recording

FORMATS = {format_.name: format_ for format_ in (FTRACE, TRACE_CMD_REPORT, PERF_SCRIPT)}


@dataclass
class Read:
    """What a text gave."""

    facts: Facts
    rows: list[dict[str, Any]]  # one an event, in order
    losses: list[Loss]
    notes: list[Note]
    threads: dict[tuple[int, int], str]

    def of(self, name: str) -> list[dict[str, Any]]:
        return [row for row in self.rows if row["event"] == name]


def read_all(content: bytes, grammar: str, *, clock_hz: int | None = None) -> list[Read]:
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(content)
        with open_source(file.name, ReadOptions(clock_hz=clock_hz)) as source:
            recordings: Sequence[Any] = FORMATS[grammar].read(source)
            return [read_one(recording) for recording in recordings]


def read_one(recording: Recording, counted: str = "EVENT") -> Read:
    events = list(recording.facts.events)
    rows: list[dict[str, Any]] = []
    losses: list[Loss] = []
    threads: dict[tuple[int, int], str] = {}
    newest = None
    for block in recording.blocks():
        if newest is not None and len(block.ts_ns):
            assert int(block.ts_ns.min()) > newest
        newest = block.watermark_ns
        losses.extend(block.losses)
        threads.update(block.threads)
        first = len(rows)
        rows.extend(
            {"ts_ns": ts, "cpu": cpu, "pid": pid, "tid": tid, "event": f"{events[k].system}:{events[k].name}"}
            for ts, cpu, pid, tid, k in zip(
                *(getattr(block, name).tolist() for name in ("ts_ns", "cpu", "pid", "tid", "kind")), strict=True
            )
        )
        assert sum(map(len, block.rows.values())) == len(block.ts_ns)
        for kind, fields in block.fields.items():
            assert (block.kind[block.rows[kind]] == kind).all()
            columns = fields.arrow()
            for name in events[kind].format.integer_fields:
                assert fields.column(name).tolist() == [int(value) for value in columns[stored_name(name)].to_pylist()]
            for name, column in columns.items():
                column.validate(full=True)
                for row, value in zip(block.rows[kind].tolist(), column.to_pylist(), strict=True):
                    rows[first + row][name] = value
    facts, notes = recording.facts, recording.notes
    assert facts.events == events
    assert facts.records.get(counted, 0) == len(rows) + notes.events + sum(facts.not_stored.values())
    return Read(facts, rows, losses, notes.told(), threads)


def read_text(text: str, grammar: str | None = None, *, clock_hz: int | None = None) -> Read:
    content = text.encode()
    found = grammar_of(content)
    assert found is not None
    assert grammar in (None, found)
    (one,) = read_all(content, found, clock_hz=clock_hz)
    return one


def survives(content: bytes) -> None:
    """Read what may be anything; every exception but InputError is a bug."""
    for grammar in FORMATS:
        with contextlib.suppress(InputError):
            read_all(content, grammar)


PERF = """\
       CPU 1/KVM  8261 [000]  1258.198009:                      kvm:kvm_entry: vcpu 1, rip 0xffffffff816c2255
       CPU 1/KVM  8261 [000]  1258.198043:                       kvm:kvm_exit: vcpu 1 reason io rip 0xffffffff816c2254 \
info1 0x0000000003f80011 info2 0xffffffff816c2255 intr_info 0x00000000 error_code 0x00000000
 qemu-system-x86  6665 [001]  1258.199000:                    kvm:kvm_set_irq: gsi 4 level 0 source 0
"""
"""The default form of perf script."""


def test_perf_script() -> None:
    read = read_text(PERF, "perf-script")
    entry, exit_, irq = read.rows
    assert entry == {"ts_ns": 1258198009000, "cpu": 0, "pid": -1, "tid": 8261, "event": "kvm:kvm_entry", "vcpu_id": 1,
                     "rip": 0xFFFFFFFF816C2255, "immediate_exit": False}  # fmt: skip
    assert (exit_["exit_reason"], exit_["isa"], exit_["info1"]) == (0x7B, 2, 0x3F80011)
    assert (irq["gsi"], irq["level"], irq["tid"], irq["cpu"]) == (4, 0, 6665, 1)
    assert read.threads == {(-1, 8261): "CPU 1/KVM", (-1, 6665): "qemu-system-x86"}
    assert not read.facts.has_processes
    assert not read.notes


FORMS = {
    "ns and pid": ("perf-script", " CPU 0/KVM  12579/12592 [003]  1981.595527276: kvm:kvm_entry: vcpu 1", 3, 12579),
    "period": ("perf-script", "  vmm   143/145   [003]  1981.595527276:          1      kvm:kvm_entry: vcpu 1", 3, 143),
    "no cpu": ("perf-script", " fc_vcpu 1  599500  1981.595527276: kvm:kvm_entry: vcpu 1", -1, -1),
    "no task": ("perf-script", "1981.595527276: kvm:kvm_entry: vcpu 1", -1, -1),
    "no comm": ("perf-script", "  599500 [003] 1981.595527276: kvm:kvm_entry: vcpu 1", 3, -1),
    "misc": ("perf-script", " CPU 0/KVM 12 [003] K 1981.595527276: kvm:kvm_entry: vcpu 1", 3, -1),
    "vm": ("perf-script", "VM:  123 VCPU:001    CPU 0/KVM 12 [003] 1981.595527276: kvm:kvm_entry: vcpu 1", 3, -1),
    "unknown comm": ("perf-script", "          :11125 11125 [003]  1981.595527276: kvm:kvm_entry: vcpu 1", 3, -1),
    "2.6.32": ("ftrace", "        qemu-kvm-4131  [003]  1981.595527: kvm_entry: vcpu 1", 3, -1),
    "4 flags": ("ftrace", "        qemu-kvm-4131  [003] d..2  1981.595527: kvm_entry: vcpu 1", 3, -1),
    "5 flags": ("ftrace", "       CPU 1/KVM-5818    [003] d..1.   1981.595527: kvm_entry: vcpu 1", 3, -1),
    "tgid": ("ftrace", "   CPU 1/KVM-6435    (   6426) [003] d..1.   1981.595527: kvm_entry: vcpu 1", 3, 6426),
    "no tgid": ("ftrace", "   CPU 1/KVM-6435    (-------) [003] d..1.   1981.595527: kvm_entry: vcpu 1", 3, -1),
    "brackets": ("ftrace", "    a-1 [7] b-c-6435    [003] d..1.   1981.595527: kvm_entry: vcpu 1", 3, -1),
    "latency": ("ftrace", "CPU 1/KV-5818      3d..1. 1981595527us!: kvm_entry: vcpu 1", 3, -1),
    "dmesg": ("ftrace", "[   12.345678] CPU 1/KV-5818      3d..1. 1981595527us : kvm_entry: vcpu 1", 3, -1),
    "trace-cmd": ("trace-cmd-report", "   CPU 1/KVM-7040  [003]  1981.595527: kvm_entry:             vcpu 1", 3, -1),
    "instance": ("trace-cmd-report", "guest:   CPU 1/KVM-7040  [003]  1981.595527: kvm_entry:     vcpu 1", 3, -1),
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_of_a_line(form: str) -> None:
    grammar, line, cpu, pid = FORMS[form]
    for text in (line, f"{line}\n", f"{line}\r\n{line} \t \r\n", f"{line}\n" * 40):
        read = read_text(text, grammar)
        for row in read.rows:
            ns = 276 if "527276" in line else 0
            assert (row["ts_ns"], row["cpu"], row["pid"]) == (1981595527000 + ns, cpu, pid)
            assert (row["event"], row["vcpu_id"]) == ("kvm:kvm_entry", 1)


CALL_CHAINS = """\
       CPU 1/KVM  8261 [000]  1258.198009:                      kvm:kvm_entry: vcpu 1, rip 0xffffffff816c2255
\tffffffff81041b5f vmx_vcpu_run+0x38f:kvm ([kvm_intel])
        ffffffff8100cafe vcpu_enter_guest+0x3: ([kvm])

       CPU 1/KVM  8261 [000]  1258.198109:                      kvm:kvm_entry: vcpu 1, rip 0xffffffff816c2255
\tffffffff81041b5f vmx_vcpu_run+0x38f:kvm ([kvm_intel])
"""


def test_call_chains_are_no_events() -> None:
    read = read_text(CALL_CHAINS, "perf-script")
    assert [row["event"] for row in read.rows] == ["kvm:kvm_entry"] * 2
    assert read.notes == []


def test_records_of_perf_are_no_events_and_tell_no_time() -> None:
    comm = "            perf  8200 [000]     0.000000: PERF_RECORD_COMM: perf:8200/8200\n"
    read = read_text(comm + PERF, "perf-script")
    assert len(read.rows) == 3
    assert read.notes == []
    assert read.facts.records == {"EVENT": 3, "OTHER": 1}


@pytest.mark.parametrize(("digits", "step_ns"), [("198009", 1000), ("198009000", 1)])
def test_the_step_of_times_is_told(digits: str, step_ns: int) -> None:
    read = read_text(PERF.splitlines()[0].replace("198009", digits) + "\n", "perf-script")
    assert read.facts.time_step_ns == step_ns


def test_without_threads_no_exits_are_paired(tmp_path: Path) -> None:
    text = tmp_path / "script.txt"
    text.write_text("".join(line[31:] + "\n" for line in PERF.splitlines()))
    (run,) = ingest(str(text), tmp_path / "store", Label())
    assert run.manifest.unpaired == (
        "the events do not tell their thread (perf script -F +tid adds it), so exits are not paired"
    )
    assert "exits" not in run.manifest.tables


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("# entries-in-buffer/entries-written: 0/0   #P:2", "expected events, found a trace without any"),
        (
            "  bash-1  [000] .....     1.000000: foo_bar: x=1",
            "expected events that are known, found only others: foo_bar (line 2)",
        ),
        (
            "  bash-1  [000] .....     1.000000: kvm_entry: vcpu_id=0 rip=0xffff",
            "expected the texts of events as the kernel prints them, found others: kvm_entry (line 2)",
        ),
    ],
)
def test_a_text_without_events_that_can_be_read_says_what_is_in_it(line: str, says: str) -> None:
    with pytest.raises(InputError) as refused:
        read_all(f"# tracer: nop\n{line}\n".encode(), "ftrace")
    assert refused.value.message.endswith(says)


def test_ticks_need_their_rate() -> None:
    text = "# tracer: nop\n qemu-system-x86-6039    [001] ..... 2553969382966: kvm_set_irq: gsi 4 level 0 source 0\n"
    with pytest.raises(InputError, match="ticks of a clock"):
        read_all(text.encode(), "ftrace")
    assert read_text(text, clock_hz=2_000_000_000).rows[0]["ts_ns"] == 1276984691483


def test_relative_times_are_noted_and_differences_are_no_times() -> None:
    line = " CPU 0/KVM 12592 [000] {}: kvm:kvm_entry: vcpu 1\n"
    relative = read_text("".join(line.format(f"{n / 1e6:.6f}") for n in range(40)))
    assert relative.facts.has_times
    assert any("--reltime" in note.what for note in relative.notes)
    deltas = read_text("".join(line.format(f"{n * 7 % 5 / 1e6:.6f}") for n in range(40)))
    assert not deltas.facts.has_times
    assert {row["ts_ns"] for row in deltas.rows} == {0}


def test_lines_without_a_prefix() -> None:
    read = read_text("# tracer: nop\n#\nkvm_entry: vcpu 1\nnote: this is prose\nkvm_entry: vcpu 2\n")
    assert [row["vcpu_id"] for row in read.rows] == [1, 2]
    assert not read.facts.has_times


def test_each_trace_of_a_text_is_a_recording() -> None:
    trace = "# tracer: nop\n#\n   a-1    [000] .....     1.000001: kvm_entry: vcpu {}\n"
    reads = read_all((trace.format(1) + trace.format(2)).encode(), "ftrace")
    assert [(read.facts.part, read.rows[0]["vcpu_id"]) for read in reads] == [("trace 1", 1), ("trace 2", 2)]


def test_losses() -> None:
    read = read_text(
        "# tracer: nop\n# entries-in-buffer/entries-written: 4/10   #P:2\n"
        "   a-1    [000] .....     1.000001: kvm_entry: vcpu 1\n"
        "   b-2    [001] .....     1.000002: kvm_entry: vcpu 1\n"
        "CPU:0 [LOST 7 EVENTS]\n"
        "   b-2    [001] .....     1.000003: kvm_entry: vcpu 1\n"
        "   a-1    [000] .....     1.000004: kvm_entry: vcpu 1\n"
    )
    told = [(loss.said_by, loss.events, loss.cpu, loss.after_ns, loss.until_ns) for loss in read.losses]
    assert told == [
        ("overwritten", 6, None, 0, 0),
        ("overwritten", 0, 0, 0, 1_000_001_000),
        ("overwritten", 0, 1, 0, 1_000_002_000),
        ("LOST EVENTS", 7, 0, 1_000_001_000, 1_000_004_000),
    ]


ENTRY = "       CPU 0/KVM  1234 [000]    12.{us:06}:            kvm:kvm_entry: vcpu 0, rip 0xffffffff81\n"
EXIT = (
    "       CPU 0/KVM  1234 [000]    12.{us:06}:             kvm:kvm_exit: vcpu 0 reason msr rip 0xffffffff81"
    " info1 0x0000000000000001 info2 0x0000000000000000 intr_info 0x00000000 error_code 0x00000000\n"
)


def suspects(text: str, tmp_path: Path) -> list[bool]:
    path = tmp_path / "script.txt"
    path.write_text(text)
    (run,) = ingest(str(path), tmp_path / "store", Label())
    return cast("list[bool]", read_table(tmp_path / "store", run.manifest, "exits")["suspect"].to_pylist())


@pytest.mark.parametrize(
    "damage", [("[000]", "[0x0]"), ("kvm_entry: vcpu 0", "kvm_entry: vcpu zero"), ("1234", "12x4")]
)
def test_a_pair_over_a_line_that_cannot_be_read_is_suspect(damage: tuple[str, str], tmp_path: Path) -> None:
    whole = [EXIT.format(us=10), ENTRY.format(us=20), EXIT.format(us=30), ENTRY.format(us=40)]
    assert suspects("".join(whole), tmp_path) == [False, False]
    lines = [whole[0], whole[1].replace(*damage), *whole[2:], EXIT.format(us=50), ENTRY.format(us=60)]
    assert suspects("".join(lines), tmp_path) == [True, False, False]
    read = read_text("".join(lines), "perf-script")
    assert [(note.where, note.events) for note in read.notes if note.events] in ([("line 2", 1)], [])
    assert sum(note.events for note in read.notes) + sum(read.facts.not_stored.values()) == 1


def test_a_damaged_prefix_takes_nothing_from_lines_as_wide() -> None:
    lines = [ENTRY.format(us=1).replace("1234", "12x4"), *(ENTRY.format(us=us) for us in range(2, 50))]
    read = read_text("".join(lines), "perf-script")
    assert {row["tid"] for row in read.rows} == {1234}
    assert (len(read.rows), read.facts.has_threads) == (48, True)
    assert [note.where for note in read.notes] == ["line 1"]


def test_lines_that_are_nothing_known_are_noted_once() -> None:
    read = read_text("Hi all,\n" + PERF + "\nas you see, this is slow\n", "perf-script")
    assert [note.what for note in read.notes] == ["2 lines without an event that is known, the first 'Hi all,'"]


def test_the_fields_of_most_texts_are_those_of_the_event() -> None:
    cut = EXIT.format(us=1).partition(" info1")[0].replace("vcpu 0 ", "") + "\n"  # as kernels before 5.10 print it
    read = read_text(cut + EXIT.format(us=2) + EXIT.format(us=3), "perf-script")
    assert [row["ts_ns"] for row in read.rows] == [12_000_002_000, 12_000_003_000]
    assert read.facts.not_stored == {"lines of kvm:kvm_exit with other fields than most": 1}


def test_an_open_loss_is_told_as_far_as_the_blocks_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TextRecording.__init__, "__kwdefaults__", {"block_bytes": 256})
    other = "   b-2    [001] .....     1.{us:06}: kvm_entry: vcpu 1\n"
    lines = ["# tracer: nop\n", "   a-1    [000] .....     1.000001: kvm_entry: vcpu 1\n", "CPU:0 [LOST 7 EVENTS]\n"]
    lines += [other.format(us=us) for us in range(2, 40)]
    read = read_text("".join([*lines, "   a-1    [000] .....     1.000040: kvm_entry: vcpu 1\n"]), "ftrace")
    ends = [loss.until_ns for loss in read.losses]
    assert [loss.after_ns for loss in read.losses] == [1_000_001_000, *ends[:-1]]
    assert ends[-1] == 1_000_040_000
    assert (len(ends) > 5, sum(loss.events for loss in read.losses), sum(loss.told for loss in read.losses)) == (
        True,
        7,
        1,
    )


def test_losses_of_one_cpu_without_an_event_between_are_one() -> None:
    lost = "CPU:5 [LOST 3 EVENTS]\n" * 3
    read = read_text(f"# tracer: nop\n   a-1    [000] .....     1.000001: kvm_entry: vcpu 1\n{lost}", "ftrace")
    assert [(loss.events, loss.told, loss.cpu) for loss in read.losses] == [(9, 3, 5), (0, 0, 5)]


def test_dashes_in_place_of_process_ids_are_none() -> None:
    line = "   a-1    (-------) [000] .....     1.000001: kvm_entry: vcpu 1\n"
    assert not read_text("# tracer: nop\n" + line, "ftrace").facts.has_processes
    assert read_text("# tracer: nop\n" + line + line.replace("-------", "     77"), "ftrace").facts.has_processes


def test_a_long_name_of_an_event_is_counted() -> None:
    name = "thermal_power_allocator:thermal_power_allocator_pid"
    read = read_text(PERF + f" x 1 [000]  1259.000000: {name}: x=1\n", "perf-script")
    what = f"1 line of {name}, whose text no template reads, not stored"
    assert [(note.where, note.what, note.events) for note in read.notes] == [("line 4", what, 1)]


@pytest.mark.parametrize(
    "text", ["kvm:kvm_apic_ipi: dst 0 vec 0 (" + "|" * 900, "kvm:kvm_ioapic_set_irq: pin 1 dst 1 vec 1 (" + "|" * 900]
)
def test_floods_of_separators_end_soon(text: str) -> None:
    """Words may not hold what ends them: to try every way of cutting these up would take days."""
    read = read_text(PERF + f" x 1 [000]  1259.000000: {text}\n", "perf-script")
    assert (len(read.rows), sum(note.events for note in read.notes)) == (3, 1)


def test_a_text_of_very_many_traces_is_refused() -> None:
    trace = "# tracer: nop\n   a-1    [000] .....     1.000001: kvm_entry: vcpu 1\n"
    assert len(read_all((trace * 40).encode(), "ftrace")) == 40
    with pytest.raises(InputError, match="expected up to 1,024 traces in one text"):
        read_all((trace * 1025).encode(), "ftrace")


def test_what_no_template_reads_is_counted_and_noted() -> None:
    read = read_text(
        PERF
        + " x 1 [000]  1259.000000: kvm:kvm_new_event: what is this\n"
        + " x 1 [000]  1259.000000: kvm:kvm_entry: vcpu one\n"
        + " x 1 [000]  1259.000000: kvm:kvm_entry: vcpu 3\n"
    )
    assert len(read.rows) == 3
    assert read.facts.not_stored == {
        "lines of kvm:kvm_entry with other fields than most": 1,
    }
    assert [(note.where, note.events) for note in read.notes] == [("line 4", 1), ("line 5", 1)]


def test_reasons_of_2_6_32() -> None:
    line = " qemu-kvm-1  [000]  1.000001: kvm_exit: reason {} rip 0x1\n"
    vmx = read_text("".join(map(line.format, ("cpuid", "apic_access", "halt", "hypercall"))))
    assert [(row["exit_reason"], row["isa"]) for row in vmx.rows] == [(0xA, 1), (0x2C, 1), (0xC, 1), (0x12, 1)]
    svm = read_text("".join(map(line.format, ("cpuid", "npf", "hlt"))))
    assert [(row["exit_reason"], row["isa"]) for row in svm.rows] == [(0x72, 2), (0x400, 2), (0x78, 2)]
    unclear = read_text(line.format("cpuid") + " qemu-kvm-1  [000]  1.000001: kvm_entry: vcpu 1\n")
    assert [note.where for note in unclear.notes if note.events] == ["line 1"]


def test_flags_of_vmx_reasons() -> None:
    line = " a-1 [000] .....  1.000001: kvm_exit: vcpu 0 reason {} rip 0x1 info 0 0\n"
    rows = read_text("".join(map(line.format, ("EPT_VIOLATION FAILED_VMENTRY", "CPUID", "0x55")))).rows
    assert [(row["exit_reason"], row["isa"]) for row in rows] == [(0x80000030, 1), (0xA, 1), (0x55, 1)]


def test_names_with_blanks_and_of_the_plugin() -> None:
    line = " a-1 [000] .....  1.000001: kvm_exit:  reason {} rip 0x1 info 0 0\n"
    rows = read_text("".join(map(line.format, ("PF excp", "EXIT_EXCP_GP", "EXIT_NPF", "UNKNOWN (162)")))).rows
    assert [(row["exit_reason"], row["isa"]) for row in rows] == [(0x4E, 2), (0x4D, 2), (0x400, 2), (162, 2)]


def test_a_line_that_never_ends_is_cut() -> None:
    read = read_text(
        PERF + " x 1 [000]  1259.000000: kvm:kvm_entry: vcpu 1, rip 0x" + "f" * 3 * LONGEST_LINE + "\n" + PERF
    )
    assert len(read.rows) == 6
    assert any("longer one" in note.what for note in read.notes)


WRAPPED = PERF.replace(" rip 0xffffffff816c2254 info1", "\nrip 0xffffffff816c2254 info1")
MENDED = {
    "as it was": PERF,
    "quoted": "".join(f"> {line}\n" for line in PERF.splitlines()),
    "quoted twice": "On Monday a wrote:\n" + "".join(f"> > {line}\n" for line in PERF.splitlines()) + "so?\n",
    "printable": PERF.replace(" info2", " =\ninfo2").replace("io rip", "io=20rip=3D")[:-1].replace("rip=3D", "rip")
    + "\n=3D\n",
    "no breaks": PERF.replace("  ", " \u00a0"),
    "letters": "".join(f"A: {line}\n" for line in PERF.splitlines()),
    "wrapped": WRAPPED,
    "wrapped, indented, quoted": "".join(f"> {line}\n" for line in WRAPPED.replace("\nrip", "\n    rip").splitlines()),
}


@pytest.mark.parametrize("damage", MENDED)
def test_a_text_from_a_mail_is_mended(damage: str) -> None:
    whole, read = read_text(PERF), read_text(MENDED[damage], "perf-script")
    assert read.rows == whole.rows
    assert bool(read.notes) == (damage != "as it was")
    assert all(note.events == 0 for note in read.notes)


# --- plans and regular expressions say the same ---

TEMPLATES = [
    parse_template(line)
    for line in (
        "a:b  vcpu {n:u32} reason {exit_reason,isa:x86_exit} rip 0x{rip:x64} info {info1:x64} {info2:x64}",
        "a:b  x {s:s32}, {t:s64} {u:u8} {w:u16}{f:flag([yes])}",
        "a:b  {name:text}: {word:word} 0x{h:x8} {b:bool}",
        "a:b  {word:word} ({:text}){f:flag( end)}",
        "a:b  {n:u64}: {rest:text}",
    )
]
PIECES = st.sampled_from(
    ["vcpu ", " reason ", " rip 0x", " info ", "npf", "PF excp", "EPT_VIOLATION FAILED_VMENTRY", "0x55", "x ", ", ",
     " ", "  ", "[yes]", ": ", " 0x", "1", "0", "-1", "255", "256", "4294967296", "18446744073709551615",
     "-9223372036854775808",
     "ffffffffffffffff", "FfF", "(", ") ", " end", "ü", "\0", "a", "\t", "99999999999999999999"]
)  # fmt: skip


def by_plan(template: Template, texts: list[bytes]) -> list[dict[str, Any] | str | None]:
    plan = Plan.of(template)
    assert plan is not None
    raw = np.frombuffer(b" " * PAD + b"\n".join(texts) + b"\n" + b" " * PAD, np.uint8)
    lengths = np.array([len(text) for text in texts])
    starts = PAD + np.cumsum(lengths + 1) - lengths - 1
    result = plan.run(raw, starts, starts + lengths)
    found: list[dict[str, Any] | str | None] = []
    for row, verdict in enumerate(result.verdict.tolist()):
        if verdict != Verdict.YES:
            found.append(None if verdict == Verdict.NO else "undecided")
            continue
        values = {
            name: (int(c.starts[row] - starts[row]), int(c.lengths[row])) if isinstance(c, Spans) else c[row].item()
            for name, c in result.columns.items()
        }
        found.append(values)
    return found


@given(st.sampled_from(TEMPLATES), st.lists(st.lists(PIECES, max_size=14).map("".join), min_size=1, max_size=6))
@example(
    TEMPLATES[0], ["vcpu 1 reason npf rip 0xff info 1 2", "vcpu 1 reason PF excp rip 0x1 info 1 2", "vcpu 1 reason"]
)
@example(TEMPLATES[1], ["x -1, -9 255 65535[yes]", "x 4294967295, 9 -1 7", "x   1,   2    3 4", "x 1, 2 256 4"])
@example(TEMPLATES[2], ["a: b: word 0xff 1", "a: w 0x100 0", ": w 0x1 1"])
@settings(max_examples=150, deadline=None)
def test_a_plan_says_what_the_expression_says(template: Template, texts: list[str]) -> None:
    variant = Variant(template)
    raw = [text.encode().strip(b" \t") for text in texts]
    for text, found in zip(raw, by_plan(template, raw), strict=True):
        if found != "undecided":
            assert found == variant.read(text), text


def test_plans_decide_what_is_usual() -> None:
    texts = [
        b"vcpu 1 reason npf rip 0xff info 1 2",
        b"vcpu 12 reason EXTERNAL_INTERRUPT rip 0xffffffff81000000 info 0 ff",
    ]
    assert by_plan(TEMPLATES[0], texts) == [Variant(TEMPLATES[0]).read(text) for text in texts]


# --- damage ---

SMALL = {
    "perf-script": PERF,
    "ftrace": "# tracer: nop\n# entries-in-buffer/entries-written: 4/10   #P:2\n"
    " qemu-kvm-4131    [003] d..1.  1981.595527: kvm_entry: vcpu 1\nCPU:0 [LOST 7 EVENTS]\n"
    " CPU 1/KVM-7040   [003] d..1.  1981.595528: kvm_exit: reason EXIT_MSR rip 0xf3914 info 1 0\n",
    "trace-cmd-report": "cpus=2\n"
    "   CPU 1/KVM-7040  [003]  1981.595527: kvm_exit:             reason npf rip 0x1 info 0 0\n",
}


@pytest.mark.parametrize("grammar", SMALL)
def test_a_text_that_is_cut_off_anywhere_is_read(grammar: str) -> None:
    content = SMALL[grammar].encode()
    whole = len(read_all(content, grammar)[0].rows)
    for end in range(0, len(content), 3):
        try:
            (read,) = read_all(content[:end], grammar)
        except InputError:
            continue
        assert len(read.rows) <= whole


@given(
    st.sampled_from(sorted(SMALL)),
    st.lists(st.tuples(st.integers(0, 10_000), st.binary(max_size=12), st.integers(0, 12)), max_size=6),
)
@settings(max_examples=100, deadline=None)
def test_damage_is_survived(grammar: str, edits: list[tuple[int, bytes, int]]) -> None:
    content = bytearray(SMALL[grammar].encode() * 3)
    for place, put, removed in edits:
        at = place % len(content) if content else 0
        content[at : at + removed] = put
    survives(bytes(content))


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"\0" * 4096, b"\xff\xfe" * 500, b" " * 300_000, b"a" * 3_000_000, b": " * 100_000, b"1 " * 100_000,
     PERF.encode().replace(b"\n", b"\r\n"), PERF.encode()[:-1], b"# tracer: nop\n", b"# tracer: nop\n" * 1000,
     b" x 1 [000] 999999999999.000000: kvm:kvm_entry: vcpu 1\n", b" x 9999999999 [0] 1.000000: kvm:kvm_entry: vcpu 1\n",
     b" x-1 [99999] 1.000000: kvm_entry: vcpu 99999999999999999999\n" * 3,
     b" x-1 [1] 1.000000: kvm_entry: vcpu 1" + b" " * 100_000 + b"\n"],
    ids=range(16),
)  # fmt: skip
def test_odd_texts_are_survived(content: bytes) -> None:
    survives(content)


def test_recognition() -> None:
    assert grammar_of(b"\n".join([b"> " + line for line in PERF.encode().splitlines()])) == "perf-script"
    for text in (
        b"",
        b"hello: world\n",
        b" Performance counter stats for 'sleep 1':\n\n 47,357 kvm:kvm_entry [99.98%]\n",
    ):
        assert grammar_of(text) is None


# --- real recordings ---

PERFS_OWN_TEXT = {"kvm:kvm_sys_access", "kvm:kvm_wfx_arm64"}
"""Events of which libtraceevent prints something else than what is in the record."""
NOT_TOLD = {"kvm_hv:kvm_hcall_exit": ["hcall_rc"]}
"""Fields whose text is not of the field: with RESUME_HOST it is H_TOO_HARD, whatever the field holds."""
CAPTURES = SHARED / "captures"
captured = pytest.mark.skipif(not CAPTURES.is_dir(), reason=f"{CAPTURES} is not there")
COUNTED = {
    "x86-svm/raw-ftrace/trace-local.txt.gz": "ftrace",
    "x86-svm/raw-ftrace/trace-local-latency-format.txt.gz": "ftrace",
    "x86-svm/raw-ftrace/trace-local-nocontext.txt.gz": "ftrace",
    "x86-svm/raw-ftrace/trace-tgid-overrun.txt.gz": "ftrace",
    "riscv64/raw-trace/trace.txt": "ftrace",
    "arm64/raw-trace/trace.txt.gz": "ftrace",
    "ppc64-p9/powernv9-raw-trace/trace.txt.gz": "ftrace",
    "x86-svm/mixed-sched-irq/trace.dat.report.txt.gz": "trace-cmd-report",
    "arm64/trace-cmd/trace-cmd-report.txt.gz": "trace-cmd-report",
    "riscv64/trace-cmd/trace-cmd-report.txt.gz": "trace-cmd-report",
    "ppc64-p9/powernv9-trace-cmd/trace-cmd-report.txt.gz": "trace-cmd-report",
    "x86-svm/perf-variants/callgraph.perf-script.txt.gz": "perf-script",
}
BESIDE = {
    "x86-svm/mixed-sched-irq/perf-script.txt.gz": "perf.data",
    "x86-svm/pveoi-idletick-xapic-off/perf-script-ns-head.txt.gz": "perf.data",
    "ppc64-p9/powernv9-perf-record-all/perf-script-ns.txt.gz": "perf.data",
    "arm64/perf-record-all/perf-script-guestcode.txt.gz": "perf.data",
    "riscv64/perf-record/perf-script-ns.txt.gz": "perf.data",
}


def content_of(name: str) -> bytes:
    raw = (CAPTURES / name).read_bytes()
    return gzip.decompress(raw) if name.endswith(".gz") else raw


@captured
@pytest.mark.parametrize("name", BESIDE)
def test_a_capture_has_the_fields_of_its_perf_data(name: str) -> None:
    """Compare every event, and every field that the text tells under the kernel's name."""
    (read,) = read_all(content_of(name), "perf-script")
    with open_source(str((CAPTURES / name).parent / BESIDE[name])) as source:
        binary = read_one(PerfDataRecording(source), counted="SAMPLE")
    digits = 1 if "ns" in name else 1000
    known: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in binary.rows:
        known.setdefault((row["ts_ns"] // digits * digits, row["cpu"], row["tid"], row["event"]), []).append(row)
    compared = 0
    for row in read.rows:
        same = known[row["ts_ns"], row["cpu"], row["tid"], row["event"]]
        own = {"ts_ns", "cpu", "pid", "tid", "event", *NOT_TOLD.get(row["event"], ())}
        fields = [field for field in row if field not in own and field in same[0]]
        if row["event"] in PERFS_OWN_TEXT:
            continue
        compared += len(fields)
        told = {field: int(row[field]) for field in fields if isinstance(row[field], int)}
        assert told in [{field: int(other[field]) for field in told} for other in same], (row, same)
    assert compared > len(read.rows)


@captured
@pytest.mark.parametrize("name", COUNTED)
def test_every_line_of_a_capture_is_an_event(name: str) -> None:
    content = content_of(name)
    (read,) = read_all(content, COUNTED[name])
    assert grammar_of(content[: 1 << 16]) == COUNTED[name]
    lines = [line for line in content.split(b"\n") if line.strip() and line[:1] not in (b"#", b"\t")]
    prose = [line for line in lines if line.startswith((b"cpus=", b"["))]
    cut_off = int(not content.endswith(b"\n"))
    assert len(lines) - len(prose) - cut_off <= len(read.rows) <= len(lines) - len(prose)
    assert not read.facts.not_stored
    assert pa.total_allocated_bytes() < 1 << 30
