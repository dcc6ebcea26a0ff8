"""vCPUs of overcommitted VMs, event by event: slices, a lock in order of arrival, IPIs, spinning, directed yield.

parameters.py    what the simulation is told
fair.py          threads: vCPUs with what their guests do; the fair scheduler of a CPU
agenda.py        what is to happen, in order of time
host.py          exits, entries, who runs where; directed yield
ebizzy.py        the guests: work, the lock, TLB shootdowns
simulation.py    all of them together
setting.py       what the models' files say
timeline.py      → exits and switches with their events
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmtrace.synth.blocks import ModelRecording
from kvmtrace.synth.engine import Engine, Run
from kvmtrace.synth.engines.scheduler.setting import GIVEN, SchedulerSetting
from kvmtrace.synth.engines.scheduler.timeline import Timeline, threads_of
from kvmtrace.synth.exit_scripts import compiled

if TYPE_CHECKING:
    from kvmtrace.recording import Content


def contents(run: Run) -> list[Content]:
    """Return the recording."""
    setting = run.setting
    if not isinstance(setting, SchedulerSetting):
        raise TypeError(f"expected a setting of {ENGINE.name}, found one of {type(setting).__name__}")
    scripts = compiled(setting, GIVEN)
    threads = threads_of(setting)
    return [ModelRecording(run, scripts, threads, lambda: Timeline(run, setting, scripts, threads).windows())]


ENGINE = Engine(
    "scheduler",
    "vCPUs of overcommitted VMs: slices, spinning, directed yield",
    SchedulerSetting,
    contents,
)
