"""Exits → the columns of the table `exits`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from kvmtrace.arch.base import Role
from kvmtrace.exits.builder import ClosedBy, ExitBuilder, Exits
from kvmtrace.exits.facets import NO_DETAIL, TIME_ROLES
from kvmtrace.schema import EXITS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from kvmtrace.arch import Architecture
    from kvmtrace.exits.facets import Facets
    from kvmtrace.schema import Table

_CLOSED_BY = [closed_by.name.lower() for closed_by in ClosedBy]


class ExitTable:
    """Makes the stored columns of exits; what the recording could not tell is null."""

    def __init__(self, architecture: Architecture, builder: ExitBuilder) -> None:
        self._architecture = architecture
        self._builder = builder
        self._told = architecture.told()
        self.schema = dictionary_schema(EXITS)

    def table(self, exits: Exits) -> pa.Table:
        """Return the columns of `exits`, strings as dictionaries."""
        facets = exits.facets
        meanings = self._builder.reasons.meanings
        kind, name, origin = self._detail_columns(exits)
        has_detail = facets.detail_rule != NO_DETAIL
        columns = {
            "exit_id": pa.array(exits.exit_id),
            "vm_id": named(exits.vm, self._builder.vms.names),
            "vcpu": known_or_null(exits.vcpu),
            "tid": pa.array(exits.tid),
            "cpu": known_or_null(exits.cpu),
            "entry_cpu": known_or_null(exits.entry_cpu),
            "exit_ts_ns": pa.array(exits.exit_ts_ns),
            "entry_ts_ns": known_or_null(exits.entry_ts_ns, exits.latency_ns),
            "latency_ns": known_or_null(exits.latency_ns),
            "guest_ns": known_or_null(exits.guest_ns),
            "isa": named(exits.reason, [m.isa for m in meanings]),
            "reason_code": pa.array(np.array([m.code for m in meanings], np.int64)[exits.reason]),
            "reason": named(exits.reason, [m.name for m in meanings]),
            "idle": pa.array(self._builder.reasons.idle[exits.reason]),
            "detail_kind": kind,
            "detail": pa.array(facets.detail, mask=~has_detail)
            if has_detail.any()
            else pa.nulls(len(exits), pa.uint64()),
            "detail_name": name,
            "detail_from": origin,
            "userspace": self._flag(Role.USERSPACE, facets.userspace, exits.incomplete),
            "userspace_ns": self._time("userspace_ns", facets, exits.suspect),
            "blocked_ns": self._time("blocked_ns", facets, exits.incomplete),
            "polled_ns": self._time("polled_ns", facets, exits.incomplete),
            "preempted_ns": self._time("preempted_ns", facets, exits.incomplete),
            "hcall_ns": self._time("hcall_ns", facets, exits.incomplete),
            "eoi": self._flag(Role.EOI, facets.eoi, exits.incomplete),
            "nested": self._nested(exits),
            "reflected": self._flag(Role.REFLECTED, facets.reflected, exits.incomplete),
            "closed_by": named(exits.closed_by, _CLOSED_BY),
            "suspect": pa.array(exits.suspect),
        }
        return pa.table([columns[field.name] for field in self.schema], schema=self.schema)

    def _detail_columns(self, exits: Exits) -> tuple[pa.Array, pa.Array, pa.Array]:
        """Return kind, name and origin of the details."""
        architecture, meanings = self._architecture, self._builder.reasons.meanings
        rule, detail = exits.facets.detail_rule, exits.facets.detail
        if not (rule != NO_DETAIL).any():
            nothing = pa.DictionaryArray.from_arrays(pa.nulls(len(rule), pa.int32()), pa.array([], pa.string()))
            return nothing, nothing, nothing
        origins = [detail.origin for detail in architecture.details]
        combination = rule.astype(np.int64) * len(meanings) + exits.reason
        kinds: dict[str, int] = {}
        kind_of = {
            c: kinds.setdefault(
                architecture.detail_kind(architecture.details[c // len(meanings)], meanings[c % len(meanings)]),
                len(kinds),
            )
            for c in np.unique(combination[rule != NO_DETAIL]).tolist()
        }
        table = np.full(len(architecture.details) * len(meanings) + 1, NO_DETAIL, np.int32)
        table[list(kind_of)] = list(kind_of.values())
        kind = np.where(rule == NO_DETAIL, NO_DETAIL, table[np.maximum(combination, 0)])
        return named(kind, list(kinds)), self._detail_names(kind, detail, kinds), named(rule, origins)

    def _detail_names(self, kind: NDArray[np.int64], detail: NDArray[np.uint64], kinds: Iterable[str]) -> pa.Array:
        names: list[str] = []
        index = np.full(len(kind), NO_DETAIL, np.int32)
        for number, kind_name in enumerate(kinds):
            known = self._architecture.detail_names(kind_name)
            values = np.array(sorted(known), np.uint64)
            if not len(values):
                continue
            rows = np.flatnonzero(kind == number)
            place = np.minimum(np.searchsorted(values, detail[rows]), len(values) - 1)
            index[rows] = np.where(values[place] == detail[rows], len(names) + place, NO_DETAIL)
            names.extend(known[value] for value in values.tolist())
        return named(index, names)

    def _flag(self, role: Role, seen: NDArray[np.bool_], incomplete: NDArray[np.bool_]) -> pa.Array:
        """Return a flag: null where nothing was seen and something may have been there."""
        if role not in self._told and not seen.any():
            return pa.nulls(len(seen), pa.bool_())
        return pa.array(seen, mask=~seen & self._untold(role, incomplete))

    def _time(self, name: str, facets: Facets, incomplete: NDArray[np.bool_]) -> pa.Array:
        """Return one of the times: null where it is not known, and where there is none and there may have been."""
        times: NDArray[np.int64] = getattr(facets, name)
        told = bool(self._told & TIME_ROLES[name])
        if not told and not times.any():
            return pa.nulls(len(times), pa.int64())
        return pa.array(times, mask=(times < 0) | ((times == 0) & (incomplete if told else True)))

    def _nested(self, exits: Exits) -> pa.Array:
        """Return the guest level.

        What is handed to the guest's hypervisor was an exit of its guest, unless the guest just asked to run that.
        """
        facets = exits.facets
        second = facets.nested | (facets.reflected & ~self._builder.reasons.enters_nested[exits.reason])
        if Role.NESTED not in self._told and not second.any():
            return pa.nulls(len(second), pa.int8())
        levels = np.where(second, 2, 1).astype(np.int8)
        return pa.array(levels, mask=~second & self._untold(Role.NESTED, exits.incomplete))

    def _untold(self, role: Role, incomplete: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Tell for each exit whether events of a role may be missing in it."""
        return incomplete if role in self._told else np.ones(len(incomplete), np.bool_)


def dictionary_schema(table: Table) -> pa.Schema:
    """Return the schema of a table, strings as dictionaries."""
    return pa.schema([_dictionary_field(field) for field in table.arrow_schema()])


def _dictionary_field(field: pa.Field) -> pa.Field:
    if field.type != pa.string():
        return field
    return pa.field(field.name, pa.dictionary(pa.int32(), pa.string()), nullable=field.nullable)


def known_or_null(values: NDArray[np.integer[Any]], by: NDArray[np.integer[Any]] | None = None) -> pa.Array:
    """Return numbers, null where they (or those of `by`) are negative."""
    unknown = (values if by is None else by) < 0
    return pa.array(values, mask=unknown) if unknown.any() else pa.array(values)


def named(index: NDArray[np.integer[Any]], names: list[str | None] | list[str]) -> pa.Array:
    """Return names by index as a dictionary array: null where the index is negative or the name None."""
    missing = np.array([*(name is None for name in names), True])  # index -1 is the last
    unknown = missing[index]
    indices = pa.array(index.astype(np.int32), mask=unknown) if unknown.any() else pa.array(index.astype(np.int32))
    return pa.DictionaryArray.from_arrays(indices, pa.array([name or "" for name in names], pa.string()))
