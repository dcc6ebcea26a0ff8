"""What a model says of itself: where its figures come from, its variants, and what it is held to.

purpose = "…"                     one line
engine = "interrupts"             the dynamics (engines/)
applies_when = "…"                where the optimisation does anything
[[source]]                        documents, and which of their figures
[platform], [exits.NAME], [sequences.NAME], [workload]      model.py
[variants.NAME]                   what it is, and what differs: any of platform, exits, sequences, workload
[[published]]                     a figure of the source that the model must reproduce
[[assumed]]                       what no source says, and why it is so here
[effect]                          effect.py: whether the effect is local to single exits, and what it does to them
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from kvmtrace.checked_toml import Strict, Text, unknown, wrong
from kvmtrace.synth.effect import Effect
from kvmtrace.synth.model import Name, NotNegative, Seconds


class Source(Strict):
    """A document that the model is made from."""

    document: Text
    figures: Text  # which of its figures
    link: str = ""


class Published(Strict):
    """A figure of a source, and how near the model must come to it."""

    name: Text
    variant: Name
    value: Annotated[float, Field(allow_inf_nan=False)]
    unit: Text
    measure: Text  # SQL over the store of one variant's runs: one number
    against: Name | None = None  # the variant that `compare` compares with
    compare: Literal["ratio", "gain", "difference"] | None = None
    tolerance_percent: NotNegative | None = None  # of value
    within_factor: Annotated[float, Field(gt=1, le=1e6)] | None = None
    bound: Literal["at least", "at most"] | None = None
    seconds: Seconds | None = None  # of the recordings that it is measured on
    because: Text  # why this tolerance
    source: Text  # where the figure stands
    missed: Text | None = None  # why the model is known not to come so near

    @model_validator(mode="after")
    def _one_tolerance(self) -> Self:
        if (self.against is None) != (self.compare is None):
            raise wrong("against and compare go together")
        if sum(way is not None for way in (self.tolerance_percent, self.within_factor, self.bound)) != 1:
            raise wrong("expected one of tolerance_percent, within_factor and bound")
        return self

    def holds(self, modelled: float) -> bool:
        """Tell whether a figure of the model is near enough."""
        if self.bound is not None:
            return modelled >= self.value if self.bound == "at least" else modelled <= self.value
        if self.within_factor is not None:
            ratio = modelled / self.value if self.value else 0.0
            return 1 / self.within_factor <= ratio <= self.within_factor
        return abs(modelled - self.value) <= abs(self.value) * (self.tolerance_percent or 0.0) / 100


class Assumed(Strict):
    """What no source says."""

    what: Text
    because: Text


class Variant(Strict):
    """One side of a model: what differs from what the file says for all."""

    what: Text
    platform: dict[str, Any] = Field(default_factory=dict)
    exits: dict[str, Any] = Field(default_factory=dict)
    sequences: dict[str, Any] = Field(default_factory=dict)
    workload: dict[str, Any] = Field(default_factory=dict)


class Header(Strict):
    """A model without what its variants are made of."""

    purpose: Text
    engine: Text
    source: Annotated[list[Source], Field(min_length=1)]
    variants: dict[Name, Variant]
    published: list[Published] = Field(default_factory=list)
    assumed: list[Assumed] = Field(default_factory=list)
    effect: Effect
    applies_when: str = ""
    platform: dict[str, Any]
    exits: dict[str, Any] = Field(default_factory=dict)
    sequences: dict[str, Any] = Field(default_factory=dict)
    workload: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _variants_are_there(self) -> Self:
        if len(self.variants) < 2:  # noqa: PLR2004 - with and without
            raise wrong("expected two variants or more: with the optimisation and without", "variants")
        for index, figure in enumerate(self.published):
            for key in ("variant", "against"):
                name = getattr(figure, key)
                if name is not None and name not in self.variants:
                    raise unknown(name, set(self.variants), "variant", "published", str(index), key)
        for key in ("base", "new"):
            name = getattr(self.effect, key)
            if name is not None and name not in self.variants:
                raise unknown(name, set(self.variants), "variant", "effect", key)
        return self
