"""Exits → latency buckets: the counts from which reports are made without reading the exits again.

A bucket holds latencies that agree in their power of two and in the next six bits, so it is at most 1/64 wide; with
its exact minimum and maximum, a percentile that is taken from the buckets is within 1% of the exact one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from kvmtrace.arch.base import Role
from kvmtrace.exits.detail_codes import DetailCodes
from kvmtrace.exits.facets import TIME_ROLES
from kvmtrace.exits.table import dictionary_schema, named
from kvmtrace.schema import LATENCY_BUCKETS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kvmtrace.arch import Architecture
    from kvmtrace.exits.builder import ExitBuilder, Exits

_SUB_BITS = 6
_SHIFT = 52 - _SUB_BITS  # of a double's bits: exponent and the first bits of the mantissa stay
NO_BUCKET = (1 << (11 + _SUB_BITS)) - 1
_MERGE_ROWS = 1 << 19
_STATES = 3  # userspace: not recorded, no, yes
_KEY_BITS = 63
_DETAIL_BITS = 32
_DETAIL_MASK = (1 << _DETAIL_BITS) - 1


class LatencyBuckets:
    """Counts exits by VM, vCPU, CPU, reason, detail, state and bucket."""

    def __init__(self, architecture: Architecture, builder: ExitBuilder) -> None:
        self._architecture = architecture
        self._builder = builder
        told = architecture.told()
        self._userspace_told = Role.USERSPACE in told
        self._parts = [name for name, roles in TIME_ROLES.items() if told & roles]
        self._details = DetailCodes(architecture)
        self._counts: list[_Counts] = []

    def add(self, exits: Exits) -> None:
        """Count exits."""
        state = exits.suspect.astype(np.int32) * _STATES
        userspace = exits.facets.userspace
        if self._userspace_told:
            state += np.where(exits.incomplete & ~userspace, 0, userspace + 1)
        else:
            state += 2 * userspace
        latency = np.maximum(exits.latency_ns, 0)
        bucket = bucket_of(exits.latency_ns)
        vcpu, cpu = from_0(exits.vcpu), from_0(exits.cpu)
        keys = (exits.vm, vcpu, cpu, exits.reason, state, self._details.codes(exits), bucket)
        order, starts = grouped(keys)
        times = latency[order]
        n = np.diff(starts, append=len(order))
        self._counts.append(
            _Counts(
                tuple(key[order[starts]] for key in keys),
                n,
                np.add.reduceat(times, starts),
                np.add.reduceat(times.astype(np.float64) ** 2, starts),
                np.minimum.reduceat(times, starts),
                np.maximum.reduceat(times, starts),
                tuple(_Part.of(getattr(exits.facets, name)[order], starts) for name in self._parts),
            )
        )
        if sum(len(part.n) for part in self._counts) > _MERGE_ROWS:
            self._counts = [_Counts.merged(self._counts)]

    def table(self) -> pa.Table:
        """Return the table `latency_buckets`."""
        schema = dictionary_schema(LATENCY_BUCKETS)
        if not self._counts:
            return schema.empty_table()
        counts = _Counts.merged(self._counts)
        *group, bucket = counts.keys
        untimed = bucket == NO_BUCKET
        low, high = _bounds(bucket)
        measured = {
            "bucket_low_ns": low,
            "bucket_high_ns": high,
            "sum_ns": counts.total,
            "sum_sq_ns2": counts.squares,
            "min_ns": counts.least,
            "max_ns": counts.most,
        }
        arrays = self._group_columns(*group)
        arrays |= {name: pa.array(values, mask=untimed) for name, values in measured.items()}
        arrays |= {name: pa.nulls(len(bucket), pa.int64()) for name in TIME_ROLES}
        for name, part in zip(self._parts, counts.parts, strict=True):
            arrays[name] = pa.array(part.total, mask=untimed | ((part.unknown > 0) & (part.total == 0)))
        arrays["n"] = pa.array(counts.n)
        return pa.table([arrays[field.name] for field in schema], schema=schema)

    def _group_columns(
        self,
        vm: NDArray[np.integer[Any]],
        vcpu: NDArray[np.integer[Any]],
        cpu: NDArray[np.integer[Any]],
        reason: NDArray[np.integer[Any]],
        state: NDArray[np.integer[Any]],
        detail: NDArray[np.integer[Any]],
    ) -> dict[str, pa.Array]:
        """Return the columns of what is counted apart, from the codes that it was counted by."""
        meanings = self._builder.reasons.meanings
        both, row = np.unique(reason.astype(np.int64) << _DETAIL_BITS | detail, return_inverse=True)
        told = [self._details.told(meanings[code >> _DETAIL_BITS], code & _DETAIL_MASK) for code in both.tolist()]
        values = np.array([detail.value or 0 for detail in told], np.uint64)
        no_value = np.array([detail.value is None for detail in told])
        userspace = state % _STATES
        return {
            "vm_id": named(vm, self._builder.vms.names),
            "vcpu": pa.array((vcpu - 1).astype(np.int32), mask=vcpu == 0),
            "cpu": pa.array((cpu - 1).astype(np.int32), mask=cpu == 0),
            "isa": named(reason, [meaning.isa for meaning in meanings]),
            "reason": named(reason, [meaning.name for meaning in meanings]),
            "detail_kind": named(row, [detail.kind for detail in told]),
            "detail": pa.array(values[row], mask=no_value[row]),
            "detail_name": named(row, [detail.name for detail in told]),
            "detail_capped": pa.array(np.array([detail.capped for detail in told])[row]),
            "idle": pa.array(self._builder.reasons.idle[reason]),
            "userspace": pa.array(userspace == _STATES - 1, mask=userspace == 0),
            "suspect": pa.array(state >= _STATES),
        }


@dataclass(frozen=True, slots=True)
class _Counts:
    """n and the moments of latencies, one row for each distinct combination of keys."""

    keys: tuple[NDArray[np.integer[Any]], ...]
    n: NDArray[np.int64]
    total: NDArray[np.int64]
    squares: NDArray[np.float64]
    least: NDArray[np.int64]
    most: NDArray[np.int64]
    parts: tuple[_Part, ...]

    @classmethod
    def merged(cls, parts: list[_Counts]) -> _Counts:
        """Return one row for each combination of keys in all parts."""
        keys = tuple(np.concatenate(columns) for columns in zip(*(part.keys for part in parts), strict=True))
        order, starts = grouped(keys)

        def reduced(name: str, reduce: np.ufunc) -> NDArray[Any]:
            return np.asarray(reduce.reduceat(np.concatenate([getattr(part, name) for part in parts])[order], starts))

        return cls(
            tuple(key[order[starts]] for key in keys),
            reduced("n", np.add),
            reduced("total", np.add),
            reduced("squares", np.add),
            reduced("least", np.minimum),
            reduced("most", np.maximum),
            tuple(_Part.merged(same, order, starts) for same in zip(*(part.parts for part in parts), strict=True)),
        )


@dataclass(frozen=True, slots=True)
class _Part:
    """One part of the latencies: its sum in each row, and in how many exits it is not known."""

    total: NDArray[np.int64]
    unknown: NDArray[np.int64]

    @classmethod
    def of(cls, times: NDArray[np.int64], starts: NDArray[np.int64]) -> _Part:
        """Return the sums of the times of each group; a time below 0 is not known."""
        unknown = np.add.reduceat((times < 0).astype(np.int64), starts)
        return cls(np.add.reduceat(np.maximum(times, 0), starts), unknown)

    @classmethod
    def merged(cls, same: tuple[_Part, ...], order: NDArray[np.int64], starts: NDArray[np.int64]) -> _Part:
        """Return the sums of the groups of rows of several tables behind each other."""
        total, unknown = (np.concatenate([getattr(part, name) for part in same]) for name in ("total", "unknown"))
        return cls(np.add.reduceat(total[order], starts), np.add.reduceat(unknown[order], starts))


def bucket_of(latency_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the bucket of each latency, NO_BUCKET for one below 0, which is not known."""
    bucket = np.maximum(latency_ns, 0).astype(np.float64).view(np.int64) >> _SHIFT
    bucket[latency_ns < 0] = NO_BUCKET
    return bucket


