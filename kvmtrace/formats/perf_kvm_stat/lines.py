"""The lines of a text as perf printed them: what terminals, mails and web pages put around them is taken off."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from kvmtrace.formats.text_lines import repair

if TYPE_CHECKING:
    from kvmtrace.recording import Note

LONGEST = 4096
"""Characters of a line beyond which it is nothing that perf printed."""

_ESCAPE = re.compile(r"\x1b\[[0-9;?]{0,32}[@-~]")  # CONSOLE_CLEAR of `live` is ESC [ H ESC [ 2 J
_CONTROLS = dict.fromkeys((*range(9), 11, 12, *range(14, 32), 127), " ")
_QUOTING = re.compile(r"[ \t]*(?:(?://|[>|#*])[ \t]*)+")  # of mails, comments and commit messages; no name begins so

_SOFT_BREAK_COLUMN = 76  # RFC 2045: no encoded line is longer
_SOFT_BREAK = re.compile(r"(?<!=)=\n")
_ENCODED = re.compile(r"(?:=[0-9A-F]{2})+")


class Line(NamedTuple):
    """A line that is not blank; `number` counts the lines of the source from 1."""

    number: int
    text: str


def lines_of(text: str) -> tuple[list[Line], list[Note]]:
    """Return the lines of a text without quoting, escape codes and quoted-printable, and what was read otherwise."""
    text, notes = _repair(text.replace("\r\n", "\n").replace("\r", "\n"))
    encoded = bool(_SOFT_BREAK.search(text)) or "=20\n" in text or "=3D" in text
    lines: list[Line] = []
    joined, first = "", 0
    for number, raw in enumerate(text.split("\n"), start=1):
        piece = joined + raw if joined else raw
        number_of_piece = first if joined else number
        joined = ""
        if encoded:
            if _breaks_softly(raw) and len(piece) <= LONGEST:
                joined, first = piece[:-1], number_of_piece
                continue
            piece = _ENCODED.sub(_decoded, piece)
        _append(lines, number_of_piece, piece)
    _append(lines, first, joined)
    return lines, notes


def words_of(text: str) -> list[str]:
    """Split a line into words; the borders of a drawn table are blanks."""
    return text[:LONGEST].replace("|", " ").split()


def _append(lines: list[Line], number: int, text: str) -> None:
    quoting = _QUOTING.match(text)
    text = (text[quoting.end() :] if quoting else text).strip()
    if text:
        lines.append(Line(number, text))


def _breaks_softly(raw: str) -> bool:
    return raw.endswith("=") and not raw.endswith("==") and len(raw) <= _SOFT_BREAK_COLUMN


def _decoded(match: re.Match[str]) -> str:
    return bytes.fromhex(match[0].replace("=", "")).decode("utf-8", "replace")


def _repair(text: str) -> tuple[str, list[Note]]:
    """Read stray bytes as Latin-1, and control characters as blanks; escape codes end a line, as on the screen."""
    text, notes = repair(text)
    if "\x1b" in text:
        text = _ESCAPE.sub("", text)
    return text.translate(_CONTROLS).replace("&nbsp;", " "), notes
