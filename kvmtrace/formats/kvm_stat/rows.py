"""Rows of the table `counters`, as the readers of kvm_stat and of KVM's statistics make them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from kvmtrace import schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

# Tracepoints of the system kvm whose names do not begin with kvm_ (arch/x86/kvm/trace.h, arch/arm64/kvm/vgic/trace.h).
_OTHER_TRACEPOINTS = re.compile(r"vcpu_match_mmio|vgic_update_irq_pending|vgic_create_irqchip_\w+")
_CHILD = re.compile(r"([^()]+)\(([^()]*)(\))?")
_TRACEPOINT = re.compile(r"kvm_[a-z0-9_]+", re.ASCII)

# Names in /sys/kernel/debug/kvm that no other program has (virt/kvm/kvm_main.c, arch/*/kvm).
_STATISTIC = re.compile(
    r"halt_(?:attempted_poll|successful_(?:poll|wait)|poll_invalid|poll_(?:success|fail)_(?:ns|hist)|wait_(?:ns|hist))"
    r"|halt_(?:wakeup|exits)|remote_tlb_flush(?:_requests)?|(?:hvc|wfe|wfi|wrs|ecall)_exit_stat|mmio_exit_(?:user|kernel)"
    r"|host_state_reload|fpu_reload|insn_emulation(?:_fail)?|(?:irq|nmi)_(?:exits|injections|window)|request_irq|req_event"
    r"|pf_(?:fixed|guest|emulate|spurious|fast|storage|instruc|taken|mmio_spte_created)|mmu_\w+|nx_(?:lpage|large)\w+"
    r"|largepages|pages_(?:4k|2m|1g)|max_mmu_\w+|l1d_flush|nested_run|directed_yield_\w+|preemption_(?:reported|other)"
    r"|guest_mode|lapic_timer_advance_ns|tsc-(?:offset|scaling-\w+)|pthru_\w+|sp_(?:storage|instruc)|num_(?:1G|2M)_pages"
    r"|(?:signal|io|mmio|notify_window|dbell|dec|dsi|isi|sum|syscall|light|gdbell|ext_intr|emulated_inst)_exits"
    r"|(?:[di]tlb_(?:real|virt)_miss|instr_(?:illegal|misaligned)|int|idle|cpucfg|hypercall)_exits"
    r"|exit_(?:userspace|null|external_\w+|io_\w+|instruction\w*|stop_request|validity|program_\w+|pei|wait_state)"
    r"|(?:instruction|deliver|inject)_[a-z0-9_]+|diag_[0-9a-f]+\w*|userspace_handled|aen_forward|csr_exit_(?:user|kernel)"
    r"|exits|hypercalls|invlpg|tlb_flush|blocking",
    re.ASCII,
)
_EXACT = 1 << 53
_NOT_TOLD = {"enabled_ns", "running_ns", "running_share", "stderr_share", "repeats", "interval_end_ns"}


@dataclass(slots=True)
class CounterRow:
    """One counter, its fields named as the columns of `schema.COUNTERS`; what it has no field for is null."""

    line: int
    event: str
    value: float | None
    system: str | None = None
    unit: str | None = None
    state: str = "counted"
    scope: str | None = None
    part: str | None = None
    rate_per_s: float | None = None
    logged_at: str | None = None
    is_exact: bool = True  # a double holds the count as it was printed


def split_name(name: str) -> tuple[str, str | None, str | None]:
    """Return event, its system and the part of it that is counted: kvm_exit(WFx) is kvm_exit, kvm, WFx.

    A part that lost its end has an ellipsis there.
    """
    child = _CHILD.fullmatch(name)
    event, part = (child[1], child[2] if child[3] else f"{child[2]}…") if child else (name, None)
    is_tracepoint = _TRACEPOINT.fullmatch(event) or _OTHER_TRACEPOINTS.fullmatch(event)
    return event, "kvm" if is_tracepoint else None, part


@lru_cache(maxsize=4096)
def is_known(name: str) -> bool:
    """Tell whether KVM has a tracepoint or a statistic of this name, or may have one (kvm_…)."""
    return split_name(name)[1] is not None or is_statistic(name)


def is_statistic(name: str) -> bool:
    """Tell whether a name is that of a file in /sys/kernel/debug/kvm."""
    return _STATISTIC.fullmatch(name) is not None


def read_count(printed: str) -> tuple[float, bool]:
    """Return a count of at most 20 digits, and whether a double holds it exactly."""
    count = int(printed)
    return float(count), abs(count) <= _EXACT or int(float(count)) == count


def counter_table(rows: Sequence[CounterRow]) -> pa.Table:
    """Return rows in the columns of `schema.COUNTERS`."""
    import pyarrow as pa  # noqa: PLC0415 - heavy, and recognising a format needs none of it

    columns = {
        name: [None] * len(rows) if name in _NOT_TOLD else [getattr(row, name) for row in rows]
        for name in schema.COUNTERS.names()
    }
    return pa.table(columns, schema=schema.COUNTERS.arrow_schema())
