"""What was typed at the prompt, kept in a file for the next time."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from prompt_toolkit.history import FileHistory, History, InMemoryHistory


def path() -> Path | None:
    """Return the file: $XDG_STATE_HOME/kvmtrace/sql-history, else below ~/.local/state; None: there is no home."""
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    if not state.is_absolute():  # the XDG Base Directory Specification: others are to be ignored
        try:
            state = Path.home() / ".local" / "state"
        except RuntimeError:
            return None
    return state / "kvmtrace" / "sql-history"


def opened() -> History:
    """Return the history of earlier prompts; one that ends with this one where the file cannot be kept."""
    file = path()
    if file is None:
        return InMemoryHistory()
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600))
    except OSError:
        return InMemoryHistory()
    return _Kept(str(file))


class _Kept(FileHistory):
    """A history whose file may become full or unwritable, which is no reason to leave the prompt."""

    def store_string(self, string: str) -> None:
        with suppress(OSError):
            super().store_string(string)
