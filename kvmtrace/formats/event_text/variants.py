"""The texts of one kind of event → columns: by plans, and by regular expressions where there is no plan."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from kvmtrace.formats.event_text.columns import Column, Spans, empty_columns, fill
from kvmtrace.formats.event_text.names import table
from kvmtrace.formats.event_text.plans import Plan, Verdict
from kvmtrace.formats.event_text.templates import NUMBERS, wrapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from kvmtrace.formats.event_text.templates import Placeholder, Template
    from kvmtrace.formats.event_text.words import Places

LONGEST_TEXT = 1024
"""Bytes of a text that a regular expression is tried on: they may need time that grows faster than the text."""


class Variant:
    """One template, in both ways of reading it."""

    def __init__(self, template: Template) -> None:
        self.template = template

    @cached_property
    def plan(self) -> Plan | None:
        """The plan of the template; None: it has none."""
        return Plan.of(self.template)

    def read(self, text: bytes) -> dict[str, Any] | None:
        """Return the fields of one text by the regular expression: numbers, and (start, length) of texts in it.

        None: the text is not of this template.
        """
        match = self.template.pattern.fullmatch(text) if len(text) <= LONGEST_TEXT else None
        if match is None:
            return None
        values: dict[str, Any] = {}
        for group, part in enumerate(self.template.stored, 1):
            found = _values(part, match[group], match.span(group))
            if found is None:
                return None
            values.update(zip(part.fields, found, strict=True))
        return values


def _values(part: Placeholder, found: bytes, span: tuple[int, int]) -> tuple[Any, ...] | None:
    if part.kind in {"text", "word"}:
        return ((span[0], span[1] - span[0]),)
    if part.kind in {"flag", "bool"}:
        return ((found == part.literal) if part.kind == "flag" else found == b"1",)
    if part.is_number:
        value = _number(found, part.kind)
        return None if value is None else (value,)
    names = table(part.kind)
    resolved = names.resolve(found.decode("latin-1"))
    if resolved is None:
        return None
    return tuple(wrapped(value, kind) for value, kind in zip(resolved, names.types, strict=True))


def _number(digits: bytes, kind: str) -> int | None:
    """Return the value of a number, None if its type cannot hold it, nor that of the other sign."""
    bits, _ = NUMBERS[kind]
    value = int(digits, 16 if kind.startswith("x") else 10)
    return wrapped(value, kind) if -(1 << bits - 1) <= value < 1 << bits else None


class TextReader:
    """Reads the texts of one kind of event: the variants that have the same fields."""

    def __init__(self, templates: Sequence[Template]) -> None:
        self.types = templates[0].types
        self.variants = [Variant(template) for template in templates if template.types == self.types]

    def read(self, raw: NDArray[np.uint8], starts: Places, ends: Places) -> tuple[NDArray[np.bool_], dict[str, Column]]:
        """Return which texts of a block could be read, and their columns."""
        pieces: list[tuple[Places, dict[str, Column]]] = []
        left = np.arange(len(starts))
        for variant in self.variants:
            left = self._by_plan(variant, raw, starts, ends, left, pieces)
            if not len(left):
                break
        if len(pieces) == 1 and len(pieces[0][0]) == len(starts):
            return np.ones(len(starts), np.bool_), pieces[0][1]
        done = np.zeros(len(starts), np.bool_)
        columns = empty_columns(self.types, len(starts))
        for rows, values in pieces:
            done[rows] = True
            fill(columns, rows, values)
        return done, {name: column[done] for name, column in columns.items()}

    def _by_plan(
        self,
        variant: Variant,
        raw: NDArray[np.uint8],
        starts: Places,
        ends: Places,
        left: Places,
        pieces: list[tuple[Places, dict[str, Column]]],
    ) -> Places:
        """Read what one variant can, and return the rows that it cannot."""
        if variant.plan is None:
            return self._by_expression(variant, raw, starts, ends, left, pieces)
        result = variant.plan.run(raw, starts[left], ends[left])
        yes = result.verdict == Verdict.YES
        if yes.all():
            pieces.append((left, result.columns))
            return left[:0]
        if yes.any():
            pieces.append((left[yes], {name: column[yes] for name, column in result.columns.items()}))
        unclear = result.verdict == Verdict.UNDECIDED
        if not unclear.any():
            return cast("Places", left[~yes])
        not_read = self._by_expression(variant, raw, starts, ends, left[unclear], pieces)
        no = left[result.verdict == Verdict.NO]
        return cast("Places", np.sort(np.concatenate([no, not_read])))

    def _by_expression(
        self,
        variant: Variant,
        raw: NDArray[np.uint8],
        starts: Places,
        ends: Places,
        rows: Places,
        pieces: list[tuple[Places, dict[str, Column]]],
    ) -> Places:
        known: dict[bytes, dict[str, Any] | None] = {}
        read: list[int] = []
        found: list[dict[str, Any]] = []
        not_read: list[int] = []
        for row in rows.tolist():
            text = raw[starts[row] : ends[row]].tobytes()
            if text not in known:
                known[text] = variant.read(text)
            values = known[text]
            if values is None:
                not_read.append(row)
            else:
                read.append(row)
                found.append(values)
        if read:
            places = np.array(read)
            pieces.append((places, self._columns(found, starts[places])))
        return np.array(not_read, np.int64)

    def _columns(self, found: list[dict[str, Any]], starts: Places) -> dict[str, Column]:
        columns = empty_columns(self.types, len(found))
        for name, column in columns.items():
            values = [row[name] for row in found]
            if isinstance(column, Spans):
                spans = np.array(values, np.int64).reshape(len(values), 2)
                columns[name] = Spans(starts + spans[:, 0], spans[:, 1])
            else:
                column[:] = values
        return columns
