"""A user's own model: what is wrong in it is one line with file, line and the near name."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kvmtrace.cli import run
from kvmtrace.errors import InputError, UsageError
from kvmtrace.synth import model_file
from kvmtrace.synth.model_file import Model, parse, read
from kvmtrace.toml_places import line_of, lines_of_keys

PATH = Path("mine.toml")
TEXT = """\
purpose = "an exit less"
engine = "operation-loop"

[[source]]
document = "a mail"
figures = "one"

[platform]
arch = "x86_64"
isa = "VMX"
cpu = "a CPU"
kernel = "5.10.0"
clock_hz = 2_000_000_000
cpus = 2

[exits.write]
reason = "MSR_WRITE"
cost = { mean = 2.0, min = 1.0, max = 9.0, unit = "us" }
events = [
    { event = "kvm:kvm_msr", at = 0.4, chance = 0.5, fields = { write = 1, ecx = 0x6e0, data = 0 } },
    { event = "kvm:kvm_eoi", at = 0.5, fields = { vector = 236 } },
]

[sequences.elsewhere]
span = { mean = 1, unit = "us" }
events = [{ event = "kvm:kvm_msi_set_irq", at = 0.0, fields = { address = 1 } }]

[workload]
seconds = 0.01

[workload.operations.write]
steps = [{ guest = { mean = 5, unit = "us" } }, { exit = "write" }]

[variants.off]
what = "without"

[variants.on]
what = "with"

[variants.on.exits.write]
cost = { mean = 1.5 }

[effect]
scope = "local"
because = "one exit"

[[published]]
name = "cost"
variant = "off"
value = 2.0
unit = "us"
measure = "SELECT avg(latency_ns) / 1e3 FROM exits"
tolerance_percent = 5
because = "about"
source = "the mail"

