"""A guest that does operations one after the other: microbenchmarks, mixes of exits, IPIs from one vCPU to another.

operation_workload.py    what the file says of them
operation_steps.py       their steps, flat, with their costs
operation_timeline.py    → exits of each vCPU and of its peer
vmexit_loop.py           → what the guest prints
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmtrace.synth.blocks import ModelRecording
from kvmtrace.synth.engine import Engine, Run
from kvmtrace.synth.engines.operation_timeline import Timeline
from kvmtrace.synth.engines.operation_workload import GIVEN, OperationLoopSetting
from kvmtrace.synth.engines.vmexit_loop import benchmark_table
from kvmtrace.synth.exit_scripts import compiled
from kvmtrace.synth.machine import vcpu_threads

if TYPE_CHECKING:
    from kvmtrace.recording import Content


def contents(run: Run) -> list[Content]:
    """Return the recording, and what the guest prints."""
    setting = run.setting
    if not isinstance(setting, OperationLoopSetting):
        raise TypeError(f"expected a setting of {ENGINE.name}, found one of {type(setting).__name__}")
    scripts = compiled(setting, GIVEN)
    threads = vcpu_threads(setting.platform)
    recording = ModelRecording(run, scripts, threads, lambda: Timeline(run, setting, scripts, threads).windows())
    done = [operation for operation in setting.workload.operations.values() if operation.weight]
    unseen = {step.unseen: None for operation in done for step in operation.steps if step.unseen}
    recording.facts.left_out += unseen
    return [recording, *benchmark_table(run, setting, scripts)]


ENGINE = Engine(
    "operation-loop",
    "a guest that does operations one after the other",
    OperationLoopSetting,
    contents,
)
