"""Lines → what stands before the text of each event: time, CPU, thread, name of the event."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.formats.event_text.event_names import EventNames
from kvmtrace.formats.event_text.layouts import Layout
from kvmtrace.formats.event_text.prefixes import LONGEST, Shape, bare, shapes

if TYPE_CHECKING:
    import re
    from collections.abc import Callable

    from numpy.typing import NDArray

    from kvmtrace.formats.event_text.lines import LineBlock
    from kvmtrace.formats.event_text.words import Places

LATEST_NS = 1 << 62
"""Latest time that is believed."""

_NS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000}
_MANY_LAYOUTS = 64
_ESSENTIAL = ("secs", "cpu", "tid")
_LOOKED_AHEAD = 32  # lines that tell what a text has in its prefixes
_LARGEST_ID = (1 << 31) - 1
_TAB = ord("\t")


@dataclass(slots=True)
class Heads:
    """Lines that are events, in their order; `line` is their index in the block."""

    line: Places
    ts_ns: Places
    cpu: Places  # -1: not told
    pid: Places
    tid: Places
    event: Places  # code of the event's name
    text: Places  # where the event's own text begins
    comm: Places  # where the thread's name begins and ends, with blanks; equal: it is not told
    comm_end: Places

    @classmethod
    def of(cls, rows: int) -> Heads:
        """Return so many lines of which nothing is told."""
        return cls(*[np.broadcast_to(np.int64(-1), (rows,))] * 9)

    def take(self, rows: Places | NDArray[np.bool_]) -> Heads:
        """Return some of the lines."""
        return Heads(*(getattr(self, name)[rows] for name in self.__slots__))

    @classmethod
    def concat(cls, parts: list[Heads]) -> Heads:
        """Return the lines of all parts, in the order of the block."""
        if len(parts) == 1:
            return parts[0]
        whole = cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__slots__))
        return whole.take(np.argsort(whole.line, kind="stable"))


@dataclass(slots=True)
class Told:
    """What the prefixes of a text have had in them so far."""

    groups: set[str] = field(default_factory=set)  # names of the parts
    shapes: set[str] = field(default_factory=set)
    parts: dict[str, int] = field(default_factory=dict)  # what trace-cmd writes before the lines of a part → first line
    time_step_ns: int = 1  # of the coarsest times


class HeadReader:
    """Reads the prefixes of one text.

    `ticks_ns` turns times without a dot into ns; `knows` says of a name whether it is an event's, for lines that have
    no prefix at all (`bare_lines`).
    """

    def __init__(
        self,
        grammar: str,
        *,
        ticks_ns: Callable[[Places], Places] | None = None,
        knows: Callable[[str], bool] | None = None,
        bare_lines: bool = False,
    ) -> None:
        self._shapes = [*shapes(grammar), *([bare()] if bare_lines else [])]
        self._ticks_ns = ticks_ns
        self._skips_tabs = grammar == "perf-script"  # call chains
        self._layouts: list[tuple[Shape, Layout]] = []
        self._layout_keys: set[tuple[object, ...]] = set()
        self._essential: set[str] | None = None
        self.names = EventNames(knows)
        self.told = Told()

    def read(self, lines: LineBlock) -> tuple[Heads, list[int]]:
        """Return the events among the lines, and the indexes of the lines that are none, without blank lines."""
        filled = lines.ends > lines.starts
        if self._skips_tabs:
            filled &= lines.raw[lines.starts] != _TAB
        left = np.flatnonzero(filled)
        parts: list[Heads] = []
        for shape, layout in self._layouts:
            if not len(left):
                break
            left = self._apply(shape, layout, lines, left, parts)
        others: list[int] = []
        while len(left):
            index = int(left[0])
            shape_match = self._match(lines, index)
            if shape_match is None or self._lacks(shape_match, lines, left):
                others.append(index)
                left = left[1:]
                continue
            learned = self._learn(shape_match, lines, index)
            before = len(left)
            if learned is not None:
                left = self._apply(*learned, lines, left, parts)
            if len(left) == before or (len(left) and int(left[0]) == index):
                head = self._single(shape_match, lines, index)
                if head is None:
                    others.append(index)
                else:
                    parts.append(head)
                left = left[1:]
        return Heads.concat(parts) if parts else Heads.of(0), others

    def _lacks(self, shape_match: tuple[Shape, re.Match[bytes]], lines: LineBlock, left: Places) -> bool:
        """Tell whether a line lacks what the text tells of its events: then its prefix is damaged, not another one."""
        found = _essential(shape_match)
        if self._essential is None:
            ahead = (self._match(lines, index) for index in left[1 : _LOOKED_AHEAD + 1].tolist())
            self._essential = max([found, *map(_essential, filter(None, ahead))], key=len)
        self._essential = max(found, self._essential)
        return not found >= self._essential

    def _match(self, lines: LineBlock, index: int) -> tuple[Shape, re.Match[bytes]] | None:
        line = lines.line(index, LONGEST)
        for shape in self._shapes:
            match = shape.whole.match(line) if shape.sign.search(line) else None
            if match is not None and self.names.possible(match["name"], bare=shape.name == "bare"):
                return shape, match
        return None

    def _learn(
        self, shape_match: tuple[Shape, re.Match[bytes]], lines: LineBlock, index: int
    ) -> tuple[Shape, Layout] | None:
        """Return the layout of a line if it is a new one."""
        shape, match = shape_match
        self.told.shapes.add(shape.name)
        told = {name for name, value in match.groupdict().items() if value is not None}
        if not (match.groupdict().get("pid") or b"").lstrip(b"-"):
            told.discard("pid")  # dashes
        self.told.groups |= told
        if match.groupdict().get("secs"):
            fraction = match.groupdict().get("frac")
            if fraction is None and shape.unit == "s":
                self.told.groups.add("ticks")
            else:
                step_ns = _NS[shape.unit] // 10 ** len(fraction or b"")
                self.told.time_step_ns = max(self.told.time_step_ns, step_ns)
        if (part := match.groupdict().get("part")) is not None:
            self.told.parts.setdefault(part.decode("latin-1"), lines.first_line + index)
        layout = Layout.of(lines.line(index, LONGEST), match)
        if layout is None or len(self._layouts) >= _MANY_LAYOUTS or layout.key() in self._layout_keys:
            return None
        self._layout_keys.add(layout.key())
        self._layouts.append((shape, layout))
        return shape, layout

    def _apply(self, shape: Shape, layout: Layout, lines: LineBlock, left: Places, parts: list[Heads]) -> Places:
        """Take the lines that have this layout, and return the others."""
        starts = lines.starts[left]
        fits, values = layout.apply(lines.raw, starts)
        if not fits.any():
            return left
        heads = Heads.of(len(left))
        heads.line = left
        fits &= starts + layout.width <= lines.ends[left]
        fits &= self._times(shape, layout, values, heads)
        for name in ("cpu", "pid", "tid"):
            if name in values:
                fits &= values[name] <= np.uint64(_LARGEST_ID)
                setattr(heads, name, values[name].view(np.int64))
        if layout.comm is not None:
            heads.comm, heads.comm_end = starts + layout.comm[0], starts + layout.comm[1]
        names = self.names.read(lines.raw, starts + layout.width, lines.ends[left], fits, bare=shape.name == "bare")
        fits &= names.told
        heads.event, heads.text = names.code, names.text
        if fits.all():
            parts.append(heads)
            return left[:0]
        parts.append(heads.take(fits))
        return left[~fits]

    def _times(
        self, shape: Shape, layout: Layout, values: dict[str, NDArray[np.uint64]], heads: Heads
    ) -> NDArray[np.bool_] | bool:
        """Put the times into `heads`; tell which are believed."""
        if "secs" not in values:
            heads.ts_ns = np.zeros(len(heads.line), np.int64)
            return True
        whole = values["secs"]
        if "frac" not in values and shape.unit == "s":
            heads.ts_ns = self._in_ns(whole.view(np.int64))
            return heads.ts_ns >= 0
        unit = _NS[shape.unit]
        good = whole < np.uint64(LATEST_NS // unit)
        heads.ts_ns = whole.view(np.int64) * unit
        if "frac" in values:
            digits = layout.numbers["frac"].end - layout.numbers["frac"].start
            heads.ts_ns += values["frac"].view(np.int64) * (unit // 10**digits)
        return good

    def _in_ns(self, ticks: Places) -> Places:
        if self._ticks_ns is None:
            return np.zeros(len(ticks), np.int64)
        return self._ticks_ns(ticks)

    def _single(self, shape_match: tuple[Shape, re.Match[bytes]], lines: LineBlock, index: int) -> Heads | None:
        """Return one line that has no layout in common with others; None: a number is beyond belief."""
        shape, match = shape_match
        parts = match.groupdict()
        head = Heads.of(1).take(np.zeros(1, np.int64))  # that can be written to
        head.line[0] = index
        time = self._single_time(shape, parts)
        if time is None or not 0 <= time <= LATEST_NS:
            return None
        head.ts_ns[0] = time
        for name in ("cpu", "pid", "tid"):
            value = parts.get(name)
            if value is not None and value.strip(b"-"):
                number = int(value)
                if abs(number) > _LARGEST_ID:
                    return None
                getattr(head, name)[0] = number
        start = int(lines.starts[index])
        head.text[0] = start + min(match.end(), int(lines.ends[index]) - start)
        if parts.get("comm") is not None:
            head.comm[0], head.comm_end[0] = start + match.start("comm"), start + match.end("comm")
        head.event[0] = self.names.code(lines.raw, start + match.start("name"), len(match["name"]))
        return head if head.event[0] >= 0 else None

    def _single_time(self, shape: Shape, parts: dict[str, bytes | None]) -> int | None:
        whole, fraction = parts.get("secs"), parts.get("frac")
        if whole is None:
            return 0
        if fraction is None and shape.unit == "s":
            return int(self._in_ns(np.array([int(whole)]))[0])
        unit = _NS[shape.unit]
        return int(whole) * unit + (0 if fraction is None else int(fraction) * (unit // 10 ** len(fraction)))


def _essential(shape_match: tuple[Shape, re.Match[bytes]]) -> set[str]:
    """Return which of time, CPU and thread a line tells."""
    parts = shape_match[1].groupdict()
    return {name for name in _ESSENTIAL if parts.get(name) is not None}
