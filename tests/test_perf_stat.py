from __future__ import annotations

import random
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kvmtrace import schema
from kvmtrace.errors import InputError
from kvmtrace.formats import perf_stat

if TYPE_CHECKING:
    from kvmtrace.recording import TableSet

DATA = Path(__file__).parent / "data" / "perf-stat"
CAPTURES = Path(__file__).parents[1].parent / "shared" / "captures"
HEADING = " Performance counter stats for 'sleep 1':\n\n"
FOOTER = "\n       1.002100578 seconds time elapsed\n"

# What a reader sees, found without the reader under test: a value and an event beside it.
SEEN = re.compile(r"([0-9,]+|<not counted>|<not supported>) +(kvm\w*):(\w+)(?= |$)")


def decoded(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")


def read_file(name: str) -> list[TableSet]:
    return perf_stat.read(decoded((DATA / name).read_bytes()), name)


def read_table(*rows: str, footer: str = FOOTER) -> TableSet:
    [counters] = perf_stat.read(HEADING + "".join(f"{row}\n" for row in rows) + footer, "stat.txt")
    return counters


def rows_of(counters: TableSet) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = counters.rows.to_pylist()
    return rows


def read_row(row: str, footer: str = FOOTER) -> dict[str, Any]:
    """Read a table of one row that must give no note."""
    counters = read_table(row, footer=footer)
    assert counters.notes == ()
    [only] = rows_of(counters)
    return only


def values(counters: TableSet) -> dict[str, float | None]:
    return {row["event"]: row["value"] for row in rows_of(counters)}


def test_the_two_tables_of_a_mail_are_two_sets() -> None:
    before, after = read_file("mail-pv-eoi.txt")
    assert (before.facts.part, after.facts.part) == ("Before: 'sleep 1s'", "After: 'sleep 1s'")
    assert (before.elapsed_ns, after.elapsed_ns) == (1_002_100_578, 1_002_039_622)
    assert (values(before)["kvm_exit"], values(after)["kvm_exit"]) == (49_849, 29_595)
    assert (values(before)["kvm_inj_virq"], values(after)["kvm_inj_virq"]) == (21_115, 24_884)
    assert before.rows.num_rows == after.rows.num_rows == 39
    assert before.notes == after.notes == ()
    assert before.rows.schema == schema.COUNTERS.arrow_schema()


def test_a_row_cut_before_its_share_is_counted_and_its_share_is_not_known() -> None:
    [*_, row_before, last] = rows_of(read_file("mail-pv-eoi.txt")[0])
    assert (row_before["event"], row_before["running_share"]) == ("kvm_async_pf_ready", 1.0)
    assert (last["event"], last["value"], last["running_share"]) == ("kvm_async_pf_completed", 0, None)
    assert (last["system"], last["state"], last["line"]) == ("kvm", "counted", 60)


@pytest.mark.parametrize("name", sorted(path.name for path in DATA.glob("*.txt")))
def test_each_table_holds_what_its_text_shows(name: str) -> None:
    text = (DATA / name).read_text()
    assert_equals_what_is_seen(text, perf_stat.read(text, name))


def test_each_table_of_the_captures_holds_what_its_text_shows() -> None:
    if not CAPTURES.is_dir():
        pytest.skip("the captures are not beside the checkout")
    texts = {path: path.read_text(errors="replace") for path in CAPTURES.glob("**/*stat*.txt")}
    tables = {
        path: text for path, text in texts.items() if re.search("^ Performance counter stats", text, re.MULTILINE)
    }
    assert len(tables) >= 29
    for path, text in tables.items():
        assert perf_stat.recognises(text)
        assert_equals_what_is_seen(text, perf_stat.read(text, str(path)))


def assert_equals_what_is_seen(text: str, sets: list[TableSet]) -> None:
    seen = [
        (line, system, event, None if value[0] == "<" else float(value.replace(",", "")))
        for line, content in enumerate(text.splitlines(), start=1)
        for value, system, event in SEEN.findall(content)
    ]
    sets = [counters for counters in sets if "target" in counters.facts.tool]  # tables, not CSV and JSON
    rows = [row for counters in sets for row in rows_of(counters)]
    assert [(row["line"], row["system"], row["event"], row["value"]) for row in rows] == seen
    elapsed = re.findall(r"([0-9.]+)(?: \+- [0-9.]+)? seconds time elapsed", text)
    assert [counters.elapsed_ns for counters in sets] == [round(float(seconds) * 1e9) for seconds in elapsed]
    assert not any("looks like" in note.what for counters in sets for note in counters.notes)


def test_counters_of_each_cpu_have_it_as_scope() -> None:
    rows = rows_of(read_file("x86-per-cpu.txt")[0])
    assert [(r["scope"], r["event"], r["value"]) for r in rows[:2]] == [
        ("CPU0", "kvm_exit", 241),
        ("CPU1", "kvm_exit", 253),
    ]


def test_counters_of_each_thread_have_it_as_scope_and_not_counted_is_not_zero() -> None:
    first, _, third, *_ = rows_of(read_file("x86-per-thread.txt")[0])
    assert (first["scope"], first["value"], first["state"]) == ("CPU 0/KVM-3868", 249, "counted")
    assert (third["scope"], third["value"], third["state"]) == ("qemu-system-x86-3857", None, "not counted")


def test_repeats_and_their_standard_error_are_kept() -> None:
    [counters] = read_file("x86-repeats.txt")
    assert [row["repeats"] for row in rows_of(counters)] == [5] * 5
    assert [row["stderr_share"] for row in rows_of(counters)] == [0.0336, 0.0336, 0.0132, 0.0168, 1.3760]
    assert counters.elapsed_ns == 1_019_260_000
    assert counters.facts.tool == {"target": "'system wide'"}


def test_an_error_that_perf_does_not_print_is_not_zero() -> None:
    rows = {row["event"]: row for row in rows_of(read_file("ppc64-repeats.txt")[0])}
    assert (rows["kvm_hcall_enter"]["value"], rows["kvm_hcall_enter"]["stderr_share"]) == (801, None)


def test_the_start_is_kept_and_the_time_enabled_is_not_invented() -> None:
    [counters] = read_file("x86-pv-eoi-off.txt")
    assert counters.facts.format == perf_stat.FORMAT.name == "perf-stat"
    assert counters.facts.start == "2026-11-20T22:04:09"
    assert (counters.enabled_ns, counters.facts.part) == (None, None)
    assert {row["enabled_ns"] for row in rows_of(counters)} == {None}


def test_other_forms_beside_a_table_are_sets_of_their_own() -> None:
    sets = read_file("arm64-sleep.txt")
    assert [counters.facts.part for counters in sets] == ["'system wide'", "CSV", "JSON"]
    assert [(counters.rows.num_rows, rows_of(counters)[0]["line"]) for counters in sets] == [
        (39, 7),
        (39, 51),
        (39, 92),
    ]


@pytest.mark.parametrize(
    "printed",
    ["18446744", "18,446,744", "18.446.744", "18\u202f446\u202f744", "18\u00a0446\u00a0744", "18'446'744", "18’446’744",  # noqa: RUF001 - a grouping mark
     "1,84,46,744", "18 446 744"],
)  # fmt: skip
def test_counts_of_any_locale_are_read(printed: str) -> None:
    footer = FOOTER.replace(".", ",") if "." in printed else FOOTER
    value = printed.replace("1,84,46,744", "18446744")
    expected = float(re.sub("[^0-9]", "", value))
    assert read_row(f"{printed:>18}      kvm:kvm_exit", footer=footer)["value"] == expected
    assert (
        read_row(f"{printed} kvm:kvm_exit [99.98%]".replace(".98", footer[9] + "98"), footer=footer)["value"]
        == expected
    )


@pytest.mark.parametrize(
    ("row", "value", "unit", "event"),
    [
        (
            "              0.96 msec task-clock                       #    0.009 CPUs utilized",
            0.96,
            "msec",
            "task-clock",
        ),
        ("          1,016.27 msec task-clock:u", 1016.27, "msec", "task-clock:u"),
        (
            "          0.404218 task-clock (msec)   #   0.001 CPUs utilized  ( +-  1.00% )",
            0.404218,
            "msec",
            "task-clock",
        ),
        ("          0.404218  task-clock-msecs         #      0.001 CPUs", 0.404218, "msec", "task-clock-msecs"),
        ("       102,312,355 ns   duration_time            #  106.747 G/sec", 102312355, "ns", "duration_time"),
        ("             12.34 Joules power/energy-pkg/", 12.34, "Joules", "power/energy-pkg/"),
        ("                76      page-faults              #   79.294 K/sec", 76, None, "page-faults"),
        ("                76      inst_retired.any", 76, None, "inst_retired.any"),
        ("1,234 cycles:u # 1.2 GHz", 1234, None, "cycles:u"),
        ("                12      cpu/event=0x3c,umask=0x1/u", 12, None, "cpu/event=0x3c,umask=0x1/u"),
    ],
)
def test_counters_that_are_no_tracepoints_keep_their_unit_and_have_no_system(
    row: str, value: float, unit: str | None, event: str
) -> None:
    read = read_row(row)
    assert (read["value"], read["unit"], read["event"], read["system"]) == (value, unit, event, None)


def test_metrics_are_named_as_left_out() -> None:
    assert read_table("  76      page-faults:u     #   79.294 K/sec").facts.left_out == ["metrics"]
    assert read_table("  76      page-faults:u").facts.left_out == []


def test_decimals_follow_the_locale_of_the_table() -> None:
    row = read_row("          1.016,27 msec task-clock  (75,00%)", footer=FOOTER.replace(".", ","))
    assert (row["value"], row["running_share"]) == (1016.27, 0.75)


@pytest.mark.parametrize(
    ("tail", "running_share", "stderr_share"),
    [
        ("", None, None),
        ("  (75.00%)", 0.75, None),
        ("  [99.98%]", 0.9998, None),
        ("  (scaled from 66.67%)", 0.6667, None),
        ("                        ( +-  0.86% )  (75.00%)", 0.75, 0.0086),
        ("    #   1.234 M/sec     ( +-137.60% ) [ 5.00%]", 0.05, 1.376),
    ],
)
def test_shares_at_the_end_of_a_row_are_read(
    tail: str, running_share: float | None, stderr_share: float | None
) -> None:
    row = read_row(f"            47,357      kvm:kvm_entry{tail}")
    assert (row["value"], row["running_share"], row["stderr_share"]) == (47357, running_share, stderr_share)


@pytest.mark.parametrize(
    ("row", "scope"),
    [
        ("CPU12                     1,234      kvm:kvm_exit", "CPU12"),
        ("S0        2             1,234      kvm:kvm_exit", "S0"),
        ("S0 2 1 234 kvm:kvm_exit", "S0"),
        ("S0-D0-C1           1              1,234      kvm:kvm_exit", "S0-D0-C1"),
        ("S0-D0-L3-ID8      16              1,234      kvm:kvm_exit", "S0-D0-L3-ID8"),
        ("N1        2              1,234      kvm:kvm_exit", "N1"),
        ("     a # b 1,0-2-3868                  1,234      kvm:kvm_exit", "a # b 1,0-2-3868"),
    ],
)
def test_what_is_counted_apart_is_the_scope(row: str, scope: str) -> None:
    if " # " in row:
        row += "      #  1.0 K/sec"
    read = read_row(row)
    assert (read["scope"], read["value"]) == (scope, 1234)


@pytest.mark.parametrize("state", ["not counted", "not supported"])
def test_what_was_not_counted_has_no_value(state: str) -> None:
    row = read_row(f"     <{state}>      kvm:kvm_exit              (0.00%)")
    assert (row["value"], row["state"], row["running_share"]) == (None, state, 0.0)


@pytest.mark.parametrize(
    "line",
    [
        "49,849 kvm:kvm_exit [99.98%]  <---- look here",
        "49,84 kvm:kvm_exit [99.98%]",
        "1.234 kvm:kvm_exit",  # the footer's decimal mark is the dot
        "1,2345,678 kvm:kvm_exit",
        "12 spurious kvm:kvm_exit",
        "We see that 12 kvm:kvm_exit",
        "nan kvm:kvm_exit",
        "-5 kvm:kvm_exit",
        "=E2=80=AF kvm:kvm_exit",
        "12 kvm:kvm_exit /machine.slice",  # a cgroup's column
        "0.100702044 57 kvm:kvm_exit",
        "64 bytes from 10.0.0.1",
        "5 files",
        "12.5 cycles",
        "47,357",
        "[99.98%]",
        "9" * 50 + " kvm:kvm_exit",
        "1 kvm:kvm_exit" + " " * 5000 + "kvm:kvm_entry",
    ],
)
def test_a_line_that_cannot_be_read_for_certain_is_a_note_with_its_line(line: str) -> None:
    counters = read_table("1 kvm:kvm_entry [99.98%]", line)
    assert values(counters) == {"kvm_entry": 1}
    [note] = counters.notes
    assert note.where == "line 4"
    assert "is not read" in note.what


@pytest.mark.parametrize(
    "line",
    [
        "", "PING 10.0.0.1 56(84) bytes of data", "                        #    0.52  insn per cycle        (75.00%)",
        "CPU0                                    #    0.5 per cycle", "          0.101639 (+0.000054) #",
        "          # Table of individual measurements:", "  Error: expected type 5 but read 0",
    ],
)  # fmt: skip
def test_lines_that_are_no_counters_are_passed_over(line: str) -> None:
    counters = read_table("1 kvm:kvm_entry", line)
    assert (values(counters), counters.notes) == ({"kvm_entry": 1}, ())


def test_a_value_whose_mark_may_be_either_is_noted() -> None:
    counters = read_table("             1,234 MiB uncore_imc/data_reads/", footer="")
    assert values(counters) == {"uncore_imc/data_reads/": 1234}
    assert [note.where for note in counters.notes] == ["line 3"]


@pytest.mark.parametrize(("value", "what"), [(2**64 - 5, "2^63"), (2**53 + 2, "2^53")])
def test_a_value_beyond_what_counts_can_be_is_kept_and_noted(value: int, what: str) -> None:
    counters = read_table(f"{value:,} kvm:kvm_exit")
    assert values(counters) == {"kvm_exit": float(value)}
    assert [what in note.what for note in counters.notes] == [True]


def test_a_quoted_mail_with_crlf_reads_as_the_table_itself() -> None:
    table = HEADING + "            47,357      kvm:kvm_entry     [75.00%]\n" + FOOTER
    quoted = "".join(f"> > {line}\r\n" for line in table.splitlines())
    [counters] = perf_stat.read(quoted, "mail.txt")
    [row] = rows_of(counters)
    assert (row["value"], row["running_share"], counters.elapsed_ns) == (47357, 0.75, 1_002_100_578)


def test_no_break_spaces_that_do_not_group_digits_are_spaces() -> None:
    row = read_row("\u00a0\u00a0\u00a047\u00a0357\u00a0\u00a0kvm:kvm_entry\u00a0[75.00%]")
    assert (row["value"], row["event"], row["running_share"]) == (47357, "kvm_entry", 0.75)


def test_bytes_that_are_not_utf_8_are_read_as_latin_1_and_noted() -> None:
    content = (HEADING + "     47\u00a0357      kvm:kvm_entry\n" + FOOTER).encode("latin-1")
    [counters] = perf_stat.read(decoded(content), "stat.txt")
    assert values(counters) == {"kvm_entry": 47357}
    assert [(note.where, "Latin-1" in note.what) for note in counters.notes] == [("line 3", True)]


def test_characters_lost_in_decoding_are_noted() -> None:
    counters = read_table("     47\ufffd357      kvm:kvm_entry", "1 kvm:kvm_exit")
    assert values(counters) == {"kvm_exit": 1}
    assert [note.where for note in counters.notes] == ["line 3", "line 3"]


def test_a_heading_may_go_over_several_lines() -> None:
    text = " Performance counter stats for 'sh -c true\nfalse' (3 runs):\n\n 1 kvm:kvm_exit\n"
    [counters] = perf_stat.read(text, "stat.txt")
    assert counters.facts.tool == {"target": "'sh -c true false'"}
    assert rows_of(counters)[0]["repeats"] == 3


def test_a_heading_that_lost_its_end_keeps_its_rows() -> None:
    [counters] = perf_stat.read("Performance counter stats for 'sleep\n1 kvm:kvm_exit\n", "stat.txt")
    assert values(counters) == {"kvm_exit": 1}


def test_tables_with_the_same_heading_are_told_apart_by_their_number() -> None:
    one = HEADING + "1 kvm:kvm_exit\n" + FOOTER
    assert [counters.facts.part for counters in perf_stat.read(one + one, "stat.txt")] == [
        "'sleep 1', table 1",
        "'sleep 1', table 2",
    ]


def test_the_command_between_label_and_table_does_not_hide_the_label() -> None:
    table = HEADING + "1 kvm:kvm_exit\n" + FOOTER
    text = f"With the patch:\n$ perf stat -e 'kvm:*' sleep 1\n{table}Without:\n{table}"
    assert [counters.facts.part for counters in perf_stat.read(text, "stat.txt")] == [
        "With the patch: 'sleep 1'",
        "Without: 'sleep 1'",
    ]


def test_a_table_without_rows_among_others_is_noted() -> None:
    [counters] = perf_stat.read(HEADING + FOOTER + HEADING + "1 kvm:kvm_exit\n" + FOOTER, "stat.txt")
    assert values(counters) == {"kvm_exit": 1}
    assert [note.where for note in counters.notes] == ["line 1"]


def test_intervals_before_a_summary_are_a_set_of_their_own() -> None:
    intervals = "#           time             counts unit events\n     0.020093592        7      kvm:kvm_exit\n"
    sets = perf_stat.read(intervals + HEADING + "9 kvm:kvm_exit\n" + FOOTER, "stat.txt")
    assert [(counters.facts.part, values(counters)) for counters in sets] == [
        ("intervals", {"kvm_exit": 7}),
        ("'sleep 1'", {"kvm_exit": 9}),
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("  57  kvm:kvm_entry\n", "counters without a heading"),
        ("", "no such line"),
        ("PERFILE2\0\0\0", "no such line"),
    ],
)
def test_text_without_a_table_is_an_error_that_names_what_was_found(text: str, found: str) -> None:
    assert not perf_stat.recognises(text)
    with pytest.raises(InputError, match=re.escape(found)) as error:
        perf_stat.read(text, "stat.txt")
    assert error.value.hint


