"""Files of other tools' tests: read with perf's counts, or refused in one line that says what they lack.

They are not copied into the project: this runs where they lie beside it.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from perf_oracle import perf_says, report_stats

from kvmtrace.errors import InputError
from kvmtrace.ingesting import ingest
from kvmtrace.store.label import Label

SAMPLES = Path(__file__).parents[2] / "shared" / "samples"
NO_TRACEPOINTS = "expected tracepoints that can be decoded, found samples of .*: not a tracepoint"
LACKS = {
    "perfdata_bigendian_magic_fuzz_c5303470.data": "expected tracepoints that can be decoded, found no event at all",
    "perfdata_bigendian_magic_fuzz_fd76c99f.data": "found no event at all .expected 504403158265495552 bytes",
    "perfdata_fibo.compressed2.pipe_mst.data": NO_TRACEPOINTS,
    "perfdata_hotspot_PerfFormatLost.data": NO_TRACEPOINTS,
    "perfdata_hotspot_true.v1.data": "expected perf.data of version 2 .PERFILE2., found version 1",
    "perfdata_perfparser_contentsize.data": NO_TRACEPOINTS,
    "perfdata_quipper_armv7-3.4.data": NO_TRACEPOINTS,
    "perfdata_quipper_lost_samples-4.4.data": NO_TRACEPOINTS,
    "perfdata_quipper_piped.corrupted.zero_size_sample-3.2.data": NO_TRACEPOINTS,
    "perfdata_quipper_piped.header_features-4.16.data": NO_TRACEPOINTS,
    "perfdata_quipper_piped.lost_samples-4.4.data": NO_TRACEPOINTS,
    "perfdata_quipper_raw-3.4.data": NO_TRACEPOINTS,
    "perfdata_quipper_throttle-3.8.data": NO_TRACEPOINTS,
    "perfdata_sleep.compressed.pipe_mst.data": NO_TRACEPOINTS,
    "perfdata_sleep.compressed2_mst.data": NO_TRACEPOINTS,
    "perfdata_sleep.compressed_mst.data": NO_TRACEPOINTS,
    "perfdata_sleep_mst.data": NO_TRACEPOINTS,
}
"""What each file that is refused lacks: samples of hardware and software events have no fields to store."""
READ = ("perfdata_pipe_tracingdata_4.9.data", "perfdata_tracepoint_tracingdata_4.9.data")

pytestmark = pytest.mark.skipif(not SAMPLES.is_dir(), reason="no samples of other tools beside the project")


def test_every_sample_has_its_expectation() -> None:
    files = {path.name for path in SAMPLES.iterdir() if path.suffix == ".data"}
    assert files == {*LACKS, *READ}


@pytest.mark.parametrize("name", LACKS)
def test_a_file_without_tracepoints_is_refused_in_one_line_that_says_so(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError) as refused:
        ingest(str(SAMPLES / name), tmp_path, Label())
    message = str(refused.value)
    assert re.search(LACKS[name], message), message
    assert "\n" not in message
    assert not list(tmp_path.glob("runs/*"))


@pytest.mark.perf
@pytest.mark.skipif(shutil.which("perf") is None, reason="perf is not installed")
def test_a_file_with_tracepoints_is_read_with_the_counts_of_perf(tmp_path: Path) -> None:
    stored = {name: ingest(str(SAMPLES / name), tmp_path, Label())[0].manifest for name in READ}
    pipe, file = (stored[name] for name in READ)
    stats = report_stats(perf_says("report", "--stats", "-i", SAMPLES / READ[1]))
    assert file.records == stats.records
    assert {f"{t.system}:{t.event}": t.samples for t in file.tracepoints} == stats.samples
    # perf counts of a pipe's file only what stands before the first event; the rest is that of the same recording.
    head = report_stats(perf_says("report", "--stats", "-i", SAMPLES / READ[0])).records
    assert pipe.records == {**file.records, **head}
    assert file.notes == pipe.notes == ()
