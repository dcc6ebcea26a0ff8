"""Errors about a key of a model's file, with the line that it stands on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmtrace import toml_places as places
from kvmtrace.errors import InputError

if TYPE_CHECKING:
    from kvmtrace.synth.model_file import Model


def wrong(model: Model, place: places.Place, message: str, hint: str | None = None) -> InputError:
    """Return the error about what stands at `place` in the file of a model."""
    line = places.line_of(places.lines_of_keys(model.text), place)
    return InputError(str(model.path), f"{'.'.join(place)}: {message}", where=line, hint=hint)
