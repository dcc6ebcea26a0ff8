"""Lines of a text that have no row in the store: counted, noted, and told as losses where events are missing."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from kvmtrace.formats.event_text.comments import LONGEST, LossLine, is_prose, loss_line, names_event
from kvmtrace.formats.event_text.losses import UNREAD, Telling
from kvmtrace.formats.event_text.templates import all_templates, is_known
from kvmtrace.formats.event_text.variants import LONGEST_TEXT, Variant
from kvmtrace.recording import Note, Notes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kvmtrace.formats.event_text.heads import Heads
    from kvmtrace.formats.event_text.lines import LineBlock
    from kvmtrace.formats.event_text.survey import Survey
    from kvmtrace.formats.event_text.variants import TextReader
    from kvmtrace.formats.event_text.words import Places
    from kvmtrace.recording import EventKind

_UNREAD_LOOKED_AT = 4096  # texts of an event that nothing reads, for which it is found out why
_SHOWN = 120  # characters of a line in a note


class LeftOut:
    """Keeps account of one trace; `notes` grow."""

    def __init__(self, found: Survey, readers: Mapping[tuple[str, str], TextReader], notes: Notes) -> None:
        self.records = Counter[str]()
        self.not_stored = Counter[str]()
        self._survey = found
        self._readers = readers
        self._notes = notes
        self._looked_at = Counter[tuple[str, str]]()
        self._strange = 0  # lines that are neither events nor what recorders write beside them
        self._first_strange = ""
        self._first_strange_line = 0

    def unknown(self, names: Iterable[str]) -> None:
        """Count lines of events that nothing reads and that the first pass did not note: damage made their names."""
        noted = {name.title for name in self._survey.names if name.template is None}
        for title in names:
            if title not in noted:
                self.not_stored[f"lines of {title}, whose text no template reads"] += 1

    def unread(self, event: EventKind, lines: LineBlock, heads: Heads, rows: Places) -> None:
        """Count and note texts that the templates of their event do not read."""
        name, title = (event.system, event.name), f"{event.system}:{event.name}"
        templates = (t for t in all_templates().of(*name) if t.types != self._readers[name].types)
        others = [Variant(self._survey.with_reasons(template)) for template in templates]
        looked_at = rows[: max(0, _UNREAD_LOOKED_AT - self._looked_at[name])]
        self._looked_at[name] += len(looked_at)
        if unlike := len(rows) - len(looked_at):
            self.not_stored[f"lines of {title}, which its template does not read"] += unlike
        for row in looked_at.tolist():
            start, end = int(heads.text[row]), int(lines.ends[heads.line[row]])
            text = lines.raw[start : min(end, start + LONGEST_TEXT + 1)].tobytes()
            if any(other.read(text) is not None for other in others):
                self.not_stored[f"lines of {title} with other fields than most"] += 1
                continue
            what = f"expected a text of {title}, found {_shown(text)}"
            self._notes.add(Note(_where(lines, int(heads.line[row])), what, events=1))

    def others(self, lines: LineBlock, others: Sequence[int]) -> list[Telling]:
        """Take the lines that are no events; return those that tell of events that are missing."""
        tellings = []
        for index in others:
            line = lines.line(index, LONGEST)
            if (said := loss_line(line)) is not None:
                tellings.append(Telling(index, said))
            elif not is_prose(line) and names_event(line, is_known):
                tellings.append(Telling(index, LossLine(UNREAD, 1, None)))
                what = f"expected time, CPU and thread before an event, found {_shown(line)}"
                self._notes.add(Note(_where(lines, index), what, events=1))
                self.records["EVENT"] += 1
                continue
            elif not is_prose(line):
                self._strange += 1
                if self._strange == 1:
                    self._first_strange, self._first_strange_line = _shown(line), lines.first_line + index
            self.records["COMMENT" if line.startswith(b"#") else "OTHER"] += 1
        for number in lines.cut:
            what = "expected a line of up to 1 MiB, found a longer one: the rest is left out"
            self._notes.add(Note(f"line {number}", what))
        return tellings

    def finish(self) -> None:
        """Note what is only counted."""
        if self._strange:
            number = "line" if self._strange == 1 else "lines"
            what = f"{self._strange} {number} without an event that is known, the first {self._first_strange}"
            self._notes.add(Note(f"line {self._first_strange_line}", what))


def _where(lines: LineBlock, index: int) -> str:
    return f"line {lines.first_line + index}"


def _shown(text: bytes) -> str:
    return repr(text[:_SHOWN].decode(errors="backslashreplace"))
