"""What mail, terminals and the wrong encoding do to a text, undone where it can be."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING

from kvmtrace.formats import text_lines

if TYPE_CHECKING:
    from kvmtrace.recording import Note

_QUOTING = re.compile(r"(?:[>|][ ]?)+")
_SPACE = re.compile(r"(?<![0-9])[\u00a0\u202f\u2009]|[\u00a0\u202f\u2009](?![0-9])")  # between digits it groups them


def repair(text: str) -> tuple[str, list[Note]]:
    """Read stray bytes as Latin-1, spaces of any kind as spaces where they do not group digits, CRLF as LF."""
    text, notes = text_lines.repair(text)
    return _SPACE.sub(" ", text.replace("\r\n", "\n")), notes


def unquoted(line: str) -> str:
    """Return a line without what marks it as quoted in a mail."""
    quoting = _QUOTING.match(line)
    return line[quoting.end() :] if quoting else line


def iso_time(printed: str) -> str | None:
    """Return a time that ctime(3) printed as ISO 8601, None if it is not one."""
    try:
        return datetime.strptime(printed.strip(), "%a %b %d %H:%M:%S %Y").isoformat()  # noqa: DTZ007 - perf prints no time zone
    except ValueError:
        return None
