from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvmtrace.errors import InputError
from kvmtrace.formats.perf_stat import FORMAT

if TYPE_CHECKING:
    from kvmtrace.recording import TableSet


def survives(content: bytes) -> None:
    try:
        sets = FORMAT.read(content.decode("utf-8", "surrogateescape"), "stat.csv")
    except InputError:
        return
    assert all(counters.rows.num_rows for counters in sets)


def read(text: str) -> TableSet:
    [counters] = FORMAT.read(text, "stat.csv")
    return counters


def rows_of(counters: TableSet) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = counters.rows.to_pylist()
    return rows


def told(line: str) -> dict[str, Any]:
    """Read one line that must be one row, and return what it tells."""
    [row] = rows_of(read(line))
    return {name: value for name, value in row.items() if value is not None and name not in {"line", "state"}}


PLAIN = {
    "event": "kvm_exit",
    "system": "kvm",
    "value": 508.0,
    "enabled_ns": 2_062_247_204,
    "running_ns": 2_062_247_204,
    "running_share": 1.0,
}


@pytest.mark.parametrize("separator", [",", ";", "|", "\t", ":", "::", " ", "<>", " ; ", "#", "~~~"])
def test_any_separator_is_read(separator: str) -> None:
    line = separator.join(["508", "", "kvm:kvm_exit", "2062247204", "100.00", "", ""])
    if "<" in separator:  # <not counted> has it too
        with pytest.raises(InputError):
            read(line)
        return
    assert told(line) == PLAIN
    other = separator.join(["0.87", "msec", "cpu-clock", "876195", "50.00", "0.009", "CPUs utilized"])
    assert told(other) == {
        "event": "cpu-clock",
        "value": 0.87,
        "unit": "msec",
        "enabled_ns": 1_752_390,
        "running_ns": 876_195,
        "running_share": 0.5,
    }


@pytest.mark.parametrize(
    ("line", "more"),
    [
        ("     0.103387120,508,,kvm:kvm_exit,2062247204,100.00,,", {"interval_end_ns": 103_387_120}),  # 6.1
        ("12.003387120,508,,kvm:kvm_exit,2062247204,100.00,,", {"interval_end_ns": 12_003_387_120}),  # 6.18
        ("         summary,508,,kvm:kvm_exit,2062247204,100.00,,", {}),
        ("CPU0,508,,kvm:kvm_exit,2062247204,100.00,,", {"scope": "CPU0"}),
        ("S0,2,508,,kvm:kvm_exit,2062247204,100.00,,", {"scope": "S0"}),
        ("N1,16,508,,kvm:kvm_exit,2062247204,100.00,,", {"scope": "N1"}),
        ("S0-D0-C1,2,508,,kvm:kvm_exit,2062247204,100.00,,", {"scope": "S0-D0-C1"}),
        ("S0-D0-C1,508,,kvm:kvm_exit,2062247204,100.00,,", {"scope": "S0-D0-C1"}),  # -A with percore
        ("S0-D0-L3-ID8,16,508,,kvm:kvm_exit,2062247204,100.00,,", {"scope": "S0-D0-L3-ID8"}),
        ("CPU 0/KVM-3868,508,,kvm:kvm_exit,2062247204,100.00,,", {"scope": "CPU 0/KVM-3868"}),
        ("a,12,b-3868,508,,kvm:kvm_exit,2062247204,100.00,,", {"scope": "a,12,b-3868"}),
        ("508,,kvm:kvm_exit,/machine.slice,2062247204,100.00,,", {"scope": "/machine.slice"}),
        ("CPU1,508,,kvm:kvm_exit,/a,0.45%,2062247204,100.00,,", {"scope": "CPU1 /a", "stderr_share": 0.0045}),
        ("508,,kvm:kvm_exit,137.60%,2062247204,100.00,,", {"stderr_share": 1.376}),
        ("508,,kvm:kvm_exit,-nan%,2062247204,100.00,,", {}),
        ("508,,kvm:kvm_exit,2062247204,100.00", {}),
        ("508,,kvm:kvm_exit,2062247204,100.00,0.246,K/sec", {}),
        ("508,,kvm:kvm_exit,2062247204,100.00,nan,K/sec", {}),
        ("508,,kvm:kvm_exit,2062247204,100.00,12,K/sec,99.0,of all branches", {}),
        (
            "0.103387120,CPU1,508,,kvm:kvm_exit,2062247204,100.00,,",
            {"scope": "CPU1", "interval_end_ns": 103_387_120},
        ),
    ],
)
def test_every_optional_column_is_read(line: str, more: dict[str, Any]) -> None:
    assert told(line) == PLAIN | more


