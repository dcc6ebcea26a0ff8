"""Other runs of one work, in other forms, agree in what the work itself fixes: what the guest's program counted."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from cross_forms import Forms
from perf_oracle import SHARED

if TYPE_CHECKING:
    from pathlib import Path

CAPTURES = SHARED / "captures"
pytestmark = pytest.mark.skipif(not CAPTURES.is_dir(), reason=f"{CAPTURES} is not there")


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> Forms:
    return Forms(tmp_path_factory.mktemp("forms") / "store")


# --- x86: what the guest printed on its serial line, and how often it asked its disk ---

COM1 = 0x3F8
QUEUE_NOTIFY = 0xFEBF_B000
"""The guest's address at which it tells its disk of requests: one write for each."""
CONSOLES: dict[str, tuple[str | None, int, int | None]] = {
    "pveoi-mixed-xapic-off/perf.data": ("l2-console.txt", 300, None),
    "pveoi-mixed-xapic-on/perf.data": ("l2-console.txt", 300, None),
    "perf-kvm-stat-record/perf.data": ("l2-console.txt", 300, None),
    "tracecmd-pveoi-mixed-xapic-off/trace-v6.dat": ("l2-console-trace-v6.dat.txt", 300, None),
    "tracecmd-pveoi-mixed-xapic-off/trace-v7.dat": ("l2-console-trace-v7.dat.txt", 300, None),
    "tracecmd-pveoi-mixed-xapic-off/trace-v7.dat.report.txt.gz": ("l2-console-trace-v7.dat.txt", 300, None),
    "tracecmd-pveoi-mixed-xapic-on/trace-v6.dat.report.txt.gz": ("l2-console-trace-v6.dat.txt", 300, None),
    "mixed-sched-irq/perf.data": ("l2-console.txt", 150, None),
    "mixed-sched-irq/perf-script.txt.gz": ("l2-console.txt", 150, None),
    "mixed-sched-irq/trace.dat": ("l2-console-trace.dat.txt", 150, None),
    "mixed-sched-irq/trace-v6-tsc.dat": ("l2-console-trace-v6-tsc.dat.txt", 150, 10**9),
    "mixed-sched-irq/trace-v6-tsc.dat.report.txt.gz": ("l2-console-trace-v6-tsc.dat.txt", 150, 10**9),
    "raw-ftrace/trace-local.txt.gz": (None, 60, None),
    "raw-ftrace/trace-local-latency-format.txt.gz": (None, 60, None),
    "raw-ftrace/trace-mono.txt.gz": (None, 60, None),
    "raw-ftrace/trace-x86-tsc.txt.gz": (None, 60, 10**9),
}
"""Recording → its guest's console, where it was kept; requests to the disk (`disk=` of its work); rate of its clock."""
NO_CONSOLE = r"go\r\n(?:PHASE \w+ n=00 0\.000 s\r\n){4}(?:serial line 0: [a-z ]+\r\n){2}.*DONE\r\n"


def printed(forms: Forms, path: Path, clock_hz: int | None) -> str:
    """Return what the guest sent to its serial line: the bytes of its writes to the port, in the order of time."""
    rows = forms.table(path, "events/kvm/kvm_pio", clock_hz).sort_by("ts_ns").to_pylist()
    return "".join(chr(row["val"]) for row in rows if row["rw"] == 1 and row["port"] == COM1)


@pytest.mark.parametrize("name", CONSOLES)
def test_writes_to_the_serial_port_are_what_stands_on_the_console(name: str, forms: Forms) -> None:
    console, requests, clock_hz = CONSOLES[name]
    path = CAPTURES / "x86-svm" / name
    text = printed(forms, path, clock_hz)
    if console is None:  # the same work, of which no console was kept
        figures = re.sub(r"\d", "0", text)
        assert re.fullmatch(NO_CONSOLE, figures, re.DOTALL)
    else:
        kept = (path.with_name(console)).read_text().replace("\r", "")
        assert text.replace("\r", "") == kept[kept.index("go\n") :]
    exits = forms.exits(path, clock_hz).to_pylist()
    assert Counter(row["detail"] for row in exits if row["detail_kind"] == "gpa")[QUEUE_NOTIFY] == requests


# --- other architectures: what the loops of the guest's program do ---

