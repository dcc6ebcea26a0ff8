"""Several recordings of one command, or of two in turn, and what they are called.

Two commands take turns, A B A B …: a machine that warms up, fills its caches or gets busier meanwhile does so to both.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kvmtrace.errors import StoreError, UsageError
from kvmtrace.recorder.witness import Witness
from kvmtrace.store.catalogue import Catalogue
from kvmtrace.store.label import Label

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kvmtrace.recorder.session import Ended, Recorded, Session, Stop
    from kvmtrace.recorder.vms import Vm
    from kvmtrace.store.manifest import Manifest

TAG = "record"
"""Tag that all recordings under one label have: `compare record=before --against record=after`."""
FAILED_TAG = "record_failed"
"""Tag that stands in its place where the command failed: such a run is kept, and is no sample of its side."""
EXIT_CODE_TAG = "exit_code"
_AGAINST = "--against"
_NUMBERED = re.compile(r"(.+)-(\d+)", re.DOTALL)
_FORM = "kvmtrace record --label before --repeat 6 -- COMMAND --against after -- COMMAND_B"


@dataclass(frozen=True, slots=True)
class Commanded:
    """A command, and the label of its recordings; no words: recorded until Ctrl-C."""

    words: tuple[str, ...]
    label: str | None


@dataclass(frozen=True, slots=True)
class Done:
    """One recording of a series."""

    side: int  # 0: the command, 1: the one against it
    recorded: Recorded
    vms: tuple[Vm, ...]

    @property
    def failed(self) -> bool:
        """Whether its command ended with another exit code than 0."""
        return bool(self.recorded.ended.exit_code)


def commanded(words: Sequence[str], label: str | None, repeat: int) -> tuple[Commanded, ...]:
    """Return the commands of `COMMAND…`, or of `COMMAND… --against LABEL -- COMMAND_B…`: the first such triple counts.

    A command of several recordings gets the name of its program for a label where it has none. UsageError: what stands
    there is no such form, two commands have one label, or there is nothing to repeat.
    """
    if label == "":
        raise UsageError("--label: expected a label, found an empty one")
    first, second = _apart(list(words))
    if second is None:
        if repeat > 1 and not first:
            raise UsageError("--repeat needs a command to repeat", hint="kvmtrace record --repeat 6 -- COMMAND")
        return (Commanded(tuple(first), label or (_program(first) if repeat > 1 else None)),)
    name, against = second
    if not first or not against:
        raise UsageError("--against needs a command on either side", hint=_FORM)
    if not name:
        raise UsageError("--against: expected a label, found an empty one", hint=_FORM)
    if _apart(against)[1] is not None:
        raise UsageError("two commands are compared, and --against is there twice", hint=_FORM)
    sides = Commanded(tuple(first), label or _program(first)), Commanded(tuple(against), name)
    if sides[0].label == sides[1].label:
        raise UsageError(f"both commands have the label {name!r}", hint=f"--label names the first: {_FORM}")
    return sides


def lacks_dashes(words: Sequence[str]) -> bool:
    """Tell whether a command has the word --against, but not in the form that is ours."""
    return _AGAINST in words and _apart(list(words))[1] is None


def _apart(words: list[str]) -> tuple[list[str], tuple[str, list[str]] | None]:
    for place, (word, name, dashes) in enumerate(zip(words, words[1:], [*words[2:], ""], strict=False)):
        if word == _AGAINST and dashes == "--":
            return words[:place], (name, words[place + 3 :])
    return words, None


def _program(words: Sequence[str]) -> str:
    return Path(words[0]).name


@dataclass(frozen=True, slots=True)
class Series:
    """Recordings that are made one after the other."""

    session: Session
    sides: tuple[Commanded, ...]
    repeat: int
    tags: Mapping[str, str]
    facts: Mapping[str, str | None]  # of every recording: what recorded it, for what purpose

    def run(self, stop: Stop) -> Iterator[Done]:
        """Make them, and yield each once it is stored; one that is interrupted is the last.

        Errors: as of `Session.record`.
        """
        before = self._last_numbers()
        with stop.listening():
            for turn in range(self.repeat):
                for side, command in enumerate(self.sides):
                    yield self._one(command, side, before.get(command.label, 0) + turn, stop)
                    if stop.asked:
                        return

    def _one(self, command: Commanded, side: int, number: int, stop: Stop) -> Done:
        facts = {**self.facts, "command": shlex.join(command.words) or None}
        witness = Witness(self.session.files, facts)

        def complete(manifest: Manifest, label: Label, ended: Ended) -> tuple[Manifest, Label]:
            return witness.tell(manifest, ended.enabled_ns), _tagged(label, command.label, ended)

        name = command.label
        if name is not None and self.repeat > 1:
            name = f"{name}-{number + 1}"
        recorded = self.session.record(command.words, Label(name, dict(self.tags)), stop, witness.look, complete)
        return Done(side, recorded, witness.vms)

    @property
    def taken(self) -> list[str]:
        """The labels of these recordings that runs of the store have already; of several numbers go on."""
        labels = set() if self.repeat > 1 else set(_labels(self.session.store))
        return [side.label for side in self.sides if side.label is not None and side.label in labels]

    def _last_numbers(self) -> dict[str | None, int]:
        """Return the highest number behind each label in the store: numbers go on from there."""
        last: dict[str | None, int] = {}
        for match in filter(None, map(_NUMBERED.fullmatch, _labels(self.session.store))):
            last[match[1]] = max(last.get(match[1], 0), int(match[2]))
        return last


def _labels(store: Path) -> list[str]:
    """Return the labels in a store."""
    try:
        catalogue = Catalogue(store)
    except StoreError:  # there is none yet
        return []
    return [label for m in catalogue.manifests() if (label := catalogue.label(m.run_id).label) is not None]


def _tagged(label: Label, name: str | None, ended: Ended) -> Label:
    tags = dict(label.tags)
    if name is not None:
        tags[FAILED_TAG if ended.exit_code else TAG] = name
    if ended.exit_code:
        tags[EXIT_CODE_TAG] = str(ended.exit_code)
    return replace(label, tags=tags)
