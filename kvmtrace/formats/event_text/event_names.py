"""Names of events, which stand between a line's prefix and the event's own text."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from kvmtrace.formats.event_text.interning import MANY, Interner
from kvmtrace.formats.event_text.prefixes import NAME
from kvmtrace.formats.event_text.words import WORD, windows

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from kvmtrace.formats.event_text.words import Places, Words

    Flags = NDArray[np.bool_]

_WINDOW = 64  # bytes in which a name must stand, with the blanks around it
_MANY_PIECES = 8
_COLON, _BLANK = ord(":"), ord(" ")
_BITS = 8
_BYTE = np.uint64(0xFF)
_ONE = np.uint64(1)


class Names(NamedTuple):
    """The names in some lines."""

    told: Flags  # whether there is one
    code: Places
    text: Places  # where the event's own text begins


class _Piece:
    """A name with the blanks around it as most lines have it: recorders pad all names to one width."""

    def __init__(self, piece: bytes, code: int) -> None:
        size = -(-(len(piece) + 1) // WORD) * WORD
        self.piece = piece
        self.code = code
        self.hits = 0
        self._wanted = np.frombuffer(piece.ljust(size, b"\0"), "<u8")
        self._mask = np.frombuffer((b"\xff" * len(piece)).ljust(size, b"\0"), "<u8")

    def stands(self, found: Words) -> Flags:
        """Tell which rows begin with the piece, and the event's own text right behind it."""
        column, place = divmod(len(self.piece), WORD)
        same: Flags = (found[:, column] >> np.uint64(place * _BITS)) & _BYTE > _BLANK
        for column, (wanted, mask) in enumerate(zip(self._wanted, self._mask, strict=True)):
            if mask:
                same &= found[:, column] & mask == wanted
        return same


class EventNames:
    """Finds names behind prefixes, and gives each a code: its place in `strings`.

    `knows` says of a name whether it is an event's, for lines that have nothing before it.
    """

    def __init__(self, knows: Callable[[str], bool] | None) -> None:
        self._knows = knows
        self._interner = Interner(MANY)
        self.strings = self._interner.strings
        self._usable: list[bool] = []  # by code: whether the name can be an event's
        self._pieces: list[_Piece] = []

    def possible(self, name: bytes, *, bare: bool) -> bool:
        """Tell whether a word can be an event's name: records of perf itself are none; of `bare` ones, known ones."""
        if NAME.fullmatch(name) is None or name.startswith(b"PERF_RECORD_"):
            return False
        return not bare or (self._knows is not None and self._knows(name.decode("latin-1")))

    def code(self, raw: NDArray[np.uint8], start: int, length: int) -> int:
        """Return the code of one name."""
        return int(self._interner.codes(raw, np.array([start]), np.array([length]))[0])

    def read(self, raw: NDArray[np.uint8], at: Places, ends: Places, fits: Flags, *, bare: bool) -> Names:
        """Return the names that begin at or behind `at` in the lines that fit; `bare`: only known ones are names."""
        names = Names(np.zeros(len(at), np.bool_), np.full(len(at), -1, np.int64), at.copy())
        found = windows(raw, at, _WINDOW)
        left: Places | None = None if fits.all() else np.flatnonzero(fits)  # rows; None: all
        if left is not None and not len(left):
            return names
        for piece in self._pieces:
            same = piece.stands(found if left is None else found[left])
            rows = np.flatnonzero(same) if left is None else left[same]
            piece.hits += len(rows)
            names.told[rows] = True
            names.code[rows] = piece.code
            names.text[rows] += len(piece.piece)
            left = np.flatnonzero(~same) if left is None else left[~same]
            if not len(left):
                return names
        rows = np.arange(len(at)) if left is None else left
        others = self._search(raw, at[rows], ends[rows], found[rows], bare=bare)
        for column, values in zip(names, others, strict=True):
            column[rows] = values
        self._learn(raw, at[rows], others)
        return names

    def _search(self, raw: NDArray[np.uint8], at: Places, ends: Places, found: Words, *, bare: bool) -> Names:
        """Look for a word that ends with a colon."""
        characters = found.view(np.uint8).reshape(len(at), _WINDOW)
        blanks = np.packbits(characters <= _BLANK, axis=1, bitorder="little").view("<u8").ravel()
        first = _trailing(~blanks)
        last = first + _trailing(blanks >> first)
        text = (last + _trailing(~(blanks >> last))).astype(np.int64)
        begin, behind = first.astype(np.int64), last.astype(np.int64)
        length = behind - begin
        told = (length > 1) & (text < _WINDOW) & (at + behind <= ends)
        told &= characters[np.arange(len(at)), np.minimum(behind, _WINDOW) - 1] == _COLON
        good = np.flatnonzero(told)
        codes = np.full(len(at), -1, np.int64)
        codes[good] = self._interner.codes(raw, (at + begin)[good], length[good] - 1)
        for name in self.strings[len(self._usable) :]:
            self._usable.append(self.possible(name, bare=bare))
        told &= np.array([*self._usable, False])[codes]
        return Names(told, codes, np.minimum(at + text, ends))

    def _learn(self, raw: NDArray[np.uint8], at: Places, names: Names) -> None:
        """Keep the pieces that most lines have."""
        self._pieces.sort(key=lambda piece: -piece.hits)
        rows = np.flatnonzero(names.told & (names.text - at < _WINDOW))
        for code in np.unique(names.code[rows]).tolist():
            if len(self._pieces) == _MANY_PIECES:
                return
            row = rows[np.flatnonzero(names.code[rows] == code)[0]]
            piece = raw[at[row] : names.text[row]].tobytes()
            if b"\n" not in piece and piece not in [known.piece for known in self._pieces]:
                self._pieces.append(_Piece(piece, code))


def _trailing(bits: Words) -> Words:
    """Return how many of the lowest bits are 0, 64 where all are."""
    return np.bitwise_count((bits & (~bits + _ONE)) - _ONE).astype(np.uint64)
