"""What an engine is to the rest: the setting that it takes, and what comes of a run of it."""

from __future__ import annotations

from dataclasses import dataclass
from shlex import quote
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvmtrace.recording import Content
    from kvmtrace.synth.model import Setting


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a model's variant: the same for the same values and version, on every machine."""

    model: str
    variant: str
    setting: Setting
    seed: int
    seconds: float  # of the recording
    events: int | None = None  # the recording ends with these at the latest
    file: str = ""  # of the model, where it is none of the project's

    @property
    def command(self) -> str:
        """The command line that makes it."""
        limit = "" if self.events is None else f" --events {self.events}"
        name = quote(self.file or self.model)
        return f"kvmtrace generate {name} --variant {self.variant} --seed {self.seed} --seconds {self.seconds!r}{limit}"


@dataclass(frozen=True, slots=True)
class Engine:
    """The dynamics of a kind of models.

    `contents` returns what a run is made of, a recording first where there is one. `setting` is a subclass of Setting
    whose workload has the engine's own keys, and which checks that names in it are there.
    """

    name: str
    what: str
    setting: type[Setting]
    contents: Callable[[Run], Sequence[Content]]
