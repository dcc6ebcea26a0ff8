"""Budgets, a check of them, and runs that counted events."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from store_builder import add_run, fixed_table

from kvmtrace.cli import run
from kvmtrace.store.label import Label, write_label
from kvmtrace.store.manifest import run_folder

if TYPE_CHECKING:
    from collections.abc import Mapping


def entry(name: str, metric: str, limit: str, scope: str = "ratio") -> str:
    """Return a budget as it stands in a file."""
    return f"[[budget]]\nname = '{name}'\nmetric = '{metric}'\nscope = '{scope}'\n{limit}\n"


def check(base: str, new: str, text: str, *arguments: str) -> int:
    """Hold two sides to the budgets of a text, with a JUnit file; return the exit code."""
    Path("budget.toml").write_text(text)
    return run(["check", base, "--against", new, "--budget", "budget.toml", "--junit", "junit.xml", *arguments])


def counted(path: str, exits: int) -> None:
    """Write what `perf stat` prints of a second with so many exits."""
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).write_text(
        "\n Performance counter stats for 'system wide':\n\n"
        f"{exits:>18,}      kvm:kvm_exit\n\n       1.000000000 seconds time elapsed\n\n"
    )


def counters(store: Path, run_id: str, values: Mapping[str, float], *, side: str, seconds: int = 1) -> None:
    """Add a run that counted events."""
    rows = [
        {"system": "kvm", "event": event, "value": value, "state": "counted", "line": line}
        for line, (event, value) in enumerate(values.items(), 1)
    ]
    add_run(store, run_id, {"counters": fixed_table("counters", rows)}, kind="counters", elapsed_ns=seconds * 10**9)
    write_label(run_folder(store, run_id), Label(None, {"side": side}))


SINGLE = entry("a", "kvm_exit", "at_most = 1.05\naccept_single = true")
