"""JUnit files held to the project's own schema, and to that of Jenkins where it stands beside the project."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lxml import etree

OWN = Path(__file__).parent / "data" / "junit" / "junit.rng"
JENKINS = Path(__file__).parents[1].parent / "shared" / "junit" / "junit-10.xsd"


def read_valid(path: Path) -> Any:  # noqa: ANN401 - lxml has no types
    """Return the root of a JUnit file that is valid by each schema that is there."""
    document = etree.parse(path)
    own = etree.RelaxNG(etree.parse(OWN))
    assert own.validate(document), own.error_log
    if JENKINS.exists():
        theirs = etree.XMLSchema(etree.parse(JENKINS))
        assert theirs.validate(document), theirs.error_log
    return document.getroot()


def outcomes(path: Path) -> dict[str, str]:
    """Return the name of each test, and what is said of it: failure, error, skipped, or "" where it passed."""
    tests = {}
    for case in read_valid(path).iter("testcase"):
        said = [each.tag for each in case if each.tag != "system-out"]
        tests[case.get("name")] = said[0] if said else ""
    return tests
