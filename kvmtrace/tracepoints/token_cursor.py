"""A place in the tokens of a print fmt."""

from __future__ import annotations

from kvmtrace.tracepoints.errors import FormatError
from kvmtrace.tracepoints.tokens import Token, TokenKind


class TokenCursor:
    """Reads tokens from left to right."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._next = 0

    def peek(self, ahead: int = 0) -> Token:
        """Return the token that stands `ahead` tokens from here; END from the end on."""
        return self._tokens[min(self._next + ahead, len(self._tokens) - 1)]

    def advance(self) -> Token:
        """Return the next token and step over it."""
        token = self.peek()
        self._next += 1
        return token

    def skip(self, tokens: int) -> None:
        """Step over tokens that were peeked at."""
        self._next += tokens

    def at(self, symbol: str, ahead: int = 0) -> bool:
        """Tell whether this operator stands next, or `ahead` tokens further."""
        token = self.peek(ahead)
        return token.kind is TokenKind.OPERATOR and token.text == symbol

    def accept(self, symbol: str) -> bool:
        """Step over this operator if it stands next, and tell whether it did."""
        found = self.at(symbol)
        self._next += found
        return found

    def expect(self, symbol: str) -> None:
        """Step over this operator. FormatError: another token stands next."""
        if not self.accept(symbol):
            raise self.unexpected(repr(symbol))

    def unexpected(self, expected: str) -> FormatError:
        """Return the error that says what was expected instead of the next token."""
        found = self.peek()
        return FormatError(f"print fmt: expected {expected}, found {found} at offset {found.offset}")

    def word(self) -> str:
        """Read a name. FormatError: none stands next."""
        if self.peek().kind is not TokenKind.WORD:
            raise self.unexpected("a name")
        return self.advance().text

    def text(self) -> str:
        """Read string literals, which C joins."""
        if self.peek().kind is not TokenKind.STRING:
            raise self.unexpected("a string")
        parts = []
        while self.peek().kind is TokenKind.STRING:
            parts.append(self.advance().text)
        return "".join(parts)
