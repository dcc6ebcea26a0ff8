from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvmtrace import schema
from kvmtrace.errors import InputError
from kvmtrace.formats.perf_stat import FORMAT

if TYPE_CHECKING:
    from kvmtrace.recording import TableSet

SAME = Path(__file__).parent / "data" / "perf-stat" / "same-seconds"
SHARED = Path(__file__).parents[1].parent / "shared"
CAPTURES = SHARED / "captures"
INTERVALS = "#           time             counts unit events\n"

# What a reader sees in CSV and JSON, found without the reader under test.
SEEN_CSV = re.compile(r"^ *(?:([0-9.]+),)?(?:(CPU[0-9]+);)?([0-9]+|<not counted>)[,;]{2}(kvm\w*):(\w+)[,;]")
SEEN_JSON = re.compile(
    r'^\{(?:"interval" : ([0-9.]+), )?(?:"cpu" : "([0-9]+)", )?"counter-value" : "([0-9]+)\.000000", '
    r'"unit" : "", "event" : "(kvm\w*):(\w+)"'
)
SEEN_INTERVAL = re.compile(r"^ +([0-9.]+)() +([0-9]+) +(kvm\w*):(\w+) *$")

Counted = dict[tuple[str | None, str, int | None], float | None]


def survives(content: bytes) -> None:
    try:
        sets = FORMAT.read(content.decode("utf-8", "surrogateescape"), "stat.txt")
    except InputError:
        return
    assert all(counters.rows.num_rows for counters in sets)


def read_file(path: Path) -> list[TableSet]:
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    assert FORMAT.recognises(text)
    return list(FORMAT.read(text, path.name))


def read(text: str) -> TableSet:
    [counters] = FORMAT.read(text, "stat.txt")
    return counters


def rows_of(counters: TableSet) -> list[dict[str, Any]]:
    assert counters.rows.schema == schema.COUNTERS.arrow_schema()
    rows: list[dict[str, Any]] = counters.rows.to_pylist()
    return rows


def counted(counters: TableSet) -> Counted:
    """Return values with two decimals, as the coarsest form prints them."""
    rows = rows_of(counters)
    keys = [(row["scope"], row["event"], row["interval_end_ns"]) for row in rows]
    assert len(set(keys)) == len(rows)
    values = [row["value"] for row in rows]
    return dict(zip(keys, (None if value is None else round(value, 2) for value in values), strict=True))


@pytest.mark.parametrize(("name", "rows"), [("per-cpu", 9), ("per-core", 10), ("per-node", 5), ("intervals", 8)])
def test_the_same_seconds_are_the_same_in_every_form(name: str, rows: int) -> None:
    [table], [csv], [json] = (read_file(SAME / f"{name}.{form}") for form in ("txt", "csv", "json"))
    assert counted(table) == counted(csv) == counted(json)
    assert len(counted(table)) == rows
    assert table.elapsed_ns == csv.elapsed_ns == json.elapsed_ns is not None
    assert csv.enabled_ns == json.enabled_ns
    assert not any("looks like" in note.what for counters in (table, csv, json) for note in counters.notes)
    for left, right in zip(rows_of(csv), rows_of(json), strict=True):
        for column in ("event", "unit", "state", "scope", "running_ns", "enabled_ns", "running_share"):
            assert left[column] == right[column]


def test_what_a_node_counts_is_what_its_cpus_count() -> None:
    sums: defaultdict[str, float] = defaultdict(float)
    for (_, event, _), value in counted(read_file(SAME / "per-cpu.txt")[0]).items():
        sums[event] += value or 0
    node = {event: value for (_, event, _), value in counted(read_file(SAME / "per-node.txt")[0]).items() if value}
    assert node == {event: pytest.approx(value, abs=0.011) for event, value in sums.items() if value}


def test_intervals_have_their_ends_and_the_last_is_the_time_elapsed() -> None:
    [counters] = read_file(SAME / "intervals.txt")
    ends = [row["interval_end_ns"] for row in rows_of(counters)]
    assert ends[:2] == [100_139_096, 100_139_096]
    assert sorted(set(ends)) == list(dict.fromkeys(ends))
    assert counters.elapsed_ns == ends[-1]


@pytest.mark.parametrize(("name", "sets"), [("locales.txt", 8), ("locales.csv", 6)])
def test_each_locale_prints_the_same_figures(name: str, sets: int) -> None:
    expected = counted(read_file(SAME / "per-cpu.csv")[0])
    found = read_file(SAME / name)
    assert len(found) == sets
    for counters in found:
        assert counted(counters) == expected, counters.facts.part
        assert not counters.notes
        assert counters.elapsed_ns == found[0].elapsed_ns


