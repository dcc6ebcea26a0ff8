"""Lines that tell where in the output of kvm-unit-tests we are: what a test prints at its boot, and commands."""

from __future__ import annotations

import re
from dataclasses import dataclass

# What lib/x86/setup.c, smp.c, vm.c, apic.c, x86/vmexit.c and arm/micro-bench.c print before their first figure.
_BOOT = re.compile(
    r"enabling apic|paging enabled|smp: waiting for [0-9]+ APs|setup: CPU [0-9]+ online|cr[034] = [0-9a-f]+"
    r"|pci-testdev at (?:0x)?[0-9a-f]+ membar [0-9a-f]+ iobar [0-9a-f]+|PM timer port is [0-9a-f]+"
    r"|apic version: [0-9a-f]+|Timer Frequency [0-9]+ Hz \(Output in microseconds\)",
)
_FIRST_OF_BOOT = re.compile(r"enabling apic|smp: waiting for |Timer Frequency ")
_COMMAND = re.compile(r"\s*(?:[#$] |\./|/\S|timeout |qemu|TESTNAME=|[A-Z]+=\S* )")
_TEST_NAME = re.compile(r"\bTESTNAME=([\w.+-]{1,80})", re.ASCII)
_KERNEL = re.compile(r"(?:^|[\s/])([A-Za-z0-9][\w.+-]{0,80})\.flat\b", re.ASCII)
_OTHER_KERNEL = re.compile(r"-kernel (?:\S*/)?([A-Za-z0-9][\w.+-]{0,80})\.(?:elf|efi|bin)\b", re.ASCII)
_BUILD = re.compile(r"BUILD_HEAD=(\S{1,120})")
# Every line of theirs begins so; most lines of a text do not, which is cheap to find.
_THEIRS = re.compile(
    r"(?:\[3[123]m)?(?:X?PASS|[XK]?FAIL|SKIP|INFO|ABORT|SUMMARY: |EXIT: )|TAP version|(?:not )?ok [0-9]|1\.\.[0-9]"
    r"|enabling |paging |smp: |setup: |cr[034] = |pci-|PM timer |apic version|Timer Freq|BUILD_HEAD|\s*(?:[#$] |\.?/)"
    r"|timeout |qemu|[A-Z]+=|breakmax=|tsc deadline|(?:hit max: \S+ < )?latency: |-{10}|\S+ test skipped"
    r"|(?:Total |Test  |Worst |TSC |rdtsc )\w+:? "
    r"|[ \t]*(?:ipi[ \t]+|eoi[ \t]+)?[\w:-]{2,82}[:=]{0,2}[ \t]+[^ \t]{0,40}[0-9(]"
    r"|[ \t]*name[ \t]+total ns|[ \t]*(?:ns|[0-9]+\.[0-9]+)$",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Command:
    """A command that runs a test; `is_run`: run_tests.sh prints it."""

    text: str
    test: str
    is_run: bool


def may_be_theirs(text: str) -> bool:
    """Tell whether a line is worth a closer look: false for nearly every line that kvm-unit-tests do not print."""
    return _THEIRS.match(text) is not None


def is_boot_line(text: str) -> bool:
    """Tell whether a test prints this line at its boot."""
    return _BOOT.fullmatch(text) is not None


def starts_boot(text: str) -> bool:
    """Tell whether a boot may begin with this line."""
    return _FIRST_OF_BOOT.match(text) is not None


def read_build(text: str) -> str | None:
    """Return the commit that run_tests.sh writes at the head of its summary."""
    match = _BUILD.fullmatch(text)
    return match[1] if match else None


def read_command(text: str) -> Command | None:
    """Read a command that names a test, by itself or by the kernel that QEMU is given."""
    if _COMMAND.match(text) is None:
        return None
    name = _TEST_NAME.search(text)
    kernel = name or (_KERNEL.search(text) if ".flat" in text else None) or _OTHER_KERNEL.search(text)
    return Command(text.strip(), kernel[1], is_run=name is not None) if kernel else None