@pytest.mark.parametrize(
    ("line", "expected"),
    [  # perf before 4.1 has no running time, before 3.14 no unit
        ("508,kvm:kvm_exit", {"event": "kvm_exit", "system": "kvm", "value": 508.0}),
        ("508,,kvm:kvm_exit", {"event": "kvm_exit", "system": "kvm", "value": 508.0}),
        ("CPU3;508;kvm:kvm_exit", {"event": "kvm_exit", "system": "kvm", "value": 508.0, "scope": "CPU3"}),
        ("S0;2;508;kvm:kvm_exit", {"event": "kvm_exit", "system": "kvm", "value": 508.0, "scope": "S0"}),
        ("508,kvm:kvm_exit,3.36%", {"event": "kvm_exit", "system": "kvm", "value": 508.0, "stderr_share": 0.0336}),
        ("0.403211,task-clock", {"event": "task-clock", "value": 0.403211, "unit": "msec"}),
        ("<not counted>,kvm:kvm_exit", {"event": "kvm_exit", "system": "kvm"}),
        ("1.5,Joules,power/energy-pkg/", {"event": "power/energy-pkg/", "value": 1.5, "unit": "Joules"}),
    ],
)
def test_the_columns_of_old_versions_are_read(line: str, expected: dict[str, Any]) -> None:
    assert told(line) == expected


@pytest.mark.parametrize(
    ("name", "separator"),
    [("cpu/event=0x3c,umask=0x1/", ","), ("cpu/event=0x3c,umask=0x1,name=a/u", ","), ("uncore/a|b|c/", "|")],
)
def test_events_may_hold_the_separator(name: str, separator: str) -> None:
    line = separator.join(["12", "", name, "100", "100.00", "", ""])
    assert told(line)["event"] == name


@pytest.mark.parametrize("state", ["not counted", "not supported"])
def test_what_was_not_counted_has_no_value_and_was_not_enabled(state: str) -> None:
    [row] = rows_of(read(f"<{state}>,,kvm:kvm_exit,0,100.00,,"))
    assert (row["value"], row["state"], row["running_ns"], row["enabled_ns"]) == (None, state, 0, 0)


def test_the_time_enabled_is_the_time_that_it_ran_by_its_share() -> None:
    row = told("508,,kvm:kvm_exit,300000000,75.00,,")
    assert (row["running_ns"], row["running_share"], row["enabled_ns"]) == (300_000_000, 0.75, 400_000_000)
    assert "enabled_ns" not in told("508,,kvm:kvm_exit,300000000,0.00,,")


def test_decimals_of_a_locale_are_read() -> None:
    # perf 6.1 under de_DE, -x; and -x,
    lines = ["0,50;msec;task-clock:u;503668;100,00;0;CPUs utilized", "50;;page-faults;503668;100,00;99;K/sec"]
    apart, same = read("\n".join(lines)), read("\n".join(lines).replace(";", ","))
    assert [(row["value"], row["unit"], row["event"], row["running_share"]) for row in rows_of(apart)] == [
        (0.5, "msec", "task-clock:u", 1.0),
        (50, None, "page-faults", 1.0),
    ]
    assert rows_of(same) == rows_of(apart)
    assert told("508,,kvm:kvm_exit,0,45%,2062247204,99,50,,")["stderr_share"] == 0.0045


def test_numbers_of_cpus_and_metrics_are_named_as_left_out() -> None:
    counters = read("S0,2,410.27,msec,cpu-clock,410268969,100.00,2.000,CPUs utilized")
    assert counters.facts.left_out == ["metrics", "numbers of CPUs"]


def test_lines_of_more_metrics_are_no_rows_and_named_as_left_out() -> None:
    metrics = ",,,,,0.52,insn per cycle\n,,,,,1.20,stalled cycles per insn\n"
    counters = read(f"9,,cycles,500,100.00,,\n{metrics}8,,instructions,500,100.00,,")
    assert [row["event"] for row in rows_of(counters)] == ["cycles", "instructions"]
    assert (counters.facts.left_out, len(counters.notes)) == (["metrics"], 1)  # the note says that no rates are known


def test_output_of_the_workload_is_passed_over() -> None:
    row = "508,,kvm:kvm_exit,2062247204,100.00,,"
    text = f"libtraceevent: No such file\n  [kvm:kvm_inj_exception] bad op token }}\nHello, world\n{row}\n1,2,3\n"
    assert len(rows_of(read(text))) == 1


def test_a_line_of_the_same_form_that_is_no_counter_is_a_note() -> None:
    row = "508,,kvm:kvm_exit,2062247204,100.00,,"
    [note] = [note for note in read(f"{row}\n508,,\x01!,2062247204,100.00,,").notes if "looks like" in note.what]
    assert note.where == "line 2"


