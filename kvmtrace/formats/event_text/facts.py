"""What a first pass over a text tells of the recording: its facts, and what is noted before its lines are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmtrace.recording import EventKind, Facts, Note

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmtrace.formats.event_text.survey import Survey

_LEFT_OUT = {"flags": "flags", "mark": "delay mark", "misc": "misc", "period": "period", "vm": "VM", "vcpu": "VCPU"}
"""Parts of a prefix that are not stored, by their name in the regular expression."""


def facts_of(grammar: str, found: Survey, part: str | None, clock_hz: int | None) -> Facts:
    """Return what one trace of a text tells of itself."""
    told, header = found.heads.told, found.header
    facts = Facts(grammar, clock=header.clock, part=part, tells_enabled=False)
    facts.host.update(header.host)
    facts.tool.update(header.tool)
    for (system, event), reader in found.readers().items():
        facts.samples[len(facts.events)] = sum(
            n.lines for n in found.names if n.template and (n.template.system, n.template.event) == (system, event)
        )
        facts.events.append(EventKind(system, event, reader.variants[0].template.format()))
    facts.has_times = "secs" in told.groups and not found.is_deltas
    facts.time_step_ns = told.time_step_ns
    facts.clock_hz = clock_hz if "ticks" in told.groups else None
    facts.has_threads = "tid" in told.groups
    facts.has_processes = "pid" in told.groups
    facts.left_out = [title for group, title in _LEFT_OUT.items() if group in told.groups]
    return facts


def notes_of(found: Survey) -> Iterator[Note]:
    """Yield what is known of a trace before its lines are read."""
    for name in found.names:
        if name.template is None:
            lines = "line" if name.lines == 1 else "lines"
            what = f"{name.lines} {lines} of {name.title}, whose text no template reads, not stored"
            yield Note(f"line {name.first_line}", what, events=name.lines)
    where = f"line {found.first_line}"
    if found.is_deltas:
        yield Note(where, "times are those since the event before (--deltatime), so events have none")
    elif {"latency", "verbose"} & found.heads.told.shapes:
        yield Note(where, "times count from the start of the trace (latency format), and names of threads are cut")
    elif found.first_ns == 0 and "secs" in found.heads.told.groups:
        yield Note(where, "times count from the first event (--reltime)")
    if len(found.heads.told.parts) > 0:
        names = ", ".join(sorted(found.heads.told.parts)[:8])
        yield Note(where, f"lines are of several buffers or files ({names}), which are one recording here")
