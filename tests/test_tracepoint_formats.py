from __future__ import annotations

import contextlib
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvmtrace.tracepoints import EvaluationError, EventFormat, Field, FieldShape, FormatError, PrintFormat, parse_format

CAPTURES = Path(__file__).parents[1].parent / "shared" / "captures"

COMMON_NAMES = ["common_type", "common_flags", "common_preempt_count", "common_pid"]
COMMON = """\
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;
"""

KVM_EMULATE_INSN = f"""\
name: kvm_emulate_insn
ID: 1372
format:
{COMMON}
\tfield:__u64 rip;\toffset:8;\tsize:8;\tsigned:0;
\tfield:__u32 csbase;\toffset:16;\tsize:4;\tsigned:0;
\tfield:__u8 len;\toffset:20;\tsize:1;\tsigned:0;
\tfield:__u8 insn[15];\toffset:21;\tsize:15;\tsigned:0;
\tfield:__u8 flags;\toffset:36;\tsize:1;\tsigned:0;
\tfield:__u8 failed;\toffset:37;\tsize:1;\tsigned:0;

print fmt: "%x:%llx", REC->csbase, REC->rip
"""


def parsed_field(line: str, **options: int) -> Field:
    event_format = parse_format(f'name: x\nID: 1\nformat:\n\t{line}\n\nprint fmt: ""\n', **options)
    (field,) = event_format.fields
    return field


def test_a_format_text_gives_name_id_fields_and_print_fmt() -> None:
    event_format = parse_format(KVM_EMULATE_INSN)
    assert (event_format.name, event_format.id) == ("kvm_emulate_insn", 1372)
    assert event_format.print_fmt == '"%x:%llx", REC->csbase, REC->rip'
    assert [field.name for field in event_format.fields[:4]] == COMMON_NAMES
    assert [field.name for field in event_format.own_fields] == ["rip", "csbase", "len", "insn", "flags", "failed"]


