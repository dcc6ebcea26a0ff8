"""Reader of tracefs `format` texts: name, id, fields and print fmt of one tracepoint.

The text comes from the recording: every number is bounded, and no pattern here backtracks beyond one line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from kvmtrace.tracepoints.c_types import AGGREGATES, POINTER_SIZE, CType, integer_type
from kvmtrace.tracepoints.errors import FormatError, quoted
from kvmtrace.tracepoints.fields import EventFormat, Field, FieldShape

LONGEST_TEXT = 1 << 20
MOST_FIELDS = 1024
LARGEST_RECORD = 1 << 16
"""Bytes of the largest record: perf states its size in 16 bits, and so does a __data_loc its offset."""

_LONGEST_DECLARATION = 512
_INTEGER_SIZES = (1, 2, 4, 8)
_LOCATION_SIZE = 4

_HEADER = re.compile(
    r"\s*name:[ \t]*(?P<name>\S{1,255})[ \t]*\n\s*ID:[ \t]*(?P<id>[0-9]{1,9})[ \t]*\n\s*format:[ \t]*\n"
)
_FIELD = re.compile(
    r"\s*field(?: special)?:(?P<declaration>[^;]+);"
    r"\s*offset:(?P<offset>-?[0-9]+);\s*size:(?P<size>-?[0-9]+);(?:\s*signed:(?P<signed>-?[0-9]+);)?\s*",
)
_LOCATION = re.compile(r"__(?P<kind>data|rel)_loc (?P<type>.+?) ?\[\] ?(?P<name>\w+)", re.ASCII)
_DECLARATOR = re.compile(r"(?P<type>.*[ *])(?P<name>[A-Za-z_]\w*) ?", re.ASCII)
_STRINGS = {"data": FieldShape.DATA_LOC_STRING, "rel": FieldShape.REL_LOC_STRING}
_ARRAYS = {"data": FieldShape.DATA_LOC_ARRAY, "rel": FieldShape.REL_LOC_ARRAY}


def parse_format(text: str, *, long_size: int = POINTER_SIZE) -> EventFormat:
    """Parse the `format` text of one tracepoint. FormatError: it is not one.

    `long_size` is the bytes of a long where the recording was made; it decides only the elements of dynamic arrays of
    long or of pointers. A field whose name an earlier one bears is kept as `name_2`, `name_3`, …
    """
    if len(text) > LONGEST_TEXT:
        raise FormatError(f"format text has {len(text)} characters, more than {LONGEST_TEXT}")
    return _parsed(text.replace("\r\n", "\n").rstrip("\0"), long_size)


# Recordings of one kernel tell the same texts.
@lru_cache(maxsize=256)
def _parsed(text: str, long_size: int) -> EventFormat:
    header = _HEADER.match(text)
    if header is None:
        raise FormatError(f"no tracefs format text: expected name, ID and format, found {quoted(text[:200])}")
    declarations, _, print_fmt = text[header.end() :].partition("print fmt:")
    names = _UniqueNames()
    fields: list[Field] = []
    for line in declarations.split("\n"):
        if not line.strip():
            continue
        if len(fields) == MOST_FIELDS:
            raise FormatError(f"format of {quoted(header['name'])}: more than {MOST_FIELDS} fields")
        fields.append(_field(line, names, long_size))
    return EventFormat(header["name"], int(header["id"]), tuple(fields), print_fmt.strip())


class _UniqueNames:
    """Gives each field a name that no earlier one has."""

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}

    def unique(self, name: str) -> str:
        """Return the name, or the name with the next free number."""
        candidate = name
        while candidate in self._taken:
            self._taken[name] += 1
            candidate = f"{name}_{self._taken[name]}"
        self._taken[candidate] = 1
        return candidate


@dataclass(frozen=True, slots=True)
class _Declaration:
    """A C declaration as a format text writes it; `count` is what stands in the brackets, None: no array."""

    c_type: str
    name: str
    count: str | None
    location: str | None = None  # "data" or "rel" where the record holds the place of the content

    @property
    def words(self) -> list[str]:
        """The words of the type; an asterisk is one."""
        return self.c_type.replace("*", " * ").split()

    def element(self, long_size: int) -> CType | None:
        """Return the type of the value or of one element; None: not known, or no integer."""
        if "*" in self.words:
            return CType(long_size, signed=False)
        return integer_type(self.words, long_size)

    def is_text(self) -> bool:
        """Tell whether the elements are characters."""
        return [word for word in self.words if word != "const"] == ["char"]


def _field(line: str, names: _UniqueNames, long_size: int) -> Field:
    match = _FIELD.fullmatch(line) if len(line) <= _LONGEST_DECLARATION else None
    if match is None:
        raise FormatError(f"format text: expected a field, found {quoted(line.strip())}")
    declaration = _declared(" ".join(match["declaration"].split()))
    offset, size = _bounded(match["offset"], "offset"), _bounded(match["size"], "size")
    if offset + size > LARGEST_RECORD:
        raise FormatError(f"format text: field {quoted(declaration.name)} ends at {offset + size}")
    element = declaration.element(long_size)
    shape, element_size, count = _shape(declaration, size, element)
    return Field(
        name=names.unique(declaration.name),
        c_type=declaration.c_type,
        offset=offset,
        size=size,
        signed=_is_signed(declaration, shape, match["signed"], element),
        shape=shape,
        element_size=element_size,
        count=count,
    )


def _is_signed(declaration: _Declaration, shape: FieldShape, said: str | None, element: CType | None) -> bool:
    if shape in (FieldShape.OPAQUE, FieldShape.BOOL) or "*" in declaration.words:
        return False
    if said is None:  # Linux before 2.6.34
        return element is not None and element.signed
    return said.strip("-0") != ""


def _bounded(digits: str, what: str) -> int:
    if len(digits) > len(str(LARGEST_RECORD)) or not 0 <= int(digits) < LARGEST_RECORD:
        raise FormatError(f"format text: a field's {what} of {quoted(digits)}")
    return int(digits)


def _declared(text: str) -> _Declaration:
    location = _LOCATION.fullmatch(text)
    if location:
        return _Declaration(location["type"], location["name"], None, location["kind"])
    declarator, bracket, count = text.partition("[")
    match = _DECLARATOR.fullmatch(declarator)
    if match is None or (bracket and not count.endswith("]")):
        raise FormatError(f"format text: expected a declaration, found {quoted(text)}")
    return _Declaration(match["type"].strip(), match["name"], count[:-1] if bracket else None)


def _shape(declaration: _Declaration, size: int, element: CType | None) -> tuple[FieldShape, int, int]:
    """Return shape, bytes of an element, and number of elements."""
    if declaration.location and size == _LOCATION_SIZE:
        if declaration.is_text():
            return _STRINGS[declaration.location], 1, 0
        # Elements of a type that is not known (structures) are bytes.
        return _ARRAYS[declaration.location], element.size if element else 1, 0
    is_structure = AGGREGATES & set(declaration.words) and "*" not in declaration.words
    if (declaration.count is not None or size == 0) and not is_structure:  # old kernels write `char buf` of size 0
        return _array_shape(declaration, size, element)
    if declaration.location or is_structure or size not in _INTEGER_SIZES:
        return FieldShape.OPAQUE, 1, size
    return _single_shape(declaration, size), size, 1


def _single_shape(declaration: _Declaration, size: int) -> FieldShape:
    if "*" in declaration.words:
        return FieldShape.POINTER
    if size == 1 and declaration.words[-1] in ("bool", "_Bool"):
        return FieldShape.BOOL
    return FieldShape.INTEGER


def _array_shape(declaration: _Declaration, size: int, element: CType | None) -> tuple[FieldShape, int, int]:
    if declaration.is_text():
        return (FieldShape.CHAR_ARRAY, 1, size) if size else (FieldShape.TAIL_STRING, 1, 0)
    count = _count(declaration.count or "")
    element_size = element.size if element else 0
    if count and size % count == 0:  # else a macro's name, or an expression
        element_size = size // count
    if size == 0 or element_size not in _INTEGER_SIZES or size % element_size:
        return FieldShape.OPAQUE, 1, size
    return FieldShape.ARRAY, element_size, size // element_size


def _count(text: str) -> int:
    """Return the number of elements of `[4]` or `[2][3]` (its brackets cut off: `2][3`); 0: it is not written out."""
    count = 1
    for dimension in text.split("]["):
        count *= int(dimension) if re.fullmatch(r"[0-9]{1,6}", dimension.strip()) else 0
    return count