def test_a_difference_that_wrapped_in_an_interval_is_left_out_with_a_note() -> None:
    wrapped = 2**64 - 5
    lines = "1.000000001,{},,kvm:kvm_exit,2062247204,100.00,,\n1.000000001,7,,kvm:kvm_entry,2062247204,100.00,,"
    counters = read(lines.format(wrapped))
    assert [row["event"] for row in rows_of(counters)] == ["kvm_entry"]
    [note] = counters.notes
    assert (note.where, note.events, "2^63" in note.what) == ("line 1", 1, True)
    whole = read("18446744073709551611,,kvm:kvm_exit,2062247204,100.00,,")
    assert [row["value"] for row in rows_of(whole)] == [float(wrapped)]


def test_elapsed_is_the_last_interval_or_what_perf_counted_of_it() -> None:
    rows = "{0}508,,kvm:kvm_exit,2062247204,100.00,,\n{1}1006000000,ns,duration_time,1006000000,100.00,,\n"
    assert read(rows.format("0.500000001,", "1.000000002,")).elapsed_ns == 1_000_000_002
    assert read(rows.format("", "")).elapsed_ns == 1_006_000_000
    assert read(rows.format("CPU0,", "CPU0,")).elapsed_ns == 1_006_000_000
    assert read(rows.format("", "") + "2,ns,duration_time,2,100.00,,").elapsed_ns is None


@pytest.mark.parametrize(
    ("rows", "enabled_ns"),
    [
        ("CPU0,9,,kvm:kvm_exit,1000,100.00,,\nCPU1,9,,kvm:kvm_exit,990,100.00,,", 1000),
        ("CPU0,9,,kvm:kvm_exit,500,50.00,,\nCPU1,9,,kvm:kvm_exit,990,100.00,,", 1000),
        ("S0,2,9,,kvm:kvm_exit,2000,100.00,,", 1000),
        ("CPU0,9,,kvm:kvm_exit,1000,100.00,,\nCPU1,9,,kvm:kvm_exit,900,100.00,,", None),  # they do not agree
        ("CPU0,9,,kvm:kvm_exit,1000,100.00,,\nCPU1,9,,kvm:kvm_exit,1000,0.00,,", None),
        ("9,,kvm:kvm_exit,2000,100.00,,", None),  # a sum over CPUs, whose number it does not tell
        ("CPU 0/KVM-12,9,,kvm:kvm_exit,1000,100.00,,", None),  # a thread: only while it had a CPU
        ("<not counted>,,kvm:kvm_exit,0,100.00,,", None),
    ],
)
def test_time_enabled_is_told_only_where_it_is_a_time_that_passed(rows: str, enabled_ns: int | None) -> None:
    counters = read(rows)
    assert (counters.elapsed_ns, counters.enabled_ns) == (None, enabled_ns)
    assert any("no rates" in note.what for note in counters.notes) == (enabled_ns is None)


def test_runs_one_below_the_other_are_sets_of_their_own() -> None:
    row = "508,,kvm:kvm_exit,2062247204,100.00,,\n"
    parts = [counters.facts.part for counters in FORMAT.read(f"Off:\n{row}\nOn:\n{row}", "a.csv")]
    assert parts == ["Off: CSV", "On: CSV"]
    started = f"# started on Fri Nov 20 22:05:57 2026\n\n{row}"
    assert [counters.facts.start for counters in FORMAT.read(started * 2, "a.csv")] == ["2026-11-20T22:05:57"] * 2
    assert len(FORMAT.read(started + started.replace("exit", "entry"), "a.csv")) == 2
    intervals = "1.000000001," + row
    assert len(FORMAT.read(intervals.replace("1.", "2.", 1) + intervals, "a.csv")) == 2
    assert len(FORMAT.read(intervals + "summary," + row, "a.csv")) == 2
    assert len(FORMAT.read(row + row.replace(",", ";"), "a.csv")) == 2
    assert len(FORMAT.read(row + row, "a.csv")) == 1  # -e kvm:kvm_exit,kvm:kvm_exit
    assert len(FORMAT.read(row + "Hello\n" + row.replace("exit", "entry"), "a.csv")) == 1


