"""The scripts that an exit needs beside its own: without its entry, and with an EOI of PV EOI that it finds.

Where an interrupt is injected, its events stand between an exit's and the entry, so these are told one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmtrace.synth.engines.interrupts_workload import GIVEN
from kvmtrace.synth.exit_scripts import ISAS, Scripts, compiled
from kvmtrace.synth.model import Cost, Event, Exit, Sequence

if TYPE_CHECKING:
    from kvmtrace.synth.engines.interrupts_workload import InterruptsSetting

ENTRY = "/entry"
OPEN = "/open"
FOUND = "/found"
"""No name of a file has a slash."""

_KERNEL_TEXT = 0xFFFF_FFFF_8100_0000
_STEP = 0x1000
_INSTRUCTION_BYTES = 2
_INTERRUPTED = 0xFFFF_FFFF_81A1_7A0B


def scripts_of(setting: InterruptsSetting) -> Scripts:
    """Return the scripts of a setting: NAME, NAME/open, NAME/found and NAME/found/open of each exit, and /entry."""
    work = setting.workload
    found = setting.sequences[work.pv_eoi].events if work.pv_eoi and not work.pv_eoi_before_exit else []
    exits: dict[str, Exit] = {}
    for number, (name, own) in enumerate(setting.exits.items()):
        placed = _at_one_place(own, number)
        exits[name] = placed
        exits[name + OPEN] = placed.model_copy(update={"entry": False})
        if found:
            finding = placed.model_copy(update={"events": [*_before(found, own.events), *own.events]})
            exits[name + FOUND] = finding
            exits[name + FOUND + OPEN] = finding.model_copy(update={"entry": False})
    entry = Event(event=ISAS[setting.platform.isa].entry_event, at=0.0, fields={"rip": _INTERRUPTED})
    nothing = Cost(mean=0.0, unit="ns")
    sequences = {**setting.sequences, ENTRY: Sequence(span=nothing, events=[entry])}
    return compiled(setting.model_copy(update={"exits": exits, "sequences": sequences}), GIVEN)


def _at_one_place(own: Exit, number: int) -> Exit:
    """Return the exit with an instruction pointer of its own, the same in all of its scripts."""
    pc = _KERNEL_TEXT + number * _STEP
    return own.model_copy(
        update={
            "fields": {"guest_rip": pc, **own.fields},
            "entry_fields": {"rip": pc + _INSTRUCTION_BYTES, **own.entry_fields},
        }
    )


def _before(found: list[Event], own: list[Event]) -> list[Event]:
    """Return events with times before the first of the exit's own."""
    first = own[0].at if own else 1.0
    return [event.model_copy(update={"at": event.at * first}) for event in found]
