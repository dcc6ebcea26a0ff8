"""One row of a table, read by its words: values may be wider than their columns, and names may hold blanks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from kvmtrace.formats.perf_kvm_stat.lines import LONGEST, words_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmtrace.formats.perf_kvm_stat.layout import Layout
    from kvmtrace.formats.perf_kvm_stat.lines import Line

_MOST_LINES = 4  # that a mail breaks a row into
_NS_PER_US = 1000
_LARGEST = (1 << 63) - 1

_WHOLE = re.compile(r"[0-9]{1,19}|[0-9]{1,3}(?:,[0-9]{3}){1,6}")
_SHARE = re.compile(r"-?nan%|([0-9]{1,9}(?:[.,][0-9]{1,6})?)%")
_US = re.compile(r"([0-9]{1,16}(?:\.[0-9]{1,6}|,[0-9]{2})?)us")
_NS = re.compile(r"([0-9]{1,19})")
_CELLS = {"samples": _WHOLE, "samples_share": _SHARE, "time_share": _SHARE}
_ERROR = re.compile(r"\( ?\+- ?(?:-?nan|([0-9]{1,9}(?:[.,][0-9]{1,6})?))% ?\)")
_ERROR_BEGUN = re.compile(r"\((?: \+-)?|\( ?\+-|\( ?\+- ?[0-9.,]{1,16}%")
_DIGIT = re.compile("[0-9]")
_FIGURE = re.compile(r"[0-9][0-9.,]*(?:us|ms|ns|s|%)?")
_PERFS_FIGURE = re.compile(r"[0-9][0-9.,]*(?:us|%)")
_DIGITS = frozenset("0123456789")
_UNITS = frozenset("s%")
_FEWEST_FIGURES = 3  # of a line without units that may be a row; with units one less


@dataclass(slots=True)
class Row:
    """A row as printed: times in ns, shares of 1; None is: no such column, or nan. `rest` stands behind the row."""

    line: int
    name: str
    cells: dict[str, Decimal | None]  # by the columns of the layout, times without their unit in us turned into ns
    stderr_share: Decimal | None
    rest: str

    @property
    def samples(self) -> int:
        """The samples of the row."""
        value = self.cells["samples"]
        return int(value) if value is not None else 0

    def time(self, which: str) -> Decimal | None:
        """Return min, max, mean or time (the row's total) in ns; None: not printed."""
        value = self.cells.get(f"{which}_us")
        return self.cells.get(f"{which}_ns") if value is None else value * _NS_PER_US


def read_row(layout: Layout, lines: Sequence[Line], index: int) -> tuple[Row, int] | None:
    """Read the row that begins at lines[index]; return it and the index behind it. None: there is no whole row."""
    if "%" not in lines[index].text or len(lines[index].text) > LONGEST:  # no mail breaks before the first share
        return None
    words = words_of(lines[index].text)
    start = _start(layout, words)
    if start is None:
        return None
    for end in range(index + 1, min(index + _MOST_LINES, len(lines)) + 1):
        if _filled(layout, words, start) == len(layout.columns):
            return _row(layout, lines, index, end, words, start)
        if end < len(lines):
            words += words_of(lines[end].text)
    return None


def looks_like_row(text: str, layout: Layout | None = None) -> bool:
    """Tell whether a line may be a row all the same: it is mostly figures, or ends as a row of `layout` begins."""
    if not _DIGIT.search(text):
        return False
    words = words_of(text)
    if layout and "%" in text and (start := _start(layout, words)) is not None and _filled(layout, words, start) > 1:
        return True
    words = [word.strip("()") for word in words]
    figures = sum(1 for word in words if word[:1] in _DIGITS and _FIGURE.fullmatch(word))
    perfs = sum(1 for word in words if word[-1:] in _UNITS and _PERFS_FIGURE.fullmatch(word))
    return (figures >= _FEWEST_FIGURES and 2 * figures >= len(words)) or perfs >= _FEWEST_FIGURES - 1


def _start(layout: Layout, words: Sequence[str]) -> int | None:
    """Return where the figures begin that fill all columns, or those up to the last word. None: nowhere."""
    for start, word in enumerate(words):
        if word[0] in _DIGITS:
            count = _filled(layout, words, start)
            if count == len(layout.columns) or (count and start + count == len(words)):
                return start
    return None


def _filled(layout: Layout, words: Sequence[str], start: int) -> int:
    """Return how many columns the words from `start` fill, in order."""
    count = 0
    for column, word in zip(layout.columns, words[start:], strict=False):
        if not _cell(column).fullmatch(word):
            break
        count += 1
    return count


def _cell(column: str) -> re.Pattern[str]:
    return _CELLS.get(column) or (_US if column.endswith("_us") else _NS)


def _row(
    layout: Layout, lines: Sequence[Line], index: int, end: int, words: Sequence[str], start: int
) -> tuple[Row, int] | None:
    """Put a row together whose figures end before lines[end]; its error may stand on the next line."""
    values = words[start : start + len(layout.columns)]
    cells = {column: _value(_cell(column), word) for column, word in zip(layout.columns, values, strict=True)}
    if any(value is not None and value > _LARGEST for value in cells.values()):
        return None
    rest = " ".join(words[start + len(layout.columns) :])
    if (not rest or _ERROR_BEGUN.fullmatch(rest)) and end < len(lines):
        longer = " ".join([rest, *words_of(lines[end].text)]).strip()
        if _ERROR.match(longer):
            rest, end = longer, end + 1
    error = _ERROR.match(rest)
    share = _number(error[1]) / 100 if error and error[1] else None
    rest = rest[error.end() :].strip() if error else rest
    return Row(lines[index].number, " ".join(words[:start]), cells, share, rest), end


def _value(pattern: re.Pattern[str], word: str) -> Decimal | None:
    if pattern is _WHOLE:
        return Decimal(word.replace(",", ""))
    match = pattern.fullmatch(word)
    if match is None or match[1] is None:
        return None
    return _number(match[1]) / (100 if pattern is _SHARE else 1)


def _number(text: str) -> Decimal:
    return Decimal(text.replace(",", "."))
