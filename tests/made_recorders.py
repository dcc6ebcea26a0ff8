"""Programs that stand in for perf and trace-cmd: they obey as those do, and hand out recordings that were made before.

What happens is written to a log, a line each, so that a test sees the order. No clock is looked at.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest
from made_hosts import MadeHost, three_vms
from made_runs import MSR, NPF, KvmRecording

from kvmtrace.recorder.host_files import HostFiles

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_PERF = """#!{python} -IS
import os, signal, sys
folder = {folder!r}
def log(text):
    with open(folder + "/log", "a") as file:
        file.write(text + "\\n")
if "--version" in sys.argv:
    print("perf version 9.9")
    sys.exit()
with open(folder + "/arguments", "w") as file:
    file.write("\\n".join(sys.argv))
mode = open(folder + "/mode").read()
if mode == "refuse":
    sys.stderr.write("Error:\\nNo permission to enable it.\\n")
    sys.exit(255)
commands, answers = map(int, next(a for a in sys.argv if a.startswith("--control=")).split(":")[1].split(","))
log(os.read(commands, 64).decode().strip())
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
os.write(answers, b"ack\\n\\0")
if mode == "vanishes":
    sys.stderr.write("it is over\\n")
    sys.exit(4)
if mode == "interrupt":
    os.kill(os.getppid(), signal.SIGINT)
if mode == "dies":
    held = open(folder + "/fifo", "w")  # whoever reads it sees its end when this program ends
else:
    signal.sigwait([signal.SIGINT])
    log("stopped")
taken = sorted(name for name in os.listdir(folder) if name.endswith(".data"))[0]
with open(folder + "/" + taken, "rb") as file:
    sys.stdout.buffer.write(file.read())
os.remove(folder + "/" + taken)
sys.exit(3 if mode == "dies" else 0)
"""

_TRACE_CMD = """#!{python} -IS
import os, shutil, signal, sys
folder, events = {folder!r}, {events!r}
if "-v" in sys.argv:
    print("\\ntrace-cmd version 9.9\\n")
    sys.exit()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
for name in os.listdir(events):
    if os.path.isdir(events + "/" + name):
        with open(events + "/" + name + "/enable", "w") as file:
            file.write("1")
with open(folder + "/log", "a") as file:
    file.write("enable\\n")
signal.sigwait([signal.SIGINT])
print("CPU0 data recorded at offset=0x1000")
taken = sorted(name for name in os.listdir(folder) if name.endswith(".data"))[0]
shutil.move(folder + "/" + taken, sys.argv[sys.argv.index("-o") + 1])
"""


class MadePerf:
    """A program called perf in a folder of its own, for $PATH."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self._program("perf", _PERF.format(python=sys.executable, folder=str(folder)))
        self.behave("")
        self._made = 0

    def add_trace_cmd(self, events: Path) -> None:
        """Add a program called trace-cmd; `events`: the folder of the events that it switches on."""
        self._program(
            "trace-cmd", _TRACE_CMD.format(python=sys.executable, folder=str(self.folder), events=str(events))
        )

    def behave(self, mode: str) -> None:
        """Have perf behave otherwise from now on: refuse, dies, interrupt."""
        (self.folder / "mode").write_text(mode)

    def hand_out(self, *recordings: KvmRecording) -> None:
        """Add what the next recordings are to be."""
        for recording in recordings:
            self.hand_out_content(recording.write(self.folder / "made", "pipe").read_bytes())

    def hand_out_content(self, content: bytes) -> None:
        """Add what a perf of another machine wrote to a pipe."""
        (self.folder / f"{self._made:03}.data").write_bytes(content)
        self._made += 1

    def log(self) -> list[str]:
        """Return what happened."""
        return (self.folder / "log").read_text().split()

    def arguments(self) -> list[str]:
        """Return the words that perf was last called with, without its own name."""
        return (self.folder / "arguments").read_text().split("\n")[1:]

    def _program(self, name: str, text: str) -> None:
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o755)


def exits(n: int, *, every_ns: int = 1_000_000, lost: int = 0) -> KvmRecording:
    """Return a recording of so many exits of 1 µs, some of MSRs; with a loss on CPU 2 behind them."""
    recording = KvmRecording()
    for number in range(n):
        recording.exit(1_000 + number * every_ns, MSR if number % 4 else NPF)
        recording.enter(2_000 + number * every_ns)
    if lost:
        recording.add_lost(lost, 3_000 + n * every_ns, cpu=2, event="kvm_exit")
    return recording


def writing(path: Path, word: str, code: int = 0) -> Sequence[str]:
    """Return a command that adds a word to a file and ends with `code`."""
    return ["sh", "-c", f'echo "$0" >> "$1"; exit {code}', word, str(path)]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MadeHost:
    """Make the machine that is recorded an x86 host with three VMs, whose user may do everything."""
    (tmp_path / "host").mkdir()
    made = three_vms(tmp_path / "host")
    made.write(
        {"proc/sys/kernel/perf_event_paranoid": "-1", "dev/kvm": "", "sys/module/kvm/parameters/halt_poll_ns": "7"}
    )
    monkeypatch.setattr("kvmtrace.recorder.host_files.HostFiles", lambda: HostFiles(made.root))
    return made


@pytest.fixture
def perf(tmp_path: Path, host: MadeHost, monkeypatch: pytest.MonkeyPatch) -> MadePerf:
    """Return a perf that comes before all others, and records into a store of its own."""
    made = MadePerf(tmp_path / "bin")
    assert host.root.is_dir()
    monkeypatch.setenv("PATH", f"{made.folder}:{os.environ['PATH']}")
    monkeypatch.setenv("KVMTRACE_STORE", str(tmp_path / "store"))
    return made
