"""Makes the lines of a comparison: the whole, each exit reason, each event, each figure of somebody else."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from kvmtrace.comparing import terms
from kvmtrace.comparing.denominators import INJECTION
from kvmtrace.comparing.expressions import NOT_IDLE
from kvmtrace.comparing.lines import Line, Options, Section
from kvmtrace.comparing.run_data import NotRecordedError
from kvmtrace.comparing.sides import Side, estimate
from kvmtrace.exit_keys import By

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from kvmtrace.comparing.run_data import Column, Where
    from kvmtrace.comparing.terms import Term
    from kvmtrace.exit_keys import Key

    _TermOf = Callable[[Where], Term]

_KEY_FIELDS = {
    By.REASON: ("reason",),
    By.DETAIL: ("detail_kind", "detail", "detail_capped"),
    By.VCPU: ("vcpu",),
    By.VM: ("vm_id",),
    By.CPU: ("cpu",),
}
PORT_IO = "kvm_pio"
"""Accesses to ports are the guest's own work: where they change, the work changed, whatever the host does."""
EXIT = "kvm_exit"
USERSPACE = "kvm_userspace_exit"
_PERCENTILES = {"p50": 0.5, "p99": 0.99}
Keyed = tuple["Key", bool, "Where"]
"""A key, whether its exits are idle, and what tells them apart."""


