"""Which grammar of events as text the beginning of an input is of."""

from __future__ import annotations

import re

from kvmtrace.formats.event_text.prefixes import LONGEST, shapes

_LINES_LOOKED_AT = 20_000
_TRACER = re.compile(rb"^[> ]*# tracer: ", re.MULTILINE)
_TRACE_CMD = re.compile(rb"^[> ]*(?:cpus=\d+|version = \d+|CPU \d+ is empty|trace-cmd: .*)[ \r]*$", re.MULTILINE)
_QUOTE = b"> |\t"
_NO_BREAK = "\u00a0".encode()
_BARE_PERF = re.compile(rb"[ \t]*kvm[\w-]*:[\w-]+:(?:[ \t](?!type: |sample_|trace_fields: )|$)")
"""A line of `perf script -F event,trace`, and none of `perf evlist` with -v, -F or --trace-fields."""
_PADDED = 20  # characters of a name and its blanks in trace-cmd's lines


def grammar_of(head: bytes) -> str | None:
    """Return ftrace, trace-cmd-report or perf-script; None: there is no line of an event, and no header of tracefs."""
    if _TRACER.search(head):
        return "ftrace"
    bare = False
    for line in head.splitlines()[:_LINES_LOOKED_AT]:
        if b":" not in line:
            continue
        text = line[:LONGEST].replace(_NO_BREAK, b" ").lstrip(_QUOTE)
        if (found := _task_line(text)) is not None:
            return "trace-cmd-report" if found or _TRACE_CMD.search(head) else "ftrace"
        perf = shapes("perf-script")[0]
        if perf.sign.search(text) and (match := perf.whole.match(text)) and b":" in match["name"]:
            return "perf-script"
        bare = bare or _BARE_PERF.match(text) is not None
    return "perf-script" if bare else None


def _task_line(text: bytes) -> bool | None:
    """Tell whether a line of comm-tid [cpu] is padded as trace-cmd does; None: it is no such line."""
    for grammar in ("trace-cmd-report", "ftrace"):  # the latter has what dmesg writes before a line
        for shape in shapes(grammar):
            if not shape.sign.search(text) or (match := shape.whole.match(text)) is None:
                continue
            named = match.end("name") - match.start("name") + 1
            return match.groupdict().get("part") is not None or (
                match.end() - match.start("name") > _PADDED and named <= _PADDED
            )
    return None
