"""Tables of `perf kvm stat` in texts: rows as printed, what stands around them, and what contradicts itself."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kvmtrace import schema
from kvmtrace.errors import InputError
from kvmtrace.formats.perf_kvm_stat import FORMAT

if TYPE_CHECKING:
    from kvmtrace.recording import TableSet

DATA = Path(__file__).parent / "data" / "perf-kvm-stat"
SHARED = Path(__file__).parents[1].parent / "shared"
CAPTURES = SHARED / "captures"
KVM_STAT_TEXTS = sorted(
    path
    for pattern in ("**/*perf-kvm-stat-*.txt", "**/kvmstat-*.txt")
    for path in CAPTURES.glob(pattern)
    if "pipe." not in path.name  # perf does not read pipes
)
README_KVM_STAT = sorted({path.parent for path in CAPTURES.glob("**/kvmstat-*.txt")})

HEADER = "VM-EXIT    Samples  Samples%     Time%    Min Time    Max Time         Avg time\n"
NO_HEADER = "given: expected a header such as `VM-EXIT Samples Samples% Time% …`, found "
OUT, IN = "out of the guest", "in the guest"

_PRINTED = re.compile(
    r" *(?P<reason>\S.*?) +(?P<samples>\d+) +(?P<samples_share>[\d.]+)% +(?P<time_share>[\d.]+)% +(?P<min_ns>[\d.]+)us"
    r" +(?P<max_ns>[\d.]+)us +(?P<mean_ns>[\d.]+)us \( \+- +(?P<stderr_share>[\d.]+)% \)"
)


def text_of(name: str) -> str:
    return (DATA / name).read_bytes().decode("utf-8", "surrogateescape")


def tables(text: str) -> list[TableSet]:
    assert FORMAT.recognises(text)
    sets = FORMAT.read(text, "given")
    for table in sets:
        assert table.table == "exit_summaries"
        assert table.rows.schema == schema.EXIT_SUMMARIES.arrow_schema()
        table.rows.validate(full=True)
    return list(sets)


def one(text: str) -> TableSet:
    (table,) = tables(text)
    assert table.facts.part is None
    return table


def rows(table: TableSet) -> list[dict[str, Any]]:
    """Return rows without their nulls."""
    return [{name: value for name, value in row.items() if value is not None} for row in table.rows.to_pylist()]


def notes(table: TableSet) -> list[tuple[str, str]]:
    return [(note.where, note.what) for note in table.notes]


def exits(*printed: str) -> TableSet:
    """Read a table of these rows, in the columns of today."""
    return one(HEADER + "".join(f"{row}\n" for row in printed))


def test_a_table_of_today_is_read_as_printed() -> None:
    table = one(text_of("x86-svm-vmexit.txt"))
    first, *_, last = rows(table)
    assert first == {
        "event_kind": "vmexit",
        "reason": "msr",
        "samples": 1766,
        "samples_share": 0.3065,
        "time_share": 0.0803,
        "min_ns": 17930.0,
        "max_ns": 17225860.0,
        "mean_ns": 120620.0,
        "stderr_share": 0.1815,
        "time_is": OUT,
        "scope": "all VMs, all VCPUs",
        "line": 7,
    }
    assert (last["reason"], last["line"]) == ("vintr", 13)
    assert table.facts.format == "perf-kvm-stat"
    assert table.facts.tool == {"total_samples": "5761", "total_time_ns": "2651489460"}
    assert not table.notes


@pytest.mark.parametrize(
    ("file", "kind", "row", "expected"),
    [
        ("x86-svm-ioport.txt", "ioport", 0, ("0x3f8:POUT", "port", 0x3F8, None, "write")),
        ("x86-svm-ioport.txt", "ioport", 1, ("0x3fa:PIN", "port", 0x3FA, None, "read")),
        ("x86-svm-lossy-mmio.txt", "mmio", 0, ("0xfee000b0:W", "gpa", 0xFEE000B0, None, "write")),
        ("x86-svm-msr.txt", "msr", 0, ("0x3b:W", "msr", 0x3B, None, "write")),
        ("x86-svm-msr.txt", "msr", 6, ("0xc0000080:R", "msr", 0xC0000080, None, "read")),
        ("power9-hcall.txt", "hcall", 0, ("H_CONFER", "hypercall", None, "H_CONFER", None)),
        ("power9-hcall.txt", "hcall", 4, ("UNKNOWN", "hypercall", None, None, None)),
    ],
)
def test_details_are_read_from_the_keys(file: str, kind: str, row: int, expected: tuple[object, ...]) -> None:
    found = one(text_of(file)).rows.to_pylist()[row]
    details = ("reason", "detail_kind", "detail", "detail_name", "direction")
    assert tuple(found[name] for name in details) == expected
    assert (found["event_kind"], found["time_is"]) == (kind, OUT)


def test_rows_of_one_name_stay_apart() -> None:
    unknown = [row for row in rows(one(text_of("power9-hcall.txt"))) if row["reason"] == "UNKNOWN"]
    assert [(row["samples"], row["line"]) for row in unknown] == [(1, 12), (100, 16)]


def test_the_oldest_layout_has_no_minima_and_maxima() -> None:
    vmexit, mmio, ioport, one_vcpu = tables(text_of("oldest-vmx.txt"))
    for table in (vmexit, mmio, ioport, one_vcpu):
        assert table.rows["min_ns"].null_count == table.rows["max_ns"].null_count == table.rows.num_rows
        assert not table.notes
    assert [table.facts.part for table in (vmexit, mmio, ioport, one_vcpu)] == [
        "vmexit, all VCPUs",
        "mmio, all VCPUs",
        "ioport, all VCPUs",
        "vmexit, VCPU 0",
    ]
    assert rows(vmexit)[3]["mean_ns"] == 8360340.0
    assert vmexit.facts.tool == {
        "cmdline": "perf kvm stat report --event=vmexit",
        "total_samples": "98202",
        "total_time_ns": "41419293630",
    }


def test_times_of_arm64_and_riscv_are_in_the_guest() -> None:
    for file in ("arm64-vmexit-vcpu0.txt", "riscv64-vmexit.txt", "mail-riscv-quoted-printable.txt"):
        assert set(one(text_of(file)).rows["time_is"].to_pylist()) == {IN}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["IRQ", "WFx"], IN),
        (["IRQ_S_TIMER"], IN),
        (["EXC_STORE_GUEST_PAGE_FAULT", "UNKNOWN"], IN),
        (["STORE_GUEST_PAGE_FA"], IN),  # cut
        (["IRQ"], None),  # perf of 2019, which was never merged, measured it out of the guest
        (["TRAP", "IRQ"], OUT),
        (["UNKNOWN"], None),
        (["HLT", "UNKNOWN"], OUT),
        (["DE excp"], OUT),
        (["Wait state", "0xB2 STFLE"], OUT),
        (["SYSCALL", "H_DATA_STORAGE"], OUT),
        (["SYSCALL"], None),  # of POWER and of RISC-V
        (["Mem Store"], OUT),
        (["HLT", "WFx"], None),
        (["my own"], None),
    ],
)
def test_the_names_of_the_rows_tell_what_the_times_are(names: list[str], expected: str | None) -> None:
    table = exits(*(f"{name}  1  50.00%  50.00%  1.00us  1.00us  1.00us ( +-  0.00% )" for name in names))
    assert table.rows["time_is"].to_pylist() == [expected] * len(names)


def test_perfs_warnings_tell_the_isa_and_the_codes_of_rows_without_a_name() -> None:
    table = one(text_of("unknown-codes.txt"))
    assert notes(table)[0] == ("line 6", "perf has no name for exit code 131072 of VMX (1 times): the row of line 7")
    assert len(table.notes) == 5
    riscv = one(text_of("riscv64-vmexit.txt"))
    said = "perf has no name for exit code -9223372036854775803 of riscv64 (14 times): the row of line 26"
    assert notes(riscv) == [("line 2", said)]
    alone = one(f"unknown kvm exit code:77 on arm64\n{HEADER}UNKNOWN 1 100.00% 100.00% 1.00us 1.00us 1.00us\n")
    assert rows(alone)[0]["time_is"] == IN
    assert notes(alone) == [("line 1", "perf has no name for exit code 77 of arm64 (1 times)")]


def test_perf_does_not_measure_the_minimum_of_one_vcpu() -> None:
    """kvm_event_expand() clears the statistics of a vCPU, where init_stats() would set the minimum to the largest."""
    table = one(text_of("arm64-vmexit-vcpu0.txt"))
    assert set(table.rows["min_ns"].to_pylist()) == {0.0}
    assert notes(table) == [("line 6", "Min Time is 0 in every row: perf does not measure it for one vCPU")]


def test_what_perf_says_of_losses_is_noted() -> None:
    assert notes(one(text_of("x86-svm-lossy-mmio.txt"))) == [
        ("line 5", "perf says of the recording: 'Processed 19978 events and lost 36 chunks!'"),
        ("line 10", "perf says of the recording: 'Processed 22662 samples and lost 15.54%!'"),
    ]


def test_a_table_of_no_events_has_no_rows() -> None:
    table = one(text_of("x86-svm-no-mmio.txt"))
    assert table.rows.num_rows == 0
    assert table.facts.tool == {"total_samples": "0", "total_time_ns": "0"}


def test_live_tables_have_their_time_of_day() -> None:
    clear = "\x1b[H\x1b[2J"  # CONSOLE_CLEAR; puts() adds a newline, which a terminal's log may not keep
    text = text_of("live-vmx.txt").replace("15:52", f"{clear}\n15:52").replace("19:24", f"{clear}19:24")
    first, second = tables(text + "\nLost events: 7\n")
    assert set(first.rows["logged_at"].to_pylist()) == {"15:52:35.709821"}
    assert set(second.rows["logged_at"].to_pylist()) == {"19:24:22.553073"}
    assert second.facts.part == "vmexit, all VMs, all VCPUs, 19:24:22.553073"
    assert "lost_events" not in first.facts.tool
    assert second.facts.tool["lost_events"] == "7"
    assert not first.notes
    assert not second.notes


def test_quoted_and_broken_lines_of_a_mail_are_put_together() -> None:
    first, second = tables(text_of("mail-hyperv-wrapped.txt"))
    assert [(row["reason"], row["min_ns"], row["max_ns"], row["mean_ns"], row["line"]) for row in rows(first)] == [
        ("EXTERNAL_INTERRUPT", 640.0, 65420.0, 2340.0, 14),
        ("MSR_WRITE", 480.0, 41050.0, 1560.0, 16),
    ]
    assert [row["stderr_share"] for row in rows(second)] == [0.0014, 0.0043, 0.0032, 0.0142]
    assert notes(first) == [("line 19", "expected rows of 787803 samples, found rows of 710763")]
    assert first.facts.part == "vmexit, all VMs, all VCPUs, table 1"


@pytest.mark.parametrize("end", ["us", "us (", "us ( +-", "us ( +- 1.00%"])
def test_a_row_may_be_broken_before_and_inside_its_error(end: str) -> None:
    table = exits(GOOD.replace(f"{end} ", f"{end}\n", 1) if end != "us" else GOOD.replace("us (", "us\n("), OTHER)
    assert [row["stderr_share"] for row in rows(table)] == [0.01, 0.0]
    assert not table.notes


def test_what_an_author_calls_a_table_tells_it_from_the_others() -> None:
    found = tables(text_of("mail-ipi-fastpath.txt"))
    assert [table.facts.part for table in found] == [
        "Before patch: vmexit, table 1",
        "After patch: vmexit, table 2",
        "Before patch: vmexit, table 3",
        "After patch: vmexit, table 4",
    ]
    assert [rows(table)[0]["mean_ns"] for table in found] == [1080.0, 580.0, 730.0, 400.0]
    assert [rows(table)[0].get("stderr_share") for table in found] == [None, None, 0.0002, 0.0002]
    assert notes(found[0])[0] == ("line 3", "expected shares of 100% of the samples in all, found 90.01%")


def test_the_browsers_columns_are_read_from_quoted_printable() -> None:
    table = one(text_of("mail-riscv-quoted-printable.txt").replace("\n", "\r\n"))
    first, *_, last = rows(table)
    assert (first["samples"], first["samples_share"], first["time_share"]) == (26968, 0.54, 0.4)
    assert (first["min_ns"], first["max_ns"], first["mean_ns"]) == (27600.0, 3361400.0, 74274.0)
    assert (last["reason"], last["mean_ns"], last["line"]) == ("HYPERVISOR_SYSCALL", 203638.0, 21)
    assert table.facts.left_out == []
    assert table.facts.tool == {"cmdline": "perf kvm stat report --event=vmexit"}
    assert not table.notes  # shares that are cut to whole percents need not make 100


def test_the_browsers_table_is_read_with_borders_too() -> None:
    table = one(text_of("drawn-svm.txt"))
    assert [row["reason"] for row in rows(table)][:3] == ["idle-halt", "msr", "interrupt"]
    assert rows(table)[0]["max_ns"] == 37789103.0
    assert not table.notes


def test_a_draft_of_the_browser_has_fewer_columns() -> None:
    """The table of "perf kvm: riscv: Add support for interrupts", linux-riscv mailing list, 2025."""
    table = one(
        "Event name                    Samples  Sample%       Time(ns)\n"
        "---------------------------  --------  --------  ------------\n"
        "IRQ_S_TIMER                   211271    58.00%  738298680600\n"
        "EXC_STORE_GUEST_PAGE_FAULT    111279    30.00%  130725914800\n"
        "EXC_LOAD_GUEST_PAGE_FAULT      22039     6.00%   25441480600\n"
        "EXC_VIRTUAL_INST_FAULT          8913     2.00%   21015381600\n"
        "IRQ_VS_EXT                      4748     1.00%   10155464300\n"
        "IRQ_S_EXT                       2802     0.00%   13288775800\n"
        "IRQ_S_SOFT                      1998     0.00%    4254129300\n"
    )
    assert rows(table)[0] == {
        "event_kind": "vmexit",
        "reason": "IRQ_S_TIMER",
        "samples": 211271,
        "samples_share": 0.58,
        "total_ns": 738298680600.0,
        "time_is": IN,
        "line": 3,
    }
    assert not table.notes


@pytest.mark.parametrize(
    ("above", "name", "kind", "detail_kind"),
    [
        ("", "HLT", "vmexit", None),
        ("$ perf kvm stat report --event mmio\n", "HLT", "vmexit", None),
        ("", "0x3f8:PIN", "ioport", "port"),
        ("# perf kvm stat report --event=msr --vcpu 1\n", "0x6e0:W", "msr", "msr"),
        ("# perf kvm stat report --event mmio\n", "0x6e0:W", "mmio", "gpa"),
        ("# sudo /opt/perf kvm stat report\n", "my own", "vmexit", None),
        ("", "0x6e0:W", "unknown", None),
        ("as `perf kvm stat report --event=msr` says\n", "0x6e0:W", "unknown", None),
    ],
)
def test_rows_or_the_command_tell_the_events_where_the_header_does_not(
    above: str, name: str, kind: str, detail_kind: str | None
) -> None:
    header = "Event name  Samples  Sample%  Time (ns)  Time%  Max Time (ns)  Min Time (ns)  Mean Time (ns)\n"
    table = one(f"{above}{header}{name}  2  100.00%  20  100.00%  15  5  10\n")
    (row,) = rows(table)
    assert (row["event_kind"], row.get("detail_kind")) == (kind, detail_kind)
    assert bool(table.notes) == (kind == "unknown")


def test_a_header_of_other_events_keeps_its_name_and_is_noted() -> None:
    table = one(HEADER.replace("VM-EXIT", "TRAP-EVENT") + "WFx 1 100.00% 100.00% 1.00us 1.00us 1.00us\n")
    assert rows(table)[0]["event_kind"] == "trap-event"
    assert notes(table)[0][1].endswith("above the names, found 'TRAP-EVENT'")


def test_the_slide_of_kvm_forum_2020() -> None:
    table = one(text_of("slide-msr-write.txt"))
    found = {row["reason"]: row for row in rows(table)}
    write = found["MSR_WRITE"]
    assert (write["samples"], write["samples_share"], write["time_share"]) == (379929, 0.4136, 0.2543)
    assert (write["min_ns"], write["max_ns"], write["mean_ns"]) == (1900.0, 60180.0, 2860.0)
    assert write["stderr_share"] == 0.0003
    assert found["6e0"] == {
        "event_kind": "msr",
        "reason": "6e0",
        "detail_kind": "msr",
        "detail": 0x6E0,
        "detail_name": "IA32_TSC_DEADLINE",
        "direction": "write",
        "samples": 304839,
        "line": 9,
    }
    assert (found["830"]["detail_name"], found["830"]["samples"]) == ("Interrupt Command Register, ICR", 67492)
    assert sum(row["samples"] for row in rows(table) if row["event_kind"] == "vmexit") == 918672
    bent = r"'100000\t50.010\t70 170\t0.00\t71.07.0\t\t0.07%'"
    assert notes(table) == [("line 5", f"expected a name and 6 columns as in the header, found {bent}")]


def test_parts_may_stand_on_lines_of_their_own() -> None:
    table = exits(f"MSR_WRITE{GOOD[3:]}", OTHER, "MSR_WRITE:", "`0x6e0'(IA32_TSC_DEADLINE): 2,", "'830'(ICR): 1")
    assert [(row["reason"], row["samples"], row["line"]) for row in rows(table)[2:]] == [("0x6e0", 2, 5), ("830", 1, 6)]
    assert not table.notes


def test_parts_that_are_more_than_their_row_are_noted() -> None:
    text = text_of("slide-msr-write.txt").replace("67492", "99999")
    assert ("line 9", "expected parts of the 379929 samples of MSR_WRITE, found 404838") in notes(one(text))


def test_parts_of_no_known_row_are_noted_and_no_rows() -> None:
    table = exits("HLT 1 100.00% 100.00% 1.00us 1.00us 1.00us (+- 0.00%) '830'(ICR): 67492")
    assert len(rows(table)) == 1
    assert notes(table) == [("line 2", """text behind the row, which is not read: "'830'(ICR): 67492\"""")]


