"""The exits and entries that every synthetic file holds: the same events for the same number and seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from benchmarks.recording_builder import MadeTracepoint, Recording
from benchmarks.svm_vcpu import CPUS, THREADS, VcpuSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Records = NDArray[np.void]

HOSTNAME = "synthetic"


@dataclass(frozen=True, slots=True)
class SyntheticEvents:
    """Samples of kvm_exit and kvm_entry, not yet made; `recording` says of which machine they are."""

    recording: Recording
    exits: MadeTracepoint
    entries: MadeTracepoint
    samples: int
    seed: int

    @classmethod
    def of(cls, samples: int, seed: int) -> Self:
        """Return what makes `samples` samples. ValueError: an odd number, for they come in pairs."""
        if samples % 2:
            raise ValueError(f"expected an even number of samples, found {samples}")
        recording = Recording(cpus=CPUS, hostname=HOSTNAME)
        exits = recording.add_tracepoint("kvm", "kvm_exit")
        entries = recording.add_tracepoint("kvm", "kvm_entry")
        return cls(recording, exits, entries, samples, seed)

    def windows(self, ready: Callable[[Records, int], NDArray[np.bool]]) -> Iterator[list[Records]]:
        """Yield the records window after window, those of a window in any order.

        `ready` says which records go with the window that is complete up to a time; the last window takes the rest.
        """
        pairs = self.samples // 2
        shares = [pairs // len(THREADS) + (index < pairs % len(THREADS)) for index in range(len(THREADS))]
        vcpus = [VcpuSource(index, share, self.seed, self.exits, self.entries) for index, share in enumerate(shares)]
        held: list[Records] = []
        while left := [vcpu for vcpu in vcpus if vcpu.pairs_left]:
            held += min(left, key=lambda vcpu: vcpu.clock_ns).next_chunk()
            complete_ns = min((vcpu.clock_ns for vcpu in vcpus if vcpu.pairs_left), default=None)
            window = []
            for index, records in enumerate(held):
                done = np.ones(len(records), bool) if complete_ns is None else ready(records, complete_ns)
                window.append(_selected(records, done))
                held[index] = _selected(records, ~done)
            held = [records for records in held if len(records)]
            yield window

    def in_time(self) -> Iterator[list[Records]]:
        """Yield windows of which each ends before the next begins."""
        return self.windows(lambda records, complete_ns: records["ts_ns"].astype(np.int64) < complete_ns)


def _selected(records: Records, chosen: NDArray[np.bool]) -> Records:
    """Return the chosen records, copied as plain bytes: by field, numpy would leave the padding as it finds it."""
    return records.view(np.dtype((np.void, records.dtype.itemsize)))[chosen].view(records.dtype)


def column(parts: list[Records], name: str) -> NDArray[np.int64]:
    """Return one integer of all records of a window."""
    return np.concatenate([records[name].astype(np.int64) for records in parts])
