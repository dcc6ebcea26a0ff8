"""What an optimisation does to single exits, so that it can be applied to the exits of a recording (whatif).

[effect]
scope = "local"                   or "global" (who runs when changes), or "outside exits"
because = "…"
base = "off"                      the variant that the effect leads from, and the one that it leads to
new = "on"
[[effect.requires]]               what must hold on a recording for the effect to do anything
[[effect.change]]                 exits that match, and what becomes of them

A condition is an SQL expression over the columns of one exit (docs/store.md) and of its own events: kvm_mmio.n is how
many of them fired in the exit, kvm_mmio.type a field of the first. Every tracepoint that it speaks of, or that columns
of it come from, stands in `needs`: where that was not recorded, nobody can say whether an exit matches.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from kvmtrace.checked_toml import Strict, Text, wrong
from kvmtrace.synth.model import Cost, EventName, Name

Factor = Annotated[float, Field(ge=0, le=1e6)]

_TIMES = ("cost", "factor", "saves")
_KEYS = {
    "remove": frozenset[str](),
    "rescale": frozenset(_TIMES),
    "move": frozenset({"to", *_TIMES}),
    "add": frozenset({"to", "cost"}),
}
"""Action → the keys that say what it does."""
_ASKS = {"move": "to", "add": "to"}


class Requirement(Strict):
    """What must hold on a recording."""

    what: Text  # in words, as it is when it holds
    holds: Text  # SQL over the store: one truth value of the run $run_id; null: cannot be told
    needs: list[EventName] = Field(default_factory=list)
    because: str = ""


class Change(Strict):
    """What becomes of the exits that match a condition."""

    name: Text
    where: Text  # SQL over one exit and its own events
    needs: list[EventName] = Field(default_factory=list)
    action: Literal["remove", "rescale", "move", "add"]
    cost: Cost | None = None  # time out of the guest with the change: its mean
    factor: Factor | None = None  # that time, as part of the recorded one
    saves: Cost | None = None  # what is left out of the recorded time: its mean, at most all of it
    to: Text | None = None  # exit reason of what comes instead, or in addition
    stays: float | Text = 0.0  # matching exits that stay as they are: share, condition, or SELECT of a share
    outside_before: Cost | None = None  # what each costs outside of the recorded time, without the change
    outside_after: Cost | None = None  # and with it
    because: Text

    @model_validator(mode="after")
    def _says_what_it_does(self) -> Self:
        given = {key for key in ("to", *_TIMES) if getattr(self, key) is not None}
        for key in sorted(given - _KEYS[self.action]):
            raise wrong(f"{key} does not go with {self.action}", key)
        if self.action in _ASKS and self.to is None:
            raise wrong(f"{self.action} needs to: the exit reason")
        times = [key for key in _TIMES if key in given]
        if self.action != "remove" and len(times) != 1:
            raise wrong(f"{self.action} needs one of {', '.join(sorted(_KEYS[self.action] & set(_TIMES)))}")
        if isinstance(self.stays, float | int) and not 0 <= self.stays <= 1:
            raise wrong(f"expected a share of 0 to 1, a condition or a SELECT, found {self.stays}", "stays")
        return self


class Effect(Strict):
    """Whether the optimisation acts on single exits (local), on the whole (global), or outside exits."""

    scope: Literal["local", "global", "outside exits"]
    because: Text
    base: Name | None = None
    new: Name | None = None
    requires: list[Requirement] = Field(default_factory=list)
    change: list[Change] = Field(default_factory=list)

    @model_validator(mode="after")
    def _local_only(self) -> Self:
        if self.scope != "local" and (self.change or self.requires or self.base or self.new):
            key = next(key for key in ("change", "requires", "base", "new") if getattr(self, key))
            raise wrong(f'{key} goes with scope = "local": an effect that is {self.scope} is not predicted', key)
        if (self.base is None) != (self.new is None):
            raise wrong("base and new go together")
        return self