def test_names_hold_blanks_and_values_are_wider_than_their_columns() -> None:
    table = exits(
        "DE excp 1  50.00%  33.33% 3315419.60us 3315419.60us 3315419.60us ( +-    nan% )",
        "Instruction and program interruption 1  50.00%  66.67% 6630839.20us 6630839.20us 6630839.20us ( +-   -nan% )",
    )
    assert [row["reason"] for row in rows(table)] == ["DE excp", "Instruction and program interruption"]
    assert rows(table)[0]["mean_ns"] == 3315419600.0
    assert table.rows["stderr_share"].null_count == 2
    assert not table.notes


def test_a_name_that_its_column_cut_is_kept_and_noted() -> None:
    """scnprintf() into 20 characters, perf up to 6.3 on x86."""
    table = exits("avic_unaccelerated_  1 100.00% 100.00% 1.00us 1.00us 1.00us ( +- 0.00% )")
    assert rows(table)[0]["reason"] == "avic_unaccelerated_"
    assert rows(table)[0]["time_is"] == OUT
    assert notes(table) == [
        ("line 2", "the name 'avic_unaccelerated_' is cut by its column: avic_unaccelerated_access"),
    ]
    assert not exits("TPR_BELOW_THRESHOLD 1 100.00% 100.00% 1.00us 1.00us 1.00us").notes  # has 19 itself


