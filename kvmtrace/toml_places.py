"""Where in a TOML file a key stands: tomllib reads values and forgets their lines.

The text must be one that tomllib took: what is wrong in it is not looked for here.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field

Place = tuple[str, ...]
"""Keys from the outermost on; the place of a table or value in an array has its index: ("published", "0", "value")."""

_TOKEN = re.compile(
    r"""(?P<text>"{3}(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}|'{3}.*?'{3,5}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
    r"|(?P<comment>#[^\n]*)|(?P<mark>[\[\]{}=,.\n])|(?P<bare>[^\s#\[\]{}=,.\"']+)",
    re.DOTALL,
)


def lines_of_keys(text: str) -> dict[Place, int]:
    """Return the line of every key, of every table with a heading, and of everything in an array."""
    scan = _Scan()
    line, reached = 1, 0
    for token in _TOKEN.finditer(text):
        line += text.count("\n", reached, token.start())
        reached = token.start()
        if token.lastgroup == "mark":
            scan.mark(token[0], line)
        elif token.lastgroup != "comment":
            scan.word(token[0], line)
    return scan.found


def nearest(lines: dict[Place, int], place: Place) -> tuple[int, int] | None:
    """Return the line that is nearest to a place, and how many of its keys lead there; None: the file as a whole.

    It is that of the place itself or of the first thing inside it, else that of what holds it.
    """
    for length in range(len(place), 0, -1):
        part = place[:length]
        if part in lines:  # a file of thousands of tables asks for each of them
            return lines[part], length
        inside = [line for found, line in lines.items() if found[:length] == part]
        if inside:
            return min(inside), length
    return None


def line_of(lines: dict[Place, int], place: Place) -> int | None:
    """Return the line that is nearest to a place; None: the file as a whole."""
    found = nearest(lines, place)
    return found[0] if found else None


@dataclass(slots=True)
class _Open:
    """An array or an inline table that is not closed yet, or the table that a heading began."""

    place: Place
    index: int = -1  # in an array; -1: a table

    def inside(self) -> Place:
        """Return the place of what stands in it."""
        return self.place if self.index < 0 else (*self.place, str(self.index))


@dataclass(slots=True)
class _Scan:
    found: dict[Place, int] = field(default_factory=dict)
    _open: list[_Open] = field(default_factory=lambda: [_Open(())])
    _counts: dict[Place, int] = field(default_factory=dict)  # arrays of tables → index of the last
    _key: list[str] = field(default_factory=list)
    _key_line: int = 0
    _in_value: bool = False
    _heading: int = 0  # brackets of a heading that is being read

    def word(self, text: str, line: int) -> None:
        """Take a part of a key, or of a value."""
        if self._in_value:
            self._element(line)
            return
        self._key_line = self._key_line or line
        self._key.append(_key_text(text))

    def mark(self, mark: str, line: int) -> None:
        """Take a sign."""
        if self._in_value:
            self._mark_in_value(mark, line)
        elif mark == "=":
            place = (*self._open[-1].inside(), *self._key)
            self.found.setdefault(place, self._key_line)
            self._open.append(_Open(place))  # the value, until its end
            self._forget_key()
            self._in_value = True
        elif mark == "[":
            self._heading += 1
            self._key_line = line
        elif mark == "\n":
            self._end_heading()
        elif mark == "}":  # of an inline table without a key, or with a comma at its end
            self._open.pop()
            self._in_value = True

    def _mark_in_value(self, mark: str, line: int) -> None:
        top = self._open[-1]
        if mark == "[":
            self._element(line)
            self._open.append(_Open(top.inside(), 0))
        elif mark == "{":
            self._element(line)
            self._open.append(_Open(top.inside()))
            self._in_value = False
        elif mark == "]":
            self._open.pop()
        elif mark == "}":  # ends the last value, and the table
            del self._open[-2:]
        elif mark == ",":
            if top.index >= 0:
                top.index += 1
            else:
                self._open.pop()
                self._in_value = False
        elif mark == "\n" and len(self._open) == 2:  # noqa: PLR2004 - the table, and the value of its key
            self._open.pop()
            self._in_value = False

    def _element(self, line: int) -> None:
        if self._open[-1].index >= 0:
            self.found.setdefault(self._open[-1].inside(), line)

    def _end_heading(self) -> None:
        if self._heading:
            place = self._numbered(tuple(self._key))
            if self._heading > 1:
                self._counts[place] = self._counts.get(place, -1) + 1
                place = (*place, str(self._counts[place]))
            self.found.setdefault(place, self._key_line)
            self._open = [_Open(place)]
        self._forget_key()

    def _forget_key(self) -> None:
        self._key, self._key_line, self._heading = [], 0, 0

    def _numbered(self, parts: Place) -> Place:
        """Return a table's place with the index of each array on its way: the newest table of it."""
        place: Place = ()
        for part in parts[:-1]:
            place = (*place, part)
            if place in self._counts:
                place = (*place, str(self._counts[place]))
        return (*place, *parts[-1:])


def _key_text(token: str) -> str:
    if token[0] == "'":
        return token[1:-1]
    if token[0] == '"':
        return str(tomllib.loads(f"key = {token}")["key"]) if "\\" in token else token[1:-1]
    return token
