"""What a prompt must know of SQL before it is parsed: whether a statement has ended, and which tables it names."""

from __future__ import annotations

import re

# What quotes or comments away a semicolon; what is not closed reaches to the end.
_APART = re.compile(
    r"""
    '(?:[^']|'')*(?:'|\Z)
  | "(?:[^"]|"")*(?:"|\Z)
  | \$\$.*?(?:\$\$|\Z)
  | --[^\n]*(?:\n|\Z)
  | /\*.*?(?:\*/|\Z)
    """,
    re.DOTALL | re.VERBOSE,
)
_NAME = re.compile(r'"((?:[^"]|"")+)"|(?<![\w$])([A-Za-z_]\w*)')


def is_whole(text: str) -> bool:
    """Tell whether Enter runs what is typed: a statement up to its `;`, a backslash command, or nothing."""
    stripped = text.strip()
    return not stripped or stripped.startswith("\\") or _APART.sub(" ", text).rstrip().endswith(";")


def without_end(text: str) -> str:
    """Return a statement without the `;` that ends it, and what is commented behind it."""
    bare = _APART.sub(lambda quoted: quoted[0] if quoted[0][0] in "'\"$" else " " * len(quoted[0]), text)
    end = bare.rstrip()
    return text[: len(end) - 1] if end.endswith(";") else text


def is_quoted(before_cursor: str) -> bool:
    """Tell whether the cursor stands in a string or a comment, where no name is meant."""
    mark = "\0"  # no statement has it: what is open at the cursor takes it in
    return any(mark in part[0] and part[0][0] != '"' for part in _APART.finditer(before_cursor + mark))


def names(text: str) -> list[str]:
    """Return every name in a statement, quoted or not, in order and once; strings and comments have none."""
    bare = _APART.sub(lambda quoted: quoted[0] if quoted[0][0] == '"' else " ", text)
    found = ((quoted.replace('""', '"') or plain) for quoted, plain in _NAME.findall(bare))
    return list(dict.fromkeys(found))