def test_a_key_that_its_column_cut_has_no_direction() -> None:
    header = HEADER.replace("VM-EXIT", "MMIO Access")
    table = one(
        f"{header}0xfffffffffffff000:  1  50.00%  50.00% 1.00us 1.00us 1.00us\n"
        "0xfffffffff 1  50.00%  50.00% 1.00us 1.00us 1.00us\n"
    )
    first, second = rows(table)
    assert (first["detail_kind"], first["detail"]) == ("gpa", 0xFFFFFFFFFFFFF000)
    assert "direction" not in first
    assert "detail" not in second
    assert [where for where, _ in notes(table)] == ["line 2", "line 3"]


GOOD = "HLT  3  75.00%  90.00%  1.00us  5.00us  3.00us ( +- 1.00% )"
OTHER = "CPUID  1  25.00%  10.00%  1.00us  1.00us  1.00us ( +- 0.00% )"
LARGE = GOOD.replace("3", "9223372036854775808", 1)
TOTALS = "Total Samples:4, Total events handled time:10.00us."


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("", "", []),
        ("Samples:4", "Samples:5", ["line 4: expected rows of 5 samples, found rows of 4"]),
        ("time:10.00", "time:10.05", ["line 4: expected rows of 10.05 us in all, found means that make 10.00 us"]),
        ("75.00%", "57.00%", ["line 2: expected 75.00% of the samples, found 57.00% (HLT)"]),
        ("90.00%", "80.00%", ["line 2: expected 90.00% of the time, found 80.00% (HLT)"]),
        ("5.00us", "2.00us", ["line 2: the times of HLT are not in the order min, mean, max"]),
        (TOTALS, "", []),
        (f"{OTHER}\n{TOTALS}", "", ["line 1: expected shares of 100% of the samples in all, found 75.00%",
                                     "line 1: expected shares of 100% of the time in all, found 90.00%"]),
        ("CPUID", "", ["line 4: expected rows of 4 samples, found rows of 3",
                       f"line 3: expected a name before the figures, found none: '{OTHER[7:]}'"]),
        (OTHER, "CPUID  1  25.00%  10.00%  1.00us",
         ["line 4: expected rows of 4 samples, found rows of 3",
          "line 3: expected a name and 6 columns as in the header, found 'CPUID  1  25.00%  10.00%  1.00us'"]),
        ("1.00% )", "1.00% ) <-- why?", ["line 2: text behind the row, which is not read: '<-- why?'"]),
        ("HLT  3", "HLT  9223372036854775808",
         ["line 4: expected rows of 4 samples, found rows of 1",
          f"line 2: expected a name and 6 columns as in the header, found '{LARGE}'"]),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_noted(old: str, new: str, expected: list[str]) -> None:
    text = f"{HEADER}{GOOD}\n{OTHER}\n{TOTALS}\n"
    assert old in text
    found = [f"{where}: {what}" for where, what in notes(one(text.replace(old, new, 1)))]
    assert sorted(found) == sorted(expected)