def test_offsets_and_sizes_are_those_of_the_text() -> None:
    fields = {field.name: field for field in parse_format(KVM_EMULATE_INSN).fields}
    assert fields["rip"] == Field("rip", "__u64", 8, 8, signed=False, shape=FieldShape.INTEGER, element_size=8, count=1)
    assert fields["insn"] == Field(
        "insn", "__u8", 21, 15, signed=False, shape=FieldShape.ARRAY, element_size=1, count=15
    )
    assert fields["common_pid"].signed


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("field:unsigned long guest_rip;\toffset:16;\tsize:8;\tsigned:0;", ("guest_rip", "INTEGER", 8, 1)),
        ("field:bool failed;\toffset:37;\tsize:1;\tsigned:0;", ("failed", "BOOL", 1, 1)),
        ("field:enum kvm_irq type;\toffset:8;\tsize:4;\tsigned:0;", ("type", "INTEGER", 4, 1)),
        ("field:struct kvm_vcpu * vcpu;\toffset:8;\tsize:8;\tsigned:0;", ("vcpu", "POINTER", 8, 1)),
        ("field:void* base;\toffset:8;\tsize:4;\tsigned:0;", ("base", "POINTER", 4, 1)),
        ("field:char comm[16];\toffset:8;\tsize:16;\tsigned:0;", ("comm", "CHAR_ARRAY", 1, 16)),
        ("field:const char comm[TASK_COMM_LEN];\toffset:8;\tsize:16;\tsigned:1;", ("comm", "CHAR_ARRAY", 1, 16)),
        ("field:char rwbs[32 + 1];\toffset:8;\tsize:33;\tsigned:1;", ("rwbs", "CHAR_ARRAY", 1, 33)),
        ("field:unsigned char mac[6];\toffset:8;\tsize:6;\tsigned:0;", ("mac", "ARRAY", 1, 6)),
        ("field:unsigned long args[6];\toffset:16;\tsize:48;\tsigned:0;", ("args", "ARRAY", 8, 6)),
        ("field:u32 hist[2][3];\toffset:16;\tsize:24;\tsigned:0;", ("hist", "ARRAY", 4, 6)),
        ("field:__u8 insn[X86_MAX_INSTRUCTION_LENGTH];\toffset:21;\tsize:15;\tsigned:0;", ("insn", "ARRAY", 1, 15)),
        ("field:u64 mem[(4 * sizeof(u64)) / sizeof(u64)];\toffset:8;\tsize:32;\tsigned:0;", ("mem", "ARRAY", 8, 4)),
        ("field:opaque_t x[MANY];\toffset:8;\tsize:12;\tsigned:0;", ("x", "OPAQUE", 1, 12)),
        ("field:struct timespec64 x;\toffset:8;\tsize:8;\tsigned:0;", ("x", "OPAQUE", 1, 8)),
        ("field:guid_t id;\toffset:8;\tsize:16;\tsigned:0;", ("id", "OPAQUE", 1, 16)),
        ("field:char buf[];\toffset:16;\tsize:0;\tsigned:0;", ("buf", "TAIL_STRING", 1, 0)),
        ("field:char buf;\toffset:12;\tsize:0;\tsigned:0;", ("buf", "TAIL_STRING", 1, 0)),
        ("field:u32 buf[];\toffset:24;\tsize:0;\tsigned:0;", ("buf", "OPAQUE", 1, 0)),
        ("field:__data_loc char[] msg;\toffset:8;\tsize:4;\tsigned:1;", ("msg", "DATA_LOC_STRING", 1, 0)),
        ("field:__data_loc u8[] buf;\toffset:8;\tsize:4;\tsigned:0;", ("buf", "DATA_LOC_ARRAY", 1, 0)),
        ("field:__data_loc unsigned long[] mask;\toffset:8;\tsize:4;\tsigned:0;", ("mask", "DATA_LOC_ARRAY", 8, 0)),
        ("field:__data_loc cpumask_t *[] cpus;\toffset:8;\tsize:4;\tsigned:0;", ("cpus", "DATA_LOC_ARRAY", 8, 0)),
        ("field:__rel_loc char[] msg;\toffset:8;\tsize:4;\tsigned:0;", ("msg", "REL_LOC_STRING", 1, 0)),
        ("field:__rel_loc u16[] x;\toffset:8;\tsize:4;\tsigned:0;", ("x", "REL_LOC_ARRAY", 2, 0)),
        ("field special:char x[];\toffset:8;\tsize:0;\tsigned:0;", ("x", "TAIL_STRING", 1, 0)),
    ],
)
def test_the_declaration_tells_the_shape(line: str, expected: tuple[str, str, int, int]) -> None:
    field = parsed_field(line)
    assert (field.name, field.shape.name, field.element_size, field.count) == expected


def test_a_dynamic_array_of_longs_has_the_recordings_long_size() -> None:
    line = "field:__data_loc unsigned long[] mask;\toffset:8;\tsize:4;\tsigned:0;"
    assert parsed_field(line, long_size=4).element_size == 4


@pytest.mark.parametrize(
    ("c_type", "signed"),
    [("int", True), ("pid_t", True), ("long long", True), ("unsigned int", False), ("u32", False), ("gfp_t", False)],
)
def test_without_signed_the_c_type_tells_the_sign(c_type: str, *, signed: bool) -> None:
    assert parsed_field(f"field:{c_type} x;\toffset:8;\tsize:4;").signed is signed


def test_pointers_and_booleans_have_no_sign() -> None:
    assert not parsed_field("field:void * x;\toffset:8;\tsize:8;\tsigned:1;").signed
    assert not parsed_field("field:bool x;\toffset:8;\tsize:1;\tsigned:1;").signed


