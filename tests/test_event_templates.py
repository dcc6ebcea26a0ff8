"""The templates of events' texts: as they are written, and against recordings, their texts and made-up events."""

from __future__ import annotations

import random
import re
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from event_template_checks import (
    CAPTURES,
    EXIT_TABLE,
    KernelText,
    Parsed,
    Placeholder,
    Reader,
    Template,
    capture_texts,
    event_texts,
    kernel_texts,
    table,
    templates,
)
from perf_oracle import bundled
from print_fmt_text import render

from kvmtrace.arch.x86_exit_info import REASONS, SVM, VMX
from kvmtrace.formats.event_text import kvm_names
from kvmtrace.formats.perf_data import PerfDataRecording
from kvmtrace.formats.source import open_source
from kvmtrace.tracepoints import EventFormat, FieldShape, FormatError, Value, parse_format

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kvmtrace.tracepoints import Field, Values

FORMATS = Path(__file__).parents[1] / "kvmtrace" / "synth" / "layouts"
OTHERS = Path(__file__).parent / "data" / "other-architectures"
BITS = {"8": 8, "16": 16, "32": 32, "64": 64}
LINES_OF_EACH = 800
ROWS_OF_EACH = 25
"""What is looked at of each text and of each event of a recording; the slow tests look at everything."""

TEMPLATES = templates()
READER = Reader(TEMPLATES)

COMPUTED = {
    "trigger", "delivery", "destination", "assertion", "shorthand", "dst", "vec", "bytes", "error", "message",
    "page_role", "generation", "rights", "errors", "old", "spurious", "fixed", "exception", "mode", "kind", "unit",
    "operation", "register", "controls", "contents", "value", "interval", "cpus", "timeout", "idx", "cpu", "Op0",
    "Op1", "CRn", "CRm", "Op2", "from_mode", "to_mode",
    *(f"arg{number}" for number in range(6)),
}  # fmt: skip
"""Names of what is in a text and is no field: of what is worked out from fields, or stands in place of one."""
SUFFIXES = ("_name", "_names", "_address", "_hash")
"""The same for names and addresses in place of a field that is a pointer or a number."""
NOT_TOLD_BY_KERNEL = {
    ("kvm_entry", "immediate_exit"): "not recorded to 6.1; no mark is false",
    ("kvm_msr", "exception"): "not recorded in 2.6.32; no mark is 0",
    ("kvm_msr", "write"): "called rw in 2.6.32",
    ("kvm_inj_exception", "reinjected"): "not recorded to 5.10; no mark is false",
    ("kvm_apic_accept_irq", "coalesced"): "recorded to 3.14 only",
    ("fast_page_fault", "cr2_or_gpa"): "called gva to 4.19",
    ("kvm_exit", "pc"): "read through the vCPU in 3.14 on MIPS",
    ("kvm_exit", "isa"): "not recorded in 2.6.32: the names tell it",
    ("kvm_exit", "ret"): "called idx to 4.19",
    ("kvm_exit", "esr_ec"): "called exit_reason to 4.19",
    ("kvm_hv_flush_tlb", "guest_mode"): "not recorded to 6.1; no mark is false",
    ("kvm_hv_flush_tlb_ex", "guest_mode"): "not recorded to 6.1; no mark is false",
}
_MANY = 25
_SEED = 20240701


def test_every_template_is_well_formed() -> None:
    for template in TEMPLATES:
        assert re.fullmatch(r"[\w-]+:\w+", f"{template.system}:{template.event}"), template
        assert template.body == template.body.strip(" "), template
        assert len(set(template.fields)) == len(template.fields), template
        assert template.regex.groups == len(template.placeholders), template
        for part in template.placeholders:
            widths = {len(values) for values in table(part.kind).values()} if part.is_table else {1}
            assert widths == {len(part.fields)} or (not part.fields and part.kind in ("word", "text")), template


def test_there_are_templates_of_every_family() -> None:
    systems = Counter(template.system for template in TEMPLATES)
    assert systems.keys() > {"kvm", "kvmmmu", "kvm_hv", "kvm_pr", "kvm_booke", "kvm-s390", "sched", "irq", "timer"}
    assert len({(template.system, template.event) for template in TEMPLATES}) > 300


def test_no_text_stands_twice() -> None:
    counts = Counter((template.system, template.event, template.body) for template in TEMPLATES)
    assert [text for text, count in counts.items() if count > 1] == []


