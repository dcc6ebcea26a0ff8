"""Templates of the texts of events: what TP_printk of a tracepoint prints, with its fields in their places.

A line of templates/*.txt is `system:event`, two blanks, and the text behind "event: " with placeholders:

    {field:u8|u16|u32|u64|s32|s64}  decimal              {field:x8|x16|x32|x64}  hexadecimal digits, without 0x
    {field:text}  as few characters as possible up to what comes next, to the end of the line where it is last
    {field:word}  no blanks           {field:bool}  0 or 1       {field:flag(LITERAL)}  whether LITERAL stands here
    {field:NAME}, {a,b:NAME}  a name of a table of names.py, which has a value for each field
    {:word}, {:text}, {:NAME}  matched and not stored            {{ and }}  braces

Lines of one event are its variants, tried in order. Blanks before a number, and at either end of a text, mean nothing.
A decimal number out of its type's range, which the other sign of that type can hold, is that (-1 as 4294967295).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from kvmtrace.formats.event_text import names
from kvmtrace.tracepoints import EventFormat, Field, FieldShape

if TYPE_CHECKING:
    from collections.abc import Iterable

_FOLDER = Path(__file__).parent / "templates"
_PART = re.compile(r"\{\{|\}\}|\{([\w,]*):(?:flag\((.*?)\)|(\w+))\}|[{}]")
NUMBERS = {
    **{f"{sign}{bits}": (bits, sign == "s") for sign in "us" for bits in (8, 16, 32, 64)},
    **{f"x{bits}": (bits, False) for bits in (8, 16, 32, 64)},
}
"""Types of numbers → bits, and whether there is a sign."""


class TemplateError(ValueError):
    """A template cannot be read: a mistake in this package."""


def wrapped(value: int, kind: str) -> int:
    """Return what a field of that type holds of a number."""
    if kind == "bool":
        return int(value != 0)
    bits, signed = NUMBERS[kind]
    value &= (1 << bits) - 1
    return value - (1 << bits) if signed and value >> bits - 1 else value


@dataclass(frozen=True)
class Literal:
    """Characters that stand in every text. `soft`: blanks that a text may lack, because nothing comes behind them."""

    text: bytes
    soft: bool = False


@dataclass(frozen=True)
class Placeholder:
    """What stands for the value of `fields`: a number's type, text, word, bool, flag or the name of a table."""

    fields: tuple[str, ...]
    kind: str
    literal: bytes = b""  # of a flag

    @property
    def is_number(self) -> bool:
        """Tell whether it is a number."""
        return self.kind in NUMBERS

    @property
    def is_table(self) -> bool:
        """Tell whether it is a name of a table."""
        return not self.is_number and self.kind not in {"text", "word", "bool", "flag"}

    @property
    def types(self) -> tuple[str, ...]:
        """Return the type of each field: that of a number, bool, or text."""
        if self.is_table:
            return names.table(self.kind).types
        types = {"text": "text", "word": "text", "bool": "bool", "flag": "bool"}
        return (types.get(self.kind, self.kind),)


Part = Literal | Placeholder


@dataclass(frozen=True)
class Template:
    """One variant of an event's text."""

    system: str
    event: str
    body: str
    parts: tuple[Part, ...] = field(compare=False)

    @cached_property
    def types(self) -> dict[str, str]:
        """Return the type of each stored field, in the order of the text."""
        placeholders = [part for part in self.parts if isinstance(part, Placeholder)]
        return {name: kind for p in placeholders for name, kind in zip(p.fields, p.types, strict=False)}

    @cached_property
    def pattern(self) -> re.Pattern[bytes]:
        """Return the regular expression of the whole text; one group for each placeholder that is stored, in order."""
        pieces = [_regex(part, behind) for part, behind in zip(self.parts, [*self.parts[1:], None], strict=True)]
        return re.compile("".join(pieces).encode(), re.DOTALL)

    @cached_property
    def stored(self) -> tuple[Placeholder, ...]:
        """Return the placeholders that are stored."""
        return tuple(part for part in self.parts if isinstance(part, Placeholder) and part.fields)

    def with_table(self, old: str, new: str) -> Template:
        """Return the template with another table in place of one: the same each time, for its pattern is costly."""
        if (old, new) not in self._with_tables:
            parts = [
                Placeholder(part.fields, new) if isinstance(part, Placeholder) and part.kind == old else part
                for part in self.parts
            ]
            self._with_tables[old, new] = Template(self.system, self.event, self.body, tuple(parts))
        return self._with_tables[old, new]

    @cached_property
    def _with_tables(self) -> dict[tuple[str, str], Template]:
        return {}

    def format(self) -> EventFormat:
        """Return the fields as a tracepoint's; what the text does not tell (ids, offsets) is made up."""
        fields = []
        offset = 8
        for name, kind in self.types.items():
            fields.append(_field(name, kind, offset))
            offset += 8
        return EventFormat(self.event, 0, tuple(fields), "")