@pytest.mark.parametrize(
    "started", ["Mon Jan  1 00:00:00 99999999999", "Mon Jan 99999999999 00:00:00 2020", "Mon Jan 32 00:00:00 2020", "9"]
)
def test_a_start_that_no_calendar_has_is_noted(started: str) -> None:
    counters = read(f"# started on {started}\n\n508,,kvm:kvm_exit,2062247204,100.00,,\n")
    assert counters.facts.start is None
    assert [note.what for note in counters.notes if note.where == "line 1"] == [
        f"expected a time, found none that is: '{started}'"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "timestamp,kvm_exit,kvm_entry\n2026-11-20 22:05:57,12,13\n2026-11-20 22:05:58,12,13\n",  # kvm_stat -c
        "reason,count,time\nhlt,12,100.00\nmsr,13,50.00\n",
        "1,2,3\n4,5,6\n",
        "name,run,pct\na,100,99.50\nb,100,99.50\n",
        "cpuid 1234\nvmcall 5678\n",
        "VM-EXIT Samples Samples% Time% Min Time Max Time Avg time\nhlt 12 100.00% 50.00% 1.00us 2.00us 1.50us\n",
        "qemu 3868 [000] 100.123456789: kvm:kvm_exit: reason hlt\n" * 3,
        "12,bananas,pears\n13,bananas,pears\n",
        "12,,my_event,2062247204,100.00,,\n",  # one row of any event may be output of anything
        "508,kvm:kvm_exit\n",
    ],
)
def test_other_texts_are_not_recognised(text: str) -> None:
    assert not FORMAT.recognises(text)


@pytest.mark.parametrize(
    "text",
    [
        "508,,kvm:kvm_exit,2062247204,100.00,,\n",
        "12,,my_event,2062247204,100.00,,\n13,,other,2062247204,100.00,,\n",
        "> 508;kvm:kvm_exit\n> 509;kvm:kvm_entry\n",
        "Hello\n" * 50_000 + "S0,2,508,,kvm:kvm_exit,2062247204,100.00,,\n",
    ],
)
def test_csv_is_recognised_by_its_rows(text: str) -> None:
    assert FORMAT.recognises(text)
    assert FORMAT.read(text, "stat.csv")


SAMPLE = (
    b"# started on Fri Nov 20 22:05:57 2026\n"
    b"     0.103387120,S0,2,508,,kvm:kvm_exit,0.45%,2062247204,100.00,1.5,K/sec\r\n"
    b"     0.203387120;a b-12;0,50;msec;cpu/event=1,umask=2/;503668;75,00;;\n"
    b"<not counted>|\t|kvm:kvm_entry|/machine.slice|0|100.00||\n,,,,,0.5,insn per cycle\n"
)


def test_a_text_cut_anywhere_gives_rows_or_an_error() -> None:
    for at in range(len(SAMPLE) + 1):
        survives(SAMPLE[:at])


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\0" * 100, b"\xff\xfe1,,kvm:kvm_exit,5,100.00,,\n\0", b"9" * 100_000 + b",,kvm:kvm_exit,5,100.00,,",
        b"1,,kvm:kvm_exit," + b"9" * 19 + b",0.01,,", b"1,,kvm:kvm_exit," + b"9" * 25 + b",100.00,,",
        b"1,,kvm:kvm_exit,5,999.99,,", b"," * 1_000_000, b"1," * 500_000, b"1,1.00" * 100_000, b"CPU0," * 100_000,
        b"999999999.999999999,1,,kvm:kvm_exit,5,100.00,,", b"S0,999999,1,,kvm:kvm_exit,5,100.00,,\xe2\x80\xaf",
        b"99999999999999999999.999999999,ns,duration_time,5,100.00,,",
    ],
)  # fmt: skip
def test_forged_lines_give_rows_or_an_error(content: bytes) -> None:
    survives(content)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_bytes_give_rows_or_an_error(data: st.DataObject) -> None:
    damaged = bytearray(SAMPLE)
    for _ in range(data.draw(st.integers(1, 12))):
        damaged[data.draw(st.integers(0, len(SAMPLE) - 1))] = data.draw(st.integers(0, 255))
    survives(bytes(damaged))


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 2**63 - 1),
    st.integers(0, 2**53),
    st.sampled_from([",", ";", "|", "\t", "::", "~"]),
    st.sampled_from(["", "CPU3", "N0", "qemu-system-x86-3857"]),
    st.none() | st.integers(0, 10**15),
)
def test_what_perf_prints_comes_back(running: int, value: int, sep: str, scope: str, interval: int | None) -> None:
    time = [] if interval is None else [f"{interval // 10**9:6d}.{interval % 10**9:09d}"]
    fields = [*time, *filter(None, [scope]), str(value), "", "kvm:kvm_exit", str(running), "100.00", "", ""]
    [row] = rows_of(read(sep.join(fields)))
    assert (row["value"], row["running_ns"], row["interval_end_ns"]) == (value, running, interval)
    assert (row["scope"], row["event"]) == (scope or None, "kvm_exit")
