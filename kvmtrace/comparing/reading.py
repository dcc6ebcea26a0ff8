"""Takes what a comparison needs of its runs out of the store: a few sums for each block of time, never the exits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from kvmtrace import queries
from kvmtrace.comparing.given_figures import READERS
from kvmtrace.comparing.run_data import BlockOfExits, KeyedExits, RunData
from kvmtrace.exit_keys import By, Key
from kvmtrace.stats.blocks import blocks_for
from kvmtrace.time_blocks import event_blocks

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from kvmtrace.store.connection import Columns, StoreConnection
    from kvmtrace.store.manifest import Manifest

    Floats = NDArray[np.float64]

_DETAILS = 200


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be read."""

    by: frozenset[By] = frozenset({By.REASON})
    events: frozenset[str] = frozenset()  # system:event or event
    latency: bool = True  # percentiles are asked for
    guest_time: bool = False  # asked for: latency buckets do not tell it


def read_pair(connection: StoreConnection, base: Manifest, new: Manifest, plan: Plan) -> tuple[RunData, RunData]:
    """Return two runs, cut into blocks of time. Errors: as of `queries.run`."""
    if not (_has_exits(base) and _has_exits(new)):
        return _read(connection, base, plan), _read(connection, new, plan)
    fewest = min(base.exits.get("rows", 0), new.exits.get("rows", 0))
    blocks = blocks_for(fewest)
    keyed = _by_block(connection, base, new, plan, blocks)
    first, second = (_recording(connection, m, plan, blocks, keyed.get(m.run_id, ())) for m in (base, new))
    return first, second


def _by_block(
    connection: StoreConnection, base: Manifest, new: Manifest, plan: Plan, blocks: int
) -> dict[str, tuple[KeyedExits, ...]]:
    asked = {"base_run_id": base.run_id, "new_run_id": new.run_id, "blocks": blocks, "top": _DETAILS, **_asked(plan)}
    return _keyed(_columns(connection, "exits_by_block", **asked))


def read_each(connection: StoreConnection, manifests: Iterable[Manifest], plan: Plan) -> tuple[RunData, ...]:
    """Return runs as wholes: each of them is one sample. Errors: as of `queries.run`."""
    return tuple(_read(connection, manifest, plan) for manifest in manifests)


def read_details(connection: StoreConnection, run: RunData, plan: Plan) -> RunData:
    """Return a run as a whole, its exits told apart as `plan` says. Errors: as of `queries.run`."""
    events = {name: blocks.sum(keepdims=True) for name, blocks in run.events.items()}
    keyed = _scaled(run.manifest, _keyed_whole(connection, run.manifest, plan))
    return replace(run, blocks=1, block_lengths_s=None, keyed=keyed, events=events)


def _keyed_whole(connection: StoreConnection, manifest: Manifest, plan: Plan) -> tuple[KeyedExits, ...] | None:
    if not _has_exits(manifest):
        return None
    if plan.guest_time:
        return _by_block(connection, manifest, manifest, plan, 1).get(manifest.run_id, ())
    result = _columns(connection, "exits_by_key", run_id=manifest.run_id, **_asked(plan))
    return _keyed(result).get(manifest.run_id, ())


def _read(connection: StoreConnection, manifest: Manifest, plan: Plan) -> RunData:
    if manifest.kind in READERS:
        return READERS[manifest.kind](connection, manifest, _seconds(manifest))
    return _recording(connection, manifest, plan, 1, _keyed_whole(connection, manifest, plan))


def _has_exits(manifest: Manifest) -> bool:
    return manifest.kind == "recording" and "exits" in manifest.tables and manifest.unpaired is None


def _columns(connection: StoreConnection, name: str, **parameters: object) -> Columns:
    return queries.columns(connection, queries.load(f"compare/{name}"), parameters)


def _asked(plan: Plan) -> dict[str, bool]:
    by = {f"by_{each}": each in plan.by for each in By if each is not By.REASON}
    return {**by, "by_latency": plan.latency}


