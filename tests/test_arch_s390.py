"""What s390 makes of its tracepoints: intercepts and what they were about, waits and vCPUs, in layouts of kernels."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import damage
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_runs import Row, StoredRun, Thread, column, pick, stored

from benchmarks.recording_builder import Recording
from kvmtrace import arch
from kvmtrace.arch.base import NO_ROLE, Detail, Reason, Role
from kvmtrace.arch.s390 import S390
from kvmtrace.arch.s390_names import INSTRUCTIONS, operation_codes
from kvmtrace.recording import EventKind, Facts
from kvmtrace.store.manifest import Manifest
from kvmtrace.tracepoints import PrintFormat, parse_format

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from kvmtrace.writers.tracepoint_records import FieldValue

HEAD = """\
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;
"""
OWN = "int id, unsigned long pswmask, unsigned long pswaddr"
SIZES = {"char": 1, "u8": 1, "__u8": 1, "__u16": 2, "int": 4, "u32": 4, "__u32": 4, "unsigned int": 4}
SIZES |= {"bool": 1, "__u64": 8, "u64": 8, "unsigned long": 8}


def text_of(name: str, number: int, fields: str, print_fmt: str) -> str:
    """Return a format text; fields are "type name, type name", one behind the other at their natural offsets."""
    lines, offset = [], 8
    for declared in fields.split(", "):
        c_type, _, field = declared.rpartition(" ")
        size, count = SIZES[c_type], int(field.partition("[")[2].strip("]") or 1)
        offset = -(-offset // size) * size
        line = (
            f"\tfield:{declared};\toffset:{offset};\tsize:{size * count};\tsigned:{int(c_type in ('int', 'char'))};\n"
        )
        lines.append(line)
        offset += size * count
    return f"name: {name}\nID: {number}\nformat:\n{HEAD}\n{''.join(lines)}\nprint fmt: {print_fmt}\n"


def own_text(name: str, number: int, fields: str, template: str, *arguments: str) -> str:
    """Return the format text of an event of a vCPU (VCPU_TP_PRINTK)."""
    template = f'"%02d[%016lx-%016lx]: " "{template}"'
    print_fmt = ", ".join([template, "REC->id", "REC->pswmask", "REC->pswaddr", *arguments])
    return text_of(name, number, f"{OWN}, {fields}" if fields else OWN, print_fmt)


def symbolic(operand: str, names: dict[int, str]) -> str:
    pairs = ", ".join(f'{{ {code:#x}, "{name}" }}' for code, name in names.items())
    return f"__print_symbolic({operand}, {pairs})"


OLD_INTERCEPTS = {4: "Instruction", 8: "Program interruption", 0xC: "Instruction and program interuption"}
OLD_INTERCEPTS |= {0x14: "External interruption", 0x1C: "Wait state"}
NEW_INTERCEPTS = {0: "Host interruption", **OLD_INTERCEPTS, 0xC: "Instruction and program interruption"}
NEW_INTERCEPTS |= {0x20: "Validity", 0x2C: "Operation exception", 0x38: "Partial-execution"}
OLD_ORDERS, NEW_ORDERS = {1: "sense", 2: "external call"}, {1: "SIGP sense", 2: "SIGP external call"}
OLD_CODES, NEW_CODES = {0x10: "release pages", 0x44: "time slice end"}, {0x44: "DIAG (0x44) time slice end"}
MNEMONICS = {0xB234: "0xB2 STSCH", 0xB220: "0xB2 SERVC", 0xEB2F: "0xEB LCTLG", 0x83: "DIAG", 0xAE: "SIGP"}


def decoder() -> str:
    """Return icpt_insn_decoder as the preprocessor leaves it in the format text."""
    word, bytes_and_shifts = "REC->instruction", [(0x01, 48), (0xB2, 48), (0xB9, 48), (0xE3, 48), (0xEB, 16)]
    choices = (
        f"({word} >> 56) == ({first:#x}) ? (({first:#x} << 8) | (({word} >> {shift}) & 0xff)) : "
        for first, shift in bytes_and_shifts
    )
    return f"({''.join(choices)}({word} >> 56))"


def instruction_codes() -> str:
    """Return icpt_insn_codes as the preprocessor leaves it, names made of several strings included."""
    pairs = (
        f'{{ (0x{code >> 8:X} << 8 | 0x{code & 0xFF:02x}), "0x{code >> 8:X}" " " "{name.split()[1]}" }}'
        if code >> 8
        else f'{{ {code:#x}, "{name}" }}'
        for code, name in MNEMONICS.items()
    )
    return f"__print_symbolic({decoder()}, {', '.join(pairs)})"


MNEMONIC_OF_KERNEL = (
    'insn_to_mnemonic((unsigned char *) &REC->instruction, REC->insn, sizeof(REC->insn)) ? "unknown" : REC->insn'
)


def texts(kernel: str) -> dict[str, str]:
    """Return the format texts of a kernel: 3.14 with tables of its own, 3.19 with those of sie.h, 6.1 with all."""
    old = kernel == "3.14"
    orders, codes = (OLD_ORDERS, OLD_CODES) if old else (NEW_ORDERS, NEW_CODES)
    word = (
        ("__u64 instruction, char insn[8]", MNEMONIC_OF_KERNEL) if old else ("__u64 instruction", instruction_codes())
    )
    prog = ("intercepted program interruption %04x", "REC->code")
    if kernel == "6.1":
        prog = (
            f"{prog[0]} (%s)",
            "REC->code, " + symbolic("REC->code", {1: "Prog Operation", 6: "Prog Specification"}),
        )
    found = {
        "kvm_s390_sie_enter": ("int cpuflags", "entering sie flags %x", "REC->cpuflags"),
        "kvm_s390_sie_exit": (
            "u8 icptcode",
            "exit sie icptcode %d (%s)",
            "REC->icptcode",
            symbolic("REC->icptcode", OLD_INTERCEPTS if old else NEW_INTERCEPTS),
        ),
        "kvm_s390_intercept_instruction": (
            word[0],
            "intercepted instruction %016llx (%s)",
            "REC->instruction",
            word[1],
        ),
        "kvm_s390_intercept_prog": ("__u16 code", *prog),
        "kvm_s390_intercept_validity": ("__u16 viwhy", "got validity intercept %04x", "REC->viwhy"),
        "kvm_s390_handle_sigp": (
            "__u8 order_code, __u16 cpu_addr, __u32 parameter",
            "handle sigp order %02x (%s), cpu address %04x, parameter %08x",
            "REC->order_code",
            symbolic("REC->order_code", orders),
            "REC->cpu_addr",
            "REC->parameter",
        ),
        "kvm_s390_handle_diag": (
            "__u16 code",
            "handle diagnose call %04x (%s)",
            "REC->code",
            symbolic("REC->code", codes),
        ),
        "kvm_s390_handle_sigp_pei": (
            "__u8 order_code, __u16 cpu_addr",
            "handle sigp pei order %02x (%s), cpu address %04x",
            "REC->order_code",
            symbolic("REC->order_code", orders),
            "REC->cpu_addr",
        ),
        "kvm_s390_handle_operexc": ("__u64 instruction", "operation exception on %016llx", "REC->instruction"),
        "kvm_s390_sie_fault": ("", "%s", '"fault in sie instruction"'),
    }
    return {name: own_text(name, 300 + n, *parts) for n, (name, parts) in enumerate(found.items())} | {
        "kvm_halt_poll_ns": text_of(
            "kvm_halt_poll_ns",
            41,
            "bool grow, unsigned int vcpu_id, unsigned int new, unsigned int old",
            '"%u", REC->new',
        ),
        "kvm_vcpu_wakeup": text_of("kvm_vcpu_wakeup", 42, "__u64 ns, bool waited, bool valid", '"%llu", REC->ns'),
        "kvm_userspace_exit": text_of("kvm_userspace_exit", 43, "__u32 reason, int errno", '"%d", REC->reason'),
    }


KERNELS = ("3.14", "3.19", "6.1")
FLIPPED = 40
"""Damaged copies of a recording."""
TEXTS = {kernel: texts(kernel) for kernel in KERNELS}
INSTRUCTION, PROGRAM, INSTRUCTION_AND_PROGRAM, EXTERNAL, WAIT, VALIDITY = 4, 8, 0xC, 0x14, 0x1C, 0x20
ENABLED_WAIT, DISABLED_WAIT = 0x0706C00180000000, 0x0002000180000000
"""PSW masks of Linux: idle, and stopped for good."""
SIGP_WORD, DIAG_WORD, STSCH_WORD, SERVC_WORD = (
    0xAE02_0002_0000_0000,
    0x8310_0044_0000_0000,
    0xB234_B1C8_0000_0000,
    0xB220_0054_0000_0000,
)
LCTLG_WORD, LRAG_WORD, UNKNOWN_WORD = 0xEB77_F0A0_002F_0000, 0xE310_2000_0003_0000, 0x9A00_0000_0000_0000


def kind(name: str, kernel: str = "6.1", text: str | None = None) -> EventKind:
    return EventKind("kvm", name, parse_format(TEXTS[kernel][name] if text is None else text))


def facts(*kinds: EventKind, machine: str | None = "s390x") -> Facts:
    return Facts("perf.data", events=list(kinds), host={} if machine is None else {"arch": machine})


class Columns:
    """Fields of some events of one kind."""

    def __init__(self, **columns: NDArray[Any]) -> None:
        self._columns = columns

    def column(self, name: str) -> NDArray[Any]:
        return self._columns[name]

    def arrow(self) -> dict[str, pa.Array]:
        raise NotImplementedError


ONE = Thread()


class S390Recording(Recording):
    """A recording of s390, whose events are told in one line each."""

    def __init__(self, kernel: str = "6.1", order: str = ">", without: tuple[str, ...] = ()) -> None:
        """Enable all events of `texts` but those of `without`."""
        super().__init__(cpuid="IBM,3931,704,A01,3.7,002f", arch="s390x", order=order, kernel=f"{kernel}.0")
        for event, text in TEXTS[kernel].items():
            if event not in without:
                self.add_tracepoint("kvm", event, text)

    def event(self, name: str, ts_ns: int, thread: Thread = ONE, **fields: FieldValue) -> None:
        """Add any event; one of a vCPU's own has its number."""
        if name.startswith("kvm_s390_"):
            fields = {"id": thread.vcpu, **fields}
        self.add_sample(name, ts_ns, cpu=thread.tid % 4, pid=thread.pid, tid=thread.tid, fields=fields)

    def exit(self, ts_ns: int, code: int, thread: Thread = ONE, *, psw: int = ENABLED_WAIT) -> None:
        """Leave the guest."""
        self.event("kvm_s390_sie_exit", ts_ns, thread, icptcode=code, pswmask=psw)

    def enter(self, ts_ns: int, thread: Thread = ONE) -> None:
        """Enter the guest."""
        self.event("kvm_s390_sie_enter", ts_ns, thread)


