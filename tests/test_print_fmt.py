from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from print_fmt_text import render, render_as_perf

from kvmtrace.tracepoints import (
    EvaluationError,
    EventFormat,
    Expression,
    FormatError,
    PrintFormat,
    Value,
    field_symbols,
    parse_format,
)

CAPTURES = Path(__file__).parents[1].parent / "shared" / "captures"
X86_FORMATS = CAPTURES / "x86-svm/raw-ftrace/formats/kvm"

# Linux 6.1's, its tables cut to a few entries each.
KVM_EXIT = """\
name: kvm_exit
ID: 1368
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;

\tfield:unsigned int exit_reason;\toffset:8;\tsize:4;\tsigned:0;
\tfield:unsigned long guest_rip;\toffset:16;\tsize:8;\tsigned:0;
\tfield:u32 isa;\toffset:24;\tsize:4;\tsigned:0;
\tfield:u64 info1;\toffset:32;\tsize:8;\tsigned:0;
\tfield:u64 info2;\toffset:40;\tsize:8;\tsigned:0;
\tfield:u32 intr_info;\toffset:48;\tsize:4;\tsigned:0;
\tfield:u32 error_code;\toffset:52;\tsize:4;\tsigned:0;
\tfield:unsigned int vcpu_id;\toffset:56;\tsize:4;\tsigned:0;

print fmt: "vcpu %u reason %s%s%s rip 0x%lx info1 0x%016llx info2 0x%016llx intr_info 0x%08x error_code 0x%08x", \
REC->vcpu_id, (REC->isa == 1) ? __print_symbolic(REC->exit_reason & 0xffff, { 0, "EXCEPTION_NMI" }, { 12, "HLT" }, \
{ 33, "INVALID_STATE" }, { 48, "EPT_VIOLATION" }) : __print_symbolic(REC->exit_reason, { 0x000, "read_cr0" }, \
{ 0x040 + 13, "GP excp" }, { 0x078, "hlt" }, { 0x400, "npf" }, { -1, "invalid_guest_state" }), \
(REC->isa == 1 && REC->exit_reason & ~0xffff) ? " " : "", \
(REC->isa == 1) ? __print_flags(REC->exit_reason & ~0xffff, " ", { 0x80000000, "FAILED_VMENTRY" }) : "", \
REC->guest_rip, REC->info1, REC->info2, REC->intr_info, REC->error_code
"""

KVM_EMULATE_INSN = """\
name: kvm_emulate_insn
ID: 1372
format:
\tfield:__u64 rip;\toffset:8;\tsize:8;\tsigned:0;
\tfield:__u32 csbase;\toffset:16;\tsize:4;\tsigned:0;
\tfield:__u8 len;\toffset:20;\tsize:1;\tsigned:0;
\tfield:__u8 insn[15];\toffset:21;\tsize:15;\tsigned:0;
\tfield:__u8 flags;\toffset:36;\tsize:1;\tsigned:0;
\tfield:__u8 failed;\toffset:37;\tsize:1;\tsigned:0;

print fmt: "%x:%llx:%s (%s)%s", REC->csbase, REC->rip, __print_hex(REC->insn, REC->len), __print_symbolic(REC->flags, \
{ 0, "real" }, { (1 << 0) | (1 << 1), "vm16" }, { (1 << 0), "prot16" }, { (1 << 0) | (1 << 2), "prot32" }, \
{ (1 << 0) | (1 << 3), "prot64" }), REC->failed ? " failed" : ""
"""

KVM_USERSPACE_EXIT = """\
name: kvm_userspace_exit
ID: 1369
format:
\tfield:__u32 reason;\toffset:8;\tsize:4;\tsigned:0;
\tfield:int errno;\toffset:12;\tsize:4;\tsigned:1;

print fmt: "reason %s (%d)", REC->errno < 0 ? (REC->errno == -4 ? "restart" : "error") : \
__print_symbolic(REC->reason, { 0, "KVM_EXIT_" "UNKNOWN" }, { 2, "KVM_EXIT_" "IO" }), \
REC->errno < 0 ? -REC->errno : REC->reason
"""


