from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvmtrace.errors import InputError
from kvmtrace.formats.perf_stat import FORMAT

if TYPE_CHECKING:
    from kvmtrace.recording import TableSet

# Lines of perf 6.1; 6.18 puts metric values in strings.
LINE = (
    '{"counter-value" : "508.000000", "unit" : "", "event" : "kvm:kvm_exit", "event-runtime" : 2062247204, '
    '"pcnt-running" : 50.00, "metric-value" : 0.000000, "metric-unit" : "(null)"}'
)
BARE = '{"counter-value" : "9", "event" : "kvm:kvm_exit"'


def survives(content: bytes) -> None:
    try:
        sets = FORMAT.read(content.decode("utf-8", "surrogateescape"), "stat.json")
    except InputError:
        return
    assert all(counters.rows.num_rows for counters in sets)


def read(text: str) -> TableSet:
    [counters] = FORMAT.read(text, "stat.json")
    return counters


def told(line: str) -> dict[str, Any]:
    """Read one line that must be one row, and return what it tells."""
    [row] = read(line).rows.to_pylist()
    return {name: value for name, value in row.items() if value is not None and name not in {"line", "state"}}


PLAIN = {
    "event": "kvm_exit",
    "system": "kvm",
    "value": 508.0,
    "enabled_ns": 4_124_494_408,
    "running_ns": 2_062_247_204,
    "running_share": 0.5,
}


@pytest.mark.parametrize(
    ("key", "more"),
    [
        ("", {}),
        ('"interval" : 0.102902894, ', {"interval_end_ns": 102_902_894}),
        ('"interval" : 999999.000000001, ', {"interval_end_ns": 999_999_000_000_001}),
        ('"cpu" : "1", ', {"scope": "CPU1"}),
        ('"thread" : "CPU 0/KVM-3868", ', {"scope": "CPU 0/KVM-3868"}),
        ('"thread" : "a"b\\-3868", ', {"scope": 'a"b\\-3868'}),  # perf escapes nothing
        ('"socket" : "S0", "aggregate-number" : 2, ', {"scope": "S0"}),
        ('"core" : "S0-D0-C1", "counters" : 2, ', {"scope": "S0-D0-C1"}),
        ('"node" : "N1", "aggregate-number" : 2, ', {"scope": "N1"}),
        ('"variance" : 3.36, ', {"stderr_share": 0.0336}),
        ('"variance" : -nan, ', {}),
        ('"variance" : inf, ', {}),
        ('"variance" : 5,34, ', {"stderr_share": 0.0534}),  # de_DE
        ('"cgroup" : "/machine.slice", ', {"scope": "/machine.slice"}),
    ],
)
def test_every_optional_key_is_read(key: str, more: dict[str, Any]) -> None:
    assert told("{" + key + LINE[1:]) == PLAIN | more


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("508.000000", "508,000000"),
        ("50.00", "50,00"),
        ("0.000000", "nan"),
        ("0.000000", "0,000000"),
        ('0.000000, "metric-unit" : "(null)"', '"0.24", "metric-unit" : "K/sec", "metric-threshold" : "good"'),
        (" : ", ":"),
        ('"508.000000"', "508"),
        ('"unit" : ""', '"unit" : "(null)"'),
        ("{", "Hello{"),
        ("{", "  [{"),
        ("}", "},"),
    ],
)
def test_any_spelling_is_read(old: str, new: str) -> None:
    assert told(LINE.replace(old, new)) == PLAIN


@pytest.mark.parametrize("state", ["not counted", "not supported"])
def test_what_was_not_counted_has_no_value(state: str) -> None:
    [row] = read(LINE.replace("508.000000", f"<{state}>")).rows.to_pylist()
    assert (row["value"], row["state"]) == (None, state)


def test_what_is_not_kept_is_named() -> None:
    line = LINE.replace('"(null)"', '"K/sec"').replace("{", '{"socket" : "S0", "aggregate-number" : 2, "pmu" : "cpu", ')
    assert read(line).facts.left_out == ["metrics", "numbers of CPUs", "'pmu'"]
    assert read(LINE).facts.left_out == []
    assert read(LINE + '\n{"metric-value" : "0.52", "metric-unit" : "insn per cycle"}').facts.left_out == ["metrics"]


