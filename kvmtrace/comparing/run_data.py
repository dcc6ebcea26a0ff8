"""One run as a comparison sees it: sums over blocks of time, which are the samples within a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from kvmtrace.stats.blocks import draws

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from kvmtrace.exit_keys import Key
    from kvmtrace.stats.estimates import Mean
    from kvmtrace.store.label import Label
    from kvmtrace.store.manifest import Manifest

    Floats = NDArray[np.float64]

Column = Literal["n", "timed", "sum_ns", "guest_ns", "userspace"]
_NOT_TOLD = {"sum_ns": "the latency of exits", "guest_ns": "the time in the guest", "userspace": "exits to userspace"}
_DETAIL = {"detail", "detail_name"}
Where = tuple[tuple[str, object], ...]
"""Fields of `Key`, or `idle`, and the values that they must have; none: every exit."""

REPLICAS = 2000
"""Draws of the bootstrap: the standard error of an interval's end is then about 2% of its width."""
_BUCKETS_PER_POWER = 64
"""Buckets of latency for each power of two: 1.1% wide, and told by the mean of what is in them."""


class NotRecordedError(Exception):
    """A run does not tell what is asked for: never 0."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


class BlockOfExits(NamedTuple):
    """Exits of a key, one element for each block of time and bucket of latency in which there are any."""

    block: NDArray[np.int64]
    timed: NDArray[np.bool_]  # they have a latency that counts; others are apart
    n: Floats
    sum_ns: Floats  # 0 where they are not timed
    guest_ns: Floats | None = None  # None: not recorded, of any of them
    userspace: Floats | None = None  # exits that went to the VMM; None: likewise


@dataclass(frozen=True, slots=True)
class KeyedExits:
    """The exits of one key."""

    key: Key
    idle: bool
    exits: BlockOfExits

    def field(self, name: str) -> object:
        """Return a field of the key, or `idle`."""
        return self.idle if name == "idle" else getattr(self.key, name)


class Histogram(NamedTuple):
    """Exits by block and latency."""

    counts: Floats  # (blocks, buckets)
    latency_ns: Floats  # (buckets,): mean of each, ascending


@dataclass(frozen=True)
class RunData:
    """A run. Where `blocks` is 1, nothing is known of how its figures vary within it."""

    manifest: Manifest
    label: Label
    blocks: int
    seconds: float | None  # that it was recorded for; None: not recorded
    keyed: tuple[KeyedExits, ...] | None = None  # None: exits were not recorded
    events: Mapping[str, Floats] = field(default_factory=dict)  # by system:event: (blocks,)
    figures: Mapping[str, Mean] = field(default_factory=dict)  # what somebody else worked out, by its name
    unit_of: Mapping[str, str] = field(default_factory=dict)  # of figures; none: as the source gives none
    vcpus: int | None = None
    reasons: frozenset[str] = frozenset()  # exit reasons that the recording's kernel knows, as far as it tells
    work: float | None = None  # units of work that it did, as the user said
    block_lengths_s: Floats | None = None  # None: all blocks are equally long
    running_share: Mapping[str, float] = field(default_factory=dict)  # of its time that a counter ran, where told

    @property
    def title(self) -> str:
        """What the run is called."""
        return self.label.label or self.manifest.source.title

    @cached_property
    def whole(self) -> Floats:
        """Weights that take each block once, (1, blocks)."""
        return np.ones((1, self.blocks))

    @cached_property
    def without_each(self) -> Floats:
        """Weights that leave out one block after the other, (blocks, blocks)."""
        return 1 - np.eye(self.blocks)

    def block_seconds(self) -> Floats:
        """Return the length of each block in s. NotRecordedError: it is not known."""
        if self.seconds is None:
            raise NotRecordedError("the length of the recording")
        if self.block_lengths_s is not None:
            return self.block_lengths_s
        return np.full(self.blocks, self.seconds / self.blocks)

    def block_events(self, name: str) -> Floats:
        """Return the events of each block. NotRecordedError: the event was not recorded."""
        if name not in self.events:
            raise NotRecordedError(name)
        return self.events[name]

    def block_exits(self, column: Column, where: Where = ()) -> Floats:
        """Return a sum over exits of each block. NotRecordedError: exits were not recorded, or this of them not."""
        parts = [each.exits for each in self.matching(where)]
        told = [(exits.block, weights) for exits in parts if (weights := _weights(exits, column)) is not None]
        if parts and not told:
            raise NotRecordedError(_NOT_TOLD[column])
        total = np.zeros(self.blocks)
        for block, weights in told:
            total += np.bincount(block, weights, self.blocks)
        return total

    def histogram(self, where: Where = ()) -> Histogram:
        """Return the latencies of exits by block. NotRecordedError: exits were not recorded."""
        if where not in self._histograms:
            self._histograms[where] = self._histogram(where)
        return self._histograms[where]

    @cached_property
    def _histograms(self) -> dict[Where, Histogram]:
        return {}

    def _histogram(self, where: Where) -> Histogram:
        parts = [each.exits for each in self.matching(where)]
        if not parts:
            return Histogram(np.zeros((self.blocks, 0)), np.zeros(0))
        block, n, sum_ns = (
            np.concatenate(columns)
            for columns in zip(*((e.block[e.timed], e.n[e.timed], e.sum_ns[e.timed]) for e in parts), strict=True)
        )
        latency_ns = sum_ns / n
        bucket = np.floor(_BUCKETS_PER_POWER * np.log2(np.maximum(latency_ns, 1)))
        buckets, place = np.unique(bucket, return_inverse=True)
        counts = np.bincount(block * len(buckets) + place, n, self.blocks * len(buckets))
        means = np.bincount(place, sum_ns) / np.bincount(place, n) if len(place) else np.zeros(0)
        by_block: Floats = counts.astype(np.float64).reshape(self.blocks, len(buckets))
        return Histogram(by_block, means)

    def matching(self, where: Where) -> list[KeyedExits]:
        """Return the exits that `where` asks for.

        NotRecordedError: exits were not recorded, or the detail is not among those that are kept apart.
        """
        if self.keyed is None:
            raise NotRecordedError("exits")
        names = tuple(name for name, _ in where)
        found = self._index(names).get(tuple(value for _, value in where), [])
        if not found and not _DETAIL.isdisjoint(names) and self._caps(dict(where)):
            raise NotRecordedError("the detail, one of too many to keep apart,")
        return found

    def _index(self, names: tuple[str, ...]) -> dict[tuple[object, ...], list[KeyedExits]]:
        """Return the exits by the values of these fields."""
        if names not in self._indexes:
            index: dict[tuple[object, ...], list[KeyedExits]] = {}
            for each in self.keyed or ():
                index.setdefault(tuple(each.field(name) for name in names), []).append(each)
            self._indexes[names] = index
        return self._indexes[names]

    @cached_property
    def _indexes(self) -> dict[tuple[str, ...], dict[tuple[object, ...], list[KeyedExits]]]:
        return {}

    def _caps(self, asked: dict[str, object]) -> bool:
        """Tell whether exits with the reason that is asked for have details that are not kept apart."""
        same = [each for each in self.keyed or () if each.key.reason == asked.get("reason", each.key.reason)]
        return any(each.key.detail_capped for each in same) and not asked.get("detail_capped")


def _weights(exits: BlockOfExits, column: Column) -> Floats | None:
    """Return what is added up; None: not recorded of any of these exits."""
    match column:
        case "n":
            return exits.n
        case "timed":
            return exits.n * exits.timed
        case "sum_ns":
            return exits.sum_ns if exits.timed.any() else None
    told: Floats | None = getattr(exits, column)
    return told


@lru_cache(maxsize=16)
def drawn(blocks: int, length: int, seed: int) -> Floats:
    """Return the weights of bootstrap draws, (REPLICAS, blocks)."""
    return draws(blocks, length, replicas=REPLICAS, seed=seed)
