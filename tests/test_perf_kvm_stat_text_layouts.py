"""Tables of `perf kvm stat`, printed from random rows as each perf prints them, and read back."""

from __future__ import annotations

import quopri
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_perf_kvm_stat_text import one

if TYPE_CHECKING:
    from collections.abc import Callable

VMX = ["HLT", "MSR_WRITE", "EPT_VIOLATION", "UNKNOWN", "TPR_BELOW_THRESHOLD"]
SVM = ["npf", "hlt", "PF excp", "avic_incomplete_ipi", "UNKNOWN"]
S390 = ["Wait state", "Instruction", "SIGP sense running", "DIAG (0x9c) time slice end directed", "0xB2 STSI"]


@dataclass(frozen=True)
class Printed:
    """A row to print: times in ns."""

    name: str
    samples: int
    time: int  # of all samples
    least: int
    most: int
    error: float | None  # percent; None is nan

    def mean(self) -> float:
        return self.time / self.samples


@st.composite
def printed_rows(draw: st.DrawFn) -> list[Printed]:
    names = draw(st.sampled_from([VMX, SVM, S390]))
    rows = []
    for name in draw(st.lists(st.sampled_from(names), min_size=1, max_size=8)):
        samples = draw(st.integers(1, 10**7))
        least = draw(st.integers(1, 10**7))
        mean = least + draw(st.integers(0, 10**7))
        most = mean + 1 + draw(st.integers(0, 10**10))
        error = draw(st.none() | st.floats(0, 100))
        rows.append(Printed(name, samples, mean * samples + draw(st.integers(0, samples - 1)), least, most, error))
    return rows


def stdio(rows: list[Printed], *, width: int, times: Callable[[Printed], str], header: str) -> str:
    """Print as print_result() of tools/perf/builtin-kvm.c does, with a blank behind every column."""
    samples, time = sum(row.samples for row in rows), sum(row.time for row in rows)
    lines = ["", "", "Analyze events for all VMs, all VCPUs:", "", f"{'VM-EXIT':>{width}} {header}", ""]
    for row in rows:
        name = row.name[: width - 1]
        shares = f"{row.samples / samples * 100:8.2f}% {row.time / time * 100:8.2f}%"
        error = "nan" if row.error is None else f"{row.error:.2f}"
        mean = f"{row.mean() / 1000:9.2f}us ( +-{error:>7}% )"
        lines.append(f"{name:>{width}} {row.samples:10d} {shares} {times(row)}{mean}")
    lines += ["", f"Total Samples:{samples}, Total events handled time:{time / 1000:.2f}us.", ""]
    return "\n".join(lines) + "\n"


def oldest(rows: list[Printed]) -> str:
    """Linux 3.7 to 3.13."""
    header = f"{'Samples':>10} {'Samples%':>9} {'Time%':>9} {'Avg time':>16} "
    return stdio(rows, width=20, times=lambda _: "", header=header)


def whole_us(rows: list[Printed]) -> str:
    """Linux 3.14 to 3.18: minima and maxima in whole us."""
    header = f"{'Samples':>10} {'Samples%':>9} {'Time%':>9} {'Min Time':>10} {'Max Time':>10} {'Avg time':>16} "
    return stdio(rows, width=20, times=lambda row: f"{row.least // 1000:8d}us {row.most // 1000:8d}us ", header=header)


def _today(rows: list[Printed], width: int) -> str:
    header = f"{'Samples':>10} {'Samples%':>9} {'Time%':>9} {'Min Time':>11} {'Max Time':>11} {'Avg time':>16} "
    return stdio(
        rows, width=width, times=lambda row: f"{row.least / 1000:9.2f}us {row.most / 1000:9.2f}us ", header=header
    )


def narrow(rows: list[Printed]) -> str:
    """Linux 3.19 to 6.3 on x86 and arm64."""
    return _today(rows, 20)


def wide(rows: list[Printed]) -> str:
    """POWER and s390, and every perf from 6.4 on (--stdio)."""
    return _today(rows, 40)


def browser(rows: list[Printed]) -> str:
    """Linux 6.4 and on, without --stdio: ev_percent_*() returns an int."""
    return "KVM event statistics\n" + "".join(" ".join(cells) + "\n" for cells in _browser_cells(rows))


def drawn(rows: list[Printed]) -> str:
    """The browser's table as people draw it for others."""
    return "".join(f"| {' | '.join(cells)} |\n" for cells in _browser_cells(rows))