def test_the_browsers_times_must_make_their_total() -> None:
    text = text_of("drawn-svm.txt").replace("1062944", "1062")
    assert ("line 10", "150279 samples of 1062 ns do not make 159738246175 ns (idle-halt)") in notes(one(text))


def test_rows_and_totals_outside_of_a_table_are_noted() -> None:
    text = f"{HEADER}{GOOD}\n{OTHER}\n{TOTALS}\n\n{GOOD}\n{TOTALS}\n"
    assert notes(one(text)) == [
        ("line 6", f"looks like a row and stands in no table: '{GOOD}'"),
        ("line 7", f"totals without a table above them: '{TOTALS[:-1]}'"),
    ]


def test_a_table_without_rows_is_left_out_and_noted() -> None:
    table = one(f"{HEADER}\nnothing here\n{HEADER}{GOOD.replace('75', '100').replace('90', '100')}\n")
    assert notes(table) == [("line 1", "a table without a readable row: left out")]


def test_long_events_of_duration_are_counted() -> None:
    text = "1234567 VM 77, vcpu 0: IO_INSTRUCTION event took 12345usec\n" * 3
    assert notes(one(f"{text}{HEADER}{GOOD}\n{OTHER}\n{TOTALS}\n")) == [
        ("line 1", "long events (--duration), here first: not read (3 lines)")
    ]