def expression(text: str) -> Expression:
    (argument,) = PrintFormat.parse(f'"%d", {text}').arguments
    return argument


def value_of(text: str, **values: Value) -> int | str:
    return expression(text).evaluate(values)


def with_fields(lines: str, print_fmt: str) -> EventFormat:
    return parse_format(f"name: x\nID: 1\nformat:\n{lines}\nprint fmt: {print_fmt}\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("10 - 3 - 2", 5),
        ("1 << 2 + 1", 8),
        ("1 | 2 ^ 3 & 6", 1),
        ("1 == 1 & 2", 0),
        ("5 & 4 == 4", 1),
        ("0 || 1 && 0", 0),
        ("3 > 2 == 1", 1),
        ("3 >= 4 || 2 <= 2", 1),
        ("!0 + !5", 1),
        ("~0xffff & 0x12345", 0x10000),
        ("- -3", 3),
        ("-7 / 2", -3),
        ("-7 % 2", -1),
        ("0x040 + 13", 77),
        ("010", 8),
        ("0x10UL | 1ULL", 17),
        ("'i'", 105),
        (r"'\n' + '\x41'", 75),
        ("1 ? 2 : 0 ? 3 : 4", 2),
        ("0 ? 2 : 0 ? 3 : 4", 4),
        ("0 ?: 9", 9),
        ("7 ?: 9", 7),
        ("true + true + false", 2),
        ("sizeof(u32) + sizeof(unsigned long) + sizeof(struct page *)", 20),
        ("(u8)0x1ff", 0xFF),
        ("(s8)0xff", -1),
        ("(unsigned int) -1", 0xFFFFFFFF),
        ("(unsigned long long)(unsigned int) -1 >> 31", 1),
        ("(gfn_t)5", 5),
        ("0xffffffff + 1", 0),
        ("0xffffffffUL + 1", 1 << 32),
        ("-1 < 1u", 0),
        ("-1 == 0xffffffff", 1),
        ("-1UL == 0xffffffffffffffff", 1),
        ("1 << 31", -(1 << 31)),
        ("0x80000000 >> 31", 1),
    ],
)
def test_constants_evaluate_as_in_c(text: str, expected: int) -> None:
    assert value_of(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "1 / 0",
        "1 % 0",
        "1 << 64",
        "1 << -1",
        "1 << 40",
        '"text" + 1',
        "SOME_ENUM",
        "jiffies_to_msecs(3)",
        "*8",
        "&REC->a",
    ],
)
def test_what_has_no_value_is_an_evaluation_error(text: str) -> None:
    with pytest.raises(EvaluationError):
        value_of(text, a=1)


@pytest.mark.parametrize(
    "text",
    ["1 +", "(1", "1)", "{1}", "REC->", "REC->1", '"open', "'ab'", "08", "0x1ffffffffffffffff", "1.5", "@", "a b",
     "1 2", "f(,)", "f(", "__print_symbolic()", '__print_flags(1, 2, {1, "a"})', "__print_symbolic(1, {1})",
     "__print_hex(1)"],
)  # fmt: skip
def test_what_is_not_understood_is_a_format_error(text: str) -> None:
    with pytest.raises(FormatError):
        PrintFormat.parse(f'"%d", {text}')


def test_a_print_fmt_begins_with_its_template() -> None:
    assert PrintFormat.parse('"a" "b\\t%d", 1').template == "ab\t%d"
    assert PrintFormat.parse('"PML full", ').arguments == ()
    for text in ("", "REC->a", "1"):
        with pytest.raises(FormatError):
            PrintFormat.parse(text)


def test_a_raw_newline_stays_in_the_template() -> None:
    assert PrintFormat.parse('"inst %u\n", REC->inst').template == "inst %u\n"


def test_a_field_has_the_width_of_its_format_where_it_is_given() -> None:
    lines = "\tfield:u32 a;\toffset:8;\tsize:4;\tsigned:0;\n\tfield:u32 b;\toffset:12;\tsize:4;\tsigned:0;\n"
    event_format = with_fields(lines, '"%u", REC->a - REC->b')
    assert PrintFormat.of(event_format).arguments[0].evaluate({"a": 1, "b": 2}) == 0xFFFFFFFF
    assert PrintFormat.parse(event_format.print_fmt).arguments[0].evaluate({"a": 1, "b": 2}) == -1