def details(run: StoredRun) -> list[tuple[Any, ...]]:
    """Return what is told of each exit's detail."""
    return [pick(row, "reason", "detail_kind", "detail", "detail_name", "detail_from") for row in run.exits()]


@pytest.mark.parametrize("machine", ["s390x", "s390", None])
@pytest.mark.parametrize("kernel", KERNELS)
def test_a_recording_of_s390_is_one_by_its_machine_and_its_tracepoints(machine: str | None, kernel: str) -> None:
    for event in ("kvm_s390_sie_exit", "kvm_s390_sie_enter"):
        assert isinstance(arch.for_recording(facts(kind(event, kernel), machine=machine)), S390)
    assert arch.for_recording(facts(kind("kvm_s390_handle_sigp"), kind("kvm_halt_poll_ns"), machine=machine)) is None


@pytest.mark.parametrize("machine", ["x86_64", "aarch64", "ppc64", "riscv64", "loongarch64"])
def test_a_recording_of_another_machine_is_not_read_as_s390(machine: str) -> None:
    assert arch.for_recording(facts(kind("kvm_s390_sie_exit"), kind("kvm_s390_sie_enter"), machine=machine)) is None


def test_an_exit_without_its_code_is_none() -> None:
    bare = kind("kvm_s390_sie_exit", text=TEXTS["6.1"]["kvm_s390_sie_exit"].replace("u8 icptcode", "u8 code"))
    assert S390(facts(bare)).event_roles(bare) == (NO_ROLE,)
    assert arch.for_recording(facts(bare)) is None