[[assumed]]
what = "the guest"
because = "unsaid"
"""


def line(of: str) -> int:
    """Return the line of the first text `of`."""
    return TEXT[: TEXT.index(of)].count("\n") + 1


def error(text: str) -> InputError:
    with pytest.raises(InputError) as caught:
        parse(text, PATH)
    assert "\n" not in caught.value.message
    return caught.value


def replaced(old: str, new: str) -> str:
    assert old in TEXT
    return TEXT.replace(old, new, 1)


def test_a_model_of_a_user_is_read() -> None:
    model = parse(TEXT, PATH)
    assert list(model.settings) == ["off", "on"]
    assert [model.setting(name).exits["write"].cost.mean for name in model.settings] == [2.0, 1.5]
    assert model.setting("on").exits["write"].cost.min == 1.0


UNKNOWN_KEYS = {
    'purpose = "an': ('purposs = "an', "purposs", "purpose"),
    'document = "a mail"': ('documents = "a mail"', "documents", "document"),
    'cpu = "a CPU"': ('cpuu = "a CPU"', "cpuu", "cpu"),
    'reason = "MSR_WRITE"': ('raeson = "MSR_WRITE"', "raeson", "reason"),
    "span = {": ("spam = {", "spam", "span"),
    "seconds = 0.01": ("second = 0.01", "second", "seconds"),
    "steps = [": ("step = [", "step", "steps"),
    'what = "with"': ('waht = "with"', "waht", "what"),
    'scope = "local"': ('scop = "local"', "scop", "scope"),
    "tolerance_percent": ("tolerance_percents", "tolerance_percents", "tolerance_percent"),
    'what = "the guest"': ('whatt = "the guest"', "whatt", "what"),
    # inside inline tables
    'cost = { mean = 2.0, min = 1.0, max = 9.0, unit = "us" }': (
        'cost = { mean = 2.0, mni = 1.0, max = 9.0, unit = "us" }',
        "mni",
        "min",
    ),
    "chance = 0.5": ("chances = 0.5", "chances", "chance"),
    'exit = "write" }': ('exits = "write" }', "exits", "exit"),
    "guest = { mean = 5,": ("guest = { maen = 5,", "maen", "mean"),
}


@pytest.mark.parametrize("old", UNKNOWN_KEYS)
def test_an_unknown_key_of_any_table_is_named_with_its_line_and_the_near_one(old: str) -> None:
    new, wrong, near = UNKNOWN_KEYS[old]
    found = error(replaced(old, new))
    assert found.message.startswith(f"mine.toml:{line(old)}: "), found.message
    assert f"unknown key {wrong!r}: did you mean {near}?" in found.message


NAMES = {
    'exit = "write" }': ('exit = "wriet" }', "unknown exit 'wriet'", "write"),
    'event = "kvm:kvm_msr"': ('event = "kvm:kvm_mrs"', "unknown event 'kvm:kvm_mrs'", "kvm_msr"),
    "ecx = 0x6e0": ("exc = 0x6e0", "unknown field of kvm_msr 'exc'", "ecx"),
    'reason = "MSR_WRITE"': ('reason = "MSR_WRIET"', "unknown exit reason 'MSR_WRIET'", "MSR_WRITE"),
    'variant = "off"': ('variant = "of"', "unknown variant 'of'", "off"),
    'engine = "operation-loop"': ('engine = "operations-loop"', "unknown engine 'operations-loop'", "operation-loop"),
}


@pytest.mark.parametrize("old", NAMES)
def test_an_unknown_name_is_told_with_its_line_and_the_near_one(old: str) -> None:
    new, message, near = NAMES[old]
    found = error(replaced(old, new))
    assert found.message.startswith(f"mine.toml:{line(old)}: "), found.message
    assert message in found.message
    assert near in found.message.partition(message)[2]


WRONG = {
    "chance = 0.5": ("chance = 1.5", "less than or equal to 1"),
    "at = 0.4": ("at = -0.1", "greater than or equal to 0"),
    "mean = 2.0": ("mean = -2.0", "greater than or equal to 0"),
    "min = 1.0": ("min = 3.0", "min <= mean <= max"),
    "max = 9.0": ("max = 1.5", "min <= mean <= max"),
    "min = 1.0, max = 9.0": ("min = 1.0", "min and max go together"),
    "cpus = 2": ('cpus = "two"', "valid integer, found 'two'"),
    'isa = "VMX"': ('isa = "VTX"', "'VMX'"),
    'kernel = "5.10.0"': ('kernel = "new"', "new"),
    "clock_hz = 2_000_000_000": ("clock_hz = true", "found True"),
    'purpose = "an exit less"': ("purpose = 5", "found 5"),
    "value = 2.0": ('value = "2"', "found '2'"),
    "tolerance_percent = 5": ("within_factor = 0.5", "greater than 1"),
    "seconds = 0.01": ("seconds = inf", "less than or equal to 1000000"),
    'unit = "us" } }': ('unit = "hours" } }', "'ps'"),
}


@pytest.mark.parametrize("old", WRONG)
def test_a_value_that_cannot_be_is_told_with_its_line(old: str) -> None:
    new, message = WRONG[old]
    found = error(replaced(old, new))
    assert found.message.startswith(f"mine.toml:{line(old)}: "), found.message
    assert message in found.message


def test_a_cost_that_is_not_a_number_is_refused() -> None:
    assert "mine.toml:18: " in error(replaced("mean = 2.0", "mean = nan")).message


@pytest.mark.parametrize("table", ["[platform]", "[effect]", "[[source]]", "[workload]"])
def test_a_missing_table_is_told(table: str) -> None:
    start = TEXT.index(table)
    end = TEXT.index("\n\n", start)
    text = TEXT[:start] + TEXT[end + 2 :]
    text = text if table != "[workload]" else text.replace("[workload.operations.write]\nsteps", "[other]\nsteps")
    name = table.strip("[]")
    assert (name if table != "[workload]" else "other") in error(text).message


def test_missing_variants_are_told() -> None:
    start, end = TEXT.index("[variants.off]"), TEXT.index("[effect]")
    assert error(TEXT[:start] + TEXT[end:]).message == "mine.toml: variants: expected this key, found none"


def test_one_variant_alone_is_refused() -> None:
    start, end = TEXT.index("[variants.on]"), TEXT.index("[effect]")
    found = error(TEXT[:start] + TEXT[end:]).message
    assert f"mine.toml:{line('[variants.off]')}: variants: expected two variants or more" in found


def test_what_a_variant_gets_wrong_stands_at_its_own_line() -> None:
    old = "cost = { mean = 1.5 }"
    assert f"mine.toml:{line(old)}: " in error(replaced(old, "cost = { mean = 10 }")).message
    assert f"mine.toml:{line(old)}: " in error(replaced(old, "cots = { mean = 1 }")).message
    added = replaced('what = "with"', 'what = "with"\nworkload = { operations = { write = { weigth = 2 } } }')
    found = error(added).message
    assert f"mine.toml:{line('what = ' + chr(34) + 'with' + chr(34)) + 1}: " in found
    assert "did you mean weight?" in found


def test_a_variant_cannot_make_an_exit_of_a_number() -> None:
    found = error(replaced("[variants.on.exits.write]\ncost = { mean = 1.5 }", "[variants.on.exits]\nwrite = 5"))
    assert f"mine.toml:{line('[variants.on.exits.write]') + 1}: " in found.message


@pytest.mark.parametrize("part", ["platform", "exits", "sequences", "workload", "variants", "published", "effect"])
def test_a_number_in_place_of_a_table_is_an_error(part: str) -> None:
    raw = tomllib.loads(TEXT)
    assert part in raw
    lines, kept = [f"{part} = 5"], True
    for text in TEXT.splitlines():
        if text.startswith("["):
            kept = text.strip("[]").partition(".")[0] != part
        lines += [text] if kept else []
    found = error("\n".join(lines))
    assert found.message.startswith("mine.toml:1: "), found.message
    assert part in found.message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "mine.toml: purpose: expected this key, found none"),
        (b"purpose = ", "mine.toml:1: expected TOML"),
        (b"a = 1\na = 2\n", "mine.toml:2: expected TOML"),
        (b"purpose = '\xff'", "mine.toml: expected a model in UTF-8, found other bytes at 11"),
        (b"#" * (1 << 22) + b"\n", "mine.toml: expected a model of at most 4,194,304 bytes"),
        (b"a = " + b"[" * 100_000, "mine.toml: expected TOML"),
        (b"a = " + b"9" * 100_000, "mine.toml"),
        (b"PK\x03\x04\x00\x00", "mine.toml"),
    ],
    ids=["empty", "cut", "twice", "not UTF-8", "huge", "deep", "long number", "zip"],
)
def test_what_is_no_model_is_an_input_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    PATH.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read(PATH)
    assert caught.value.message.startswith(message), caught.value.message[:200]
    assert len(caught.value.message) < 300


def test_a_file_that_is_not_there_or_a_folder_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read(tmp_path / "none.toml")
    with pytest.raises(InputError, match="Is a directory"):
        read(tmp_path)


def test_a_mistyped_model_or_variant_names_the_near_one() -> None:
    with pytest.raises(UsageError) as caught:
        model_file.find("pvops-idnet")
    assert "pvops-ident" in str(caught.value.hint)
    with pytest.raises(UsageError) as caught:
        parse(TEXT, PATH).setting("onn")
    assert str(caught.value.hint) == "known: on"


def test_the_program_tells_an_error_of_a_file_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    PATH.write_text(replaced("chance = 0.5", "chance = 1.5"))
    assert run(["models", "mine.toml"]) == 3
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"kvmtrace: error: mine.toml:{line('chance = 0.5')}: ")
    PATH.write_text(TEXT)
    assert run(["models", "mine.toml"]) == 0
    assert "an exit less" in capsys.readouterr().out


# --- places ---


def test_places_are_those_of_tables_arrays_and_keys() -> None:
    text = (
        'a = 1\n[b.c]\nd.e = 2\n[[f]]\ng = 3\n[[f]] # two\ng = 4\n[f.h]\n"i j" = 5\n[[f.k]]\nl = 6\n["m.n".o]\np = 7\n'
    )
    assert lines_of_keys(text) == {
        ("a",): 1,
        ("b", "c"): 2,
        ("b", "c", "d", "e"): 3,
        ("f", "0"): 4,
        ("f", "0", "g"): 5,
        ("f", "1"): 6,
        ("f", "1", "g"): 7,
        ("f", "1", "h"): 8,
        ("f", "1", "h", "i j"): 9,
        ("f", "1", "k", "0"): 10,
        ("f", "1", "k", "0", "l"): 11,
        ("m.n", "o"): 12,
        ("m.n", "o", "p"): 13,
    }


def test_what_looks_like_a_key_inside_a_text_is_none() -> None:
    text = 'a = """\nb = 1\n[c]\n"""\nd = 2\ne = \'\'\'f = 1\'\'\'\ng = 3\nh = "x # y" # i = 1\n'
    assert lines_of_keys(text) == {("a",): 1, ("d",): 5, ("e",): 6, ("g",): 7, ("h",): 8}


def test_keys_of_inline_tables_have_the_line_that_they_stand_on() -> None:
    text = 'a = { b = 1, c = { d = "}, e = 2", f = [1, 2] } }\n'
    text += "g = [\n  { h = 1 }, # first\n  { h = 2,\n    i = 3 },\n]\nj = 1\n"
    found = lines_of_keys(text)
    assert found["a", "c", "f"] == 1
    assert ("a", "c", "e") not in found
    assert found["g", "0", "h"] == 3
    assert found["g", "1", "h"] == 4
    assert found["g", "1", "i"] == 5
    assert found["j",] == 7


def test_the_line_of_a_place_that_is_there_is_looked_up_not_searched() -> None:
    class Places(dict[tuple[str, ...], int]):
        def items(self) -> NoReturn:
            raise AssertionError("all places are gone through for each")

    places = Places(lines_of_keys("".join(f"[[a]]\nb = {n}\n" for n in range(3))))
    assert line_of(places, ("a", "2", "b")) == 6


def test_the_line_of_a_place_is_that_of_what_holds_it() -> None:
    places = {("a",): 1, ("a", "b"): 2}
    assert [line_of(places, place) for place in (("a", "b", "c"), ("a", "d"), ("e",), ())] == [2, 1, None, None]


def test_every_key_of_a_model_has_its_line() -> None:
    found = lines_of_keys(TEXT)
    missing = [place for place in _places((), tomllib.loads(TEXT)) if place not in found]
    assert missing == []
    lines = TEXT.splitlines()
    wrong = [place for place, at in found.items() if not place[-1].isdigit() and place[-1] not in lines[at - 1]]
    assert wrong == []


def _places(place: tuple[str, ...], value: object) -> list[tuple[str, ...]]:
    """Return the place of every key and of every table in an array that has no table of its own above."""
    if isinstance(value, dict):
        return [found for key, below in value.items() for found in _places((*place, key), below)]
    if isinstance(value, list) and any(isinstance(below, dict) for below in value):
        return [found for number, below in enumerate(value) for found in _places((*place, str(number)), below)]
    return [place]


# --- damage ---

_PIECES = st.sampled_from(
    [
        *[
            "",
            "=",
            "[",
            "]",
            "{",
            "}",
            '"',
            '"""',
            "'",
            "#",
            "\n",
            ".",
            ",",
            "-1",
            "nan",
            "inf",
            "1e400",
            "true",
            "\0",
            "é",
        ],
        *["[variants.on]\n", "9" * 40, "write", "off", "[[source]]\n", "a.b.c = 1\n", "1979-05-27", "\r\n"],
    ]
)


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(cuts=st.lists(st.tuples(st.integers(0, len(TEXT)), st.integers(0, 30), _PIECES), min_size=1, max_size=3))
@example(cuts=[(0, len(TEXT), "")])
def test_a_mutated_model_is_a_model_or_an_input_error(cuts: list[tuple[int, int, str]]) -> None:
    text = TEXT
    for start, length, piece in cuts:
        text = text[:start] + piece + text[start + length :]
    _model_or_input_error(text)


