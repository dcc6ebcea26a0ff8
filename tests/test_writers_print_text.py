"""Texts over columns are those of the plain printer, for every layout that a model may use."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from print_fmt_text import render

from kvmtrace.errors import UsageError
from kvmtrace.recording import EventKind
from kvmtrace.synth.event_formats import format_text, known_events
from kvmtrace.tracepoints import EventFormat, FieldShape, parse_format
from kvmtrace.writers.events import field_column, struct_bytes
from kvmtrace.writers.print_text import EventPrinter

ROWS = 40
DYNAMIC = {"irq:irq_handler_entry"}
OLDEST = ("kvm:kvm_exit", "2.6.32")  # its print fmt calls a function that only the kernel has
KERNELS = ("", "2.6.32", "3.14", "5.4", "5.8", "5.10", "6.13", "6.18")
LAYOUTS = [
    (arch, name, kernel)
    for arch in ("x86_64", "ppc64")
    for name in sorted(known_events(arch))
    for kernel in (KERNELS if "kvm_exit" in name or "kvm_entry" in name else ("",))
    if name not in DYNAMIC
    and (name, kernel) != OLDEST
    and format_text(arch, name.split(":")[0], name.split(":")[1], kernel) is not None
]


def made_rows(event: EventFormat, seed: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return raw events, a third of any bytes, a third of small numbers, a third of 0xff."""
    chance = np.random.default_rng(seed)
    raw = chance.integers(0, 256, (ROWS, struct_bytes(event)), np.uint8)
    raw[::3] &= 3
    raw[1::3] = 0xFF
    raw[5] = raw[4]  # two alike
    for field in event.fields:
        if field.shape == FieldShape.CHAR_ARRAY:
            raw[:, field.offset : field.offset + field.size] = (
                65 + raw[:, field.offset : field.offset + field.size] % 20
            )
        if field.name in {"len", "pin"}:  # no more than an array holds, or a shift takes
            raw[:, field.offset : field.offset + field.size] = 0
            raw[:, field.offset] = np.arange(ROWS) % 16
    return raw


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("arch", "name", "kernel"), LAYOUTS)
def test_texts_are_those_of_the_plain_printer(arch: str, name: str, kernel: str, order: str) -> None:
    system, event_name = name.split(":")
    text = format_text(arch, system, event_name, kernel)
    assert text is not None
    event = parse_format(text)
    raw = made_rows(event, seed=len(name))
    columns = {field.name: field_column(raw, field, order).tolist() for field in event.fields}
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    expected = [render(event, row) for row in rows]
    printer = EventPrinter(EventKind(system, event_name, event), order)
    assert printer.texts(raw) == expected
    assert printer.texts(raw[::-1]) == expected[::-1]  # of texts that it keeps
    assert printer.texts(raw[:0]) == []


COMMON = "\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n"
NUMBER = f"name: made\nID: 1\nformat:\n{COMMON}\n\tfield:int n;\toffset:4;\tsize:4;\tsigned:1;\n\nprint fmt: "


@pytest.mark.parametrize(
    ("print_fmt", "text"),
    [
        ('"100%% %d", REC->n', "100% -2"),
        ('"%5u|%-12x|%08X", REC->n, REC->n, REC->n', "4294967294|fffffffe    |FFFFFFFE"),
        ('"%llx %hd %hhu", REC->n, REC->n, REC->n', "fffffffffffffffe -2 254"),
        ('"%#x %+d %.3d", REC->n, REC->n + 3, REC->n + 3', "0xfffffffe +1 001"),
        ('"nothing"', "nothing"),
        ('"%s", "constant"', "constant"),
    ],
)
def test_numbers_are_as_wide_and_signed_as_c_takes_them(print_fmt: str, text: str) -> None:
    event = parse_format(NUMBER + print_fmt + "\n")
    raw = np.zeros((3, 8), np.uint8)
    raw[:, 4:] = np.frombuffer((-2).to_bytes(4, "little", signed=True), np.uint8)
    assert EventPrinter(EventKind("made", "made", event), "<").texts(raw) == [text] * 3


def test_what_only_the_kernel_knows_is_refused() -> None:
    event = parse_format(NUMBER + '"%d", jiffies_to_msecs(REC->n)\n')
    with pytest.raises(UsageError, match="made:made cannot be printed: "):
        EventPrinter(EventKind("made", "made", event), "<").texts(np.zeros((1, 8), np.uint8))
