"""Runs and pages for the tests of HTML reports, some with names that try to be more than names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from query_samples import SECOND, TEXT, U64
from store_builder import add_run, event, exits, fixed_table

from kvmtrace.report.html.charts import ZOOM
from kvmtrace.report.html.parts import Cell, Chart, DataTable, Facts, Fold, Page, Section, Series, Text
from kvmtrace.store.catalogue import Catalogue
from kvmtrace.store.label import Label
from kvmtrace.store.manifest import Lost, Source, encode_name

if TYPE_CHECKING:
    from pathlib import Path

    from store_builder import Row

HOSTILE = "<script>alert(1)</script>"
HOSTILE_IMAGE = "<img src=https://example.com/x onerror=alert(2)>"
HOSTILE_END = "</script><script>alert(3)</script><!--"

ROWS: list[Row] = [
    {"reason": HOSTILE, "detail_kind": "msr", "detail": 1, "detail_name": HOSTILE_IMAGE, "latency_ns": 1000},
    {"reason": HOSTILE, "detail_kind": "msr", "detail": 1, "detail_name": HOSTILE_IMAGE, "latency_ns": 3000},
    {"reason": HOSTILE_END, "latency_ns": 90_000, "userspace": True, "userspace_ns": 60_000},
    {"reason": "io", "latency_ns": 40_000, "suspect": True},
    {"reason": "hlt", "latency_ns": 2_000_000, "idle": True, "blocked_ns": 1_900_000},
]


def bucket(row: Row) -> Row:
    """Return the latency bucket of one exit."""
    ns = row["latency_ns"]
    bounds = dict.fromkeys(("bucket_low_ns", "bucket_high_ns", "min_ns", "max_ns", "sum_ns"), ns)
    told = {"detail_capped": False, "idle": False, "suspect": False, "n": 1, "sum_sq_ns2": float(ns * ns)}
    outside = ("latency_ns", "exit_ts_ns")
    return {**told, **bounds, **{name: value for name, value in row.items() if name not in outside}}


def add_hostile(store: Path) -> Path:
    """Add a recording in which everything that has a name is called like a script. It lost events, too."""
    rows = [
        {"vm_id": HOSTILE, "vcpu": n % 2, "cpu": 0, "exit_ts_ns": n * SECOND // 5, "userspace": False, **row}
        for n, row in enumerate(ROWS)
    ]
    inner = event(
        {HOSTILE: TEXT, "value": U64}, {HOSTILE: HOSTILE_END, "value": 1 << 40, "exit_id": 2, "ts_ns": SECOND}
    )
    add_run(
        store,
        "aa",
        {
            "exits": exits(*rows),
            "latency_buckets": fixed_table("latency_buckets", [bucket(row) for row in rows]),
            f"events/{encode_name(HOSTILE)}/{encode_name(HOSTILE)}": inner,
        },
        source=Source(HOSTILE_END, "perf.data", 1, "blake3:" + "0" * 64),
        first_ts_ns=0,
        last_ts_ns=SECOND,
        elapsed_ns=SECOND,
        host={"hostname": HOSTILE, "cpu": HOSTILE_IMAGE},
        lost=(Lost(HOSTILE, 0, 7, 1, SECOND // 4, SECOND // 2), Lost("LOST_SAMPLES", None, 3, 1, None, None)),
    )
    Catalogue(store).set_label("aa", Label(HOSTILE))
    return store


def sample_page() -> Page:
    """Return a page with each kind of part."""
    rows = [
        (
            Cell(f"row {n:02}"),
            Cell(f"{n * 37 % 100:,}", n * 37 % 100),
            Cell("-") if n % 5 == 0 else Cell(f"{n}.5", n + 0.5),
        )
        for n in range(40)
    ]
    total = (Cell("total"), Cell("1,980", 1980), Cell("820", 820))
    table = DataTable("Sample table", ("name", "exits", "time µs"), (*rows, total), names=1, totals=1)
    values = [{"ns": 10 ** (1 + n / 20), "n": n % 7, "reason": ("msr", HOSTILE)[n % 2]} for n in range(100)]
    chart = Chart(
        "Sample chart",
        "What it shows.",
        {
            "data": {"values": values},
            "height": 200,
            "params": [
                ZOOM,
                {"name": "shown", "value": ["msr", HOSTILE]},
            ],
            "transform": [{"filter": "indexof(shown, datum.reason) >= 0"}],
            "mark": {"type": "line", "clip": True, "aria": False},
            "encoding": {
                "x": {"field": "ns", "type": "quantitative", "scale": {"type": "log"}},
                "y": {"field": "n", "type": "quantitative"},
                "color": {
                    "field": "reason",
                    "scale": {"domain": ["msr", HOSTILE], "range": "category"},
                    "legend": None,
                },
            },
        },
        table,
        (Series("msr", 0), Series(HOSTILE, 1, (6, 3))),
    )
    first = Section("first", "First", (Text(("A sentence.",)), Text((HOSTILE,), warning=True), table, chart))
    inner = Section("inner", "Inner", (Fold("A fold", (Text(("Folded text.",)), table)),))
    return Page(f"Sample {HOSTILE}", (first, Section("second", "Second", (Facts((("host", HOSTILE),)),), (inner,))))
