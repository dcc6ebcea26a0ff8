"""What callers give in words, checked: a name that is none is an error, before anything is read."""

from __future__ import annotations

import os
from difflib import get_close_matches
from typing import TYPE_CHECKING, TypedDict

from kvmtrace.errors import UsageError
from kvmtrace.exit_keys import By

if TYPE_CHECKING:
    from collections.abc import Sequence


Paths = str | os.PathLike[str]
"""A name, or the path of a file."""


def several(names: Paths | Sequence[Paths]) -> tuple[str, ...]:
    """Return one name or path, or several, each once and in order."""
    given = (names,) if isinstance(names, str | os.PathLike) else names
    return tuple(dict.fromkeys(os.fspath(name) for name in given))


def keys(by: str | Sequence[str]) -> tuple[By, ...]:
    """Return what exits are told apart by. UsageError: there is no such thing."""
    for name in several(by):
        if name not in list(By):
            near = get_close_matches(name, list(By), n=1)
            raise UsageError(
                f"by: expected {', '.join(By)} or several of them, found {name!r}",
                hint=f"nearest: {near[0]}" if near else None,
            )
    return tuple(map(By, several(by))) or (By.REASON,)


class CompareOptions(TypedDict, total=False):
    """Options of `Store.compare`, whose defaults they have."""

    by: str | Sequence[str]
    per: str
    with_idle: bool
    events: bool
    minimum_effect: float
    level: float
    claims: str | Sequence[str]
