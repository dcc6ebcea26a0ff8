"""Lists of cycles that people write → `recording.TableSet`s of `schema.BENCHMARKS`.

    * Upstream virt NULL hcall  - 9587 cycles
    * KVM Cify+opt virt NULL hcall  - 5754 cycles (167% faster than upstream,
                                                   or 60% the cycles required)

A row is `what - N cycles`, `what: N cycles` or `what = N cycles`, with nothing behind it or a remark; with a bullet
also `N cycles what`. Without bullets two rows must stand together, since a sentence may end with a figure too. The
remark is the message of the row, as it is written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kvmtrace.errors import InputError
from kvmtrace.formats.format import TableFormat
from kvmtrace.formats.kvm_unit_tests.rows import Row, benchmark_table
from kvmtrace.formats.text_lines import clean_lines, shown, tell_apart, told
from kvmtrace.recording import Facts, Note, TableSet

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FORMAT"]

NAME = "cycle-list"

_LONGEST_LABEL = 60  # characters; a longer line above a list is prose
_LONGEST_REMARK = 4  # lines that a bracket may go on for
_ENOUGH = 2  # rows without bullets that vouch for each other

_DASH = r"[-\u2013\u2014]"
_FIGURE = r"([1-9][0-9]{0,2}(?:,[0-9]{3}){1,5}|[0-9]{1,15}(?:\.[0-9]{1,6})?)[ \t]+(?:(?:clock|CPU|TSC)[ \t]+)?cycles?"
_BULLET = rf"[ \t]*(?:[*+\u00b7\u2022]|{_DASH}|[0-9]{{1,2}}[.)])[ \t]+"
_ROW = re.compile(
    rf"({_BULLET})?[ \t]*(\S(?:.{{0,98}}?\S)??)(?:[ \t]+(?:{_DASH}|=)[ \t]*|[ \t]*:[ \t]*){_FIGURE}"
    rf"(?:[ \t]*([(\[,;/#].*|{_DASH}.*|per .*))?",
)
_FIGURE_FIRST = re.compile(rf"{_BULLET}{_FIGURE}(?:[ \t]*(?::|{_DASH}))?[ \t]+([^\W\d].{{0,98}})")
_BULLETED = re.compile(_BULLET)
_NEAR = re.compile(r"[0-9][ \t]+(?:\w{3,5}[ \t]+)?cycles?\b")
_SENTENCE = re.compile(r"[.!?][ \t]+\S")


@dataclass(slots=True)
class _List:
    label: str | None
    rows: list[Row] = field(default_factory=list)
    bulleted: bool = False

    @property
    def counts(self) -> bool:
        return self.bulleted or len(self.rows) >= _ENOUGH


def recognises(text: str) -> bool:
    """Tell whether a text holds a list of cycles."""
    if "cycle" not in text:
        return False
    return any(found.counts for found in _find(clean_lines(text)[0])[0])


def read(text: str, file: str) -> list[TableSet]:
    """Read every list of `text`, in order. InputError: there is none."""
    lines, notes = clean_lines(text)
    found, troubles = _find(lines)
    lists = [each for each in found if each.counts]
    if not lists:
        raise InputError(
            file,
            "expected a list with lines such as `* what - 509 cycles`, found none",
            hint="put a bullet before the lines of the list, or two of them one below the other",
        )
    notes += troubles
    notes += [
        Note(f"line {row.line}", f"one figure without a bullet, which may be a sentence: not read ({row.name})")
        for each in found
        if not each.counts
        for row in each.rows
    ]
    return [
        TableSet(
            facts=Facts(format=NAME, part=part),
            table="benchmarks",
            rows=benchmark_table(each.rows, None),
            notes=told(notes) if each is lists[-1] else (),
        )
        for each, part in zip(lists, tell_apart([each.label for each in lists], "list"), strict=True)
    ]


FORMAT = TableFormat(
    name=NAME,
    what="a list of cycles in a mail (* NULL hcall - 5754 cycles)",
    example="echo '* NULL hcall - 5754 cycles' > cycles.txt",
    recognises=recognises,
    read=read,
)


def _find(lines: Sequence[str]) -> tuple[list[_List], list[Note]]:
    """Return the lists of a text, also those that are none for certain, and notes on lines inside of them."""
    lists: list[_List] = []
    notes: list[Note] = []
    is_open, above, taken = False, "", 0
    for number, text in enumerate(lines, start=1):
        if number <= taken:
            continue
        row, bulleted = _read_row(text, number)
        if row is not None:
            taken = _take_remark(row, lines)
            if not is_open or lists[-1].bulleted != bulleted:
                lists.append(_List(_label(above), bulleted=bulleted))
            lists[-1].rows.append(row)
            is_open = True
        elif is_open:
            if _NEAR.search(text):
                notes.append(Note(f"line {number}", f"looks like a row of the list and is not read: {shown(text)}"))
            is_open = _goes_on(lists[-1], text)
        above = text.strip() or above
    return lists, notes


def _goes_on(found: _List, text: str) -> bool:
    """Tell whether a list goes on below a line that is no row: blank, one more bullet, or the rest of a row."""
    return found.bulleted and (not text or text[0] in " \t" or _BULLETED.match(text) is not None)


def _label(above: str) -> str | None:
    return above.rstrip(":") if above.endswith(":") and len(above) <= _LONGEST_LABEL else None


def _read_row(text: str, line: int) -> tuple[Row | None, bool]:
    """Return the row of a line, if it is one, and whether it has a bullet."""
    if "cycle" not in text:
        return None, False
    match = _ROW.fullmatch(text)
    if match is not None and any(map(str.isalpha, match[2])) and _SENTENCE.search(match[2]) is None:
        return _row(line, match[2], match[3], match[4]), match[1] is not None
    match = _FIGURE_FIRST.fullmatch(text)
    return (_row(line, match[2], match[1], None), True) if match is not None else (None, False)


def _row(line: int, what: str, figure: str, message: str | None) -> Row:
    value = float(figure.replace(",", ""))
    return Row(line, what.rstrip(), "measured", value=value, unit="cycles", message=message)


def _take_remark(row: Row, lines: Sequence[str]) -> int:
    """Join the lines that a bracket of the remark goes on for; return the last line that was taken."""
    last = row.line
    for text in lines[row.line : row.line + _LONGEST_REMARK]:
        if row.message is None or row.message.count("(") <= row.message.count(")") or not text:
            break
        if _read_row(text, last + 1)[0] is not None:
            break
        row.message = f"{row.message} {text.strip()}"
        last += 1
    return last
