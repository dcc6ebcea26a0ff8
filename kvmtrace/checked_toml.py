"""TOML files that users write, held to pydantic classes: what is wrong is one line with its place and the near name."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from kvmtrace import toml_places
from kvmtrace.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from kvmtrace.toml_places import Place

Text = Annotated[str, Field(min_length=1)]

_MOST_BYTES = 1 << 22
_TOML_LINE = re.compile(r"\(at line (\d+), column \d+\)$")


class Strict(BaseModel):
    """A table of which every key is known: an unknown one is an error that names the nearest."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, table: Any) -> Any:  # noqa: ANN401 - whatever stands in the file
        if isinstance(table, dict):
            known = {field.alias or name for name, field in cls.model_fields.items()}
            for key in table:
                if key not in known:
                    raise unknown(str(key), known, "key")
        return table


_S = TypeVar("_S", bound=Strict)


def unknown(name: str, known: Collection[str], what: str, *place: str) -> PydanticCustomError:
    """Return the error for a name that is not among the known ones; `place` is where in the table it stands."""
    near = get_close_matches(name, sorted(known), n=1)
    expected = f"did you mean {near[0]}?" if near else "expected one of " + ", ".join(sorted(known))
    return wrong(f"unknown {what} {name!r}: {expected}", *(place or (name,)))


def wrong(message: str, *place: str) -> PydanticCustomError:
    """Return an error about the key at `place`, below the table that is validated."""
    return PydanticCustomError("model", "{text}", {"text": message, "place": place})


def read_text(path: Path, what: str) -> str:
    """Return the text of a file that is to be `what`. InputError: it cannot be read."""
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise InputError(str(path), f"expected {what} of at most {_MOST_BYTES:,} bytes")
        return content.decode("utf-8")
    except OSError as error:
        raise InputError(str(path), error.strerror or "cannot be read") from None
    except UnicodeDecodeError as error:
        raise InputError(str(path), f"expected {what} in UTF-8, found other bytes at {error.start}") from None


@dataclass(frozen=True, slots=True)
class TomlFile:
    """A file that is TOML, and where its keys stand."""

    path: str  # its name in errors
    raw: dict[str, Any]
    lines: dict[Place, int]
    what: str  # "the model"
    hint: str | None = None  # of every error

    def checked(self, kind: type[_S], table: dict[str, Any], line: Callable[[Place], int | None] | None = None) -> _S:
        """Return a table as what it must be; `line` finds that of a place, where it is not its nearest.

        InputError: it is not.
        """
        try:
            return kind.model_validate(table)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=True, include_input=True)[0]
            context = first.get("ctx", {})
            loc = tuple(str(part) for part in first["loc"] if not _is_tag(part))
            place = (*loc, *context.get("place", ()))
            message = first["msg"] if first["type"] == "model" else _said(first)
            at = (line or self.line)(place)
            raise self.error(f"{'.'.join(place) or self.what}: {message}", at) from None

    def line(self, place: Place) -> int | None:
        """Return the line that is nearest to a place; None: the file as a whole."""
        return toml_places.line_of(self.lines, place)

    def error(self, message: str, line: int | None) -> InputError:
        """Return the error about a line."""
        return InputError(self.path, message, where=line, hint=self.hint)


def parse(text: str, path: Path, what: str, hint: str | None = None) -> TomlFile:
    """Return the file that a text makes; `path` is its name in errors. InputError: it is no TOML."""
    try:
        raw = tomllib.loads(text)
    except RecursionError:
        raise InputError(str(path), "expected TOML, found arrays or tables nested too deeply") from None
    except ValueError as error:  # also a number of thousands of digits
        said = str(error)
        at = _TOML_LINE.search(said)
        line = int(at[1]) if at else text.count("\n") + 1 if said.endswith("(at end of document)") else None
        raise InputError(str(path), f"expected TOML, found something else: {said}", where=line) from None
    return TomlFile(str(path), raw, toml_places.lines_of_keys(text), what, hint)


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
