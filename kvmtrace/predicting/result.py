"""What a prediction says: what goes, what is saved, how sure that is, and what had to be assumed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmtrace.stats.estimate import Estimate
    from kvmtrace.store.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Effect:
    """Sums over exits of one kind, with the change; times in ns. None: not told by the recording."""

    matching: int  # exits that meet a condition
    stay: float | None  # of them, as they are
    gone: float | None  # exits fewer; below 0: more
    saved_ns: float | None  # time out of the guest less, of exits that have one
    outside_ns: float | None  # time less outside of the recorded one; None: nothing is said of it
    most_gone: int  # if none of them stayed
    most_saved_ns: float  # and what is left of them cost nothing
    most_outside_ns: float  # outside of the recorded time too

    @property
    def net_ns(self) -> float | None:
        """Time less in all, as far as anything is said of what lies outside of the recorded time."""
        return None if self.saved_ns is None else self.saved_ns + (self.outside_ns or 0.0)

    @property
    def most_net_ns(self) -> float:
        """Upper bound of it."""
        return self.most_saved_ns + self.most_outside_ns


@dataclass(frozen=True, slots=True)
class ChangeResult:
    """What one change of a model does to one exit reason."""

    model: str
    change: str
    action: str
    to: str | None
    reason: str | None
    matching_ns: float  # recorded time out of the guest of the matching exits
    matching_timed: int  # matching exits that have a time
    unseen_ns: float | None  # what each still costs outside of the recorded time; None: nothing is said of it
    effect: Effect


@dataclass(frozen=True, slots=True)
class VcpuResult:
    """What all changes do for one vCPU."""

    vm_id: str | None
    vcpu: int | None
    out_ns: float  # time out of the guest as recorded, without idle exits
    effect: Effect


class Assumption(NamedTuple):
    """What a prediction takes for granted."""

    about: str
    text: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A model, or a change of it, that is not applied, and why."""

    model: str
    why: str
    change: str | None = None


@dataclass(frozen=True, slots=True)
class Measures:
    """Figures with intervals, of the whole run; None: not recorded, or not told.

    Rates are per second of the recording, shares of the recorded time of all vCPUs.
    """

    gone_per_s: Estimate | None = None
    saved_ns_per_s: Estimate | None = None  # out of the guest, as a recording would show it
    net_ns_per_s: Estimate | None = None  # with what lies outside of the recorded time
    exits_per_s: Estimate | None = None  # with the changes, idle ones too
    out_share: Estimate | None = None  # of all vCPUs' time, out of the guest, with the changes; without idle exits
    exits_per_injection: Estimate | None = None  # with the changes, idle ones too


@dataclass(frozen=True, slots=True)
class Prediction:
    """What models would do to a run."""

    manifest: Manifest
    title: str  # what the run is called: its label, or its source
    models: tuple[str, ...]  # that were applied
    refused: tuple[Refused, ...]
    cautions: tuple[str, ...]
    assumptions: tuple[Assumption, ...]
    exits: int  # all of the run
    injections: int | None  # None: not recorded, or nothing is predicted
    out_ns: float | None  # time out of the guest, without idle exits; None: nothing is predicted, so nobody looked
    time_ns: int | None  # that rates are per
    time_is: str  # enabled, elapsed
    vcpus: tuple[VcpuResult, ...]
    changes: tuple[ChangeResult, ...]
    total: Effect
    measures: Measures
    blocks: int  # of time, which the intervals come from
    block_ns: float

    @property
    def seconds(self) -> float | None:
        """Time that rates are per, in s."""
        return self.time_ns / 1e9 if self.time_ns else None

    @property
    def vcpu_ns(self) -> int | None:
        """Time of all vCPUs; None: the recording does not tell of every exit whose it is, or has no time."""
        count = vcpu_count(self.vcpus)
        return self.time_ns * count if self.time_ns and count else None


def vcpu_count(vcpus: Sequence[VcpuResult]) -> int | None:
    """Return how many vCPUs have exits; None: of some exits it is not told."""
    return None if not vcpus or any(each.vcpu is None for each in vcpus) else len(vcpus)
