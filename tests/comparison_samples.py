"""Comparisons made by hand: each figure in them is chosen, so that every word of them can be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compare_samples import run, side

from kvmtrace.comparing.claims import Claimed, Outcome, claim
from kvmtrace.comparing.comparison import Comparison
from kvmtrace.comparing.lines import Line, Options, Section
from kvmtrace.comparing.waterfall import Cause, Change, Step, Waterfall
from kvmtrace.exit_keys import By, Key
from kvmtrace.stats.estimate import BETWEEN, SINGLE, WITHIN, Estimate, Interval
from kvmtrace.stats.verdicts import Verdict

if TYPE_CHECKING:
    from kvmtrace.comparing.sides import Side

UNPRINTABLE = "odd\x1b[2J|`name`"


def estimate(base: float | None, new: float | None, **facts: Any) -> Estimate:  # noqa: ANN401 - those of Estimate
    told: dict[str, Any] = {
        "ratio": new / base if new is not None and base else None,
        "ratio_interval": None,
        "difference": new - base if new is not None and base is not None else None,
        "difference_interval": None,
        "p": None,
        "method": WITHIN,
        "base_n": 16,
        "new_n": 32,
        "unit_of_n": "blocks",
        "level": 0.95,
    }
    return Estimate(base, new, **(told | facts))


def sure(base: float, new: float, low: float, high: float, p: float, **facts: Any) -> Estimate:  # noqa: ANN401
    """A figure whose ratio has an interval."""
    difference = Interval(base * (low - 1), base * (high - 1))
    return estimate(base, new, ratio_interval=Interval(low, high), difference_interval=difference, p=p, **facts)


FEW = "some blocks have no value"
ABSENT = "kvm_pio was not recorded on the new side"


def line(said: Estimate, verdict: Verdict, reason: str | None = None, **facts: Any) -> Line:  # noqa: ANN401 - those of Line
    told = {"name": "", "unit": "per second", "key": None if reason is None else Key(reason)}
    return Line(estimate=said, verdict=verdict, **{**told, **facts})


HALVED = sure(2.0568, 1.1099, 0.52, 0.56, 1e-9)
HEADLINES = (
    line(sure(887.6, 497.3, 0.5, 0.62, 1e-6), Verdict.FELL, name="exits", primary=True, base_n=2390, new_n=1363),
    line(HALVED, Verdict.FELL, name="exits", unit="per injected interrupt", adjusted_p=1e-8, base_n=2390, new_n=1363),
    line(
        estimate(1.96, None, missing=ABSENT), Verdict.NOT_RECORDED, name="exits without port I/O",
        unit="per injected interrupt",
    ),
)  # fmt: skip
ROWS = (
    line(sure(417.1, 15.69, 0.0225, 0.0629, 1e-9), Verdict.FELL, "npf", adjusted_p=1e-8, base_n=1123, new_n=43),
    line(
        sure(395.5, 414.5, 0.93, 1.18, 0.4), Verdict.UNDECIDED, "hlt", idle=True, adjusted_p=1, base_n=1065,
        new_n=1136,
    ),
    line(
        estimate(0, 12.5, difference_interval=Interval(9, 16), p=1e-4), Verdict.NEW, UNPRINTABLE, adjusted_p=1e-3,
        base_n=0, new_n=34,
    ),
)  # fmt: skip
LATENCIES = {
    "mean_ns": (
        line(sure(74_394, 119_286, 1.38, 1.86, 1e-7), Verdict.ROSE, "npf", unit="ns", base_n=1123, new_n=43),
        line(estimate(16_674, 20_195, missing=FEW), Verdict.NO_INTERVAL, "vintr", unit="ns", base_n=4, new_n=5),
    ),
    "p50_ns": (
        line(sure(58_728, 118_608, 1.88, 2.17, 1e-20), Verdict.ROSE, "npf", unit="ns", base_n=1123, new_n=43),
        line(estimate(15_674, 18_448, missing=FEW), Verdict.NO_INTERVAL, "vintr", unit="ns", base_n=4, new_n=5),
    ),
}
SECTIONS = (
    Section("Exits per second", "exits", "per second", (By.REASON,), ROWS),
    *(Section(name, name, "ns", (By.REASON,), rows) for name, rows in LATENCIES.items()),
)
APIC_EOI = Cause("npf", "gpa", 0xFEE000B0, "APIC_EOI")
STEPS = (
    Step(APIC_EOI, Change.FEWER, -401.4, -29_861_000),
    Step(Cause("io", "port", 0x3F8, "COM1 data"), Change.CHEAPER, 0.0, -5_011_000),
    Step(Cause("MSR_WRITE", "msr", 0x6E0, "IA32_TSC_DEADLINE"), Change.MOVED, 0.0, -90_000, "PREEMPTION_TIMER"),
    Step(Cause(UNPRINTABLE), Change.NEW, 12.5, 1_000_000),
    Step(None, Change.UNKNOWN, -1.4, -2_000),
)
WATERFALL = Waterfall(
    887.6, 887.6 + sum(s.exits for s in STEPS), 48_592_000, 48_592_000 + sum(s.time_ns for s in STEPS), STEPS
)
CLAIMS = (
    Claimed(claim("ratio(kvm_exit / kvm_inj_virq) <= 0.6"), HALVED, 0.54, Interval(0.52, 0.56), Outcome.SUPPORTED),
    Claimed(claim("ratio(kvm_exit / kvm_inj_virq) <= 0.55"), HALVED, 0.54, Interval(0.52, 0.56), Outcome.UNDECIDED),
)


def one_run(name: str) -> Side:
    host = {"kernel": "6.1.0-56-amd64", "cpu": UNPRINTABLE}
    return side(name, run(seconds=2.692508, vcpus=2, name=f"{name}-run", manifest={"host": host}))


def comparison(**facts: Any) -> Comparison:  # noqa: ANN401 - those of Comparison
    """Return one recording against another."""
    told: dict[str, Any] = {
        "base": one_run("base"),
        "new": one_run("new"),
        "options": Options(),
        "headlines": HEADLINES,
        "sections": SECTIONS,
        "waterfall": WATERFALL,
        "warnings": (f"The sides differ in kernel: {UNPRINTABLE} before, 6.1 after.",),
        "tested": 5,
        "claims": CLAIMS,
    }
    return Comparison(**(told | facts))


def counters() -> Comparison:
    """Return two tables of counts, each counted once."""
    facts = {"method": SINGLE, "base_n": 1, "new_n": 1, "unit_of_n": "figures"}
    facts["missing"] = "two single figures carry no interval"
    counts = {"kvm:kvm_exit": (49849.0, 29595.0), "kvm:kvm_pv_eoi": (0.0, 26593.0)}
    rows = tuple(
        line(estimate(b / 1.0021, n / 1.00204, **facts), Verdict.NO_INTERVAL, name=name, base_n=b, new_n=n)
        for name, (b, n) in counts.items()
    )
    first = line(rows[0].estimate, Verdict.NO_INTERVAL, name="exits", primary=True, base_n=49849, new_n=29595)
    events = Section("Events per second", "events", "per second", (), rows)
    nothing: dict[str, Any] = dict.fromkeys(("warnings", "claims"), ())
    return comparison(headlines=(first,), sections=(events,), waterfall=None, tested=0, **nothing)


def few_runs() -> Comparison:
    """Return two runs against four."""
    facts = {"method": BETWEEN, "base_n": 2, "new_n": 4, "unit_of_n": "runs"}
    said = estimate(100.0, 90.0, missing="not enough runs: need 3 a side, found 2 and 4", **facts)
    sides = {
        name: side(name, *(run(name=f"{name}-{n}", manifest=_seconds(n)) for n in range(count)))
        for name, count in (("base", 2), ("new", 4))
    }
    lines = (line(said, Verdict.NO_INTERVAL, name="exits", primary=True),)
    row = line(said, Verdict.NO_INTERVAL, "npf", base_n=200, new_n=360)
    section = Section("Exits per second", "exits", "per second", (By.REASON,), (row,))
    return comparison(headlines=lines, sections=(section,), waterfall=None, tested=0, claims=(), warnings=(), **sides)


def _seconds(n: int) -> dict[str, Any]:
    return {"host": {"kernel": f"6.{n}"}, "elapsed_ns": 10**9}
