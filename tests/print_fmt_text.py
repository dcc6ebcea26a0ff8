"""Text of an event as its own print fmt prints it, to compare decoded fields with what perf says.

A plain, slow reference: printf(3) over the evaluated arguments. Names of kernel addresses are not known, so %pS and
%s of a pointer print the address, as perf does for what it cannot look up.

`render` prints what the kernel prints. `render_as_perf` prints what libtraceevent 1.7 prints where it differs: it reads
integers of less than 8 bytes without their sign, so an errno of -4 is not below 0, and an s8 of -1 prints as 255.
Other faults of it are not followed: it cannot parse kvm_inj_exception nor kvm_sys_access ("[FAILED TO PARSE]"), prints
%c as ">c<", takes all negative keys of __print_symbolic for -1, and prints __print_array as decimals with blanks.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from kvmtrace.tracepoints import Conversion, EventFormat, PrintFormat

if TYPE_CHECKING:
    from kvmtrace.tracepoints import Values

_BITS = {"hh": 8, "h": 16, "": 32, "l": 64, "ll": 64, "L": 64, "q": 64, "j": 64, "z": 64, "Z": 64, "t": 64}
_BASES = {"d": "d", "i": "d", "u": "d", "x": "x", "X": "X", "o": "o"}
_SIGNED = "di"
LONG_SIZE = 8


def render(event_format: EventFormat, values: Values) -> str:
    """Return the text of one event. EvaluationError: an argument that cannot be computed from the fields."""
    return _printed(_parsed(event_format), values)


def render_as_perf(event_format: EventFormat, values: Values) -> str:
    """Return the text of one event as perf script prints it. EvaluationError: as in `render`."""
    read = dict(values)
    for field in event_format.fields:
        value = read.get(field.name)
        if isinstance(value, int) and field.size < LONG_SIZE:
            read[field.name] = value & ((1 << 8 * field.size) - 1)
    return _printed(_parsed_without_widths(event_format.print_fmt), read)


def _printed(print_format: PrintFormat, values: Values) -> str:
    parts = []
    for conversion in print_format.conversions:
        arguments = print_format.arguments
        before = conversion.argument
        precision = conversion.precision
        if precision == "*":
            before -= 1
            precision = str(arguments[before].evaluate(values))
        width = conversion.width
        if width == "*":
            width = str(arguments[before - 1].evaluate(values))
        parts += [
            conversion.literal,
            _converted(conversion, arguments[conversion.argument].evaluate(values), width, precision),
        ]
    return "".join(parts) + print_format.tail


@lru_cache(maxsize=1024)
def _parsed(event_format: EventFormat) -> PrintFormat:
    return PrintFormat.of(event_format)


@lru_cache(maxsize=1024)
def _parsed_without_widths(print_fmt: str) -> PrintFormat:
    return PrintFormat.parse(print_fmt)


def _converted(conversion: Conversion, value: int | str, width: str, precision: str | None) -> str:
    flags = set(conversion.flags)
    if width.startswith("-"):  # only a width "*" can be negative
        flags.add("-")
    columns = abs(int(width or "0"))
    if conversion.specifier == "s":
        return _padded(_text(value, precision), columns, flags - {"0"})
    if conversion.specifier == "c":
        return _padded(chr(_integer(value) & 0xFF), columns, flags - {"0"})
    if conversion.specifier.startswith("p"):
        return _padded(f"0x{_integer(value):x}", columns, flags - {"0"})
    return _number(conversion, _integer(value), columns, flags, precision)


def _integer(value: int | str) -> int:
    if isinstance(value, str):
        raise TypeError(f"text {value!r} for a conversion of integers")
    return value


def _text(value: int | str, precision: str | None) -> str:
    text = f"{value:x}" if isinstance(value, int) else value
    return text if precision is None or precision.startswith("-") else text[: int(precision or "0")]


def _number(conversion: Conversion, value: int, columns: int, flags: set[str], precision: str | None) -> str:
    bits = _BITS[conversion.length]
    value &= (1 << bits) - 1
    sign = "+" if "+" in flags else " " if " " in flags else ""
    if conversion.specifier not in _SIGNED:
        sign = ""
    elif value >> (bits - 1):
        value, sign = (1 << bits) - value, "-"
    digits = format(value, _BASES[conversion.specifier])
    prefix = {"x": "0x", "X": "0X"}.get(conversion.specifier, "") if "#" in flags and value else ""
    if conversion.specifier == "o" and "#" in flags and digits[0] != "0":
        prefix = "0"
    if precision is not None and not precision.startswith("-"):
        least = int(precision or "0")
        digits = "" if least == 0 and value == 0 else digits.rjust(least, "0")
        flags = flags - {"0"}
    if "0" in flags and "-" not in flags:
        digits = digits.rjust(columns - len(sign + prefix), "0")
    return _padded(sign + prefix + digits, columns, flags - {"0"})


def _padded(text: str, columns: int, flags: set[str]) -> str:
    return text.ljust(columns) if "-" in flags else text.rjust(columns)
