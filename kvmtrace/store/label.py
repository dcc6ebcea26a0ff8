"""label.json: a run's label and tags, the only thing of a run that changes after it was ingested."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from kvmtrace.errors import StoreError, UsageError
from kvmtrace.store.manifest import LABEL

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Label:
    """What a user calls a run; `tags` are free key=value pairs."""

    label: str | None = None
    tags: dict[str, str] = field(default_factory=dict)

    def check(self) -> None:
        """UsageError: a text in it that no terminal can show."""
        for text in (self.label or "", *self.tags, *self.tags.values()):
            if not text.isprintable():
                raise UsageError(f"expected a label or tag of printable characters, found {text!r}")


def read_label(folder: Path) -> Label:
    """Return the label of the run in `folder`, an empty one where it has none. StoreError: damaged."""
    path = folder / LABEL
    try:
        raw = json.loads(path.read_text())
    except FileNotFoundError:
        return Label()
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"{path}: expected a label and tags, found {error}") from None
    match raw:
        case {"label": str() | None as label, "tags": dict() as tags} if all(isinstance(v, str) for v in tags.values()):
            return Label(label, tags)
    raise StoreError(f"{path}: expected a label and tags, found {str(raw)[:80]}")


def write_label(folder: Path, label: Label) -> None:
    """Write the label of the run in `folder`, whole or not at all. UsageError: a text that no terminal can show."""
    label.check()
    temporary = folder / f".{LABEL}.{secrets.token_hex(4)}"
    try:
        with temporary.open("x") as file:
            json.dump(asdict(label), file, indent=1)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(folder / LABEL)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise StoreError(f"{folder / LABEL}: {error.strerror}") from None
