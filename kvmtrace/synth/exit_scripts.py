"""Exits and sequences with their events, compiled: which events, how far into the time, with which fields.

A script is what fires one after the other: in an exit its own event, those inside, and the entry. All scripts of a
setting lie behind each other in flat arrays of steps; each step has a row of its event's template, in which all fields
that do not change are filled in. An event that the kernel does not have is left out, and so is a field that its layout
of the event does not have.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from kvmtrace.checked_toml import unknown, wrong
from kvmtrace.recording import EventKind
from kvmtrace.synth import event_formats
from kvmtrace.synth.machine import byte_order
from kvmtrace.synth.model import Choice, Event, FieldValue, Setting, Share
from kvmtrace.tracepoints import FieldShape, field_symbols
from kvmtrace.tracepoints.records import FieldLayout

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from kvmtrace.synth.costs import Distribution
    from kvmtrace.tracepoints import EventFormat

Records = Any  # NDArray[np.void]
_VCPU_FIELDS = ("vcpu_id", "vcpu", "vcpuid")
_TEXT_BASE = 0xFFFF_FFFF_8100_0000  # where a guest's kernel lies on x86-64
_TEXT_STEP = 0x40
_GUEST_PC = 0xC000_0000_0001_0000
_INSTRUCTION_BYTES = {"x86_64": 2, "ppc64le": 4, "ppc64": 4}


@dataclass(frozen=True, slots=True)
class Isa:
    """The events at both ends of an exit, and how the first tells the reason."""

    exit_event: str
    entry_event: str
    reason_field: str
    number: int | None  # the value of its field isa


ISAS = {
    "VMX": Isa("kvm:kvm_exit", "kvm:kvm_entry", "exit_reason", 1),
    "SVM": Isa("kvm:kvm_exit", "kvm:kvm_entry", "exit_reason", 2),
    "book3s-hv": Isa("kvm_hv:kvm_guest_exit", "kvm_hv:kvm_guest_enter", "trap", None),
}


@dataclass(slots=True)
class Kind:
    """A tracepoint of the recording: its layout, and one template row for each step that fires it."""

    event: EventKind
    text: str
    layout: FieldLayout
    records: Any  # numpy dtype of a whole record, common fields included
    rows: list[Records] = field(default_factory=list)
    vcpu_field: str | None = None


@dataclass(slots=True)
class _Step:
    kind: int
    row: int  # of the kind's template
    at: float
    chance: float
    choices: dict[str, Choice]
    given: dict[str, str]  # field → name of the engine's value

    @property
    def changes(self) -> bool:
        """Some field is another each time."""
        return bool(self.choices or self.given)


@dataclass(slots=True)
class Scripts:
    """All scripts of a setting."""

    kinds: list[Kind]
    names: dict[str, int]  # of exits, then of sequences: no name is of both
    costs: list[Distribution]
    first: NDArray[np.int64]  # step of each script
    count: NDArray[np.int64]
    steps: list[_Step]

    def step_column(self, name: str, kind: str) -> NDArray[Any]:
        """Return one number of every step."""
        return np.array([getattr(step, name) for step in self.steps], kind)


def compiled(setting: Setting, given: frozenset[str] = frozenset()) -> Scripts:
    """Return the scripts of a setting; `given` are the values that the engine knows ("$name" in the file).

    PydanticCustomError: an event, field, reason or value that nobody knows, with its place.
    """
    compiler = _Compiler(setting, given)
    names: dict[str, int] = {}
    costs, first, count = [], [], []
    for section, name, cost in _sections(setting):
        if name in names:
            raise wrong(f"{name!r} is an exit and a sequence", section, name)
        names[name] = len(names)
        start = len(compiler.steps)
        compiler.add(section, name)
        first.append(start)
        count.append(len(compiler.steps) - start)
        costs.append(cost)
    for event in setting.platform.events:
        compiler.kind(event, ("platform", "events"))
    return Scripts(compiler.kinds, names, costs, np.array(first), np.array(count), compiler.steps)


def _sections(setting: Setting) -> list[tuple[str, str, Distribution]]:
    clock_hz = setting.platform.clock_hz
    exits = [("exits", name, each.cost.distribution(clock_hz)) for name, each in setting.exits.items()]
    return exits + [("sequences", name, each.span.distribution(clock_hz)) for name, each in setting.sequences.items()]


class _Compiler:
    def __init__(self, setting: Setting, given: frozenset[str]) -> None:
        self._setting = setting
        self._given = given
        self._platform = setting.platform
        if setting.platform.isa not in ISAS:
            raise wrong(f"a model with exits has one of {', '.join(ISAS)}", "platform", "isa")
        self._isa = ISAS[setting.platform.isa]
        self._indexes: dict[str, int | None] = {}
        self.kinds: list[Kind] = []
        self.steps: list[_Step] = []

    def add(self, section: str, name: str) -> None:
        """Compile one exit or sequence."""
        if section == "sequences":
            self._events(self._setting.sequences[name].events, (section, name))
            return
        spec = self._setting.exits[name]
        place = (section, name)
        pc = _TEXT_BASE if self._platform.arch == "x86_64" else _GUEST_PC
        pc += len(self.steps) * _TEXT_STEP
        opening: dict[str, FieldValue] = {
            self._isa.reason_field: self._reason(spec.reason, place),
            "guest_rip": pc,
            "pc": pc,
        }
        if self._isa.number is not None:
            opening["isa"] = self._isa.number
        self._step(self._isa.exit_event, 0.0, 1.0, spec.fields, place, opening)
        self._events(spec.events, place)
        if spec.entry:
            after = pc + _INSTRUCTION_BYTES[self._platform.arch]
            entry = {"rip": after, "pc": after}
            self._step(self._isa.entry_event, 1.0, 1.0, spec.entry_fields, place, entry, "entry_fields")

    def _events(self, events: list[Event], place: tuple[str, ...]) -> None:
        reached = 0.0
        for number, event in enumerate(events):
            own = (*place, "events", str(number))
            if event.at < reached:
                raise wrong("events stand in the order of their times", *own, "at")
            reached = event.at
            self._step(event.event, event.at, event.chance, event.fields, own, {})

    def _step(
        self,
        event: str,
        at: Share,
        chance: Share,
        fields: Mapping[str, FieldValue],
        place: tuple[str, ...],
        known: Mapping[str, FieldValue],
        key: str = "fields",
    ) -> None:
        index = self.kind(event, place if len(place) == 2 else (*place, "event"))  # noqa: PLR2004 - an exit's own event
        if index is None:
            return
        kind = self.kinds[index]
        step = _Step(index, len(kind.rows), at, chance, {}, {})
        row = np.zeros(1, kind.records)
        row["common_type"] = kind.event.format.id
        for name, value in {**known, **fields}.items():
            if self._is_field(kind, name, (*place, key, name), asked=name in fields):
                self._fill(kind, step, row, name, value, (*place, key, name))
        kind.rows.append(row)
        self.steps.append(step)

    def kind(self, event: str, place: tuple[str, ...]) -> int | None:
        """Return the index of an event; None: this kernel has no such event."""
        if event not in self._indexes:
            system, _, name = event.partition(":")
            platform = self._platform
            text = event_formats.format_text(platform.arch, system, name, platform.kernel)
            if text is None:
                known = event_formats.known_events(platform.arch)
                if event not in known:
                    raise unknown(event, known, "event", *place)
                self._indexes[event] = None
            else:
                self._indexes[event] = len(self.kinds)
                self.kinds.append(_kind(system, name, text, byte_order(platform.arch)))
        return self._indexes[event]

    def _is_field(self, kind: Kind, name: str, place: tuple[str, ...], *, asked: bool) -> bool:
        if name in (kind.records.names or ()):
            return True
        if asked:
            arch, event = self._platform.arch, kind.event
            known = event_formats.known_fields(arch, event.system, event.name)
            if name not in known:
                raise unknown(name, known, f"field of {event.name}", *place)
        return False

    def _fill(
        self, kind: Kind, step: _Step, row: Records, name: str, value: FieldValue, place: tuple[str, ...]
    ) -> None:
        if isinstance(value, Choice):
            for number in value.choose:
                _put(kind.event.format, row, name, number, place)
            step.choices[name] = value
        elif isinstance(value, str) and value.startswith("$"):
            if name not in kind.event.format.integer_fields:
                raise wrong(f"{name} holds no number, as {value} is", *place)
            if value[1:] not in self._given:
                raise unknown(value, {f"${each}" for each in self._given} or {"a number"}, "value", *place)
            step.given[name] = value[1:]
        else:
            _put(kind.event.format, row, name, value, place)

    def _reason(self, name: str, place: tuple[str, ...]) -> int:
        """Return the code of an exit reason: by the names that this kernel's print fmt has, or a newer one's."""
        codes = _reason_codes(self._isa, self._platform.arch, self._platform.kernel)
        if name not in codes:
            raise unknown(name, set(codes), "exit reason", *place, "reason")
        return codes[name]


@lru_cache(maxsize=64)
def _reason_codes(isa: Isa, arch: str, kernel: str) -> dict[str, int]:
    """Return the names of exit reasons: to parse their print fmt takes long, and every exit has one."""
    system, _, event = isa.exit_event.partition(":")
    known = {} if isa.number is None else {"isa": isa.number}
    codes: dict[str, int] = {}
    for release in ("", kernel):
        layout = event_formats.event_format(arch, system, event, release)
        symbols = {} if layout is None else field_symbols(layout, known)
        codes |= {text: code for code, text in symbols.get(isa.reason_field, {}).items()}
    return codes


def _kind(system: str, name: str, text: str, order: str) -> Kind:
    event = EventKind(system, name, event_formats.parsed(text))
    layout = FieldLayout(event.format, order)
    fields = [each for each in event.format.fields if each.size]
    records = np.dtype(
        {
            "names": [each.name for each in fields],
            "formats": [
                layout.dtype[each.name] if each.name in (layout.dtype.names or ()) else f"{order}i{each.size}"
                for each in fields
            ],
            "offsets": [each.offset for each in fields],
            "itemsize": layout.dtype.itemsize,
        }
    )
    vcpu = next((each for each in _VCPU_FIELDS if each in (records.names or ())), None)
    return Kind(event, text, layout, records, [], vcpu)


def _put(event: EventFormat, row: Records, name: str, value: int | str | list[int], place: tuple[str, ...]) -> None:
    """Put a value into a field of a template. PydanticCustomError: it does not fit."""
    declared = next(each for each in event.fields if each.name == name)
    if declared.shape is FieldShape.CHAR_ARRAY:
        if not isinstance(value, str) or len(value.encode()) >= declared.size:
            raise wrong(f"expected text of at most {declared.size - 1} bytes, found {value!r}", *place)
        row[name] = np.frombuffer(value.encode().ljust(declared.size, b"\0"), row.dtype[name])
    elif declared.shape is FieldShape.ARRAY:
        most = 1 << 8 * declared.element_size - declared.signed
        if not isinstance(value, list) or len(value) > declared.count or not all(0 <= each < most for each in value):
            raise wrong(f"expected at most {declared.count} numbers below {most}, found {value!r}", *place)
        row[name] = np.array([*value, *[0] * (declared.count - len(value))], row.dtype[name].base)
    else:
        bits = 8 * declared.size
        low, high = (-(1 << bits - 1), 1 << bits - 1) if declared.signed else (0, 1 << bits)
        if not isinstance(value, int) or not low <= value < high:
            raise wrong(f"expected a number from {low} to {high - 1}, found {value!r}", *place)
        row[name] = value
