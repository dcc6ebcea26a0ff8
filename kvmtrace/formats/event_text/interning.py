"""Short strings of a block → small codes, each distinct string once: names of events, exit reasons and the like."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.formats.event_text.words import WORD, kept, windows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kvmtrace.formats.event_text.words import Places, Words

LONGEST = 136
"""Bytes of a string that can have a code."""
MANY = 1 << 14
"""Strings after which it pays to forget them."""

_SLOTS_LOG2 = 12
_MIX = np.array([(0x9E3779B97F4A7C15 * (2 * n + 1) ^ 0xC2B2AE3D27D4EB4F << n) % (1 << 64) | 1
                 for n in range(LONGEST // WORD)], np.uint64)  # fmt: skip


class Interner:
    """Gives strings codes 0, 1, … in the order in which they are first seen, to so many strings (`limit`)."""

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit
        self.forget()

    def forget(self) -> None:
        """Begin anew with code 0."""
        self.strings: list[bytes] = []
        self._codes: dict[bytes, int] = {}
        self._columns = [np.zeros(0, np.uint64) for _ in range(LONGEST // WORD)]
        self._lengths = np.zeros(0, np.int64)
        self._slots = np.zeros(1 << _SLOTS_LOG2, np.int64)  # code of a string with that hash; a guess

    def codes(self, block: NDArray[np.uint8], starts: Places, lengths: Places) -> Places:
        """Return the code of each string, -1 for one that is empty, longer than `LONGEST` or beyond the limit."""
        short = (lengths > 0) & (lengths <= LONGEST)
        if not short.all():
            codes = np.full(len(starts), -1, np.int64)
            codes[short] = self.codes(block, starts[short], lengths[short])
            return codes
        if not len(starts):
            return np.zeros(0, np.int64)
        width = -(-int(lengths.max()) // WORD) * WORD
        codes = self._codes_of(kept(windows(block, starts, width), lengths), lengths)
        if not self.strings:
            return np.full(len(starts), -1, np.int64)
        codes[self._lengths[codes] != lengths] = -1  # a string that ends with NUL has no code
        return codes

    def _codes_of(self, words: Words, lengths: Places) -> Places:
        """Return the codes of strings that are padded with NUL."""
        hashes = (words * _MIX[: words.shape[1]]).sum(axis=1, dtype=np.uint64)
        slots = ((hashes ^ hashes >> np.uint64(29)) * _MIX[0] >> np.uint64(64 - _SLOTS_LOG2)).astype(np.int64)
        codes: Places = self._slots[slots]
        wrong = np.flatnonzero(~self._are(codes, words, lengths))
        if len(wrong):
            codes[wrong] = self._learn(words[wrong], hashes[wrong])
            self._slots[slots[wrong]] = np.maximum(codes[wrong], 0)
        return codes

    def _are(self, codes: Places, words: Words, lengths: Places) -> NDArray[np.bool_]:
        """Tell for each row whether it is the string of its code."""
        if not self.strings:
            return np.zeros(len(words), np.bool_)
        equal: NDArray[np.bool_] = self._lengths[codes] == lengths
        for column in range(words.shape[1]):
            equal &= self._columns[column][codes] == words[:, column]
        return equal

    def _learn(self, words: Words, hashes: Words) -> Places:
        """Return the codes of rows whose hash led to no string or to another; each distinct one is looked at once."""
        _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
        inverse = inverse.ravel()
        if (words[first][inverse] != words).any():  # two strings have one hash
            first, inverse = np.arange(len(words)), np.arange(len(words))
        codes = np.empty(len(first), np.int64)
        new = []
        for index, row in enumerate(first.tolist()):
            string = words[row].tobytes().rstrip(b"\0")
            code = self._codes.get(string)
            if code is None and (self._limit is None or len(self.strings) < self._limit):
                code = self._codes[string] = len(self.strings)
                self.strings.append(string)
                new.append(string.ljust(LONGEST, b"\0"))
            codes[index] = -1 if code is None else code
        if new:
            added = np.frombuffer(b"".join(new), "<u8").reshape(len(new), LONGEST // WORD)
            self._columns = [np.append(old, added[:, place]) for place, old in enumerate(self._columns)]
            self._lengths = np.append(self._lengths, [len(string) for string in self.strings[-len(new) :]])
        return codes[inverse]