_VALUES = st.sampled_from(
    [
        *["-1", "0", "1e308", "nan", "-inf", '""', '"a"', "[]", "{}", "[[]]", "true", "1979-05-27T07:32:00Z", "9" * 30],
        *["[1, 2]", '"$vector"', "{ choose = [1] }", "{ mean = 1 }", "5", "0x7fffffffffffffff"],
    ]
)


@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_value_in_place_of_another_is_a_model_or_an_input_error(data: st.DataObject) -> None:
    lines = TEXT.splitlines()
    numbers = [number for number, text in enumerate(lines) if " = " in text]
    number = data.draw(st.sampled_from(numbers))
    pieces = lines[number].split(" = ")
    at = data.draw(st.integers(1, len(pieces) - 1))
    value = data.draw(_VALUES)
    rest = pieces[at].lstrip('-._0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ":')
    pieces[at] = value + rest if rest[:1] in {",", " ", "}"} else value
    lines[number] = " = ".join(pieces)
    _model_or_input_error("\n".join(lines))


def _model_or_input_error(text: str) -> None:
    try:
        model = parse(text, PATH)
    except InputError as found:
        assert found.message.startswith("mine.toml")  # noqa: PT017 - either way is right
        assert "\n" not in found.message  # noqa: PT017
    else:
        assert isinstance(model, Model)
