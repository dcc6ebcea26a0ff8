"""Makes the names of a recording, which nobody vouches for, safe to show."""

from __future__ import annotations

_MARKDOWN = {ord(c): f"\\{c}" for c in "\\`*[]|~"} | {ord("<"): "&lt;", ord(">"): "&gt;", ord("&"): "&amp;"}

_ASCII = {ord("µ"): "u", ord("±"): "+-", ord("…"): "...", ord("\N{MULTIPLICATION SIGN}"): "x"}


def printable(text: str) -> str:
    """Return `text` with what moves a cursor, hides or reorders text escaped: control and format characters."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def short(name: str, limit: int) -> str:
    """Return a name, printable, of at most `limit` characters."""
    name = printable(name)
    return name if len(name) <= limit else f"{name[: limit - 1]}…"


def ascii_only(text: str) -> str:
    """Return `text` in ASCII: our own signs spelled out, other characters escaped."""
    return text if text.isascii() else text.translate(_ASCII).encode("ascii", "backslashreplace").decode()


def markdown(text: str) -> str:
    """Return `text` as Markdown shows it literally."""
    return text.translate(_MARKDOWN)
