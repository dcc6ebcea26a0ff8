"""Reports from a store: what the buckets of a run say is what its exits say."""

from __future__ import annotations

import random
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from store_builder import add_run, event, exits, fixed_table

from kvmtrace.exit_keys import By, Key
from kvmtrace.ingesting import ingest
from kvmtrace.report.columns import counter_rows
from kvmtrace.report.grouping import PERMILLES
from kvmtrace.report.reading import Choice, read_summary
from kvmtrace.report.wording import footnotes
from kvmtrace.store.connection import StoreConnection
from kvmtrace.store.label import Label

if TYPE_CHECKING:
    from store_builder import Row

    from kvmtrace.report.summary import ExitGroup, ExitTable, Summary

CAPTURES = Path(__file__).parents[1].parent / "shared" / "captures" / "x86-svm"
SECOND = 10**9
FIGURES = ("idle", "exits", "timed", "suspect", "no_latency", "userspace", "out_of_guest_ns", "min_ns", "max_ns")
GROUP = ("vm_id", "vcpu", "cpu", "reason", "detail_kind", "detail", "detail_name", "idle", "userspace", "suspect")


def random_exits(count: int, seed: int) -> list[Row]:
    """Return exits of two VMs whose reasons, details, latencies and states differ."""
    rng = random.Random(seed)  # noqa: S311 - test data
    rows = []
    for _ in range(count):
        reason = rng.choice(["msr", "io", "hlt", "npf"])
        suspect = rng.random() < 0.05
        rows.append(
            {
                "vm_id": rng.choice(["10", "20", None]),
                "vcpu": rng.choice([0, 1, 10]),
                "cpu": rng.choice([0, 1]),
                "reason": reason,
                "idle": reason == "hlt",
                "detail_kind": {"msr": "msr", "io": "port"}.get(reason),
                "detail": {"msr": rng.choice([0x6E0, 1 << 63]), "io": rng.randrange(4)}.get(reason),
                "detail_name": "IA32_TSC_DEADLINE" if reason == "msr" and rng.random() < 0 else None,
                "userspace": None if suspect else rng.random() < 0.1,
                "suspect": suspect,
                "latency_ns": None if rng.random() < 0.03 else int(rng.lognormvariate(8, 2)),
            }
        )
    return rows


def buckets(rows: list[Row]) -> list[Row]:
    """Return the latency buckets of exits: 1/64 of a power of two wide."""
    latencies: defaultdict[tuple[object, ...], list[int | None]] = defaultdict(list)
    for row in rows:
        ns = row["latency_ns"]
        dropped = 0 if ns is None else max(ns.bit_length() - 7, 0)
        low = None if ns is None else ns >> dropped << dropped
        high = None if low is None else low + (1 << dropped) - 1
        latencies[(*(row[name] for name in GROUP), low, high)].append(ns)
    return [
        _bucket(dict(zip((*GROUP, "bucket_low_ns", "bucket_high_ns"), key, strict=True)), found)
        for key, found in latencies.items()
    ]


def _bucket(key: Row, latencies: list[int | None]) -> Row:
    known = [ns for ns in latencies if ns is not None]
    moments = (
        {
            "sum_ns": sum(known),
            "sum_sq_ns2": float(sum(ns**2 for ns in known)),
            "min_ns": min(known),
            "max_ns": max(known),
        }
        if known
        else {}
    )
    return {**key, **moments, "n": len(latencies), "detail_capped": False}


def write_run(store: Path, rows: list[Row], **facts: Any) -> None:  # noqa: ANN401 - any fact of a manifest
    tables = {"exits": exits(*rows), "latency_buckets": fixed_table("latency_buckets", buckets(rows))}
    add_run(store, "r1", tables, elapsed_ns=10**9, **facts)


def read(store: Path, run: str = "r1", **choice: Any) -> Summary:  # noqa: ANN401 - of what is chosen
    with StoreConnection(store) as connection:
        catalogue = connection.catalogue
        manifest = catalogue.resolve(run)
        return read_summary(connection, manifest, catalogue.label(manifest.run_id), Choice(**choice))


def table(store: Path, run: str = "r1", **choice: Any) -> ExitTable:  # noqa: ANN401 - of what is chosen
    exit_table = read(store, run, **choice).exits
    assert exit_table is not None
    return exit_table


def assert_same_exits(near: ExitTable, exact: ExitTable) -> None:
    assert [section.idle for section in near.sections] == [section.idle for section in exact.sections]
    for ours, theirs in zip(near.sections, exact.sections, strict=True):
        assert [group.key for group in ours.groups] == [group.key for group in theirs.groups]
        for one, other in zip((*ours.groups, ours.total), (*theirs.groups, theirs.total), strict=True):
            _assert_same_figures(one, other)


