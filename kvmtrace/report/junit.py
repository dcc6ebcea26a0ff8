"""A check of budgets as JUnit XML, which CI servers show as tests: a test for each budget.

What is over is a failure, what is undecided an error, what is undecided and allowed to pass or held back is skipped.
There is no standard: this keeps to what Jenkins' xUnit plugin takes (its junit-10.xsd), in whose older servers a test
has no properties and the whole no count of skipped ones.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from kvmtrace.budget.limits import Decision
from kvmtrace.report import budget as words
from kvmtrace.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvmtrace.budget.decisions import Checked, Decided
    from kvmtrace.comparing.sides import Side

_SUITE = "kvmtrace check"
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What no XML 1.0 document can hold, escaped or not (its production 2, Char)."""


def to_xml(checked: Checked, seconds: float) -> str:
    """Return the file of a check that took so many seconds."""
    cases = [_case(each) for each in checked.decided]
    properties = {
        "kvmtrace": __version__,
        "budget file": checked.budgets.path,
        "base": _runs(checked.base),
        "new": _runs(checked.new),
        "result": words.headline(checked),
    }
    told = [f"warning: {text}" for text in checked.warnings] + list(words.footnotes(checked))
    return _file(cases, properties, told, seconds)


def of_bad_input(message: str, budget_file: str, seconds: float) -> str:
    """Return the file of a check that could not be made: one test, with an error."""
    case = ET.Element("testcase", classname="kvmtrace", name="input", time=_time(0))
    _say(case, "error", "bad input", message)
    return _file([case], {"kvmtrace": __version__, "budget file": budget_file}, [message], seconds)


def _case(each: Decided) -> ET.Element:
    group = "times" if each.budget.is_time else "counts"
    case = ET.Element("testcase", classname=f"kvmtrace.{group}", name=_text(each.budget.name), time=_time(each.seconds))
    if each.fails:
        _say(case, "failure" if each.decision is Decision.OVER else "error", each.decision, words.sentence(each))
    elif each.decision is not Decision.WITHIN:
        _say(case, "skipped", each.decision, words.sentence(each))
    lines = [words.sentence(each), f"samples: {words.samples(each)}", f"method: {each.estimate.method}"]
    ET.SubElement(case, "system-out").text = _text("\n".join(lines))
    return case


def _say(case: ET.Element, tag: str, kind: str, message: str) -> None:
    ET.SubElement(case, tag, type=kind, message=_text(message)).text = _text(message)


def _file(cases: list[ET.Element], properties: dict[str, str], lines: Iterable[str], seconds: float) -> str:
    having = {tag: str(sum(case.find(tag) is not None for case in cases)) for tag in ("failure", "error", "skipped")}
    counts = {"tests": str(len(cases)), "failures": having["failure"], "errors": having["error"]}
    whole = {"name": _SUITE, "time": _time(seconds), **counts}
    root = ET.Element("testsuites", whole)
    suite = ET.SubElement(root, "testsuite", {**whole, "skipped": having["skipped"]})
    told = ET.SubElement(suite, "properties")
    for name, value in properties.items():
        ET.SubElement(told, "property", name=name, value=_text(value))
    suite.extend(cases)
    ET.SubElement(suite, "system-out").text = _text("\n".join(lines))
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _text(text: str) -> str:
    return _NOT_XML.sub("", text)


def _time(seconds: float) -> str:
    return f"{seconds:.3f}"


def _runs(side: Side) -> str:
    return ", ".join(f"{run.manifest.run_id} ({run.title})" for run in side.runs)
