"""A recording → each format → read back: the same exits, up to what a format cannot carry; perf and trace-cmd agree."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from cross_forms import Form, Forms, Untold, differences
from written_recordings import MadeRecording, power_recording, x86_recording

from kvmtrace.errors import UsageError
from kvmtrace.recording import Facts, TableSet
from kvmtrace.schema import COUNTERS, EXIT_SUMMARIES
from kvmtrace.tracepoints import FieldShape
from kvmtrace.writers import OutputFormat, WriteOptions, formats_for, write
from kvmtrace.writers.ring_buffer_pages import LONGEST_DELTA_NS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RECORDINGS: dict[str, Callable[[], MadeRecording]] = {
    "x86_64": x86_recording,
    "ppc64le": lambda: power_recording("ppc64le"),
    "ppc64": lambda: power_recording("ppc64"),
}
TEXTS = (OutputFormat.PERF_SCRIPT, OutputFormat.FTRACE)
WRITTEN = (
    ("perf.data", OutputFormat.PERF_DATA, WriteOptions()),
    ("perf.data, a stream", OutputFormat.PERF_DATA, WriteOptions(stream=True)),
    ("perf.data, zstd", OutputFormat.PERF_DATA, WriteOptions(packed=True)),
    ("trace.dat", OutputFormat.TRACE_DAT, WriteOptions()),
    ("trace.dat, zstd", OutputFormat.TRACE_DAT, WriteOptions(packed=True)),
    ("trace.dat-v6", OutputFormat.TRACE_DAT_6, WriteOptions()),
    ("perf-script", OutputFormat.PERF_SCRIPT, WriteOptions()),
    ("ftrace", OutputFormat.FTRACE, WriteOptions()),
)
with_perf = pytest.mark.skipif(shutil.which("perf") is None, reason="perf is not installed")
with_trace_cmd = pytest.mark.skipif(shutil.which("trace-cmd") is None, reason="trace-cmd is not installed")


@dataclass(frozen=True, slots=True)
class Files:
    """Every recording in every format, and a store that they are ingested to."""

    folder: Path
    forms: Forms

    def path(self, arch: str, name: str) -> Path:
        """Return where a recording in a format is, and write it the first time."""
        path = self.folder / f"{arch} {name}"
        if not path.exists():
            output_format, options = next((how, options) for what, how, options in WRITTEN if what == name)
            write([RECORDINGS[arch]()], path, output_format, options)
        return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Return files that are written when a test first asks for them."""
    folder = tmp_path_factory.mktemp("written")
    return Files(folder, Forms(folder / "store"))


def printed(*command: str | Path) -> list[str]:
    """Return the lines that a program prints."""
    run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    return run.stdout.splitlines()


SILENT = Untold("eoi", (False,), "that kvm_eoi was enabled, which did not fire")
"""A trace.dat and a text list only what fired."""
BY_CPU = "exit_id: not in the order of time"
"""A trace.dat holds one CPU after the other."""


def carried(arch: str, name: str) -> Form:
    """Return what a format carries."""
    if name.startswith("perf.data"):
        return Form(processes=True, same_order=True)
    untold = (SILENT,) if arch == "x86_64" else ()
    if name == "ftrace":
        return Form(unit_ns=1_000, rounded=True, untold=untold)
    return Form(processes=name == "perf-script", untold=untold)


@pytest.mark.parametrize("arch", RECORDINGS)
@pytest.mark.parametrize("name", [name for name, *_ in WRITTEN[1:]])
def test_exits_are_those_of_the_perf_data(files: Files, arch: str, name: str) -> None:
    fine = files.forms.exits(files.path(arch, "perf.data"))
    coarse = files.forms.exits(files.path(arch, name))
    expected = [BY_CPU] if name.startswith("trace.dat") else []
    assert differences(fine, coarse, carried(arch, name)) == expected


