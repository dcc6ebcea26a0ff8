"""KVM's own statistics → `recording.TableSet`s of `schema.COUNTERS`: files of debugfs, or KVM_GET_STATS_FD by QEMU.

    /sys/kernel/debug/kvm/328-4/hvc_exit_stat: 1000        grep -r . /sys/kernel/debug/kvm
    halt_wakeup 12                                         a name and a value
    halt_wait_hist (log-histogram, ns): [1]=0 [2]=4        QEMU's `info stats vcpu`

A file below kvm/ counts for all VMs, one in `PID-fd` for a VM, one in `PID-fd/vcpuN` for a vCPU: the scope. The file of
a histogram shows its first bucket only (virt/kvm/kvm_main.c, kvm_get_stat_per_vcpu); the buckets of a logarithmic one
are [0, 1), [1, 2), [2, 4), … (Documentation/virt/kvm/api.rst). A value comes twice where a dump was made twice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from kvmtrace.errors import InputError
from kvmtrace.formats.format import TableFormat
from kvmtrace.formats.kvm_stat.rows import CounterRow, counter_table, is_statistic, read_count
from kvmtrace.formats.text_lines import LONGEST, clean_lines, shown, told
from kvmtrace.recording import Facts, Note, TableSet

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["FORMAT"]

NAME = "kvm-debugfs"

_ENOUGH = 3  # names of statistics that make a block of names and values one of KVM's
_UNITS = {"B": "bytes"}  # others are as QEMU prints them

_FOLDER = r"(?:(?:\S{0,200}/)?kvm/|\./)?(?:([0-9]{1,10}-[0-9]{1,10}(?:/vcpu[0-9]{1,6})?)/)?"
_ROW = re.compile(
    rf"[ \t]*({_FOLDER})([A-Za-z][\w-]{{0,63}})(?:[ \t]*[:=][ \t]*|[ \t]+)"
    r"((?:-?[0-9]{1,20}[ \t]+){0,255}-?[0-9]{1,20})",
    re.ASCII,
)
_NUMBER_SECOND = re.compile(
    r"[ \t]*+[\w./-]++(?:[ \t]*+[:=][ \t]*+|[ \t]++)-?[0-9]"
)  # cheap, and false for most lines of a text
_PATH = re.compile(r"[ \t]*\S{0,200}/kvm/\S{0,200}?:")
_KVM_PATH = re.compile(r"debug/kvm/$|debug/kvm/[0-9]+-[0-9]+/")
_TYPED = re.compile(
    r"[ \t]*([A-Za-z][\w-]{0,63}) \((cumulative|instant|peak|linear-histogram|log2?-histogram)(?:, ([^()]{1,60}))?\):"
    r"[ \t]*(\S.*)",
    re.ASCII,
)
_BUCKETS = re.compile(r"(?:\[[0-9]{1,4}\]=-?[0-9]{1,20}[ \t]*){1,256}")
_BUCKET = re.compile(r"\[([0-9]{1,4})\]=(-?[0-9]{1,20})")
_SIZE = re.compile(r"bucket size=([0-9]{1,9})")
_PLAIN = re.compile(r"-?[0-9]{1,20}")
_BOOLEANS = {"yes": "1", "no": "0"}
_NAME_AND_VALUE = re.compile(
    r"\n[ \t>|]*+(?:[\w./-]++(?:[ \t]*+[:=][ \t]*+|[ \t]++)-?[0-9][-0-9 \t]*+"
    r"|[\w-]++ \([a-z0-9-]++(?:, [^()\n]*+)?\): .*)\r?$",
    re.MULTILINE | re.ASCII,
)
_SAYS_WHOSE = re.compile(r"kvm/| \((?:cumulative|instant|peak|linear|log)")
_DECORATED = re.compile("\x1b|=3D|=20\n|[^\x00-\x7f]")  # lines may look otherwise once they are cleaned


@dataclass(slots=True)
class _Dump:
    """Statistics read at one time; `keys` are what it holds."""

    rows: list[CounterRow] = field(default_factory=list)
    keys: set[tuple[str | None, str]] = field(default_factory=set)


@dataclass(slots=True)
class _Block(_Dump):
    """Rows one below the other; `certain` where a path or a type says whose they are."""

    certain: bool = False
    notes: list[Note] = field(default_factory=list)

    @property
    def counts(self) -> bool:
        return self.certain or len({name for _, name in self.keys if is_statistic(name)}) >= _ENOUGH


def recognises(text: str) -> bool:
    """Tell whether a text holds statistics of KVM."""
    return _may_hold_rows(text) and any(block.rows for block in _blocks(clean_lines(text)[0]))


def _may_hold_rows(text: str) -> bool:
    """Tell quickly that there are too few names with values: `cpus=4` alone stands in many a text of events."""
    first = _NAME_AND_VALUE.match(f"\n{text[: 2 * LONGEST]}")
    lines = len(list(islice(_NAME_AND_VALUE.finditer(text), _ENOUGH))) + bool(first)
    return lines >= _ENOUGH or (lines > 0 and bool(_SAYS_WHOSE.search(text) or _DECORATED.search(text)))


def read(text: str, file: str) -> list[TableSet]:
    """Read every dump of `text`, in order. InputError: there is none."""
    lines, notes = clean_lines(text)
    dumps: list[_Dump] = []
    for block in _blocks(lines):
        notes += block.notes
        if not dumps or dumps[-1].keys & block.keys:
            dumps.append(_Dump())
        dumps[-1].rows += block.rows
        dumps[-1].keys |= block.keys
    dumps = [dump for dump in dumps if dump.rows]
    if not dumps:
        raise InputError(
            file,
            "expected names and values of KVM's statistics such as `halt_wakeup 12`, found none",
            hint="save what `grep -r . /sys/kernel/debug/kvm` prints",
        )
    notes += [
        Note(f"line {row.line}", f"{row.event}: a value of more than 2^53 that a double does not hold exactly")
        for dump in dumps
        for row in dump.rows
        if not row.is_exact
    ]
    return [
        TableSet(
            facts=Facts(format=NAME, part=None if len(dumps) == 1 else f"dump of line {dump.rows[0].line}"),
            table="counters",
            rows=counter_table(dump.rows),
            notes=told(notes) if dump is dumps[-1] else (),
        )
        for dump in dumps
    ]


FORMAT = TableFormat(
    name=NAME,
    what="KVM's statistics: files of debugfs, or QEMU's info stats",
    example="grep -r . /sys/kernel/debug/kvm > kvm-debugfs.txt",
    recognises=recognises,
    read=read,
)


def _blocks(lines: Sequence[str]) -> Iterator[_Block]:
    """Yield the blocks that count. One ends at a line that is no row, and where a value comes again."""
    block = _Block()
    for line, text in enumerate(lines, start=1):
        read_line = _read_typed(line, text) or _read_row(line, text)
        if read_line is not None:
            rows, certain = read_line
            key = (rows[0].scope, rows[0].event)
            if key in block.keys:
                yield from _counted(block)
                block = _Block()
            block.rows += rows
            block.keys.add(key)
            block.certain |= certain
        elif block.rows and _PATH.match(text):
            block.notes.append(Note(f"line {line}", f"no value of a statistic: not read: {shown(text)}"))
        elif text and text != "provider: kvm":
            yield from _counted(block)
            block = _Block()
    yield from _counted(block)


def _counted(block: _Block) -> Iterator[_Block]:
    if block.counts:
        yield block


def _read_row(line: int, text: str) -> tuple[list[CounterRow], bool] | None:
    """Read a name and its values; also, whether a path says that they are KVM's."""
    match = _ROW.fullmatch(text) if _NUMBER_SECOND.match(text) else None
    if match is None:
        return None
    folder, scope, name, printed = match[1], match[2], match[3], match[4].split()
    certain = _KVM_PATH.search(folder) is not None
    if len(printed) > 1 and not name.endswith("_hist"):
        return None
    if not name.endswith("_hist"):
        return [_row(line, name, printed[0], scope, "ns" if name.endswith("_ns") else None)], certain
    of, unit = (len(printed) if len(printed) > 1 else None), ("ns" if name.startswith("halt_") else None)
    buckets = [_log_bucket(number, of, unit) for number in range(1, len(printed) + 1)]
    return [_row(line, name, value, scope, None, b) for value, b in zip(printed, buckets, strict=True)], certain