@pytest.mark.parametrize(
    ("kernel", "code", "name"),
    [
        ("6.1", INSTRUCTION, "Instruction"),
        ("6.1", INSTRUCTION_AND_PROGRAM, "Instruction and program interruption"),
        ("3.14", INSTRUCTION_AND_PROGRAM, "Instruction and program interuption"),  # as that kernel spells it
        ("6.1", 0x28, "Stop request"),  # these tables do not have it
        ("3.14", 0, "Host interruption"),
        ("6.1", 0x68, "Protected instruction"),
        ("6.1", 0x77, "0x77"),
    ],
)
def test_a_code_is_named_as_the_recording_names_it_else_as_sie_h_does(kernel: str, code: int, name: str) -> None:
    event = kind("kvm_s390_sie_exit", kernel)
    assert S390(facts(event)).reason(event, 0, code) == Reason("SIE", code, name, idle=False)


@pytest.mark.parametrize(
    ("code", "psw", "idle"),
    [
        (WAIT, ENABLED_WAIT, True),
        (WAIT, DISABLED_WAIT, False),
        (WAIT, DISABLED_WAIT | 0x0200000000000000, True),
        (WAIT, DISABLED_WAIT | 0x0100000000000000, True),
        (WAIT, DISABLED_WAIT | 0x0004000000000000, True),
        (WAIT, DISABLED_WAIT | 0x4000000000000000, False),  # PER is no interruption that ends a wait
        (INSTRUCTION, ENABLED_WAIT, False),
    ],
)
def test_a_wait_state_is_idle_if_an_interruption_can_end_it(code: int, psw: int, *, idle: bool) -> None:
    event = kind("kvm_s390_sie_exit")
    s390 = S390(facts(event))
    for signed in (np.uint64, np.int64):
        columns = Columns(icptcode=np.array([code], np.uint8), pswmask=np.array([psw], np.uint64).view(signed))
        group, codes = s390.reason_keys(event, columns)
        assert group is not None
        assert (group.tolist(), codes.tolist()) == ([int(idle)], [code])
        assert s390.reason(event, int(group[0]), code).idle == idle


