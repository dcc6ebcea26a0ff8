"""What mail and web pages did to a text, undone where that is certain; lines keep their numbers.

Quoted-printable, HTML entities and blanks that do not break, quoting with `>`, letters before every line (`A:`), and
lines that were wrapped: a line that no template reads, and that one reads together with what follows.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from typing import TYPE_CHECKING

from kvmtrace.formats.event_text.prefixes import LONGEST, shapes
from kvmtrace.formats.event_text.variants import LONGEST_TEXT, Variant
from kvmtrace.recording import Note

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvmtrace.formats.event_text.templates import Template

LARGEST = 16 << 20
"""Bytes of a text that is looked at: mails are not larger."""

_PRINTABLE = re.compile(rb"=3D")
_ESCAPE = re.compile(rb"=([0-9A-F]{2})")
_ENTITY = re.compile(rb"&(?:lt|gt|amp|quot|nbsp|#\d{1,6}|#x[0-9a-fA-F]{1,6});")
_NO_BREAK = "\u00a0".encode()
_QUOTED = re.compile(rb"^(?:[ \t]?>)+", re.MULTILINE)
_LETTER = re.compile(rb"^[A-Z]: ")
_MOST_PIECES = 4  # lines that one line was wrapped into, without the first
_LOOKED_AT = 2000


def unpacked(content: bytes, grammar: str) -> tuple[bytes, list[Note]]:
    """Undo what was done to a text as a whole, and to the beginning of its lines; one note for each kind."""
    notes: list[Note] = []
    if _PRINTABLE.search(content):
        # The line that was broken goes on; blank lines behind it keep the numbers of the lines.
        content, breaks = _joined(content)
        content, escapes = _ESCAPE.subn(lambda match: bytes([int(match[1], 16)]), content)
        notes.append(Note("line 1", f"quoted-printable: {escapes} characters and {breaks} soft breaks were decoded"))
    for pattern, what, mended in (
        (_ENTITY, "HTML entities", lambda match: html.unescape(match[0].decode()).encode()),
        (re.compile(_NO_BREAK), "blanks that do not break", lambda _: b" "),
    ):
        content, count = pattern.subn(mended, content)
        if count:
            notes.append(Note("line 1", f"{what}: {count} were read as the characters that they stand for"))
    return _bare(content, grammar, notes), notes


def _joined(content: bytes) -> tuple[bytes, int]:
    lines: list[bytes] = []
    owed = breaks = 0
    for piece in content.split(b"\n"):
        soft = re.search(rb"=[ \t]*\r?$", piece)
        text = piece[: soft.start()] if soft else piece
        if owed:
            lines[-1] += text
        else:
            lines.append(text)
        if soft:
            owed, breaks = owed + 1, breaks + 1
        elif owed:
            lines.extend([b""] * owed)
            owed = 0
    return b"\n".join(lines), breaks


def _bare(content: bytes, grammar: str, notes: list[Note]) -> bytes:
    """Take off marks of quoting, as many as most lines of events have, and letters."""
    if _QUOTED.search(content):
        lines = content.split(b"\n")
        depths = Counter(_depth(line) for line in lines[:_LOOKED_AT] if _is_event(_unquoted(line, 99), grammar))
        depth = depths.most_common(1)[0][0] if depths else 0
        if depth:
            count = sum(_depth(line) >= depth for line in lines)
            content = b"\n".join(_unquoted(line, depth) if _depth(line) >= depth else line for line in lines)
            notes.append(Note("line 1", f"quoting: `>` was taken off {count} lines, {depth} deep"))
    lines = content.split(b"\n")
    events = [line for line in lines[:_LOOKED_AT] if _LETTER.match(line) and _is_event(line[3:], grammar)]
    if events and not any(_is_event(line, grammar) for line in lines[:_LOOKED_AT] if not _LETTER.match(line)):
        count = sum(_LETTER.match(line) is not None for line in lines)
        notes.append(Note("line 1", f"a letter and a colon was taken off {count} lines"))
        return b"\n".join(line[3:] if _LETTER.match(line) else line for line in lines)
    return content


def _depth(line: bytes) -> int:
    marks = _QUOTED.match(line)
    return marks[0].count(b">") if marks else 0


def _unquoted(line: bytes, depth: int) -> bytes:
    marks = _QUOTED.match(line)
    if marks is None:
        return line
    end = 0
    for _ in range(min(depth, marks[0].count(b">"))):
        end = line.index(b">", end) + 1
    return line[end + 1 :] if line[end : end + 1] == b" " else line[end:]


def _is_event(line: bytes, grammar: str) -> bool:
    return _split(line, grammar) is not None


def _split(line: bytes, grammar: str) -> tuple[str, bytes] | None:
    """Return the name of a line's event and the event's text."""
    line = line.rstrip(b" \t\r")
    for shape in shapes(grammar):
        head = line[:LONGEST]
        if shape.sign.search(head) and (match := shape.whole.match(head)) is not None:
            return match["name"].decode("latin-1"), line[match.end() :]
    return None


class Wraps:
    """Puts lines together that were wrapped. `templates` gives those of an event by its name."""

    def __init__(self, grammar: str, templates: Callable[[str], Sequence[Template]]) -> None:
        self._grammar = grammar
        self._templates = templates
        self._variants: dict[str, list[Variant]] = {}

    def mend(self, content: bytes, strays: Sequence[int]) -> tuple[bytes, list[Note]]:
        """Look at the lines that are no events, by their numbers; return the text with those put together."""
        lines = content.split(b"\n")
        stray = {number - 1 for number in strays}
        done: list[int] = []
        for index in sorted(stray):
            if index in stray and (begin := self._begin(lines, index, stray)) is not None:
                stray -= set(range(begin, self._put(lines, begin, stray, done)))
        if not done:
            return content, []
        where = f"line {done[0] + 1}"
        return b"\n".join(lines), [Note(where, f"wrapped lines, here first: {len(done)} were put together again")]

    def _begin(self, lines: list[bytes], index: int, stray: set[int]) -> int | None:
        """Return the line that a stray line may belong to: an event before it that nothing reads, or itself."""
        if index and lines[index - 1].strip() and index - 1 not in stray:
            return None if self._reads(lines[index - 1]) else index - 1
        return index

    def _put(self, lines: list[bytes], begin: int, stray: set[int], done: list[int]) -> int:
        """Put the fewest lines together that make an event; return the line behind them.

        An event of its own is no piece of another: `cpus=2` before it would become the beginning of its thread's name.
        """
        for end in range(begin + 1, min(begin + 1 + _MOST_PIECES, len(lines))):
            if not lines[end].strip() or (end not in stray and self._reads(lines[end])):
                break
            pieces = [line.strip(b" \t\r") for line in lines[begin + 1 : end + 1]]
            for glue in (b" ", b""):
                whole = glue.join([lines[begin].rstrip(b" \t\r"), *pieces])
                if len(whole) < LONGEST_TEXT and self._reads(whole):
                    lines[begin : end + 1] = [whole, *[b""] * (end - begin)]
                    done.append(begin)
                    return end + 1
        return begin + 1

    def _reads(self, line: bytes) -> bool:
        """Tell whether a line is an event that a template reads."""
        split = _split(line, self._grammar)
        if split is None:
            return False
        name, text = split
        if name not in self._variants:
            self._variants[name] = [Variant(template) for template in self._templates(name)]
        return any(variant.read(text) is not None for variant in self._variants[name])
