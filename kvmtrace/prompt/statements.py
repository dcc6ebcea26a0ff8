"""What a prompt must know of SQL before it is parsed: whether a statement has ended, and which tables it names."""

from __future__ import annotations

import re

# What quotes or comments away a semicolon; what is not closed reaches to the end. Comments may hold comments.
_APART = re.compile(
    r"""
    (?<!\w)[eE]'(?:\\.|''|[^'\\])*(?:'|\Z)
  | '(?:[^']|'')*(?:'|\Z)
  | "(?:[^"]|"")*(?:"|\Z)
  | (?<![\w$])\$([A-Za-z_]\w*|)\$.*?(?:\$\1\$|\Z)
  | --[^\n]*(?:\n|\Z)
  | /\*(?:/\*.*?\*/|.)*?(?:\*/|\Z)
    """,
    re.DOTALL | re.VERBOSE,
)
_NAME = re.compile(r'"((?:[^"]|"")+)"|(?<![\w$])([A-Za-z_]\w*)')
_COMMENTS = ("--", "/*")

COMMANDS = {"exit": "\\q", "quit": "\\q", "help": "\\?"}
"""Words that are no SQL, and what other prompts do at them."""


def command(text: str) -> str | None:
    """Return the backslash command that is typed, without a `;` behind it; None: it is none."""
    stripped = text.strip().rstrip("; ")
    return stripped if stripped.startswith("\\") else COMMANDS.get(stripped.lower())


def is_whole(text: str) -> bool:
    """Tell whether Enter runs what is typed: statements up to a `;`, a command, or nothing."""
    return not text.strip() or command(text) is not None or _APART.sub(" ", text).rstrip().endswith(";")


def each(text: str) -> list[str]:
    """Return the statements of `text`, without the `;` that ends each; where nothing but comments stands is none."""
    masked = _APART.sub(lambda part: (" " if part[0].startswith(_COMMENTS) else "x") * len(part[0]), text)
    ends = [at for at, sign in enumerate(masked) if sign == ";"]
    places = zip([0, *(end + 1 for end in ends)], [*ends, len(text)], strict=True)
    return [text[begin:end].strip() for begin, end in places if masked[begin:end].strip()]


def is_quoted(before_cursor: str) -> bool:
    """Tell whether the cursor stands in a string or a comment, where no name is meant."""
    mark = "\0"  # no statement has it: what is open at the cursor takes it in
    return any(mark in part[0] and part[0][0] != '"' for part in _APART.finditer(before_cursor + mark))


def names(text: str) -> list[str]:
    """Return every name in a statement, quoted or not, in order and once; strings and comments have none."""
    bare = _APART.sub(lambda quoted: quoted[0] if quoted[0][0] == '"' else " ", text)
    found = ((quoted.replace('""', '"') or plain) for quoted, plain in _NAME.findall(bare))
    return list(dict.fromkeys(found))