def test_the_captures_hold_what_their_texts_show() -> None:
    if not CAPTURES.is_dir():
        pytest.skip("the captures are not beside the checkout")
    paths = sorted(path for form in ("csv", "json") for path in CAPTURES.glob(f"**/perf*stat*/stat*.{form}"))
    paths += sorted(CAPTURES.glob("**/perfstat-*/stat-I100.txt"))
    assert len(paths) >= 20
    for path in paths:
        text = path.read_text()
        pattern = {".csv": SEEN_CSV, ".json": SEEN_JSON, ".txt": SEEN_INTERVAL}[path.suffix]
        lines = enumerate(text.splitlines(), start=1)
        seen = [(line, match) for line, content in lines if (match := pattern.match(content))]
        [counters] = read_file(path)
        assert seen, path
        assert [_as_seen(row) for row in rows_of(counters)] == [
            (line, _ns(match[1]), _cpu(match[2]), _count(match[3]), match[4], match[5]) for line, match in seen
        ], path
        assert not any("looks like" in note.what for note in counters.notes)


def _as_seen(row: dict[str, Any]) -> tuple[object, ...]:
    return tuple(row[name] for name in ("line", "interval_end_ns", "scope", "value", "system", "event"))


def _ns(seconds: str | None) -> int | None:
    return int(seconds.replace(".", "")) if seconds else None


def _cpu(number: str | None) -> str | None:
    return f"CPU{number.removeprefix('CPU')}" if number else None


def _count(value: str) -> float | None:
    return None if value.startswith("<") else float(value)


def test_what_the_guest_itself_counted_is_what_the_forms_say() -> None:
    """Each form was a run of its own of the same fixed work: 100 times each exit, counted by the VMM."""
    if not CAPTURES.is_dir():
        pytest.skip("the captures are not beside the checkout")
    folder = CAPTURES / "arm64" / "perf-stat"
    for name in ("stat.txt", "stat.csv", "stat.json", "stat-percpu.txt", "stat-r3.txt", "stat-interval.csv"):
        sums: defaultdict[str, float] = defaultdict(float)
        for row in rows_of(read_file(folder / name)[0]):
            sums[row["event"]] += row["value"]
        assert (sums["kvm_hvc_arm64"], sums["kvm_irq_line"], sums["kvm_userspace_exit"]) == (200, 10, 201), name
        assert sums["kvm_wfx_arm64"] >= 100, name


def test_the_mail_of_2012_gives_its_figures_back() -> None:
    path = SHARED / "seeds" / "004_4b748bedd94dd9f2.txt"
    if not path.is_file():
        pytest.skip("the mails are not beside the checkout")
    before, after = read_file(path)
    assert (before.facts.part, after.facts.part) == ("Before: 'sleep 1s'", "After: 'sleep 1s'")
    for counters, (entries, exits, injections) in ((before, (47357, 49849, 21115)), (after, (28354, 29595, 24884))):
        values = {row["event"]: row["value"] for row in rows_of(counters)}
        assert (values["kvm_entry"], values["kvm_exit"], values["kvm_inj_virq"]) == (entries, exits, injections)
        assert (len(values), counters.notes) == (39, ())


def test_a_mail_that_only_talks_of_perfstat_is_not_recognised() -> None:
    path = SHARED / "seeds" / "003_16277202e48dedd9.txt"
    if not path.is_file():
        pytest.skip("the mails are not beside the checkout")
    assert not FORMAT.recognises(path.read_text(errors="replace"))


# perf of Linux 2.6.30's time, as the head of its builtin-stat.c showed it.
PERF_2009 = """
 Performance counter stats for '/home/mingo/hackbench':

    1255.538611  task clock ticks     #      10.143 CPU utilization factor
          54011  context switches     #       0.043 M/sec
            385  CPU migrations       #       0.000 M/sec
          17755  pagefaults           #       0.014 M/sec
     3808323185  CPU cycles           #    3033.219 M/sec  (scaled from 66.94%)
     1575111190  instructions         #    1254.530 M/sec
       17367895  cache references     #      13.833 M/sec
        7674421  cache misses         #       6.112 M/sec

 Wall-clock time elapsed:   123.786620 msecs
"""
# The perfstat before it, in the layout of Documentation/perf_counter/perfstat.c.
PERFSTAT_2009 = """
 Performance counter stats for './mmap-perf':

    1255.538611  task clock ticks     (msecs)

          54011  context switches     (events)
     3808323185  CPU cycles           (events)
     1575111190  instructions         (events)

 Wall-clock time elapsed:   123.786620 msecs
"""