def test_an_unsigned_long_keeps_its_high_bit() -> None:
    assert value_of("REC->e >> 56", e=0xAB00000000000000) == 0xAB
    assert value_of("REC->pfn != -1UL", pfn=0xFFFFFFFFFFFFFFFF) == 0


def test_a_missing_value_is_an_evaluation_error() -> None:
    for values in ({}, {"a": None}):
        with pytest.raises(EvaluationError, match="'a' has no value"):
            expression("REC->a").evaluate(values)


def test_and_or_and_conditionals_leave_alone_what_c_does() -> None:
    assert value_of("0 && REC->missing") == 0
    assert value_of("1 || REC->missing") == 1
    assert value_of("1 ? 2 : REC->missing") == 2


def test_fields_are_those_that_the_expression_reads() -> None:
    table, array = '__print_symbolic(REC->b & 1, {1, "x"})', "__print_hex(REC->c, __get_dynamic_array_len(d))"
    assert expression(f"REC->a ? {table} : {array} ?: __get_str(e)").fields() == {"a", "b", "c", "d", "e"}


def test_text_ends_at_its_first_nul() -> None:
    assert value_of("REC->comm", comm=b"qemu\0junk") == "qemu"
    assert value_of("__get_str(msg)", msg="hello") == "hello"
    assert value_of("REC->comm", comm=b"\xff") == "\\xff"


def test_elements_of_arrays_are_indexed() -> None:
    assert value_of("REC->args[2]", args=[1, 2, 3]) == 3
    assert value_of("((u8 *)__get_dynamic_array(ssid))[1]", ssid=b"ab") == 98
    assert value_of('__get_str(msg)[0] ? " " : ""', msg="") == ""
    lines = "\tfield:s8 a[2];\toffset:8;\tsize:2;\tsigned:1;\n\tfield:u32 b[2];\toffset:12;\tsize:8;\tsigned:0;\n"
    arguments = PrintFormat.of(with_fields(lines, '"%d %d %d", REC->a[1], sizeof(REC->b), REC->b[0]')).arguments
    assert arguments[0].evaluate({"a": b"\x01\xff"}) == -1
    assert arguments[1].evaluate({}) == 8
    not_elements: tuple[Value, ...] = (b"\1\0\0\0\2\0\0\0", [], 5)
    for bad in not_elements:
        with pytest.raises(EvaluationError):
            arguments[2].evaluate({"b": bad})


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ('__print_symbolic(REC->x, {1, "a"}, {2, "b" "c"})', 2, "bc"),
        ('__print_symbolic(REC->x, {1, "a"})', 0xAB, "0xab"),
        ('__print_symbolic(REC->x, {1, "a"})', -2, "0xfffffffffffffffe"),
        ('__print_symbolic(REC->x, {-4, "H_PARAMETER"})', -4, "H_PARAMETER"),
        ('__print_symbolic(REC->x, {9900, "FIRST"}, {9900, "SECOND"})', 9900, "FIRST"),
        ("__print_symbolic(REC->x, { })", 7, "0x7"),
        ('__print_symbolic(REC->x, {VDSO_CLOCKMODE_TSC, "tsc"}, {3, "c"})', 1, "0x1"),
        ('__print_symbolic(REC->x, {VDSO_CLOCKMODE_TSC, "tsc"}, {3, "c"})', 3, "c"),
        ('__print_symbolic(REC->x, {1, "a"}, {-1, ((void *)0)})', 1, "a"),
        ('__print_symbolic64(REC->x, {1, "a"})', 1, "a"),
        ('__print_flags(REC->x, "|", {1, "a"}, {2, "b"}, {4, "c"})', 5, "a|c"),
        ('__print_flags(REC->x, "|", {1, "a"}, {2, "b"})', 0x32, "b|0x30"),
        ('__print_flags(REC->x, "|", {1, "a"})', 0, ""),
        ('__print_flags(REC->x, "", {3, "ab"}, {1, "a"})', 1, "a"),
        ('__print_flags_u64(REC->x, "|", {1ULL << 40, "far"})', 1 << 40, "far"),
        ("__print_hex(REC->x, 3)", b"\x0f\x01\xd1\x00", "0f 01 d1"),
        ("__print_hex_str(REC->x, 3)", b"\x0f\x01\xd1\x00", "0f01d1"),
        ("__print_hex(REC->x, 0)", b"\x0f", ""),
        ("__print_hex(__get_dynamic_array(x), __get_dynamic_array_len(x))", b"\xab\xcd", "ab cd"),
        ("__print_array(REC->x, 2, 8)", [1, 255, 3], "{0x1,0xff}"),
        ("__print_array(REC->x, 1, 1)", b"\xfe", "{0xfe}"),
    ],
)
def test_the_print_helpers_print_what_the_kernel_prints(text: str, value: Value, expected: str) -> None:
    assert value_of(text, x=value) == expected


