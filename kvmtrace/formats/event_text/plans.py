"""A template as steps over many texts at a time: numbers and names are read eight characters at a time.

A step stands at a place in each text: it looks whether a literal stands there, reads what comes behind it, and goes on
behind that. What the steps cannot decide (a name with blanks in it, a number of more than 16 digits) they leave to the
template's regular expression; what they do decide is what that would say.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from kvmtrace.formats.event_text.columns import Column, Spans, dtype_of
from kvmtrace.formats.event_text.interning import MANY, Interner
from kvmtrace.formats.event_text.names import table
from kvmtrace.formats.event_text.templates import NUMBERS, Literal, Placeholder
from kvmtrace.formats.event_text.words import (
    PAD,
    WORD,
    decimals,
    hexadecimals,
    leading,
    not_decimal,
    not_hexadecimal,
    other_than,
    windows,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from kvmtrace.formats.event_text.templates import Template
    from kvmtrace.formats.event_text.words import Places, Words

    Flags = NDArray[np.bool_]

_WORD_BITS = 64
_SCAN = 48  # bytes in which a name or a text must end
_SIGN, _BLANK = ord("-"), ord(" ")
_LONGEST_DIGITS = 16
_LONGEST_LITERAL = 64


class Verdict(IntEnum):
    """What is known of one text."""

    NO = 0
    YES = 1
    UNDECIDED = 2


@dataclass(frozen=True, slots=True)
class _Step:
    before: bytes  # the literal
    part: Placeholder | None  # what comes behind it; None: nothing, or blanks that may be there (`stop`)
    stop: int | None = None  # of a text: the character that may end it; None: it goes to the end


class _Names:
    """The values of the names of one table."""

    def __init__(self, kind: str) -> None:
        self.table = table(kind)
        self._types = [dtype_of(kind) for kind in self.table.types]
        self._interner = Interner()
        self._resolve_from(0)

    def _resolve_from(self, first: int) -> None:
        """Find the values of the strings from code `first` on; the last row is that of -1."""
        if first == 0:
            self._known = np.zeros(1, np.bool_)
            self._values = [np.zeros(1, dtype) for dtype in self._types]
        resolved = [self.table.resolve(string.decode("latin-1")) for string in self._interner.strings[first:]]
        known = np.array([*(value is not None for value in resolved), False], np.bool_)
        self._known = np.concatenate([self._known[:-1], known])
        for place, kind in enumerate(self.table.types):
            new = [0 if value is None else wrapped(value[place], kind) for value in resolved]
            old = self._values[place]
            self._values[place] = np.concatenate([old[:-1], np.array([*new, 0], old.dtype)])

    def read(self, block: NDArray[np.uint8], starts: Places, lengths: Places) -> tuple[Flags, list[NDArray[Any]]]:
        """Return which names are known, and the value of each field."""
        if len(self._interner.strings) > MANY:
            self._interner.forget()
            self._resolve_from(0)
        codes = self._interner.codes(block, starts, lengths)
        if len(self._interner.strings) >= len(self._known):
            self._resolve_from(len(self._known) - 1)
        return self._known[codes], [values[codes] for values in self._values]


class Plan:
    """The steps of one template."""

    def __init__(self, steps: Sequence[_Step]) -> None:
        self._steps = steps
        kinds = {step.part.kind for step in steps if step.part is not None and step.part.is_table and step.part.fields}
        self._names = {kind: _Names(kind) for kind in kinds}

    @classmethod
    def of(cls, template: Template) -> Plan | None:
        """Return the plan of a template; None: it has parts that border on each other so that only trying tells."""
        steps: list[_Step] = []
        parts = list(template.parts)
        before = b""
        for index, part in enumerate(parts):
            if isinstance(part, Literal):
                if part.soft:
                    steps.append(_Step(before, None, _BLANK))
                    before = b""
                else:
                    before += part.text
                continue
            stop = _stop(part, parts[index + 1 :])
            if stop is None or len(before) > _LONGEST_LITERAL:
                return None
            steps.append(_Step(before, part, stop if stop >= 0 else None))
            before = b""
        return cls([*steps, _Step(before, None)]) if len(before) <= _LONGEST_LITERAL else None

    def run(self, block: NDArray[np.uint8], starts: Places, ends: Places) -> Result:
        """Read the texts from `starts` to `ends`, without the blanks around them, of a block with `PAD` around it."""
        run = _Run(block, starts.copy(), ends, self._names)
        for step in self._steps:
            if step.part is not None and step.part.is_number and 0 < len(step.before) <= 2 * WORD:
                run.number(step.part, step.before)
                continue
            run.literal(step.before)
            if step.part is not None:
                run.take(step.part, step.stop)
            elif step.stop is not None:
                run.skip_blanks()
        run.fail(run.at != ends)
        verdict = np.where(run.alive, np.uint8(Verdict.YES), np.uint8(Verdict.NO))
        verdict[run.unsure & ~run.alive] = Verdict.UNDECIDED
        return Result(verdict, run.columns)


@dataclass(frozen=True, slots=True)
class Result:
    """The verdict on each text, and the columns of the fields; where the verdict is not YES they mean nothing."""

    verdict: NDArray[np.uint8]
    columns: dict[str, Column]


def _stop(part: Placeholder, behind: Sequence[Literal | Placeholder]) -> int | None:
    """Return the character that ends a part of variable length, -1: none is needed; None: there is no telling."""
    if not behind or part.kind in {"bool", "flag"}:
        return -1
    if part.is_number:
        first = _first_characters(behind)
        digits = b"0123456789abcdefABCDEF" if part.kind.startswith("x") else b"0123456789"
        return None if first is None or set(first) & set(digits) else -1
    return behind[0].text[0] if isinstance(behind[0], Literal) and not behind[0].soft else None


def _first_characters(parts: Sequence[Literal | Placeholder]) -> bytes | None:
    """Return the characters with which these parts may begin; None: any."""
    first = b""
    for part in parts:
        if isinstance(part, Literal):
            return first + part.text[:1]
        if part.kind != "flag" or not part.literal:
            return None
        first += part.literal[:1]
    return first


class _Run:
    """The state of all texts between two steps."""

    def __init__(self, block: NDArray[np.uint8], at: Places, ends: Places, names: dict[str, _Names]) -> None:
        self.block = block
        self.at = at
        self.ends = ends
        self.names = names
        self.alive = np.ones(len(at), np.bool_)
        self.unsure = np.zeros(len(at), np.bool_)
        self.columns: dict[str, Column] = {}
        self._guessed = False  # a text or a name has ended where another end was possible

    def fail(self, failed: Flags) -> None:
        """Give up texts: for good, unless another end of something before may help."""
        if failed.any():
            if self._guessed:
                self.unsure |= failed & self.alive
            self.alive &= ~failed

    def leave(self, undecided: Flags) -> None:
        """Leave texts to the regular expression."""
        if undecided.any():
            self.unsure |= undecided & self.alive
            self.alive &= ~undecided

    def _windows(self, size: int) -> Words:
        return windows(self.block, np.minimum(self.at, len(self.block) - PAD), size)

    def literal(self, text: bytes) -> None:
        if text:
            self.fail(~self._stands(text))
            self.at += len(text)

    def _stands(self, text: bytes) -> Flags:
        size = -(-len(text) // WORD) * WORD
        wanted = np.frombuffer(text.ljust(size, b"\0"), "<u8")
        mask = np.frombuffer((b"\xff" * len(text)).ljust(size, b"\0"), "<u8")
        found = self._windows(size)
        same: Flags = found[:, 0] & mask[0] == wanted[0]
        for column in range(1, len(wanted)):
            same &= found[:, column] & mask[column] == wanted[column]
        return same

    def skip_blanks(self) -> None:
        """Go behind blanks that may be there."""
        blanks = leading(other_than(self._windows(_SCAN), _BLANK))
        self.leave(blanks == _SCAN)
        self.at += np.minimum(blanks, np.maximum(self.ends - self.at, 0))

    def take(self, part: Placeholder, stop: int | None) -> None:
        if part.kind == "flag":
            self._flag(part)
        elif part.kind == "bool":
            self._bool(part)
        elif part.is_number:
            self.number(part)
        else:
            self._string(part, stop)

    def _flag(self, part: Placeholder) -> None:
        there = self._stands(part.literal) if part.literal else np.ones(len(self.at), np.bool_)
        self._store(part, there)
        self.at += np.where(there, len(part.literal), 0)
        self._guessed = True

    def _bool(self, part: Placeholder) -> None:
        character = self.block[np.minimum(self.at, len(self.block) - PAD)]
        self.fail((character != ord("0")) & (character != ord("1")))
        self._store(part, character == ord("1"))
        self.at += 1

    def number(self, part: Placeholder, before: bytes = b"") -> None:
        """Read a number behind a literal of up to 16 characters, in one look."""
        bits, _ = NUMBERS[part.kind]
        size = 2 * WORD if bits < _WORD_BITS else 3 * WORD
        words = -(-len(before) // WORD)
        self.at += len(before) - words * WORD
        found = self._windows(words * WORD + size)
        self.at += words * WORD
        if before:
            wanted = np.frombuffer(before.rjust(words * WORD, b"\0"), "<u8")
            mask = np.frombuffer((b"\xff" * len(before)).rjust(words * WORD, b"\0"), "<u8")
            for column in range(words):
                self.fail(found[:, column] & mask[column] != wanted[column])
            found = found[:, words:]
        if part.kind.startswith("x"):
            found = self._behind_blanks(found, size)
            length = leading(not_hexadecimal(found))
            value = hexadecimals(found, np.minimum(length, _LONGEST_DIGITS))
            negative = None
        else:
            found = self._behind_blanks(found, size)
            found, negative = self._behind_sign(found, size)
            length = leading(not_decimal(found))
            value = decimals(found, np.minimum(length, _LONGEST_DIGITS))
        self.fail(length == 0)
        self.leave(length >= min(size, _LONGEST_DIGITS + 1))
        self._range(value, negative, part)
        self.at += length

    def _behind_blanks(self, found: Words, size: int) -> Words:
        """Go behind blanks that pad a number."""
        padded = found[:, 0] & np.uint64(0xFF) == _BLANK
        if not padded.any():
            return found
        rows = np.flatnonzero(padded)
        blanks = leading(
            other_than(windows(self.block, np.minimum(self.at[rows], len(self.block) - PAD), _SCAN), _BLANK)
        )
        self.at[rows] += blanks
        too_many = np.zeros(len(self.at), np.bool_)
        too_many[rows] = blanks == _SCAN
        self.leave(too_many)
        return self._windows(size)

    def _behind_sign(self, found: Words, size: int) -> tuple[Words, Flags | None]:
        negative = found[:, 0] & np.uint64(0xFF) == _SIGN
        if not negative.any():
            return found, None
        self.at += negative
        return self._windows(size), negative

    def _range(self, value: Words, negative: Flags | None, part: Placeholder) -> None:
        """Store a number that its type, or that of the other sign, can hold."""
        bits, _ = NUMBERS[part.kind]
        if bits < _WORD_BITS:
            self.fail(value >= np.uint64(1 << bits))
        number = value.view(np.int64)
        if negative is not None:
            if bits < _WORD_BITS:
                self.fail(negative & (value > np.uint64(1 << bits - 1)))
            number = np.where(negative, -number, number)
        self._store(part, number.astype(dtype_of(part.kind)))

    def _string(self, part: Placeholder, stop: int | None) -> None:
        length = self._length(part, stop)
        if part.is_table and part.fields:
            self._name(part, length)
        elif part.fields:
            self.columns[part.fields[0]] = Spans(self.at.copy(), length)
        self.at += length
        self._guessed |= stop is not None

    def _length(self, part: Placeholder, stop: int | None) -> Places:
        """Return how long a name or a text is."""
        if stop is None and part.kind != "word":
            return cast("Places", np.maximum(self.ends - self.at, 0))
        found = self._windows(_SCAN)
        bad = other_than(found, _BLANK if stop is None else stop)
        stops = bad ^ np.uint64(0x8080808080808080)
        if part.kind == "word":
            stops |= other_than(found, _BLANK) ^ np.uint64(0x8080808080808080)
            stops |= other_than(found, ord("\t")) ^ np.uint64(0x8080808080808080)
            stops |= other_than(found, ord("\n")) ^ np.uint64(0x8080808080808080)
        length = leading(stops)
        if stop is None:
            length = np.minimum(length, np.maximum(self.ends - self.at, 0))
        self.leave(length == _SCAN)
        self.leave(self.at + length > self.ends)
        return cast("Places", np.maximum(np.minimum(length, self.ends - self.at), 0))

    def _name(self, part: Placeholder, length: Places) -> None:
        known, values = self.names[part.kind].read(self.block, np.minimum(self.at, len(self.block) - PAD), length)
        self.leave(~known)
        self.columns.update(zip(part.fields, values, strict=True))

    def _store(self, part: Placeholder, column: Column) -> None:
        if part.fields:
            self.columns[part.fields[0]] = column


def wrapped(value: int, kind: str) -> int:
    """Return what a field of that type holds of a number."""
    if kind == "bool":
        return int(value != 0)
    bits, signed = NUMBERS[kind]
    value &= (1 << bits) - 1
    return value - (1 << bits) if signed and value >> bits - 1 else value