def test_a_wait_state_without_a_psw_is_idle() -> None:
    bare = kind("kvm_s390_sie_exit", text=TEXTS["6.1"]["kvm_s390_sie_exit"].replace("pswmask", "other"))
    group, _ = S390(facts(bare)).reason_keys(bare, Columns(icptcode=np.array([WAIT, EXTERNAL], np.uint8)))
    assert group is not None
    assert group.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("word", "code", "name"),
    [
        (SIGP_WORD, 0xAE, "SIGP"),
        (DIAG_WORD, 0x83, "DIAG"),
        (STSCH_WORD, 0xB234, "0xB2 STSCH"),
        (LCTLG_WORD, 0xEB2F, "0xEB LCTLG"),
        (0xEB77_F0A0_0025_0000, 0xEB25, "0xEB STCTG"),
        (0xC8F1_0000_0000_0000, 0xC801, "0xC8 ECTG"),
        (0xAA13_0000_0000_0000, 0xAA03, "0xAA RIOFF"),
        (0x0107_0000_0000_0000, 0x0107, "0x01 SCKPF"),
        (0xB98E_0012_0000_0000, 0xB98E, "0xB9 IDTE"),
        (0xE501_1000_2000_0000, 0xE501, "0xE5 TPROT"),
        # sie.h's decoder takes byte 1, R1 and X2 (0x10), for the operation code, and has no name for most of them.
        (LRAG_WORD, 0xE303, "0xE3 LRAG"),
        (UNKNOWN_WORD, 0x9A, None),
        (0, 0, None),
    ],
)
def test_an_instruction_is_told_by_its_operation_code(word: int, code: int, name: str | None) -> None:
    assert operation_codes(np.array([word, word], np.uint64)).tolist() == [code, code]
    assert INSTRUCTIONS.get(code) == name


def test_the_names_of_instructions_are_the_recordings_own_before_ours() -> None:
    text = TEXTS["6.1"]["kvm_s390_intercept_instruction"].replace('"STSCH"', '"STORE SUBCHANNEL"')
    named = S390(facts(kind("kvm_s390_intercept_instruction", text=text))).detail_names("instruction")
    assert named[0xB234] == "0xB2 STORE SUBCHANNEL"
    assert named[0xB235] == "0xB2 TSCH"  # its table does not have it
    assert S390(facts()).detail_names("instruction") == INSTRUCTIONS
    assert S390(facts()).detail_names("validity") == {}


def test_the_decoder_of_the_print_fmt_names_an_instruction_alike() -> None:
    """As C reads its chain of conditionals, from the right.

    libtraceevent reads it from the left: perf script 6.1 has "0xb2" for STSCH. For LRAG the kernel itself shows what
    its decoder took for the operation code.
    """
    *_, table = PrintFormat.of(kind(INSTRUCTION_EVENT).format).arguments
    shown = {word: table.evaluate({"instruction": word}) for word in (*PERF_WORDS, LRAG_WORD, UNKNOWN_WORD)}
    assert {word: shown[word] for word in PERF_WORDS} == {
        word: PERF_NAMES[INSTRUCTION_EVENT, word] for word in PERF_WORDS
    }
    assert (shown[LRAG_WORD], shown[UNKNOWN_WORD]) == ("0xe310", "0x9a")


@pytest.mark.parametrize("print_fmt", ["(((", '"%d", REC->id', MNEMONIC_OF_KERNEL])
def test_a_print_fmt_without_names_leaves_ours(print_fmt: str) -> None:
    for event in ("kvm_s390_intercept_instruction", "kvm_s390_handle_sigp", "kvm_s390_sie_exit"):
        text = TEXTS["6.1"][event].partition("print fmt:")[0] + f"print fmt: {print_fmt}\n"
        s390 = S390(facts(kind(event, text=text)))
        assert s390.detail_names("instruction")[0xB234] == "0xB2 STSCH"
        assert s390.detail_names("sigp")[2] == "SIGP external call"
        assert s390.reason(s390.facts.events[0], 0, EXTERNAL).name == "External interruption"


def test_a_name_of_a_negative_value_is_that_of_its_bits() -> None:
    """As a forged format text may have it; details are stored without a sign."""
    text = TEXTS["6.1"]["kvm_s390_handle_diag"]
    text = text.replace("__u16 code;\toffset:32;\tsize:2;\tsigned:0", "s64 code;\toffset:32;\tsize:8;\tsigned:1")
    text = text.replace("0x44,", "-1,")
    assert S390(facts(kind("kvm_s390_handle_diag", text=text))).detail_names("diag")[(1 << 64) - 1].startswith("DIAG")