@pytest.mark.parametrize(
    "text",
    ["__print_hex(REC->x, 3)", "__print_hex(REC->x, -1)", "__print_array(REC->x, 1, 8)", "__print_array(REC->x, 1, 3)"],
)
def test_arrays_are_not_read_beyond_their_end(text: str) -> None:
    with pytest.raises(EvaluationError):
        value_of(text, x=b"\1\2")


def test_a_key_of_minus_one_names_four_bytes_of_ones_and_no_other_width() -> None:
    for size, shown in ((4, "gone"), (8, "0xffffffff")):
        line = f"\tfield:unsigned long x;\toffset:8;\tsize:{size};\tsigned:0;\n"
        (argument,) = PrintFormat.of(with_fields(line, '"%s", __print_symbolic(REC->x, {-1, "gone"})')).arguments
        assert argument.evaluate({"x": 0xFFFFFFFF}) == shown
    both = '__print_symbolic(REC->x, {-1, "truncated"}, {0xffffffff, "exact"})'
    assert value_of(both, x=0xFFFFFFFF) == "exact"


def test_a_flag_in_bit_31_is_found_in_four_bytes() -> None:
    line = "\tfield:u32 x;\toffset:8;\tsize:4;\tsigned:0;\n"
    (argument,) = PrintFormat.of(with_fields(line, '"%s", __print_flags(REC->x, "|", {1 << 31, "top"})')).arguments
    assert argument.evaluate({"x": 0x80000000}) == "top"


def test_the_argument_after_a_literal_is_found() -> None:
    print_format = PrintFormat.parse('"100%% %*.*f at %-5s at %pS.", 1, 2, 3, REC->a, REC->b')
    found = print_format.conversion_argument("at ")
    assert found is not None
    assert found.fields() == {"a"}
    assert print_format.conversion_argument("100% ") == expression("3")
    assert print_format.conversion_argument("nowhere ") is None
    assert PrintFormat.parse('"reason %s"').conversion_argument("reason ") is None
    assert [conversion.specifier for conversion in print_format.conversions] == ["f", "s", "pS"]


@pytest.mark.parametrize(
    "print_format", [PrintFormat.of(parse_format(KVM_EXIT)), PrintFormat.parse(parse_format(KVM_EXIT).print_fmt)]
)
def test_the_exit_reason_is_named_and_its_key_is_masked(print_format: PrintFormat) -> None:
    reason = print_format.conversion_argument("reason ")
    assert reason is not None
    for isa, code, name, key in (
        (2, 0x78, "hlt", 0x78),
        (2, 77, "GP excp", 77),
        (2, 0xFFFFFFFF, "invalid_guest_state", 0xFFFFFFFF),
        (2, 0x1234, "0x1234", 0x1234),
        (1, 12, "HLT", 12),
        (1, 0x80000021, "INVALID_STATE", 33),
    ):
        values = {"isa": isa, "exit_reason": code}
        assert (reason.evaluate(values), reason.symbol_key(values)) == (name, key)


def test_a_result_that_no_lookup_decides_has_no_symbol_key() -> None:
    reason = PrintFormat.of(parse_format(KVM_USERSPACE_EXIT)).conversion_argument("reason ")
    assert reason is not None
    assert reason.symbol_key({"errno": -4, "reason": 2}) is None
    assert reason.symbol_key({"errno": 0, "reason": 2}) == 2
    assert expression("REC->a").symbol_key({"a": 1}) is None