def test_every_table_is_used_and_fits_its_types() -> None:
    used = {part.kind for template in TEMPLATES for part in template.placeholders if part.is_table}
    assert used == {*kvm_names.TABLES, EXIT_TABLE}
    assert kvm_names.TYPES.keys() <= kvm_names.TABLES.keys()
    for name, names in kvm_names.TABLES.items():
        for values in names.values():
            kinds = kvm_names.TYPES.get(name, ("u32",) * len(values))
            assert len(kinds) == len(values)
            assert all(_fits(kind, value) for kind, value in zip(kinds, values, strict=True)), (name, values)


def _fits(kind: str, value: int) -> bool:
    if kind == "bool":
        return value in (0, 1)
    bits = int(kind[1:])
    return -(1 << (bits - 1)) <= value < 1 << (bits - 1) if kind[0] == "s" else 0 <= value < 1 << bits


# ---- Variants ----


def _written(template: Template, choice: random.Random) -> str:
    """Return a text that the template reads."""
    return "".join(_characters(part, choice) for part in template.parts)


def _characters(part: Placeholder, choice: random.Random) -> str:
    if part.is_table:
        return choice.choice(sorted(table(part.kind)))
    some = {
        "": (part.literal,),
        "text": ("some text", "kvm_timer_fn [kvm]", "---", "a|b"),
        "word": ("SYS_NAME", "ab-cd", "x|y"),
        "bool": ("0", "1"),
        "flag": ("", part.literal),
    }.get(part.kind)
    if some is not None:
        return choice.choice(some)
    value = choice.choice((0, 1, 7, choice.getrandbits(int(part.kind[1:]) - 1)))
    if part.kind[0] == "x":
        return f"{value:x}"
    return str(-value if part.kind[0] == "s" and choice.random() < 1 / 4 else value)


@pytest.mark.parametrize("file", sorted({template.place.partition(":")[0] for template in TEMPLATES}))
def test_no_variant_is_hidden_by_one_before_it(file: str) -> None:
    """Its own texts are read, and most of them by itself: a text with no characters in it may fit others too."""
    for template in TEMPLATES:
        if template.place.startswith(f"{file}:"):
            choice = random.Random(_SEED)  # noqa: S311 - texts
            read = Counter[str]()
            for _ in range(_MANY):
                text = _written(template, choice)
                found = READER.first(f"{template.system}:{template.event}", text)
                assert found is not None, text
                read[found[0].place] += 1
            assert read.most_common(1)[0][0] == template.place, read


def test_an_event_without_its_system_is_told_by_its_text() -> None:
    """Texts of ftrace have no system: a template of another system's event of that name must not fit."""
    for template in TEMPLATES:
        text = _written(template, random.Random(_SEED))  # noqa: S311 - texts
        found = READER.first(template.event, text)
        assert found is not None
        of_both = {template.system, found[0].system} == {"kvm_booke", "kvm_pr"} and template.event == "kvm_unmap_hva"
        assert found[0].system == template.system or of_both, text


# ---- Texts as they are posted ----

