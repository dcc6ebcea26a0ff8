"""Exits → latency buckets: the counts from which reports are made without reading the exits again.

A bucket holds latencies that agree in their power of two and in the next six bits, so it is at most 1/64 wide; with
its exact minimum and maximum, a percentile that is taken from the buckets is within 1% of the exact one.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from kvmtrace.arch.base import Role
from kvmtrace.exits.facets import NO_DETAIL
from kvmtrace.schema import LATENCY_BUCKETS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kvmtrace.arch import Architecture
    from kvmtrace.exits.builder import ExitBuilder, Exits

_SUB_BITS = 6
_SHIFT = 52 - _SUB_BITS  # of a double's bits: exponent and the first bits of the mantissa stay
_BUCKET_BITS = 11 + _SUB_BITS
_NO_BUCKET = (1 << _BUCKET_BITS) - 1
_MERGE_ROWS = 1 << 19
_STATES = 3  # userspace: not recorded, no, yes
_DETAILS_KEPT = 2048
"""Details of one kind that are kept apart; of faulting addresses there may be as many as exits."""


class LatencyBuckets:
    """Counts exits by VM, vCPU, CPU, reason, detail, state and bucket."""

    def __init__(self, architecture: Architecture, builder: ExitBuilder) -> None:
        self._architecture = architecture
        self._builder = builder
        self._recorded = any(architecture.role(kind).role == Role.USERSPACE for kind in builder.facts.events)
        self._details = [_Details() for _ in architecture.details]
        # Each step joins one more column to the code of those before it.
        self._vm_vcpu, self._with_cpu, self._with_reason, self._with_detail = (_Joined() for _ in range(4))
        self._counts: list[_Counts] = []

    def add(self, exits: Exits) -> None:
        """Count exits."""
        state = exits.suspect.astype(np.int32) * _STATES
        state += exits.facets.userspace + 1 if self._recorded else 0
        group = self._vm_vcpu.codes(exits.vm, exits.vcpu)
        group = self._with_cpu.codes(group, exits.cpu)
        group = self._with_reason.codes(group, exits.reason * (2 * _STATES) + state)
        group = self._with_detail.codes(group, self._detail_codes(exits))
        latency = np.maximum(exits.latency_ns, 0)
        bucket = latency.astype(np.float64).view(np.int64) >> _SHIFT
        bucket[exits.latency_ns < 0] = _NO_BUCKET
        key = group.astype(np.int64) << _BUCKET_BITS | bucket
        ones = np.ones(len(key), np.int64)
        self._counts.append(_Counts(key, ones, latency, latency.astype(np.float64) ** 2, latency, latency).merged())
        if sum(len(part.key) for part in self._counts) > _MERGE_ROWS:
            self._counts = [_Counts.concat(self._counts).merged()]

    def _detail_codes(self, exits: Exits) -> NDArray[np.int32]:
        """Return 0 for no detail, else a code of rule and detail; the last code of a rule is: too many."""
        rule, detail = exits.facets.detail_rule, exits.facets.detail
        codes = np.zeros(len(rule), np.int32)
        for number, known in enumerate(self._details):
            rows = np.flatnonzero(rule == number)
            if len(rows):
                codes[rows] = 1 + number * (_DETAILS_KEPT + 1) + known.codes(detail[rows])
        return codes

    def table(self) -> pa.Table:
        """Return the table `latency_buckets`."""
        schema = LATENCY_BUCKETS.arrow_schema()
        if not self._counts:
            return schema.empty_table()
        counts = _Counts.concat(self._counts).merged()
        group, bucket = counts.key >> _BUCKET_BITS, counts.key & _NO_BUCKET
        columns = self._group_columns()
        timed = bucket != _NO_BUCKET
        low, high = _bounds(bucket)
        measured = {
            "bucket_low_ns": low,
            "bucket_high_ns": high,
            "sum_ns": counts.total,
            "sum_sq_ns2": counts.squares,
            "min_ns": counts.least,
            "max_ns": counts.most,
        }
        place = pa.array(group)
        arrays = {name: column.take(place) for name, column in columns.items()}
        arrays |= {name: pa.array(values, mask=~timed) for name, values in measured.items()}
        arrays["n"] = pa.array(counts.n)
        return pa.table([arrays[field.name].cast(field.type) for field in schema], schema=schema)

    def _group_columns(self) -> dict[str, pa.Array]:
        """Return the columns of what is counted apart, one row a group."""
        with_reason, detail_code = self._with_detail.parts()
        with_cpu, reason_state = (part[with_reason] for part in self._with_reason.parts())
        vm_vcpu, cpu = (part[with_cpu] for part in self._with_cpu.parts())
        vm, vcpu = (part[vm_vcpu] for part in self._vm_vcpu.parts())
        reasons = [self._builder.reasons.meanings[code // (2 * _STATES)] for code in reason_state.tolist()]
        state = reason_state % (2 * _STATES)
        details = [self._detail(code) for code in detail_code.tolist()]
        kinds = [
            None if rule is None else self._architecture.detail_kind(self._architecture.details[rule], reason)
            for (rule, _, _), reason in zip(details, reasons, strict=True)
        ]
        names = [
            None if kind is None or value is None else self._architecture.detail_names(kind).get(value)
            for kind, (_, value, _) in zip(kinds, details, strict=True)
        ]
        return {
            "vm_id": pa.array([self._builder.vms.names[index] for index in vm.tolist()], pa.string()),
            "vcpu": pa.array(vcpu, mask=vcpu < 0),
            "cpu": pa.array(cpu, mask=cpu < 0),
            "isa": pa.array([reason.isa for reason in reasons], pa.string()),
            "reason": pa.array([reason.name for reason in reasons], pa.string()),
            "detail_kind": pa.array(kinds, pa.string()),
            "detail": pa.array([value for _, value, _ in details], pa.uint64()),
            "detail_name": pa.array(names, pa.string()),
            "detail_capped": pa.array([capped for _, _, capped in details]),
            "idle": pa.array([reason.idle for reason in reasons]),
            "userspace": pa.array([(None, False, True)[code % _STATES] for code in state.tolist()], pa.bool_()),
            "suspect": pa.array(state >= _STATES),
        }

    def _detail(self, code: int) -> tuple[int | None, int | None, bool]:
        """Return rule, value and whether the values were too many."""
        if code == 0:
            return None, None, False
        rule, place = divmod(code - 1, _DETAILS_KEPT + 1)
        if place == _DETAILS_KEPT:
            return rule, None, True
        return rule, self._details[rule].values[place], False


@dataclass(frozen=True, slots=True)
class _Counts:
    """n and the moments of latencies, one row for each key."""

    key: NDArray[np.int64]
    n: NDArray[np.int64]
    total: NDArray[np.int64]
    squares: NDArray[np.float64]
    least: NDArray[np.int64]
    most: NDArray[np.int64]

    def merged(self) -> _Counts:
        """Return one row for each distinct key."""
        order = np.argsort(self.key)
        key = self.key[order]
        starts = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
        return _Counts(
            key[starts],
            np.add.reduceat(self.n[order], starts),
            np.add.reduceat(self.total[order], starts),
            np.add.reduceat(self.squares[order], starts),
            np.minimum.reduceat(self.least[order], starts),
            np.maximum.reduceat(self.most[order], starts),
        )

    @classmethod
    def concat(cls, parts: list[_Counts]) -> _Counts:
        """Return the rows of all parts behind each other."""
        return cls(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)))


class _Joined:
    """Dense codes of pairs (code, number)."""

    def __init__(self) -> None:
        self._keys = np.zeros(0, np.int64)  # sorted
        self._codes = np.zeros(0, np.int32)

    def codes(self, left: NDArray[np.int32], right: NDArray[np.int32]) -> NDArray[np.int32]:
        key = left.astype(np.int64) << 32 | right.view(np.uint32)
        place = np.searchsorted(self._keys, key)
        unknown = place == len(self._keys)
        unknown[~unknown] = self._keys[place[~unknown]] != key[~unknown]
        if unknown.any():
            new = np.unique(key[unknown])
            codes = np.concatenate([self._codes, np.arange(len(self._codes), len(self._codes) + len(new), dtype=np.int32)])
            keys = np.concatenate([self._keys, new])
            order = np.argsort(keys)
            self._keys, self._codes = keys[order], codes[order]
            place = np.searchsorted(self._keys, key)
        return self._codes[place]

    def parts(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Return the pairs by code."""
        keys = self._keys[np.argsort(self._codes)]
        return keys >> 32, (keys & 0xFFFFFFFF).astype(np.uint32).view(np.int32)


