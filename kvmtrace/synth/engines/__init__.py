"""The dynamics that models are made of.

operation_loop    a guest that does operations one after the other: microbenchmarks, exit mixes
interrupts        interrupts with pending and in-service state, so that EOIs nest
scheduler         vCPUs of overcommitted VMs: slices, spinning, directed yield
counters          counters of perf, without exits
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from kvmtrace.synth.engine import Engine

ENGINES = {
    "operation-loop": "operation_loop",
    "interrupts": "interrupts",
    "scheduler": "scheduler",
    "counters": "counters",
}
"""Engine → module, which holds it as ENGINE; loaded only where a model needs it."""


def engine_named(name: str) -> Engine:
    """Return an engine. KeyError: there is none of that name."""
    module = import_module(f"{__name__}.{ENGINES[name]}")
    return cast("Engine", module.ENGINE)
