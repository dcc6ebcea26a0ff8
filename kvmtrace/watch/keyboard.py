"""Keys that are pressed at the terminal of this process, while standard input may be a recording."""

from __future__ import annotations

import os
import select
import termios
import tty
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

TERMINAL = "/dev/tty"
_ARROWS = {b"\x1b[A": "up", b"\x1b[B": "down", b"\x1b[C": "right", b"\x1b[D": "left"}
_ARROWS |= {key.replace(b"[", b"O"): name for key, name in _ARROWS.items()}
_READ_BYTES = 64


def keys_of(raw: bytes) -> list[str]:
    """Return the keys that a terminal sent: characters, and arrows by name; what else there is is left out."""
    keys: list[str] = []
    while raw:
        arrow = next((sent for sent in _ARROWS if raw.startswith(sent)), None)
        if arrow is not None:
            keys.append(_ARROWS[arrow])
            raw = raw[len(arrow) :]
        elif raw.startswith(b"\x1b"):  # another key: its sequence is of no use
            break
        else:
            keys.append(chr(raw[0]))
            raw = raw[1:]
    return keys


class Keyboard:
    """The terminal gives each key at once while this is open; afterwards it is as it was before.

    Without a terminal there are no keys. Another thread may end the waiting.
    """

    def __init__(self, terminal: str = TERMINAL) -> None:
        self._terminal = terminal
        self._file: int | None = None
        self._before: list[object] = []
        self._awake, self._wake = os.pipe()

    def __enter__(self) -> Self:
        self.take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def take(self) -> None:
        """Have the terminal give each key at once."""
        try:
            file = os.open(self._terminal, os.O_RDWR | os.O_NOCTTY)
        except OSError:
            return
        try:
            self._before = termios.tcgetattr(file)
            tty.setcbreak(file)
        except termios.error:
            os.close(file)
        else:
            self._file = file

    def give_back(self) -> None:
        """Let the terminal be as it was before."""
        if self._file is not None:
            termios.tcsetattr(self._file, termios.TCSADRAIN, self._before)  # type: ignore[arg-type]
            os.close(self._file)
            self._file = None

    def close(self) -> None:
        """Give the terminal back for good."""
        self.give_back()
        os.close(self._awake)
        os.close(self._wake)

    @property
    def is_there(self) -> bool:
        """Whether there is a terminal that keys come from."""
        return self._file is not None

    def wake(self) -> None:
        """End the waiting of another thread."""
        os.write(self._wake, b"\0")

    def wait(self, seconds: float) -> list[str]:
        """Return the keys that are pressed, none after so many seconds or where somebody ended the waiting."""
        files = [self._awake] if self._file is None else [self._awake, self._file]
        ready, _, _ = select.select(files, [], [], seconds)
        if self._awake in ready:
            os.read(self._awake, _READ_BYTES)
        if self._file is None or self._file not in ready:
            return []
        return keys_of(os.read(self._file, _READ_BYTES))
