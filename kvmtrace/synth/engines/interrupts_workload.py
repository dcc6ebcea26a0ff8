"""What the files of interrupts models say of the guest, its interrupts and its other exits.

    [workload]
    kick, window, eoi = EXIT          a running vCPU is told; the guest can be interrupted again; an EOI is written
    injection = SEQUENCE              an interrupt is injected, before the entry
    pv_eoi = SEQUENCE                 what fires where an EOI without an exit is noticed; without it all EOIs exit
    pv_eoi_before_exit = true         it fires before the exit's own event, as on SVM in Linux 6.1; else behind it
    halt = EXIT, wakeup = SEQUENCE    an idle guest halts, `before_halt` after its last work; half of what
                                      the exit costs comes before the wait, half after it. Without it it never halts
    late = { chance = …, time = COST }  the host runs something else while an interrupt is injected
    [workload.sources.NAME]           an interrupt of every vCPU
    vector, until_eoi, after_eoi      its handler: time to the EOI, and from there to its end
    arrivals = ARRIVALS               it comes at its own times; or the next one comes after the last was handled,
    think = COST | work = COST        so much later, or when the guest did so much of its own work
    delivered = SEQUENCE | accepted = SEQUENCE  by another thread; or by the vCPU's own, which is its timer
    masked = false                    its handler can be interrupted by vectors of a higher priority class
    level = true                      the IOAPIC wants its EOI, so that it is never one of PV EOI
    [workload.background.NAME]        other exits: exit, arrivals, by = "guest" | "host", raises = SOURCE

What the engine gives to fields: $vector, $ended (vector, in pv_eoi), $vcpu, $msi_address, $coalesced, $reinjected (of
an injection), $wait_ns (of a wakeup).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from kvmtrace.checked_toml import Strict, unknown, wrong
from kvmtrace.synth.exit_scripts import compiled
from kvmtrace.synth.model import Arrivals, Cost, Name, Setting, Share, Workload

if TYPE_CHECKING:
    from collections.abc import Iterator

GIVEN = frozenset({"vector", "ended", "vcpu", "msi_address", "coalesced", "reinjected", "wait_ns"})
_NOTHING = Cost(mean=0.0, unit="ns")


class InterruptSource(Strict):
    """What raises interrupts of one vector, and what the guest does with them."""

    vector: Annotated[int, Field(ge=16, le=255)]
    until_eoi: Cost
    after_eoi: Cost = _NOTHING
    arrivals: Arrivals | None = None
    think: Cost | None = None
    work: Cost | None = None
    delivered: Name | None = None
    accepted: Name | None = None
    masked: bool = True
    level: bool = False

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        comes = sum(way is not None for way in (self.arrivals, self.think, self.work))
        if comes > 1:
            raise wrong("expected one of arrivals, think and work")
        if (self.delivered is not None) + (self.accepted is not None) != comes:
            raise wrong(
                "an interrupt with arrivals, think or work has one of delivered and accepted; a raised one neither"
            )
        return self


class Background(Strict):
    """Exits beside those of interrupts: the guest's own, or the host's, which a halted vCPU does not see."""

    exit: Name
    arrivals: Arrivals
    by: Literal["guest", "host"] = "guest"
    raises: Name | None = None


class Late(Strict):
    """The host does something else while an interrupt is injected."""

    chance: Share
    time: Cost


class InterruptsWorkload(Workload):
    """Interrupts and other exits of every vCPU."""

    kick: Name
    window: Name
    eoi: Name
    injection: Name
    pv_eoi: Name | None = None
    pv_eoi_before_exit: bool = False
    halt: Name | None = None
    wakeup: Name | None = None
    before_halt: Cost = _NOTHING
    late: Late | None = None
    sources: Annotated[dict[Name, InterruptSource], Field(min_length=1)]
    background: dict[Name, Background] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.halt is None) != (self.wakeup is None):
            raise wrong("halt and wakeup go together")
        owners: dict[int, str] = {}
        for name, source in self.sources.items():
            if owners.setdefault(source.vector, name) != name:
                raise wrong(f"{owners[source.vector]} has this vector", "sources", name, "vector")
        for name, each in self.background.items():
            if each.raises is not None and each.raises not in self.sources:
                raise unknown(each.raises, set(self.sources), "source", "background", name, "raises")
        return self


class InterruptsSetting(Setting):
    """A setting whose exits and sequences are there."""

    workload: InterruptsWorkload

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        if self.platform.arch != "x86_64":
            raise wrong("interrupts are those of an x86 local APIC: expected x86_64", "platform", "arch")
        for name, place in self._exit_names():
            if name not in self.exits:
                raise unknown(name, set(self.exits), "exit", *place)
            if not self.exits[name].entry:
                raise wrong(f"exit {name} has no entry, which this engine needs", "exits", name, "entry")
        for name, place in self._sequence_names():
            if name not in self.sequences:
                raise unknown(name, set(self.sequences) or {"one"}, "sequence", *place)
        compiled(self, GIVEN)
        return self

    def _exit_names(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        work = self.workload
        for key in ("kick", "window", "eoi", "halt"):
            if getattr(work, key) is not None:
                yield getattr(work, key), ("workload", key)
        for name, each in work.background.items():
            yield each.exit, ("workload", "background", name, "exit")

    def _sequence_names(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        work = self.workload
        for key in ("injection", "pv_eoi", "wakeup"):
            if getattr(work, key) is not None:
                yield getattr(work, key), ("workload", key)
        for name, source in work.sources.items():
            for key in ("delivered", "accepted"):
                if getattr(source, key) is not None:
                    yield getattr(source, key), ("workload", "sources", name, key)