INTERRUPTS = {"IRQ", "HV_DECREMENTER", "IRQ_S_TIMER", "IRQ_S_SOFT"}
"""Exits that other things than the guest's program cause."""
PROGRAMS: dict[str, dict[tuple[str, bool], tuple[int, int]]] = {
    "arm64": {
        ("DABT_LOW", False): (2, 5),  # a fresh page and a read of the GIC; the GIC's set-up
        ("DABT_LOW", True): (2, 1),  # MMIO for the VMM; the end
        ("HVC64", False): (2, 0),
        ("IABT_LOW", False): (0, 2),
        ("SMC64", False): (1, 0),
        ("SYS64", False): (4, 4),
        ("WFx", False): (1, 0),
    },
    "riscv64": {
        ("INST_GUEST_PAGE_FAULT", False): (0, 1),
        ("LOAD_GUEST_PAGE_FAULT", False): (0, 1),
        ("LOAD_GUEST_PAGE_FAULT", True): (1, 0),
        ("STORE_GUEST_PAGE_FAULT", False): (1, 0),
        ("STORE_GUEST_PAGE_FAULT", True): (1, 1),
        ("SUPERVISOR_SYSCALL", False): (6, 0),
        ("VIRTUAL_INST_FAULT", False): (1, 0),
    },
    "ppc64-p9": {
        ("H_DATA_STORAGE", False): (1, 0),
        ("H_DATA_STORAGE", True): (2, 0),  # MMIO for the VMM
        ("H_EMUL_ASSIST", False): (1, 0),
        ("H_INST_STORAGE", False): (0, 1),
        ("RETURN_TO_HOST", False): (1, 0),  # H_CEDE
        ("SYSCALL", False): (5, 0),  # hypercalls
        ("SYSCALL", True): (3, 1),  # those that the VMM handles; the end
    },
}
"""Reason, and whether the VMM was asked → exits in each turn of the program, and besides."""
HCALLS = {0x300, 0x1C, 0xF00C, 0x31C, 0xE8, 0xE4, 0xDC, 0x3C, 0xE0}
RUNS: dict[str, int] = {
    "arm64/perf-record-all/perf.data": 100,
    "arm64/perf-record-all/perf-script-guestcode.txt.gz": 100,
    "arm64/vhe-perf-record/perf.data": 100,
    "arm64/trace-cmd/trace.dat": 100,
    "arm64/trace-cmd/trace-cmd-report.txt.gz": 100,
    "arm64/trace-cmd-uncompressed/trace.dat": 20,
    "arm64/raw-trace/trace.txt.gz": 100,
    "riscv64/perf-record/perf.data": 100,
    "riscv64/perf-record/perf-script.txt.gz": 100,
    "riscv64/trace-cmd/trace.dat": 100,
    "riscv64/trace-cmd/trace-cmd-report.txt.gz": 100,
    "riscv64/raw-trace/trace.txt": 50,
    "ppc64-p9/powernv9-perf-record-all/perf.data": 100,
    "ppc64-p9/powernv9-perf-record-all/perf-script.txt.gz": 100,
    "ppc64-p9/powernv9-trace-cmd/trace.dat": 100,
    "ppc64-p9/powernv9-trace-cmd/trace-cmd-report.txt.gz": 100,
    "ppc64-p9/powernv9-trace-cmd-uncompressed/trace.dat": 20,
    "ppc64-p9/powernv9-raw-trace/trace.txt.gz": 100,
    "ppc64-p9/powernv9-raw-trace-ppc-tb/trace.txt.gz": 20,
}
"""Recording → turns that its guest's program took."""


@pytest.mark.parametrize("name", RUNS)
def test_exits_are_as_many_as_the_program_causes(name: str, forms: Forms) -> None:
    turns, program = RUNS[name], name.split("/", 1)[0]
    exits = forms.exits(CAPTURES / name, 512_000_000 if "ppc-tb" in name else None).to_pylist()
    own = [row for row in exits if row["reason"] not in INTERRUPTS]
    counted = Counter((row["reason"], row["userspace"]) for row in own)
    assert counted == {key: each * turns + besides for key, (each, besides) in PROGRAMS[program].items()}
    if program == "ppc64-p9":
        hcalls = Counter(row["detail"] for row in own if row["detail_kind"] == "hcall")
        assert hcalls == {0xFFFC: 1, **dict.fromkeys(HCALLS, turns)}
    if program == "arm64":
        calls = Counter(row["detail_name"] for row in own if row["detail_kind"] == "smccc")
        assert calls == {"PSCI_VERSION": turns, None: turns}
