"""Where a table contradicts itself: rows are missing or bent then, or perf printed what it did not measure."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from kvmtrace.formats.perf_kvm_stat.keys import is_cut
from kvmtrace.formats.perf_kvm_stat.names import whole_names
from kvmtrace.recording import Note

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmtrace.formats.perf_kvm_stat.rows import Row
    from kvmtrace.formats.perf_kvm_stat.tables import KvmStatTable

_ROUNDED = Decimal("0.00005001")  # half of the last digit of a share, and of double arithmetic
_CUT_OFF = Decimal("0.01")  # the browser of perf cuts shares to whole percents
_HALF_NS = Decimal("5.001")  # half of the last digit of 0.01 us
_WHOLE_NS = Decimal("1000.001")
_ONE_NS = Decimal("1.001")


def doubts(table: KvmStatTable, event_kind: str) -> Iterator[Note]:
    """Yield a note for each thing that contradicts another, or is not what it looks like."""
    yield from _totals(table)
    for row in table.rows:
        yield from _order(row, in_browser=table.layout.in_browser)
        yield from _names(row, event_kind)
    yield from _unmeasured_minimum(table)
    for owner in {part.owner: None for part in table.parts}:
        yield from _parts(table, owner)


def _totals(table: KvmStatTable) -> Iterator[Note]:
    samples = sum(row.samples for row in table.rows)
    totals = table.totals
    if totals is None:
        yield from _sums_of_shares(table)
        return
    where = f"line {totals.line}"
    if samples != totals.samples:
        yield Note(where, f"expected rows of {totals.samples} samples, found rows of {samples}")
        return
    times = [(row, row.time("mean")) for row in table.rows]
    known = sum((mean * row.samples for row, mean in times if mean is not None), Decimal(0))
    if all(mean is not None for _, mean in times) and abs(known - totals.time_ns) > _HALF_NS * (samples + 1):
        yield Note(where, f"expected rows of {_us(totals.time_ns)} in all, found means that make {_us(known)}")
        return
    for row in table.rows:
        yield from _share(row, "samples_share", Decimal(row.samples), Decimal(totals.samples), Decimal(0))
        mean = row.time("mean")
        if mean is not None:
            yield from _share(row, "time_share", mean * row.samples, totals.time_ns, _HALF_NS * (row.samples + 1))


def _share(row: Row, column: str, part: Decimal, whole: Decimal, error: Decimal) -> Iterator[Note]:
    printed = row.cells.get(column)
    if printed is None or not whole:
        return
    if abs(part - printed * whole) > _ROUNDED * whole + error:
        of = "samples" if column == "samples_share" else "time"
        yield Note(f"line {row.line}", f"expected {part / whole:.2%} of the {of}, found {printed:.2%} ({row.name})")


def _sums_of_shares(table: KvmStatTable) -> Iterator[Note]:
    for column, what in (("samples_share", "samples"), ("time_share", "time")):
        shares = [row.cells.get(column) for row in table.rows]
        told = [share for share in shares if share is not None]
        total = sum(told, Decimal(0))
        below = (_CUT_OFF if table.layout.in_browser else _ROUNDED) * len(told)
        if told and len(told) == len(shares) and not -below <= total - 1 <= _ROUNDED * len(told):
            yield Note(f"line {table.line}", f"expected shares of 100% of the {what} in all, found {total:.2%}")


def _order(row: Row, *, in_browser: bool) -> Iterator[Note]:
    least, mean, most = row.time("min"), row.time("mean"), row.time("max")
    if mean is None:
        return
    whole_us = least is not None and least.as_tuple().exponent == 0  # of Linux 3.14
    error = _ONE_NS if in_browser else _WHOLE_NS if whole_us else _HALF_NS * 2
    if (least is not None and least > mean + error) or (most is not None and mean > most + error):
        yield Note(f"line {row.line}", f"the times of {row.name} are not in the order min, mean, max")
    total = row.time("time")
    if total is not None and row.samples and not -_ONE_NS <= total / row.samples - mean <= _ONE_NS:
        yield Note(f"line {row.line}", f"{row.samples} samples of {mean} ns do not make {total} ns ({row.name})")


def _names(row: Row, event_kind: str) -> Iterator[Note]:
    longer = whole_names(row.name) if event_kind == "vmexit" else []
    if longer:
        yield Note(f"line {row.line}", f"the name {row.name!r} is cut by its column: {' or '.join(longer)}")
    if is_cut(event_kind, row.name):
        yield Note(f"line {row.line}", f"expected an address and a direction such as 0x10:R, found {row.name!r}")


def _unmeasured_minimum(table: KvmStatTable) -> Iterator[Note]:
    minima = [row.time("min") for row in table.rows]
    one_vcpu = table.around.scope is not None and not table.around.scope.endswith("all VCPUs")
    if minima and one_vcpu and all(least == 0 for least in minima) and any(row.time("mean") for row in table.rows):
        # kvm_event_expand() of perf clears the statistics of one vCPU, whose minimum then stays 0.
        yield Note(f"line {table.line}", "Min Time is 0 in every row: perf does not measure it for one vCPU")


def _parts(table: KvmStatTable, owner: str) -> Iterator[Note]:
    whole = sum(row.samples for row in table.rows if row.name == owner)
    parts = [part for part in table.parts if part.owner == owner]
    together = sum(part.samples for part in parts)
    if together > whole:
        yield Note(f"line {parts[0].line}", f"expected parts of the {whole} samples of {owner}, found {together}")


def _us(time_ns: Decimal) -> str:
    return f"{time_ns / 1000:.2f} us"
