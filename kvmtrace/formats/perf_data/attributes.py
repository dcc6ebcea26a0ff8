"""perf_event_attr and its ids: which event a sample is of, and where its parts lie."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.errors import InputError
from kvmtrace.formats.perf_data.abi import AttrFlag, Read, Sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SIZE_OLDEST = 64  # PERF_ATTR_SIZE_VER0
_CLOCKID_OFFSET = 92
_DENSE_IDS = 1 << 20

# Parts of a sample before the first one of varying length, in the order of the record (perf_output_sample).
_PREFIX = (
    (Sample.IDENTIFIER, "identifier"),
    (Sample.IP, "ip"),
    (Sample.TID, "tid"),
    (Sample.TIME, "time"),
    (Sample.ADDR, "addr"),
    (Sample.ID, "id"),
    (Sample.STREAM_ID, "stream_id"),
    (Sample.CPU, "cpu"),
    (Sample.PERIOD, "period"),
)
# Parts of the trailer that sample_id_all adds to every other record (perf_event__output_id_sample).
_TRAILER = (
    (Sample.TID, "tid"),
    (Sample.TIME, "time"),
    (Sample.ID, "id"),
    (Sample.STREAM_ID, "stream_id"),
    (Sample.CPU, "cpu"),
    (Sample.IDENTIFIER, "identifier"),
)
_NOT_STORED = (
    Sample.IP,
    Sample.ADDR,
    Sample.READ,
    Sample.CALLCHAIN,
    Sample.PERIOD,
    Sample.BRANCH_STACK,
    Sample.REGS_USER,
    Sample.STACK_USER,
    Sample.WEIGHT,
    Sample.DATA_SRC,
    Sample.TRANSACTION,
    Sample.REGS_INTR,
    Sample.PHYS_ADDR,
    Sample.AUX,
    Sample.CGROUP,
    Sample.DATA_PAGE_SIZE,
    Sample.CODE_PAGE_SIZE,
    Sample.WEIGHT_STRUCT,
)


@dataclass(frozen=True)
class Layout:
    """Where the parts of a sample lie: what samples of equal layout share."""

    sample_type: int
    read_format: int

    @cached_property
    def words(self) -> dict[str, int]:
        """Offset of each part of the fixed prefix, in 8-byte words from the start of the record."""
        present = [name for bit, name in _PREFIX if self.sample_type & bit]
        return {name: 1 + index for index, name in enumerate(present)}

    @property
    def prefix_words(self) -> int:
        """Length of the record's header and the fixed prefix, in words."""
        return 1 + len(self.words)

    @property
    def has_raw(self) -> bool:
        """Whether samples carry the tracepoint's record."""
        return bool(self.sample_type & Sample.RAW)

    @cached_property
    def trailer_words(self) -> dict[str, int]:
        """Offset of each part of the sample_id trailer, in words counted back from the end of the record."""
        present = [name for bit, name in _TRAILER if self.sample_type & bit]
        return {name: len(present) - index for index, name in enumerate(present)}

    @property
    def id_word(self) -> int | None:
        """Word of the sample that names its event, None where none does."""
        words = self.words
        return words.get("identifier", words.get("id"))

    @property
    def not_stored(self) -> list[str]:
        """Names of the sample's parts that the store does not keep."""
        return [(bit.name or "").lower() for bit in _NOT_STORED if self.sample_type & bit]

    def read_words(self) -> tuple[int, int, bool]:
        """Return words before, words for each counter, and whether the number of counters is told (GROUP)."""
        flags = Read(self.read_format & 0x1F)
        times = (Read.TOTAL_TIME_ENABLED in flags) + (Read.TOTAL_TIME_RUNNING in flags)
        each = 1 + (Read.ID in flags) + (Read.LOST in flags)
        return times, each, Read.GROUP in flags


@dataclass(frozen=True, slots=True)
class Attribute:
    """One perf_event_attr with the ids of its counters."""

    type: int
    config: int
    period: int  # 0: it varies (frequency mode)
    flags: int
    layout: Layout
    clock_id: int | None
    ids: tuple[int, ...]

    @property
    def sample_id_all(self) -> bool:
        """Whether every record has the sample_id trailer."""
        return bool(self.flags & AttrFlag.SAMPLE_ID_ALL)


def parse_attribute(raw: bytes, ids: tuple[int, ...], order: str, file: str, offset: int) -> Attribute:
    """Read one perf_event_attr, which may be shorter or longer than ours. `order` is "<" or ">"."""
    if len(raw) < _SIZE_OLDEST:
        raise InputError(
            file, f"expected a perf_event_attr of at least {_SIZE_OLDEST} bytes, found {len(raw)}", where=offset
        )
    kind, _size, config, period, sample_type, read_format = struct.unpack_from(order + "IIQQQQ", raw, 0)
    flags = _flags(raw[40:48], order)
    clock_id = None
    if flags & AttrFlag.USE_CLOCKID and len(raw) >= _CLOCKID_OFFSET + 4:
        (clock_id,) = struct.unpack_from(order + "i", raw, _CLOCKID_OFFSET)
    return Attribute(
        type=kind,
        config=config,
        period=0 if flags & AttrFlag.FREQ else period,
        flags=flags,
        layout=Layout(sample_type, read_format),
        clock_id=clock_id,
        ids=ids,
    )


def _flags(raw: bytes, order: str) -> int:
    """Return the bit field of perf_event_attr with bit 0 = `disabled`.

    A big-endian compiler fills a bit field from the top of each byte, so the bits of every byte are reversed too
    (swap_bitfield in tools/perf/util/session.c).
    """
    if order == "<":
        return int.from_bytes(raw, "little")
    return int.from_bytes(bytes(int(f"{byte:08b}"[::-1], 2) for byte in raw), "little")


class AttributeTable:
    """All attributes of a recording; tells the attribute of a sample by its id."""

    def __init__(self, attributes: list[Attribute]) -> None:
        self.attributes = attributes
        known = {event_id: index for index, attr in enumerate(attributes) for event_id in attr.ids}
        self._ids = np.array(sorted(known), np.uint64)
        self._indexes = np.array([known[event_id] for event_id in sorted(known)], np.int64)
        self._first = self._ids[0] if known else np.uint64(0)
        self._dense = _dense_table(self._ids, self._indexes)

    @cached_property
    def id_word(self) -> int | None:
        """Word of a sample that names its event; all attributes of a recording agree on it."""
        words = {attr.layout.id_word for attr in self.attributes}
        return words.pop() if len(words) == 1 else None

    def lookup(self, ids: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return the attribute's index for each id, -1 for an id that no attribute has."""
        if self._dense is not None:
            beyond = np.uint64(len(self._dense) - 1)
            return self._dense[np.minimum(ids - self._first, beyond).view(np.int64)]
        if not len(self._ids):
            return np.full(len(ids), -1, np.int64)
        place = np.minimum(np.searchsorted(self._ids, ids), len(self._ids) - 1)
        return np.where(self._ids[place] == ids, self._indexes[place], -1)


def _dense_table(ids: NDArray[np.uint64], indexes: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Return a table from id - first id to index: ids of one boot are dense, and it is ten times a search's speed."""
    if not len(ids) or int(ids[-1]) - int(ids[0]) >= _DENSE_IDS:
        return None
    table = np.full(int(ids[-1]) - int(ids[0]) + 2, -1, np.int64)
    table[(ids - ids[0]).view(np.int64)] = indexes
    return table