@pytest.mark.parametrize(
    ("scope", "heading"),
    [
        ("all VCPUs", "Analyze events for all VCPUs:"),
        ("VCPU 3", "Analyze events for VCPU 3:"),
        ("pid(s) 77,78, VCPU 3", "Analyze events for pid(s) 77,78, VCPU 3:"),
        (
            "dazed and confused on what is monitored, all VCPUs",
            "> Analyze events for dazed and confused on what is monitored, all\n> VCPUs:",
        ),
    ],
)
def test_the_scope_is_that_of_the_heading(scope: str, heading: str) -> None:
    table = one(f"{heading}\n\n{HEADER}\n{GOOD}\n{OTHER}\n{TOTALS}\n")
    assert set(table.rows["scope"].to_pylist()) == {scope}
    assert not table.notes


def test_crlf_stray_bytes_and_no_break_spaces_are_read() -> None:
    text = f"caf\udce9:\r\n{HEADER}{GOOD}\n{OTHER}\n{TOTALS}\n".replace("\n", "\r\n").replace("  ", "\u00a0 ")
    table = one(text)
    assert [row["reason"] for row in rows(table)] == ["HLT", "CPUID"]
    assert notes(table) == [("line 1", "bytes that are not UTF-8, here first: read as Latin-1")]


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", f"{NO_HEADER}no such line", "2>&1"),
        (
            "No trace sample to read. Did you call 'perf kvm record'?",
            f"{NO_HEADER}perf's message `No trace sample to read`",
            "2>&1",
        ),
        (
            f"\n{HEADER}",
            "given:2: expected rows such as `HLT 12 3.45% …`, or `Total Samples:0`, below this header, found neither",
            "Total Samples",
        ),
    ],
)
def test_a_text_without_a_table_is_an_error(text: str, message: str, hint: str) -> None:
    with pytest.raises(InputError) as error:
        FORMAT.read(text, "given")
    assert error.value.message == message
    assert hint in (error.value.hint or "")


