"""Values as printf(3) prints them, and the kernel: one conversion of a print fmt, and whole texts.

Names of kernel addresses are not known, so %pS and %s of a pointer print the address, as perf does for what it cannot
look up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvmtrace.tracepoints.expressions import Values
    from kvmtrace.tracepoints.print_format import Conversion, PrintFormat

BITS = {"hh": 8, "h": 16, "": 32, "l": 64, "ll": 64, "L": 64, "q": 64, "j": 64, "z": 64, "Z": 64, "t": 64}
"""Width of an integer by the length of its conversion, on a 64-bit machine."""
SIGNED = "di"
_BASES = {"d": "d", "i": "d", "u": "d", "x": "x", "X": "X", "o": "o"}


def printed(print_format: PrintFormat, values: Values) -> str:
    """Return the text of one event. EvaluationError: an argument that cannot be computed from the fields."""
    parts = []
    for conversion in print_format.conversions:
        parts += [conversion.literal, printed_argument(print_format, conversion, values)]
    return "".join(parts) + print_format.tail


def printed_argument(print_format: PrintFormat, conversion: Conversion, values: Values) -> str:
    """Return what one conversion prints. EvaluationError: as in `printed`."""
    arguments = print_format.arguments
    before = conversion.argument
    width, precision = conversion.width, conversion.precision
    if precision == "*":
        before -= 1
        precision = str(arguments[before].evaluate(values))
    if width == "*":
        width = str(arguments[before - 1].evaluate(values))
    return _converted(conversion, arguments[conversion.argument].evaluate(values), width, precision)


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
    bits = BITS[conversion.length]
    value &= (1 << bits) - 1
    sign = "+" if "+" in flags else " " if " " in flags else ""
    if conversion.specifier not in SIGNED:
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