POSTED: list[tuple[str, str, Parsed]] = [
    ("kvm_exit", "reason EPT_VIOLATION rip 0x40359f info 582 0",
     {"exit_reason": 48, "isa": 1, "guest_rip": 0x40359F, "info1": 0x582, "info2": 0}),
    ("kvm_exit", "vcpu 1 reason PF excp rip 0x10 info 2 fee000b0", {"vcpu_id": 1, "exit_reason": 0x4E, "isa": 2}),
    ("kvm_exit", "reason EXIT_EXCP_GP rip 0x7 info 0 0", {"exit_reason": 0x4D, "isa": 2, "info1": 0}),
    ("kvm_exit", "reason UNKNOWN (57) rip 0x7 info 0 0", {"exit_reason": 57}),
    ("kvm_exit", "reason CPUID rip 0xffffffff8105 native_cpuid+0x5 info 0 0", {"exit_reason": 10, "info2": 0}),
    ("kvm_exit", "vcpu 0 reason EPT_VIOLATION FAILED_VMENTRY rip 0x1 info 181 0",
     {"exit_reason": 0x80000030, "isa": 1}),
    ("kvm_exit", "vcpu 0 reason NOTIFY rip 0x1 info1 0x1 info2 0x0 intr_info 0x0 error_code 0x0 requests 0x04",
     {"exit_reason": 75, "requests": 4}),
    ("kvm_exit", "TRAP: HSR_EC: 0x0024 (DABT_LOW), PC: 0x0000000040001028",
     {"ret": 2, "esr_ec": 0x24, "vcpu_pc": 0x40001028}),
    ("kvm_exit", "<CANT FIND FIELD exit_reason>IRQ: HSR_EC: 0x0000 (UNKNOWN), PC: 0x08080", {"ret": 0, "esr_ec": 0}),
    ("kvm_exit", "SEPC:0x80000008, SCAUSE:0x15, STVAL:0x80001150, HTVAL:0x20000454, HTINST:0x0",
     {"scause": 0x15, "htval": 0x20000454}),
    ("kvm_booke:kvm_exit", "exit=DTLB_MISS | pc=0x10 | msr=0x2 | dar=0x3 | last_inst=0x4", {"exit_nr": 13, "pc": 0x10}),
    ("kvm_entry", "vcpu 3, rip 0xffffffff81a17a0b[immediate exit]", {"vcpu_id": 3, "immediate_exit": 1}),
    ("kvm_entry", " vcpu 3 rip 0xffffffff81a17a0b", {"vcpu_id": 3, "rip": 0xFFFFFFFF81A17A0B}),
    ("kvm_entry", "PC: 0x016ffffffff80001234", {"pc": 0xFFFFFFFF80001234}),
    ("kvm_entry", "PC: 0xffff800008001234", {"vcpu_pc": 0xFFFF800008001234}),
    ("kvm_nested_vmexit", "rip fffff802987d6169 reason EPT_VIOLATION info1 181 info2 0 int_info 0 int_info_err 0",
     {"rip": 0xFFFFF802987D6169, "exit_code": 48, "isa": 1, "exit_info1": 0x181}),
    ("kvm_emulate_insn", "0:fffff802987d6169: f3 a5 FAIL", {"rip": 0xFFFFF802987D6169, "bytes": "f3 a5", "failed": 1}),
    ("kvm_emulate_insn", "0:40048d:0f 01 d1 (prot64)", {"bytes": "0f 01 d1", "flags": 9, "failed": 0}),
    ("kvm_inj_exception", "#UD (0x0)", {"exception": 6, "error": " (0x0)", "reinjected": 0}),
    ("kvm_inj_exception", "#DE [reinjected]", {"exception": 0, "error": "", "reinjected": 1}),
    ("kvm_inj_exception", "#NP (0x18) [reinjected]", {"exception": 11, "error": " (0x18)", "reinjected": 1}),
    ("kvm_userspace_exit", "reason restart (4)", {"reason": kvm_names.NOT_TOLD, "errno": -4}),
    ("kvm_userspace_exit", "reason error (14)", {"reason": kvm_names.NOT_TOLD, "errno": -14}),
    ("kvm_userspace_exit", "reason 0x1d (29)", {"reason": 29, "errno": 0}),
    ("kvm_userspace_exit", "reason KVM_EXIT_PAPR_HCALL (19)", {"reason": 19, "errno": 0}),
    ("kvm_guest_exit", "VCPU 0: trap=0x0 pc=0x109c msr=0x8000000000009003, ceded=1", {"trap": 0, "ceded": 1}),
    ("kvm_hcall_exit", "VCPU 0: ret=RESUME_GUEST hcall_rc=0xfffffffffffffffc", {"ret": 0, "hcall_rc": (1 << 64) - 4}),
    ("kvm_hcall_exit", "VCPU 0: ret=RESUME_GUEST hcall_rc=H_PARAMETER", {"ret": 0, "hcall_rc": (1 << 64) - 4}),
    ("kvm_s390_sie_exit", "00[0706c00180000000-000000000010f2e8]: exit sie icptcode 4 (Instruction)",
     {"id": 0, "pswmask": 0x0706C00180000000, "icptcode": 4}),
    ("sched_switch", "prev_comm=CPU 0/KVM prev_pid=7 prev_prio=1 prev_state=R+ ==> next_comm=a next_pid=8 next_prio=1",
     {"prev_comm": "CPU 0/KVM", "prev_state": 256, "next_comm": "a"}),
    ("sched_switch", "CPU 0/KVM:8715 [120] R ==> kworker/0:1:17 [120]",
     {"prev_comm": "CPU 0/KVM", "prev_pid": 8715, "prev_state": 0, "next_comm": "kworker/0:1", "next_pid": 17}),
    ("sched_switch", "rcu_preempt:15 [120] W ==> swapper/0:0 [120]", {"prev_state": 128}),
]  # fmt: skip