@dataclass(frozen=True, slots=True)
class Tables:
    """Makes the lines of a comparison."""

    base: Side
    new: Side
    options: Options

    @property
    def _sides(self) -> tuple[Side, Side]:
        return self.base, self.new

    def _line(self, name: str, unit: str, term: Term, count: Term | None = None) -> Line:
        found = estimate(term, self.base, self.new, self.options.level)
        counts = [None if count is None else _total(side, count) for side in self._sides]
        return Line(name, unit, found, base_n=counts[0], new_n=counts[1])

    def _event(self, event: str, words: str) -> Line:
        per = self.options.per
        return self._line(words, f"per {per.words}", terms.over(terms.Events(event), per.term), terms.Events(event))

    def _all(self, attribute: str) -> bool:
        return all(getattr(run, attribute) is not None for side in self._sides for run in side.runs)

    def _have(self, name: str) -> bool:
        return all(name in run.events for side in self._sides for run in side.runs)

    def headlines(self) -> Iterator[Line]:
        """Give the whole: per what was asked for, per injected interrupt, and without the guest's own port I/O."""
        exits = self._all_exits()
        told = exits is not None and any(_total(side, exits) for side in self._sides)
        if not told and (event := self._most_frequent()) is not None:
            # A kernel's back end of KVM may tell no exits: its events are the answer then.
            yield self._event(event, "exits to userspace" if event == USERSPACE else event)
            return
        if exits is None:
            yield from self._only_figure()
            return
        per = self.options.per
        yield self._line("exits", f"per {per.words}", terms.over(exits, per.term), exits)
        if self._have(INJECTION):
            injected = terms.Events(INJECTION)
            words = "per injected interrupt"
            if per.event != INJECTION:
                yield self._line("exits", words, terms.over(exits, injected), exits)
            if self._have(PORT_IO):
                without = terms.Operation("-", exits, terms.Events(PORT_IO))
                yield self._line("exits without port I/O", words, terms.over(without, injected), without)
        if self._have(USERSPACE) and any(_total(side, terms.Events(USERSPACE)) for side in self._sides):
            yield self._event(USERSPACE, "exits to userspace")

    def _all_exits(self) -> Term | None:
        if self._all("keyed"):
            return terms.Exits()
        return terms.Events(EXIT) if self._have(EXIT) else None

    def _most_frequent(self) -> str | None:
        """Return the event of KVM that all runs tell and that fired most; None: there is none, or they are figures."""
        if any(run.manifest.kind != "recording" for side in self._sides for run in side.runs):
            return None
        kvm = [name for name in self._event_names() if name.startswith("kvm") and self._have(name)]
        fired = {name: sum(_total(side, terms.Events(name)) or 0 for side in self._sides) for name in kvm}
        if fired.get(f"kvm:{USERSPACE}"):
            return USERSPACE
        return max((name for name in kvm if fired[name]), key=lambda name: fired[name], default=None)

    def _only_figure(self) -> Iterator[Line]:
        """Give the one figure that there is, where there is one only."""
        names = list(self._figures())
        if len(names) == 1:
            yield self._line(names[0], self._unit(names[0]), terms.Figure(names[0]))

    def sections(self) -> Iterator[Section]:
        """Give the tables."""
        if self._all("keyed"):
            yield from self._of_exits()
        if self.options.events or not self._all("keyed"):
            yield self._of_events(self._event_names())
        if figures := sorted(self._figures()):
            lines = tuple(self._line(name, self._unit(name), terms.Figure(name)) for name in figures)
            yield Section("Figures as their sources give them", "figure", "", (), lines)

    def _figures(self) -> set[str]:
        """Return the names of figures that are no counts: what somebody else measured."""
        runs = [run for side in self._sides for run in side.runs]
        return {name for run in runs for name in run.figures if name not in run.events or name in run.unit_of}

    def _event_names(self) -> list[str]:
        """Return what is counted on either side, without the short names by which system:event goes as well."""
        runs = [run for side in self._sides for run in side.runs]
        named = {name for run in runs for name in run.events}
        return sorted(named - {name.partition(":")[2] for name in named})

    def _unit(self, name: str) -> str:
        units = {run.unit_of.get(name) for side in self._sides for run in side.runs} - {None}
        return " or ".join(sorted(map(str, units)))

    def _of_events(self, names: Iterable[str]) -> Section:
        per = self.options.per
        lines = [self._event(name, name) for name in names]
        fired = [line for line in lines if line.base_n or line.new_n]
        fired.sort(key=lambda line: -max(line.base_n or 0, line.new_n or 0))
        return Section(f"Events per {per.words}", "events", f"per {per.words}", (), tuple(fired))

    def _of_exits(self) -> Iterator[Section]:
        per, by = self.options.per, self.options.by
        keys = self._keys()
        counted = [self._keyed(key, idle, f"per {per.words}", terms.over(terms.Exits("n", where), per.term), where)
                   for key, idle, where in keys]  # fmt: skip
        yield Section(f"Exits per {per.words}", "exits", f"per {per.words}", by, tuple(counted))
        yield from self._of_userspace(keys)
        costly = [(key, idle, where) for key, idle, where in keys if self.options.with_idle or not idle]
        every: Where = () if self.options.with_idle else NOT_IDLE
        unit = f"ns per {per.words}"
        time_lines = [
            self._line("all exits", unit, terms.over(terms.Exits("sum_ns", every), per.term), terms.Exits("n", every))
        ]
        time_lines += [self._keyed(key, idle, unit, terms.over(terms.Exits("sum_ns", where), per.term), where)
                       for key, idle, where in costly]  # fmt: skip
        yield Section(f"Time out of the guest per {per.words}", "out_of_guest_ns", unit, by, tuple(time_lines))
        yield from self._latencies(costly, every)

    def _of_userspace(self, keys: list[Keyed]) -> Iterator[Section]:
        """Give the exits that went to the VMM, of keys that have any; nothing where a side does not tell."""
        per = self.options.per
        lines = []
        for key, idle, where in keys:
            term = terms.Exits("userspace", where)
            counts = [_total(side, term) for side in self._sides]
            if None in counts:
                return
            if any(counts):
                line = self._line("", f"per {per.words}", terms.over(term, per.term), term)
                lines.append(replace(line, key=key, idle=idle))
        unit = f"per {per.words}"
        yield Section(f"Exits to userspace {unit}", "userspace_exits", unit, self.options.by, tuple(lines))

    def _latencies(self, keys: list[Keyed], every: Where) -> Iterator[Section]:
        def section(title: str, quantity: str, of: _TermOf) -> Section:
            lines = [self._line("all exits", "ns", of(every), terms.Exits("timed", every))]
            lines += [self._keyed(key, idle, "ns", of(where), where, "timed") for key, idle, where in keys]
            return Section(title, quantity, "ns", self.options.by, tuple(lines))

        yield section(
            "Mean latency", "mean_ns", lambda w: terms.over(terms.Exits("sum_ns", w), terms.Exits("timed", w))
        )
        if wants_latency(self.options):
            for name, share in _PERCENTILES.items():
                yield section(f"{name} of the latency", f"{name}_ns", partial(terms.Percentile, share))

    def _keyed(self, key: Key, idle: bool, unit: str, term: Term, where: Where, counted: Column = "n") -> Line:
        return replace(self._line("", unit, term, terms.Exits(counted, where)), key=key, idle=idle)

    def _keys(self) -> list[Keyed]:
        """Return the keys of both sides as they are told apart, those of most exits first."""
        found: dict[Where, tuple[Key, bool, float]] = {}
        names = [name for by in self.options.by for name in _KEY_FIELDS[by]]
        for run in (run for side in self._sides for run in side.runs):
            for each in run.keyed or ():
                where = (*((name, getattr(each.key, name)) for name in names), ("idle", each.idle))
                before = found.get(where, (each.key, each.idle, 0.0))
                found[where] = (*before[:2], before[2] + float(each.exits.n.sum()))
        order = sorted(found.items(), key=lambda item: (-item[1][2], str(item[0])))
        return [(key, idle, where) for where, (key, idle, _) in order]


def wants_latency(options: Options) -> bool:
    """Tell whether percentiles are compared: of reasons only, for the sums of others would be too many."""
    return set(options.by) <= {By.REASON}


def _total(side: Side, count: Term) -> float | None:
    try:
        return sum(side.values(count))
    except NotRecordedError:
        return None
