"""Guests that are interrupted: by devices, by their timers; their EOIs, and how many of these exit.

interrupts_workload.py   what the file says of them
interrupts_scripts.py    the scripts that an exit needs beside its own
interrupts_sources.py    what raises its interrupts, and its other exits
interrupts_vcpu.py       one vCPU with its local APIC → what happens, one after the other
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.synth.apart import apart
from kvmtrace.synth.arrivals import S_PS
from kvmtrace.synth.blocks import ModelRecording
from kvmtrace.synth.draws import Draws
from kvmtrace.synth.emission import PS_OF_NS, Emitter, Happened, Piece
from kvmtrace.synth.engine import Engine, Run
from kvmtrace.synth.engines.interrupts_scripts import scripts_of
from kvmtrace.synth.engines.interrupts_vcpu import Rows, Vcpu
from kvmtrace.synth.engines.interrupts_workload import InterruptsSetting
from kvmtrace.synth.machine import Thread, vcpu_threads, worker_thread

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from kvmtrace.recording import Content
    from kvmtrace.synth.blocks import Window
    from kvmtrace.synth.exit_scripts import Scripts

LONG_EVENTS = 2_000_000
"""From so many on a process of its own is worth its start."""
_EVENTS_PER_S = 250_000  # of a busy vCPU: a guess, which decides nothing else
ROWS_AT_ONCE = 1 << 16
"""Exits and sequences of all vCPUs that are held at once, or about so many: no result depends on it."""
_FIRST_STRETCH_PS = 10**9
_MSI_ADDRESS = 0xFEE0_0000
_MSI_DESTINATION_BIT = 12


def contents(run: Run) -> list[Content]:
    """Return the recording of a run."""
    setting = run.setting
    if not isinstance(setting, InterruptsSetting):
        raise TypeError(f"expected a setting of {ENGINE.name}, found one of {type(setting).__name__}")
    scripts = scripts_of(setting)
    threads = threads_of(setting)
    return [ModelRecording(run, scripts, threads, lambda: windows(run, setting, scripts, threads))]


def threads_of(setting: InterruptsSetting) -> list[Thread]:
    """Return the vCPUs' threads, then for each vCPU one worker for each of its sources."""
    vcpus = vcpu_threads(setting.platform)
    sources = len(setting.workload.sources)
    workers = [
        worker_thread(setting.platform, thread.vm, thread.vcpu * sources + number)
        for thread in vcpus
        for number in range(sources)
    ]
    return vcpus + workers


def windows(run: Run, setting: InterruptsSetting, scripts: Scripts, threads: list[Thread]) -> Iterator[Window]:
    """Yield the events of one stretch of time after the other, up to the end of the recording."""
    vcpus = sum(thread.vcpu >= 0 for thread in threads)
    emitters = [Emitter(scripts, threads, Draws(run.seed, "fields", index)) for index in range(vcpus)]
    end_ps = round(run.seconds * S_PS)
    is_long = (run.events or vcpus * run.seconds * _EVENTS_PER_S) >= LONG_EVENTS
    stretches = apart(happened, run.seed, setting, end_ps) if is_long else happened(run.seed, setting, end_ps)
    with closing(stretches):
        for rows, certain_ps in stretches:
            pieces = [
                _events(emitter, of_vcpu, thread, end_ps)
                for emitter, of_vcpu, thread in zip(emitters, rows, threads, strict=False)
            ]
            yield pieces, certain_ps // PS_OF_NS


def happened(seed: int, setting: InterruptsSetting, end_ps: int) -> Generator[tuple[list[Rows], int]]:
    """Yield what happened to each vCPU in one stretch after the other, and the time before which that is all."""
    scripts = scripts_of(setting)
    workers = len(setting.workload.sources)
    vcpus = setting.platform.vms * setting.platform.vcpus
    running = [Vcpu(index, seed, setting, scripts, vcpus + index * workers) for index in range(vcpus)]
    stretch_ps = _FIRST_STRETCH_PS
    reached_ps = 0
    while reached_ps < end_ps:
        reached_ps = min(reached_ps + stretch_ps, end_ps)
        rows = [vcpu.rows_until(reached_ps) for vcpu in running]
        yield rows, min(reached_ps, *(vcpu.certain_ps for vcpu in running))
        stretch_ps = max(stretch_ps * ROWS_AT_ONCE // max(sum(map(len, rows)), ROWS_AT_ONCE // 8), 1)


def _events(emitter: Emitter, rows: Rows, thread_of_vcpu: Thread, end_ps: int) -> Piece:
    rows = rows[rows[:, 1] < end_ps]
    script, start_ps, span_ps, thread, vector, more = (np.ascontiguousarray(column) for column in rows.T)
    numbers = np.full(len(rows), thread_of_vcpu.vcpu)
    values = {
        "vector": vector,
        "ended": more,
        "coalesced": more,
        "reinjected": more,
        "wait_ns": more,
        "vcpu": numbers,
        "msi_address": _MSI_ADDRESS | numbers << _MSI_DESTINATION_BIT,
    }
    return emitter.events(Happened(script, start_ps, span_ps, thread, values)).before(end_ps // PS_OF_NS)


ENGINE = Engine("interrupts", "guests that are interrupted, and their EOIs", InterruptsSetting, contents)