def _read_typed(line: int, text: str) -> tuple[list[CounterRow], bool] | None:
    """Read a line of QEMU's `info stats`, which names the type and the unit of a statistic."""
    match = _TYPED.fullmatch(text) if " (" in text else None
    if match is None:
        return None
    name, kind, unit, printed = match[1], match[2], (match[3] or "").split(",")[0].strip(), match[4]
    if _PLAIN.fullmatch(printed) or printed in _BOOLEANS:
        value = _BOOLEANS.get(printed, printed)
        return [_row(line, name, value, None, _UNITS.get(unit, unit or None))], True
    if not _BUCKETS.fullmatch(printed):
        return None
    size = _SIZE.search(match[3] or "")
    values = _BUCKET.findall(printed)
    rows = []
    for number, value in values:
        if int(number) < 1:  # they count from 1: damaged
            bucket = f"bucket {number}"
        elif "log" in kind:
            bucket = _log_bucket(int(number), len(values), unit or None)
        else:
            bucket = _linear_bucket(int(number), len(values), int(size[1]) if size else None, unit)
        rows.append(_row(line, name, value, None, None, bucket))
    return rows, True


def _row(
    line: int, name: str, printed: str, scope: str | None, unit: str | None, part: str | None = None
) -> CounterRow:
    value, is_exact = read_count(printed)
    return CounterRow(line, name, value, unit=unit, scope=scope, part=part, is_exact=is_exact)


def _log_bucket(number: int, of: int | None, unit: str | None) -> str:
    """Return the bounds of bucket `number`, from 1, of a logarithmic histogram; the last of them is open."""
    low = 0 if number <= 1 else 1 << min(number - 2, 64)
    high = "∞" if number == of and number > 1 else str(1 << min(number - 1, 64))
    return f"[{low}, {high}) {unit}" if unit else f"[{low}, {high})"


def _linear_bucket(number: int, of: int, size: int | None, unit: str) -> str:
    if size is None:
        return f"bucket {number}"
    high = "∞" if number == of else str(size * number)
    return f"[{size * (number - 1)}, {high}) {unit}".rstrip()