def _keyed(result: Columns) -> dict[str, tuple[KeyedExits, ...]]:
    """Return the exits of each run by its id."""
    columns = result.arrays
    first = _first_of_each_key([columns[name] for name in ("run_id", "idle", *Key._fields)])
    found: dict[str, list[KeyedExits]] = {}
    for start, end in zip(first, np.append(first[1:], len(columns["n"])), strict=True):
        rows = slice(int(start), int(end))
        key = Key(**{name: _plain(columns[name][start]) for name in Key._fields})
        exits = KeyedExits(key, bool(columns["idle"][start]), _exits({name: c[rows] for name, c in columns.items()}))
        found.setdefault(str(columns["run_id"][start]), []).append(exits)
    return {run_id: tuple(exits) for run_id, exits in found.items()}


def _first_of_each_key(columns: Sequence[np.ma.MaskedArray[Any, np.dtype[Any]]]) -> NDArray[np.int64]:
    """Return where the next key begins, in rows that are sorted by key."""
    rows = len(columns[0])
    differs = np.arange(rows) == 0
    for column in columns:
        null, values = np.ma.getmaskarray(column), column.data
        differs[1:] |= (null[1:] != null[:-1]) | (~null[1:] & (values[1:] != values[:-1]))
    return np.flatnonzero(differs)


def _exits(columns: dict[str, np.ma.MaskedArray[Any, np.dtype[Any]]]) -> BlockOfExits:
    n = columns["n"].filled().astype(np.float64)
    block = columns["block"].filled() if "block" in columns else np.zeros(len(n), np.int64)
    told = {name: _told(columns.get(name)) for name in ("guest_ns", "userspace")}
    return BlockOfExits(block, columns["timed"].filled(), n, columns["sum_ns"].filled(0).astype(np.float64), **told)


def _told(column: np.ma.MaskedArray[Any, np.dtype[Any]] | None) -> Floats | None:
    """Return sums, of exits of which some are told; None: none is."""
    if column is None or np.ma.getmaskarray(column).all():
        return None
    values: Floats = np.nan_to_num(column.filled(0).astype(np.float64))
    return values


def _plain(value: Any) -> Any:  # noqa: ANN401 - a cell of any type, as Python has it
    if value is np.ma.masked:
        return None
    return value.item() if isinstance(value, np.generic) else value


def _recording(
    connection: StoreConnection, manifest: Manifest, plan: Plan, blocks: int, keyed: tuple[KeyedExits, ...] | None
) -> RunData:
    told = {f"{t.system}:{t.event}": t for t in manifest.tracepoints}
    names = {t.event: name for name, t in told.items()} | {name: name for name in told}
    events = {
        names[asked]: event_blocks(connection, manifest, told[names[asked]], blocks)
        for asked in sorted(plan.events)
        if asked in names and told[names[asked]].period
    }
    vcpus = _vcpus(connection, manifest) if keyed else None
    return RunData(
        manifest,
        connection.catalogue.label(manifest.run_id),
        blocks,
        _seconds(manifest),
        _scaled(manifest, keyed),
        events | {t.event: events[name] for name, t in told.items() if name in events},
        vcpus=vcpus,
        reasons=_known_reasons(connection, manifest),
    )


def _vcpus(connection: StoreConnection, manifest: Manifest) -> int | None:
    vcpus: int | None = queries.run(connection, queries.load("compare/vcpus"), {"run_id": manifest.run_id}).rows[0][0]
    return vcpus


def _known_reasons(connection: StoreConnection, manifest: Manifest) -> frozenset[str]:
    if "symbols" not in manifest.tables:
        return frozenset()
    named = queries.run(connection, queries.load("compare/known_reasons"), {"run_id": manifest.run_id})
    return frozenset(name for (name,) in named.rows)


def _scaled(manifest: Manifest, keyed: tuple[KeyedExits, ...] | None) -> tuple[KeyedExits, ...] | None:
    """Return exits as so many as were sampled stand for; None: by a period that varied.

    Which of them went to userspace is not known: that is an event of its own, of which others were sampled.
    """
    tracepoint = manifest.tracepoint("kvm", "kvm_exit")
    if keyed is None or tracepoint is None or tracepoint.period == 1:
        return keyed
    if tracepoint.period == 0:
        return None
    return tuple(
        KeyedExits(each.key, each.idle, each.exits._replace(n=each.exits.n * tracepoint.period, userspace=None))
        for each in keyed
    )


def _seconds(manifest: Manifest) -> float | None:
    return None if manifest.rate_time is None else manifest.rate_time[0] / 1e9
