"""C tokens of a print fmt: words, numbers, strings, characters, operators."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto

from kvmtrace.tracepoints.c_integers import INT_BITS, LONG_BITS, CInteger
from kvmtrace.tracepoints.errors import FormatError, quoted

LONGEST_TEXT = 1 << 16
"""Characters that a print fmt may have; that of kvm_exit has 4,500 in Linux 6.1."""

_TOKEN = re.compile(
    r"""
      (?P<BLANK>\s+)
    | (?P<STRING>"[^"\\]*(?:\\.[^"\\]*)*")
    | (?P<CHARACTER>'(?:[^'\\]|\\x[0-9a-fA-F]{1,8}|\\[0-7]{1,3}|\\.)')
    | (?P<NUMBER>(?:0[xX][0-9a-fA-F]+|[0-9]+)[uUlL]{0,3})(?!\w)
    | (?P<WORD>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<OPERATOR>->|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^~!<>?:()\[\]{},.;=])
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{1,8}|[0-7]{1,3}|.)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


class TokenKind(Enum):
    """What a token is; END stands once after the last one."""

    WORD = auto()
    NUMBER = auto()
    STRING = auto()
    CHARACTER = auto()
    OPERATOR = auto()
    END = auto()


@dataclass(frozen=True, slots=True)
class Token:
    """One token: its text (of strings and characters: unquoted, escapes resolved) and its offset in the print fmt."""

    kind: TokenKind
    text: str
    offset: int

    def __str__(self) -> str:
        return "the end" if self.kind is TokenKind.END else quoted(self.text)


def tokenize(text: str) -> list[Token]:
    """Split a print fmt into tokens, END last. FormatError: a character that begins none, or a text too long."""
    if len(text) > LONGEST_TEXT:
        raise FormatError(f"print fmt has {len(text)} characters, more than {LONGEST_TEXT}")
    tokens = []
    offset = 0
    while offset < len(text):
        match = _TOKEN.match(text, offset)
        if match is None or match.lastgroup is None:
            raise FormatError(f"print fmt: no C token at offset {offset}: {quoted(text[offset : offset + 20])}")
        if match.lastgroup != "BLANK":
            tokens.append(_token(TokenKind[match.lastgroup], match.group(), offset))
        offset = match.end()
    tokens.append(Token(TokenKind.END, "", offset))
    return tokens


def _token(kind: TokenKind, text: str, offset: int) -> Token:
    if kind in (TokenKind.STRING, TokenKind.CHARACTER):
        text = _ESCAPE.sub(lambda match: _unescaped(match[1]), text[1:-1])
    return Token(kind, text, offset)


def _unescaped(sequence: str) -> str:
    if sequence[0] in "01234567":
        return chr(int(sequence, 8) & 0xFF)
    if sequence[0] == "x" and len(sequence) > 1:
        return chr(int(sequence[1:], 16) & 0xFF)
    return _ESCAPED.get(sequence, sequence)


def integer_constant(token: Token) -> CInteger:
    """Return a number in the type that C gives it: the first of int, unsigned, long, unsigned long that holds it.

    A decimal number without a suffix u is never unsigned, unless nothing else holds it.
    """
    digits = token.text.rstrip("uUlL")
    suffix = token.text[len(digits) :].lower()
    octal = len(digits) > 1 and digits[0] == "0" and digits[1] not in "xX"
    longest = 2 + LONG_BITS // 3 + 1
    if len(digits) > longest or (octal and not _is_octal(digits)):
        raise FormatError(f"print fmt: no integer at offset {token.offset}: {token}")
    value = int(digits, 8) if octal else int(digits, 0)
    for bits in (INT_BITS, LONG_BITS):
        if "l" in suffix and bits == INT_BITS:
            continue
        if "u" not in suffix and value < 1 << (bits - 1):
            return CInteger(value, bits, signed=True)
        if value < 1 << bits and ("u" in suffix or digits[0] == "0" or bits == LONG_BITS):
            return CInteger(value, bits, signed=False)
    raise FormatError(f"print fmt: an integer of more than 64 bits at offset {token.offset}: {token}")


def _is_octal(digits: str) -> bool:
    return all(digit in "01234567" for digit in digits)