def _assert_same_figures(near: ExitGroup, exact: ExitGroup) -> None:
    for figure in FIGURES:
        assert getattr(near, figure) == getattr(exact, figure), figure
    assert (near.p50_ns is None) == (near.sq_dev_ns2 is None) == (exact.timed == 0)
    if exact.timed:
        assert near.sq_dev_ns2 == pytest.approx(exact.sq_dev_ns2, rel=1e-6)
        for percentile in PERMILLES:
            assert getattr(near, percentile) == pytest.approx(getattr(exact, percentile), rel=0.01, abs=0.5), percentile


COMBINATIONS = [*((by,) for by in By), (By.VCPU, By.REASON), tuple(By)]


@pytest.fixture(scope="module")
def random_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("store")
    write_run(store, random_exits(3000, seed=1))
    return store


@pytest.mark.parametrize("by", COMBINATIONS, ids="-".join)
@pytest.mark.parametrize("with_idle", [False, True])
def test_buckets_say_what_the_exits_say(random_store: Path, by: tuple[By, ...], *, with_idle: bool) -> None:
    near, exact = (table(random_store, by=by, with_idle=with_idle, exact=exact) for exact in (False, True))
    assert_same_exits(near, exact)
    assert (near.exits, len(near.sections)) == (3000, 1 if with_idle else 2)


@pytest.mark.parametrize(
    "recording", ["perf-variants/lossy.perf.data", "multi-vm/perf.data", "pveoi-mixed-xapic-on/perf.data"]
)
def test_buckets_of_a_real_recording_say_what_its_exits_say(tmp_path: Path, recording: str) -> None:
    if not (CAPTURES / recording).exists():
        pytest.skip(f"no {recording} beside the project")
    [ingested] = ingest(str(CAPTURES / recording), tmp_path, Label())
    run = ingested.manifest.run_id
    for by in ((By.REASON,), (By.DETAIL,), tuple(By)):
        assert_same_exits(*(table(tmp_path, run, by=by, exact=exact) for exact in (False, True)))


def test_the_vcpus_of_several_vms_are_known_to_be_counted_together(random_store: Path) -> None:
    for exact in (False, True):
        for by, several in (((By.VCPU,), True), ((By.VM, By.VCPU), False)):
            groups = table(random_store, by=by, exact=exact).sections[0].groups
            assert {group.several_vms for group in groups} == {several}


def test_the_distribution_is_of_timed_exits_and_without_idle_ones(random_store: Path) -> None:
    for exact in (False, True):
        for with_idle in (False, True):
            summary = read(random_store, with_idle=with_idle, exact=exact)
            assert summary.exits is not None
            timed = summary.exits.sections[0].total
            assert sum(bucket.n for bucket in summary.distribution) == timed.timed
            assert sum(bucket.sum_ns for bucket in summary.distribution) == timed.out_of_guest_ns


def test_curves_are_by_reason_whatever_the_table_is_by(random_store: Path) -> None:
    plain, curves = (read(random_store, by=(By.VCPU,), distribution_by_reason=asked) for asked in (False, True))
    assert {bucket.reason for bucket in plain.distribution} == {None}
    assert {bucket.reason for bucket in curves.distribution} == {"msr", "io", "npf"}
    assert sum(bucket.n for bucket in plain.distribution) == sum(bucket.n for bucket in curves.distribution)


def test_details_that_were_too_many_are_one_row_which_exact_takes_apart(tmp_path: Path) -> None:
    def row(detail: int | None) -> Row:
        return {
            **dict.fromkeys(GROUP),
            "reason": "npf",
            "idle": False,
            "suspect": False,
            "detail_kind": "gpa",
            "detail": detail,
            "latency_ns": 100,
        }

    merged = [{**bucket, "detail_capped": True} for bucket in buckets([row(None)] * 2)]
    rows = fixed_table("latency_buckets", [*buckets([row(1)]), *merged])
    add_run(tmp_path, "r1", {"exits": exits(row(1), row(2), row(3)), "latency_buckets": rows})
    capped, every = (table(tmp_path, by=(By.DETAIL,), exact=exact).sections[0].groups for exact in (False, True))
    assert [(group.key, group.exits) for group in capped] == [
        (Key(detail_kind="gpa", detail_capped=True), 2),
        (Key(detail_kind="gpa", detail=1), 1),
    ]
    assert [group.key for group in every] == [Key(detail_kind="gpa", detail=n) for n in (1, 2, 3)]


