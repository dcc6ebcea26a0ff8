"""Columns → the bytes of protobuf messages, one for each row, without a loop over rows.

All messages of one layout are equally long: a varint takes the same number of bytes in each row, padded with redundant
continuation bytes (0x80 … 0x00), which decoders accept and Perfetto's own writers make. So n messages are a matrix.
Wire format: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_VARINT, _FIXED64, _DELIMITED = 0, 1, 2  # wire types
_BITS = 7  # of a number in each byte
_CONTINUES = 0x80


def number(field: int, value: int) -> bytes:
    """Return a field that holds a number, -2⁶³ to 2⁶⁴ - 1."""
    return _key(field, _VARINT) + _varint(value & (1 << 64) - 1)


def text(field: int, value: str) -> bytes:
    """Return a field that holds a text; what is no Unicode in it becomes a question mark."""
    return message(field, value.encode("utf-8", "replace"))


def message(field: int, content: bytes) -> bytes:
    """Return a field that holds a message, or bytes."""
    return _key(field, _DELIMITED) + _varint(len(content)) + content


class Messages:
    """n messages of one layout, field after field."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.width = 0
        self._parts: list[bytes | NDArray[np.uint8]] = []

    def constant(self, encoded: bytes) -> None:
        """Add fields that are the same in every message, as the functions above encode them."""
        if encoded:
            self._add(encoded, len(encoded))

    def numbers(self, field: int, values: NDArray[np.integer[Any]]) -> None:
        """Add a field that holds a number, n of them."""
        self.constant(_key(field, _VARINT))
        matrix = padded_varints(values)
        self._add(matrix, matrix.shape[1])

    def fixed64(self, field: int, values: NDArray[np.uint64] | NDArray[np.float64]) -> None:
        """Add a field of eight bytes (fixed64, double), n of them."""
        self.constant(_key(field, _FIXED64))
        little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
        self._add(little.view(np.uint8).reshape(self.rows, 8), 8)

    def messages(self, field: int, inner: Messages) -> None:
        """Add a field that holds a message, n of them."""
        self.constant(_key(field, _DELIMITED) + _varint(inner.width))
        self.width += inner.width
        self._parts += inner._parts

    def matrix(self) -> NDArray[np.uint8]:
        """Return the messages as n rows of bytes."""
        result = np.empty((self.rows, self.width), np.uint8)
        start = 0
        for part in self._parts:
            width = len(part) if isinstance(part, bytes) else part.shape[1]
            result[:, start : start + width] = np.frombuffer(part, np.uint8) if isinstance(part, bytes) else part
            start += width
        return result

    def _add(self, part: bytes | NDArray[np.uint8], width: int) -> None:
        self._parts.append(part)
        self.width += width


def padded_varints(values: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
    """Return n numbers as n rows of bytes, as wide as the largest needs; a negative one takes ten bytes."""
    words = values if values.dtype == np.uint64 else values.astype(np.int64).view(np.uint64)
    width = max(-(-int(words.max()).bit_length() // _BITS), 1) if len(words) else 1
    result = np.empty((len(words), width), np.uint8)
    for place in range(width):
        result[:, place] = (words >> np.uint64(_BITS * place)).astype(np.uint8)  # the low eight bits
    result[:, :-1] |= _CONTINUES
    result[:, -1] &= _CONTINUES - 1
    return result


def interleaved(groups: Sequence[tuple[NDArray[np.int64], NDArray[np.uint8]]]) -> bytes:
    """Return the rows of several matrices behind each other. With each matrix come the places of its rows: 0 to n-1."""
    rows = sum(len(place) for place, _ in groups)
    widest = max((matrix.shape[1] for _, matrix in groups), default=0)
    result = np.empty((rows, widest), np.uint8)
    width = np.empty(rows, np.int64)
    for place, matrix in groups:
        result[place, : matrix.shape[1]] = matrix
        width[place] = matrix.shape[1]
    return bytes(result[np.arange(widest) < width[:, np.newaxis]].data)


def _key(field: int, wire_type: int) -> bytes:
    return _varint(field << 3 | wire_type)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= _CONTINUES:
        encoded.append(value & _CONTINUES - 1 | _CONTINUES)
        value >>= _BITS
    return bytes([*encoded, value])
