"""A file of generators/ → a model, or one line that says what is wrong, where, and what was meant."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvmtrace import checked_toml, resources, toml_places
from kvmtrace.errors import UsageError
from kvmtrace.synth.engines import ENGINES, engine_named
from kvmtrace.synth.header import Header
from kvmtrace.synth.model import VARIED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmtrace.checked_toml import TomlFile
    from kvmtrace.synth.engine import Engine
    from kvmtrace.synth.model import Setting
    from kvmtrace.toml_places import Place

_HINT = "kvmtrace models NAME shows a model that is right"


@dataclass(frozen=True, slots=True)
class Model:
    """A model: its header, and each variant's setting."""

    name: str
    path: Path
    text: str
    header: Header
    engine: Engine
    settings: Mapping[str, Setting]

    def setting(self, variant: str) -> Setting:
        """Return what an engine runs. UsageError: there is no such variant."""
        if variant not in self.settings:
            near = get_close_matches(variant, self.settings, n=1) or list(self.settings)
            raise UsageError(f"model {self.name} has no variant {variant!r}", hint="known: " + ", ".join(near))
        return self.settings[variant]


def names() -> list[str]:
    """Return the names of the project's models."""
    folder = resources.folder("generators")
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.toml"))


def find(name: str) -> Model:
    """Return a model of the project by its name, or that of a file by its path. UsageError: there is none."""
    if name.endswith(".toml"):
        return read(Path(name))
    if name in names():
        return read(resources.folder("generators") / f"{name}.toml")
    near = get_close_matches(name, names(), n=3) or names()
    raise UsageError(f"there is no model {name!r}", hint=f"known: {', '.join(near)}; a file's name ends in .toml")


def read(path: Path) -> Model:
    """Read the model in a file. InputError: it cannot be read, or is no model."""
    return parse(checked_toml.read_text(path, "a model"), path)


def parse(text: str, path: Path) -> Model:
    """Return the model that a text holds; `path` is its name in errors. InputError: it is no model."""
    file = checked_toml.parse(text, path, "the model", _HINT)
    header = file.checked(Header, file.raw)
    if header.engine not in ENGINES:
        near = get_close_matches(header.engine, ENGINES, n=1) or sorted(ENGINES)
        message = f"unknown engine {header.engine!r}: expected {' or '.join(near)}"
        raise file.error(message, file.line(("engine",)))
    engine = engine_named(header.engine)
    settings = {variant: _setting(file, engine, variant) for variant in header.variants}
    return Model(_name(path), path, text, header, engine, settings)


def _name(path: Path) -> str:
    """Return the name that `find` knows a model of the project by; of another file that of the file."""
    folder = resources.folder("generators")
    return path.relative_to(folder).with_suffix("").as_posix() if path.is_relative_to(folder) else path.stem


def _setting(file: TomlFile, engine: Engine, variant: str) -> Setting:
    """Return the setting of a variant: what the file says for all, and what differs."""
    own = file.raw["variants"][variant]
    table = {part: _merged(file.raw.get(part, {}), own.get(part, {})) for part in VARIED}
    return file.checked(engine.setting, table, lambda place: _line(file, place, variant))


def _line(file: TomlFile, place: Place, variant: str) -> int | None:
    """Return the line that a place of a variant's setting comes from: the variant's own, where it has one."""
    line, depth = toml_places.nearest(file.lines, place) or (None, 0)
    own = ("variants", variant)
    own_line, own_depth = toml_places.nearest(file.lines, (*own, *place)) or (None, 0)
    if own_depth - len(own) > depth or _says(file.raw["variants"][variant], place):
        return own_line
    return line


def _says(table: object, place: Place) -> bool:
    """Tell whether a variant's own table says what stands at a place, or replaces what holds it."""
    for part in place:
        if not isinstance(table, dict):
            return True
        if part not in table:
            return False
        table = table[part]
    return bool(place)


def _merged(base: Any, over: Any) -> Any:  # noqa: ANN401 - whatever stands in the file
    """Return a table with what another says instead: table by table, and key by key."""
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return over
    return {**base, **{key: _merged(base[key], value) if key in base else value for key, value in over.items()}}