def test_output_of_the_workload_before_and_between_is_passed_over() -> None:
    other = LINE.replace("exit", "entry")
    text = f'Hello\n{{"a": 1}}\n# started on Fri Nov 20 22:05:59 2026\n\n{LINE}\nHello {{again}}\n{other}\n'
    counters = read(text)
    assert [(row["event"], row["line"]) for row in counters.rows.to_pylist()] == [("kvm_exit", 5), ("kvm_entry", 7)]
    assert counters.facts.start == "2026-11-20T22:05:59"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (BARE.replace('"9"', '"many"') + "}", "no number"),
        (BARE.replace('"9"', "nan") + "}", "no number"),
        (BARE.replace('"9"', "-5") + "}", "no number"),
        (BARE.replace('"9"', "true") + "}", "no number"),
        ('{"counter-value" : "9", "unit" : ""}', "no event"),
        ('{"counter-value" : "9", "event" : ["kvm:kvm_exit"]}', "no event"),
        ('"counter-value"', "no event"),
        (BARE + "  " * 10_000 + "}", "too long"),
    ],
)
def test_a_line_that_is_no_whole_counter_is_a_note(line: str, why: str) -> None:
    [note] = [note for note in read(f"{LINE}\n{line}").notes if "looks like" in note.what]
    assert (note.where, why in note.what) == ("line 2", True)


def test_a_difference_that_wrapped_in_an_interval_is_left_out_with_a_note() -> None:
    first = "{" + '"interval" : 1.000000001, ' + LINE[1:]
    counters = read(first.replace("508.000000", "18446744073709551615.000000") + "\n" + first.replace("exit", "entry"))
    assert [row["event"] for row in counters.rows.to_pylist()] == ["kvm_entry"]
    assert [(note.where, note.events) for note in counters.notes] == [("line 1", 1)]
    assert counters.elapsed_ns == 1_000_000_001


def test_json_is_recognised_by_its_keys() -> None:
    assert FORMAT.recognises("Hello\n" + LINE)
    assert not FORMAT.recognises('{"counter-values" : 1, "event" : "x"}')
    assert not FORMAT.recognises('{"event" : "kvm:kvm_exit", "value" : 1}')


SAMPLE = (
    "# started on Fri Nov 20 22:05:57 2026\n"
    + LINE.replace("{", '{"interval" : 0.1, "thread" : "a"b-12", ')
    + "\r\n"
    + LINE.replace("{", '{"cpu" : "0", "variance" : nan, ')
    + "\n"
).encode()


def test_a_text_cut_anywhere_gives_rows_or_an_error() -> None:
    for at in range(len(SAMPLE) + 1):
        survives(SAMPLE[:at])


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\0", BARE.encode() + b"\0\xff}", (BARE + ', "x" : ' + "[" * 5000 + "}").encode(),
        (BARE + ', "event-runtime" : ' + "9" * 5000 + "}").encode(), (BARE + ', "event-runtime" : 1e400}').encode(),
        (BARE + ', "interval" : 99999999999999999999}').encode(), (BARE + ', "unit" : {"a" : []}}').encode(),
        (BARE + ', "pcnt-running" : 1e-300, "event-runtime" : 9223372036854775807}').encode(),
        (BARE + ', "unit" : "\\ud800", "cpu" : [1], "thread" : {}, "metric-unit" : []}').encode(),
        BARE.replace("9", "9" * 21).encode() + b"}", BARE.replace("kvm:", "\\ud800").encode() + b"}",
        BARE.replace('"9"', "9" * 400).encode() + b"}", (BARE + ', "interval" : ' + "9" * 400 + "}").encode(),
        b'{"counter-value"' * 50_000, b'"counter-value"\n' * 20_000, b"{" * 300_000,
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


_ANY = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.lists(st.none(), max_size=2)


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["counter-value", "unit", "event", "interval", "event-runtime", "pcnt-running", "variance",
                         "cpu", "thread", "aggregate-number", "counters", "metric-unit", "other"]),
        _ANY,
    )
)  # fmt: skip
def test_any_object_gives_rows_or_an_error(told: dict[str, Any]) -> None:
    survives(json.dumps(told | {"counter-value": told.get("counter-value", "9")}).encode())
    survives(json.dumps({"counter-value": 9, "event": "kvm:kvm_exit"} | told).encode())
