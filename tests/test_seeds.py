"""Measurements that engineers sent and showed, as they stand: each figure of their tables is in the store and a report.

A list of cycles in a mail, vmexit's output below seven levels of quotes, a slide whose columns are bent, the diff of a
kernel patch with prose only, and `perf stat` before and after a patch.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from perf_oracle import SHARED

from kvmtrace.cli import run as run_program

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SEEDS = SHARED / "seeds"
pytestmark = pytest.mark.skipif(not SEEDS.is_dir(), reason="needs ../shared")


def seed(number: str) -> Path:
    (path,) = SEEDS.glob(f"{number}_*")
    return path


@pytest.fixture
def program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Return what runs a command on one store: exit code, standard output, standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = run_program([*arguments, "--store", str(tmp_path / "store")])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


def ingested(program: Callable[..., tuple[int, str, str]], number: str, *said: str) -> list[str]:
    """Ingest a seed; return its runs. `said`: what stands behind each run, and every warning."""
    code, out, err = program("ingest", str(seed(number)))
    assert code == 0
    lines = err.splitlines()
    assert len(lines) == len(said)
    for line, end in zip(lines, said, strict=True):
        assert line.endswith(end)
    return out.splitlines()


def rows(program: Callable[..., tuple[int, str, str]], statement: str) -> list[dict[str, Any]]:
    code, out, _ = program("sql", statement, "--format", "json")
    assert code == 0
    found: list[dict[str, Any]] = json.loads(out)
    return found


def reported(program: Callable[..., tuple[int, str, str]], run: str) -> str:
    code, out, _ = program("report", run)
    assert code == 0
    return out


def test_the_list_of_cycles_of_power9(program: Callable[..., tuple[int, str, str]]) -> None:
    (run,) = ingested(program, "000", ": 4 figures")
    figures = {
        "Upstream try_real_mode return": 509,
        "Upstream virt NULL hcall": 9587,
        "KVM Cify virt NULL hcall": 9333,
        "KVM Cify+opt virt NULL hcall": 5754,
    }
    stored = rows(program, "FROM benchmarks ORDER BY line")
    assert {row["name"]: row["value"] for row in stored} == figures
    assert [row["line"] for row in stored] == [25, 26, 27, 28]
    assert {(row["unit"], row["state"], row["suite"], row["statistic"]) for row in stored} == {
        ("cycles", "measured", None, None)
    }
    assert [row["message"] for row in stored if row["message"]] == [
        "(167% faster than upstream, or 60% the cycles required)"
    ]
    text = reported(program, run)
    assert all(re.search(rf"{re.escape(name)} .* {value:,}  cycles", text) for name, value in figures.items())


def test_the_figures_of_vmexit_below_quotes(program: Callable[..., tuple[int, str, str]]) -> None:
    (run,) = ingested(program, "001", ": 3 figures")
    figures = {
        "mmio-wildcard-eventfd:pci-mem": 3529,
        "mmio-pv-eventfd:pci-mem": 1878,
        "portio-wildcard-eventfd:pci-io": 1846,
    }
    stored = rows(program, "FROM benchmarks ORDER BY line")
    assert {row["name"]: row["value"] for row in stored} == figures
    # "It's the TSC divided by number of iterations", says the mail.
    assert {(row["suite"], row["test"], row["unit"], row["statistic"], row["clock"]) for row in stored} == {
        ("kvm-unit-tests", "vmexit", "cycles", "mean", "TSC")
    }
    text = reported(program, run)
    assert all(re.search(rf"{re.escape(name)} .* {value:,}  cycles", text) for name, value in figures.items())


def test_the_slide_of_exits_with_its_msr_writes(program: Callable[..., tuple[int, str, str]]) -> None:
    lines = seed("002").read_text().splitlines()
    note = "line 28: expected a name and 6 columns as in the header, found '" + r"100000\t50.010\t70 170\t0.00\t71.07.0"
    (run,) = ingested(program, "002", ": 11 rows", note + r"\t\t0.07%'")
    stored = rows(program, "FROM exit_summaries ORDER BY line, event_kind DESC")
    exits = {row["reason"]: row for row in stored if row["event_kind"] == "vmexit"}
    printed = [line.split("\t") for line in lines[28:37]]
    assert list(exits) == [cells[0] for cells in printed]
    for name, samples, share, time, least, most, mean, error, *_ in printed:
        row = exits[name]
        assert row["samples"] == int(samples)
        shares = [row["samples_share"], row["time_share"], row["stderr_share"]]
        assert shares == [pytest.approx(float(cell.strip("%)")) / 100) for cell in (share, time, error)]
        times = [row["min_ns"], row["max_ns"], row["mean_ns"]]
        assert times == [pytest.approx(float(re.sub("us.*", "", cell)) * 1000) for cell in (least, most, mean)]
        assert (row["detail"], row["total_ns"], row["time_is"]) == (None, None, "out of the guest")
    assert (exits["MSR_WRITE"]["samples"], exits["MSR_WRITE"]["samples_share"]) == (379_929, 0.4136)
    msrs = [(r["detail"], r["detail_name"], r["direction"], r["samples"]) for r in stored if r["event_kind"] == "msr"]
    assert msrs == [
        (0x6E0, "IA32_TSC_DEADLINE", "write", 304_839),
        (0x830, "Interrupt Command Register, ICR", "write", 67_492),
    ]
    assert sum(row["samples"] for row in stored if row["event_kind"] == "vmexit") == 918_672  # 486083 is 52.91% of it
    assert {r["time_share"] for r in stored if r["event_kind"] == "msr"} == {None}
    (kept,) = rows(program, "FROM notes")
    assert (kept["run_id"], kept["place"]) == (run, "line 28")
    text = reported(program, run)
    assert re.search(r"MSR_WRITE +379,929 +41\.36 +25\.43 +1\.90 +2\.86 +0\.03 +60\.18", text)
    assert re.search(r"0x6e0 IA32_TSC_DEADLINE +write +304,839 ", text)
    assert "warning: Trouble in the source: 1 note; the first at line 28: " in text


def test_prose_and_a_diff_are_one_plain_error(program: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    code, out, err = program("ingest", str(seed("003")))
    error, hint = err.splitlines()
    assert (code, out) == (3, "")
    assert error == (
        f"kvmtrace: error: {seed('003')}: expected figures of KVM in a format that is known, "
        "found a text that begins 'Re: [PATCH] xen: core dom0 support From:'"
    )
    assert hint == "hint: `kvmtrace formats` lists what is read; --format NAME names one"
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []


def test_the_counters_before_and_after_pv_eoi(program: Callable[..., tuple[int, str, str]]) -> None:
    content = seed("004").read_text()
    before, after = ingested(program, "004", ": 39 counters", ": 39 counters")
    tables = content.split("Performance counter stats for 'sleep 1s':")[1:]
    for run, table in zip((before, after), tables, strict=True):
        printed = re.findall(r"^([\d,]+) kvm:(\w+)(?: \[(\d+\.\d+)%\])?$", table, re.MULTILINE)
        assert len(printed) == 39
        stored = rows(program, f"FROM counters WHERE run_id = '{run}' ORDER BY line")
        assert [(row["system"], row["event"], row["value"]) for row in stored] == [
            ("kvm", event, float(value.replace(",", ""))) for value, event, _ in printed
        ]
        assert [row["running_share"] for row in stored] == [
            pytest.approx(float(share) / 100) if share else None for _, _, share in printed
        ]
        lines = content.splitlines()
        assert all(f"kvm:{row['event']}" in lines[row["line"] - 1] for row in stored)
        assert {row["state"] for row in stored} == {"counted"}
        (elapsed,) = re.findall(r"^([\d.]+) seconds time elapsed$", table, re.MULTILINE)
        told = {row["run_id"]: row["elapsed_ns"] for row in rows(program, "FROM runs")}
        assert told[run] == round(float(elapsed) * 1e9)
        text = reported(program, run)
        for value, event, _ in printed:
            assert re.search(rf"^kvm:{event} +{value} ", text, re.MULTILINE), event
    values = "SELECT run_id, value::BIGINT AS n FROM counters WHERE event = '{}'"
    for event, old, new in (("kvm_exit", 49_849, 29_595), ("kvm_entry", 47_357, 28_354), ("kvm_pv_eoi", 0, 26_593)):
        found = {row["run_id"]: row["n"] for row in rows(program, values.format(event))}
        assert found == {before: old, after: new}
    labels = rows(program, "SELECT part_label FROM runs ORDER BY source")
    assert [row["part_label"] for row in labels] == ["Before: 'sleep 1s'", "After: 'sleep 1s'"]


def test_all_seeds_at_once(program: Callable[..., tuple[int, str, str]]) -> None:
    paths = [str(path) for path in sorted(SEEDS.iterdir())]
    code, out, err = program("ingest", *paths)
    assert (code, len(out.splitlines())) == (3, 5)
    assert err.splitlines()[-1] == f"kvmtrace: error: 1 of {len(paths)} files: not ingested"
    again = program("ingest", *paths)
    assert again[1] == out
