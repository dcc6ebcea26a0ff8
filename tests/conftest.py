from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser import chromium, chromium_address  # noqa: F401 - fixtures
from hypothesis import settings
from ingested import IngestedRecordings
from made_recorders import host, perf  # noqa: F401 - fixtures

if TYPE_CHECKING:
    from collections.abc import Iterator

# A deadline of one example says how busy the machine is.
settings.register_profile("kvmtrace", deadline=None)
settings.load_profile("kvmtrace")


@pytest.fixture(scope="session")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> IngestedRecordings:
    """Return a store of recordings, each of which is ingested when it is first asked for."""
    store: Path = tmp_path_factory.mktemp("ingested") / "store"
    return IngestedRecordings(store)


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to an empty folder, with no store asked for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KVMTRACE_STORE", raising=False)
    return tmp_path


@pytest.fixture
def only_vm() -> Iterator[None]:
    """Wait until no other worker's test runs a VM: who records the whole machine would record that one, too."""
    with (Path(tempfile.gettempdir()) / f"kvmtrace-tests-of-{os.getuid()}-run-a-vm").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