def test_a_name_that_comes_again_gets_the_next_free_number() -> None:
    lines = "".join(f"\tfield:int {n};\toffset:8;\tsize:4;\tsigned:1;\n" for n in ("a", "a_2", "a", "a", "a_2"))
    event_format = parse_format(f'name: x\nID: 1\nformat:\n{lines}\nprint fmt: ""\n')
    assert [field.name for field in event_format.fields] == ["a", "a_2", "a_3", "a_4", "a_2_2"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "PERFILE2",
        "name: x\nformat:\n",
        f"name: {'x' * 256}\nID: 1\nformat:\n",
        "name: x\nID: minus\nformat:\n",
        "name: x\nID: 1\nformat:\n\tfield:int a;\toffset:-8;\tsize:4;\tsigned:1;\n",
        "name: x\nID: 1\nformat:\n\tfield:int a;\toffset:8;\tsize:-4;\tsigned:1;\n",
        "name: x\nID: 1\nformat:\n\tfield:int a;\toffset:65536;\tsize:4;\tsigned:1;\n",
        "name: x\nID: 1\nformat:\n\tfield:int a;\toffset:8;\tsize:65536;\tsigned:1;\n",
        "name: x\nID: 1\nformat:\n\tfield:int a;\toffset:65535;\tsize:65535;\tsigned:1;\n",
        f"name: x\nID: 1\nformat:\n\tfield:int a;\toffset:{'9' * 5000};\tsize:4;\tsigned:1;\n",
        "name: x\nID: 1\nformat:\n\tfield:int;\toffset:8;\tsize:4;\tsigned:1;\n",
        "name: x\nID: 1\nformat:\n\tfield:int a[4;\toffset:8;\tsize:4;\tsigned:1;\n",
        "name: x\nID: 1\nformat:\nnot a field\n",
        "name: x\nID: 1\nformat:\n"
        + "".join(f"\tfield:u8 a{i};\toffset:8;\tsize:1;\tsigned:0;\n" for i in range(1025)),
        "name: x\nID: 1\nformat:\n\tfield:" + "a[ " * 200_000,
        "\n" * (1 << 20) + "name: x",
    ],
    ids=lambda text: repr(text[-40:]),
)
def test_what_is_no_format_text_is_a_format_error(text: str) -> None:
    with pytest.raises(FormatError):
        parse_format(text)


def test_an_error_quotes_the_text_escaped_and_cut() -> None:
    with pytest.raises(FormatError) as caught:
        parse_format("name: x\nID: 1\nformat:\n\x1b[2J" + "y" * 1000 + "\n")
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 200


@given(st.text(alphabet="name: xID1format\n\tfield:;offsetsizesigned[]*_ 0123", max_size=300))
@settings(max_examples=200, deadline=None)
def test_any_text_parses_or_is_a_format_error(tail: str) -> None:
    with contextlib.suppress(FormatError):
        parse_format("name: x\nID: 1\nformat:\n" + tail)


def recorded_texts() -> list[str]:
    texts = {path.read_text() for path in CAPTURES.glob("x86-svm/raw-ftrace/formats/*/*/format")}
    for path in CAPTURES.glob("*/*formats/formats.txt"):
        texts.update(re.split(r"\n(?=name: )", path.read_text()))
    return sorted(texts)


def placeholder(field: Field) -> int | bytes | list[int]:
    """Return some value that a field of this shape may have."""
    if field.shape in (FieldShape.INTEGER, FieldShape.BOOL, FieldShape.POINTER):
        return 1
    return bytes([1] * max(field.count, 1)) if field.element_size == 1 else [1] * max(field.count, 1)


@pytest.fixture(scope="module")
def recorded_formats() -> list[EventFormat]:
    if not CAPTURES.is_dir():
        pytest.skip(f"no recordings at {CAPTURES}")
    return [parse_format(text) for text in recorded_texts()]


def test_every_recorded_format_parses_on_four_architectures(recorded_formats: list[EventFormat]) -> None:
    assert len(recorded_formats) >= 160
    for event_format in recorded_formats:
        assert [field.name for field in event_format.fields[:4]] == COMMON_NAMES, event_format.name
        ends = [field.offset + field.size for field in event_format.fields]
        starts = [field.offset for field in event_format.fields[1:]]
        assert all(end <= start for end, start in zip(ends, starts, strict=False)), event_format.name


def test_every_recorded_print_fmt_parses_and_evaluates(recorded_formats: list[EventFormat]) -> None:
    names = {event_format.name for event_format in recorded_formats}
    assert {"kvm_exit", "kvm_inj_exception", "kvm_sys_access", "kvm_arm_set_regset", "kvm_ppc_instr"} <= names
    for event_format in recorded_formats:
        print_format = PrintFormat.of(event_format)
        assert len(print_format.conversions) == len(print_format.arguments), event_format.name
        values = {field.name: placeholder(field) for field in event_format.fields}
        for argument in print_format.arguments:
            assert argument.fields() <= values.keys()
            try:
                argument.evaluate(values)
            except EvaluationError as error:
                pytest.fail(f"{event_format.name}: {error}")