@pytest.mark.parametrize(("event", "text", "fields"), POSTED)
def test_a_posted_text_has_these_fields(event: str, text: str, fields: Parsed) -> None:
    found = READER.first(event, text)
    assert found is not None
    assert {name: found[1].get(name) for name in fields} == fields


def test_the_state_of_a_thread_that_could_run_has_a_low_byte_of_0() -> None:
    """sched_switch of a preempted thread is told by that; old kernels had a state above it, which is none of those."""
    for table_name in ("task_state", "task_state_of_plugin"):
        could_run = {name for name, (value,) in table(table_name).items() if value & 0xFF == 0}
        assert {name for name in could_run if not set(name) & set("WNn")} <= {"R", "R+"}


# ---- Texts of kernels ----

WRITTEN_APART = {
    "kvm:kvm_ack_irq": "from 3.19 x86 names the chip and others write its number: formats of both are read below",
    "kvm:kvm_pio": "the mark of several accesses is a variant of its own",
    "kvm:kvm_apicv_inhibit_changed": "the names are glued to the number, with a blank of their own",
    "kvm-s390:kvm_s390_create_vm": "the mark of a VM that the VMM controls is a variant of its own",
    "kvmmmu:kvm_mmu_get_page": "the text of a page is made by code",
    "kvmmmu:kvm_mmu_sync_page": "the text of a page is made by code",
    "kvmmmu:kvm_mmu_unsync_page": "the text of a page is made by code",
    "kvmmmu:kvm_mmu_zap_page": "the text of a page is made by code",
}
CLASSES = {
    "kvmmmu:kvm_mmu_page_class", "kvmmmu:kvm_mmu_set_bit_class", "kvm:kvm_transition", "kvm:kvm_async_get_page_class",
    "kvm:kvm_async_pf_nopresent_ready",
}  # fmt: skip
"""Not events, but what several events have in common."""


@pytest.mark.skipif(not kernel_texts()[0], reason="the texts of all kernels are not here")
def test_every_text_of_every_kernel_is_known_with_its_fields() -> None:
    texts, _ = kernel_texts()
    assert len(texts) > 300
    for kernel in texts:
        if kernel.event not in WRITTEN_APART.keys() | CLASSES:
            fitting = [template for template in READER.variants(kernel.event) if template.loose.fullmatch(kernel.text)]
            assert fitting, kernel
            assert any(not unrecorded(template, kernel) for template in fitting), kernel


def unrecorded(template: Template, kernel: KernelText) -> list[str]:
    """Return what a template stores that the kernel does not record, but for what is known of it."""
    common = ("id", "pswmask", "pswaddr") if "VCPU_FIELD_COMMON" in kernel.words else ()
    return [
        name
        for name in template.fields
        if not (name in kernel.words or name in common or name in COMPUTED or name.endswith(SUFFIXES))
        and (template.event, name) not in NOT_TOLD_BY_KERNEL
    ]


@pytest.mark.skipif(not kernel_texts()[0], reason="the texts of all kernels are not here")
def test_every_event_of_a_class_has_a_template() -> None:
    _, events = kernel_texts()
    assert len(events) > 10
    assert [event for event in sorted(events) if not READER.variants(event)] == []


# ---- Texts of recordings ----


def unknown_lines(path: Path, limit: int | None) -> Counter[str]:
    """Return the events of a text that no template reads, by name, and those that are read as two kinds of table."""
    unknown = Counter[str]()
    columns: dict[str, set[tuple[tuple[str, str], ...]]] = {}
    assert path.stat().st_size == 0 or any(event_texts(path))
    for event, text in dict.fromkeys(islice(event_texts(path), limit)):
        found = READER.first(event, text)
        if found is None:
            unknown[event] += 1
        else:
            columns.setdefault(event, set()).add(tuple(sorted(found[0].types.items())))
    return unknown + Counter({event: len(kinds) for event, kinds in columns.items() if len(kinds) > 1})


def no_texts() -> list[object]:
    return [pytest.param(None, marks=pytest.mark.skip(reason="no captures here"))]


def by_name(path: Path | None) -> str:
    return "none" if path is None else str(path.relative_to(CAPTURES))


@pytest.mark.parametrize("path", capture_texts() or no_texts(), ids=by_name)
def test_every_line_of_a_text_is_known(path: Path) -> None:
    assert unknown_lines(path, LINES_OF_EACH) == {}