def test_other_texts_are_not_taken_for_tables() -> None:
    assert not FORMAT.recognises("Performance counter stats for 'sleep 1':\n 47,357  kvm:kvm_entry\n")
    assert not FORMAT.recognises("# Samples: 12  of event 'cycles'\n# Overhead  Command\n")


@pytest.mark.skipif(not KVM_STAT_TEXTS, reason=f"{CAPTURES} is not there")
@pytest.mark.parametrize("path", KVM_STAT_TEXTS, ids=lambda path: str(path.relative_to(CAPTURES)))
def test_every_captured_table_is_read_to_its_last_digit(path: Path) -> None:
    text = path.read_text()
    table = one(text)
    printed = [match for match in map(_PRINTED.fullmatch, text.split("\n")) if match]
    found = table.rows.to_pylist()
    assert [row["reason"] for row in found] == [match["reason"] for match in printed]
    for row, match in zip(found, printed, strict=True):
        assert row["samples"] == int(match["samples"])
        for column in ("samples_share", "time_share", "stderr_share"):
            assert f"{row[column]:.4f}" == f"{float(match[column]) / 100:.4f}"
        for column in ("min_ns", "max_ns", "mean_ns"):
            assert f"{row[column] / 1000:.2f}" == match[column]
    assert sum(row["samples"] for row in found) == int(table.facts.tool["total_samples"])
    said = ("perf has no name", "perf says of the recording", "Min Time is 0")
    assert all(what.startswith(said) for _, what in notes(table))