def test_each_event_fills_the_detail_that_is_called_after_it() -> None:
    s390 = S390(facts())
    for rule, detail in enumerate(S390.details):
        (role,) = s390.event_roles(kind(detail.event))
        assert (role.role, role.value_field) == (Role.DETAIL + rule, detail.field)
    assert Detail("kvm_s390_handle_sigp", "order_code", "sigp") in S390.details


both_orders = pytest.mark.parametrize("order", [">", "<"], ids=["big endian", "little endian"])


@both_orders
@pytest.mark.parametrize("kernel", KERNELS)
def test_each_kind_of_exit_lasts_until_the_next_entry_and_the_guest_ran_before(
    tmp_path: Path, kernel: str, order: str
) -> None:
    made = S390Recording(kernel, order)
    made.enter(1_000)
    made.exit(1_700, INSTRUCTION)
    made.event("kvm_s390_intercept_instruction", 1_750, instruction=STSCH_WORD)
    made.enter(2_000)
    made.exit(2_900, INSTRUCTION)
    made.event("kvm_s390_intercept_instruction", 2_910, instruction=SIGP_WORD)
    made.event("kvm_s390_handle_sigp", 2_920, order_code=2, cpu_addr=1)
    made.enter(3_500)
    made.exit(3_600, INSTRUCTION)
    made.event("kvm_s390_intercept_instruction", 3_610, instruction=DIAG_WORD)
    made.event("kvm_s390_handle_diag", 3_620, code=0x44)
    made.enter(4_600)
    made.exit(5_000, PROGRAM)
    made.event("kvm_s390_intercept_prog", 5_010, code=6)
    made.enter(5_100)
    made.exit(5_200, WAIT)
    made.enter(9_200)
    made.exit(9_500, EXTERNAL)
    made.enter(9_600)
    made.exit(9_700, WAIT, psw=DISABLED_WAIT)
    run = stored(made, tmp_path)
    assert run.manifest.host["arch"] == "s390x"
    told = ("reason_code", "reason", "idle", "guest_ns", "latency_ns", "closed_by")
    assert [pick(row, *told) for row in run.exits()] == [
        (4, "Instruction", False, 700, 300, "entry"),
        (4, "Instruction", False, 900, 600, "entry"),
        (4, "Instruction", False, 100, 1_000, "entry"),
        (8, "Program interruption", False, 400, 100, "entry"),
        (0x1C, "Wait state", True, 100, 4_000, "entry"),
        (0x14, "External interruption", False, 300, 100, "entry"),
        (0x1C, "Wait state", False, 100, None, "end"),
    ]
    assert set(column(run.exits(), "isa")) == {"SIE"}
    order_name, code_name = (
        ("external call", "time slice end")
        if kernel == "3.14"
        else (
            "SIGP external call",
            "DIAG (0x44) time slice end",
        )
    )
    assert details(run) == [
        ("Instruction", "instruction", 0xB234, "0xB2 STSCH", "kvm_s390_intercept_instruction.instruction"),
        ("Instruction", "sigp", 2, order_name, "kvm_s390_handle_sigp.order_code"),
        ("Instruction", "diag", 0x44, code_name, "kvm_s390_handle_diag.code"),
        ("Program interruption", "program interruption", 6, "Prog Specification", "kvm_s390_intercept_prog.code"),
        ("Wait state", None, None, None, None),
        ("External interruption", None, None, None, None),
        ("Wait state", None, None, None, None),
    ]


@both_orders
def test_what_has_no_name_shows_its_number(tmp_path: Path, order: str) -> None:
    made = S390Recording(order=order)
    for start, event, field, value in (
        (1_000, "kvm_s390_intercept_instruction", "instruction", UNKNOWN_WORD),
        (2_000, "kvm_s390_handle_sigp", "order_code", 0x7F),
        (3_000, "kvm_s390_handle_diag", "code", 0x777),
        (4_000, "kvm_s390_intercept_prog", "code", 0x86),
        (5_000, "kvm_s390_intercept_validity", "viwhy", 0x103E),
    ):
        made.exit(start, 0x77)
        made.event(event, start + 10, ONE, **{field: value})
        made.enter(start + 100)
    assert [row[:4] for row in details(stored(made, tmp_path))] == [
        ("0x77", "instruction", 0x9A, None),
        ("0x77", "sigp", 0x7F, None),
        ("0x77", "diag", 0x777, None),
        ("0x77", "program interruption", 0x86, None),
        ("0x77", "validity", 0x103E, None),
    ]