@pytest.mark.slow
@pytest.mark.parametrize("path", capture_texts() or no_texts(), ids=by_name)
def test_every_line_of_a_whole_text_is_known(path: Path) -> None:
    assert unknown_lines(path, None) == {}


# ---- Fields of recordings ----


def rows(path: Path, limit: int | None) -> Iterator[tuple[EventFormat, str, Values]]:
    """Yield the different rows of each event of a recording: format, system:event, fields."""
    with open_source(str(path)) as source:
        recording = PerfDataRecording(source)
        seen: dict[int, set[tuple[object, ...]]] = {}
        for block in recording.blocks():
            for kind, fields in block.fields.items():
                event = recording.facts.events[kind]
                names = {_stored(field.name): field.name for field in event.format.own_fields}
                known = seen.setdefault(kind, set())
                columns = [fields.arrow()[name] for name in names]
                for values in zip(*(column.to_pylist() for column in columns), strict=True):
                    key = tuple(tuple(value) if isinstance(value, list) else value for value in values)
                    if key in known or (limit is not None and len(known) >= limit):
                        continue
                    known.add(key)
                    yield event.format, f"{event.system}:{event.name}", dict(zip(names.values(), key, strict=True))


def _stored(name: str) -> str:
    return f"{name}_" if name in {"ts_ns", "cpu", "tid", "vcpu", "exit_id"} else name


def check(event_format: EventFormat, event: str, values: Values, text: str) -> None:
    """Parse a text that was printed from `values`, and compare."""
    found = READER.first(event, text)
    assert found is not None, f"{event}: {text}"
    fields = {field.name: field for field in event_format.own_fields}
    told = TOLD.get(event_format.name)
    expected = {**values, **(told(values) if told is not None else {})}
    for name, value in found[1].items():
        place = (event_format.name, name)
        if name in fields:
            assert same(fields[name], expected[name], value), f"{place} of {text!r}: {value!r}, not {expected[name]!r}"
        else:
            assert name in COMPUTED or name.endswith(SUFFIXES) or place in NOT_TOLD_BY_KERNEL, place


def told_of_userspace_exit(values: Values) -> Parsed:
    """A failure hides the reason; without one errno is not told, but that it is not below 0."""
    failed = int(values["errno"]) < 0  # type: ignore[arg-type]
    return {"reason": kvm_names.NOT_TOLD} if failed else {"errno": 0}


def told_of_hcall_exit(values: Values) -> Parsed:
    """With RESUME_HOST the text is H_TOO_HARD, whatever the field holds."""
    return {"hcall_rc": 9999} if int(values["ret"]) & 2 else {}  # type: ignore[arg-type]


TOLD: dict[str, Callable[[Values], Parsed]] = {
    "kvm_userspace_exit": told_of_userspace_exit,
    "kvm_hcall_exit": told_of_hcall_exit,
}
"""Events whose text tells something else than their fields, and what."""


def same(field: Field, recorded: object, parsed: int | str) -> bool:
    """Tell whether a text's value is a field's, but for the sign that hexadecimal digits do not show."""
    if isinstance(parsed, int) and isinstance(recorded, int):
        return (parsed - recorded) % (1 << 8 * field.size) == 0
    return parsed == recorded


def perf_data() -> list[Path]:
    """Return the recordings that are here, without what perf could not write whole."""
    found = [recorded.path for recorded in bundled()] + sorted(OTHERS.glob("*.data*"))
    further = sorted(CAPTURES.rglob("*perf*.data"))
    return [*found, *(path for path in further if path.parent.parent.name != "x86-svm")]


