"""Parser of the C expressions in a print fmt: precedence climbing, bounded in depth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmtrace.tracepoints import operators
from kvmtrace.tracepoints.c_integers import INT_BITS, LONG_BITS, CInteger
from kvmtrace.tracepoints.c_types import POINTER_SIZE, CType, integer_type, names_a_type
from kvmtrace.tracepoints.errors import FormatError, quoted
from kvmtrace.tracepoints.expressions import Constant, Expression, Unresolved
from kvmtrace.tracepoints.field_access import Element, FieldReference, Length
from kvmtrace.tracepoints.kernel_functions import FIELD_FUNCTIONS, LENGTH_FUNCTIONS, TABLE_FUNCTIONS, call
from kvmtrace.tracepoints.token_cursor import TokenCursor
from kvmtrace.tracepoints.tokens import TokenKind, integer_constant, tokenize

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvmtrace.tracepoints.fields import Field

_PRECEDENCE = {
    symbol: level
    for level, symbols in enumerate(
        ("||", "&&", "|", "^", "&", "== !=", "< <= > >=", "<< >>", "+ -", "* / %"),
        start=1,
    )
    for symbol in symbols.split()
}
_PREFIXES = frozenset("!~-+*&")
_DEEPEST_NESTING = 120
"""Expressions and operators that may lie within each other; parentheses count as two, and cost up to eight calls."""


class Parser(TokenCursor):
    """Reads one print fmt."""

    def __init__(self, print_fmt: str, fields: Iterable[Field] = ()) -> None:
        super().__init__(tokenize(print_fmt))
        self._nesting = 0
        self._fields = {field.name: field for field in fields}

    def trailing_arguments(self) -> tuple[Expression, ...]:
        """Read `, x, y` up to the end of the text; a comma with nothing after it is what a kernel writes for none."""
        arguments = []
        while self.peek().kind is not TokenKind.END:
            self.expect(",")
            if self.peek().kind is not TokenKind.END:
                arguments.append(self.expression())
        return tuple(arguments)

    def expression(self) -> Expression:
        """Read one expression, without commas."""
        self._enter()
        branches: list[tuple[Expression, Expression | None]] = []
        last = self._binary(1)
        while self.accept("?"):
            choice = None if self.at(":") else self.expression()
            self.expect(":")
            branches.append((last, choice))
            last = self._binary(1)
        self._nesting -= 1
        return operators.Conditional(tuple(branches), last) if branches else last

    def _enter(self) -> None:
        self._nesting += 1
        if self._nesting > _DEEPEST_NESTING:
            raise FormatError(f"print fmt: nested too deeply at offset {self.peek().offset}")

    def _binary(self, lowest: int) -> Expression:
        self._enter()
        left = self._prefixed()
        while (level := self._binary_level()) >= lowest:
            symbol = self.advance().text
            left = operators.Binary(symbol, left, self._binary(level + 1))
        self._nesting -= 1
        return left

    def _binary_level(self) -> int:
        token = self.peek()
        return _PRECEDENCE.get(token.text, 0) if token.kind is TokenKind.OPERATOR else 0

    def _prefixed(self) -> Expression:
        """Read casts and prefix operators, then what they apply to; a loop, since a text may stack any number."""
        prefixes: list[str | CType | None] = []
        while True:
            token = self.peek()
            if token.kind is TokenKind.OPERATOR and token.text in _PREFIXES:
                prefixes.append(self.advance().text)
            elif words := self._cast_words():
                prefixes.append(self._cast_target(words))
            else:
                break
        operand = self._postfixed()
        for prefix in reversed(prefixes):
            operand = _apply(prefix, operand)
        return operand

    def _cast_words(self) -> list[str]:
        """Return the words of a parenthesised type that stands next, or nothing: it is an expression."""
        if not self.at("("):
            return []
        words = self._type_words(1)
        after = 1 + len(words)
        if not words or not self.at(")", after):
            return []
        # `(name) x` can only be a cast; `(name) - x` is more likely a difference.
        follower = self.peek(after + 1).kind
        operand_follows = follower not in (TokenKind.OPERATOR, TokenKind.END) or self.at("(", after + 1)
        return words if words[-1] == "*" or names_a_type(words) or operand_follows else []

    def _type_words(self, ahead: int) -> list[str]:
        """Return the run of words and then asterisks that begins `ahead` tokens from here."""
        words: list[str] = []
        while self.peek(ahead + len(words)).kind is TokenKind.WORD:
            words.append(self.peek(ahead + len(words)).text)
        while words and self.at("*", ahead + len(words)):
            words.append("*")
        return words

    def _cast_target(self, words: list[str]) -> CType | None:
        self.skip(len(words) + 2)
        return None if words[-1] == "*" else integer_type(words)

    def _postfixed(self) -> Expression:
        operand = self._primary()
        while True:
            if self.accept("["):
                operand = Element(operand, self.expression())
                self.expect("]")
            elif self.accept("->") or self.accept("."):
                member = self.word()
                operand = Unresolved(f"member {quoted(member)} of a structure", (operand,))
            else:
                return operand

    def _primary(self) -> Expression:
        token = self.peek()
        if token.kind is TokenKind.STRING:
            return Constant(self.text())
        if self.accept("("):
            inner = self.expression()
            self.expect(")")
            return inner
        if token.kind is TokenKind.NUMBER:
            return Constant(integer_constant(self.advance()))
        if token.kind is TokenKind.CHARACTER:
            return Constant(CInteger.wrapped(ord(self.advance().text), INT_BITS, signed=True))
        if token.kind is TokenKind.WORD:
            return self._named(self.advance().text)
        raise self.unexpected("an expression")

    def _named(self, name: str) -> Expression:
        if name == "REC" and self.accept("->"):
            return self._field(self.word())
        if name == "sizeof":
            return self._size()
        if self.accept("("):
            return self._function(name)
        if name in ("true", "false"):
            return Constant(CInteger(int(name == "true"), INT_BITS, signed=True))
        return Unresolved(f"the kernel did not resolve the name {quoted(name)}")

    def _field(self, name: str) -> FieldReference:
        field = self._fields.get(name)
        if field is None or field.element_size not in (1, 2, 4, 8):
            return FieldReference(name)
        return FieldReference(name, CType(field.element_size, field.signed), field.size)

    def _size(self) -> Expression:
        self.expect("(")
        words = self._type_words(0)
        if names_a_type(words) and self.at(")", len(words)):
            self.skip(len(words))
            known = CType(POINTER_SIZE, signed=False) if words[-1] == "*" else integer_type(words)
            size = known.size if known else None
        else:
            size = _size_of(self.expression())
        self.expect(")")
        if size is None:
            return Unresolved("the size of a type that is not known")
        return Constant(CInteger(size, LONG_BITS, signed=False))

    def _function(self, name: str) -> Expression:
        if name in FIELD_FUNCTIONS or name in LENGTH_FUNCTIONS:
            field = self._field(self.word())
            self.expect(")")
            return Length(field) if name in LENGTH_FUNCTIONS else field
        arguments: list[Expression] = []
        while not self.at(")") and not (name in TABLE_FUNCTIONS and self.at("{")):
            arguments.append(self.expression())
            if not self.accept(","):
                break
        table = self._table() if name in TABLE_FUNCTIONS else ()
        self.expect(")")
        return call(name, arguments, table)

    def _table(self) -> tuple[tuple[Expression, str], ...]:
        """Read `{key, "name"}, …`; `{ }` is a list that was empty, and `{ -1, ((void *)0) }` ends some lists."""
        entries = []
        while self.accept("{"):
            if not self.at("}"):
                key = self.expression()
                self.expect(",")
                name = self.expression()
                if isinstance(name, Constant) and isinstance(name.content, str):
                    entries.append((key, name.content))
            self.expect("}")
            if not self.accept(","):
                break
        return tuple(entries)


def _apply(prefix: str | CType | None, operand: Expression) -> Expression:
    if prefix is None or isinstance(prefix, CType):
        return operators.Cast(prefix, operand)
    if prefix == "*":
        return Element(operand, Constant(CInteger(0, INT_BITS, signed=True)))
    if prefix == "&":
        return Unresolved("an address in the kernel", (operand,))
    return operators.Unary(prefix, operand)


def _size_of(operand: Expression) -> int | None:
    if isinstance(operand, FieldReference):
        return operand.size
    if isinstance(operand, Element) and isinstance(operand.array, FieldReference):
        return operand.array.element.size if operand.array.element else None
    return None
