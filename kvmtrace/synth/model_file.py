"""A file of generators/ → a model, or one line that says what is wrong, where, and what was meant."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from kvmtrace import resources
from kvmtrace.errors import InputError, UsageError
from kvmtrace.synth import places
from kvmtrace.synth.engines import ENGINES, engine_named
from kvmtrace.synth.header import Header
from kvmtrace.synth.model import Setting, Strict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmtrace.synth.engine import Engine

_OVERRIDDEN = ("platform", "exits", "sequences", "workload")
_S = TypeVar("_S", bound=Strict)
_MOST_BYTES = 1 << 22
_TOML_LINE = re.compile(r"\(at line (\d+), column \d+\)$")


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
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise InputError(str(path), f"expected a model of at most {_MOST_BYTES:,} bytes")
        text = content.decode("utf-8")
    except OSError as error:
        raise InputError(str(path), error.strerror or "cannot be read") from None
    except UnicodeDecodeError as error:
        raise InputError(str(path), f"expected a model in UTF-8, found other bytes at {error.start}") from None
    return parse(text, path)


def parse(text: str, path: Path) -> Model:
    """Return the model that a text holds; `path` is its name in errors. InputError: it is no model."""
    raw = _toml(text, path)
    file = _File(str(path), raw, places.lines_of_keys(text))
    header = file.checked(Header, raw, None)
    if header.engine not in ENGINES:
        near = get_close_matches(header.engine, ENGINES, n=1) or sorted(ENGINES)
        raise file.error(f"unknown engine {header.engine!r}: expected {' or '.join(near)}", ("engine",))
    engine = engine_named(header.engine)
    settings = {variant: file.setting(engine, variant) for variant in header.variants}
    return Model(path.stem, path, text, header, engine, settings)


@dataclass(frozen=True, slots=True)
class _File:
    """A file, and where its keys stand."""

    path: str
    raw: dict[str, Any]
    lines: dict[places.Place, int]

    def setting(self, engine: Engine, variant: str) -> Setting:
        """Return the setting of a variant: what the file says for all, and what differs."""
        own = self.raw["variants"][variant]
        table = {part: _merged(self.raw.get(part, {}), own.get(part, {})) for part in _OVERRIDDEN}
        return self.checked(engine.setting, table, variant)

    def checked(self, kind: type[_S], table: dict[str, Any], variant: str | None) -> _S:
        """Return the table as what it must be. InputError: it is not."""
        try:
            return kind.model_validate(table)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=True, include_input=True)[0]
            context = first.get("ctx", {})
            loc = tuple(str(part) for part in first["loc"] if not _is_tag(part))
            place = (*loc, *context.get("place", ()))
            message = first["msg"] if first["type"] == "model" else _said(first)
            raise self.error(f"{'.'.join(place) or 'the model'}: {message}", place, variant) from None

    def error(self, message: str, place: places.Place, variant: str | None = None) -> InputError:
        """Return the error about a place: the variant's own line of it, where it has one."""
        shared = places.nearest(self.lines, place) or (None, 0)
        line, depth = shared
        if variant is not None:
            own = ("variants", variant)
            own_line, own_depth = places.nearest(self.lines, (*own, *place)) or (None, 0)
            if own_depth - len(own) > depth or _says(self.raw["variants"][variant], place):
                line = own_line
        return InputError(self.path, message, where=line, hint="kvmtrace models NAME shows a model that is right")


def _toml(text: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise InputError(str(path), "expected TOML, found arrays or tables nested too deeply") from None
    except ValueError as error:  # also a number of thousands of digits
        said = str(error)
        at = _TOML_LINE.search(said)
        line = int(at[1]) if at else text.count("\n") + 1 if said.endswith("(at end of document)") else None
        raise InputError(str(path), f"expected TOML, found something else: {said}", where=line) from None


def _says(table: object, place: places.Place) -> bool:
    """Tell whether a variant's own table says what stands at a place, or replaces what holds it."""
    for part in place:
        if not isinstance(table, dict):
            return True
        if part not in table:
            return False
        table = table[part]
    return bool(place)


def _is_tag(part: str | int) -> bool:
    """Tell whether a part of a place is pydantic's own: the member of a union that it tried."""
    return isinstance(part, str) and (
        part in {"int", "str", "Choice", "[key]"} or part.startswith(("list[", "function-"))
    )


def _said(error: Any) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    shown = repr(error["input"])
    found = "" if error["type"] == "missing" else f", found {shown if len(shown) < 60 else shown[:57] + '…'}"  # noqa: PLR2004
    said = str(error["msg"])
    return ("expected this key, found none" if error["type"] == "missing" else said[0].lower() + said[1:]) + found


def _merged(base: Any, over: Any) -> Any:  # noqa: ANN401 - whatever stands in the file
    """Return a table with what another says instead: table by table, and key by key."""
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return over
    return {**base, **{key: _merged(base[key], value) if key in base else value for key, value in over.items()}}
