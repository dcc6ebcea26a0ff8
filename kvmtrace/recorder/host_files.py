"""The files in which Linux tells of itself: /proc and /sys of this machine, or of a made tree."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_TRACEFS = ("sys/kernel/tracing", "sys/kernel/debug/tracing")


@dataclass(frozen=True, slots=True)
class HostFiles:
    """Files below a root folder. Whatever cannot be read is None or nothing: not every kernel has every file."""

    root: Path = Path("/")

    def path(self, name: str) -> Path:
        """Return where `name` (proc/cpuinfo) is."""
        return self.root / name

    def text(self, name: str) -> str | None:
        """Return a file's text without the white space around it."""
        try:
            return self.path(name).read_bytes().decode("utf-8", "backslashreplace").strip()
        except OSError:
            return None

    def words(self, name: str) -> list[str]:
        """Return what stands between the zero bytes of a file (/proc/PID/cmdline)."""
        text = self.text(name) or ""
        return text.rstrip("\0").split("\0") if text else []

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder, sorted."""
        try:
            return sorted(os.listdir(self.path(folder)))  # noqa: PTH208 - names alone, of folders of thousands
        except OSError:
            return []

    def link(self, name: str) -> str | None:
        """Return what a symbolic link says."""
        try:
            return os.readlink(self.path(name))  # noqa: PTH115 - the text: most lead to no file
        except OSError:
            return None

    def pids(self) -> Iterator[int]:
        """Yield the ids of all processes, kernel threads among them."""
        return (int(name) for name in self.names("proc") if name.isdigit())

    def tracefs(self) -> str | None:
        """Return where tracefs is mounted and readable, as a name below the root."""
        return next((place for place in _TRACEFS if self.names(f"{place}/events")), None)

    def tracepoints(self, system: str) -> frozenset[str]:
        """Return the tracepoints of a system (kvm) that this kernel has now; none where tracefs is not readable."""
        events = f"{self.tracefs()}/events/{system}"
        return frozenset(name for name in self.names(events) if self.path(f"{events}/{name}").is_dir())
