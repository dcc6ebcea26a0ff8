"""What the steps of a plan do with many texts at a time: numbers and names are read eight characters at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from kvmtrace.formats.event_text.columns import Column, Spans, dtype_of
from kvmtrace.formats.event_text.templates import NUMBERS
from kvmtrace.formats.event_text.words import (
    PAD,
    WORD,
    decimals,
    hexadecimals,
    leading,
    not_decimal,
    not_hexadecimal,
    other_than,
    whole_hexadecimals,
    windows,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kvmtrace.formats.event_text.name_columns import NameColumns
    from kvmtrace.formats.event_text.templates import Placeholder
    from kvmtrace.formats.event_text.words import Places, Words

    Flags = NDArray[np.bool_]

_WORD_BITS = 64
_SCAN = 48  # bytes in which a name or a text must end
_SIGN, _BLANK = ord("-"), ord(" ")
_LONGEST_DIGITS = 16


class Texts:
    """The state of all texts between two steps."""

    def __init__(self, block: NDArray[np.uint8], at: Places, ends: Places, names: dict[str, NameColumns]) -> None:
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
        """Go behind a literal, which must stand here."""
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
        """Read what a placeholder stands for, and go behind it."""
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
        if part.kind in {"x32", "x64"} and (whole := whole_hexadecimals(found, self.alive)) is not None:
            self._store(part, whole.astype(dtype_of(part.kind)))
            self.at += size - WORD
            return
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