@pytest.mark.skipif(not README_KVM_STAT, reason=f"{CAPTURES} is not there")
@pytest.mark.parametrize("folder", README_KVM_STAT, ids=lambda path: str(path.relative_to(CAPTURES)))
def test_captured_tables_sum_up_to_the_events_of_their_recording(folder: Path) -> None:
    events = {
        name: int(count)
        for count, name in re.findall(r"^ +(\d+) (\S+)$", (folder / "README.txt").read_text(), re.MULTILINE)
    }
    vmexit = {row["reason"]: row["samples"] for row in rows(one((folder / "kvmstat-vmexit.txt").read_text()))}
    begun, ended = ("kvm_guest_exit", "kvm_guest_enter") if "kvm_guest_exit" in events else ("kvm_entry", "kvm_exit")
    assert events[begun] - 2 <= sum(vmexit.values()) <= events[ended]  # a pair of each vCPU may be open
    for name, count in vmexit.items():
        recorded = events.get(f"trap={name}", events.get(f"exit=TRAP({name})", count))
        assert recorded - 2 <= count <= recorded
    hcalls = folder / "kvmstat-hcall.txt"
    if hcalls.exists():
        named = {row["reason"]: row["samples"] for row in rows(one(hcalls.read_text())) if row["reason"] != "UNKNOWN"}
        assert named == {name[6:]: count for name, count in events.items() if name.startswith("hcall=H_")}
        assert one(hcalls.read_text()).facts.tool["total_samples"] == str(events["kvm_hcall_enter"])


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"{SHARED} is not there")
def test_the_whole_slides_hold_one_table() -> None:
    (path,) = (SHARED / "seeds").glob("002_*.txt")
    table = one(path.read_text())
    assert table.rows.num_rows == 11
    assert [where for where, _ in notes(table)] == ["line 28"]
