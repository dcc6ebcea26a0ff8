"""Text in a block of bytes as 64-bit words: many lines at a time, eight characters at a time.

The first character is the low byte of a word. `bad` masks have the high bit of each byte that is not of a class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]
    Places = NDArray[np.int64]

PAD = 128
"""Bytes before and behind the lines of a block, so that what is read near its ends lies inside it."""
WORD = 8

_U = np.uint64
_ONE = _U(1)
_HIGH = _U(0x8080808080808080)
_FIRST = _U(0x80)
_LOW7 = _U(0x7F7F7F7F7F7F7F7F)
_POWERS = np.array([10**n for n in range(17)], np.uint64)
_KEEP = np.array([(1 << 8 * n) - 1 for n in range(8)] + [(1 << 64) - 1], np.uint64)
"""By n: the mask of a word's first n characters."""


def _each(byte: int) -> np.uint64:
    return _U(byte * 0x0101010101010101)


_ZEROS, _BIT5, _ABOVE_9, _CASE = _each(0x30), _each(0x20), _each(0x76), _each(0x60)
_ABOVE_F, _NIBBLE, _LETTER = _each(0x79), _each(0x0F), _each(0x01)


def windows(block: NDArray[np.uint8], starts: Places, size: int) -> Words:
    """Return `size` bytes (a multiple of 8) from each place, as words: one row each."""
    view = np.ndarray((len(block) - size + 1,), f"V{size}", buffer=block.data, strides=(1,))
    return view[starts].view("<u8").reshape(len(starts), size // WORD)


def not_decimal(words: Words) -> Words:
    """Return the mask of characters that are not 0-9."""
    digits = words ^ _ZEROS
    return ((digits & _LOW7) + _ABOVE_9 | digits) & _HIGH


def not_hexadecimal(words: Words) -> Words:
    """Return the mask of characters that are not 0-9, a-f or A-F."""
    letters = (words | _BIT5) ^ _CASE  # 1 to 6 for a to f
    low = letters & _LOW7
    not_letter = (low + _ABOVE_F) | ~(low + _LOW7) | letters
    return cast("Words", not_decimal(words) & not_letter)


def other_than(words: Words, byte: int) -> Words:
    """Return the mask of characters that are not `byte`."""
    difference = words ^ _each(byte)
    return ((difference & _LOW7) + _LOW7 | difference) & _HIGH


def leading(bad: Words) -> Places:
    """Return how many characters of each row stand before the first one in `bad`; all of them where there is none."""
    count = _leading(bad[:, 0])
    for column in range(1, bad.shape[1]):
        rows = count == WORD * column
        if not rows.any():
            break
        count += np.where(rows, _leading(bad[:, column]), 0)
    return count


def _leading(bad: Words) -> Places:
    below = (bad & (~bad + _ONE)) - _ONE  # the bits below the first; all of them where there is none
    return (np.bitwise_count(below) >> 3).astype(np.int64)


def kept(words: Words, lengths: Places) -> Words:
    """Return each row's first `lengths` characters, NUL behind them."""
    out = np.empty_like(words)
    for column in range(words.shape[1]):
        out[:, column] = words[:, column] & _KEEP[np.clip(lengths - WORD * column, 0, WORD)]
    return out


def decimals(words: Words, lengths: Places) -> Words:
    """Return the numbers that the first `lengths` (up to 16) characters of each row are; they must be 0-9."""
    shift = (WORD - lengths) * WORD  # below 0: more than one word
    if words.shape[1] == 1 or int(shift.min(initial=0)) >= 0:
        return decimal(_shifted(words[:, 0], shift))
    further = np.maximum(-shift >> 3, 0)
    value = decimal(_shifted(words[:, 0], np.maximum(shift, 0))) * _POWERS[further]
    return cast("Words", value + decimal(_shifted(words[:, 1], 64 - further * WORD)))


def hexadecimals(words: Words, lengths: Places) -> Words:
    """Return the numbers that the first `lengths` (up to 16) characters of each row are; they must be 0-9a-fA-F."""
    shift = (WORD - lengths) * WORD
    if words.shape[1] == 1 or int(shift.min(initial=0)) >= 0:
        return _hexadecimal(_shifted(words[:, 0], shift))
    further = np.maximum(-shift >> 3, 0)
    value = _hexadecimal(_shifted(words[:, 0], np.maximum(shift, 0))) << (further << 2).astype(np.uint64)
    return cast("Words", value | _hexadecimal(_shifted(words[:, 1], 64 - further * WORD)))


def _shifted(words: Words, bits: Places) -> Words:
    """Shift left, so that what is behind the number falls out and 0 comes before it; by 64 everything falls out."""
    return words << bits.astype(np.uint64)


def decimal(words: Words) -> Words:
    """Return the number that the 8 characters of each word are; NUL and blanks count as 0."""
    value = words & _NIBBLE
    value = value * _U(10) + (value >> _U(8)) & _U(0x00FF00FF00FF00FF)
    value = value * _U(100) + (value >> _U(16)) & _U(0x0000FFFF0000FFFF)
    return value * _U(10_000) + (value >> _U(32)) & _U(0xFFFFFFFF)


def whole_hexadecimals(words: Words, rows: NDArray[np.bool_]) -> Words | None:
    """Return the numbers that all but the last word of each row are, whole; None: some of the `rows` are not.

    The last word must begin with another character, so that the number ends before it.
    """
    *digits, behind = words.T
    wrong = (not_hexadecimal(behind) & _FIRST) ^ _FIRST
    for word in digits:
        wrong |= not_hexadecimal(word)
    if wrong.any() and (wrong[rows] != 0).any():
        return None
    value = _hexadecimal(digits[0])
    return value if len(digits) == 1 else cast("Words", value << _U(32) | _hexadecimal(digits[1]))


def _hexadecimal(words: Words) -> Words:
    value = (words & _NIBBLE) + _U(9) * (words >> _U(6) & _LETTER)
    value = (value << _U(4) | value >> _U(8)) & _U(0x00FF00FF00FF00FF)
    value = (value << _U(8) | value >> _U(16)) & _U(0x0000FFFF0000FFFF)
    return (value << _U(16) | value >> _U(32)) & _U(0xFFFFFFFF)