def _regex(part: Part, behind: Part | None) -> str:
    if isinstance(part, Literal):
        return "[ ]*" if part.soft else re.escape(part.text.decode())
    if part.kind in {"text", "word"}:
        # A word ends before what must follow it: to try where else it might end takes time without end.
        stop = re.escape(behind.text[:1].decode()) if isinstance(behind, Literal) and not behind.soft else ""
        unit = "." if part.kind == "text" else rf"[^ \t{stop}]"
        inner = f"{unit}*" if behind is None else f"{unit}*?"
    elif part.kind == "flag":
        inner = f"(?:{re.escape(part.literal.decode())})?"
    elif part.kind == "bool":
        inner = "[01]"
    elif part.is_number:
        digits = "[0-9a-fA-F]{1,16}" if part.kind.startswith("x") else "-?[0-9]{1,20}"
        return f"[ ]*({digits})" if part.fields else f"[ ]*{digits}"
    else:
        inner = names.table(part.kind).pattern
        if not part.fields:
            inner = ".+?"
    return f"({inner})" if part.fields else f"(?:{inner})"


def _field(name: str, kind: str, offset: int) -> Field:
    if kind == "text":
        return Field(name, "__data_loc char[]", offset, 4, signed=False, shape=FieldShape.DATA_LOC_STRING,
                     element_size=1, count=0)  # fmt: skip
    if kind == "bool":
        return Field(name, "bool", offset, 1, signed=False, shape=FieldShape.BOOL, element_size=1, count=1)
    bits, signed = NUMBERS[kind]
    c_type = f"{'s' if signed else 'u'}{bits}"
    return Field(name, c_type, offset, bits // 8, signed=signed, shape=FieldShape.INTEGER, element_size=bits // 8,
                 count=1)  # fmt: skip


@cache
def parse_template(line: str) -> Template:
    """Read one line of a file of templates. TemplateError: it is none."""
    head, separator, body = line.rstrip("\n").partition("  ")
    system, colon, event = head.partition(":")
    if not (separator and colon and system and event):
        raise TemplateError(f"expected `system:event`, two blanks and a text, found {line!r}")
    return Template(system, event, body, tuple(_softened(_parts(body.strip(" ")))))


def _parts(body: str) -> list[Part]:
    parts: list[Part] = []
    text = ""
    end = 0
    for match in _PART.finditer(body):
        text += body[end : match.start()]
        end = match.end()
        if match[0] in {"{{", "}}"}:
            text += match[0][0]
            continue
        if match[0] in {"{", "}"}:
            raise TemplateError(f"expected a placeholder, found {match[0]!r} in {body!r}")
        if text:
            parts.append(Literal(text.encode()))
        text = ""
        fields = tuple(name for name in match[1].split(",") if name)
        parts.append(_placeholder(fields, match[3], match[2]))
    text += body[end:]
    return [*parts, Literal(text.encode())] if text else parts


def _placeholder(fields: tuple[str, ...], kind: str | None, literal: str | None) -> Placeholder:
    placeholder = Placeholder(fields, kind or "flag", (literal or "").encode())
    try:
        wanted = len(placeholder.types)
    except KeyError:
        raise TemplateError(f"expected a type or a table of names, found {kind!r}") from None
    if fields and len(fields) != wanted:
        raise TemplateError(f"expected {wanted} fields for {kind}, found {fields}")
    return placeholder


def _softened(parts: list[Part]) -> list[Part]:
    """Cut off the blanks that a text without trailing blanks may lack: before what may be empty to the end."""
    for index in range(len(parts) - 1, -1, -1):
        part = parts[index]
        if isinstance(part, Placeholder):
            if part.kind not in {"flag", "text", "word"}:
                return parts
            continue
        bare = part.text.rstrip(b" ")
        if bare == part.text:
            return parts
        cut: list[Part] = [Literal(bare)] if bare else []
        parts[index : index + 1] = [*cut, Literal(part.text[len(bare) :], soft=True)]
        return parts
    return parts


class Templates:
    """All templates, by system and event; each is read when it is first asked for."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines: dict[str, dict[str, list[str]]] = {}
        for line in lines:
            system, _, event = line.partition("  ")[0].partition(":")
            self._lines.setdefault(event, {}).setdefault(system, []).append(line)

    def of(self, system: str | None, event: str) -> list[Template]:
        """Return the variants of an event; without a system those of every system that has an event of the name."""
        systems = self._lines.get(event, {})
        of_system = systems.values() if system is None else [systems.get(system, [])]
        return [parse_template(line) for lines in of_system for line in lines]


@cache
def all_templates() -> Templates:
    """Return the templates of this package."""
    lines = (line for path in sorted(_FOLDER.glob("*.txt")) for line in path.read_text("utf-8").splitlines())
    return Templates(line for line in lines if line.strip() and not line.startswith("#"))


def is_known(name: str) -> bool:
    """Tell whether there is a template for an event, by its name with the system or without."""
    return bool(named(name))


def named(name: str) -> list[Template]:
    """Return the variants of an event, by its name with the system or without."""
    system, colon, event = name.rpartition(":")
    return all_templates().of(system if colon else None, event)