@pytest.mark.parametrize("arch", RECORDINGS)
def test_events_of_a_perf_data_are_those_of_the_recording(files: Files, arch: str) -> None:
    recording = RECORDINGS[arch]()
    path = files.path(arch, "perf.data")
    found: Counter[tuple[object, ...]] = Counter()
    (manifest,) = files.forms.manifests(path)
    for kind in recording.facts.events:
        name = f"events/{kind.system}/{kind.name}"
        if name not in manifest.tables:
            continue
        own = [field.name for field in kind.format.own_fields if field.shape == FieldShape.INTEGER]
        for row in files.forms.table(path, name).to_pylist():
            values = {name: row[name] for name in own if row[name]}
            found[row["ts_ns"], row["cpu"], row["tid"], f"{kind.system}:{kind.name}", str(sorted(values.items()))] += 1
    expected = Counter(
        (ts_ns, cpu, tid, name, str(sorted((key, value) for key, value in fields.items() if is_plain(key, value))))
        for ts_ns, cpu, _, tid, name, fields in recording.made
    )
    assert found == expected


def is_plain(key: str, value: object) -> bool:
    return isinstance(value, int) and value != 0 and not key.startswith("common_")


@pytest.mark.parametrize("arch", RECORDINGS)
@pytest.mark.parametrize("name", [name for name, *_ in WRITTEN])
def test_the_host_is_told(files: Files, arch: str, name: str) -> None:
    (manifest,) = files.forms.manifests(files.path(arch, name))
    told = set(RECORDINGS[arch]().host) - {"cpus_available"}  # not stored
    if name.startswith("trace.dat"):
        told -= {"cpu", "cpuid", "cpus_online"}  # no option of it tells them
    host = {key: value for key, value in RECORDINGS[arch]().host.items() if key in told}
    assert {key: value for key, value in manifest.host.items() if key in host} == ({} if name == "ftrace" else host)
    assert not manifest.notes


@with_perf
@pytest.mark.parametrize("arch", RECORDINGS)
def test_perf_prints_the_lines_of_the_text(files: Files, arch: str) -> None:
    lines = printed("perf", "script", "--ns", "-F", "+pid", "-i", files.path(arch, "perf.data"))
    ours = files.path(arch, "perf-script").read_text().splitlines()
    assert [line for line in ours if not line.startswith("#")] == lines
    assert len(lines) == len(RECORDINGS[arch]().made)
    assert printed("perf", "script", "--ns", "-F", "+pid", "-i", files.path(arch, "perf.data, zstd")) == lines


@with_perf
def test_perf_pairs_the_exits(files: Files) -> None:
    command = ["perf", "kvm", "-i", str(files.path("x86_64", "perf.data")), "stat", "report"]
    said = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True).stderr
    # perf knows a vCPU from its first entry on, so it drops the first exit of each of the four
    assert "Total Samples:236," in said
    assert [re.findall(rf"{name} +(\d+)", said) for name in ("MSR_WRITE", "HLT")] == [["56"], ["60"]]


@with_trace_cmd
@pytest.mark.parametrize("arch", RECORDINGS)
@pytest.mark.parametrize("name", [name for name, *_ in WRITTEN if name.startswith("trace.dat")])
def test_trace_cmd_prints_the_lines_of_the_text(files: Files, arch: str, name: str) -> None:
    head, *lines = printed("trace-cmd", "report", "-N", "-i", files.path(arch, name))
    assert head == "cpus=4"
    ours = files.path(arch, "ftrace").read_text().splitlines()[12:]
    # its columns have other widths, and no flags without -l
    unified = [re.sub(r" +", " ", re.sub(r"(\[\d+\]) \S{5} ", r"\1 ", line)) for line in ours]
    assert sorted(re.sub(r" +", " ", line) for line in lines) == sorted(unified)


