"""Fields of a tracepoint, as its tracefs `format` text declares them (kernel/trace/trace_events.c, f_show)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

COMMON_PREFIX = "common_"


class FieldShape(Enum):
    """What the bytes of a field are.

    DATA_LOC_* fields are a u32 in the record: low 16 bits the offset of the content from the record's start, high 16
    its length. REL_LOC_* count the offset from the end of the field itself.
    """

    INTEGER = "integer"
    BOOL = "bool"
    POINTER = "pointer"  # an unsigned integer
    CHAR_ARRAY = "char array"  # fixed char x[N]: text up to its NUL
    ARRAY = "array"  # fixed integers x[N]
    DATA_LOC_STRING = "__data_loc string"
    DATA_LOC_ARRAY = "__data_loc array"
    REL_LOC_STRING = "__rel_loc string"
    REL_LOC_ARRAY = "__rel_loc array"
    TAIL_STRING = "tail string"  # char x[] to the end of the record
    OPAQUE = "opaque"  # structures and odd sizes, stored as bytes; of size 0: to the end of the record


_NUMBERS = frozenset({FieldShape.INTEGER, FieldShape.BOOL, FieldShape.POINTER})


@dataclass(frozen=True, slots=True)
class Field:
    """One field; `name` is unique within its event.

    `offset` and `size` are bytes in the record, and authoritative: fields may leave holes. `element_size` is the bytes
    of one element (of the value itself where there is one), `signed` its sign, and `count` the elements in the record:
    1 for a single value, 0 where the record tells it.
    """

    name: str
    c_type: str
    offset: int
    size: int
    signed: bool
    shape: FieldShape
    element_size: int
    count: int


@dataclass(frozen=True, slots=True)
class EventFormat:
    """A tracepoint: all its fields in the order of the text, the common ones first, and its print fmt, not parsed."""

    name: str
    id: int
    fields: tuple[Field, ...]
    print_fmt: str

    @property
    def own_fields(self) -> tuple[Field, ...]:
        """The fields without those that every event has (common_*)."""
        return tuple(field for field in self.fields if not field.name.startswith(COMMON_PREFIX))

    @property
    def integer_fields(self) -> frozenset[str]:
        """The names of own fields that hold one number: a flag and an address are numbers too."""
        return frozenset(field.name for field in self.own_fields if field.shape in _NUMBERS)
