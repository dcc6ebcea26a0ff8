"""A tracepoint's raw bytes → typed columns, as the recording's own `format` text lays them out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from kvmtrace.schema import EVENT_COLUMNS
from kvmtrace.tracepoints import EventFormat, Field, FieldShape

if TYPE_CHECKING:
    from numpy.typing import NDArray

_OURS = frozenset(column.name for column in EVENT_COLUMNS) | {"run_id"}
_DERIVED = frozenset({"common_type", "common_pid"})  # the kind of the event and its tid
_STRINGS = frozenset({FieldShape.DATA_LOC_STRING, FieldShape.REL_LOC_STRING, FieldShape.TAIL_STRING})
_DYNAMIC = _STRINGS | {FieldShape.DATA_LOC_ARRAY, FieldShape.REL_LOC_ARRAY}
_LOCATION_BYTES = 4  # u32: low half offset, high half length


def stored_name(field_name: str) -> str:
    """Return the column's name: the field's, with a trailing underscore where it is one of ours."""
    return field_name + "_" if field_name in _OURS else field_name


@dataclass(frozen=True, slots=True)
class RawRows:
    """Where the raw records of some events lie in a block."""

    block: NDArray[np.uint8]
    starts: NDArray[np.int64]  # place of each record's first byte (common_type)
    sizes: NDArray[np.int64]  # bytes of each record


class FieldLayout:
    """How the fields of one tracepoint lie in its raw record, and how records are gathered.

    Records are gathered from places that are multiples of `unit` bytes, in multiples of it, with the `before` bytes
    that stand in front of each: in perf.data the record's own size does, so that the record itself is off by 4.
    """

    def __init__(self, event: EventFormat, order: str, *, before: int = 0, unit: int = 4) -> None:
        self.event = event
        self.order = order
        self.before = before
        self.stored = [f for f in event.fields if f.name not in _DERIVED]
        self.tid_offset = next((before + f.offset for f in event.fields if f.name == "common_pid"), None)
        """Where in a gathered record the kernel's own note of the thread stands."""
        self.fixed = [f for f in self.stored if not _is_tail(f)]
        self.size = max((f.offset + f.size for f in self.fixed), default=0)
        self.gather_size = -(-max(before + self.size, 1) // unit) * unit
        self.dtype = np.dtype(
            {
                "names": [f.name for f in self.fixed],
                "formats": [self._numpy_type(f) for f in self.fixed],
                "offsets": [before + f.offset for f in self.fixed],
                "itemsize": self.gather_size,
            }
        )

    def _numpy_type(self, field: Field) -> Any:  # noqa: ANN401 - what numpy.dtype takes
        if field.shape in _DYNAMIC:
            return self.order + "u4"
        sign = "i" if field.signed else "u"
        if field.shape in (FieldShape.INTEGER, FieldShape.BOOL, FieldShape.POINTER):
            return f"{self.order}{sign}{field.size}"
        if field.shape == FieldShape.ARRAY:
            return f"{self.order}{sign}{field.element_size}", (field.count,)
        return f"V{field.size}"  # characters and opaque bytes

    def rows(self, gathered: NDArray[np.void], raw: RawRows) -> DecodedFields:
        """Make the columns of the events whose raw records were gathered as `dtype`."""
        variable = {f.name: self._variable(f, gathered, raw) for f in self.stored if f.shape in _DYNAMIC or _is_tail(f)}
        return DecodedFields(self, gathered, variable)

    def _variable(self, field: Field, gathered: NDArray[np.void], raw: RawRows) -> pa.Array:
        if _is_tail(field):
            starts = np.full(len(gathered), field.offset, np.int64)
            lengths = raw.sizes - field.offset
        else:
            location = gathered[field.name].astype(np.int64)
            starts, lengths = location & 0xFFFF, location >> 16
            if field.shape in (FieldShape.REL_LOC_STRING, FieldShape.REL_LOC_ARRAY):
                starts = starts + field.offset + _LOCATION_BYTES
        # A forged location ends with its record.
        starts = np.minimum(starts, raw.sizes)
        lengths = np.clip(lengths, 0, raw.sizes - starts)
        content, offsets = _pieces(raw.block, raw.starts + starts, lengths)
        if field.shape in _STRINGS:
            return _text(content, offsets)
        if field.shape == FieldShape.OPAQUE:
            return _pieces_of(pa.binary(), content, offsets)
        element = np.dtype(f"{self.order}{'i' if field.signed else 'u'}{field.element_size}")
        values = np.frombuffer(content[: len(content) // element.itemsize * element.itemsize].tobytes(), element)
        if len(content) % element.itemsize or (offsets % element.itemsize).any():
            return pa.array([None] * len(gathered), pa.list_(_arrow_integer(field)))
        native = values.astype(element.newbyteorder("="))
        return pa.ListArray.from_arrays(pa.array((offsets // element.itemsize).astype(np.int32)), pa.array(native))


class DecodedFields:
    """The fields of some events of one tracepoint (recording.Fields)."""

    def __init__(self, layout: FieldLayout, gathered: NDArray[np.void], variable: dict[str, pa.Array]) -> None:
        self._layout = layout
        self._gathered = gathered
        self._variable = variable

    def __len__(self) -> int:
        return len(self._gathered)

    @property
    def records(self) -> NDArray[np.void]:
        """The raw bytes of each event from common_type to the last fixed field, in the byte order of its machine."""
        layout = self._layout
        rows = np.ascontiguousarray(self._gathered).view(np.uint8).reshape(len(self), layout.gather_size)
        own = np.ascontiguousarray(rows[:, layout.before : layout.before + layout.size])
        return own.view(f"V{layout.size}").reshape(len(self))

    def column(self, name: str) -> NDArray[Any]:
        """Return one integer field in native byte order. KeyError: no such field."""
        if name not in self._layout.dtype.names or self._layout.dtype[name].kind not in "iu":  # type: ignore[operator]
            raise KeyError(name)
        strided = self._gathered[name]
        return strided.astype(strided.dtype.newbyteorder("="))

    def arrow(self) -> dict[str, pa.Array]:
        """Return every field as it is stored: name → Arrow array."""
        return {stored_name(f.name): self._arrow(f) for f in self._layout.stored}

    def _arrow(self, field: Field) -> pa.Array:
        if field.name in self._variable:
            return self._variable[field.name]
        strided = self._gathered[field.name]
        if field.shape == FieldShape.BOOL:
            return pa.array(strided != 0)
        if field.shape in (FieldShape.INTEGER, FieldShape.POINTER):
            return pa.array(strided.astype(strided.dtype.newbyteorder("=")))
        if field.shape == FieldShape.ARRAY:
            values = strided.astype(strided.dtype.newbyteorder("=")).reshape(-1)
            ends = np.arange(len(strided) + 1, dtype=np.int32) * np.int32(field.count)
            return pa.ListArray.from_arrays(pa.array(ends), pa.array(values))
        content = np.frombuffer(np.ascontiguousarray(strided).tobytes(), np.uint8)
        offsets = np.arange(len(strided) + 1) * field.size
        if field.shape == FieldShape.CHAR_ARRAY:
            return _text(content, offsets)
        return pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(field.size), len(strided), [None, pa.py_buffer(content.tobytes())]
        )


def gather(raw: NDArray[np.uint8], places: NDArray[np.int64], size: int, unit: int) -> NDArray[np.void]:
    """Return `size` bytes from each place (in units), one contiguous row each."""
    rows = max((len(raw) - size) // unit + 1, 0)
    if rows == 0:
        return np.zeros(0, f"V{size}")
    view = np.ndarray((rows,), f"V{size}", buffer=raw.data, strides=(unit,))
    return view[places]


def gathered_part(gathered: NDArray[np.void], dtype: str, offset: int) -> NDArray[np.int64]:
    """Return one number of each gathered row, in native byte order."""
    part = np.dtype({"names": ["part"], "formats": [dtype], "offsets": [offset], "itemsize": gathered.dtype.itemsize})
    strided = gathered.view(part)["part"]
    return strided.astype(strided.dtype.newbyteorder("="))


def _is_tail(field: Field) -> bool:
    """Tell whether the field runs to the end of the record."""
    return field.shape == FieldShape.TAIL_STRING or (field.shape == FieldShape.OPAQUE and field.size == 0)


def _arrow_integer(field: Field) -> pa.DataType:
    return pa.from_numpy_dtype(np.dtype(f"{'i' if field.signed else 'u'}{field.element_size}"))


def _pieces(
    block: NDArray[np.uint8], starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the bytes of all pieces behind each other, and the n + 1 offsets between them."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    index = np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])
    return block.take(index), offsets


def _text(content: NDArray[np.uint8], offsets: NDArray[np.int64]) -> pa.Array:
    r"""Return strings that end at their first NUL; bytes that are no UTF-8 are escaped as \\xNN."""
    ends = np.append(np.flatnonzero(content == 0), len(content))
    first_nul = ends[np.searchsorted(ends, offsets[:-1])]
    lengths = np.minimum(first_nul, offsets[1:]) - offsets[:-1]
    kept, cut = _pieces(content, offsets[:-1], lengths)
    return strings(kept, cut)


def strings(content: NDArray[np.uint8], offsets: NDArray[np.int64]) -> pa.Array:
    r"""Return the n strings between n + 1 offsets; bytes that are no UTF-8 are escaped as \\xNN.

    Not by a cast: its module takes longer to load than a small recording to read.
    """
    texts = _pieces_of(pa.string(), content, offsets)
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        raw = _pieces_of(pa.binary(), content, offsets)
        return pa.array([piece.decode(errors="backslashreplace") for piece in raw.to_pylist()], pa.string())
    return texts


def _pieces_of(kind: pa.DataType, content: NDArray[np.uint8], offsets: NDArray[np.int64]) -> pa.Array:
    buffers = [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(content)]
    return pa.Array.from_buffers(kind, len(offsets) - 1, buffers)
