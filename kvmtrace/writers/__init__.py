"""Contents of a run → files in the formats that perf, trace-cmd and kvm-unit-tests write.

| format | of | carries |
|---|---|---|
| perf.data | a recording | everything |
| trace.dat, trace.dat-v6 | a recording | no processes, no CPUID; the clock's name where the kernel has one of it |
| perf-script | a recording | what the events' own texts tell (`perf script --header --ns -F +pid`) |
| ftrace | a recording | the same in microseconds; no processes, nothing of the host |
| perf-stat | a table of counters, else a recording | counts, the time elapsed |
| perf-stat-csv, perf-stat-json | the same | counts, how long each was counted |
| vmexit | a table of benchmarks | whole cycles |

Where an exit and its entry fall in one microsecond, ftrace tells no event between them: nothing is before its end. A
trace.dat and the texts list the events that fired, not those that were enabled.

A file is there whole or not at all. Modules:

    output_format.py       their names, and what writers may be told
    aside.py               files that are there whole or not at all
    events.py              what writers of events take; raw bytes of events
    interleaving.py        rows of several widths in one order
    perf_data.py           perf.data: perf_data_file.py, perf_data_features.py, tracepoint_records.py
    trace_dat.py           trace.dat: trace_dat_file.py, ring_buffer_pages.py
    event_text.py          both texts: text_heads.py, print_text.py
    perf_stat.py           perf stat
    kvm_unit_tests.py      vmexit
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from kvmtrace.errors import UsageError
from kvmtrace.recording import TableSet
from kvmtrace.writers.aside import aside
from kvmtrace.writers.output_format import OutputFormat, WriteOptions

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from kvmtrace.recording import Content
    from kvmtrace.writers.events import WritableRecording

__all__ = ["OutputFormat", "WriteOptions", "formats_for", "write"]

_OF_EVENTS = (
    *(OutputFormat.PERF_DATA, OutputFormat.TRACE_DAT, OutputFormat.TRACE_DAT_6),
    *(OutputFormat.PERF_SCRIPT, OutputFormat.FTRACE),
)
_OF_COUNTS = (OutputFormat.PERF_STAT, OutputFormat.PERF_STAT_CSV, OutputFormat.PERF_STAT_JSON)
_DEFAULT = WriteOptions()


def formats_for(contents: Sequence[Content]) -> list[OutputFormat]:
    """Return the formats that can carry something of what a run is made of."""
    return [wanted for wanted in OutputFormat if _suitable(contents, wanted)]


def write(
    contents: Sequence[Content], target: Path, output_format: OutputFormat, options: WriteOptions = _DEFAULT
) -> None:
    """Write what `output_format` carries of `contents` to `target`; recordings must be `events.WritableRecording`s.

    UsageError: it carries none of it, or more than one of it; or what a writer cannot write. OSError: no such folder, …
    """
    suitable = _suitable(contents, output_format)
    if len(suitable) != 1:
        possible = ", ".join(formats_for(contents)) or "none"
        found = " and ".join(map(_what, contents)) or "nothing"
        raise UsageError(
            f"{output_format} carries one {_wanted(output_format)}, found {found}", hint=f"possible formats: {possible}"
        )
    with aside(target) as unfinished:
        _write(suitable[0], unfinished, output_format, options)


def _suitable(contents: Sequence[Content], wanted: OutputFormat) -> list[Content]:
    """Return what a format carries of contents: counters rather than events that can be counted."""
    recordings = [content for content in contents if not isinstance(content, TableSet)]
    if wanted in _OF_EVENTS:
        return list(recordings)
    counters = [content for content in contents if isinstance(content, TableSet) and content.table == "counters"]
    if wanted in _OF_COUNTS:
        return list(counters or recordings)
    return [content for content in contents if isinstance(content, TableSet) and content.table == "benchmarks"]


def _what(content: Content) -> str:
    return f"a table of {content.table}" if isinstance(content, TableSet) else "a recording"


def _wanted(output_format: OutputFormat) -> str:
    if output_format in _OF_EVENTS:
        return "recording"
    return "table of counters or recording" if output_format in _OF_COUNTS else "table of benchmarks"


def _write(content: Content, target: Path, wanted: OutputFormat, options: WriteOptions) -> None:
    if wanted in _OF_COUNTS:
        from kvmtrace.writers import perf_stat  # noqa: PLC0415 - numpy, and naming the formats needs none of it

        if isinstance(content, TableSet):
            counters = perf_stat.of_table(content)
        else:
            counters = perf_stat.of_recording(content, options.elapsed_ns)
        _write_lines(target, perf_stat.FORMS[wanted.removeprefix("perf-stat").removeprefix("-")](counters))
    elif isinstance(content, TableSet):
        from kvmtrace.writers.kvm_unit_tests import vmexit_lines  # noqa: PLC0415 - as above

        _write_lines(target, vmexit_lines(content))
    else:
        _write_events(cast("WritableRecording", content), target, wanted, options)


def _write_events(recording: WritableRecording, target: Path, wanted: OutputFormat, options: WriteOptions) -> None:
    if wanted == OutputFormat.PERF_DATA:
        from kvmtrace.writers.perf_data import write_perf_data  # noqa: PLC0415 - numpy, pyarrow, zstandard
        from kvmtrace.writers.perf_data_file import Form  # noqa: PLC0415 - as above

        if options.stream and options.packed:
            raise UsageError("perf.data is written as a stream or with zstd, not both")
        form = Form.PIPE if options.stream else Form.ZSTD if options.packed else Form.FILE
        write_perf_data(recording, target, form)
    elif wanted in {OutputFormat.TRACE_DAT, OutputFormat.TRACE_DAT_6}:
        from kvmtrace.writers.trace_dat import write_trace_dat  # noqa: PLC0415 - as above

        version = 6 if wanted == OutputFormat.TRACE_DAT_6 else 7
        if options.packed and version == 6:  # noqa: PLR2004 - the version
            raise UsageError("trace.dat-v6 has no compression: write trace.dat")
        write_trace_dat(recording, target, version=version, compression="zstd" if options.packed else "none")
    else:
        from kvmtrace.writers.event_text import write_ftrace, write_perf_script  # noqa: PLC0415 - as above

        (write_ftrace if wanted == OutputFormat.FTRACE else write_perf_script)(recording, target)


def _write_lines(target: Path, lines: Iterable[str]) -> None:
    target.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
