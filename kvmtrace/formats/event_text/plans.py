"""A template as steps over many texts at a time.

A step stands at a place in each text: it looks whether a literal stands there, reads what comes behind it, and goes on
behind that. What the steps cannot decide (a name with blanks in it, a number of more than 16 digits) they leave to the
template's regular expression; what they do decide is what that would say.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.formats.event_text.name_columns import NameColumns
from kvmtrace.formats.event_text.stepping import Texts
from kvmtrace.formats.event_text.templates import Literal, Placeholder
from kvmtrace.formats.event_text.words import WORD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from kvmtrace.formats.event_text.columns import Column
    from kvmtrace.formats.event_text.templates import Template
    from kvmtrace.formats.event_text.words import Places

_BLANK = ord(" ")
_LONGEST_LITERAL = 64


class Verdict(IntEnum):
    """What is known of one text."""

    NO = 0
    YES = 1
    UNDECIDED = 2


@dataclass(frozen=True, slots=True)
class _Step:
    before: bytes  # the literal
    part: Placeholder | None  # what comes behind it; None: nothing, or blanks that may be there (`stop`)
    stop: int | None = None  # of a text: the character that may end it; None: it goes to the end


class Plan:
    """The steps of one template."""

    def __init__(self, steps: Sequence[_Step]) -> None:
        self._steps = steps
        kinds = {step.part.kind for step in steps if step.part is not None and step.part.is_table and step.part.fields}
        self._names = {kind: NameColumns(kind) for kind in kinds}

    @classmethod
    def of(cls, template: Template) -> Plan | None:
        """Return the plan of a template; None: it has parts that border on each other so that only trying tells."""
        steps: list[_Step] = []
        parts = list(template.parts)
        before = b""
        for index, part in enumerate(parts):
            if isinstance(part, Literal):
                if part.soft:
                    steps.append(_Step(before, None, _BLANK))
                    before = b""
                else:
                    before += part.text
                continue
            stop = _stop(part, parts[index + 1 :])
            if stop is None or len(before) > _LONGEST_LITERAL:
                return None
            steps.append(_Step(before, part, stop if stop >= 0 else None))
            before = b""
        return cls([*steps, _Step(before, None)]) if len(before) <= _LONGEST_LITERAL else None

    def run(self, block: NDArray[np.uint8], starts: Places, ends: Places) -> Result:
        """Read the texts from `starts` to `ends`, without the blanks around them, of a block with `PAD` around it."""
        run = Texts(block, starts.copy(), ends, self._names)
        for step in self._steps:
            if step.part is not None and step.part.is_number and 0 < len(step.before) <= 2 * WORD:
                run.number(step.part, step.before)
                continue
            run.literal(step.before)
            if step.part is not None:
                run.take(step.part, step.stop)
            elif step.stop is not None:
                run.skip_blanks()
        run.fail(run.at != ends)
        verdict = np.where(run.alive, np.uint8(Verdict.YES), np.uint8(Verdict.NO))
        verdict[run.unsure & ~run.alive] = Verdict.UNDECIDED
        return Result(verdict, run.columns)


@dataclass(frozen=True, slots=True)
class Result:
    """The verdict on each text, and the columns of the fields; where the verdict is not YES they mean nothing."""

    verdict: NDArray[np.uint8]
    columns: dict[str, Column]


def _stop(part: Placeholder, behind: Sequence[Literal | Placeholder]) -> int | None:
    """Return the character that ends a part of variable length, -1: none is needed; None: there is no telling."""
    if not behind or part.kind in {"bool", "flag"}:
        return -1
    if part.is_number:
        first = _first_characters(behind)
        digits = b"0123456789abcdefABCDEF" if part.kind.startswith("x") else b"0123456789"
        return None if first is None or set(first) & set(digits) else -1
    return behind[0].text[0] if isinstance(behind[0], Literal) and not behind[0].soft else None


def _first_characters(parts: Sequence[Literal | Placeholder]) -> bytes | None:
    """Return the characters with which these parts may begin; None: any."""
    first = b""
    for part in parts:
        if isinstance(part, Literal):
            return first + part.text[:1]
        if part.kind != "flag" or not part.literal:
            return None
        first += part.literal[:1]
    return first