def test_further_events_tell_what_an_exit_was_about(tmp_path: Path) -> None:
    made = S390Recording()
    made.exit(1_000, 0x38)
    made.event("kvm_s390_handle_sigp_pei", 1_010, order_code=2)
    made.enter(1_100)
    made.exit(2_000, 0x2C)
    made.event("kvm_s390_handle_operexc", 2_010, instruction=0xB2FF_0000_0000_0000)
    made.enter(2_100)
    made.exit(3_000, INSTRUCTION_AND_PROGRAM)
    made.event("kvm_s390_intercept_instruction", 3_010, instruction=STSCH_WORD)
    made.event("kvm_s390_intercept_prog", 3_020, code=1)
    made.enter(3_100)
    assert details(stored(made, tmp_path)) == [
        ("Partial-execution", "sigp", 2, "SIGP external call", "kvm_s390_handle_sigp_pei.order_code"),
        ("Operation exception", "instruction", 0xB2FF, None, "kvm_s390_handle_operexc.instruction"),
        (
            "Instruction and program interruption",
            "program interruption",
            1,
            "Prog Operation",
            "kvm_s390_intercept_prog.code",
        ),
    ]


def test_without_the_events_that_tell_it_a_detail_is_null(tmp_path: Path) -> None:
    made = S390Recording(without=tuple(TEXTS["6.1"].keys() - {"kvm_s390_sie_exit", "kvm_s390_sie_enter"}))
    made.exit(1_000, INSTRUCTION)
    made.enter(1_500)
    row = stored(made, tmp_path).only_exit()
    assert pick(row, "detail_kind", "detail", "detail_name", "detail_from") == (None,) * 4
    assert pick(row, "userspace", "blocked_ns", "polled_ns", "latency_ns", "vcpu") == (None, None, None, 500, 0)


@both_orders
def test_halts_and_ways_to_the_vmm_are_told_as_everywhere(tmp_path: Path, order: str) -> None:
    made = S390Recording(order=order)
    made.enter(1_000)
    made.exit(2_000, WAIT)
    made.event("kvm_vcpu_wakeup", 9_000, ns=6_500, waited=1, valid=1)
    made.enter(10_000)
    made.exit(11_000, WAIT)
    made.event("kvm_vcpu_wakeup", 11_900, ns=800, waited=0, valid=1)
    made.enter(12_000)
    made.exit(13_000, INSTRUCTION)
    made.event("kvm_s390_intercept_instruction", 13_010, instruction=STSCH_WORD)
    made.event("kvm_userspace_exit", 13_100, reason=13)
    made.enter(15_000)
    slept, polled, handled = stored(made, tmp_path).exits()
    assert pick(slept, "idle", "blocked_ns", "userspace") == (True, 6_500, False)
    assert pick(polled, "idle", "blocked_ns", "polled_ns") == (True, 0, 800)
    assert pick(handled, "idle", "userspace", "userspace_ns", "blocked_ns") == (False, True, 1_900, 0)


@both_orders
def test_a_vcpu_is_the_one_that_its_events_name_whatever_its_thread_is_called(tmp_path: Path, order: str) -> None:
    made = S390Recording(order=order)
    made.add_comm("CPU 1/KVM", tid=101)
    made.enter(1_000, Thread(vcpu=247))
    made.exit(2_000, INSTRUCTION, Thread(vcpu=247))
    made.event("kvm_s390_intercept_instruction", 2_010, Thread(vcpu=247), instruction=SERVC_WORD)
    made.enter(3_000, Thread(vcpu=247))
    run = stored(made, tmp_path)
    assert pick(run.only_exit(), "vcpu", "vm_id", "guest_ns", "latency_ns") == (247, "100", 1_000, 1_000)
    assert column(run.events("kvm_s390_intercept_instruction"), "vcpu") == [247]
    assert run.manifest.identity[1].startswith("vcpu: field id of the event")


def test_a_thread_that_runs_another_vcpu_is_not_paired_with_what_it_ran_before(tmp_path: Path) -> None:
    made = S390Recording()
    one, other = Thread(vcpu=0), Thread(vcpu=300)
    made.enter(1_000, one)
    made.exit(2_000, INSTRUCTION, one)
    made.enter(3_000, other)
    made.exit(4_000, EXTERNAL, other)
    made.enter(4_500, other)
    left, paired = stored(made, tmp_path).exits()
    assert pick(left, "vcpu", "closed_by", "latency_ns", "suspect") == (0, "hole", None, True)
    assert pick(paired, "vcpu", "closed_by", "latency_ns", "guest_ns") == (300, "entry", 500, 1_000)


def test_exits_that_lack_an_entry_have_no_latency(tmp_path: Path) -> None:
    made = S390Recording()
    made.exit(1_000, EXTERNAL)
    made.exit(2_000, EXTERNAL)
    made.enter(2_500)
    made.exit(3_000, EXTERNAL)
    rows = stored(made, tmp_path).exits()
    told = [pick(row, "closed_by", "latency_ns", "guest_ns", "suspect") for row in rows]
    assert told == [("next_exit", None, None, True), ("entry", 500, None, False), ("end", None, 500, False)]