def test_a_line_is_laid_out_as_tracefs_lays_it_out(files: Files) -> None:
    lines = files.path("x86_64", "ftrace").read_text().splitlines()
    assert "entries-in-buffer/entries-written: 840/840   #P:4" in lines[2]
    head = "       CPU 0/KVM-1010    [000] d..1.  1000.001000: kvm_exit: vcpu 0 reason EPT_VIOLATION "
    assert lines[24].startswith(head)
    assert any(line.startswith("          <idle>-0       [000] ") for line in lines)


def test_a_text_has_what_each_print_fmt_prints(files: Files) -> None:
    text = files.path("x86_64", "perf-script").read_text()
    assert "kvm:kvm_emulate_insn: 0:ffffffff81000010:89 45 01 (0x2)" in text
    assert "kvm:kvm_mmio: mmio write len 4 gpa 0xfec00000 val 0x1" in text
    assert "sched:sched_switch: prev_comm=CPU 0/KVM prev_pid=1010 prev_prio=120 prev_state=S ==> " in text


def test_pages_are_as_long_as_the_header_page_says(files: Files) -> None:
    path = files.path("ppc64", "trace.dat-v6")
    times = [event[0] for event in RECORDINGS["ppc64"]().made]
    assert max(after - before for before, after in pairwise(times)) > LONGEST_DELTA_NS
    assert path.stat().st_size == (1 + 2) << 16  # the tables, and a page of each CPU that has events


def test_a_recording_has_the_same_bytes_however_it_is_cut_into_blocks(tmp_path: Path) -> None:
    contents = []
    for rows_of_block in (7, 1_000):
        recording = x86_recording()
        recording.rows_of_block = rows_of_block
        for output_format in (OutputFormat.TRACE_DAT, *TEXTS):
            write([recording], tmp_path / "written", output_format)
            contents.append((tmp_path / "written").read_bytes())
    assert contents[:3] == contents[3:]


def test_a_format_that_carries_nothing_of_it_is_refused(tmp_path: Path) -> None:
    recording = x86_recording()
    with pytest.raises(UsageError, match=r"^vmexit carries one table of benchmarks, found a recording$") as refused:
        write([recording], tmp_path / "written", OutputFormat.VMEXIT)
    names = "perf.data, trace.dat, trace.dat-v6, perf-script, ftrace, perf-stat, perf-stat-csv, perf-stat-json"
    assert refused.value.hint == f"possible formats: {names}"
    table = TableSet(Facts("made"), "counters", COUNTERS.arrow_schema().empty_table())
    with pytest.raises(UsageError, match=r"^perf\.data carries one recording, found a table of counters$"):
        write([table], tmp_path / "written", OutputFormat.PERF_DATA)
    assert formats_for([TableSet(Facts("made"), "exit_summaries", EXIT_SUMMARIES.arrow_schema().empty_table())]) == []
    with pytest.raises(UsageError, match="found a recording and a recording"):
        write([recording, recording], tmp_path / "written", OutputFormat.FTRACE)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_finished_is_not_begun(tmp_path: Path) -> None:
    target = tmp_path / "perf.data"
    target.write_text("before")
    recording = MadeRecording(["irq:irq_handler_entry"], x86_recording().host)
    recording.add(1, 0, (1, 1), "irq:irq_handler_entry", irq=1, name="timer")
    for output_format in (OutputFormat.PERF_DATA, OutputFormat.TRACE_DAT, OutputFormat.FTRACE):
        with pytest.raises(UsageError, match="irq:irq_handler_entry cannot be written: the length of name differs"):
            write([recording], target, output_format)
    assert [path.name for path in tmp_path.iterdir()] == ["perf.data"]
    assert target.read_text() == "before"


def test_options_that_a_format_has_not_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="v6 has no compression"):
        write([x86_recording()], tmp_path / "written", OutputFormat.TRACE_DAT_6, WriteOptions(packed=True))
    with pytest.raises(UsageError, match="not both"):
        write([x86_recording()], tmp_path / "written", OutputFormat.PERF_DATA, WriteOptions(stream=True, packed=True))
