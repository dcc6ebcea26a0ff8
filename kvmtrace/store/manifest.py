"""run.json: what is known of a run beside its tables, and the folder layout of a store.

    STORE/runs/run_id=<id>/run.json                              the manifest, never changed
    STORE/runs/run_id=<id>/label.json                            label and tags, changed by `kvmtrace runs label`
    STORE/runs/run_id=<id>/exits/*.parquet
    STORE/runs/run_id=<id>/events/<system>/<event>/*.parquet
    STORE/runs/run_id=<id>/{counters,exit_summaries,benchmarks,latency_buckets,symbols}.parquet

Times are nanoseconds on the recording's own clock. None (null) is: not recorded.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field, fields
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from kvmtrace import schema
from kvmtrace.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST = "run.json"
LABEL = "label.json"
RUN_PREFIX = "run_id="
DEFAULT_FOLDER = "kvmtrace-store"
"""The store where nobody says which: in the working folder."""
FOLDER_VARIABLE = "KVMTRACE_STORE"
"""Environment variable that says which instead."""
_LONGEST_COMPONENT = 143  # bytes of a file name: eCryptfs has the least room
_KEPT_OF_LONG = 120


@dataclass(frozen=True, slots=True)
class Source:
    """Where a run came from."""

    name: str  # file name as given, without its folder; "-" for standard input
    format: str  # as `kvmtrace formats` names it
    size_bytes: int
    digest: str  # of the content, uncompressed: "blake3:" and 64 hexadecimal digits
    part: str | None = None  # "#1", "#2" … where one source made several runs
    part_label: str | None = None  # what tells the parts apart ("sleep 1s, first table")
    clock_hz: int | None = None  # ticks in a second of its clock as the user said, where its times come of that

    @property
    def identity(self) -> tuple[str | int | None, ...]:
        """What makes the run of a schema version: the content, and how it was read."""
        return self.digest, self.format, self.part, self.clock_hz

    @property
    def title(self) -> str:
        """Name of the source with its part."""
        return self.name + (self.part or "")


@dataclass(frozen=True, slots=True)
class Tracepoint:
    """A tracepoint that the recording had enabled, also when it never fired."""

    system: str
    event: str
    samples: int  # in the source
    rows: int  # in the store
    period: int = 1  # one of so many events was sampled; 0: varying


@dataclass(frozen=True, slots=True)
class Lost:
    """Events lost, as one teller counted them on one CPU."""

    said_by: str  # LOST, LOST_SAMPLES
    cpu: int | None
    events: int
    records: int
    first_ts_ns: int | None
    last_ts_ns: int | None


@dataclass(frozen=True, slots=True)
class StoredNote:
    """Trouble in the source: where, what, and the events that are not in the store because of it."""

    where: str
    what: str
    events: int = 0


@dataclass(frozen=True, slots=True)
class VcpuThread:
    """A thread that ran a vCPU of a VM while it was recorded; what could not be read is None."""

    tid: int
    vcpu: int | None = None
    name: str | None = None
    cpus_allowed: str | None = None  # CPUs that it may run on, as the kernel lists them: 0-3,8
    policy: str | None = None  # of the scheduler: other, fifo, …
    priority: int | None = None  # of the policies fifo and rr


@dataclass(frozen=True, slots=True)
class RecordedVm:
    """A VM that was there while it was recorded; what could not be read is None."""

    pid: int
    name: str | None = None  # as its VMM's command line says, else that of the process
    vmm: str | None = None  # the VMM's program
    cgroup: str | None = None
    cpu_max: str | None = None  # the cgroup's cpu.max: quota and period in µs
    cpu_weight: str | None = None
    vcpus: tuple[VcpuThread, ...] = ()


@dataclass(frozen=True, slots=True)
class TableInfo:
    """One stored table: its rows and the Arrow type of each column. Keys of `Manifest.tables` are its path."""

    rows: int
    columns: dict[str, str]


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything that is known of a run beside its tables."""

    run_id: str
    kind: str  # recording, counters, exit_summaries, benchmarks
    source: Source
    ingested_at: str  # ISO 8601, UTC
    kvmtrace_version: str
    schema_version: str = schema.VERSION
    host: dict[str, str | int] = field(default_factory=dict)  # hostname, kernel, arch, cpu, cpuid, cpus_online, …
    tool: dict[str, str] = field(default_factory=dict)  # version, cmdline
    clock: str | None = None
    time_step_ns: int = 1  # times are whole multiples of it
    start: str | None = None
    first_ts_ns: int | None = None  # of all events
    last_ts_ns: int | None = None
    elapsed_ns: int | None = None  # first to last event, or what perf stat says
    enabled_ns: int | None = None  # time that the events were enabled, where it is told
    tracepoints: tuple[Tracepoint, ...] = ()
    tells_enabled: bool = True  # tracepoints are all that were enabled; else only those that fired
    tables: dict[str, TableInfo] = field(default_factory=dict)  # "exits", "events/kvm/kvm_msr" (encoded), "counters"
    exits: dict[str, int] = field(default_factory=dict)  # rows, closed_by_entry, …, suspect, entries_without_exit
    unpaired: str | None = None  # why exits were not paired, where they were not
    lost: tuple[Lost, ...] = ()
    notes: tuple[StoredNote, ...] = ()
    notes_dropped: int = 0  # notes beyond the first few hundred
    records: dict[str, int] = field(default_factory=dict)  # records of the source by type, all of them
    not_stored: dict[str, int] = field(default_factory=dict)  # what → events of the source that have no row
    left_out: tuple[str, ...] = ()  # sample fields that are not stored
    identity: tuple[str, ...] = ()  # rules by which VMs and vCPUs were told apart
    session: dict[str, Any] = field(default_factory=dict)  # trace ids of a session's host and guests, clock shifts
    environment: dict[str, str | None] = field(default_factory=dict)  # of `kvmtrace record`: settings of the host
    vms: tuple[RecordedVm, ...] = ()  # of `kvmtrace record`: the VMs that were seen meanwhile

    @property
    def peers(self) -> list[str]:
        """Trace ids of the other recordings of its session: its guests' and its host's."""
        of_guests = [guest["trace_id"] for guest in self.session.get("guests", [])]
        return [*of_guests, *filter(None, [self.session.get("peer_trace_id")])]

    @property
    def rate_time(self) -> tuple[int, str] | None:
        """Time in ns that rates are per, and which it is: enabled where that is told, else elapsed; None: neither."""
        times = {"enabled": self.enabled_ns, "elapsed": self.elapsed_ns}
        return next(((ns, which) for which, ns in times.items() if ns and ns > 0), None)

    @property
    def most_lost(self) -> int:
        """Events lost, as the teller of most says: LOST and LOST_SAMPLES may tell of the same ones."""
        by_teller: Counter[str] = Counter()
        for lost in self.lost:
            by_teller[lost.said_by] += lost.events
        return max(by_teller.values(), default=0)

    def to_json(self) -> str:
        """Return the text of run.json."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=True) + "\n"

    def tracepoint(self, system: str, event: str) -> Tracepoint | None:
        """Return the tracepoint if the recording had it enabled."""
        return next((t for t in self.tracepoints if (t.system, t.event) == (system, event)), None)


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of the run in `folder`. StoreError: damaged, or of a newer major schema version."""
    path = folder / MANIFEST
    try:
        raw = json.loads(path.read_text())
        major = int(raw["schema_version"].split(".")[0])
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise StoreError(f"{path}: expected a run's manifest, found {error}") from None
    if major > int(schema.VERSION.split(".")[0]):
        raise StoreError(
            f"{path}: schema version {raw['schema_version']} is newer than this kvmtrace reads ({schema.VERSION})",
            hint="use a newer kvmtrace",
        )
    try:
        return _from_raw(raw)
    except (KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{path}: expected a run's manifest, found {error!r}") from None


def _from_raw(raw: dict[str, Any]) -> Manifest:
    known = {f.name for f in fields(Manifest)}  # a newer minor version may say more
    parts = {key: value for key, value in raw.items() if key in known}
    parts["source"] = Source(**raw["source"])
    parts["tracepoints"] = tuple(Tracepoint(**t) for t in raw["tracepoints"])
    parts["tables"] = {name: TableInfo(**t) for name, t in raw["tables"].items()}
    parts["lost"] = tuple(Lost(**t) for t in raw["lost"])
    parts["notes"] = tuple(StoredNote(**t) for t in raw["notes"])
    parts["left_out"] = tuple(raw["left_out"])
    parts["identity"] = tuple(raw["identity"])
    parts["vms"] = tuple(
        RecordedVm(**vm | {"vcpus": tuple(VcpuThread(**vcpu) for vcpu in vm["vcpus"])}) for vm in raw.get("vms", ())
    )
    return Manifest(**parts)


def encode_name(name: str) -> str:
    """Return a recording's name as one safe path component: letters, digits, `_`, `-`, the rest %-encoded.

    One that is too long for a file system ends in a digest instead, behind %FF, which no text has.
    """
    encoded = quote(name, safe="").replace(".", "%2E").replace("~", "%7E") or "%00"
    if len(encoded) <= _LONGEST_COMPONENT:
        return encoded
    return f"{encoded[:_KEPT_OF_LONG]}%FF{sha256(name.encode()).hexdigest()[:16]}"


def decode_name(component: str) -> str:
    """Undo `encode_name`; of a name that was too long the beginning is known."""
    return "" if component == "%00" else unquote(component)


def events_table(system: str, event: str) -> str:
    """Return the path of a tracepoint's table within its run, which is its name in `Manifest.tables`."""
    return f"events/{encode_name(system)}/{encode_name(event)}"


def runs_folder(store: Path) -> Path:
    """Return the folder that holds the runs of a store."""
    return store / "runs"


def run_folder(store: Path, run_id: str) -> Path:
    """Return the folder of one run."""
    return runs_folder(store) / f"{RUN_PREFIX}{run_id}"