def test_only_an_event_of_a_vcpus_own_has_the_vcpu_in_id() -> None:
    text = text_of("kvm_other", 1, "int id, unsigned int vcpu_id", '"%d", REC->id')
    s390 = S390(facts())
    assert s390.vcpu_field(kind("kvm_s390_sie_exit")) == "id"
    assert s390.vcpu_field(kind("kvm_other", text=text)) == "vcpu_id"
    assert s390.vcpu_field(kind("kvm_userspace_exit")) is None
    injected = kind(
        "kvm_s390_inject_vcpu", text=text_of("kvm_s390_inject_vcpu", 1, "int id, __u32 inttype", '"%d", REC->id')
    )
    assert not s390.tells_vcpu(injected)
    assert s390.vcpu_field(EventKind("kvm-s390", injected.name, injected.format)) is None


def test_an_event_that_names_its_vcpu_by_the_usual_field_tells_it_too(tmp_path: Path) -> None:
    made = S390Recording()
    made.event("kvm_halt_poll_ns", 1_000, vcpu_id=7, grow=1, new=200)
    (row,) = stored(made, tmp_path).events("kvm_halt_poll_ns")
    assert pick(row, "vcpu", "vcpu_id") == (7, 7)


@dataclass(frozen=True)
class Step:
    """An exit and what KVM tells of it, as perf's table would call it; events may be lost."""

    code: int
    told: tuple[tuple[str, str, int], ...]  # event, field, value
    key: str  # the row of perf's table if nothing is lost
    reason: str


INSTRUCTION_EVENT = "kvm_s390_intercept_instruction"
STEPS = (
    Step(EXTERNAL, (), "External interruption", "External interruption"),
    Step(WAIT, (), "Wait state", "Wait state"),
    Step(INSTRUCTION, ((INSTRUCTION_EVENT, "instruction", STSCH_WORD),), "0xB2 STSCH", "Instruction"),
    Step(
        INSTRUCTION,
        ((INSTRUCTION_EVENT, "instruction", SIGP_WORD), ("kvm_s390_handle_sigp", "order_code", 2)),
        "SIGP external call",
        "Instruction",
    ),
    Step(
        INSTRUCTION,
        ((INSTRUCTION_EVENT, "instruction", DIAG_WORD), ("kvm_s390_handle_diag", "code", 0x44)),
        "DIAG (0x44) time slice end",
        "Instruction",
    ),
    Step(PROGRAM, (("kvm_s390_intercept_prog", "code", 6),), "Prog Specification", "Program interruption"),
    Step(
        INSTRUCTION_AND_PROGRAM,
        ((INSTRUCTION_EVENT, "instruction", LCTLG_WORD), ("kvm_s390_intercept_prog", "code", 1)),
        "Prog Operation",
        "Instruction and program interruption",
    ),
)
PERF_NAMES = {
    (INSTRUCTION_EVENT, STSCH_WORD): "0xB2 STSCH",
    (INSTRUCTION_EVENT, SIGP_WORD): "SIGP",
    (INSTRUCTION_EVENT, DIAG_WORD): "DIAG",
    (INSTRUCTION_EVENT, LCTLG_WORD): "0xEB LCTLG",
    ("kvm_s390_handle_sigp", 2): "SIGP external call",
    ("kvm_s390_handle_diag", 0x44): "DIAG (0x44) time slice end",
    ("kvm_s390_intercept_prog", 6): "Prog Specification",
    ("kvm_s390_intercept_prog", 1): "Prog Operation",
}
PERF_WORDS = (STSCH_WORD, SIGP_WORD, DIAG_WORD, LCTLG_WORD)
TURN_NS = 10_000
"""From one turn to the next. Rows that last longer span a lost exit, and one of two details: which one is a guess."""
Event = tuple[int, int, str, str, int]
"""Time, thread, event, field, value."""


def events_of(turns: list[tuple[int, Step, list[bool]]]) -> list[Event]:
    """Return the events of each turn of one of two threads, without those that were lost."""
    events: list[Event] = []
    for turn, (thread, step, lost) in enumerate(turns):
        start = TURN_NS * (turn + 1)
        told = [("kvm_s390_sie_exit", "icptcode", step.code), *step.told, ("kvm_s390_sie_enter", "cpuflags", 0)]
        events += [
            (start + 1_000 * n + 7 * turn, thread, *event) for n, event in enumerate(told) if not lost[n % len(lost)]
        ]
    return events