def test_field_symbols_takes_the_first_table_of_a_field() -> None:
    symbols = field_symbols(parse_format(KVM_EXIT))
    assert symbols == {"exit_reason": {0: "EXCEPTION_NMI", 12: "HLT", 33: "INVALID_STATE", 48: "EPT_VIOLATION"}}


def test_field_symbols_takes_the_table_that_a_known_field_chooses() -> None:
    symbols = field_symbols(parse_format(KVM_EXIT), {"isa": 2})
    names = {0: "read_cr0", 77: "GP excp", 0x78: "hlt", 0x400: "npf", 0xFFFFFFFF: "invalid_guest_state"}
    assert symbols == {"exit_reason": names}


@pytest.mark.parametrize(
    ("declaration", "operand", "expected"),
    [
        ("s64 x;\toffset:8;\tsize:8;\tsigned:1;", "REC->x", {-1: "minus", 3: "three", 0x1FF: "wide"}),
        ("u64 x;\toffset:8;\tsize:8;\tsigned:0;", "REC->x", {(1 << 64) - 1: "minus", 3: "three", 0x1FF: "wide"}),
        ("u8 x;\toffset:8;\tsize:1;\tsigned:0;", "REC->x", {3: "three"}),
        ("u32 x;\toffset:8;\tsize:4;\tsigned:0;", "(u8)REC->x", {3: "three"}),
        ("u32 x;\toffset:8;\tsize:4;\tsigned:0;", "0xff & REC->x", {3: "three"}),
        ("u32 x;\toffset:8;\tsize:4;\tsigned:0;", "REC->y & 2 ? 9999 : REC->x & 0x1ff", {3: "three", 0x1FF: "wide"}),
        ("u32 x;\toffset:8;\tsize:4;\tsigned:0;", "REC->x >> 8 & 7", None),
        ("char x[4];\toffset:8;\tsize:4;\tsigned:0;", "REC->x", None),
    ],
)
def test_field_symbols_names_plain_values_that_the_field_can_have(
    declaration: str, operand: str, expected: dict[int, str] | None
) -> None:
    table = '{-1, "minus"}, {3, "three"}, {0x1ff, "wide"}'
    event_format = with_fields(f"\tfield:{declaration}\n", f'"%s", __print_symbolic({operand}, {table})')
    assert field_symbols(event_format).get("x") == expected


def test_field_symbols_of_a_print_fmt_that_is_not_understood_are_none() -> None:
    assert field_symbols(with_fields("", '"%s", ({ int x; x; })')) == {}


def nested(opening: str, inner: str, closing: str, levels: int) -> str:
    return opening * levels + inner + closing * levels


HOSTILE = [
    nested("(", "1", ")", 30_000),
    nested("f(", "1", ")", 20_000),
    nested("a[", "1", "]", 20_000),
    nested("1 ? ", "1", " : 1", 7_000),
    nested("a || b && c | d ^ e & f == g < h << i + j * (", "1", ")", 1_000),
    nested("__print_symbolic(1, {", "1", ', "a"})', 2_000),
    nested("sizeof(", "1", ")", 7_000),
    "-" * 60_000 + "1",
    "(u8)" * 15_000 + "1",
    "*" * 60_000 + "REC->a",
    "REC->a" + "[0]" * 20_000,
    "REC->a" + ".b" * 30_000,
    "1" + " + 1" * 15_000,
    "(" + "a " * 30_000,
    "(a" + " *" * 30_000,
    '"' + "\\" * 60_000,
    "9" * 60_000,
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:12])
def test_hostile_nesting_is_a_format_error(text: str) -> None:
    assert len(text) < 1 << 16  # or it is refused for its length
    with pytest.raises(FormatError):
        PrintFormat.parse(f'"%d", {text}')


def test_a_print_fmt_longer_than_any_real_one_is_a_format_error() -> None:
    with pytest.raises(FormatError, match="characters"):
        PrintFormat.parse('"%d", ' + " " * (1 << 16) + "1")


