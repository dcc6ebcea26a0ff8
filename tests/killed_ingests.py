"""Kills an ingest at each of its steps in the file system: `killed_ingests.py RECORDING FOLDER refresh|new`.

Each step has a child process of its own, which ends itself before that step, and a store of its own, FOLDER/<step>.
Where FOLDER/before is there, each store begins as a copy of it. Prints how many steps there are.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path

from kvmtrace.ingesting import ingest
from kvmtrace.store.label import Label

_CHANGES = {"os.mkdir", "os.rename", "os.remove", "shutil.rmtree", "fcntl.flock"}


def main() -> None:
    """Kill one ingest after the other until one is through before its last step comes."""
    recording, folder, refresh = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "refresh"
    step = 0
    while True:
        step += 1
        store = folder / f"{step}"
        if (folder / "before").exists():
            shutil.copytree(folder / "before", store)
        child = os.fork()
        if child == 0:
            _kill_before(step, store)
            ingest(str(recording), store, Label(), refresh=refresh)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            break
    sys.stdout.write(f"{step - 1}\n")
    sys.exit(os.waitstatus_to_exitcode(status))


def _kill_before(last: int, store: Path) -> None:
    steps = 0

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal steps
        named = bool(arguments) and str(arguments[0]).startswith(str(store))  # what rmtree removes is not
        if event == "fcntl.flock" or (named and (event in _CHANGES or (event == "open" and arguments[1] != "r"))):
            steps += 1
            if steps == last:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


if __name__ == "__main__":
    main()
