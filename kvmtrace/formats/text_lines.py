"""Lines of a text as a reader of small tables wants them: without mail's quoting, colours and terminal codes."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from kvmtrace.recording import Note, Notes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LONGEST = 4096
"""Characters of a line beyond which it is no row; it is given as an empty line."""

_CUT = 1 << 16
_SHOWN = 80  # characters of a line that a message quotes
_QUOTING = re.compile(r"[ ]?(?:[>|][ ]?)+")
_TERMINAL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[()][0-9A-Za-z]|[0-Z\\^-~])")  # ECMA-48: CSI, charset, others
_OCTET = re.compile(r"=([2-7][0-9A-F]|09)")  # of ASCII: what figures and names are made of
_STRAY_BYTES = re.compile("[\udc80-\udcff]+")
_UNDECODED = re.compile("[\ud800-\udfff\ufffd]")
_SPACES = "\u00a0\u2007\u2009\u202f"


def cut_lines(text: str) -> str:
    """Return a text with the rest of each line left out that is longer than any reader looks at: it may be all one.

    Lines end as Unix, Windows or old programs end them. Each step looks at `_CUT` characters, whatever the text is.
    """
    kept: list[str] = []
    start = 0  # of a line
    resumed = 0  # of what is kept next
    while len(text) - start > _CUT:
        cut = start + _CUT
        end = max(text.rfind("\n", start, cut), text.rfind("\r", start, cut))
        if end < 0:
            kept.append(text[resumed:cut])
            end = resumed = _line_end(text, cut)
        start = end + 1
    return "".join([*kept, text[resumed:]]) if kept else text


def _line_end(text: str, start: int) -> int:
    for place in range(start, len(text), _CUT):
        ends = [text.find("\n", place, place + _CUT), text.find("\r", place, place + _CUT)]
        if max(ends) >= 0:
            return min(end for end in ends if end >= 0)
    return len(text)


def repair(text: str) -> tuple[str, list[Note]]:
    """Read stray bytes as Latin-1, with a note on the first; what no program decoded is U+FFFD."""
    notes = []
    for pattern, what, readable in (
        (_STRAY_BYTES, "bytes that are not UTF-8, here first: read as Latin-1", _as_latin_1),
        (_UNDECODED, "characters that were lost in decoding, here first", "\ufffd"),
    ):
        match = pattern.search(text)
        if match:
            notes.append(Note(f"line {text.count(chr(10), 0, match.start()) + 1}", what))
            text = pattern.sub(readable, text)
    return text, notes


def _as_latin_1(stray: re.Match[str]) -> str:
    return stray[0].encode("utf-8", "surrogateescape").decode("latin-1")


def clean_lines(text: str) -> tuple[list[str], list[Note]]:
    """Return the lines of a text, the first of which is line 1, and notes on what could not be decoded."""
    text, notes = repair(text)
    for space in _SPACES:
        text = text.replace(space, " ")
    lines = text.split("\n")
    if "=3D" in text or "=20\n" in text:
        lines = _unwrapped(lines)
    return [_clean(line) for line in lines], notes


def has_line(after_newline: re.Pattern[str], text: str) -> bool:
    """Tell whether a pattern that begins with a newline, which is quick to find, matches some line of a text."""
    return bool(after_newline.search(text) or after_newline.match(f"\n{text[: 2 * LONGEST]}"))


def told(notes: Iterable[Note]) -> tuple[Note, ...]:
    """Return notes, those beyond a few hundred counted in one."""
    kept = Notes()
    for note in notes:
        kept.add(note)
    return tuple(kept.told())


def tell_apart(labels: Sequence[str | None], what: str) -> list[str | None]:
    """Return a part for each of the tables of a text: its label if no other has it, else its ordinal too."""
    if len(labels) == 1:
        return [None]
    uses = Counter(labels)
    ordinals = [f"{what} {number}" for number in range(1, len(labels) + 1)]
    parts = [
        f"{label}, {ordinal}" if label and uses[label] > 1 else label or ordinal
        for label, ordinal in zip(labels, ordinals, strict=True)
    ]
    return [*(parts if len(set(parts)) == len(parts) else ordinals)]


def shown(line: str) -> str:
    """Quote the start of a line, control characters escaped."""
    line = line.strip()
    return repr(line if len(line) <= _SHOWN else line[:_SHOWN] + "…")


def _unwrapped(lines: Sequence[str]) -> list[str]:
    """Undo quoted-printable (RFC 2045): a line goes on where it ended with =, and leaves empty lines behind."""
    whole: list[str] = []
    first = 0  # of the lines that are one
    for line in lines:
        text = line.rstrip("\r \t")
        goes_on = text.endswith("=")
        if goes_on:
            text = text[:-1]
        text = _OCTET.sub(lambda octet: chr(int(octet[1], 16)), text)
        if first < len(whole) and len(whole[first]) <= LONGEST:
            whole[first] += text
            whole.append("")
        else:
            whole.append(text)
        if not goes_on:
            first = len(whole)
    return whole


def _clean(line: str) -> str:
    if len(line) > LONGEST:
        return ""
    if "\x1b" in line:
        line = _TERMINAL.sub("", line)
    quoting = _QUOTING.match(line)
    return (line[quoting.end() :] if quoting else line).rstrip("\r \t")
