"""One line of `perf stat -j` (6.0 and later), an object of its own, with output of the workload around it.

    {"interval" : 0.1, "cpu" : "0", "counter-value" : "59.000000", "unit" : "", "event" : "kvm:kvm_exit",
     "event-runtime" : 234394761, "pcnt-running" : 100.00, "metric-value" : 0.000000, "metric-unit" : "(null)"}

tools/perf/util/stat-display.c prints it and quotes nothing: nan and inf stand as they are, the decimal mark is that of
the locale (100,00), a thread's name may hold a quotation mark. So perf's own spelling is cut at its keys where the line
is no JSON. Values are strings or numbers, as the version has it; metrics are not kept.
"""

from __future__ import annotations

import json
import re
from math import isfinite
from typing import Any

from kvmtrace.formats.perf_stat.counters import INSTANCES, METRICS, Row, doubts_of, enabled_ns, split_event
from kvmtrace.formats.perf_stat.grouping import DECIMAL, as_float

VALUE_KEY = '"counter-value"'
"""What each counter's line holds, and nothing else."""
_LONGEST = 1 << 14

_APART = ("node", "socket", "die", "cluster", "cache", "core", "cpu", "thread", "cgroup")
_METRICS = {"metric-value", "metric-unit", "metric-threshold", "metricgroup"}
_COUNTED = ("aggregate-number", "counters")  # how many counters are summed up; the second since 6.13
_KNOWN = {
    *_APART,
    *_METRICS,
    *_COUNTED,
    "interval",
    "counter-value",
    "unit",
    "event",
    "variance",
    "event-runtime",
    "pcnt-running",
}
_KEY = re.compile(r'[{,][ \t]*"(' + "|".join(sorted(_KNOWN)) + r')"[ \t]*:[ \t]*')
_NUMBER = re.compile(rf"[0-9]{{1,20}}(?:{DECIMAL}[0-9]{{1,12}})?")
_STATES = {"<not counted>": "not counted", "<not supported>": "not supported"}
_NS_PER_S = 10**9
_LONGEST_RUN_S = 9e9
_LARGEST = (1 << 63) - 1
_NOT_TOLD = (None, "", "(null)")


def holds_metrics(text: str) -> bool:
    """Tell whether a line holds further metrics of the row above it, or metrics only."""
    return '"metric-value"' in text or '"metric-unit"' in text


def read_json(text: str, line: int) -> Row:
    """Read line number `line`, which holds `VALUE_KEY`. ValueError: it is no whole counter, and why."""
    if len(text) > _LONGEST:
        raise ValueError("too long")
    told = _keys(text)
    event, printed = told.get("event"), told.get("counter-value")
    if not isinstance(event, str) or not event:
        raise ValueError("no event")
    state = _STATES.get(str(printed), "counted")
    value = None if str(printed) in _STATES else _number(printed)
    if value is None and state == "counted":
        raise ValueError("its value is no number")
    percent, error, interval = (_number(told.get(key)) for key in ("pcnt-running", "variance", "interval"))
    running = _whole(told.get("event-runtime"))
    share = None if percent is None else round(percent / 100, 12)
    instances = next((_whole(told[key]) for key in _COUNTED if key in told), None)
    system, name = split_event(event)
    return Row(
        line=line,
        event=name,
        system=system,
        value=value,
        unit=None if told.get("unit") in _NOT_TOLD else str(told["unit"]),
        state=state,
        enabled_ns=enabled_ns(running, share),
        running_ns=running,
        running_share=share,
        stderr_share=None if error is None else round(error / 100, 12),
        interval_end_ns=None if interval is None or interval > _LONGEST_RUN_S else round(interval * _NS_PER_S),
        scope=_scope(told),
        instances=instances,
        left_out=_left_out(told, instances),
        doubts=tuple(doubts_of(value, share)),
    )


def _keys(text: str) -> dict[str, Any]:
    """Return what a line tells, by key: as JSON, else as perf spells it."""
    begin, end = text.find("{"), text.rfind("}")
    text = text[begin : end + 1]
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return _cut(text)
    return {key: _printable(value) for key, value in told.items()} if isinstance(told, dict) else {}


def _printable(value: object) -> object:
    """Replace what is no character, which an escape can make."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _cut(text: str) -> dict[str, Any]:
    """Cut a line at the keys that perf prints; a value reaches to the next of them."""
    keys = list(_KEY.finditer(text))
    if not keys:
        return {}
    ends = [key.start() for key in keys[1:]] + [text.rfind("}")]
    told: dict[str, Any] = {}
    for key, end in zip(keys, ends, strict=True):
        value = text[key.end() : end].strip(" \t,")
        quoted = len(value) > 1 and value[0] == value[-1] == '"'
        told.setdefault(key[1], value[1:-1] if quoted else value)
    return told


def _number(told: object) -> float | None:
    """Return a number told as a number or in a string; None: not told, or none (nan, inf)."""
    if isinstance(told, bool):
        return None
    if isinstance(told, int | float):
        return float(told) if abs(told) <= 1 << 70 and isfinite(told) and told >= 0 else None
    return as_float(told) if isinstance(told, str) and _NUMBER.fullmatch(told) else None


def _whole(told: object) -> int | None:
    number = int(told) if isinstance(told, str) and re.fullmatch("[0-9]{1,19}", told) else told
    is_whole = isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= _LARGEST
    return number if is_whole and isinstance(number, int) else None


def _scope(told: dict[str, Any]) -> str | None:
    """Return what a row counts apart, as the table for people names it; None: everything."""
    names = [(key, str(told[key])) for key in _APART if key in told and told[key] not in _NOT_TOLD]
    return " ".join(f"CPU{name}" if key == "cpu" and name.isdigit() else name for key, name in names) or None


def _left_out(told: dict[str, Any], instances: int | None) -> tuple[str, ...]:
    """Name what the table of counters does not keep; metrics of nothing are none."""
    metrics = any(told.get(key) not in _NOT_TOLD for key in _METRICS - {"metric-value"})
    others = [key for key in told if key not in _KNOWN]
    return (
        *([METRICS] if metrics else []),
        *([INSTANCES] if instances is not None else []),
        *(f"{key[:40]!r}" for key in others[:8]),
    )