def test_only_the_run_asked_for_is_read(tmp_path: Path) -> None:
    write_run(tmp_path, random_exits(20, seed=1))
    other = random_exits(10, seed=2)
    tables = {"exits": exits(*other), "latency_buckets": fixed_table("latency_buckets", buckets(other))}
    add_run(tmp_path, "r2", tables)
    for exact in (False, True):
        assert [table(tmp_path, run, exact=exact).exits for run in ("r1", "r2")] == [20, 10]


def test_a_recording_without_exits_has_no_table(tmp_path: Path) -> None:
    add_run(tmp_path, "r1", {"events/kvm/kvm_pio": event({}, {})}, enabled=[("kvm", "kvm_exit")])
    for exact in (False, True):
        summary = read(tmp_path, exact=exact)
        assert (summary.exits, summary.distribution) == (None, ())
    add_run(tmp_path, "r2", {"exits": exits(), "latency_buckets": fixed_table("latency_buckets", [])})
    assert read(tmp_path, "r2").exits is None


def counter(name: str, value: float | None, line: int, **more: Any) -> Row:  # noqa: ANN401 - any column
    state = "not counted" if value is None else "counted"
    return {"system": "kvm", "event": name, "value": value, "state": state, "line": line, **more}


def test_counters_come_in_the_order_of_their_source(tmp_path: Path) -> None:
    rows = [counter("kvm_exit", 30.0, 7), counter("kvm_entry", 20.0, 5), counter("kvm_pio", None, 6)]
    add_run(tmp_path, "r1", {"counters": fixed_table("counters", rows)}, kind="counters", elapsed_ns=2 * 10**9)
    summary = read(tmp_path)
    assert [(c.event, c.counted, c.states) for c in summary.counters] == [
        ("kvm_entry", 20.0, "counted"),
        ("kvm_pio", None, "not counted"),
        ("kvm_exit", 30.0, "counted"),
    ]


def test_intervals_of_a_counter_are_added_up_and_repeated_counters_are_not(tmp_path: Path) -> None:
    rows = [
        counter("kvm_exit", 30.0, 1, interval_end_ns=100),
        counter("kvm_pio", None, 2, interval_end_ns=100),
        counter("kvm_exit", 12.0, 3, interval_end_ns=200),
        counter("kvm_pio", 5.0, 4, interval_end_ns=200),
        counter("kvm_msr", 1.0, 5),
        counter("kvm_msr", 2.0, 6),
    ]
    add_run(tmp_path, "r1", {"counters": fixed_table("counters", rows)}, kind="counters")
    found = [(c.event, c.counted, c.states, c.counted_rows, c.source_rows) for c in read(tmp_path).counters]
    assert found == [
        ("kvm_exit", 42.0, "counted", 2, 2),
        ("kvm_pio", 5.0, "counted, not counted", 1, 2),
        ("kvm_msr", 1.0, "counted", 1, 1),
        ("kvm_msr", 2.0, "counted", 1, 1),
    ]


def test_rates_of_intervals_are_of_those_that_were_counted(tmp_path: Path) -> None:
    values = {"kvm_exit": (100.0, 200.0, None), "kvm_inj_virq": (10.0, 10.0, 30.0), "kvm_pio": (None, None, None)}
    ends = (1 * SECOND, 2 * SECOND, 5 * SECOND)
    rows = [
        counter(name, value, line, interval_end_ns=end)
        for line, (name, counts) in enumerate(values.items())
        for end, value in zip(ends, counts, strict=True)
    ]
    twice = [counter("kvm_msr", 5.0, line, interval_end_ns=end) for line in (4, 5) for end in ends]
    parts = [counter("kvm_inj_virq", 1.0, 6, interval_end_ns=end, part="NMI") for end in ends]
    tables = {"counters": fixed_table("counters", [*parts, *rows, *twice])}
    add_run(tmp_path, "r1", tables, kind="counters", elapsed_ns=5 * SECOND)
    summary = read(tmp_path)
    assert {row["event"]: (row["rate_per_s"], row["per_injected_interrupt"]) for row in counter_rows(summary)} == {
        "kvm:kvm_exit": (150.0, 15.0),
        "kvm:kvm_inj_virq": (10.0, 1.0),
        "kvm:kvm_pio": (None, None),
        "kvm:kvm_msr": (6.0, 0.6),
        "kvm:kvm_inj_virq(NMI)": (0.6, 0.06),
    }
    assert "Where some intervals were not counted, rates are of the others." in footnotes(summary)
