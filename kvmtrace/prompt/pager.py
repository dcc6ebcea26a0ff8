"""Shows a text: as it is where the screen holds it, else through the user's pager."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys

_DEFAULT = "less -S"  # long lines are cut off, and scroll
_LINES_BELOW = 2  # the next prompt, and the line that says how many rows there are


def show(text: str) -> None:
    """Write `text` to standard output; one that is longer or wider than the terminal goes through $PAGER."""
    command = _command() if is_terminal() and not _fits(text) else []
    if not command or not _paged(text, command):
        sys.stdout.write(text)
        sys.stdout.flush()


def is_terminal() -> bool:
    """Tell whether somebody looks at standard output."""
    return sys.stdout.isatty()


def _fits(text: str) -> bool:
    columns, lines = shutil.get_terminal_size()
    shown = text.splitlines()
    return len(shown) + _LINES_BELOW <= lines and all(len(line) <= columns for line in shown)


def _command() -> list[str]:
    """Return the pager and its arguments; none where the user wants none, or there is none."""
    try:
        command = shlex.split(os.environ.get("PAGER", _DEFAULT))
    except ValueError:  # a quote that is not closed
        return []
    return command if command and shutil.which(command[0]) else []


def _paged(text: str, command: list[str]) -> bool:
    """Tell whether the pager could be started; wait until the user leaves it."""
    sys.stdout.flush()
    try:
        pager = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, encoding="utf-8", errors="replace")  # noqa: S603 - the user's own
    except OSError:
        return False
    waiting = text
    while True:
        try:
            pager.communicate(waiting)
        except KeyboardInterrupt:  # meant for the pager, which has got it too
            waiting = ""
            continue
        return True