def test_a_heading_without_rows_is_an_error_with_its_line() -> None:
    with pytest.raises(InputError, match=re.escape("stat.txt:3: expected counter rows")) as error:
        perf_stat.read("\n\n" + HEADING + "\x1b[31mhello\n" + FOOTER, "stat.txt")
    assert "'\\x1b[31mhello'" in error.value.message


def test_damaged_text_gives_sets_or_an_error() -> None:
    original = (DATA / "mail-pv-eoi.txt").read_bytes()[:4000] + (DATA / "x86-per-thread.txt").read_bytes()
    rng = random.Random(4)  # noqa: S311 - damage that can be repeated
    outcomes = set()
    for _ in range(300):
        damaged = bytearray(original[: rng.randrange(len(original))])
        for _ in range(rng.randrange(30)):
            if damaged:
                damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        try:
            sets = perf_stat.read(decoded(bytes(damaged)), "stat.txt")
        except InputError:
            outcomes.add("error")
        else:
            outcomes.add("sets")
            assert all(counters.rows.num_rows for counters in sets)
    assert outcomes == {"error", "sets"}


@pytest.mark.parametrize(
    "unit",
    ["1", "1 ", " ", "(", "[ ", "1,", "1.1.", "123 ", "a:b ", "> ", "S0-D0", "\u00a0", "\udc80", "0.0%)", "# ", "<not ",
     "1,,a,", "1\n", "ab\n", "1 a:b\n", "Performance counter stats for\n",
     "Performance counter stats for x:\n1 kvm:kvm_exit\n"],
)  # fmt: skip
def test_much_of_anything_does_not_hang(unit: str) -> None:
    noise = unit * ((40_000 if "\n" in unit else 400_000) // len(unit))
    begin = time.process_time()
    for text in (HEADING + "1 kvm:kvm_exit\n" + noise, " Performance counter stats for " + noise, noise):
        try:
            perf_stat.read(text, "stat.txt")
        except InputError:
            continue
    assert time.process_time() - begin < 20