def perfs_table(events: list[Event]) -> dict[str, list[int]]:
    """Follow tools/perf/builtin-kvm.c with the events of s390: times by row. A thread counts from its first entry."""
    table: dict[str, list[int]] = defaultdict(list)
    known: set[int] = set()
    start: dict[int, int] = {}
    key: dict[int, str] = {}
    reasons = {step.code: step.reason for step in STEPS}
    for ts_ns, thread, event, _, value in events:
        if event == "kvm_s390_sie_enter":
            if thread in known and thread in start and (lasted := ts_ns - start.pop(thread)) < TURN_NS:
                table[key[thread]].append(lasted)
            known.add(thread)
        elif thread in known:
            if event == "kvm_s390_sie_exit":
                start[thread] = ts_ns
                key[thread] = reasons[value]
            else:  # a child event replaces the key
                key[thread] = PERF_NAMES[event, value]
    return table


def our_table(rows: list[Row], events: list[Event]) -> dict[str, list[int]]:
    entered: dict[int, int] = {}
    for ts_ns, thread, event, _, _ in events:
        if event == "kvm_s390_sie_enter":
            entered.setdefault(thread, ts_ns)
    table: dict[str, list[int]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row["entry_ts_ns"] or 0):
        if (row["latency_ns"] or TURN_NS) < TURN_NS and row["exit_ts_ns"] > entered[row["tid"]]:
            table[row["detail_name"] or row["reason"]].append(row["latency_ns"])
    return table


turns_of_two_threads = st.lists(
    st.tuples(
        st.sampled_from([101, 102]),
        st.sampled_from(STEPS),
        st.lists(st.sampled_from([False, False, False, True]), min_size=1, max_size=4),
    ),
    max_size=20,
)


@settings(max_examples=60, deadline=None)
@given(turns_of_two_threads, st.sampled_from([">", "<"]))
def test_rows_are_those_of_perf_kvm_stat_whatever_is_lost(
    turns: list[tuple[int, Step, list[bool]]], order: str
) -> None:
    events = events_of(turns)
    made = S390Recording(order=order)
    made.enter(1_000, Thread(tid=103, vcpu=2))  # a recording without an event is none
    for ts_ns, tid, event, field, value in events:
        made.event(event, ts_ns, Thread(tid=tid, vcpu=tid - 101), **{field: value})
    with TemporaryDirectory() as folder:
        rows = stored(made, Path(folder)).exits()
    assert our_table(rows, events) == perfs_table(events)
    assert len(rows) == sum(event == "kvm_s390_sie_exit" for _, _, event, _, _ in events)


def test_nothing_lost_gives_the_rows_that_the_steps_are_called_by(tmp_path: Path) -> None:
    events: list[Event] = [(1_000, 101, "kvm_s390_sie_enter", "cpuflags", 0)]
    events += events_of([(101, step, [False]) for step in STEPS])
    made = S390Recording()
    for ts_ns, tid, event, field, value in events:
        made.event(event, ts_ns, Thread(tid=tid), **{field: value})
    names = [row["detail_name"] or row["reason"] for row in stored(made, tmp_path).exits()]
    assert names == [step.key for step in STEPS] == list(perfs_table(events))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(TEXTS["6.1"])), st.integers(0, 255), st.integers(-(1 << 31), (1 << 31) - 1)),
        max_size=25,
    )
)
def test_any_values_in_any_order_are_stored(events: list[tuple[str, int, int]]) -> None:
    made = S390Recording()
    made.enter(0)
    for turn, (event, value, vcpu) in enumerate(events):
        fields = {field.name: value for field in kind(event).format.own_fields if field.name not in ("id", "insn")}
        made.event(event, 1_000 * turn, Thread(vcpu=vcpu), **fields)
    with TemporaryDirectory() as folder:
        run = stored(made, Path(folder))
        assert len(run.exits()) == sum(event == "kvm_s390_sie_exit" for event, _, _ in events)


def test_flipped_bits_end_in_rows_and_notes_or_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damage.keep_nothing(monkeypatch)
    made = S390Recording()
    for turn, step in enumerate(STEPS):
        made.exit(1_000 * turn, step.code)
        for n, (event, field, value) in enumerate(step.told):
            made.event(event, 1_000 * turn + 10 * n + 10, ONE, **{field: value})
        made.enter(1_000 * turn + 500)
    whole = made.write(tmp_path / "whole.data").read_bytes()
    rng = np.random.default_rng(len(whole))
    for turn in range(FLIPPED):
        flipped = bytearray(whole)
        for place in rng.integers(len(flipped), size=(1, 10, 100)[turn % 3]).tolist():
            flipped[place] ^= 1 << int(rng.integers(8))
        path = tmp_path / "flipped.data"
        path.write_bytes(flipped)
        found = damage.ingested(path, tmp_path)
        if isinstance(found, Manifest):
            damage.assert_accounted(found)
        else:
            assert "\n" not in found.message
