"""The files that the programs are timed on: made once, kept, and brought into the page cache."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from enum import StrEnum
from pathlib import Path

from benchmarks.synthetic import TRACE_DAT
from benchmarks.synthetic_text import TextForm
from kvmtrace.writers.perf_data_file import Form

ROOT = Path(__file__).parents[1]
_WRITERS = (
    *("interleaving", "ring_buffer_pages", "trace_dat_file", "text_heads"),
    *("perf_data_file", "perf_data_features", "tracepoint_records"),
)
MAKERS = (
    *(f"benchmarks/{name}.py" for name in ("synthetic", "synthetic_events", "synthetic_trace_dat", "synthetic_text")),
    *("benchmarks/svm_vcpu.py", "benchmarks/recording_builder.py"),
    *(f"kvmtrace/writers/{name}.py" for name in _WRITERS),
)
"""What the bytes of the synthetic files depend on: a file made by an older program is not used."""

MIB = 1 << 20


class Input(StrEnum):
    """The forms that the same events are read in; the value is what a file's name ends with."""

    PERF_DATA = "perf.data"
    TRACE_DAT = "trace.dat"
    PERF_SCRIPT = "perf-script.txt"
    FTRACE = "ftrace.txt"


FORMS = {
    Input.PERF_DATA: Form.FILE,
    Input.TRACE_DAT: TRACE_DAT,
    Input.PERF_SCRIPT: TextForm.PERF_SCRIPT,
    Input.FTRACE: TextForm.FTRACE,
}


def made(folder: Path, wanted: Input, samples: int) -> Path:
    """Return the file of `samples` synthetic events, made in `folder` unless the same program made it before."""
    makers = hashlib.sha256(b"".join((ROOT / maker).read_bytes() for maker in MAKERS)).hexdigest()
    file = folder / f"synthetic-{samples}-{makers[:12]}.{wanted}"
    if not file.exists():
        print(f"making {file}", file=sys.stderr)
        unfinished = file.with_name(file.name + ".unfinished")
        # a process of its own: what this one holds would count as memory of those that it starts
        maker = [sys.executable, "-m", "benchmarks.synthetic", "--form", FORMS[wanted]]
        subprocess.run([*maker, "-n", str(samples), str(unfinished)], check=True, cwd=ROOT)
        unfinished.rename(file)
    return file


def read_through(file: Path) -> None:
    """Bring a file into the page cache."""
    with file.open("rb") as content:
        while content.read(MIB):
            pass