def by_file(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


@pytest.mark.parametrize("path", perf_data(), ids=by_file)
def test_fields_printed_and_parsed_are_the_fields_again(path: Path) -> None:
    for event_format, event, values in rows(path, ROWS_OF_EACH):
        check(event_format, event, values, render(event_format, values))


@pytest.mark.slow
@pytest.mark.parametrize("path", [*perf_data(), *sorted(CAPTURES.rglob("x86-svm/*/*perf.data"))], ids=by_file)
def test_all_fields_printed_and_parsed_are_the_fields_again(path: Path) -> None:
    for event_format, event, values in rows(path, None):
        check(event_format, event, values, render(event_format, values))


# ---- Made-up events of formats ----


def formats() -> list[tuple[str, EventFormat]]:
    """Return system:event and format of every format text that is here."""
    texts = [(path.parent.parent.name if path.parent.name[0].isdigit() else path.parent.name, path.read_text())
             for path in sorted(FORMATS.glob("*/*/**/*.txt"))]  # fmt: skip
    for path in sorted(CAPTURES.rglob("formats.txt")):
        texts += [("", text) for text in re.split(r"(?m)^(?=name: )", path.read_text()) if text]
    texts += [("kvm", path.read_text()) for path in sorted(CAPTURES.rglob("raw-ftrace/formats/kvm/*/format"))]
    found = []
    for system, text in texts:
        try:
            event_format = parse_format(text)
        except FormatError:
            continue
        found.append((f"{system or _system(event_format.name)}:{event_format.name}", event_format))
    return found


def _system(event: str) -> str:
    return next((template.system for template in READER.variants(event)), "kvm")


def made_up(event: str, event_format: EventFormat, choice: random.Random) -> Values:
    """Return values for the fields of an event: what its templates have names for, else anything that fits."""
    known = dict(WITHIN)
    for template in READER.variants(event):
        for part in template.placeholders:
            if part.kind in ("flag", "bool"):
                known.update({(event_format.name, name): [0, 1] for name in part.fields})
            elif part.is_table:
                for index, name in enumerate(part.fields):
                    known[event_format.name, name] = sorted({values[index] for values in table(part.kind).values()})
    values: dict[str, Value] = {
        field.name: _value(field, known.get((event_format.name, field.name)), choice)
        for field in event_format.own_fields
    }
    dependent = DEPENDENT.get(event_format.name)
    return values if dependent is None else values | dependent(choice)


def an_exit(choice: random.Random) -> dict[str, Value]:
    isa, names = choice.choice(((1, REASONS[VMX]), (2, REASONS[SVM])))
    code = choice.choice(sorted(names)) | (choice.choice((0, 1 << 31)) if isa == 1 else 0)
    return {"isa": isa, "exit_reason": code, "exit_code": code}


def an_exit_to_userspace(choice: random.Random) -> dict[str, Value]:
    reason, errno = choice.choice(((choice.randrange(48), 0), (10, -4), (17, -14)))
    return {"reason": reason, "errno": errno}


def an_instruction(choice: random.Random) -> dict[str, Value]:
    length = choice.randrange(1, 16)
    return {"len": length, "insn": tuple(choice.getrandbits(8) for _ in range(15))}


DEPENDENT: dict[str, Callable[[random.Random], dict[str, Value]]] = {
    "kvm_exit": an_exit,
    "kvm_nested_vmexit": an_exit,
    "kvm_nested_vmexit_inject": an_exit,
    "kvm_userspace_exit": an_exit_to_userspace,
    "kvm_emulate_insn": an_instruction,
    "kvm_arm_set_regset": lambda choice: {"len": choice.randrange(17)},
}
"""Fields that belong together."""

WITHIN: dict[tuple[str, str], list[int]] = {
    ("kvm_guest_fault", "hsr"): [0x82000005, 0x92000046],  # a syndrome is never 0
    ("kvm_pic_set_irq", "pin"): list(range(8)),
}
"""What a field is in every kernel, where its text depends on it."""


def _value(field: Field, known: list[int] | None, choice: random.Random) -> Value:
    if field.shape in (FieldShape.CHAR_ARRAY, FieldShape.DATA_LOC_STRING):
        return choice.choice(("CPU 0/KVM", "worker", "kworker/0:1"))
    if field.shape is FieldShape.ARRAY:
        return tuple(choice.getrandbits(8) for _ in range(field.count))
    if field.shape is FieldShape.BOOL:
        return choice.getrandbits(1)
    if known is not None:
        return choice.choice(known)
    bits = 8 * field.size - field.signed
    value = choice.choice((0, 1, 2, choice.getrandbits(bits), choice.getrandbits(min(bits, 12))))
    return -value if field.signed and choice.random() < 1 / 4 else value


@pytest.mark.parametrize(
    ("event", "event_format"),
    [pytest.param(*made, id=f"{made[0]}-{number}") for number, made in enumerate(formats())],
)
def test_made_up_events_of_every_format_are_read_back(event: str, event_format: EventFormat) -> None:
    if "ftrace_print_symbols_seq" in event_format.print_fmt:
        pytest.skip("Linux 2.6.32 calls a function for the names of exits")
    choice = random.Random(_SEED)  # noqa: S311 - values
    for _ in range(_MANY):
        values = made_up(event, event_format, choice)
        check(event_format, event, values, render(event_format, values))