class _Details:
    """Dense codes of the first so many values of one kind of detail."""

    def __init__(self) -> None:
        self._known = np.zeros(0, np.uint64)  # sorted
        self._codes = np.zeros(0, np.int32)
        self.values: list[int] = []  # by code

    def codes(self, detail: NDArray[np.uint64]) -> NDArray[np.int32]:
        """Return the code of each value, _DETAILS_KEPT for one beyond the first so many."""
        if len(self.values) < _DETAILS_KEPT:
            values, first = np.unique(detail, return_index=True)
            new = np.sort(first[~np.isin(values, self._known)])[: _DETAILS_KEPT - len(self.values)]  # first come
            codes = np.concatenate(
                [self._codes, np.arange(len(self.values), len(self.values) + len(new), dtype=np.int32)]
            )
            known = np.concatenate([self._known, detail[new]])
            self.values.extend(detail[new].tolist())
            order = np.argsort(known)
            self._known, self._codes = known[order], codes[order]
        place = np.minimum(np.searchsorted(self._known, detail), len(self._known) - 1)
        return np.where(self._known[place] == detail, self._codes[place], np.int32(_DETAILS_KEPT))


def _bounds(bucket: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the lowest and the highest latency of each bucket, ns."""
    inside = np.where(bucket == _NO_BUCKET, 0, bucket)
    low = np.ceil((inside << _SHIFT).view(np.float64)).astype(np.int64)
    high = np.ceil(((inside + 1) << _SHIFT).view(np.float64)).astype(np.int64) - 1
    return low, np.maximum(low, high)