@pytest.mark.parametrize(
    "text",
    [
        "0 ? 1 : " * 7_000 + "5",
        nested("(", "0 ?: 5", ") ?: 5", 50),
        nested("(", "5", " ? 5 : 6)", 50),
        nested("(0 || ", "5", ")", 30) + " ? 5 : 6",
        "5 + 0 * (" + " & ".join(["1"] * 100) + ")",
    ],
    ids=lambda text: text[:12],
)
def test_long_and_deep_expressions_evaluate_in_linear_time(text: str) -> None:
    assert value_of(text) == 5


@given(
    st.lists(
        st.sampled_from(
            ["REC->", "a", "b", "1", "0x10", "-1", "(", ")", "{", "}", "[", "]", ",", "?", ":", "+", "-", "*", "/", "%",
             "<<", ">>", "&", "|", "&&", "==", "<", "!", "~", '"s"', "'c'", "(u8)", "(void *)", "sizeof",
             "__print_symbolic(", "__print_flags(", "__print_hex(", "__print_array(", "__get_str(",
             "__get_dynamic_array_len(", "f("],
        ),
        max_size=30,
    ),
    st.integers(-(1 << 63), (1 << 64) - 1) | st.binary(max_size=4) | st.text(max_size=4) | st.lists(st.integers()),
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_any_tokens_give_a_value_or_one_of_the_two_errors(tokens: list[str], value: Value) -> None:
    try:
        arguments = PrintFormat.parse('"%d",' + " ".join(tokens)).arguments
    except FormatError:
        return
    for argument in arguments:
        try:
            assert isinstance(argument.evaluate({"a": value, "b": 3}), int | str)
            argument.symbol_key({"a": value, "b": 3})
        except EvaluationError:
            pass


@pytest.mark.parametrize(
    ("conversion", "value", "expected"),
    [
        ("%d", 0xFFFFFFFF, "-1"),
        ("%u", -1, "4294967295"),
        ("%lld", -5, "-5"),
        ("%llu", -1, "18446744073709551615"),
        ("%hhx", 0x1FF, "ff"),
        ("%x", 0x1_0000_00AB, "ab"),
        ("%#x", 0, "0"),
        ("%#010x", 0xFE, "0x000000fe"),
        ("%#08lx", 0x12, "0x000012"),
        ("%016llx", 0xAB, "00000000000000ab"),
        ("%#16llx", 0xAB, "            0xab"),
        ("%-6d|", -42, "-42   |"),
        ("%+d % d", 4, "+4  4"),
        ("%.3d", 7, "007"),
        ("%06.3d", 7, "   007"),
        ("%#o", 8, "010"),
        ("%c%%", 105, "i%"),
        ("%pS", 0xFFFF, "0xffff"),
        ("%5s|", "ab", "   ab|"),
        ("%-5.1s|", "ab", "a    |"),
        ("%s", 0xAB, "ab"),
    ],
)
def test_render_formats_as_printf_does(conversion: str, value: int | str, expected: str) -> None:
    arguments = ", ".join(["REC->x"] * conversion.replace("%%", "").count("%"))
    event_format = with_fields("", f'"{conversion}", {arguments}')
    assert render(event_format, {"x": value}) == expected


def test_render_takes_width_and_precision_from_arguments() -> None:
    event_format = with_fields("", '"[%*d] [%-*.*s]", 5, REC->x, 4, 2, "abc"')
    assert render(event_format, {"x": 42}) == "[   42] [ab  ]"


def test_render_prints_an_exit_as_the_kernel_does() -> None:
    values: dict[str, int] = {
        "vcpu_id": 1, "isa": 2, "exit_reason": 0x400, "guest_rip": 0xFFFFFFFF8106AB02, "info1": 0x10000000E,
        "info2": 0xFEE000B0, "intr_info": 0x23, "error_code": 0,
    }  # fmt: skip
    event_format = parse_format(KVM_EXIT)
    assert render(event_format, values) == (
        "vcpu 1 reason npf rip 0xffffffff8106ab02 info1 0x000000010000000e info2 0x00000000fee000b0 "
        "intr_info 0x00000023 error_code 0x00000000"
    )
    flagged = render(event_format, values | {"isa": 1, "exit_reason": 0x80000021})
    assert flagged.startswith("vcpu 1 reason INVALID_STATE FAILED_VMENTRY rip ")


def test_render_prints_an_instruction_as_the_kernel_does() -> None:
    values: dict[str, Value] = {
        "csbase": 0, "rip": 0xFFFFFFFF81072C27, "len": 3, "insn": bytes.fromhex("0f01d9") + bytes(12), "flags": 9,
        "failed": 0,
    }  # fmt: skip
    event_format = parse_format(KVM_EMULATE_INSN)
    assert render(event_format, values) == "0:ffffffff81072c27:0f 01 d9 (prot64)"
    assert render(event_format, values | {"failed": 1}).endswith(" failed")


def test_perf_loses_the_sign_of_integers_below_8_bytes() -> None:
    event_format = parse_format(KVM_USERSPACE_EXIT)
    assert render(event_format, {"reason": 0, "errno": -4}) == "reason restart (4)"
    assert render_as_perf(event_format, {"reason": 0, "errno": -4}) == "reason KVM_EXIT_UNKNOWN (0)"
    assert render_as_perf(event_format, {"reason": 2, "errno": 0}) == render(event_format, {"reason": 2, "errno": 0})


@pytest.mark.skipif(not X86_FORMATS.is_dir(), reason=f"no recordings at {X86_FORMATS}")
@pytest.mark.parametrize(
    ("event", "values", "text"),
    [
        (
            "kvm_pio",
            {"rw": 0, "port": 0x3FA, "size": 1, "count": 1, "val": 0xCC},
            "pio_read at 0x3fa size 1 count 1 val 0xcc ",
        ),
        ("kvm_inj_virq", {"vector": 0xEC, "soft": 0, "reinjected": 0}, "IRQ 0xec"),
        ("kvm_inj_exception", {"exception": 6, "has_error": 0, "error_code": 0, "reinjected": 0}, "#UD"),
        (
            "kvm_inj_exception",
            {"exception": 13, "has_error": 1, "error_code": 2, "reinjected": 1},
            "#GP (0x2) [reinjected]",
        ),
        ("kvm_msr", {"write": 1, "ecx": 0x6E0, "data": 7, "exception": 1}, "msr_write 6e0 = 0x7 (#GP)"),
        ("kvm_apic", {"rw": 1, "reg": 0xB0, "val": 0}, "apic_write APIC_EOI = 0x0"),
        (
            "kvm_pic_set_irq",
            {"chip": 0, "pin": 4, "elcr": 0, "imr": 0x10, "coalesced": 0},
            "chip 0 pin 4 (edge|masked)",
        ),
        ("kvm_nested_vmenter_failed", {"msg": b"bad\0", "err": 0}, "bad"),
        (
            "kvm_msi_set_irq",
            {"address": 0xFEE01004, "data": 0x4022},
            "dst 1 vec 34 (Fixed|logical|edge)",
        ),
        ("kvm_wait_lapic_expire", {"vcpu_id": 0, "delta": -3}, "vcpu 0: delta -3 (early)"),
    ],
)
def test_recorded_formats_print_their_events(event: str, values: dict[str, Value], text: str) -> None:
    event_format = parse_format((X86_FORMATS / event / "format").read_text())
    assert render(event_format, values) == text


@pytest.mark.skipif(not X86_FORMATS.is_dir(), reason=f"no recordings at {X86_FORMATS}")
def test_recorded_symbol_tables_are_whole() -> None:
    event_format = parse_format((X86_FORMATS / "kvm_exit" / "format").read_text())
    vmx, svm = (field_symbols(event_format, {"isa": isa})["exit_reason"] for isa in (1, 2))
    assert (vmx[48], vmx[75], svm[0x400], svm[0x78], svm[0x8000FFFD]) == (
        "EPT_VIOLATION",
        "NOTIFY",
        "npf",
        "hlt",
        "vmgexit_hypervisor_feature",
    )
    userspace = parse_format((X86_FORMATS / "kvm_userspace_exit" / "format").read_text())
    assert field_symbols(userspace)["reason"][2] == "KVM_EXIT_IO"
