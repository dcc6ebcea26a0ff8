"""Verdicts: the lines of lib/report.c, of run_tests.sh and of its TAP output, and the figures of s390x/exittime.c.

PASS: selftest: vectors: und
SUMMARY: 3 tests, 1 unexpected failures
EXIT: STATUS=1
FAIL vmexit_cpuid (timeout; duration=90s)
not ok 2 - apic: apic existence
"""

from __future__ import annotations

import re

from kvmtrace.formats.kvm_unit_tests.rows import Row

_REPORT = re.compile(r"(PASS|FAIL|XPASS|XFAIL|KFAIL|SKIP|INFO|ABORT): +(\S.*)")
# The kernel's own words for a hang or a splat, which a console holds between the lines of a test.
_KERNEL = re.compile(r"(?:task \S+ blocked|rcu_|lockdep|NMI handler|trying to register|possible )")
_SUMMARY = re.compile(
    r"SUMMARY: ([0-9]{1,9} tests(?:, [0-9]{1,9} (?:(?:unexpected |known |expected )?failures|skipped))*)",
)
_EXIT = re.compile(r"EXIT: (STATUS=[0-9]{1,5})")
_RESULT = re.compile(r"(?:\[3[123]m)?(PASS|FAIL|SKIP)(?:\[0m)? ([A-Za-z0-9][\w.+-]{0,80})(?: \((.+)\))?", re.ASCII)
_OWN_RESULT = re.compile(r"[0-9]{1,9} tests\b|timeout; duration=|terminated on SIG")
_TAP = re.compile(r"(not )?ok [0-9]{1,9} - ([A-Za-z0-9][\w.+-]{0,80}): (\S.*?)( # skip)?", re.ASCII)
_EXITTIME = re.compile(
    r"PASS: exittime: (\S.{0,80}): total/best/avg/worst " + "/".join([r"([0-9]{1,15}\.[0-9]{3})"] * 4) + " us",
)
# Sections of unittests.cfg: enough to know a list of verdicts by, where nothing else tells whose it is.
_TESTS = re.compile(
    r"vmexit_\w+|(?:x2|xap)?apic(?:-split|_[a-z]+)?|ioapic(?:-split)?|smptest\d?|eventinj|hypercall|idt_test|realmode|emulator"
    r"|kvmclock_test|pcid-\w+|tsc(?:_adjust)?|xsave|rmap_chain|svm\w*|vmx\w*|hyperv_\w+|tscdeadline_latency|pmu\w*"
    r"|selftest(?:-\w+)*|micro-bench|psci|timer|gicv[23]-\w+|its-\w+|pci-test|cache|spapr_\w+|rtas-\w+|h_cede_tm|sprs"
    r"|exittime|diag\w+|skey|stsi|mvpg(?:-sie)?|sbi|sieve|emulator-\w+|debug(?:-\w+)?|taskswitch2?|umip|la57|smap|access",
    re.ASCII,
)
_STATISTICS = ("total", "min", "mean", "max")


def read_report(text: str, line: int) -> Row | None:
    """Read a line of report(), its prefixes left in the name."""
    match = _REPORT.fullmatch(text)
    if match is None or (match[1] == "INFO" and _KERNEL.match(match[2])):
        return None
    return Row(line, match[2], match[1].lower())


def read_end(text: str, line: int) -> Row | None:
    """Read the summary or the exit status that a test ends with."""
    summary = _SUMMARY.fullmatch(text)
    if summary:
        return Row(line, "SUMMARY", "info", message=summary[1])
    status = _EXIT.fullmatch(text)
    return Row(line, "EXIT", "info", message=status[1]) if status else None


def read_result(text: str, line: int) -> Row | None:
    """Read a line of run_tests.sh; one without brackets is also prose."""
    match = _RESULT.fullmatch(text)
    return Row(line, match[2], match[1].lower(), test=match[2], message=match[3]) if match else None


def is_known_test(name: str) -> bool:
    """Tell whether a name is that of a test of unittests.cfg, as far as they are listed here."""
    return _TESTS.fullmatch(name) is not None


def is_own_result(row: Row) -> bool:
    """Tell whether the brackets of a line of run_tests.sh say what only it says."""
    return row.message is not None and _OWN_RESULT.match(row.message) is not None


def read_tap(text: str, line: int) -> Row | None:
    """Read a line of run_tests.sh -t."""
    match = _TAP.fullmatch(text)
    if match is None:
        return None
    return Row(line, match[3], "fail" if match[1] else "skip" if match[4] else "pass", test=match[2])


def read_exittime(text: str, line: int) -> list[Row]:
    """Read the four figures of a row of s390x/exittime.c and its verdict; times are of 10,000 turns of a loop."""
    match = _EXITTIME.fullmatch(text)
    if match is None:
        return []
    figures = [
        Row(line, match[1], "measured", "exittime", float(match[group]), "us", statistic, "TOD")
        for group, statistic in enumerate(_STATISTICS, start=2)
    ]
    return [*figures, Row(line, match[1], "pass", "exittime")]