def _browser_cells(rows: list[Printed]) -> list[list[str]]:
    samples, time = sum(row.samples for row in rows), sum(row.time for row in rows)
    heads = (
        "Event name",
        "Samples",
        "Sample%",
        "Time (ns)",
        "Time%",
        "Max Time (ns)",
        "Min Time (ns)",
        "Mean Time (ns)",
    )
    cells: list[tuple[str, ...]] = [heads]
    for row in rows:
        counts = str(row.samples), f"{100 * row.samples // samples}.00%", str(row.time), f"{100 * row.time // time}.00%"
        cells.append((row.name[:39], *counts, str(row.most), str(row.least), str(row.time // row.samples)))
    widths = (40, 12, 12, 12, 12, 14, 14, 14)
    return [[f"{cell:>{width}}" for cell, width in zip(line, widths, strict=True)] for line in cells]


def as_it_is(text: str) -> str:
    return text


def with_crlf(text: str) -> str:
    return text.replace("\n", "\r\n")


def in_a_commit(text: str) -> str:
    return (
        "Some change\n\nBefore:\n" + "".join(f"    # {line}\n" for line in text.split("\n")) + "\nSigned-off-by: me\n"
    )


def in_a_mail(text: str) -> str:
    """Quote twice, after a mail program broke the lines at 72 characters."""
    lines = []
    for line in text.split("\n"):
        left = line.rstrip()
        while len(left) > 72:
            end = left.rfind(" ", 0, 73)
            lines.append(left[:end].rstrip())
            left = left[end:].lstrip()
        lines.append(left)
    return "On some day somebody wrote:\n" + "".join(f"> > {line}\n" for line in lines) + "\nYes.\n"


def quoted_printable(text: str) -> str:
    return quopri.encodestring("".join(f"> {line}\n" for line in text.split("\n")).encode()).decode("ascii")


LAYOUTS = [oldest, whole_us, narrow, wide, browser, drawn]
WAYS = [as_it_is, with_crlf, in_a_commit, in_a_mail, quoted_printable]


def _expected(row: Printed, rows: list[Printed], layout: Callable[..., str]) -> dict[str, Any]:
    of_samples, of_time = row.samples / sum(r.samples for r in rows), row.time / sum(r.time for r in rows)
    width = 20 if layout in {oldest, whole_us, narrow} else 40
    known: dict[str, Any] = {"reason": row.name[: width - 1], "samples": row.samples}
    if layout in {browser, drawn}:
        return known | {
            "samples_share": int(of_samples * 100 + 1e-9) / 100,
            "time_share": int(of_time * 100 + 1e-9) / 100,
            "min_ns": row.least,
            "max_ns": row.most,
            "mean_ns": row.time // row.samples,
            "stderr_share": None,
        }
    known["stderr_share"] = None if row.error is None else float(f"{row.error:.2f}") / 100
    known |= {
        "samples_share": float(f"{of_samples * 100:.2f}") / 100,
        "time_share": float(f"{of_time * 100:.2f}") / 100,
    }
    known["mean_ns"] = float(f"{row.mean() / 1000:.2f}") * 1000
    if layout is oldest:
        return known | {"min_ns": None, "max_ns": None}
    if layout is whole_us:
        return known | {"min_ns": row.least // 1000 * 1000, "max_ns": row.most // 1000 * 1000}
    return known | {
        "min_ns": float(f"{row.least / 1000:.2f}") * 1000,
        "max_ns": float(f"{row.most / 1000:.2f}") * 1000,
    }


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=20, deadline=None)
@given(rows=printed_rows())
def test_what_perf_prints_is_read_back(
    layout: Callable[[list[Printed]], str], way: Callable[[str], str], rows: list[Printed]
) -> None:
    table = one(way(layout(rows)))
    found = table.rows.to_pylist()
    assert len(found) == len(rows)
    for got, row in zip(found, rows, strict=True):
        expected = _expected(row, rows, layout)
        assert got["reason"] == expected.pop("reason")
        assert {name for name in expected if got[name] is None} == {name for name in expected if expected[name] is None}
        numbers = {name: value for name, value in expected.items() if value is not None}
        assert {name: got[name] for name in numbers} == pytest.approx(numbers, rel=1e-12)
    # A table that is whole contradicts itself nowhere; names that were cut are told, and what the rows do not tell.
    assert all("cut by its column" in note.what or "neither the header" in note.what for note in table.notes)
