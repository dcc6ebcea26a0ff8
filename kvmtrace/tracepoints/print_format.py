"""A print fmt: the template of printf, and the expression of each argument."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from kvmtrace.tracepoints.parser import Parser

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvmtrace.tracepoints.expressions import Expression
    from kvmtrace.tracepoints.fields import EventFormat, Field

_CONVERSION = re.compile(
    r"%(?P<flags>[-+ #0]*)(?P<width>\*|\d+)?(?:\.(?P<precision>\*|\d*))?"
    r"(?P<length>hh|h|ll|l|L|q|j|z|Z|t)?(?P<specifier>p[A-Za-z0-9]*|[A-Za-z%])",
)


@dataclass(frozen=True, slots=True)
class Conversion:
    """One %-conversion of a template, in the words of printf(3).

    `literal` is the text between the conversion before and this one. `width` and `precision` are digits, "*" or "".
    `specifier` is a letter, or p with the kernel's letters after it (pS, pI4). `argument` is the index of the value's
    argument; the arguments of a width or precision "*" come right before it.
    """

    literal: str
    flags: str
    width: str
    precision: str | None
    length: str
    specifier: str
    argument: int


@dataclass(frozen=True)
class PrintFormat:
    """A parsed print fmt."""

    template: str
    arguments: tuple[Expression, ...]

    @classmethod
    def parse(cls, print_fmt: str, fields: Iterable[Field] = ()) -> PrintFormat:
        """Parse a print fmt. FormatError: its grammar is not understood.

        With the event's fields, arithmetic has their widths and signs as in C; without, they count as 64 bits wide.
        """
        parser = Parser(print_fmt, fields)
        return cls(parser.text(), parser.trailing_arguments())

    @classmethod
    def of(cls, event_format: EventFormat) -> PrintFormat:
        """Parse the print fmt of an event with the widths of its fields. FormatError: as in `parse`."""
        return _parsed(event_format.print_fmt, event_format.fields)

    @cached_property
    def _pieces(self) -> tuple[tuple[Conversion, ...], str]:
        conversions = []
        literal = ""
        position = argument = 0
        for match in _CONVERSION.finditer(self.template):
            literal += self.template[position : match.start()]
            position = match.end()
            if match["specifier"] == "%":
                literal += "%"
                continue
            argument += (match["width"] == "*") + (match["precision"] == "*")
            conversions.append(
                Conversion(
                    literal=literal,
                    flags=match["flags"],
                    width=match["width"] or "",
                    precision=match["precision"],
                    length=match["length"] or "",
                    specifier=match["specifier"],
                    argument=argument,
                ),
            )
            literal = ""
            argument += 1
        return tuple(conversions), literal + self.template[position:]

    @property
    def conversions(self) -> tuple[Conversion, ...]:
        """The %-conversions of the template, in order; their arguments may be missing."""
        return self._pieces[0]

    @property
    def tail(self) -> str:
        """The text after the last conversion."""
        return self._pieces[1]

    def conversion_argument(self, literal: str) -> Expression | None:
        """Return the argument of the first conversion that directly follows this text in the template, or None."""
        for conversion in self.conversions:
            if conversion.literal.endswith(literal) and conversion.argument < len(self.arguments):
                return self.arguments[conversion.argument]
        return None


# kvm_exit's takes 30 ms, and is asked for by the reasons, the details and the symbols of every run of a store.
@lru_cache(maxsize=64)
def _parsed(print_fmt: str, fields: tuple[Field, ...]) -> PrintFormat:
    return PrintFormat.parse(print_fmt, fields)
