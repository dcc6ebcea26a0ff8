"""Tables that SQL sees of what manifests and labels say: runs, tracepoints, notes, lost, environment, vms, vcpus."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmtrace.store.catalogue import Catalogue
    from kvmtrace.store.manifest import Manifest

Row = dict[str, Any]

COLUMNS: dict[str, dict[str, str]] = {
    "runs": {
        "run_id": "VARCHAR",
        "label": "VARCHAR",
        "source": "VARCHAR",
        "part_label": "VARCHAR",
        "format": "VARCHAR",
        "kind": "VARCHAR",
        "kernel": "VARCHAR",
        "hostname": "VARCHAR",
        "arch": "VARCHAR",
        "cpu": "VARCHAR",
        "elapsed_ns": "BIGINT",
        "enabled_ns": "BIGINT",
        "start": "VARCHAR",
        "first_ts_ns": "BIGINT",
        "last_ts_ns": "BIGINT",
        "time_step_ns": "BIGINT",
        "ingested_at": "VARCHAR",
        "events": "BIGINT",
        "exits": "BIGINT",
        "lost_events": "BIGINT",
        "suspect": "BIGINT",
        "notes": "BIGINT",
        "trace_id": "VARCHAR",
        "peers": "VARCHAR[]",
        "tags": "MAP(VARCHAR, VARCHAR)",
    },
    "tracepoints": {
        "run_id": "VARCHAR",
        "system": "VARCHAR",
        "event": "VARCHAR",
        "samples": "BIGINT",
        "rows": "BIGINT",
        "period": "BIGINT",
    },
    "notes": {"run_id": "VARCHAR", "place": "VARCHAR", "what": "VARCHAR", "events": "BIGINT"},
    "lost": {
        "run_id": "VARCHAR",
        "said_by": "VARCHAR",
        "cpu": "INTEGER",
        "events": "BIGINT",
        "records": "BIGINT",
        "first_ts_ns": "BIGINT",
        "last_ts_ns": "BIGINT",
    },
    "environment": {"run_id": "VARCHAR", "name": "VARCHAR", "value": "VARCHAR"},
    "vms": {
        "run_id": "VARCHAR",
        "pid": "INTEGER",
        "name": "VARCHAR",
        "vmm": "VARCHAR",
        "vcpus": "INTEGER",
        "cgroup": "VARCHAR",
        "cpu_max": "VARCHAR",
        "cpu_weight": "VARCHAR",
    },
    "vcpus": {
        "run_id": "VARCHAR",
        "pid": "INTEGER",
        "tid": "INTEGER",
        "vcpu": "INTEGER",
        "name": "VARCHAR",
        "cpus_allowed": "VARCHAR",
        "policy": "VARCHAR",
        "priority": "INTEGER",
    },
}
"""Column → DuckDB type of each table. What was not recorded is null."""


def rows(name: str, catalogue: Catalogue) -> list[Row]:
    """Return the rows of the table `name`, as JSON has them; keys are its columns."""
    of_run = {
        "runs": _run, "tracepoints": _tracepoints, "notes": _notes, "lost": _lost,
        "environment": _environment, "vms": _vms, "vcpus": _vcpus,
    }[name]  # fmt: skip
    return [row for manifest in catalogue.manifests() for row in of_run(manifest, catalogue)]


def _run(manifest: Manifest, catalogue: Catalogue) -> Iterator[Row]:
    label = catalogue.label(manifest.run_id)
    is_recording = manifest.kind == "recording"
    host = {key: manifest.host.get(key) for key in ("kernel", "hostname", "arch", "cpu")}
    yield {
        **host,
        "run_id": manifest.run_id,
        "label": label.label,
        "source": manifest.source.title,
        "part_label": manifest.source.part_label,
        "format": manifest.source.format,
        "kind": manifest.kind,
        "elapsed_ns": manifest.elapsed_ns,
        "enabled_ns": manifest.enabled_ns,
        "start": manifest.start,
        "first_ts_ns": manifest.first_ts_ns,
        "last_ts_ns": manifest.last_ts_ns,
        "time_step_ns": manifest.time_step_ns if is_recording else None,
        "ingested_at": manifest.ingested_at,
        "events": sum(t.samples for t in manifest.tracepoints) if is_recording else None,
        "exits": manifest.exits.get("rows"),
        # A recording tells each loss; counters lose nothing that they could tell.
        "lost_events": manifest.most_lost if is_recording else None,
        "suspect": manifest.exits.get("suspect"),
        "notes": len(manifest.notes) + manifest.notes_dropped,
        "trace_id": manifest.session.get("trace_id"),
        "peers": manifest.peers,
        "tags": label.tags,
    }


def _tracepoints(manifest: Manifest, _: Catalogue) -> Iterator[Row]:
    for t in manifest.tracepoints:
        yield {
            "run_id": manifest.run_id,
            "system": t.system,
            "event": t.event,
            "samples": t.samples,
            "rows": t.rows,
            "period": t.period,
        }


def _notes(manifest: Manifest, _: Catalogue) -> Iterator[Row]:
    for note in manifest.notes:
        yield {"run_id": manifest.run_id, "place": note.where, "what": note.what, "events": note.events}


def _lost(manifest: Manifest, _: Catalogue) -> Iterator[Row]:
    for lost in manifest.lost:
        yield {
            "run_id": manifest.run_id,
            "said_by": lost.said_by,
            "cpu": lost.cpu,
            "events": lost.events,
            "records": lost.records,
            "first_ts_ns": lost.first_ts_ns,
            "last_ts_ns": lost.last_ts_ns,
        }


def _environment(manifest: Manifest, _: Catalogue) -> Iterator[Row]:
    for name, value in manifest.environment.items():
        yield {"run_id": manifest.run_id, "name": name, "value": value}


def _vms(manifest: Manifest, _: Catalogue) -> Iterator[Row]:
    for vm in manifest.vms:
        told = {key: getattr(vm, key) for key in ("pid", "name", "vmm", "cgroup", "cpu_max", "cpu_weight")}
        yield {"run_id": manifest.run_id, **told, "vcpus": len(vm.vcpus) or None}


def _vcpus(manifest: Manifest, _: Catalogue) -> Iterator[Row]:
    for vm in manifest.vms:
        for vcpu in vm.vcpus:
            yield {"run_id": manifest.run_id, "pid": vm.pid, **asdict(vcpu)}