@pytest.mark.parametrize(("text", "rows"), [(PERF_2009, 8), (PERFSTAT_2009, 4)])
def test_the_tables_of_2009_are_read(text: str, rows: int) -> None:
    counters = read(text)
    read_rows = {row["event"]: row for row in rows_of(counters)}
    assert (len(read_rows), counters.elapsed_ns, counters.notes) == (rows, 123_786_620, ())
    assert (read_rows["task clock ticks"]["value"], read_rows["task clock ticks"]["unit"]) == (1255.538611, "msec")
    assert (read_rows["context switches"]["value"], read_rows["CPU cycles"]["value"]) == (54011, 3808323185)
    assert (read_rows["instructions"]["unit"], read_rows["instructions"]["system"]) == (None, None)
    share = read_rows["CPU cycles"]["running_share"]
    assert share == (0.6694 if rows == 8 else None)


def test_intervals_apart_by_cpu_socket_and_thread_are_read() -> None:
    text = (
        "#           time CPU             counts unit events\n"
        "     0.100139043 CPU0                  1,234      kvm:kvm_exit                (75.00%)\n"
        "     0.100139043 S0-D0-C1           2            202.94 msec cpu-clock\n"
        "     0.200139043  CPU 0/KVM-3868      <not counted>      kvm:kvm_exit\n"
        "#           time             counts unit events\n"
        "     0.300139043              5      kvm:kvm_exit       #  1.2 K/sec\n"
    )
    counters = read(text)
    assert [(row["interval_end_ns"], row["scope"], row["value"]) for row in rows_of(counters)] == [
        (100_139_043, "CPU0", 1234),
        (100_139_043, "S0-D0-C1", 202.94),
        (200_139_043, "CPU 0/KVM-3868", None),
        (300_139_043, None, 5),
    ]
    assert counters.facts.left_out == ["numbers of CPUs", "metrics"]


def test_a_difference_that_wrapped_in_an_interval_is_left_out_with_a_note() -> None:
    counters = read(
        f"{INTERVALS}     0.100139043  18446744073709551611      kvm:kvm_exit\n     0.200139043  7      kvm:kvm_exit\n"
    )
    assert [row["value"] for row in rows_of(counters)] == [7]
    assert [(note.where, note.events) for note in counters.notes] == [("line 2", 1)]


def test_intervals_that_start_anew_are_another_run() -> None:
    text = f"{INTERVALS}     0.100139043  7      kvm:kvm_exit\n     0.200139043  7      kvm:kvm_exit\n"
    assert [counters.facts.part for counters in FORMAT.read(text + text, "stat.txt")] == [
        "intervals, table 1",
        "intervals, table 2",
    ]


def test_a_line_of_an_interval_that_is_no_counter_is_a_note() -> None:
    counters = read(f"{INTERVALS}     0.100139043  7      kvm:kvm_exit\n     0.200139043  many      kvm:kvm_exit\n")
    assert [note.where for note in counters.notes] == ["line 3"]


def test_intervals_in_a_quoted_mail_with_crlf_are_read() -> None:
    counters = read("> > 0.100139043 7 kvm:kvm_exit\r\n> > 0.100139043 9 kvm:kvm_entry\r\n")
    assert [row["value"] for row in rows_of(counters)] == [7, 9]


@pytest.mark.parametrize(
    ("printed", "value"),
    [
        ("1,9374", 19374),
        ("2,5007,3252", 250073252),
        ("219\u202f06\u202f46\u202f77", 219064677),
        ("1\u202f93\u202f54", 19354),
        ("1\u202f234\u202f06\u202f46\u202f77", 1234064677),
        ("224\u066c023\u066c958", 224023958),
        ("30,18,34,904", 301834904),
    ],
)
def test_rare_groupings_are_read(printed: str, value: int) -> None:
    text = (
        f" Performance counter stats for 'x':\n\n{printed:>18}      kvm:kvm_exit\n\n 0.300000000 seconds time elapsed\n"
    )
    counters = read(text)
    assert ([row["value"] for row in rows_of(counters)], counters.notes) == ([value], ())


def _sample() -> bytes:
    names = ("intervals.txt", "per-core.txt", "per-cpu.csv", "intervals.json")
    return PERF_2009.encode() + b"".join((SAME / name).read_bytes()[:500] for name in names)


def test_a_text_cut_anywhere_gives_rows_or_an_error() -> None:
    content = (SAME / "intervals.txt").read_bytes()[:300] + PERF_2009.encode()[-200:]
    for at in range(len(content) + 1):
        survives(content[:at])


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_damaged_bytes_give_rows_or_an_error(data: st.DataObject) -> None:
    content = _sample()
    damaged = bytearray(content[: data.draw(st.integers(0, len(content)))])
    for _ in range(data.draw(st.integers(0, 20))):
        if damaged:
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    survives(bytes(damaged))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(_sample().decode().splitlines()), max_size=30), st.sampled_from(["\n", "\r\n", "\n> "]))
def test_lines_in_any_order_give_rows_or_an_error(lines: list[str], end: str) -> None:
    survives(end.join(lines).encode())