def from_0(number: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return each number plus 1, and 0 for one that is not known, which is negative."""
    return np.maximum(number, -1).astype(np.int64) + 1


def grouped(keys: tuple[NDArray[np.integer[Any]], ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the order of rows by their keys, numbers from 0, the first key first; and where each group starts."""
    widths = [int(key.max()).bit_length() for key in keys]
    if sum(widths) > _KEY_BITS:
        order = np.lexsort(keys[::-1])
        changes = np.any([key[order[1:]] != key[order[:-1]] for key in keys], axis=0)
    else:
        packed = keys[0].astype(np.int64)
        for key, width in zip(keys[1:], widths[1:], strict=True):
            if width:
                packed <<= width
                packed |= key
        order = np.argsort(packed)
        changes = np.diff(packed[order]) != 0
    return order, np.concatenate([[0], np.flatnonzero(changes) + 1])


def _bounds(bucket: NDArray[np.integer[Any]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the lowest and the highest latency of each bucket, ns."""
    inside = np.where(bucket == NO_BUCKET, 0, bucket)
    low = np.ceil((inside.astype(np.int64) << _SHIFT).view(np.float64)).astype(np.int64)
    high = np.ceil(((inside.astype(np.int64) + 1) << _SHIFT).view(np.float64)).astype(np.int64) - 1
    return low, np.maximum(low, high)
