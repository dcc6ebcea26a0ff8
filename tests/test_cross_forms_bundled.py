"""Texts that the project has, against the recordings that they were printed from: no other program is needed."""

from __future__ import annotations

import csv
import lzma
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from cross_forms import Form, Forms, Untold, differences
from test_cross_forms import NO_WFX, NS, ROUNDED, TRACE_DATS, assert_same

TEXTS = Path(__file__).parent / "data" / "event-text"


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> Forms:
    return Forms(tmp_path_factory.mktemp("forms") / "store")


WHOLE: dict[str, tuple[str, tuple[Untold, ...], int | None]] = {
    "arm64": ("arm64.v7.dat", NO_WFX, None),
    "ppc64-power9": ("ppc64-power9.v7.dat.zst", (), None),
    "riscv64": ("riscv64.v7.dat.zst", (), None),
    "x86-svm": ("x86-svm.v6.dat.zst", (), 10**9),  # ticks
}


@pytest.mark.parametrize("options", ["", "-N-t"])
@pytest.mark.parametrize("name", WHOLE)
def test_trace_cmd_report(name: str, options: str, forms: Forms) -> None:
    file, untold, ticks = WHOLE[name]
    form = replace(NS if options or ticks else ROUNDED, untold=untold)
    assert_same(forms, TRACE_DATS / file, TEXTS / f"{name}.trace-cmd-report{options}.txt.xz", form, ticks)


PIECES: dict[str, tuple[int, Form, int | None]] = {
    "arm64.trace": (41, ROUNDED, None),
    "riscv64.trace_pipe": (126, ROUNDED, None),
    "ppc64-power9.trace-ppc-tb": (52, NS, 512_000_000),
    "x86-svm.perf-script": (43, Form(unit_ns=1000), None),
    "arm64.perf-script-guest-code": (37, Form(unit_ns=1000), None),
}


@pytest.mark.parametrize("name", PIECES)
def test_a_piece_has_the_exits_of_the_bytes(name: str, forms: Forms) -> None:
    count, form, clock_hz = PIECES[name]
    text = TEXTS / f"{name}.txt.xz"
    lines = lzma.decompress(text.read_bytes())
    assert lines.count(b"\n") <= 300
    found = [row for row in forms.exits(text, clock_hz).to_pylist() if row["entry_ts_ns"] is not None]
    with (TEXTS / f"{name}.exits.csv").open() as file:
        expected = [
            row | dict.fromkeys(("exit_ts_ns", "entry_ts_ns")) | times(row, form) for row in csv.DictReader(file)
        ]
    if b"kvm_userspace_exit:" not in lines:  # then a text does not tell that it was enabled
        assert {row.pop("userspace") for row in expected} == {"False"}
    assert [{column: as_text(row[column]) for column in expected[0]} for row in found] == expected
    assert len(found) == count
    (manifest,) = forms.manifests(text, clock_hz)
    assert manifest.notes == ()
    assert manifest.not_stored == {}


def times(row: dict[str, str], form: Form) -> dict[str, str]:
    return {column: str(form.time(int(row[column]))) for column in ("exit_ts_ns", "entry_ts_ns")}


def as_text(value: Any) -> str:  # noqa: ANN401 - what Arrow holds
    return "" if value is None else str(value)


def test_the_latency_format_has_the_same_exits(forms: Forms) -> None:
    """Its times count from the first event of the buffer, and its names of threads are cut to 8 letters."""
    trace, latency = (forms.exits(TEXTS / f"x86-svm.{name}.txt.xz") for name in ("trace", "trace-latency-format"))
    begin = trace["exit_ts_ns"][0].as_py() - latency["exit_ts_ns"][0].as_py()
    moved = latency.to_pylist()
    for row in moved:
        for column in ("exit_ts_ns", "entry_ts_ns"):
            row[column] = None if row[column] is None else row[column] + begin
    for column in set(trace.column_names) - {"exit_ts_ns", "entry_ts_ns", "latency_ns", "guest_ns", "userspace_ns"}:
        assert trace[column] == latency[column], column
    for row, other in zip(moved, trace.to_pylist(), strict=True):
        for column in ("exit_ts_ns", "entry_ts_ns", "latency_ns", "guest_ns", "userspace_ns"):
            assert (row[column] is None) == (other[column] is None)
            assert row[column] is None or abs(row[column] - other[column]) <= 2000
    assert trace.num_rows > 30


def test_processes_and_overwritten_events_of_a_trace(forms: Forms) -> None:
    text = TEXTS / "x86-svm.trace-tgid.txt.xz"
    (manifest,) = forms.manifests(text)
    assert set(forms.exits(text)["vm_id"].to_pylist()) == {"6426"}
    assert manifest.records["EVENT"] == 270
    assert sum(lost.events for lost in manifest.lost) == 16232 - 4543


def unlike(value: Any) -> Any:  # noqa: ANN401 - what Arrow holds
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return value + "x"
    return value + 100 if value < 100 else value + 3000  # nested is a byte


def test_a_difference_is_found(forms: Forms) -> None:
    """What compares must be able to fail."""
    exits = forms.exits(TRACE_DATS / "arm64.v7.dat")
    assert differences(exits, exits, Form(processes=True, same_order=True)) == []
    for column in exits.column_names:
        values = exits[column].to_pylist()
        if not any(value is not None for value in values):
            continue
        row = next(n for n, value in enumerate(values) if value is not None)
        changed = pa.array([*values[:row], unlike(values[row]), *values[row + 1 :]], exits.schema.field(column).type)
        table = exits.set_column(exits.column_names.index(column), exits.schema.field(column), changed)
        assert differences(exits, table, Form(1000, processes=True, same_order=True)), column
    stale = Form(untold=(Untold("reason", {"no such reason"}, "never so"),))
    assert differences(exits, exits, stale) == ["reason: it does tell: not never so"]
